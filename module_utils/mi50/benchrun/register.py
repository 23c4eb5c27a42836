"""The register of runs on the controller: which one to go on with, and how to begin another."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from ..process import run as run_program

_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.-]*$")
NEW = "new"


class RegisterError(Exception):
    """A run id that cannot be used; the text is meant for the user."""


class Register:
    """A folder with one folder a run; `run.json` in each says what it measures and whether it is finished."""

    def __init__(self, folder: Path) -> None:
        """The folder need not exist."""
        self._folder = folder

    def begin(
        self, wanted: str, what: dict[str, Any], now: datetime, *, dry: bool, harness: Path, caller: str = ""
    ) -> dict[str, Any]:
        """Return `{"id", "dir", "resumed", "commit"}` of the run to work on. Raises RegisterError.

        `wanted` names a run, is `new`, or empty: then the newest unfinished run of the same `what`, if any. `caller`
        tells the batches of one call from another call, so that `new` begins one run and not one a batch.
        """
        key = fingerprint(what)
        if wanted and not _ID.match(wanted):
            raise RegisterError(
                f"benchmark_run_id {wanted!r}: letters, digits, dots and dashes only, it names a folder"
            )
        if wanted and wanted != NEW:
            known = self._read(wanted)
            if known and known.get("key") != key:
                raise RegisterError(
                    f"run {wanted} measured something else (suite, tasks or options): choose another benchmark_run_id, "
                    "or leave it out"
                )
            run_id = wanted
        else:
            run_id = self._unfinished(key, (caller or "-") if wanted == NEW else "") or self._free(now)
            known = self._read(run_id)
        if not dry:
            fresh = {"id": run_id, "key": key, "what": what, "begun": _utc(now), "finished": None, "caller": caller}
            self._write(run_id, known or fresh)
        return {
            "id": run_id,
            "dir": str(self._folder / run_id),
            "resumed": known is not None,
            "commit": commit_of(harness),
        }

    def finish(self, run_id: str, now: datetime) -> None:
        """Note that a run is complete. Raises RegisterError for one that was never begun."""
        known = self._read(run_id)
        if known is None:
            raise RegisterError(f"there is no run {run_id} in {self._folder}")
        self._write(run_id, {**known, "finished": _utc(now)})

    def _unfinished(self, key: str, caller: str) -> str:
        """The newest unfinished run; only one that this caller began, if one is named."""
        runs = [self._read(path.name) for path in sorted(self._folder.glob("*")) if path.is_dir()]
        found = [run for run in runs if run and run.get("key") == key and not run.get("finished")]
        found = [run for run in found if not caller or run.get("caller") == caller]
        return str(max(found, key=lambda run: str(run.get("begun")))["id"]) if found else ""

    def _free(self, now: datetime) -> str:
        base = now.strftime("%Y-%m-%d-%H%M%S")
        number, name = 1, base
        while (self._folder / name).exists():
            number += 1
            name = f"{base}-{number}"
        return name

    def _read(self, run_id: str) -> dict[str, Any] | None:
        path = self._folder / run_id / "run.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise RegisterError(f"{path} cannot be read ({exc}): remove the run's folder or name another run") from exc
        return found

    def _write(self, run_id: str, content: dict[str, Any]) -> None:
        path = self._folder / run_id / "run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        scratch.replace(path)


def fingerprint(what: dict[str, Any]) -> str:
    """Return what two runs have in common when they measure the same."""
    text = json.dumps(what, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def commit_of(checkout: Path) -> str:
    """Return the short commit of a checkout, with a plus when tracked files were changed; empty outside of git."""
    try:
        head = run_program(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], timeout=10.0)
        state = run_program(["git", "-C", str(checkout), "status", "--porcelain", "-uno"], timeout=30.0)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if head.code != 0:
        return ""
    return head.output.decode().strip() + ("+" if state.output.strip() else "")


def _utc(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
