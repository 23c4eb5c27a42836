"""The benchmark in the lab: real llama-server on the nodes, one node after the other, since they share one machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import time

from lab import bench_page, engine, inventory, nodes, site
from lab.console import say, step
from lab.engines import tree, units
from lab.mirror import server
from lab.settings import Settings

# Node after node: two at once would measure each other.
SERIAL = ("-e", "benchmark_serial=1")
# The blog's eight tasks with short answers. On software Vulkan a token takes a tenth to a third of a second, so it gets
# the answers of fixed length alone, twice, with nothing sent before them.
FULL = {"benchmark_suite": "blog-2025-10-short", "benchmark_probes": []}
VULKAN = {
    **FULL,
    "benchmark_modes": ["fixed"],
    "benchmark_repeats": 2,
    "benchmark_measure": {"thermal": "off", "sample_hz": 2, "warmups": 0},
}
RUNS = {"llama-cpu": FULL, "llama-vulkan": VULKAN}
WHAT = (
    "llama-server {version} of Debian unstable with SmolLM2 135M Instruct, on two nodes: on the CPU both modes, six "
    "repetitions of fixed length and one that ends by itself; on Vulkan in software (llvmpipe) answers of fixed "
    "length, two repetitions without a warm-up, since a repetition of all tasks takes minutes there. {minutes:.0f} "
    "minutes in all; the machine has {cores} cores, its load was {load:.1f} when it began."
)


def main(settings: Settings, rest: list[str]) -> int:
    """Arguments of `script/lab benchmark`; those it does not know go to ansible-playbook."""
    parser = argparse.ArgumentParser(prog="script/lab benchmark", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the blog's eight tasks, CPU and software Vulkan")
    parser.add_argument("--write", action="store_true", help="with --full: renew docs/benchmark-lab.md and its picture")
    options, arguments = parser.parse_known_args(rest)
    return full(settings, arguments, write=options.write) if options.full else run(settings, arguments).returncode


def full(settings: Settings, arguments: list[str], *, write: bool) -> int:
    """Both engines with what each can do in reasonable time: two runs, one page."""
    folders, begin, load = [], time.monotonic(), os.getloadavg()[0]
    for name, choice in RUNS.items():
        result = run(dataclasses.replace(settings, engines=(name,)), ["-e", json.dumps(choice), *arguments])
        if result.returncode != 0:
            return result.returncode
        runs = (settings.root / "reports/benchmark").glob("*/run.json")
        folders.append(max(runs, key=lambda path: path.stat().st_mtime).parent)
    if write:
        minutes = (time.monotonic() - begin) / 60
        what = WHAT.format(
            version=tree.version(tree.ensure(settings)), minutes=minutes, cores=os.cpu_count(), load=load
        )
        say(f"wrote {bench_page.write(settings, folders, what)}")
    return 0


def prepare(settings: Settings) -> None:
    """Engines on the nodes, and in the inventory. The nodes have to be up."""
    if not list((settings.cache / "engines").glob("tree-*")):
        free = shutil.disk_usage(settings.cache).free / (1 << 30)
        say(f"the engines take 1 GB in {settings.cache} ({free:.0f} GiB free) and a download of 450 MB, once")
    with step(f"Bringing {', '.join(settings.engines)} to {settings.nodes} nodes"):
        units.ensure(settings)
        inventory.write(settings, server.url())


def run(
    settings: Settings, arguments: list[str], *, quiet: bool = False, environment: dict[str, str] | None = None
) -> site.Result:
    """playbooks/benchmark.yml over SSH on the nodes."""
    prepare(settings)
    return site.run(
        settings, [*SERIAL, *arguments], playbook="playbooks/benchmark.yml", quiet=quiet, environment=environment
    )


def active(node: str) -> list[str]:
    """Names of the lab's servers that run on a node."""
    found = []
    for one in units.SERVERS:
        state = engine.docker("exec", nodes.container(node), "systemctl", "is-active", one.unit, check=False).stdout
        if state.strip() in {"active", "activating"}:
            found.append(one.name)
    return found
