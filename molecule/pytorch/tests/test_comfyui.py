"""ComfyUI on the environment of the role pytorch: a picture as proof, loopback alone, healed when it goes wrong."""

from __future__ import annotations

import time
from typing import Any

from serving import Engine

COMFY = Engine("comfyui", 8188)


def ready(host: Any) -> bool:
    return bool(COMFY.status(host)["state"] == "ready")


def test_a_picture_was_the_proof(host: Any) -> None:
    COMFY.until(host, lambda: ready(host), 60)
    proof = host.check_output("python3 -m json.tool /var/lib/mi50-aipc/serve/comfyui/proven.json")
    assert "32 x 32 pixels became 128 x 128" in proof
    assert "AMD Instinct MI50" in proof


def test_it_runs_in_its_sandbox_on_loopback(host: Any) -> None:
    listening = host.check_output("ss -Hltn sport = :8188").splitlines()
    assert [line.split()[3] for line in listening] == ["127.0.0.1:8188"]
    shown = host.check_output(f"systemctl show -p User,DevicePolicy,ProtectSystem {COMFY.unit}").split()
    assert set(shown) == {"User=mi50-comfyui", "DevicePolicy=closed", "ProtectSystem=strict"}
    assert host.check_output(f"ps -o user:20= -p {COMFY.pid(host)}").strip() == "mi50-comfyui"
    assert not host.file("/etc/mi50-aipc/keys/comfyui").exists


def test_its_environment_has_no_torch_of_its_own(host: Any) -> None:
    where = "/opt/mi50-aipc/venvs/comfyui/bin/python -c 'import torch; print(torch.__file__)'"
    assert "/comfyui/" not in host.check_output(where)


def test_a_wrong_picture_is_healed(host: Any) -> None:
    known, begin = len(COMFY.status(host)["heals"]), time.time()
    fault = "/var/lib/mi50-aipc/comfyui/standin-fault"
    host.check_output(f"echo '{{\"black\": true}}' > {fault} && chmod 644 {fault}")
    COMFY.until(host, lambda: len(COMFY.status(host)["heals"]) > known, 60)
    host.check_output(f"rm {fault}")
    heal = COMFY.healed(host, known)
    assert heal["state"] == "wrong"
    assert "it is black" in heal["why"]
    print(f"comfyui black pictures: noticed after {heal['at'] - begin:.1f} s, right ones {heal['seconds']} s later")


def test_a_killed_server_is_back(host: Any) -> None:
    restarts, begin = COMFY.status(host)["restarts"], time.monotonic()
    host.check_output(f"kill -KILL {COMFY.pid(host)}")
    COMFY.until(host, lambda: ready(host) and COMFY.status(host)["restarts"] > restarts, 60)
    print(f"comfyui SIGKILL: answers after {time.monotonic() - begin:.1f} s")
