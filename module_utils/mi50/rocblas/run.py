"""Entry point of the module: each destination in turn, then what becomes of the source."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..fetch.record import record_path
from . import journal, names
from .errors import NoLibrary, RocblasError, SourceRejected
from .install import present
from .locate import library_directory
from .remove import absent
from .report import Change, deferred, result
from .request import Request

SHARED = ("changed", "needs_source", "warnings", "diff")


class Failure(NamedTuple):
    """Why the run ended early; `rejected` when the source is to blame."""

    message: str
    rejected: bool


def run_all(request: Request, destinations: Sequence[str]) -> tuple[dict[str, Any], Failure | None]:
    """Run for each destination; return the module's result, and the error that ended it. Never raises RocblasError."""
    total: dict[str, Any] = {"changed": False, "needs_source": False, "warnings": [], "diff": [], "libraries": []}
    for dest in destinations:
        try:
            outcome = run(request._replace(dest=dest))
        except SourceRejected as error:
            gone = _discard(request) if request.discard_source != "never" else ""
            return total, Failure(f"{error}{gone}", True)
        except RocblasError as error:
            return total, Failure(str(error), False)
        total["changed"] |= outcome["changed"]
        total["needs_source"] |= outcome["needs_source"]
        total["warnings"] += [text for text in outcome["warnings"] if text not in total["warnings"]]
        total["diff"].append(outcome["diff"])
        own = {key: value for key, value in outcome.items() if key not in SHARED}
        total["libraries"].append({"dest": dest, "changed": outcome["changed"], **own})
    if request.state == "present" and request.discard_source == "always" and not total["needs_source"]:
        _discard(request)
    if len(total["libraries"]) == 1:
        # The usual call has one destination; what became of it is the module's result itself.
        total = {**total["libraries"][0], **total, "diff": total["diff"][0]}
    return total, None


def _discard(request: Request) -> str:
    """Remove the source, its signature and the records of the fetch; never a directory. Return a sentence on it."""
    if request.check_mode or request.src is None:
        return ""
    removed = False
    for given in filter(None, [request.src, request.signature]):
        path = Path(given)
        for victim in (path, record_path(path)):
            if victim.is_file() or victim.is_symlink():
                with contextlib.suppress(OSError):
                    victim.unlink()
                    removed = True
    return f" The cached copy {request.src} was removed; the next run fetches it anew." if removed else ""


def run(request: Request) -> dict[str, Any]:
    """Do what is asked for one destination; RocblasError for everything a user can put right."""
    if not names.ARCH.fullmatch(request.gpu_arch):
        raise RocblasError(f"gpu_arch: {request.gpu_arch!r} is no AMD GPU architecture such as gfx906.")
    if not os.path.lexists(request.dest):
        if request.state == "absent":
            return result(Path(request.dest), {}, Change(), {}, {})
        if request.check_mode:
            # An earlier task of this very check would have made it.
            outcome = deferred(Path(request.dest), request, {})
            outcome["warnings"].append(f"{request.dest}: not there yet, so a check cannot look into it")
            return outcome
    try:
        library = library_directory(request.dest)
    except NoLibrary as error:
        if request.state != "absent":
            raise
        # ROCm's packages are half gone: a removal that was cut off took the kernels first.
        outcome = result(Path(request.dest), {}, Change(), {}, {})
        outcome["warnings"].append(f"nothing to give back: {error}")
        return outcome
    with journal.locked(library):
        recovered = "" if request.check_mode else journal.recover(library)
        if request.check_mode and journal.pending(library):
            recovered = "an interrupted run is waiting to be finished"
        outcome = present(request, library) if request.state == "present" else absent(request, library)
        if recovered:
            outcome["warnings"].append(f"{library}: {recovered}")
            outcome["changed"] = True
        return outcome
