"""The node after roles llama_cpp and lmstudio: real llama-servers behind keys, healed when they die, hang or forget."""

from __future__ import annotations

import time
from typing import Any

import pytest
from serving import BOTH, LLAMA, LMSTUDIO, Engine

# One pixel: the real path of a picture through upload, decoding, resizing and encoding.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
LMS = "env HOME=/var/lib/mi50-aipc/lmstudio /var/lib/mi50-aipc/lmstudio/.lmstudio/bin/lms"
each = pytest.mark.parametrize("engine", BOTH, ids=lambda engine: engine.name)


@each
def test_text_behind_the_key(host: Any, engine: Engine) -> None:
    assert engine.chat(host, "Hi", key=False)[0] == 401
    code, answer = engine.chat(host, "Hi")
    assert (code, answer["usage"]["completion_tokens"]) == (200, 4)


def test_pictures(host: Any) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    words = {"type": "text", "text": "What is it?"}
    bare = LLAMA.chat(host, [words])[1]["usage"]["prompt_tokens"]
    code, answer = LLAMA.chat(host, [picture, words])
    # The projector makes some hundred tokens of a picture, or as many as it was made for.
    assert code == 200
    assert answer["usage"]["prompt_tokens"] >= bare + 16


@each
def test_nothing_tells_the_key(host: Any, engine: Engine) -> None:
    key = host.check_output(f"cat {engine.key}")
    assert len(key) >= 32
    found = host.file(engine.key)
    assert (found.mode, found.user) == (0o600, f"mi50-{engine.name}")
    assert host.run(f"su -s /bin/sh nobody -c 'cat {engine.key}'").rc != 0
    unit = engine.unit
    for command in ("ps axeww", "journalctl --no-pager", f"systemctl cat {unit}", f"systemctl show {unit}"):
        assert key not in host.check_output(command), command
    assert host.run(f"grep -rl -e {key} /etc /var/lib /var/log /run").stdout.split() == [engine.key]


@each
def test_listens_on_loopback_alone(host: Any, engine: Engine) -> None:
    listening = host.check_output(f"ss -Hltn sport = :{engine.port}").splitlines()
    assert [line.split()[3] for line in listening] == [f"127.0.0.1:{engine.port}"]


def test_lm_studios_own_port_is_in_a_network_of_its_own(host: Any) -> None:
    assert host.check_output("ss -Hltn sport = :41343") == ""
    assert host.check_output(f"systemctl show -p PrivateNetwork --value {LMSTUDIO.unit}") == "yes"


@each
def test_runs_unprivileged_in_its_sandbox(host: Any, engine: Engine) -> None:
    shown = host.check_output(
        f"systemctl show -p User,ProtectSystem,DevicePolicy,NoNewPrivileges {engine.unit}"
    ).split()
    user = f"mi50-{engine.name}"
    assert set(shown) == {f"User={user}", "ProtectSystem=strict", "DevicePolicy=closed", "NoNewPrivileges=yes"}
    assert host.check_output(f"ps -o user:20= -p {engine.pid(host)}").strip() == user


def test_the_model_is_a_link(host: Any) -> None:
    links = host.check_output("find /var/lib/mi50-aipc/lmstudio/.lmstudio/models -name '*.gguf' -type l").splitlines()
    assert len(links) == 1


def test_killed_servers_are_back(host: Any) -> None:
    old = {engine: (engine.pid(host), engine.status(host)["restarts"]) for engine in BOTH}
    host.check_output("kill -KILL " + " ".join(pid for pid, _restarts in old.values()))
    begin = time.monotonic()
    noticed, answers = {}, {}
    while len(answers) < len(BOTH):
        for engine in BOTH:
            now, found = engine.pid(host), engine.status(host)
            if engine not in noticed and now not in ("0", old[engine][0]):
                noticed[engine] = time.monotonic() - begin
            if engine not in answers and found["state"] == "ready" and found["restarts"] > old[engine][1]:
                answers[engine] = time.monotonic() - begin
        assert time.monotonic() - begin < 60, [engine.status(host) for engine in BOTH]
        time.sleep(0.3)
    for engine in BOTH:
        assert noticed[engine] < 10
        print(
            f"{engine.name} SIGKILL: started anew after {noticed[engine]:.1f} s, answers after {answers[engine]:.1f} s"
        )


def test_stopped_servers_are_started_anew(host: Any) -> None:
    known, begin = {engine: len(engine.status(host)["heals"]) for engine in BOTH}, time.time()
    host.check_output("kill -STOP " + " ".join(engine.pid(host) for engine in BOTH))
    for engine in BOTH:
        heal = engine.healed(host, known[engine])
        assert heal["state"] == "hung"
        print(f"{engine.name} SIGSTOP: noticed after {heal['at'] - begin:.1f} s, answers {heal['seconds']} s later")


def test_an_unloaded_model_is_loaded_again(host: Any) -> None:
    known, begin = len(LMSTUDIO.status(host)["heals"]), time.time()
    host.check_output(f"{LMS} unload --all")
    heal = LMSTUDIO.healed(host, known)
    assert heal["state"] == "unloaded"
    print(f"lmstudio unload: noticed after {heal['at'] - begin:.1f} s, answers {heal['seconds']} s later")


def test_what_was_stopped_on_purpose_stays_so(host: Any) -> None:
    host.check_output(f"systemctl stop {LLAMA.unit}")
    try:
        host.check_output("systemctl start mi50-llama_cpp-health.service")
        assert LLAMA.status(host)["state"] == "stopped"
        assert not host.service(LLAMA.unit).is_running
    finally:
        host.check_output(f"systemctl start {LLAMA.unit}")
