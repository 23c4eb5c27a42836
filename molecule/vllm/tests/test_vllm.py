"""The node after role vllm in build mode: compiled here, behind its key, in a sandbox, with caches that stay."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from helpers import journal

UNIT = "mi50-vllm.service"
PORTS = {"vllm": 8000, "lmdeploy": 23333}
KEY = "/etc/mi50-aipc/keys/vllm"
ASK = """
import sys, urllib.error, urllib.request
url, body, key = sys.argv[1], sys.argv[2], open(sys.argv[4]).read().strip()
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


def ask(host: Any, path: str, body: str = "", key: str = "key", name: str = "vllm") -> tuple[int, str]:
    with journal(host, f"mi50-{name}.service"):
        url = f"http://127.0.0.1:{PORTS[name]}{path}"
        said = host.run("python3 -c %s %s %s %s %s", ASK, url, body, key, f"/etc/mi50-aipc/keys/{name}")
        assert said.rc == 0, said.stderr
    code, dummy, text = said.stdout.partition(" ")
    return int(code), text


def record(host: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.file("/var/lib/mi50-aipc/serve/vllm/proven.json").content_string)
    return found


@pytest.mark.parametrize("name", sorted(PORTS))
def test_answers_behind_the_key(host: Any, name: str) -> None:
    assert ask(host, "/v1/models", key="none", name=name)[0] == 401
    assert ask(host, "/v1/chat/completions", CHAT, "none", name)[0] == 401
    code, text = ask(host, "/v1/chat/completions", CHAT, name=name)
    assert code == 200
    assert json.loads(text)["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("name", sorted(PORTS))
def test_nothing_tells_the_key(host: Any, name: str) -> None:
    path, unit = f"/etc/mi50-aipc/keys/{name}", f"mi50-{name}.service"
    key = host.check_output(f"cat {path}")
    assert len(key) >= 32
    assert (host.file(path).mode, host.file(path).user) == (0o600, f"mi50-{name}")
    environments = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    for command in ("ps axeww", environments, "journalctl --no-pager", f"systemctl cat {unit}"):
        assert key not in host.run(command).stdout, command
    assert host.run(
        f"grep -rl -e {key} /etc /opt/mi50-aipc/{name} /var/lib/mi50-aipc /var/log /run"
    ).stdout.split() == [path]


def test_nothing_listens_beyond_loopback_but_ssh(host: Any) -> None:
    listening = {line.split()[3] for line in host.check_output("ss -Hltn").splitlines()}
    assert {f"127.0.0.1:{port}" for port in PORTS.values()} <= listening
    assert not {name for name in listening if not name.startswith("127.0.0.") and not name.endswith(":22")}


def test_what_serves_is_what_was_compiled_here(host: Any) -> None:
    log = host.check_output(f"journalctl --no-pager -o cat -u {UNIT}")
    assert "compiled for gfx906 with HIP 6.4.43484-123eb5128, torch 2.9.0+rocm6.4" in log
    facts = record(host)["facts"]
    wheel = host.check_output("sha256sum /var/cache/mi50-aipc/builds/*/vllm-*.whl").split()[0]
    assert facts["wheel"] == wheel
    (path,) = facts["program"]
    built = "find %s/lib -path '*site-packages/vllm/_*.so' -printf '%%f\\n'"
    assert {name.split(".")[0] for name in host.check_output(built, path).split()} == {"_C", "_rocm_C"}
    # torch by reference to a generation, not to the name that moves.
    assert facts["torch"].startswith("/opt/mi50-aipc/venvs/.torch/2.9.0-rocm6.4.")
    assert not host.run(f"ls -d {path}/lib/python3*/site-packages/torch").stdout


def test_a_rehearsal_came_before_the_switch(host: Any) -> None:
    log = host.check_output("journalctl --no-pager -o cat -u mi50-vllm-rehearsal.service")
    assert log.count("Starting vLLM API server on http://127.0.0.1:") >= 2
    assert host.run("systemctl status mi50-vllm-rehearsal.service").rc == 4  # no such unit any more


def test_the_environment_before_is_kept_and_no_other(host: Any) -> None:
    found = host.check_output("ls -d /opt/mi50-aipc/vllm/*/").split()
    assert len(found) == 2
    assert record(host)["facts"]["program"][0] + "/" in found


def test_its_user_may_write_nowhere_else(host: Any) -> None:
    unit = host.check_output(f"systemctl cat {UNIT}")
    for line in ("User=mi50-vllm", "ProtectSystem=strict", "NoNewPrivileges=yes", "DevicePolicy=closed"):
        assert line in unit
    pid = host.check_output(f"systemctl show -p MainPID --value {UNIT}")
    assert "CapEff:\t0000000000000000" in host.check_output(f"cat /proc/{pid}/status")


def test_restart_keeps_the_caches(host: Any) -> None:
    host.check_output(f"systemctl restart {UNIT}")
    deadline = time.monotonic() + 60
    while not host.run("python3 -c %s %s '' key %s", ASK, "http://127.0.0.1:8000/v1/models", KEY).stdout.startswith(
        "200"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    log = host.check_output(
        f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value {UNIT})"
    )
    assert "Directly load the compiled graph(s) from the cache" in log
    assert "Compiling a graph" not in log


def test_settings_of_docker_are_merged(host: Any) -> None:
    wanted = {"insecure-registries": ["registry.lab:5000"]}
    assert json.loads(host.file("/etc/docker/daemon.json").content_string) == wanted
    assert json.loads(host.file("/etc/mi50-aipc/docker-registries.json").content_string) == wanted
    assert host.service("docker").is_running


def test_its_user_cannot_reach_docker(host: Any) -> None:
    refused = host.run("setpriv --reuid=mi50-vllm --regid=mi50-vllm --init-groups docker ps")
    assert refused.rc != 0
    assert "permission denied" in refused.stderr
