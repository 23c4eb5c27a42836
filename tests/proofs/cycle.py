"""Install, look again, roll back, install again: on the whole packages, in a ROCm prefix and a virtual environment."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from lab.mirror import rocblas
from tests.proofs import payload
from tests.proofs.archives import VERSIONS
from tests.proofs.material import Packages

VENV = "venv/lib/python3.11/site-packages/torch/lib/rocblas/library"
HOST = "opt/rocm-6.4.3/lib/rocblas/library"
Tree = dict[str, tuple[int, int, int, int, str]]


def snapshot(folder: Path) -> Tree:
    """Mode, owner, group, time and digest of everything, the folder's own included."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        owner = status.st_uid, status.st_gid
        found[str(path.relative_to(folder))] = (status.st_mode, *owner, status.st_mtime_ns, digest)
    return found


def digests(folder: Path) -> dict[str, str]:
    """Digests of the gfx906 files below a folder by their bare names."""
    files = [path for path in folder.rglob("*gfx906*") if not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _reference(kind: str, source: Path, folder: Path) -> dict[str, str]:
    """What GNU tar and dpkg-deb read out of the package."""
    folder.mkdir()
    if kind == "arch":
        command = f"tar -x --zstd -f '{source}' -C '{folder}' --wildcards '*gfx906*'"
    else:
        command = f"dpkg-deb --fsys-tarfile '{source}' | tar -x -C '{folder}' --wildcards '*gfx906*'"
    subprocess.run(["sh", "-c", command], check=True)
    found = digests(folder)
    shutil.rmtree(folder)
    return found


def _one(kind: str, source: Path, folder: Path, text: str) -> dict[str, Any]:
    dest = [str(folder / "opt/rocm-6.4.3"), str(folder / "venv")]
    libraries = [folder / HOST, folder / VENV]
    common: dict[str, Any] = {"dest": dest, "src": str(source), "version": VERSIONS[kind], "expected_files": 140}

    def call(**arguments: object) -> list[dict[str, Any]]:
        result = payload.run(payload.write(text, folder / "module.py", **arguments))
        if result["rc"]:
            raise RuntimeError(f"{arguments}: {result['msg']}")
        return list(result["libraries"])

    reference = _reference(kind, source, folder / "reference")
    before = [snapshot(library) for library in libraries]
    checks = {}
    for number in ("first", "again"):
        done = call(**common)
        checks[f"{number}: changed, 142,014,224 bytes"] = all(
            one["changed"] and one["bytes_written"] == 142_014_224 for one in done
        )
        found = [digests(library) for library in libraries]
        checks[f"{number}: all 140 files as GNU tar reads them"] = found == [reference] * 2 and len(reference) == 140
        installed = [snapshot(library) for library in libraries]
        checks[f"{number}: `verify: sha256` unchanged"] = not any(
            one["changed"] for one in call(**common, verify="sha256")
        ) and installed == [snapshot(library) for library in libraries]
        checks[f"{number}: absent changes"] = all(one["changed"] for one in call(dest=dest, state="absent"))
        checks[f"{number}: the tree as before, times included"] = before == [snapshot(library) for library in libraries]
    return checks


def prove(packages: Packages, folder: Path) -> dict[str, Any]:
    """Go through it with both packages; return what was checked, with the number that did not hold as `failed`."""
    members = rocblas.members(packages.deb)
    for library in (HOST, VENV):
        chosen = rocblas.amd(members, everything=False, with_gfx906=False)
        rocblas.unpack(packages.deb, chosen, folder / library)
    text = payload.build(folder)
    found = {kind: _one(kind, source, folder, text) for kind, source in packages._asdict().items()}
    failed = sum(not held for checks in found.values() for held in checks.values())
    return {"failed": failed, "held": sum(len(checks) for checks in found.values()) - failed, **found}
