"""The distribution's HAProxy with the files that `render` makes, before engines that are threads of this test.

Skipped where there is no HAProxy: nothing here says anything without the real one.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from mi50.gateway import admin, drain
from mi50.gateway.model import GatewayError

from tests.unit.gateway.rack import HAPROXY, Gateway, Server, engine, free_port

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="no haproxy on this machine: apt-get install haproxy")
ALICE = "alices-key-0123456789"


class Rack:
    """Three engines: two of one model, one of another."""

    def __init__(self) -> None:
        self.one, self.two, self.other = (
            Server("small", "key-of-one"),
            Server("small", "key-of-two"),
            Server("a/b:c", "k"),
        )
        self.engines = [
            engine("n1-llama_cpp", self.one),
            engine("n2-llama_cpp", self.two),
            engine("n2-vllm", self.other),
        ]
        keys = {"n1-llama_cpp": "key-of-one", "n2-llama_cpp": "key-of-two", "n2-vllm": "k"}
        self.gateway = Gateway(self.engines, keys, max_body=65536, queue_timeout=5)

    def stop(self) -> None:
        self.gateway.stop()
        for server in (self.one, self.two, self.other):
            server.stop()


@pytest.fixture
def rack() -> Iterator[Rack]:
    found = Rack()
    try:
        found.gateway.up("n1-llama_cpp", "n2-llama_cpp", "n2-vllm")
        yield found
    finally:
        found.stop()


def error(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)["error"]
    return found


def test_requests_go_where_their_model_is(rack: Rack) -> None:
    gateway = rack.gateway
    status, body, head = gateway.chat("a/b:c")
    assert (status, body.endswith(b"data: [DONE]\n\n"), head["X-Served-By"]) == (200, True, "n2-vllm")
    served = {gateway.chat("small")[2]["X-Served-By"] for _ in range(6)}
    assert served == {"n1-llama_cpp", "n2-llama_cpp"}
    # The model stands after a prompt that is longer than HAProxy's own buffer would be.
    body_ = {"messages": [{"role": "user", "content": "x" * 60000}], "model": "small"}
    assert gateway.request("POST", "/v1/chat/completions", body_, ALICE)[0] == 200
    # A model that is named within the conversation is none.
    body_ = {"messages": [{"model": "small", "content": '"model":"small"'}], "model": "a/b:c"}
    assert gateway.request("POST", "/v1/chat/completions", body_, ALICE)[2]["X-Served-By"] == "n2-vllm"


def test_each_engine_gets_its_own_key_and_nobody_a_clients(rack: Rack) -> None:
    for _ in range(4):
        assert rack.gateway.chat("small")[0] == 200
    status, *_ = rack.gateway.request("POST", "/v1/completions", {"model": "a/b:c"}, x_api_key=ALICE)
    assert status == 200
    for server in (rack.one, rack.two, rack.other):
        assert server.seen
        for seen in server.seen:
            assert seen["headers"].get("authorization") == f"Bearer {server.key}"
            assert ALICE not in str(seen)


def test_what_is_refused_and_how(rack: Rack) -> None:
    gateway = rack.gateway
    assert error(gateway.chat("small", key="wrong")[1])["code"] == "invalid_api_key"
    assert gateway.chat("small", key="wrong")[0] == gateway.status("GET", "/v1/models") == 401
    status, body, _ = gateway.chat('no"such')
    assert (status, error(body)["code"]) == (404, "model_not_found")
    assert error(body)["message"] == 'The model `no"such` does not exist.'
    assert gateway.request("POST", "/v1/chat/completions", {"messages": []}, ALICE)[0] == 400
    assert gateway.request("POST", "/v1/chat/completions", b"no json", ALICE)[0] == 400
    assert gateway.request("POST", "/v1/chat/completions", b"x" * 70000, ALICE)[0] == 413
    for path in ("/slots", "/v1/../slots", "/metrics", "/v1/%2e%2e/slots"):
        assert gateway.request("POST", path, {"model": "small"}, ALICE)[0] == 404
    assert gateway.request("GET", "/v1/responses/x", key=ALICE)[0] == 404
    assert not rack.one.seen
    assert not rack.two.seen


def test_models_are_the_union(rack: Rack) -> None:
    status, body, _ = rack.gateway.request("GET", "/v1/models", key=ALICE)
    assert (status, [row["id"] for row in json.loads(body)["data"]]) == (200, ["a/b:c", "small"])


def test_a_dead_engine_costs_nothing_and_the_last_one_503(rack: Rack) -> None:
    rack.one.stop()
    # At once, before any look has found it dead: it was not reached, so that another one is asked.
    assert [rack.gateway.chat("small")[0] for _ in range(6)] == [200] * 6
    rack.two.stop()
    rack.gateway.until(lambda: {one.status for one in rack.gateway.servers() if one.proxy == "model-small"} == {"DOWN"})
    status, body, _ = rack.gateway.chat("small")
    assert (status, error(body)["type"]) == (503, "server_error")
    assert rack.gateway.chat("a/b:c")[0] == 200


def test_what_was_sent_is_never_sent_again(rack: Rack) -> None:
    rack.one.breaks = rack.two.breaks = "before"
    status, body, _ = rack.gateway.chat("small")
    assert (status, "not repeated" in error(body)["message"]) == (502, True)
    assert len(rack.one.seen) + len(rack.two.seen) == 1
    rack.one.breaks = rack.two.breaks = "busy"
    assert rack.gateway.chat("small")[:2] == (503, b'{"error": "own words"}')
    assert len(rack.one.seen) + len(rack.two.seen) == 2


def test_a_stream_that_breaks_is_broken_for_the_client(rack: Rack) -> None:
    rack.other.breaks = "within"
    status, body, _ = rack.gateway.chat("a/b:c", 50)
    assert status == 200
    assert b"[DONE]" not in body
    assert len(rack.other.seen) == 1


def test_a_client_that_goes_away_ends_its_stream_at_the_engine(rack: Rack) -> None:
    body = {"model": "a/b:c", "max_tokens": 2000}
    with rack.gateway.stream("POST", "/v1/completions", body, ALICE) as response:
        response.read(20)
    rack.gateway.until(lambda: sum(one.sessions for one in rack.gateway.servers()) == 0, 5)


def test_reloads_cut_nothing_and_withdraw_keys(rack: Rack) -> None:
    results: list[tuple[int, bool]] = []

    def long() -> None:
        status, body, _ = rack.gateway.chat("small", 300, "bobs-key-0123456789")
        results.append((status, b"[DONE]" in body))

    threads = [threading.Thread(target=long) for _ in range(4)]
    for thread in threads:
        thread.start()
    rack.gateway.until(lambda: sum(one.sessions for one in rack.gateway.servers() if one.proxy == "model-small") == 4)
    rack.gateway.clients = {"alice": ALICE}
    rack.gateway.take(rack.engines[:2])
    assert rack.gateway.chat("small", key="bobs-key-0123456789")[0] == 401
    assert rack.gateway.chat("a/b:c")[0] == 404
    # What a worker carries that a reload has left behind counts: the node is not free.
    now, old = admin.every(rack.gateway.ask)
    assert admin.busy(now, old, {"n1-llama_cpp", "n2-llama_cpp"}) == 4
    for thread in threads:
        thread.join()
    assert results == [(200, True)] * 4


def test_a_drained_node_gets_nothing_and_stays_so_through_a_reload(rack: Rack) -> None:
    gateway = rack.gateway
    wait = drain.Time(5.0, time.monotonic, time.sleep)
    stream = threading.Thread(target=lambda: [gateway.chat("small", 100) for _ in range(1)])
    stream.start()
    gateway.until(lambda: any(one.sessions for one in gateway.servers() if one.proxy == "model-small"))
    seen = drain.drained(gateway.ask, {"n1-llama_cpp"}, wait)
    assert (seen.changed, seen.sessions, seen.last) == (True, 0, [])
    stream.join()
    gateway.take(rack.engines)
    assert {gateway.chat("small")[2]["X-Served-By"] for _ in range(6)} == {"n2-llama_cpp"}
    both = {"n2-llama_cpp", "n2-vllm"}
    with pytest.raises(GatewayError, match="n1-llama_cpp drain"):
        drain.drained(gateway.ask, both, wait)
    last = drain.drained(gateway.ask, both, wait, check=True, last_too=True).last
    assert last == ["model-a_b:c", "model-small"]
    back = drain.ready(gateway.ask, {"n1-llama_cpp"}, wait)
    assert (back.changed, back.waiting) == (True, [])
    assert {gateway.chat("small")[2]["X-Served-By"] for _ in range(6)} == {"n1-llama_cpp", "n2-llama_cpp"}


def test_an_engine_that_is_not_ready_is_not_taken_back(rack: Rack) -> None:
    wait = drain.Time(1.0, time.monotonic, time.sleep)
    drain.drained(rack.gateway.ask, {"n1-llama_cpp"}, wait)
    rack.one.key = "another"
    rack.gateway.until(
        lambda: any(one.proxy == "engine-n1-llama_cpp" and one.status == "DOWN" for one in rack.gateway.servers())
    )
    found = drain.ready(rack.gateway.ask, {"n1-llama_cpp"}, wait)
    assert len(found.waiting) == 1
    assert "n1-llama_cpp: down" in found.waiting[0]
    assert "Unauthorized" in found.waiting[0]


def test_an_engine_that_moved_is_found_after_a_reload(rack: Rack) -> None:
    rack.other.stop()
    moved = Server("a/b:c", "k", free_port())
    rack.gateway.until(
        lambda: any(one.proxy == "engine-n2-vllm" and one.status == "DOWN" for one in rack.gateway.servers())
    )
    rack.gateway.take([*rack.engines[:2], engine("n2-vllm", moved)], ["engine-n2-vllm"])
    rack.gateway.up("n2-vllm")
    assert rack.gateway.chat("a/b:c")[0] == 200
    moved.stop()


def test_an_engine_that_is_down_stays_so_through_a_reload(rack: Rack) -> None:
    gateway = rack.gateway
    rack.one.stop()

    def down() -> set[str]:
        return {one.proxy for one in gateway.servers() if one.name == "n1-llama_cpp" and one.status.startswith("DOWN")}

    gateway.until(lambda: len(down()) == 2)
    gateway.take(rack.engines)
    assert down() == {"engine-n1-llama_cpp", "model-small"}
    assert {gateway.chat("small")[2]["X-Served-By"] for _ in range(6)} == {"n2-llama_cpp"}


def test_a_drained_node_whose_engine_comes_up_stays_drained(rack: Rack) -> None:
    """As it is when a node is rebuilt: drained, down, reloaded, up again at another port, and taken back."""
    gateway, wait = rack.gateway, drain.Time(10.0, time.monotonic, time.sleep)
    drain.drained(gateway.ask, {"n1-llama_cpp"}, wait)
    rack.one.stop()
    gateway.until(lambda: any(one.proxy == "engine-n1-llama_cpp" and one.status == "DOWN" for one in gateway.servers()))
    gateway.take(rack.engines)
    rack.one = Server("small", "key-of-one", free_port())
    gateway.take([engine("n1-llama_cpp", rack.one), *rack.engines[1:]], ["engine-n1-llama_cpp"])
    gateway.up("n1-llama_cpp")
    assert {gateway.chat("small")[2]["X-Served-By"] for _ in range(6)} == {"n2-llama_cpp"}
    assert drain.ready(gateway.ask, {"n1-llama_cpp"}, wait).waiting == []
    assert {gateway.chat("small")[2]["X-Served-By"] for _ in range(6)} == {"n1-llama_cpp", "n2-llama_cpp"}


def test_requests_wait_for_a_slot() -> None:
    server = Server("small", "k")
    one = engine("n1-llama_cpp", server)
    gateway = Gateway([one.__class__(**{**one.__dict__, "slots": 1})], {"n1-llama_cpp": "k"}, queue_timeout=5)
    try:
        gateway.up("n1-llama_cpp")
        results: list[int] = []
        threads = [threading.Thread(target=lambda: results.append(gateway.chat("small", 30)[0])) for _ in range(3)]
        for thread in threads:
            thread.start()
        gateway.until(lambda: any(server.sessions == 1 and server.queued == 0 for server in gateway.servers()))
        for thread in threads:
            thread.join()
        assert results == [200] * 3
    finally:
        gateway.stop()
        server.stop()


def test_metrics_count_by_model(rack: Rack) -> None:
    rack.gateway.chat("small")
    seen = ""

    def counted() -> bool:  # when HAProxy has closed the stream, which its client may notice first
        nonlocal seen
        connection = http.client.HTTPConnection("127.0.0.1", rack.gateway.settings.metrics_port, timeout=5)
        connection.request("GET", "/metrics")
        seen = connection.getresponse().read().decode()
        connection.close()
        return 'haproxy_backend_http_responses_total{proxy="model-small",code="2xx"} 1' in seen

    rack.gateway.until(counted)
    assert 'haproxy_server_status{proxy="model-small",server="n1-llama_cpp",state="UP"} 1' in seen
