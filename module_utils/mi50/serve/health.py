"""Looks whether a service answers, and heals it. Runs on the node, from a timer, with `probe` alone beside it.

    mi50-serve check CONFIG          look once, and heal: start the unit anew when it hangs, lost its model or the GPU
    mi50-serve status [CONFIG ...]   what the last look found, as JSON; without arguments of every service

Exit code 0: it answers, still loads, or was stopped on purpose. 1: it does not answer as it must.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from . import probe
from .probe import Answer, Config, Fault

CONFIGS = "/etc/mi50-aipc/serve"
# After so many new starts within so many seconds the fault is not one that a new start heals.
HEALS, HEALS_SECONDS = 3, 1800
FINE = ("ready", "loading", "stopped")
Verdict = tuple[str, str, Optional[Answer]]
_KEEP = 20  # heals that the status remembers
_AGAIN = 2.0  # seconds after which a fault is looked at once more


def unit(config: Config) -> dict[str, str]:
    """What systemd says of the unit."""
    wanted = "ActiveState,SubState,InvocationID,ActiveEnterTimestampMonotonic,NRestarts"
    text = _run(["systemctl", "show", f"--property={wanted}", "--", config["unit"]])
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def check(config: Config) -> dict[str, Any]:
    """Look, heal, and write down what was found; returns the status."""
    paths = Path(config["run_dir"]) / f"{config['name']}.json", Path(config["state_dir"]) / "health.json"
    state = {"heals": [], "invocation": "", "ready": False, "completed": 0.0, "broken_since": 0.0, **_read(paths[1])}
    now, seen = time.time(), unit(config)
    if state["invocation"] != seen.get("InvocationID", ""):
        state.update(invocation=seen.get("InvocationID", ""), ready=False, completed=0.0)
    due = not state["ready"] or (config["completion_every"] and now - state["completed"] >= config["completion_every"])
    word, text, answer = _judge(config, seen, state, completion=bool(due))
    healing = False
    if word not in FINE:
        text, healing = _heal(config, state, word, text, now)
        sys.stdout.write(f"{word}: {text}\n")
        sys.stdout.flush()
        _write(paths[1], state)
    word, text, answer = _follow(config, state, (word, text, answer), healing=healing)
    if answer is not None:
        state["completed"] = now
    if word == "ready":
        state["ready"] = True
        if state["broken_since"] and state["heals"]:
            state["heals"][-1].setdefault("seconds", round(time.time() - state["heals"][-1]["at"], 1))
        state["broken_since"] = 0.0
    status = {
        "name": config["name"],
        "unit": config["unit"],
        "state": word,
        "text": text,
        "at": round(time.time(), 1),
        "url": config["url"],
        "model": config["model"],
        "gpus": list(config["gpus"]),
        "vram_used": probe.vram(config),
        "tokens_per_second": round(answer.speed, 2) if answer else _read(paths[0]).get("tokens_per_second"),
        "restarts": int(seen.get("NRestarts") or 0),
        "heals": state["heals"][-_KEEP:],
        "facts": config.get("facts", {}),
    }
    for path, content in zip(paths, (status, state)):
        _write(path, content)
    return status


def _follow(config: Config, state: dict[str, Any], found: Verdict, *, healing: bool) -> Verdict:
    """Wait while it loads, one interval at most: what comes up is noticed within a second, a new start as well."""
    end, last = time.monotonic() + config["interval"], found
    while (last[0] == "loading" or healing) and time.monotonic() < end:
        time.sleep(1)
        seen = unit(config)
        if seen.get("InvocationID", "") != state["invocation"]:
            state.update(invocation=seen.get("InvocationID", ""), ready=False, completed=0.0)
            healing = False
        if not healing:
            last = _judge(config, seen, state, completion=True)
    # What was found first stays said until something else is known.
    return found if healing else last


def _judge(config: Config, seen: Mapping[str, str], state: Mapping[str, Any], *, completion: bool) -> Verdict:
    """State, sentence and perhaps an answer. A fault is looked at twice before it counts."""
    active = seen.get("ActiveState", "")
    if active == "failed":
        return "failed", "systemd has given up starting it: journalctl -u " + config["unit"], None
    if active in ("inactive", "deactivating"):
        return "stopped", "it was stopped, and is left so", None
    since = (
        0.0 if active == "activating" else time.monotonic() - int(seen.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    )
    for last in (False, True):
        try:
            answer = probe.look(config, completion=completion)
        except Fault as fault:
            young = fault.state == "loading" or not state["ready"]
            if young and since < config["load_timeout"] and fault.state not in ("cpu", "slow", "refused"):
                return "loading", str(fault), None
            if _under_way(config, seen):
                return "loading", f"it ended, and systemd starts it anew ({fault})", None
            if last:
                return fault.state, str(fault), None
            time.sleep(_AGAIN)
        else:
            # The answer may be the one before's: of the server that runs now nothing is known yet.
            anew = unit(config).get("InvocationID") != seen.get("InvocationID")
            since_then = ("loading", "it was started anew while it was looked at", None)
            return since_then if anew else ("ready", "it answers", answer)
    raise AssertionError("not reached")


def _under_way(config: Config, seen: Mapping[str, str]) -> bool:
    """Whether systemd has begun a new start since `seen`: one of ours would end it, and set back its count of them."""
    now = unit(config)
    return now.get("ActiveState") == "activating" or now.get("InvocationID") != seen.get("InvocationID")


def _heal(config: Config, state: dict[str, Any], word: str, text: str, now: float) -> tuple[str, bool]:
    """Start the unit anew, unless that has not helped lately; returns what is to be said, and whether it did."""
    state["broken_since"] = state["broken_since"] or now
    if word in ("failed", "refused"):
        return text, False
    recent = [heal for heal in state["heals"] if now - heal["at"] < HEALS_SECONDS]
    if len(recent) >= HEALS:
        often = f"started anew {len(recent)} times within {HEALS_SECONDS // 60} minutes, which did not help"
        return f"{text} ({often})", False
    state["heals"] = [*state["heals"], {"at": round(time.time(), 1), "state": word, "why": text}][-_KEEP:]
    _run(["systemctl", "restart", "--no-block", config["unit"]])
    return f"{text} (starting it anew)", True


def _run(argv: Sequence[str]) -> str:
    # pylint: disable-next=ansible-bad-function
    return subprocess.run(argv, capture_output=True, check=False, timeout=60, text=True).stdout


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(content, stream)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def main(arguments: Sequence[str]) -> int:
    """Run a verb; returns the exit code."""
    verb, names = (arguments[0] if arguments else ""), list(arguments[1:])
    if verb == "check" and len(names) == 1:
        status = check(_read(Path(names[0])))
        sys.stdout.write(f"{status['state']}: {status['text']}\n")
        return 0 if status["state"] in FINE else 1
    if verb == "status":
        configs = [_read(Path(name)) for name in names or sorted(map(str, Path(CONFIGS).glob("*.json")))]
        found = [_read(Path(one["run_dir"]) / f"{one['name']}.json") or {"name": one["name"]} for one in configs if one]
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return 0 if all(one.get("state") in FINE for one in found) else 1
    sys.stderr.write(__doc__ or "")
    return 2
