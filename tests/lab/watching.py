"""Three lab nodes, of which one asks the others: what a test has them do, and what Prometheus and Alertmanager say."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lab import engine, nodes, site
from lab.settings import NETWORK
from tests.lab import planted
from tests.lab.conftest import Lab
from tests.lab.load import Load
from tests.lab.planted import NODES, SERVE, WATCH, Condition

ASK = "import sys, urllib.request as r; print(r.urlopen('http://127.0.0.1:' + sys.argv[1], timeout=10).read().decode())"
# Who is told: it keeps what Alertmanager sends, a line each.
HOOK = """\
import http.server
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/srv/told", "ab") as told:
            told.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8099), Hook).serve_forever()
"""


def soon(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


def _named(labels: Iterable[Mapping[str, str]]) -> set[tuple[str, str]]:
    """Alerts with their nodes; not those of this machine's own disk, which every node sees as well."""
    return {
        (one["alertname"], one["instance"]) for one in labels if one.get("mountpoint", planted.DISK) == planted.DISK
    }


@dataclass
class Watching:
    """Three nodes, and what they are asked for."""

    lab: Lab
    watch: Path
    options: dict[str, Any]

    def run(self, playbook: str, *arguments: str, **changes: Any) -> site.Result:
        given = json.dumps({**self.options, **changes})
        limit = ("--limit", ",".join(NODES))
        return site.run(
            self.lab.settings, ["-i", str(self.watch), *limit, "-e", given, *arguments], playbook=playbook, quiet=True
        )

    def get(self, path: str) -> Any:
        return json.loads(self.lab.ssh(WATCH, f"python3 -c {shlex.quote(ASK)} {shlex.quote(path)}"))

    def ask(self, path: str) -> Any:
        return self.get(f"9090/api/v1/{path}")["data"]

    def query(self, text: str) -> Any:
        return self.ask(f"query?query={quote(text)}")["result"]

    def firing(self) -> set[tuple[str, str]]:
        return _named(one["labels"] for one in self.ask("alerts")["alerts"] if one["state"] == "firing")

    def fired(self) -> set[tuple[str, str]]:
        """What has fired within the hour, whether or not it still does."""
        return _named(one["metric"] for one in self.query('last_over_time(ALERTS{alertstate="firing"}[1h])'))

    def told(self, status: str) -> set[tuple[str, str]]:
        """What the receiver was told to be `firing` or `resolved`."""
        bodies = map(json.loads, self.lab.ssh(WATCH, "cat /srv/told 2>/dev/null || true").splitlines())
        return _named(one["labels"] for body in bodies for one in body["alerts"] if one["status"] == status)

    def plant(self, conditions: Sequence[Condition]) -> None:
        assert self.firing() & planted.of(conditions) == set()
        for one in conditions:
            self.lab.ssh(one.node, one.plant)

    def mend(self, conditions: Sequence[Condition]) -> None:
        for one in conditions:
            self.lab.ssh(one.node, one.mend)

    def past(self, folder: Path) -> None:
        """Give Prometheus the hours before, as blocks of its own format."""
        assert soon(lambda: all(self.query(selector) for selector in planted.PAST), 60)
        file = folder / "past.om"
        file.write_text(planted.past({selector: self.query(f"{selector}[1h]") for selector in planted.PAST}))
        file.chmod(0o644)
        engine.docker("cp", str(file), f"{nodes.container(WATCH)}:/srv/past.om")
        self.lab.ssh(
            WATCH,
            "runuser -u prometheus -- promtool tsdb create-blocks-from openmetrics /srv/past.om " + planted.STORED,
        )

    def load(self) -> Load:
        """One client of the gateway, that asks for one short answer after the other."""
        address = f"{engine.address(nodes.container(WATCH), NETWORK)}:8800"
        key = self.lab.ssh(WATCH, "cat /etc/mi50-aipc/keys/gateway/default").strip()
        return Load(address, key, "smollm2", clients=1, tokens=4)

    def key(self) -> str:
        return self.lab.ssh(SERVE, "cat /etc/mi50-aipc/keys/llama_cpp").strip()
