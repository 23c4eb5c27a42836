"""What a node has of its torch environments and what is left to do. Pure reading, cheap: every run comes here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..fan.state import differing
from ..rocblas import question as rocblas
from . import children, dists, gpus, records
from .model import FAMILY, TRITONS, TorchEnvError, Wanted, current, packages, wanted

# How a generation comes to be: not at all, from wheels, or from the one in use, whose files it shares.
KEEP, FRESH, CLONE = "keep", "fresh", "clone"


class Look(NamedTuple):
    """What was found. `build`: KEEP, FRESH or CLONE; `reasons`: why anything is to be done, in words."""

    asked: Wanted
    generation: Path | None
    record: dict[str, Any] | None
    build: str
    reasons: list[str]
    adopt: bool
    kernels: bool
    others: dict[str, str] | None
    files: list[str]
    environments: list[children.Child]
    proof: dict[str, Any] | None
    pending: str

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        quiet = not self.reasons and not self.adopt and self.others is None and not self.files
        return quiet and not self.kernels and not self.pending and all(child.settled for child in self.environments)


def look(options: Mapping[str, Any]) -> Look:
    """Compare the node with `options` (valid by the SPEC of question.py). Raises TorchEnvError for what is not ours."""
    asked = wanted(options)
    used = current(asked)
    generation = Path(options["generation"]) if options["generation"] else used
    record = records.generation_record(generation) if generation else None
    files = differing(options["files"])
    family = children.plan_all(asked, options["environments"], generation)
    if generation is None or record is None:
        why = "there is none yet" if generation is None else f"{generation} was never finished"
        return Look(asked, generation, None, FRESH, [why], False, True, None, files, family, None, "")
    site = packages(generation)
    found = dists.installed(site)
    build, reasons, adopt = _drift(asked, record, site, found)
    others = dists.others(found)
    kernels = build == KEEP and not _kernels_whole(generation, site, options["kernels"])
    pending, proof = "", None
    if options["proof"]["enabled"] and build == KEEP and not adopt and not kernels:
        device = options["proof"]["device"]
        sysfs, dev = Path(options["sysfs_root"]), Path(options["dev_root"])
        proof = records.proven(generation, records.proof_of(site, record, options, gpus.count(sysfs)))
        if proof is None and device == "auto":
            pending = gpus.absent(sysfs, dev)
        if proof is None and not pending:
            reasons = [*reasons, "it was not proven to compute in its present state"]
        elif proof is not None and not proof["ok"]:
            reasons = [*reasons, "its last proof failed"]
    if kernels:
        reasons = [*reasons, "its rocBLAS lacks gfx906 kernels, or has others than asked for"]
    changed = others if others != record["others"] else None
    return Look(asked, generation, record, build, reasons, adopt, kernels, changed, files, family, proof, pending)


def _drift(
    asked: Wanted, record: Mapping[str, Any], site: Path, found: Mapping[str, Path]
) -> tuple[str, list[str], bool]:
    """How to come to what is asked for, why, and whether only the record is behind (the same, installed again)."""
    reasons = records.differences(record, asked)
    if reasons:
        return FRESH, reasons, False
    now = dists.watched(site, found)
    family = {name: number for name, number in dists.versions(found).items() if name in {*FAMILY, *TRITONS}}
    same = family == record["family"]
    adopt = False
    if now != record["watched"] or not same:
        reasons, adopt = _torch_drift(record, site, found, now)
        if reasons:
            return FRESH, reasons, False
        triton = _triton_drift(record, family, found)
        if triton:
            return CLONE, triton, False
    wheel = records.triton_difference(record, asked)
    return (CLONE, [wheel], False) if wheel else (KEEP, [], adopt)


def _torch_drift(
    record: Mapping[str, Any], site: Path, found: Mapping[str, Path], now: Mapping[str, Any]
) -> tuple[list[str], bool]:
    """What became of torch's family; and whether it is the same again after another installation."""
    reasons = []
    for name in FAMILY:
        before = record["family"].get(name)
        after = dists.version(found[name]) if name in found else None
        if before != after:
            reasons.append(f"{name} {after or 'was removed'}, was {before or 'not there'}")
        elif before and dists.content(found[name]) != record["content"].get(name):
            reasons.append(f"{name} {after} was installed again from another build")
    for path, before in record["watched"].items():
        gone = now.get(path) is None and before is not None
        if gone and (path.startswith("torch/") or not path.endswith("RECORD")):
            reasons.append(f"{path} is missing")
        elif path.startswith("torch/lib/") and before and now[path] and now[path][0] != before[0]:
            reasons.append(f"{path} was replaced")
    # Nothing is wrong but dates: the same wheels were installed again, and the record has to learn the new dates.
    return reasons, not reasons and dict(now) != record["watched"]


def _triton_drift(record: Mapping[str, Any], family: Mapping[str, str], found: Mapping[str, Path]) -> list[str]:
    reasons = []
    for name in TRITONS:
        before, after = record["family"].get(name), family.get(name)
        if before != after:
            reasons.append(f"{name} {after or 'was removed'}, was {before or 'not there'}")
        elif before and dists.content(found[name]) != record["content"].get(name):
            reasons.append(f"{name} {after} was installed again from another build")
    return reasons


def _kernels_whole(generation: Path, site: Path, kernels: Mapping[str, Any] | None) -> bool:
    """Whether rocBLAS in the environment has its gfx906 kernels; None in `kernels` means that it needs no patch."""
    if kernels is None:
        return True
    manifest = _manifest(site / records.KERNELS)
    if manifest is None:
        return False
    given = {name: value for name, value in kernels.items() if name in rocblas.SPEC}
    # Without a source to compare with, whole by its own record is enough.
    defaults = {name: spec.get("default") for name, spec in rocblas.SPEC.items() if "default" in spec}
    own = {"source_id": manifest["source"].get("id")}
    try:
        return rocblas.answer({**defaults, **own, **given, "dest": [str(generation)]}) is not None
    except TorchEnvError:
        return False


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data.get("source"), dict) else None
