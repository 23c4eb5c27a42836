"""Real sockets and real time: what a virtual server cannot show."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mi50.bench import api, calibrate, host, reading, wire
from mi50.bench.__main__ import main
from mi50.bench.adapters import adapter

from .loopback import HEAD, Loopback, event, good


def request(url: str, limits: wire.Limits | None = None) -> wire.Exchange:
    kind = adapter("openai")
    limits = limits or wire.Limits(connect=2, prefill=5, stall=1, total=10, load=3)
    return wire.stream(wire.Endpoint.parse(url), kind.path, b'{"max_tokens": 40}', limits, kind.is_token)


def test_times_of_a_stream() -> None:
    """40 tokens, 5 ms apart, after 100 ms. One of six streams shows it: on a busy machine the server itself is late."""
    seen_times = []
    with Loopback(lambda _document: good(40, 0.005, 0.1)) as server:
        for _turn in range(6):
            seen = request(server.url)
            heard = reading.read(adapter("openai"), seen.events)
            assert (seen.failure, seen.done, len(heard.marks), heard.finish) == ("", True, 40, "length")
            assert heard.t1_ns and heard.last_token_ns and seen.body_sent_ns
            times = ((heard.t1_ns - seen.body_sent_ns) / 1e9, (heard.last_token_ns - heard.t1_ns) / 1e9)
            seen_times.append(times)
            if times == pytest.approx((0.1, 39 * 0.005), abs=0.02):
                return
    pytest.fail(f"none of {seen_times} is 0.1 and 0.195")


def test_pings_keep_nothing_alive() -> None:
    """A ping each 0.2 s is no token: the stall is noticed all the same."""
    token = event({"choices": [{"delta": {"content": "a"}}]})
    pings = [(0.2, b"7\r\n: ping\n\r\n")] * 20
    with Loopback(lambda _document: [(0.0, HEAD), (0.05, token), *pings]) as server:
        started = time.monotonic()
        seen = request(server.url)
        assert seen.failure == "stall"
        assert 0.9 < time.monotonic() - started < 3


def test_nobody_there_is_tried_until_the_patience_ends() -> None:
    with Loopback(lambda _document: []) as server:
        url = server.url
    seen = request(url, wire.Limits(connect=1, load=0.3))
    assert (seen.failure, seen.t0_ns) == ("refused", None)
    assert seen.retries_refused >= 1


def test_a_host_that_does_not_answer() -> None:
    seen = wire.stream(
        wire.Endpoint.parse("http://no-such-host.invalid:1"), "/", b"", wire.Limits(load=0), lambda _e: True
    )
    assert seen.failure == "connect"


def test_large_body_to_a_server_that_refuses_early() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}"

    class Early(Loopback):
        def _serve(self, sock: Any) -> None:
            sock.recv(1000)
            sock.sendall(refusal)
            sock.close()

    with Early(lambda _document: []) as server:
        kind = adapter("openai")
        limits = wire.Limits(connect=2, prefill=5, stall=1, total=10, load=0)
        body = b"x" * 20_000_000
        seen = wire.stream(wire.Endpoint.parse(server.url), kind.path, body, limits, kind.is_token)
    assert seen.status == 413 or seen.failure == "reset"


def test_several_at_once(tmp_path: Path) -> None:
    with Loopback(lambda document: good(document["max_tokens"], 0.005, 0.02)) as server:
        params = {
            "run": {"id": "c", "dir": str(tmp_path)},
            "engine": {"kind": "openai", "url": server.url},
            "model": {"requested": "tiny"},
            "measure": {"repeats": 2, "max_repeats": 2, "controls": False, "calibrate": False, "warmups": 0},
            "task": {"id": "many", "prompt": "x", "max_tokens": 40, "mode": "fixed", "concurrency": 4},
        }
        cell = api.measure(params, host.Roots(sysfs=tmp_path), lambda _step: None)["cell"]
    assert (cell["status"], cell["ok"], cell["cell_id"]) == ("OK", 8, "tiny.many.fixed.c4")
    rate = cell["metrics"]["rate_total"]
    assert rate["n"] == 2
    assert rate["median"] == pytest.approx(4 * 40 / 0.215, rel=0.4)


def cli(*words: str) -> list[str]:
    return [sys.executable, "-m", "mi50.bench", *words]


def test_a_killed_run_goes_on_and_loses_nothing(tmp_path: Path, repo_root: Path) -> None:
    """SIGKILL in the middle of the second cell; the same command again measures that one and not the first."""
    tasks = []
    for name in ("first", "second"):
        tasks.append(tmp_path / f"{name}.json")
        tasks[-1].write_text(json.dumps({"id": name, "prompt": "x", "max_tokens": 40, "mode": "fixed"}))
    environment = {**os.environ, "PYTHONPATH": str(repo_root / "module_utils")}
    records = tmp_path / "runs/r/openai.jsonl"
    with Loopback(lambda document: good(document["max_tokens"], 0.002, 0.01)) as server:
        words = ["--url", server.url, "--model", "tiny", "--dir", str(tmp_path / "runs"), "--run", "r", "--gpu", "none"]
        words += ["--set", "controls=false", "--set", "calibrate=false", "--set", "max_repeats=6"]
        assert (
            subprocess.run(cli("cell", *words, "--task", str(tasks[0])), env=environment, check=False).returncode == 0
        )
        done = server.requests
        child = subprocess.Popen(
            cli("cell", *words, "--task", str(tasks[1])), env=environment, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 20
        while server.requests < done + 4 and time.monotonic() < until:
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait()
        rows = [json.loads(line) for line in records.read_text().splitlines() if line.endswith("}")]
        assert [row["cell_id"] for row in rows if row["type"] == "cell"] == ["tiny.first.fixed"]
        half = [row for row in rows if row["type"] == "request" and row["cell_id"] == "tiny.second.fixed"]
        assert len(half) >= 2
        count = server.requests
        assert main(["cell", *words, "--task", str(tasks[0])]) == 0
        assert server.requests == count  # the finished cell is not measured again
        assert main(["cell", *words, "--task", str(tasks[1])]) == 0
        assert server.requests == count + 7
    cells = [row for row in map(json.loads, records.read_text().splitlines()) if row["type"] == "cell"]
    assert [(row["cell_id"], row["status"], row["attempt"]) for row in cells] == [
        ("tiny.first.fixed", "OK", 1),
        ("tiny.second.fixed", "OK", 2),
    ]
    assert main(["again", str(records)]) == 0


def test_cost_of_six_requests(tmp_path: Path, repo_root: Path) -> None:
    """The whole program, six measured requests of 128 tokens: at most 3 CPU seconds and 60 MiB."""
    task = tmp_path / "t.json"
    task.write_text(json.dumps({"id": "t", "prompt": "x", "max_tokens": 128, "mode": "fixed"}))
    code = (
        "import json,time,sys; from mi50.bench.__main__ import main; from mi50.bench import host; "
        "code=main(sys.argv[1:]); print(json.dumps([code,time.process_time(),host.peak_rss_mib()]))"
    )
    with Loopback(lambda document: good(document["max_tokens"], 0.002, 0.01)) as server:
        words = ["cell", "--url", server.url, "--model", "tiny", "--dir", str(tmp_path / "runs"), "--run", "r"]
        words += ["--gpu", "none", "--task", str(task), "--set", "max_repeats=6", "--set", "calibrate=false"]
        environment = {**os.environ, "PYTHONPATH": str(repo_root / "module_utils")}
        done = subprocess.run(
            [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=True
        )
    status, cpu, rss = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stdout + done.stderr
    assert (cpu < 3.0, rss < 60.0) == (True, True), (cpu, rss)


def test_calibration_and_overhead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = calibrate.stream(100, 500.0)
    assert found["ok"], found
    assert 0 < found["lag_us_p50"] <= found["lag_us_p99"] <= found["lag_us_max"]
    assert abs(found["rate_error"]) < 0.05
    page = tmp_path / "page.md"
    assert main(["overhead", "--write", str(page), "--seconds", "0.05", "--repeats", "1"]) == 0
    rows = [line for line in page.read_text().splitlines() if re.match(r"\| \d", line)]
    assert [row.split("|")[1].strip() for row in rows] == ["100", "1000", "5000"]
    assert "events/s" in page.read_text()
    assert capsys.readouterr().err.count("|") > 10


def test_a_slow_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = {"ok": True, "reason": None, "lag_us_p99": 5000.0}
    monkeypatch.setattr(calibrate, "stream", lambda count, rate: dict(fake))
    found = calibrate.calibrate()
    assert (found["ok"], "5000 us, more than 833 us" in found["reason"]) == (False, True)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "t.json"
    task.write_text(json.dumps({"id": "t", "prompt": "x", "max_tokens": 40, "mode": "fixed"}))
    with Loopback(lambda document: good(document["max_tokens"], 0.001, 0.01)) as server:
        assert main(["probe", "--url", server.url]) == 0
        assert json.loads(capsys.readouterr().out)["reachable"]
        words = [
            "--url",
            server.url,
            "--model",
            "tiny",
            "--dir",
            str(tmp_path / "r"),
            "--run",
            "x",
            "--task",
            str(task),
        ]
        assert main(["plan", *words]) == 0
        assert json.loads(capsys.readouterr().out)["requests"] == 9
        assert main(["cell", *words, "--set", "repeats=nine"]) == 2
        assert "measure.repeats" in capsys.readouterr().err
        quiet = ["--gpu", "none", "--set", "repeats=1", "--set", "max_repeats=1", "--set", "calibrate=false"]
        assert main(["cell", *words, *quiet]) == 0
    out = capsys.readouterr()
    assert "tiny.t.fixed: OK, 1 of 1 requests" in out.out
    assert "decode" in out.out
    assert "measure 0/1" in out.err
