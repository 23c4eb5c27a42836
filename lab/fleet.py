"""script/lab fleet: nodes from nothing through the artifact mirror, counted in the access logs; and without a network.

For each number of nodes everything is made anew: the depot is filled from the lab's upstream, then site.yml runs. What
is counted: bytes that the upstream gave away (to the depot and, if anything went wrong, to nodes), and the depot's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import depot, engine, fleet_page, inventory, nodes
from lab.console import say
from lab.image import build as image
from lab.mirror import server
from lab.settings import NETWORK, LabError, Settings


@dataclass(frozen=True)
class Row:
    """One run: nodes, wall times in seconds, bytes by where they came from."""

    nodes: int
    fill_seconds: float
    site_seconds: float
    upstream_fill: int
    upstream_nodes: int
    local: int


def main(settings: Settings, rest: list[str], up: Callable[[Settings], object]) -> int:
    """Bring the lab `up` once the arguments are known to be good, run what is asked for and write the table."""
    parser = argparse.ArgumentParser(prog="script/lab fleet")
    parser.add_argument("counts", nargs="*", type=int, default=[1, 8], help="numbers of nodes (1 8)")
    parser.add_argument("--cut", action="store_true", help="install from an exported folder with every route cut")
    parser.add_argument("--output", type=Path, default=settings.root / "docs" / "fleet-runs.json")
    options = parser.parse_args(rest)
    up(settings)
    if options.cut:
        for count in options.counts:
            record = isolated(dataclasses.replace(settings, nodes=count))
            fleet_page.save(options.output, f"cut-{count}", record)
        return 0
    for count in options.counts:
        row = measured(dataclasses.replace(settings, nodes=count))
        fleet_page.save(options.output, str(count), dataclasses.asdict(row))
        print(json.dumps(dataclasses.asdict(row)))
    return 0


def fresh(settings: Settings) -> tuple[str, str]:
    """Nodes that have never been anything, and a depot that holds nothing; return addresses of upstream and depot."""
    for name in settings.node_names():
        nodes.remove(name)
    upstream = server.up(settings)
    nodes.up(settings, image.node(settings))
    inventory.write(settings, upstream)
    depot.lock_file(settings).unlink(missing_ok=True)
    return upstream, depot.up(settings, upstream)


def measured(settings: Settings) -> Row:
    """One run from nothing."""
    dummy, address = fresh(settings)
    mark = server.mark(settings)
    fill = depot.run(settings, "playbooks/mirror.yml", quiet=True)
    filled = server.traffic(settings, mark)
    say(f"the depot took {filled.sent / 1e6:.1f} MB in {fill.seconds:.0f} s")
    mark, line = server.mark(settings), depot.lines()
    with Builds(settings) as arguments:
        site = depot.run(settings, "site.yml", *depot.through(settings), *arguments)
    used, local = server.traffic(settings, mark), depot.log(line)
    ours = {engine.address(nodes.container(name), NETWORK): name for name in settings.node_names()}
    for client, sent in sorted(local.clients.items()):
        say(f"{ours.get(client, client)}: {sent / 1e6:.1f} MB from the depot, {used.clients.get(client, 0)} B upstream")
    if address in used.clients:
        raise LabError("the depot fetched while nodes were installed: it was not whole")
    expect_settled(settings, *depot.through(settings), *arguments)
    return Row(settings.nodes, fill.seconds, site.seconds, filled.sent, used.sent, local.sent)


def expect_settled(settings: Settings, *arguments: str) -> None:
    """Raise LabError unless a second run changes nothing on any node."""
    again = depot.run(settings, "site.yml", *arguments, quiet=True)
    changed = {name: again.recap[name]["changed"] for name in settings.node_names() if again.recap[name]["changed"]}
    if changed:
        raise LabError(f"the second run changed something: {changed}")


class Builds:
    """A cache of builds of its own, so that a wheel of an earlier run helps nobody."""

    def __init__(self, settings: Settings) -> None:
        """Make the folder."""
        self._folder = tempfile.mkdtemp(prefix="builds-", dir=settings.cache)

    def __enter__(self) -> tuple[str, ...]:
        """Return the arguments that name it."""
        return ("-e", json.dumps({"mi50_build_dir": self._folder}))

    def __exit__(self, *dummy: object) -> None:
        """Remove it."""
        shutil.rmtree(self._folder, ignore_errors=True)


def isolated(settings: Settings) -> dict[str, object]:
    """Export a filled depot, make a new one from the folder, cut every route, install nodes. Raises LabError."""
    exported = depot.folder(settings) / "exported"
    if not (exported / "manifest.json").exists():
        fresh(settings)
        depot.run(settings, "playbooks/mirror.yml", "-e", f"artifact_mirror_export={depot.EXPORTED}", quiet=True)
    seal = (exported / "manifest.json.sha256").read_text().split()[0]
    lock = depot.lock_file(settings).read_text()
    fresh(settings)
    depot.lock_file(settings).write_text(lock)
    names = [depot.NAME, *settings.node_names()]
    depot.cut(settings, names)
    mark = server.mark(settings)
    given = {"artifact_mirror_import": depot.EXPORTED, "artifact_mirror_import_sha256": seal}
    imported = depot.run(settings, "playbooks/mirror.yml", "-e", json.dumps(given))
    depot.run(settings, "playbooks/mirror_client.yml", *depot.through(settings))
    with Builds(settings) as arguments:
        site = depot.run(settings, "site.yml", *depot.through(settings), *arguments)
        expect_settled(settings, *depot.through(settings), *arguments)
    used = server.traffic(settings, mark)
    if used.sent:
        raise LabError(f"the upstream was reached although every route was cut: {used.clients}")
    size = sum(path.stat().st_size for path in exported.rglob("*") if path.is_file())
    say(f"{settings.nodes} nodes from a folder of {size / 1e6:.0f} MB; upstream gave {used.sent} bytes")
    return {
        "nodes": settings.nodes,
        "folder_bytes": size,
        "import_seconds": imported.seconds,
        "site_seconds": site.seconds,
        "upstream_bytes": used.sent,
    }
