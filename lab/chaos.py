"""script/lab chaos: break everything while site.yml runs, by a seed, and see that a re-run mends it.

What happens, when and to whom follows from the seed and the number of nodes; when it strikes within a task is the
machine's. At the end: a run that succeeds, one that changes nothing, and nothing half-done on any node.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lab import depot, engine, fleet, inventory, nodes, site
from lab.console import say
from lab.image import build as image
from lab.mirror import server
from lab.settings import MIRROR_CONTAINER, LabError, Settings

# Seconds of a run within which things happen, and how long a broken thing stays broken.
WINDOW = 45.0
STOPPED = 60.0
MAX_RUNS = 4
# What must not be left anywhere: half-configured packages, half a download, an unfinished journal, another's claim.
_STATES = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | grep -v -e '^ii ' -e '^rc '"
_NAMES = "-name '.*.part' -o -name '*.journal*' -o -name '.*.staging*'"
LEFT = (
    f"dpkg --audit; {_STATES}; find /opt /var/cache/mi50-aipc /var/lib/mi50-aipc {_NAMES} 2>/dev/null;"
    " ls /run/mi50-aipc/run.lock 2>/dev/null; true"
)


@dataclasses.dataclass(frozen=True)
class Event:
    """One misfortune: seconds after the run began, what, to whom (a node, or nobody)."""

    at: float
    kind: str
    node: str


def plan(seed: int, names: list[str], kinds: list[str] | None = None) -> list[Event]:
    """Every kind once, each to a node of its own while there are any, in an order of the seed's choosing."""
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    wanted = kinds or sorted(KINDS)
    dice.shuffle(wanted)
    order = list(names)
    dice.shuffle(order)
    times = sorted(round(dice.uniform(4, WINDOW), 1) for _ in wanted)
    # The controller's end ends the run: what comes after would hit nobody.
    wanted.sort(key=lambda kind: kind == "controller")
    return [
        Event(at, kind, order[turn % len(order)]) for turn, (at, kind) in enumerate(zip(times, wanted, strict=True))
    ]


def _kill(node: str) -> None:
    """Power off, at once, and on again a while later."""
    engine.docker("kill", nodes.container(node), check=False)
    time.sleep(8)
    engine.docker("start", nodes.container(node))


def _restart(node: str) -> None:
    """A reboot that nobody asked for."""
    engine.docker("restart", "-t", "3", nodes.container(node))


def _ssh(node: str) -> None:
    """Cut every SSH connection of a node; new ones are taken."""
    engine.docker("exec", nodes.container(node), "pkill", "-KILL", "-f", "sshd: ops", check=False)


def _mirror(_node: str) -> None:
    """The mirror is gone for a minute."""
    engine.docker("stop", "-t", "1", MIRROR_CONTAINER)
    time.sleep(STOPPED)
    engine.docker("start", MIRROR_CONTAINER)


def _disk(node: str) -> None:
    """A small file system over the node's cache that is full, for as long as the run takes."""
    script = (
        "mkdir -p /var/cache/mi50-aipc && mount -t tmpfs -o size=2m chaos /var/cache/mi50-aipc"
        " && head -c 4M /dev/zero >/var/cache/mi50-aipc/filler; true"
    )
    engine.docker("exec", nodes.container(node), "sh", "-c", script, check=False)


KINDS: dict[str, Callable[[str], None]] = {
    "kill": _kill,
    "restart": _restart,
    "ssh": _ssh,
    "mirror": _mirror,
    "disk": _disk,
    # Handled by the runner, which has the process.
    "controller": lambda _node: None,
}


def heal(settings: Settings) -> None:
    """Give back what the events took: disks, nodes, the mirror. What a person would do, and no more."""
    for name in settings.node_names():
        found = engine.inspect(nodes.container(name))
        if found and not found["State"]["Running"]:
            engine.docker("start", nodes.container(name))
        nodes.wait_booted(nodes.container(name))
        script = "while umount /var/cache/mi50-aipc 2>/dev/null; do :; done; true"
        engine.docker("exec", nodes.container(name), "sh", "-c", script, check=False)
    inventory.write(settings, server.up(settings))


def strike(settings: Settings, events: list[Event], arguments: list[str]) -> str:
    """Run site.yml and let the events happen; return what it said."""
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(settings.inventory), "site.yml"]
    env = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(settings.root / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    log = settings.cache / "chaos.log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*argv, *arguments], cwd=settings.root, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ) as child,
    ):
        begin, under_way = time.monotonic(), []
        for event in events:
            while child.poll() is None and time.monotonic() - begin < event.at:
                time.sleep(0.2)
            if child.poll() is not None:
                say(f"the run was over before {event.kind} on {event.node}")
                continue
            say(f"{time.monotonic() - begin:5.1f} s: {event.kind} on {event.node}")
            if event.kind == "controller":
                child.send_signal(signal.SIGKILL)
                continue
            # Some last a minute, and the next does not wait for them.
            under_way.append(threading.Thread(target=KINDS[event.kind], args=(event.node,)))
            under_way[-1].start()
        child.wait()
        for one in under_way:
            one.join()
    return log.read_text()


def left(settings: Settings) -> dict[str, str]:
    """What is half-done on each node; empty for a node where nothing is."""
    found = {}
    for name in settings.node_names():
        text = engine.docker("exec", nodes.container(name), "sh", "-c", LEFT).stdout.strip()
        if text:
            found[name] = text
    return found


def mend(settings: Settings, arguments: list[str]) -> int:
    """Run again until it succeeds; return how many runs that took. Raises LabError when it does not."""
    for turn in range(1, MAX_RUNS + 1):
        result = site.run(settings, arguments, quiet=True)
        say(f"re-run {turn}: exit {result.returncode} after {result.seconds:.0f} s, {result.recap}")
        if result.returncode == 0:
            return turn
    raise LabError(f"no run succeeded after the chaos:\n{result.output[-3000:]}")


def main(settings: Settings, rest: list[str]) -> int:
    """One round of chaos on fresh nodes."""
    parser = argparse.ArgumentParser(prog="script/lab chaos")
    parser.add_argument("--seed", type=int, default=906, help="what happens when, and to whom (906)")
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), help="some kinds of events alone")
    parser.add_argument("--plan", action="store_true", help="show the plan, do nothing")
    parser.add_argument("--keep", action="store_true", help="on nodes as they are, not on fresh ones")
    parser.add_argument("arguments", nargs="*", help="for ansible-playbook, after --")
    options = parser.parse_args(rest)
    events = plan(options.seed, settings.node_names(), options.kinds)
    for event in events:
        say(f"seed {options.seed}: at {event.at:4.1f} s {event.kind} on {event.node}")
    if options.plan:
        return 0
    if not options.keep:
        for name in settings.node_names():
            nodes.remove(name)
    nodes.up(settings, image.node(settings))
    inventory.write(settings, server.up(settings))
    with fleet.Builds(settings) as given:
        arguments = [*given, "-e", json.dumps(depot.light(settings)), *options.arguments]
        said = strike(settings, events, arguments)
        say(f"the run that was struck: {site.parse_recap(said) or 'ended without a recap'}")
        heal(settings)
        turns = mend(settings, arguments)
        again = site.run(settings, arguments, quiet=True)
    changed = {name: counts["changed"] for name, counts in again.recap.items() if counts["changed"]}
    rest_ = left(settings)
    if again.returncode or changed or rest_:
        raise LabError(f"not settled: exit {again.returncode}, changed {changed}, left over {rest_}")
    say(
        f"seed {options.seed}: {len(events)} events, settled after {turns} re-run(s), then changed=0; nothing half-done"
    )
    return 0
