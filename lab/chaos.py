"""script/lab chaos: break everything while site.yml runs, by a seed, and see that a re-run mends it.

What happens, to whom, in which order and not before when follows from the seed and the number of nodes; it strikes once
the node is at work on something that takes longer than a moment. Then: runs until one succeeds, one that changes
nothing, playbooks/verify.yml, nothing half-done on any node, and the same files as on a node that nothing happened to.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lab import chaos_kinds, depot, fleet_page, intact, inventory, nodes, site
from lab.chaos_kinds import KINDS
from lab.console import say
from lab.image import build as image
from lab.mirror import server
from lab.settings import LabError, Settings

MAX_RUNS = 4
STAGES = ("strike", "mend", "check")
# Seconds that a task has gone on before it is worth striking, and that an event waits for one beyond its time.
MOMENT, PATIENCE = 1.5, 60.0
_TASK = re.compile(r"^TASK \[(?:[\w.]+ : )?(.+?)\] \*+$", re.MULTILINE)
_HOST = re.compile(r"^(?:ok|changed|fatal|skipping): \[([\w-]+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Event:
    """One misfortune: seconds after the run began at the earliest, what, to whom (a node; nothing for all of them)."""

    at: float
    kind: str
    node: str


def window(count: int) -> float:
    """Seconds of a run of that many nodes within which things happen: into the builds, and not after them."""
    return 40.0 + 12.0 * count


def plan(seed: int, names: list[str], kinds: list[str] | None = None) -> list[Event]:
    """Every kind once, each to a node of its own while there are any, in an order of the seed's choosing.

    The node whose disk runs full is left alone by the others if possible: its small disk would not survive them.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    wanted = sorted(kinds or KINDS)
    dice.shuffle(wanted)
    order = list(names)
    dice.shuffle(order)
    times = sorted(round(dice.uniform(4, window(len(names))), 1) for _ in wanted)
    # The controller's end ends the run: what comes after would hit nobody.
    wanted.sort(key=lambda kind: kind == "controller")
    to: dict[str, str] = {}
    others = order[1:] or order
    for turn, kind in enumerate(kind for kind in wanted if kind in chaos_kinds.OF_A_NODE and kind != "disk"):
        to[kind] = others[turn % len(others)]
    to["disk"] = order[0]
    return [Event(at, kind, to.get(kind, "")) for at, kind in zip(times, wanted, strict=True)]


def strike(settings: Settings, events: list[Event], arguments: list[str]) -> list[dict[str, Any]]:
    """Run site.yml and let the events happen; return them with what was under way and what came of it."""
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(settings.inventory), "site.yml"]
    env = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(settings.root / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    log = settings.cache / "chaos.log"
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*argv, *arguments], cwd=settings.root, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ) as child,
    ):
        begin, under_way = time.monotonic(), []
        for event in events:
            _wait(child, log, event, begin)
            if child.poll() is not None:
                say(f"the run was over before {event.kind}")
                rows.append({**dataclasses.asdict(event), "task": "the run was over", "outcome": "did not happen"})
                continue
            said = log.read_text()
            task, struck = (_TASK.findall(said) or ["before the first task"])[-1], round(time.monotonic() - begin, 1)
            rows.append({**dataclasses.asdict(event), "struck": struck, "task": task, "said": len(said), "outcome": ""})
            say(f"{struck:5.1f} s: {event.kind} {event.node} during {task!r}")
            if event.kind == "controller":
                child.send_signal(signal.SIGKILL)
                continue
            # Some last a minute, and the next does not wait for them.
            under_way.append(threading.Thread(target=_happen, args=(event, failed)))
            under_way[-1].start()
        child.wait()
        for one in under_way:
            one.join()
    if failed:
        raise LabError(f"the chaos itself failed: {'; '.join(failed)}")
    said = log.read_text()
    for row in rows:
        row["outcome"] = row["outcome"] or outcome(said, row["node"], row.pop("said"))
    return rows


def _wait(child: subprocess.Popen[bytes], log: Path, event: Event, begin: float) -> None:
    """Until it is time for an event, and the node that it is meant for at work; for a while at most."""
    seen, since = "", begin
    while child.poll() is None:
        time.sleep(0.2)
        said, now = log.read_text(), time.monotonic()
        head = said[: said.rfind("\nTASK [") + 1]
        if len(head) != len(seen):
            seen, since = head, now
        late = now - begin - event.at
        if late >= PATIENCE or (late >= 0 and now - since >= MOMENT and at_work(said, event.node)):
            return


def at_work(said: str, node: str) -> bool:
    """Whether a node has not answered yet in the last task that a run began; without a node, whether one has not."""
    place = said.rfind("\nTASK [")
    before, last = said[: max(place, 0)], said[max(place, 0) :]
    names = [node] if node else sorted(set(_HOST.findall(said)))
    gone = {name for name in names if re.search(rf"^fatal: \[{name}\]", before, re.MULTILINE)}
    return place >= 0 and any(name not in gone and name not in _HOST.findall(last) for name in names)


def _happen(event: Event, failed: list[str]) -> None:
    try:
        KINDS[event.kind](event.node)
    except LabError as error:
        failed.append(f"{event.kind} on {event.node}: {error}")


def outcome(said: str, node: str, since: int = 0) -> str:
    """How a run ended for a node, or for all of them, by what it said until it ended or was killed.

    `since`: how much it had said when it was struck, in characters; what the node did from then on counts.
    """
    names = [node] if node else sorted(set(_HOST.findall(said)))
    found = {name: _one(said, name, since) for name in names}
    if node:
        return found[node]
    words = sorted(set(found.values()))
    return ", ".join(f"{sum(value == word for value in found.values())} {word}" for word in words) or "nobody had begun"


def _one(said: str, node: str, since: int) -> str:
    ended = re.search(rf"^(?:fatal|failed): \[{node}\]:?(?: (UNREACHABLE))?", said, re.MULTILINE)
    if ended:
        task = _TASK.findall(said[: ended.start()])
        how = "unreachable" if ended.group(1) else "failed"
        earlier = ", before this" if ended.start() < since else ""
        return f"{how} in {task[-1]!r}{earlier}" if task else how
    if site.parse_recap(said).get(node):
        return "went through"
    done = [one.start() for one in re.finditer(rf"^(?:ok|changed): \[{node}\]", said, re.MULTILINE)]
    task = _TASK.findall(said[: done[-1]]) if done and done[-1] >= since else []
    return f"went on to {task[-1]!r}, then cut short" if task else "cut short"


def mend(settings: Settings, arguments: list[str]) -> list[float]:
    """Run again until it succeeds; return the seconds of each run. Raises LabError when none does."""
    seconds = []
    for turn in range(1, MAX_RUNS + 1):
        result = site.run(settings, arguments, quiet=True)
        (settings.cache / f"chaos-{turn}.log").write_text(result.output)
        seconds.append(result.seconds)
        say(f"re-run {turn}: exit {result.returncode} after {result.seconds:.0f} s, {result.recap}")
        if result.returncode == 0:
            return seconds
    raise LabError(f"no run succeeded after the chaos:\n{result.output[-3000:]}")


def check(settings: Settings, arguments: list[str], *, reference: bool) -> dict[str, Any]:
    """What came of it: a run that must change nothing, verify.yml, half-done things, an untouched node's files."""
    names = settings.node_names()
    again = site.run(settings, arguments, quiet=True)
    changed = sum(counts["changed"] for counts in again.recap.values()) if not again.returncode else -1
    verified = site.run(settings, arguments, playbook="playbooks/verify.yml", quiet=True)
    (settings.cache / "chaos-verify.log").write_text(verified.output)
    left = {name: text for name in names if (text := intact.traces(name))}
    found: dict[str, Any] = {
        "changed": changed,
        "verified": "every node works" if verified.returncode == 0 else f"exit {verified.returncode}",
        "left": json.dumps(left) if left else "nothing",
    }
    if reference:
        untouched = _untouched(settings, arguments)
        differing = {name: intact.compare(intact.listing(name), untouched) for name in names}
        (settings.cache / "chaos-differs.json").write_text(json.dumps(differing, indent=1))
        wrong = {name: lines for name, lines in differing.items() if lines}
        found["compared"] = len(untouched)
        said = "; ".join(f"{name}: {', '.join(lines[:8])}" for name, lines in wrong.items())
        found["differs"] = said or "no difference"
    return found


def _untouched(settings: Settings, arguments: list[str]) -> dict[str, intact.Entry]:
    """The files of one more node, installed in peace."""
    more = dataclasses.replace(settings, nodes=settings.nodes + 1)
    name = more.node_names()[-1]
    nodes.remove(name)
    nodes.create(more, name, image.node(more))
    inventory.write(more, server.url())
    result = site.run(more, [*arguments, "--limit", name], quiet=True)
    if result.returncode:
        raise LabError(f"the node that nothing happened to could not be installed:\n{result.output[-3000:]}")
    found = intact.listing(name)
    nodes.remove(name)
    inventory.write(settings, server.url())
    return found


def settled(record: dict[str, Any]) -> bool:
    """Whether nothing is left of the chaos."""
    whole = record["changed"] == 0 and record["left"] == "nothing" and record["verified"] == "every node works"
    return bool(whole and record.get("differs", "no difference") == "no difference")


def main(settings: Settings, rest: list[str]) -> int:
    """One round of chaos on fresh nodes."""
    parser = argparse.ArgumentParser(prog="script/lab chaos")
    parser.add_argument("--seed", type=int, default=906)
    parser.add_argument("--kinds", default=",".join(sorted(KINDS)), help="some of: %(default)s")
    parser.add_argument("--plan", action="store_true", help="show what would happen, and stop")
    parser.add_argument("--begin", choices=STAGES, default="strike", help="go on with a round that was interrupted")
    parser.add_argument("--end", choices=STAGES, default="check", help="stop after this part of it")
    parser.add_argument("--no-reference", action="store_true", help="do not install one more node to compare with")
    parser.add_argument("--output", type=Path, default=settings.root / "docs" / "fleet-runs.json")
    parser.add_argument("arguments", nargs="*", help="for ansible-playbook, after --")
    options = parser.parse_args(rest)
    kinds = [one for one in options.kinds.split(",") if one]
    if set(kinds) - set(KINDS):
        raise LabError(f"--kinds: {', '.join(sorted(set(kinds) - set(KINDS)))}: known are {', '.join(sorted(KINDS))}")
    # The same cards everywhere: what differs afterwards is not theirs.
    settings = dataclasses.replace(settings, cards=("two-mi50",))
    events = plan(options.seed, settings.node_names(), kinds)
    for event in events:
        say(f"seed {options.seed}: at {event.at:5.1f} s {event.kind} {event.node}")
    if options.plan:
        return 0
    wanted = STAGES[STAGES.index(options.begin) : STAGES.index(options.end) + 1]
    state = settings.cache / f"chaos-{options.seed}-{settings.nodes}.json"
    record: dict[str, Any] = {"seed": options.seed, "nodes": settings.nodes}
    builds = settings.cache / f"chaos-builds-{options.seed}-{settings.nodes}"
    given = {"mi50_build_dir": str(builds), **depot.light(settings)}
    arguments = ["-e", json.dumps(given), *options.arguments]
    if "strike" in wanted:
        chaos_kinds.fresh(settings, [event.node for event in events if event.kind == "disk"], builds)
        record["events"] = strike(settings, events, arguments)
        state.write_text(json.dumps(record))
    elif not state.exists():
        raise LabError(f"--begin {options.begin}: there is no {state}: begin with the strike")
    record.update(json.loads(state.read_text()))
    if "mend" in wanted:
        chaos_kinds.heal(settings)
        record["re_runs"] = mend(settings, arguments)
        state.write_text(json.dumps(record))
    if "check" in wanted:
        record.update(check(settings, arguments, reference=not options.no_reference))
        fleet_page.save(options.output, f"chaos-{options.seed}-{settings.nodes}", record)
        print("\n".join(fleet_page.chaos({**record, "date": time.strftime("%Y-%m-%d", time.gmtime())})))
        if not settled(record):
            raise LabError("the chaos left something: see above, and chaos-*.log in the lab's cache")
        state.unlink()
        shutil.rmtree(builds, ignore_errors=True)
    return 0
