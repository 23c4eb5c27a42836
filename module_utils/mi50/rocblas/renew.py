"""Collect, prove, plan, and only then apply. Check mode stops after the plan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from . import journal, names, source
from . import manifest as records
from .collect import Collector, Item
from .drift import current as current_files
from .drift import sha256_of
from .errors import RocblasError, SourceRejected
from .manifest import Entry, Manifest, stat_of
from .prove import check_content, check_fit, check_package
from .report import Change, result
from .request import Request
from .stage import Stage


class _Job(NamedTuple):
    """What an installation works on."""

    request: Request
    library: Path
    record: Manifest | None
    stage: Stage | None


class _Plan(NamedTuple):
    """What will move: `ours` are names whose present file is our own older copy, not somebody's."""

    change: Change
    wanted: dict[str, Item]
    relies: list[str]
    ours: set[str]


def renew(
    request: Request, library: Path, record: Manifest | None, src: Path, drift: dict[str, list[str]]
) -> dict[str, Any]:
    """Have the kernels of `src` in the library; `drift` is what changed since `record` was written.

    Raises RocblasError for a source or a library that is not as it must be; then nothing was changed.
    """
    stage = None
    if not request.check_mode:
        status = library.stat()
        stage = Stage(library / names.STAGING, status.st_uid, status.st_gid)
    try:
        return _renew(_Job(request, library, record, stage), src, drift)
    finally:
        if stage:
            stage.close()


def _renew(job: _Job, src: Path, drift: dict[str, list[str]]) -> dict[str, Any]:
    request, library, label = job.request, job.library, str(src)
    content = Collector(label, request.gpu_arch, job.stage, lambda p: check_package(label, p, request.expected))
    read = source.read(src, content, request.signature or "", request.keyring or "", request.threads)
    if request.sha256 and read.sha256 != request.sha256.lower():
        raise SourceRejected(
            f"{label}: its sha256 is {read.sha256}, expected {request.sha256.lower()}. Fetch it again."
        )
    check_content(label, content, request.expected)
    fit = check_fit(content, library, request.expected)
    warnings = fit.warnings + ([read.verdict.warning] if read.verdict and read.verdict.warning else [])
    wanted = {**content.kernels, **{name: content.catalogs[name] for name in fit.add}}
    plan = _plan(job, wanted, fit.relies)
    described = {
        "kind": read.kind,
        "name": content.package.name or src.name,
        "version": content.package.version,
        "sha256": read.sha256,
        "signed_by": read.verdict.fingerprint if read.verdict else None,
        "identity": list(read.identity),
        "id": request.source_id,
    }
    sizes = {name: item.size for name, item in wanted.items()}
    leaving = [*plan.change.replaced, *plan.change.removed]
    before = {name: (library / name).lstat().st_size for name in leaving}
    if job.stage:
        job.stage.finish()
        _apply(job, job.stage, plan, described)
    outcome = result(library, described, plan.change, before, sizes, drift=drift, warnings=warnings)
    outcome["changed"] = bool(plan.change.moved or job.record is None)
    return outcome


def _plan(job: _Job, wanted: dict[str, Item], relies: list[str]) -> _Plan:
    there = set(current_files(job.library, job.request.gpu_arch))
    there |= {name for name in wanted if os.path.lexists(job.library / name)}
    found = {name: _hash_if(job.library / name, job.record, job.request.verify) for name in there}
    change = Change(
        sorted(set(wanted) - there),
        sorted(name for name in wanted if name in there and found[name] != wanted[name].sha256),
        sorted(there - set(wanted)),
        sorted(name for name in wanted if name in there and found[name] == wanted[name].sha256),
    )
    recorded = job.record.files if job.record else {}
    ours = {name for name, entry in recorded.items() if entry.owned and found.get(name) == entry.sha256}
    return _Plan(change, wanted, relies, ours)


def _apply(job: _Job, stage: Stage, plan: _Plan, described: dict[str, Any]) -> None:
    library, change = job.library, plan.change
    install = sorted({*change.added, *change.replaced})
    files = {}
    for name in [*install, *change.unchanged]:
        place = (stage.path if name in install else library) / name
        files[name] = Entry(plan.wanted[name].sha256, name in install or name in plan.ours, _must(place))
    catalogs = {name: Entry(sha256_of(library / name), False, _must(library / name)) for name in plan.relies}
    mtime = job.record.directory_mtime_ns if job.record else stage.parent_mtime_ns
    arch = job.request.gpu_arch
    new = Manifest(arch, described, files, catalogs, mtime, job.request.allow_version_mismatch)
    if not change.moved:
        records.write_private(library / names.MANIFEST, records.dump(new))
        return
    for path in list(stage.path.iterdir()):
        if path.name not in install:
            path.unlink()
    records.write_private(stage.path / names.MANIFEST, records.dump(new))
    leaving = [*change.replaced, *change.removed]
    foreign, own = [n for n in leaving if n not in plan.ours], [n for n in leaving if n in plan.ours]
    journal.commit(library, journal.Moves(False, names.lazy_index(arch), install, foreign, own, [], None))


def _hash_if(path: Path, record: Manifest | None, verify: str) -> str:
    """Digest of what lies in the library, from the manifest when its stat still fits; empty for no plain file."""
    found = stat_of(path)
    if found is None:
        return ""
    entry = record.files.get(path.name) if record else None
    if entry is not None and entry.stat == found and verify == "stat":
        return entry.sha256
    return sha256_of(path)


def _must(path: Path) -> records.Stat:
    found = stat_of(path)
    if found is None:
        raise RocblasError(f"{path}: vanished while the patch was prepared. Run again.")
    return found
