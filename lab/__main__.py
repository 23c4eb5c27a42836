"""Command line of the lab: script/lab [verb] [arguments]."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from functools import partial

from lab import accuracy, bench, cache, chaos, engine, fleet, gateway_cost, inventory, measure, nodes, site
from lab.console import say
from lab.engines import units
from lab.image import build as image
from lab.mirror import server
from lab.settings import LABEL, MIRROR_CONTAINER, NETWORK, LabError, Settings, from_environment


def up(settings: Settings, *, mirror_only: bool = False) -> tuple[str, str]:
    """Engine, images, mirror and (unless mirror_only) nodes with their inventory; return mirror URL and node image."""
    with cache.lock(settings.cache):
        engine.install_tools()
        engine.ensure(settings.cache)
        node_image = image.node(settings)
        url = server.up(settings)
        if not mirror_only:
            nodes.up(settings, node_image)
            inventory.write(settings, url)
    return url, node_image


def verb_up(settings: Settings, rest: list[str]) -> int:
    """Bring the lab up."""
    parser = argparse.ArgumentParser(prog="script/lab up")
    parser.add_argument("--mirror-only", action="store_true", help="images and mirror, no nodes (for Molecule)")
    options = parser.parse_args(rest)
    url, node_image = up(settings, mirror_only=options.mirror_only)
    say(f"up: mirror {url}, node image {node_image}")
    return 0


def verb_env(settings: Settings, rest: list[str]) -> int:
    """Print what other test tools need; needs `up --mirror-only` first."""
    parser = argparse.ArgumentParser(prog="script/lab env")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of shell assignments")
    parser.add_argument("--engines", action="store_true", help="also llama-server and small models (1 GB in the cache)")
    options = parser.parse_args(rest)
    values = inventory.environment(settings, server.url(), image.node(settings))
    if options.engines:
        with cache.lock(settings.cache):
            values.update({f"MI50_LAB_{name.upper()}": path for name, path in units.provide(settings).items()})
    if options.json:
        print(json.dumps(values, indent=2))
    else:
        print("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()), end="")
    return 0


def verb_site(settings: Settings, rest: list[str]) -> int:
    """Run site.yml over SSH on the nodes; arguments go to ansible-playbook."""
    up(settings)
    return site.run(settings, rest).returncode


def verb_status(settings: Settings, rest: list[str]) -> int:
    """Show what runs."""
    del rest
    if not engine.running():
        print("no Docker engine runs: the lab is down")
        return 1
    for name in (MIRROR_CONTAINER, *map(nodes.container, settings.node_names())):
        found = engine.inspect(name)
        state = (
            f"{found['State']['Status']:10} {engine.address(name, NETWORK)}"
            if found and found["State"]["Running"]
            else "absent"
        )
        print(f"{name:20} {state}")
    print(f"cache: {settings.cache}")
    return 0


def verb_report(settings: Settings, rest: list[str]) -> int:
    """Say where the reports are."""
    del rest
    return site.show_reports(settings)


def verb_measure(settings: Settings, rest: list[str]) -> int:
    """Measure converged runs over node counts and write docs/scale.md."""
    return measure.main(settings, rest)


def verb_fleet(settings: Settings, rest: list[str]) -> int:
    """Nodes from nothing through the artifact mirror, counted; --cut: from a folder, without a network."""
    return fleet.main(settings, rest, partial(up, mirror_only=True))


def verb_chaos(settings: Settings, rest: list[str]) -> int:
    """Break things while site.yml runs, by a seed; a re-run has to mend it."""
    return chaos.main(settings, rest, partial(up, mirror_only=True))


def verb_down(settings: Settings, rest: list[str]) -> int:
    """Remove what the lab made: containers and network; with --all images and a dockerd that the lab started."""
    parser = argparse.ArgumentParser(prog="script/lab down")
    parser.add_argument(
        "--all", action="store_true", help="also the images, and the Docker engine if the lab started it"
    )
    options = parser.parse_args(rest)
    if not engine.running():
        return 0
    containers = engine.labelled("container")
    if containers:
        engine.docker("rm", "-f", "-v", *containers)
    networks = engine.labelled("network")
    if networks:
        engine.docker("network", "rm", *networks)
    say(f"removed {len(containers)} containers; the cache in {settings.cache} stays")
    if options.all and engine.labelled("container", LABEL):
        say("another lab runs on this machine: images and the Docker engine stay")
    elif options.all:
        image.remove_all()
        engine.stop_started(settings.cache)
    for path in (settings.inventory / "hosts.yml", inventory.known_hosts(settings)):
        path.unlink(missing_ok=True)
    return 0


def verb_benchmark(settings: Settings, rest: list[str]) -> int:
    """Measure llama-server on the nodes; --full for the blog's tasks; arguments go to ansible-playbook."""
    up(settings)
    return bench.main(settings, rest)


def verb_accuracy(settings: Settings, rest: list[str]) -> int:
    """Compare the benchmark's clock with llama-server's own figures and write docs/benchmark-accuracy.md."""
    return accuracy.main(settings, rest)


def verb_gateway_cost(settings: Settings, rest: list[str]) -> int:
    """Measure what the gateway costs, and write it into docs/gateway.md."""
    return gateway_cost.main(settings, rest)


def everything(settings: Settings) -> int:
    """Up, site, site again (which must change nothing), benchmark, where the reports are."""
    up(settings)
    first = site.run(settings, [])
    if first.returncode != 0:
        return first.returncode
    second = site.run(settings, [])
    if second.returncode != 0:
        return second.returncode
    changed = {host: counts["changed"] for host, counts in second.recap.items() if counts["changed"]}
    if changed:
        raise LabError(f"the second run changed something: {changed}")
    say(f"second run: changed=0 on {', '.join(sorted(second.recap))}")
    measured = bench.run(settings, []).returncode
    return measured or site.show_reports(settings)


VERBS: dict[str, Callable[[Settings, list[str]], int]] = {
    "up": verb_up,
    "site": verb_site,
    "status": verb_status,
    "down": verb_down,
    "report": verb_report,
    "env": verb_env,
    "measure": verb_measure,
    "fleet": verb_fleet,
    "chaos": verb_chaos,
    "benchmark": verb_benchmark,
    "accuracy": verb_accuracy,
    "gateway-cost": verb_gateway_cost,
}
USAGE = """usage: script/lab [up | site [ARGUMENTS] | benchmark [--full] [ARGUMENTS] | report | accuracy |
                   gateway-cost | status | env | measure | fleet [--cut] [N ...] | chaos [--seed N] |
                   down [--all]]

ARGUMENTS go to ansible-playbook.

Without a verb: up, site, site again (must change nothing), benchmark (the smoke suite), where the reports are.
Environment: LAB_NODES (2), LAB_CARDS (preset per node), LAB_ROCBLAS (subset|all), LAB_DOCKER (0|1),
LAB_ENGINES (llama-cpu, llama-vulkan), MI50_LAB_CACHE.
"""


def main(argv: list[str]) -> int:
    """Run one verb; errors of the lab are one message and exit status 2."""
    if argv and argv[0] in {"-h", "--help", "help"}:
        print(USAGE, end="")
        return 0
    if argv and argv[0] not in VERBS:
        print(f"unknown verb {argv[0]!r}\n{USAGE}", end="", file=sys.stderr)
        return 2
    try:
        settings = from_environment()
        return VERBS[argv[0]](settings, argv[1:]) if argv else everything(settings)
    except LabError as exc:
        print(f"lab: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lab: interrupted; nothing half-made counts, run it again", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
