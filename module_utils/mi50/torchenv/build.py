"""Bring a generation into being beside the one in use: from wheels, or from the one in use, whose files it shares."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..fetch.download import Wanted as Download
from ..fetch.ensure import ensure
from ..fetch.errors import FetchError, Interrupted
from ..fetch.record import sha256_of
from ..models.progress import Progress
from . import conflicts, dists, generations, index, pip, records, venv, wheels
from .interpreter import Python, probe, require
from .look import CLONE, Look
from .model import RECORD, TRITONS, Away, TorchEnvError, Wanted, canonical, packages

WHEELS = "wheels"
# Left free on the file system of the environments, and what compiled Python adds to a wheel's files.
_RESERVE = 512 << 20
_COMPILED = 1.08
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


class Parts(NamedTuple):
    """What goes into a generation: wheels of the family by name, triton's name, the names held, unlocked files."""

    family: dict[str, Path]
    triton: index.Name | None
    held: dict[str, str]
    digests: dict[str, str]
    unlocked: list[str]


def build(seen: Look, options: Mapping[str, Any]) -> Path:
    """Return a finished generation that is what is asked for; the one in use is not touched. Raises TorchEnvError."""
    asked = seen.asked
    python = probe(asked)
    require(python)
    triton = wheels.check_triton(asked.triton, python.minor, asked.triton_version) if asked.triton else None
    own = _own(seen)
    check_own(seen, triton)
    _check_triton(seen)
    ready = generations.ready(asked, seen.generation)
    if ready and not own:
        return ready
    generations.prune(asked, seen.generation, 1 if options["keep_previous"] else 0)
    asked.store.mkdir(mode=0o755, parents=True, exist_ok=True)
    target = generations.free_name(asked)
    progress = Progress(Path(options["progress"]) if options.get("progress") else None)
    try:
        with tempfile.TemporaryDirectory(prefix="mi50-torch-") as scratch:
            if seen.build == CLONE and seen.generation:
                _clone(seen, target, triton, Path(scratch))
            else:
                _fresh(seen, target, triton, python, options, Path(scratch), own, progress)
    except OSError as error:
        raise TorchEnvError(f"{target}: {error}. {pip.remedy(str(error))}") from None
    finally:
        progress.close()
        if records.generation_record(target) is None:
            venv.remove(target)
            generations.prune(asked, seen.generation, 1)
    return target


def _own(seen: Look) -> list[str]:
    """Packages that the user put into the environment in use."""
    if seen.record is None or seen.generation is None:
        return []
    now = seen.others if seen.others is not None else seen.record["others"]
    return sorted(set(now) - set(seen.record["brought"]))


def _check_triton(seen: Look) -> None:
    """Raise TorchEnvError when our triton was changed and nobody hands a wheel over: it would be lost silently."""
    have = seen.record["triton"] if seen.build == CLONE and seen.record and not seen.asked.triton else None
    if have:
        raise TorchEnvError(
            f"{seen.asked.link}: its triton {have['version']} was changed ({'; '.join(seen.reasons)}), and there is no "
            "wheel to put back. Nothing was changed. Have it built again (pytorch_triton_wheel)."
        )


def check_own(seen: Look, triton: index.Name | None) -> None:
    """Raise TorchEnvError when a package of the user needs another torch or triton than is asked for."""
    names = _own(seen)
    if names and seen.generation:
        versions = dict(seen.asked.pins)
        have = triton.version if triton else seen.asked.triton_version
        versions.update(dict.fromkeys(TRITONS, have) if have else {})
        conflicts.refuse(seen.generation / "bin/python", str(seen.asked.link), names, versions)


def _fresh(
    seen: Look,
    target: Path,
    triton: index.Name | None,
    python: Python,
    options: Mapping[str, Any],
    scratch: Path,
    own: list[str],
    progress: Progress,
) -> None:
    """Fetch, prove, install: everything from files on this node, so that nothing half-fetched is ever installed."""
    asked = seen.asked
    carried = conflicts.movable(packages(seen.generation), own) if own and seen.generation else []
    parts = _fetch(asked, python.minor, options, scratch, triton, progress)
    _space(asked, [*parts.family.values(), *([Path(asked.triton.path)] if asked.triton else [])])
    venv.make(asked.python, target)
    inside = target / "bin/python"
    needs = scratch / "needs"
    family = [f"{name}=={version}" for name, version in asked.pins.items()]
    # pip chooses what torch's family needs besides itself and triton; it evaluates the markers for this Python.
    lines = needs_of(parts.family.values())
    if lines:
        (scratch / "needs.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        words = ["download", "--only-binary", ":all:", "--dest", str(needs), "-r", "needs.txt"]
        words[-1] = str(scratch / "needs.txt")
        progress.phase("torch", "fetching what it needs besides")
        pip.must(inside, [*words, *_pypi(options)], "what torch needs besides could not be fetched")
    digests = {**parts.digests, **_proven(needs, options["wheels"])}
    places = [scratch, needs, *{path.parent for path in parts.family.values()}]
    if asked.triton:
        # By name, not by folder: that may hold other builds of the same version.
        (scratch / asked.triton.file).symlink_to(Path(asked.triton.path).resolve())
    held = [f"{name}=={version}" for name, version in parts.held.items()]
    mine = [f"{triton.name}=={triton.version}"] if triton else []
    links = [word for place in places if place.is_dir() for word in ("--find-links", str(place))]
    install = ["install", "--no-index", "--no-warn-script-location", *links]
    progress.phase("torch", "installing")
    pip.must(inside, [*install, *family, *mine, *held], "torch could not be installed")
    brought = dists.others(dists.installed(packages(target)))
    _settle(seen, target, triton, parts.held)
    if carried:
        doing = "packages of yours in the environment could not be carried over"
        pip.must(inside, ["install", "--only-binary", ":all:", *carried, *_pypi(options)], doing)
    _sound(seen, target)
    _save(seen, target, triton, {"digests": digests, "unlocked": parts.unlocked, "brought": brought})


def _clone(seen: Look, target: Path, triton: index.Name | None, scratch: Path) -> None:
    """Share the files of the generation in use, with another triton."""
    asked, old, record = seen.asked, seen.generation, seen.record
    if old is None or record is None:
        raise TorchEnvError("there is nothing to share files with")
    venv.make(asked.python, target)
    venv.share(old, target, TRITONS)
    found = dists.installed(packages(target))
    text = (found["torch"] / "METADATA").read_text(encoding="utf-8")
    held = wheels.placeholders(scratch, triton, wheels.needed_triton(text), asked.triton_version)
    files = [str(path) for path in scratch.glob("*.whl")]
    words = ["install", "--no-index", "--no-deps", "--no-warn-script-location"]
    mine = [str(asked.triton.path)] if asked.triton else []
    if files or mine:
        pip.must(target / "bin/python", [*words, *mine, *files], "triton could not be installed")
    _settle(seen, target, triton, held)
    _sound(seen, target)
    _save(seen, target, triton, record)


def _fetch(
    asked: Wanted,
    minor: str,
    options: Mapping[str, Any],
    scratch: Path,
    triton: index.Name | None,
    progress: Progress,
) -> Parts:
    """Have the family's wheels on this node, each with the digest that counts; resumed where it broke off."""
    folder = Path(options["cache_dir"]) / WHEELS
    links = {
        name: index.choose(index.page(options["index"], name), name, version, minor)
        for name, version in asked.pins.items()
    }
    digests = {name: index.expected(link, options["wheels"]) for name, link in links.items()}
    wanted = [Download(link.url, folder / link.file, digests[name] or None) for name, link in links.items()]
    under_way: list[Path] = []

    def watch(one: Download, there: int) -> None:
        if under_way[-1:] != [one.dest]:
            if under_way:
                progress.finished(under_way[-1].stat().st_size)
            under_way.append(one.dest)
            progress.file("torch", one.dest.name, None)
        progress.bytes(there)

    try:
        fetched = ensure(wanted, watch=watch)["files"]
    except FetchError as error:
        kind = Away if isinstance(error, Interrupted) else TorchEnvError
        raise kind(f"{error} The environment in use was not touched.") from None
    family = {name: folder / link.file for name, link in links.items()}
    need = wheels.needed_triton(wheels.metadata(family["torch"])) if "torch" in family else ("", "")
    held = wheels.placeholders(scratch, triton, need, asked.triton_version)
    known = {Path(one["dest"]).name: one["sha256"] for one in fetched}
    return Parts(family, triton, held, known, [links[name].file for name, digest in digests.items() if not digest])


def needs_of(family: Any) -> list[str]:  # noqa: ANN401 - the values of a dict
    """What the wheels need besides one another and triton, as pip reads it."""
    known = {*TRITONS, *(canonical(path.name.partition("-")[0]) for path in family)}
    found: list[str] = []
    for path in family:
        for line in wheels.metadata(path).splitlines():
            if not line.startswith("Requires-Dist:"):
                continue
            need = line[len("Requires-Dist:") :].strip()
            name = _NAME.match(need)
            if name and canonical(name.group()) not in known and "extra ==" not in need and need not in found:
                found.append(need)
    return found


def _pypi(options: Mapping[str, Any]) -> list[str]:
    if not options["pypi"]:
        return []
    place = urlsplit(options["pypi"])
    # A mirror of one's own may have no certificate; who names it so has said that it is to be used.
    return ["--index-url", options["pypi"], *(["--trusted-host", place.netloc] if place.scheme == "http" else [])]


def _proven(folder: Path, locked: Mapping[str, str | None]) -> dict[str, str]:
    """Digests of what pip fetched; TorchEnvError for one that the lock knows otherwise."""
    found = {path.name: sha256_of(path) for path in sorted(folder.glob("*.whl"))} if folder.is_dir() else {}
    for name, digest in found.items():
        known = locked.get(name)
        if known and known.lower() != digest:
            raise TorchEnvError(
                f"{name}: has sha256 {digest}, the stack's lock says {known}. Nothing was installed; compare with a "
                "second source."
            )
    return found


def _space(asked: Wanted, files: list[Path]) -> None:
    """Raise TorchEnvError when what is in the wheels does not fit."""
    need = int(sum(map(wheels.unpacked, files)) * _COMPILED) + _RESERVE
    free = shutil.disk_usage(asked.store).free
    if need > free:
        raise TorchEnvError(
            f"{asked.store}: {need / (1 << 30):.1f} GiB are needed, {free / (1 << 30):.1f} GiB are free. Free "
            "space, or set pytorch_root to a larger disk. The environment in use was not touched."
        )


def _settle(seen: Look, target: Path, triton: index.Name | None, held: Mapping[str, str]) -> None:
    """Write what keeps pip from undoing it."""
    pinned = {triton.name: triton.version} if triton else {}
    if not triton and seen.asked.triton_version:
        # Nobody may bring the stock build in under the other name.
        pinned["triton"] = seen.asked.triton_version
    venv.settle(target, {**seen.asked.pins, **pinned, **held})


def _sound(seen: Look, target: Path) -> None:
    """Raise TorchEnvError for needs that are not met in the new generation and were in the old one."""
    found = pip.check(target / "bin/python")
    if found and seen.generation and seen.record:
        found -= pip.check(seen.generation / "bin/python")
    if found:
        raise TorchEnvError(
            f"{'; '.join(sorted(found))}. The environment in use was not touched. Remove what conflicts from "
            f"{seen.asked.link}, or correct the stack."
        )


def _save(seen: Look, target: Path, triton: index.Name | None, record: Mapping[str, Any]) -> None:
    asked = seen.asked
    wheel = None
    if triton and asked.triton:
        digest = asked.triton.sha256 or sha256_of(Path(asked.triton.path))
        wheel = {"file": asked.triton.file, "version": triton.version, "sha256": digest}
    site = packages(target)
    made = {
        "minor": site.parent.name[len("python") :],
        "interpreter": asked.interpreter,
        "pins": asked.pins,
        "triton": wheel,
        "digests": record["digests"],
        "unlocked": record["unlocked"],
        "brought": record["brought"],
        **dists.summary(site),
    }
    records.save(target / RECORD, made)
