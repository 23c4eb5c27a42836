"""The node after role ollama: a key before an engine that has none, one copy of the model, healed when it dies."""

from __future__ import annotations

import json
import time
from typing import Any

from serving import Engine

OLLAMA = Engine("ollama", 11434)


def test_text_behind_the_key(host: Any) -> None:
    assert OLLAMA.chat(host, "Hi", key=False)[0] == 401
    assert OLLAMA.ask(host, "/api/tags", key=False)[0] == 401
    code, answer = OLLAMA.chat(host, "Hi")
    assert (code, answer["usage"]["completion_tokens"]) == (200, 4)
    assert [row["name"] for row in OLLAMA.ask(host, "/api/tags")[1]["models"]] == ["smollm2:latest"]


def test_one_copy_of_the_model(host: Any) -> None:
    links = host.check_output("find /var/lib/mi50-aipc/ollama/models -name 'sha256-*' -type l -lname '*.gguf'")
    assert len(links.splitlines()) == 1
    assert host.check_output("find /var/lib/mi50-aipc/ollama -type f -size +1M") == ""


def test_its_own_port_is_in_a_network_of_its_own(host: Any) -> None:
    assert host.check_output("ss -Hltn sport = :41343") == ""
    assert host.check_output(f"systemctl show -p PrivateNetwork --value {OLLAMA.unit}") == "yes"
    assert host.check_output(f"ps -o user:20= -p {OLLAMA.pid(host)}").strip() == "mi50-ollama"


def test_it_was_told_to_use_vulkan(host: Any) -> None:
    shown = host.check_output(f"systemctl show -p Environment {OLLAMA.unit}")
    assert "OLLAMA_VULKAN=1" in shown
    assert "ROCR_VISIBLE_DEVICES=-1" in shown


def test_a_killed_server_is_back(host: Any) -> None:
    served = host.check_output("pgrep -u mi50-ollama -f 'ollama serve'").split()[0]
    restarts, begin = OLLAMA.status(host)["restarts"], time.monotonic()
    host.check_output(f"kill -KILL {served}")

    def back() -> bool:
        found = OLLAMA.status(host)
        return bool(found["state"] == "ready" and found["restarts"] > restarts)

    OLLAMA.until(host, back, 60)
    print(f"ollama SIGKILL of `ollama serve`: answers after {time.monotonic() - begin:.1f} s")


def test_an_unloaded_model_is_loaded_again(host: Any) -> None:
    known, begin = len(OLLAMA.status(host)["heals"]), time.time()
    asked = json.dumps({"model": "smollm2", "keep_alive": 0, "stream": False})
    assert OLLAMA.ask(host, "/api/generate", asked)[1]["done_reason"] == "unload"
    heal = OLLAMA.healed(host, known)
    assert heal["state"] == "unloaded"
    print(f"ollama unload: noticed after {heal['at'] - begin:.1f} s, answers {heal['seconds']} s later")


def test_a_hang_is_healed(host: Any) -> None:
    known, begin = len(OLLAMA.status(host)["heals"]), time.time()
    host.check_output(f"kill -STOP {OLLAMA.pid(host)}")
    heal = OLLAMA.healed(host, known)
    assert heal["state"] == "hung"
    print(f"ollama SIGSTOP: noticed after {heal['at'] - begin:.1f} s, answers {heal['seconds']} s later")
