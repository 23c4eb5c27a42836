"""The benchmark in the lab: real llama-server on the nodes, one node after the other, since they share one machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil

from lab import engine, inventory, nodes, site
from lab.console import say, step
from lab.engines import units
from lab.mirror import server
from lab.settings import KNOWN_ENGINES, Settings

# Node after node: two at once would measure each other.
SERIAL = ("-e", "benchmark_serial=1")
# The blog's eight tasks. On software Vulkan a token takes a tenth of a second: short answers, few repetitions.
FULL = {
    "benchmark_suite": "blog-2025-10",
    "benchmark_max_tokens": 48,
    "benchmark_repeats": 2,
    "benchmark_probes": [],
}


def main(settings: Settings, rest: list[str]) -> int:
    """Arguments of `script/lab benchmark`; those it does not know go to ansible-playbook."""
    parser = argparse.ArgumentParser(prog="script/lab benchmark", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the blog's eight tasks, CPU and software Vulkan")
    options, arguments = parser.parse_known_args(rest)
    if options.full:
        settings = dataclasses.replace(settings, engines=KNOWN_ENGINES)
        arguments = ["-e", json.dumps(FULL), *arguments]
    return run(settings, arguments).returncode


def prepare(settings: Settings) -> None:
    """Engines on the nodes, and in the inventory. The nodes have to be up."""
    if not list((settings.cache / "engines").glob("tree-*")):
        free = shutil.disk_usage(settings.cache).free / (1 << 30)
        say(f"the engines take 1 GB in {settings.cache} ({free:.0f} GiB free) and a download of 450 MB, once")
    with step(f"Bringing {', '.join(settings.engines)} to {settings.nodes} nodes"):
        units.ensure(settings)
        inventory.write(settings, server.url())


def run(settings: Settings, arguments: list[str], *, quiet: bool = False) -> site.Result:
    """playbooks/benchmark.yml over SSH on the nodes."""
    prepare(settings)
    return site.run(settings, [*SERIAL, *arguments], playbook="playbooks/benchmark.yml", quiet=quiet)


def active(node: str) -> list[str]:
    """Names of the lab's servers that run on a node."""
    found = []
    for one in units.SERVERS:
        state = engine.docker("exec", nodes.container(node), "systemctl", "is-active", one.unit, check=False).stdout
        if state.strip() in {"active", "activating"}:
            found.append(one.name)
    return found
