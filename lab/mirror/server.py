"""Serve the docroot with nginx in a container, and count what it gave away."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lab import engine
from lab.console import say
from lab.image import build as image
from lab.mirror import tree
from lab.settings import MIRROR_CONTAINER, NETWORK, OURS, LabError, Settings

ALIAS = "mirror.lab"
ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Traffic:
    """What one run took from the mirror."""

    requests: int
    sent: int
    clients: dict[str, int]


def logs(settings: Settings) -> Path:
    """The folder of the access log."""
    return settings.cache / "logs"


def variants(settings: Settings) -> Path:
    """The folder served under /variants/: broken copies that tests make."""
    return settings.cache / "variants"


def up(settings: Settings) -> str:
    """Run the mirror over the present docroot; return its base URL."""
    root = tree.docroot(settings)
    nginx = image.mirror(settings)
    # With its inode: a folder made anew under the same name is not the one that a running container serves.
    wanted = f"{nginx} {root} {root.stat().st_ino}"
    engine.ensure_network(NETWORK)
    found = engine.inspect(MIRROR_CONTAINER)
    if found and (found["Config"]["Labels"].get("mi50-lab.made-of") != wanted or not found["State"]["Running"]):
        engine.docker("rm", "-f", MIRROR_CONTAINER)
        found = None
    if not found:
        _start(settings, root, nginx, wanted)
    return url()


def _start(settings: Settings, root: Path, nginx: str, wanted: str) -> None:
    for folder in (logs(settings), variants(settings)):
        folder.mkdir(parents=True, exist_ok=True)
    labels = ["--label", OURS, "--label", f"mi50-lab.made-of={wanted}"]
    mounts = [
        "-v",
        f"{root}:/srv/www:ro",
        "-v",
        f"{variants(settings)}:/srv/variants:ro",
        "-v",
        f"{logs(settings)}:/srv/logs",
    ]
    network = ["--network", NETWORK, "--network-alias", ALIAS, *engine.fixed_address(NETWORK, 1)]
    engine.docker("run", "-d", "--name", MIRROR_CONTAINER, "--hostname", "mirror", *labels, *network, *mounts, nginx)
    _wait(f"{url()}/lab.json")
    say(f"mirror answers at {url()}")


def _wait(address: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with direct.open(address, timeout=5):
                return
        except (urllib.error.URLError, OSError) as exc:
            if time.monotonic() > deadline:
                raise LabError(f"the mirror does not answer at {address}: {exc}") from exc
            time.sleep(0.2)


def url() -> str:
    """The mirror's base URL by address: the same on the controller and on every node."""
    return f"http://{engine.address(MIRROR_CONTAINER, NETWORK)}"


def mark(settings: Settings) -> int:
    """A place in the access log, to be handed to `traffic`."""
    log = logs(settings) / "access.log"
    return log.stat().st_size if log.exists() else 0


def traffic(settings: Settings, since: int) -> Traffic:
    """Requests and bytes from a mark on, by client address."""
    log = logs(settings) / "access.log"
    clients: dict[str, int] = {}
    requests = 0
    if log.exists():
        with log.open() as stream:
            stream.seek(since)
            for line in stream:
                _, client, _, sent = line.split("\t")[:4]
                clients[client] = clients.get(client, 0) + int(sent)
                requests += 1
    return Traffic(requests, sum(clients.values()), clients)
