"""The node after role vllm: a container behind its key, as a user without rights, with caches that stay."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from helpers import journal

UNIT = "mi50-vllm.service"
BOX = "mi50-vllm"
KEY = "/etc/mi50-aipc/keys/vllm"
DIGESTS = json.loads((Path(os.environ.get("MI50_LAB_REGISTRY", "/nonexistent")) / "digests.json").read_text())
ASK = """
import sys, urllib.error, urllib.request
url, body, key = sys.argv[1], sys.argv[2], open("/etc/mi50-aipc/keys/vllm").read().strip()
headers = {"Content-Type": "application/json"}
if sys.argv[3] == "key":
    headers["Authorization"] = "Bearer " + key
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body.encode() or None, headers), timeout=100)
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""
CHAT = json.dumps({"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4})


def ask(host: Any, path: str, body: str = "", key: str = "key") -> tuple[int, str]:
    with journal(host, UNIT):
        said = host.run("python3 -c %s %s %s %s", ASK, f"http://127.0.0.1:8000{path}", body, key)
        assert said.rc == 0, said.stderr
    code, dummy, text = said.stdout.partition(" ")
    return int(code), text


def box(host: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.check_output(f"docker inspect {BOX}"))[0]
    return found


def test_answers_behind_the_key(host: Any) -> None:
    assert ask(host, "/v1/models", key="none")[0] == 401
    assert ask(host, "/v1/chat/completions", CHAT, "none")[0] == 401
    assert ask(host, "/metrics", key="none")[0] == 401
    code, text = ask(host, "/v1/chat/completions", CHAT)
    assert code == 200
    assert json.loads(text)["usage"]["completion_tokens"] == 4


def test_nothing_tells_the_key(host: Any) -> None:
    key = host.check_output(f"cat {KEY}")
    assert len(key) >= 32
    assert (host.file(KEY).mode, host.file(KEY).user) == (0o600, "mi50-vllm")
    environments = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    commands = ["ps axeww", environments, f"docker inspect {BOX}", "journalctl --no-pager", f"systemctl cat {UNIT}"]
    commands += ["cat /usr/local/lib/mi50-aipc/vllm/start", "docker image inspect $(docker image ls -q)"]
    for command in commands:
        assert key not in host.run(command).stdout, command
    assert host.run(f"grep -rl -e {key} /etc /var/lib/mi50-aipc /var/log /run").stdout.split() == [KEY]


def test_listens_on_loopback_alone(host: Any) -> None:
    listening = host.check_output("ss -Hltn sport = :8000").splitlines()
    assert [line.split()[3] for line in listening] == ["127.0.0.1:8000"]


def test_container_has_no_rights(host: Any) -> None:
    found = box(host)
    uid, gid = (host.check_output(f"id -{letter} mi50-vllm") for letter in "ug")
    assert found["Config"]["User"] == f"{uid}:{gid}"
    limits = found["HostConfig"]
    assert limits["CapDrop"] == ["ALL"]
    assert limits["SecurityOpt"] == ["no-new-privileges"]
    assert not limits["Privileged"]
    assert not [mount for mount in found["Mounts"] if "docker.sock" in mount["Source"]]
    assert {mount["Destination"] for mount in found["Mounts"] if mount["RW"]} == {"/cache"}
    status = host.check_output(f"cat /proc/$(docker inspect -f '{{{{.State.Pid}}}}' {BOX})/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_its_user_cannot_reach_docker(host: Any) -> None:
    assert "docker" not in host.check_output("id -nG mi50-vllm").split()
    refused = host.run("setpriv --reuid=mi50-vllm --regid=mi50-vllm --init-groups docker ps")
    assert refused.rc != 0
    assert "permission denied" in refused.stderr


def test_serves_the_newer_image_and_keeps_the_one_before(host: Any) -> None:
    assert DIGESTS["newer"] in box(host)["Config"]["Image"]
    kept = host.check_output("docker image ls --digests --format '{{.Repository}} {{.Digest}}'").splitlines()
    # The one before came from an archive, which has no digest of a registry.
    assert {line.split()[0] for line in kept} == {"registry.lab:5000/nalanzeyu/vllm-gfx906", "mi50-aipc/archive"}
    assert [line.split()[1] for line in kept if line.startswith("registry")] == [DIGESTS["newer"]]


def test_restart_keeps_the_caches(host: Any) -> None:
    before = host.check_output(f"docker inspect -f '{{{{.Id}}}}' {BOX}")
    host.check_output(f"systemctl restart {UNIT}")
    deadline = time.monotonic() + 60
    while ask_quietly(host) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert host.check_output(f"docker inspect -f '{{{{.Id}}}}' {BOX}") != before
    log = host.check_output(
        f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value {UNIT})"
    )
    assert "Directly load the compiled graph(s) from the cache" in log
    assert "Compiling a graph" not in log


def ask_quietly(host: Any) -> int:
    said = host.run("python3 -c %s %s %s %s", ASK, "http://127.0.0.1:8000/v1/models", "", "key").stdout
    return int(said.split(" ", 1)[0] or 0) if said else 0


def test_settings_of_docker_are_merged(host: Any) -> None:
    assert json.loads(host.file("/etc/docker/daemon.json").content_string) == {
        "insecure-registries": ["registry.lab:5000"]
    }
    note = json.loads(host.file("/etc/mi50-aipc/docker-registries.json").content_string)
    assert note == {"insecure-registries": ["registry.lab:5000"]}
