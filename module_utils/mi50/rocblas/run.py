"""Entry point of the module: lock, finish what a killed run left, then present or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import journal, names
from .errors import RocblasError
from .install import present
from .locate import library_directory
from .remove import absent
from .report import Change, result
from .request import Request


def run(request: Request) -> dict[str, Any]:
    """Do what is asked and return the module's result; RocblasError for everything a user can put right."""
    if not names.ARCH.fullmatch(request.gpu_arch):
        raise RocblasError(f"gpu_arch: {request.gpu_arch!r} is no AMD GPU architecture such as gfx906.")
    if request.state == "absent" and not os.path.lexists(request.dest):
        return result(Path(request.dest), {}, Change(), {}, {})
    library = library_directory(request.dest)
    with journal.locked(library):
        recovered = "" if request.check_mode else journal.recover(library)
        if request.check_mode and journal.pending(library):
            recovered = "an interrupted run is waiting to be finished"
        outcome = present(request, library) if request.state == "present" else absent(request, library)
        if recovered:
            outcome["warnings"].append(f"{library}: {recovered}")
            outcome["changed"] = True
        return outcome
