"""Prove a generation, put it into use, and keep the environments on top of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import config_files, process
from . import children, conflicts, dists, generations, gpus, pip, records, venv
from .look import Look
from .model import FAMILY, MARK, PROOF, TRITONS, TorchEnvError, packages

_ASK = "import importlib.util as util; print(util.find_spec('torch').origin)"
_SECONDS = 120


def program(options: Mapping[str, Any], *, check_mode: bool) -> list[dict[str, Any]]:
    """Install the compute proof; return what changes."""
    wanted = [
        config_files.File(Path(file["path"]), file["content"], int(file["mode"], 8))
        for file in options["files"]
        if file["content"] is not None
    ]
    changes = config_files.plan(wanted)
    if not check_mode:
        config_files.apply(changes)
    return [change.diff() for change in changes]


def prove(generation: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Have a generation compute, and record the outcome in it. Raises TorchEnvError naming what was not right.

    Returns {ok, line, outcome}; without a card that could compute, `pending` says why and nothing is recorded.
    """
    wish = options["proof"]
    sysfs, dev = Path(options["sysfs_root"]), Path(options["dev_root"])
    why = gpus.absent(sysfs, dev) if wish["device"] == "auto" else ""
    if not wish["enabled"] or why:
        return {"ok": None, "line": f"not yet: {why}" if why else "switched off", "outcome": {}}
    cards = gpus.count(sysfs)
    code, text, errors = _compute(generation / "bin/python", wish, cards if wish["device"] == "auto" else 0)
    outcome = _outcome(text)
    line = errors.splitlines()[-1] if errors.strip() else f"exit code {code}"
    record = records.generation_record(generation)
    if record is not None:
        of = records.proof_of(packages(generation), record, options, cards)
        proof = {"of": of, "ok": code == 0, "line": line, "outcome": outcome}
        records.save(generation / PROOF, proof)
    if code:
        raise TorchEnvError(
            f"{generation}: torch does not compute: {line}.{_details(outcome)} It was not put into use."
        )
    return {"ok": True, "line": line, "outcome": outcome}


def _compute(python: Path, wish: Mapping[str, Any], cards: int) -> tuple[int, str, str]:
    words = ["--json", "--device", wish["device"], "--timeout", str(wish["timeout"])]
    words += ["--only", ",".join(wish["only"])] if wish["only"] else []
    words += ["--train"] if wish["train"] else []
    words += ["--expect-gpus", str(cards)] if cards else []
    argv = ["env", "-u", "PYTHONHOME", f"PYTHONPATH={wish['library']}", str(python), "-m", "mi50_compute", *words]
    # Every operation has its own time; this ends a proof whose parent hangs as well.
    limit = wish["timeout"] * 20.0 * max(1, cards)
    try:
        done = process.run(argv, timeout=limit)
    except subprocess.TimeoutExpired:
        return -9, "", f"no end within {limit:.0f} s"
    except OSError as error:
        return 2, "", str(error)
    return done.code, done.output.decode("utf-8", "replace"), done.errors.decode("utf-8", "replace")


def _outcome(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _details(outcome: Mapping[str, Any]) -> str:
    """What failed and the way out, for a message."""
    found = []
    for device in outcome.get("devices", []):
        for result in device["results"]:
            if result["status"] != "ok":
                found.append(f" {device['device']} {result['id']}: {result['status']}, {result['detail']}")
                found += [f" -> {result['remedy']}"] if result.get("remedy") else []
    for result in outcome.get("joint", []):
        found += [f" {result['id']}: {result['status']}, {result['detail']}"] if result["status"] != "ok" else []
    return "".join(found)[:1500]


def use(seen: Look, generation: Path, options: Mapping[str, Any]) -> list[str]:
    """Put a generation into use and remove what is no longer needed; return what was done."""
    done = []
    if seen.asked.link.resolve() != generation.resolve():
        venv.switch(seen.asked, generation)
        done.append(f"{seen.asked.link} is {generation.name} now")
    return done + generations.prune(seen.asked, generation, 1 if options["keep_previous"] else 0)


def check_environments(seen: Look) -> None:
    """Raise TorchEnvError for an environment that cannot be kept on top of what is asked for."""
    for child in seen.environments:
        if child.missing or child.remove:
            continue
        if child.foreign:
            raise TorchEnvError(
                f"{child.path}: was made with Python {child.foreign}, the shared torch is for {seen.asked.minor}; "
                "what is installed in it would not run. Nothing was changed. Note what it holds (pip freeze --local), "
                f"have it removed with pytorch_environments: [{{name: {child.name}, state: absent}}], then made anew."
            )
        own = dists.others(dists.installed(packages(child.path)))
        for name, version in child.hiding.items():
            if name in FAMILY and version != seen.asked.pins.get(name):
                raise TorchEnvError(
                    f"{child.path}: has {name} {version} of its own, which hides the shared "
                    f"{seen.asked.pins.get(name)}. Nothing was changed. Remove it ({child.path}/bin/pip uninstall "
                    f"{name}), or take {child.name} out of pytorch_environments."
                )
        versions = {**seen.asked.pins, **dict.fromkeys(TRITONS, seen.asked.triton_version)}
        versions = {name: version for name, version in versions.items() if version}
        if own and (child.hiding or seen.build != "keep"):
            conflicts.refuse(child.path / "bin/python", str(child.path), own, versions)


def environments(seen: Look, generation: Path) -> list[str]:
    """Make, mend and remove the environments on top; return what was done. Raises TorchEnvError."""
    done = []
    for child in seen.environments:
        if child.remove or child.missing:
            venv.remove(child.path)
        if child.remove:
            done.append(f"{child.path} removed")
            continue
        if child.missing:
            _make(seen, child, generation)
        if child.hiding:
            words = ["uninstall", "--yes", *child.hiding]
            pip.must(child.path / "bin/python", words, f"{child.path}: what hides the shared torch stays")
        config_files.apply(config_files.plan(children.files(seen.asked, child.path)))
        done += child.reasons()
        if child.reasons() or seen.build != "keep":
            _shares(child.path, generation)
    return done


def _make(seen: Look, child: children.Child, generation: Path) -> None:
    mark = {"minor": packages(generation).parent.name[len("python") :], "complete": False}
    records.save(child.path / MARK, mark)
    venv.make(seen.asked.python, child.path)
    config_files.apply(config_files.plan(children.files(seen.asked, child.path)))
    records.save(child.path / MARK, {**mark, "complete": True})


def _shares(path: Path, generation: Path) -> None:
    """Prove that an environment's torch is the shared one. Raises TorchEnvError."""
    done = process.run([str(path / "bin/python"), "-I", "-c", _ASK], timeout=_SECONDS)
    origin = done.output.decode("utf-8", "replace").strip()
    if not origin or generation.resolve() not in Path(origin).resolve().parents:
        raise TorchEnvError(
            f"{path}: its torch is {origin or 'not found'}, not the shared one in {generation}. Look for a file in it "
            "that changes sys.path, or have it made anew."
        )
