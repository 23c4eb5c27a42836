"""The gateway as it serves: its keys, its routes, its metrics, who can read what, and its user's rights."""

from __future__ import annotations

import json
from typing import Any

from helpers import journal

FOLDER = "/etc/mi50-aipc/gateway"
KEYS = "/etc/mi50-aipc/keys/gateway"
ASK = """
import http.client, json, sys
port, method, path, key, body = sys.argv[1:6]
one = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
head = {"Authorization": "Bearer " + open(key).read().strip()} if key != "none" else {}
one.request(method, path, body or None, head)
said = one.getresponse()
print(json.dumps([said.status, said.headers["X-Served-By"], said.read().decode()]))
"""


def ask(host: Any, path: str, *, key: str = f"{KEYS}/alice", body: str = "", port: int = 8800) -> tuple[int, str, str]:
    """Status, server and answer of one request."""
    with journal(host, "mi50-gateway"):
        done = host.run("python3 -c %s %s %s %s %s %s", ASK, str(port), "POST" if body else "GET", path, key, body)
        assert done.rc == 0, done.stderr
    status, server, text = json.loads(done.stdout)
    return status, server, text


def chat(host: Any, model: str = "standin") -> tuple[int, str, str]:
    asked = {"model": model, "stream": True, "max_tokens": 4, "messages": [{"role": "user", "content": "x"}]}
    return ask(host, "/v1/chat/completions", body=json.dumps(asked))


def test_both_servers_answer_behind_one_key(host: Any) -> None:
    seen = [chat(host) for _ in range(6)]
    assert {status for status, _, _ in seen} == {200}
    assert {server for _, server, _ in seen} == {"one-8101", "two-8102"}
    assert all(text.endswith("data: [DONE]\n\n") for _, _, text in seen)


def test_it_asks_for_a_key_and_knows_its_models(host: Any) -> None:
    assert ask(host, "/v1/models", key="none")[0] == 401
    assert ask(host, "/v1/models", key="/etc/one.key")[0] == 401
    assert [one["id"] for one in json.loads(ask(host, "/v1/models", key=f"{KEYS}/bob")[2])["data"]] == ["standin"]
    status, _, text = chat(host, "nobodys")
    assert (status, json.loads(text)["error"]["code"]) == (404, "model_not_found")


def test_requests_are_counted_by_model(host: Any) -> None:
    text = ask(host, "/metrics", key="none", port=8405)[2]
    assert 'haproxy_server_status{proxy="model-standin",server="one-8101",state="UP"} 1' in text
    assert 'haproxy_backend_http_responses_total{proxy="model-standin",code="5xx"} 0' in text


def test_keys_are_their_owners_alone(host: Any) -> None:
    for name in ("alice", "bob"):
        file = host.file(f"{KEYS}/{name}")
        assert (file.user, file.mode) == ("root", 0o600)
    assert host.file(KEYS).mode == 0o700
    assert host.file(f"{FOLDER}/engines.map").content_string == "one-8101 a-key-of-an-engine-0123456789\n"
    for name in ("engines.map", "clients.map", "haproxy.cfg"):
        file = host.file(f"{FOLDER}/{name}")
        assert (file.user, file.mode) == ("mi50-gateway", 0o600)
    alice = host.check_output(f"cat {KEYS}/alice")
    assert alice not in host.check_output(
        f"cat {FOLDER}/clients.map {FOLDER}/haproxy.cfg; ps -ef; journalctl -u mi50-gateway"
    )


def test_it_serves_this_host_alone_and_with_no_rights(host: Any) -> None:
    rows = [row.split() for row in host.check_output("cat /proc/net/tcp /proc/net/tcp6").splitlines()]
    found = {row[1] for row in rows if len(row) > 3 and row[3] == "0A"}
    for port in (8800, 8405):
        assert {one for one in found if one.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}, found
    shown = host.check_output(
        "systemctl show mi50-gateway -p User -p CapabilityBoundingSet -p NoNewPrivileges -p ProtectSystem"
    )
    assert "User=mi50-gateway" in shown
    assert "CapabilityBoundingSet=\n" in f"{shown}\n"
    assert "NoNewPrivileges=yes" in shown
    # The distribution's own service never ran.
    assert host.run("systemctl is-active haproxy.service").stdout.strip() != "active"
    assert host.run("systemctl is-enabled haproxy.service").stdout.strip() != "enabled"
