"""The records of a generation: what it was made of, and what was proven of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config_files import write
from .model import FORMAT, PROOF, RECORD, Wanted, public

KERNELS = "torch/lib/rocblas/library/.gfx906_rocblas.json"


def load(path: Path) -> dict[str, Any] | None:
    """Read a record; None when there is none, or none that this version can read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("format") == FORMAT else None


def save(path: Path, data: Mapping[str, Any]) -> None:
    """Write a record by rename. Raises OSError."""
    text = json.dumps({"format": FORMAT, **data}, indent=1, sort_keys=True) + "\n"
    write(path, text.encode())


def differences(record: Mapping[str, Any], asked: Wanted) -> list[str]:
    """What the generation is, where that is not what is asked for; triton apart."""
    found = []
    if asked.minor and record["minor"] != asked.minor:
        found.append(f"Python {record['minor']} instead of {asked.minor}")
    elif record["interpreter"] != asked.interpreter:
        found.append(f"made with {record['interpreter']} instead of {asked.interpreter}")
    for name, version in asked.pins.items():
        if record["pins"].get(name) != version:
            found.append(f"{name} {record['pins'].get(name) or 'missing'} instead of {version}")
    found += [f"{name} is not asked for" for name in record["pins"] if name not in asked.pins]
    return found


def triton_difference(record: Mapping[str, Any], asked: Wanted) -> str:
    """What triton the generation has, where that is not the one asked for.

    No wheel means no wish: what is there stays, as long as it is for the same torch.
    """
    have = record.get("triton")
    if asked.triton is None:
        pinned = public(asked.triton_version)
        stale = have and pinned and public(have["version"]) != pinned
        return f"triton {have['version']} instead of {asked.triton_version}" if have and stale else ""
    if have is None:
        return f"triton is missing, {asked.triton.file} is there"
    same = have["sha256"] == asked.triton.sha256 if asked.triton.sha256 else have["file"] == asked.triton.file
    return "" if same else f"another build of triton is there: {asked.triton.file}"


def proof_of(site: Path, record: Mapping[str, Any], options: Mapping[str, Any], gpus: int) -> str:
    """Digest of everything a proof depends on: torch, triton, the kernels, what is asked, the number of cards."""
    try:
        kernels = (site / KERNELS).read_bytes()
    except OSError:
        kernels = b""
    what = [record["content"], record["watched"], options["proof"], gpus, _program(options["files"])]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode() + kernels).hexdigest()


def _program(files: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(f"{file['path']} {file['sha256']}" for file in files)


def proven(generation: Path, of: str) -> dict[str, Any] | None:
    """Return the proof of this very state, None when there is none; a failed one is kept as well."""
    proof = load(generation / PROOF)
    return proof if proof and proof.get("of") == of else None


def generation_record(generation: Path) -> dict[str, Any] | None:
    """Return the record of a generation; None for one that was never finished."""
    return load(generation / RECORD)
