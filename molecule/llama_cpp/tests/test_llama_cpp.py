"""The node after role llama_cpp: a real llama-server behind its key, healed when it dies or hangs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from helpers import journal

UNIT = "mi50-llama_cpp.service"
KEY = "/etc/mi50-aipc/keys/llama_cpp"
URL = "http://127.0.0.1:8080"
# One pixel: the real path of a picture through upload, decoding, resizing and encoding.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
ASK = """
import json, sys, urllib.error, urllib.request
url, body, key = sys.argv[1], sys.argv[2], open("/etc/mi50-aipc/keys/llama_cpp").read().strip()
headers = {"Content-Type": "application/json"}
if sys.argv[3] == "key":
    headers["Authorization"] = "Bearer " + key
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body.encode() or None, headers), timeout=100)
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def ask(host: Any, path: str, body: str = "", key: str = "key") -> tuple[int, dict[str, Any]]:
    with journal(host, UNIT):
        said = host.run("python3 -c %s %s %s %s", ASK, URL + path, body, key)
        assert said.rc == 0, said.stderr
    code, dummy, text = said.stdout.partition(" ")
    return int(code), json.loads(text)


def chat(content: Any) -> str:
    return json.dumps({"model": "smollm2", "messages": [{"role": "user", "content": content}], "max_tokens": 4})


def status(host: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.run("mi50-serve status").stdout)[0]
    return found


def until(host: Any, fine: Callable[[], bool], seconds: float) -> float:
    begin = time.monotonic()
    with journal(host, UNIT, "mi50-llama_cpp-health.service"):
        while not fine():
            assert time.monotonic() - begin < seconds, "waited in vain"
            time.sleep(0.3)
    return time.monotonic() - begin


def pid(host: Any) -> str:
    return str(host.check_output(f"systemctl show -p MainPID --value {UNIT}"))


def test_text_and_pictures_behind_the_key(host: Any) -> None:
    assert ask(host, "/v1/chat/completions", chat("Hi"), "none")[0] == 401
    code, answer = ask(host, "/v1/chat/completions", chat("Hi"))
    assert (code, answer["usage"]["completion_tokens"]) == (200, 4)
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    code, answer = ask(host, "/v1/chat/completions", chat([picture, {"type": "text", "text": "What is it?"}]))
    # The projector makes 256 tokens of a picture.
    assert code == 200
    assert answer["usage"]["prompt_tokens"] > 256


def test_nothing_tells_the_key(host: Any) -> None:
    key = host.check_output(f"cat {KEY}")
    assert len(key) >= 32
    found = host.file(KEY)
    assert (found.mode, found.user) == (0o600, "mi50-llama_cpp")
    assert host.run(f"su -s /bin/sh nobody -c 'cat {KEY}'").rc != 0
    for command in ("ps axeww", "journalctl --no-pager", f"systemctl cat {UNIT}", f"systemctl show {UNIT}"):
        assert key not in host.check_output(command), command
    assert host.run(f"grep -rl -e {key} /etc /var/lib /var/log /run").stdout.split() == [KEY]


def test_listens_on_loopback_alone(host: Any) -> None:
    listening = host.check_output("ss -Hltn sport = :8080").splitlines()
    assert [line.split()[3] for line in listening] == ["127.0.0.1:8080"]


def test_runs_unprivileged_in_its_sandbox(host: Any) -> None:
    shown = host.check_output(f"systemctl show -p User,ProtectSystem,DevicePolicy,NoNewPrivileges {UNIT}").split()
    expected = {"User=mi50-llama_cpp", "ProtectSystem=strict", "DevicePolicy=closed", "NoNewPrivileges=yes"}
    assert set(shown) == expected
    assert host.check_output(f"ps -o user:20= -p {pid(host)}").strip() == "mi50-llama_cpp"


def test_a_killed_server_is_back(host: Any) -> None:
    old = pid(host)
    host.check_output(f"kill -KILL {old}")
    noticed = until(host, lambda: pid(host) not in ("0", old), 10)
    ready = until(host, lambda: status(host)["state"] == "ready" and status(host)["restarts"] == 1, 60)
    print(f"SIGKILL: systemd starts it anew after {noticed:.1f} s, it answers after {noticed + ready:.1f} s")


def test_a_stopped_server_is_started_anew(host: Any) -> None:
    old = pid(host)
    host.check_output(f"kill -STOP {old}")
    noticed = until(host, lambda: pid(host) != old, 40)
    until(host, lambda: status(host)["state"] == "ready" and "seconds" in (status(host)["heals"] or [{}])[-1], 60)
    heal = status(host)["heals"][-1]
    assert heal["state"] == "hung"
    print(f"SIGSTOP: noticed after {noticed:.1f} s, answers {heal['seconds']} s later")


def test_what_was_stopped_on_purpose_stays_so(host: Any) -> None:
    host.check_output(f"systemctl stop {UNIT}")
    try:
        host.check_output("systemctl start mi50-llama_cpp-health.service")
        assert status(host)["state"] == "stopped"
        assert not host.service(UNIT).is_running
    finally:
        host.check_output(f"systemctl start {UNIT}")
