"""Lab nodes for the tests: node1 and node2 are converged in order, node3 stays as a fresh machine for bad input."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import engine, nodes, site
from lab.__main__ import up
from lab.mirror import rocblas, server, tree
from lab.settings import Settings, from_environment

# What a refused run must leave alone: packages, ROCm, apt's files and lists, the loader's, login shells', groups.
STATE = (
    "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n';"
    " find /opt /etc/apt /etc/ld.so.conf.d /etc/profile.d /etc/environment /etc/group /usr/share/keyrings"
    " /etc/mi50-aipc /var/lib/apt/lists"
    " \\( -type d -printf '%p d %m\\n' -o -printf '%p %y %s %m %T@ %l\\n' \\) 2>/dev/null | sort"
)


@dataclass
class Lab:
    """The running lab and what the tests ask of it."""

    settings: Settings
    url: str
    runs: dict[str, site.Result] = field(default_factory=dict)

    def site(self, *arguments: str) -> site.Result:
        """site.yml with the lab's inventory."""
        return site.run(self.settings, list(arguments), quiet=True)

    def ssh(self, node: str, command: str) -> str:
        """Run a command on a node as root; stdout."""
        done = engine.docker("exec", nodes.container(node), "sh", "-c", command)
        return done.stdout

    def state(self, node: str) -> str:
        """A fingerprint of everything a refused run must not touch."""
        return self.ssh(node, STATE)

    def variant(self, name: str) -> Path:
        """A folder below the mirror's /variants/ for a broken copy."""
        folder = server.variants(self.settings) / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three fresh nodes; their containers are gone afterwards, images and mirror stay for the next run."""
    base = from_environment()
    settings = dataclasses.replace(base, nodes=3, cards=("one-mi50", "two-mi50", "one-mi50"))
    if engine.running():
        for name in settings.node_names():
            nodes.remove(name)
    url, _ = up(settings)
    yield Lab(settings, url)
    for name in settings.node_names():
        nodes.remove(name)


@pytest.fixture(scope="session")
def converged(lab: Lab) -> Lab:
    """node1 and node2 after: check, run, run, check."""
    limit = ("--limit", "node1,node2")
    lab.runs["first check"] = lab.site("--check", "--diff", *limit)
    lab.runs["first"] = lab.site(*limit)
    lab.runs["second"] = lab.site(*limit)
    lab.runs["converged check"] = lab.site("--check", "--diff", *limit)
    return lab


@pytest.fixture(scope="session")
def source_digests(lab: Lab) -> dict[str, str]:
    """sha256 by file name of the gfx906 files in Debian's own package: the mirror had no part in this."""
    deb = tree.source_package(lab.settings)
    wanted = rocblas.gfx906(rocblas.members(deb))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "library"
        rocblas.unpack(deb, wanted, folder)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
