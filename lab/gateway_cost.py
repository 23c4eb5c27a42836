"""What the gateway adds to the first token and takes from decode: `script/lab gateway-cost`.

HAProxy of the distribution with the role's own configuration, on this machine's loopback, before a server that streams
200 tokens a second; no node is needed. The project's benchmark measures that server directly and through the gateway
in turn, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lab.console import say
from lab.settings import LabError, Settings

DIRECT, GATEWAY, METRICS = 18096, 18097, 18098
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
MODEL, KEY = "standin", "a-key-of-the-laboratory-0123456789"
REQUESTS, ANSWER = 12, 128
TEXT = Path(__file__).with_name("gateway_cost_page.txt")
PAGE, MARKS = "docs/gateway.md", ("<!-- cost:begin -->\n", "<!-- cost:end -->\n")
# What else runs on this machine must not be what is measured; only root may ask for that.
FIRST = ("nice", "-n", "-15") if os.geteuid() == 0 else ()


class Seen(NamedTuple):
    """One cell: milliseconds to the first token (median, interval) and tokens a second; None where there is none."""

    first: float
    low: float | None
    high: float | None
    decode: float | None
    why: str


def main(settings: Settings, rest: list[str]) -> int:
    """Measure and print the table; with --write renew it in docs/gateway.md."""
    parser = argparse.ArgumentParser(prog="script/lab gateway-cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="direct and through the gateway so many times (3)")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE}")
    options = parser.parse_args(rest)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gw") as name, _servers(settings, Path(name)) as version:
        load = os.getloadavg()[0]
        for number in range(options.rounds):
            # Whoever is measured first is another one each time.
            ways = (DIRECT, GATEWAY) if number % 2 == 0 else (GATEWAY, DIRECT)
            found = {port: _measure(settings, Path(name), port, number) for port in ways}
            rows.append((found[DIRECT], found[GATEWAY]))
            say(_row(number, *rows[-1]))
    text = _page(rows, version, load)
    print(text, end="")
    if options.write:
        _write(settings.root / PAGE, text)
    return 0


@contextlib.contextmanager
def _servers(settings: Settings, scratch: Path) -> Iterator[str]:
    """The server and the gateway before it; yields the version of HAProxy."""
    if not HAPROXY:
        raise LabError("there is no haproxy here: apt-get install haproxy; its service need not run")
    _configure(settings, scratch)
    standin = settings.root / "lab/standins/standin_openai"
    commands = (
        [sys.executable, str(standin), str(DIRECT)],
        [HAPROXY, "-W", "-f", str(scratch / "haproxy.cfg"), "-S", f"{scratch}/run/master.sock"],
    )
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((scratch / "log").open("w"))
        for command in commands:
            child = subprocess.Popen([*FIRST, *command], stdout=log, stderr=log)
            stack.callback(_end, child)
        end = time.monotonic() + 20
        while b'state="UP"} 1' not in _metrics():
            if time.monotonic() > end:
                raise LabError(f"the gateway finds no server: {(scratch / 'log').read_text()[-1500:]}")
            time.sleep(0.2)
        said = subprocess.run([HAPROXY, "-v"], capture_output=True, text=True, check=True).stdout
        yield said.split()[2]


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    child.wait(10)


def _configure(settings: Settings, scratch: Path) -> None:
    """The files that the role gives HAProxy, with its sockets in `scratch`."""
    sys.path.insert(0, str(settings.root / "module_utils"))
    model, render = (importlib.import_module(f"mi50.gateway.{name}") for name in ("model", "render"))
    engines = [model.Engine("here-standin", "here", "openai", "127.0.0.1", DIRECT, (MODEL,))]
    given = model.Settings(port=GATEWAY, metrics_port=METRICS)
    text = render.configuration(engines, given, str(scratch))
    (scratch / "run").mkdir()
    (scratch / "haproxy.cfg").write_text(text.replace(model.RUN, f"{scratch}/run").replace(model.STATE, "/dev/null"))
    for name, content in {**render.others(engines, {"me": KEY}), "engines.map": ""}.items():
        (scratch / name).write_text(content)
    (scratch / "key").write_text(KEY)
    (scratch / "key").chmod(0o600)


def _metrics() -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", METRICS, timeout=5)
    try:
        connection.request("GET", "/metrics")
        found = connection.getresponse().read()
        return b"\n".join(row for row in found.splitlines() if b'haproxy_server_status{proxy="model-' in row)
    except OSError:
        return b""
    finally:
        connection.close()


def _measure(settings: Settings, scratch: Path, port: int, number: int) -> Seen:
    """One cell of the benchmark."""
    sampling = {"temperature": 0.0, "seed": 42}
    task = {"id": "toll", "prompt": "Tell a long story about a ship.", "lang": "en", "mode": "fixed",
            "max_tokens": ANSWER, "min_tokens": ANSWER, "sampling": sampling}  # fmt: skip
    options = {"repeats": REQUESTS, "max_repeats": REQUESTS, "thermal": '"off"', "calibrate": "false"}
    options["controls"] = "false"
    command = [*FIRST, sys.executable, "-m", "mi50.bench", "cell", "--json", "--kind", "openai", "--model", MODEL]
    command += ["--url", f"http://127.0.0.1:{port}", "--task", "-", "--gpu", "none"]
    command += ["--run", f"{port}-{number}", "--dir", str(scratch / "runs")]
    command += ["--key-file", str(scratch / "key")] if port == GATEWAY else []
    command += [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    env = {**os.environ, "PYTHONPATH": str(settings.root / "module_utils")}
    done = subprocess.run(command, env=env, input=json.dumps(task), capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        raise LabError(f"the benchmark measured nothing: {done.stderr[-1500:]}")
    cell: dict[str, Any] = json.loads(done.stdout)
    if cell["ok"] != REQUESTS:
        raise LabError(f"{cell['ok']} of {cell['measured']} requests: {cell['status']} {cell['reject_reason']}")
    first, decode = cell["metrics"]["ttft"], cell["headline"]["decode"]
    edges = [None if first[edge] is None else first[edge] * 1000 for edge in ("low", "high")]
    return Seen(first["median"] * 1000, edges[0], edges[1], decode["median"], decode["reason"] or "")


def _row(number: int, direct: Seen, gateway: Seen) -> str:
    def first(one: Seen) -> str:
        return f"{one.first:.1f} ms" + (f" [{one.low:.1f}, {one.high:.1f}]" if one.low is not None else "")

    def decode(one: Seen) -> str:
        return f"{one.decode:.2f} tok/s" if one.decode is not None else f"none: {one.why}"

    more = f"{gateway.first - direct.first:.1f} ms"
    return f"| {number + 1} | {first(direct)} | {first(gateway)} | {more} | {decode(direct)} | {decode(gateway)} |"


def _page(rows: list[tuple[Seen, Seen]], version: str, load: float) -> str:
    """What stands between the marks of docs/gateway.md."""
    more = statistics.median(gateway.first - direct.first for direct, gateway in rows)
    decodes = [(one.decode, two.decode) for one, two in rows if one.decode is not None and two.decode is not None]
    shares = [abs(two / one - 1) for one, two in decodes]
    slower = f"decode differs by {statistics.median(shares):.2%}" if shares else "decode gave no figure"
    return TEXT.read_text().format(
        version=version,
        cores=os.cpu_count(),
        load=load,
        requests=REQUESTS,
        answer=ANSWER,
        rows="\n".join(_row(number, *row) for number, row in enumerate(rows)),
        more=more,
        decode=slower,
        priority=f"All three run before other work on this machine (nice {os.nice(0) - 15})." if FIRST else "",
    )


def _write(path: Path, text: str) -> None:
    page, count = re.subn(
        rf"{MARKS[0]}.*?{MARKS[1]}", lambda _found: MARKS[0] + text + MARKS[1], path.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise LabError(f"{path} has not one place for the table, between {MARKS[0].strip()} and {MARKS[1].strip()}")
    path.write_text(page)
