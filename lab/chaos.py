"""script/lab chaos: break everything while site.yml runs, by a seed, and see that a re-run mends it.

What happens, to whom, in which order and in which task follows from the seed and the number of nodes; it strikes while
the node is at work there. Then: runs until one succeeds, one that changes nothing, playbooks/verify.yml, nothing
half-done on any node, and the same files as on a node that nothing happened to.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import chaos_kinds, depot, fleet_page, intact, inventory, nodes, site
from lab.chaos_kinds import KINDS
from lab.chaos_plan import HOST, TASK, Event, Watch, plan
from lab.console import say
from lab.fleet_page import MISSED, SAME, settled
from lab.image import build as image
from lab.mirror import server
from lab.settings import LabError, Settings

MAX_RUNS = 4
STAGES = ("strike", "mend", "check")
# Exit status of a round in which something of the plan did not happen: no proof, whatever else it showed.
NOT_WHOLE = 3


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
        begin, under_way, watch = time.monotonic(), [], Watch()
        for event in events:
            while child.poll() is None and not watch.due(event, log.read_text(), time.monotonic()):
                time.sleep(0.2)
            if child.poll() is not None:
                say(f"the run was over before {event.kind}")
                rows.append({**dataclasses.asdict(event), "task": "the run was over", "outcome": MISSED})
                continue
            watch.struck(time.monotonic())
            said = log.read_text()
            task, struck = (TASK.findall(said) or ["before the first task"])[-1], round(time.monotonic() - begin, 1)
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


def _happen(event: Event, failed: list[str]) -> None:
    try:
        KINDS[event.kind](event.node)
    except LabError as error:
        failed.append(f"{event.kind} on {event.node}: {error}")


def outcome(said: str, node: str, since: int = 0) -> str:
    """How a run ended for a node, or for all of them, by what it said until it ended or was killed.

    `since`: how much it had said when it was struck, in characters; what the node did from then on counts.
    """
    names = [node] if node else sorted(set(HOST.findall(said)))
    found = {name: _one(said, name, since) for name in names}
    if node:
        return found[node]
    words = sorted(set(found.values()))
    return ", ".join(f"{sum(value == word for value in found.values())} {word}" for word in words) or "nobody had begun"


def _one(said: str, node: str, since: int) -> str:
    ended = re.search(rf"^(?:fatal|failed): \[{node}\]:?(?: (UNREACHABLE))?", said, re.MULTILINE)
    if ended:
        task = TASK.findall(said[: ended.start()])
        how = "unreachable" if ended.group(1) else "failed"
        earlier = ", before this" if ended.start() < since else ""
        return f"{how} in {task[-1]!r}{earlier}" if task else how
    if site.parse_recap(said).get(node):
        return "went through"
    done = [one.start() for one in re.finditer(rf"^(?:ok|changed): \[{node}\]", said, re.MULTILINE)]
    task = TASK.findall(said[: done[-1]]) if done and done[-1] >= since else []
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
        found["differs"] = said or SAME
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


def missed(record: dict[str, Any]) -> list[str]:
    """What should have happened and did not, because the run was over."""
    return [event["kind"] for event in record["events"] if event["outcome"] == MISSED]


def _conclude(record: dict[str, Any], output: Path) -> None:
    """Show a round, and keep it if all of it happened. Raises LabError when something is left of it."""
    print("\n".join(fleet_page.chaos({**record, "date": time.strftime("%Y-%m-%d", time.gmtime())})))
    if not missed(record):
        fleet_page.save(output, f"chaos-{record['seed']}-{record['nodes']}", record)
    if not settled(record):
        raise LabError("the chaos left something: see above, and chaos-*.log in the lab's cache")


def main(settings: Settings, rest: list[str], up: Callable[[Settings], object]) -> int:
    """One round of chaos on fresh nodes; return 0, or NOT_WHOLE when something of it did not happen.

    The lab is brought `up` once the arguments are known to be good.
    """
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
        say(f"seed {options.seed}: {event}")
    if options.plan:
        return 0
    up(settings)
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
        _conclude(record, options.output)
        state.unlink()
        shutil.rmtree(builds, ignore_errors=True)
    if missed(record):
        say(f"this round proves nothing and is not kept: {', '.join(missed(record))} {MISSED}, the run was over before")
        return NOT_WHOLE
    return 0
