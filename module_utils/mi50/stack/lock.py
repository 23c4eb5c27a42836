"""The lock file: values nobody could know when the stack was written, recorded once, binding from then on."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from .load import Stack, StackError, read_yaml

with contextlib.suppress(ImportError):  # see load.py
    import yaml

# What identifies an artifact of each kind; `size` is recorded beside it.
DIGEST_KEY = {"file": "sha256", "git": "commit", "image": "digest", "apt": "fingerprint", "wheel-index": "wheels"}
# sha256 by file name, for the wheels of an index.
WHEELS = "wheels"
VALUE_KEYS = ("sha256", "commit", "digest", "fingerprint", "size")
_ENTRY_KEYS = {*VALUE_KEYS, WHEELS, "path", "url", "date", "signed_by"}
_HEADER = (
    "---\n# Written by playbooks/mirror.yml -e mi50_lock=true: what was not known when the stack was written.\n"
    "# Commit it. A later download that differs is refused; delete an entry only to lock that artifact anew.\n"
)


def read_lock(path: Path, stack_name: str) -> dict[str, dict[str, Any]]:
    """Return the lock's entries by artifact name; a missing file is an empty lock.

    Raises StackError for another stack's lock or a malformed one.
    """
    if not path.exists():
        return {}
    data = read_yaml(path)
    if not isinstance(data, dict) or not isinstance(data.get("artifacts"), dict) or set(data) != {"stack", "artifacts"}:
        raise StackError(
            f"{path}: not a lock file: it must hold exactly `stack` and `artifacts`; restore it or delete "
            "it and lock again"
        )
    if data["stack"] != stack_name:
        raise StackError(
            f"{path}: stack: {data['stack']!r} is another stack than {stack_name!r}; set "
            "mi50_stack_lock_file to that stack's lock"
        )
    for name, entry in data["artifacts"].items():
        unknown = set(entry) - _ENTRY_KEYS if isinstance(entry, dict) else {repr(entry)}
        if unknown:
            raise StackError(
                f"{path}: artifacts.{name}: unknown {', '.join(sorted(unknown))}; delete the entry and lock again"
            )
    entries: dict[str, dict[str, Any]] = data["artifacts"]
    return entries


def merge_lock(stack: Stack, entries: dict[str, dict[str, Any]], path: Path) -> Stack:
    """Fill the stack's nulls from the lock. Raises StackError when the two contradict each other."""
    artifacts = {artifact["name"]: artifact for artifact in stack["artifacts"]}
    for name, entry in entries.items():
        if name not in artifacts:
            raise StackError(
                f"{path}: artifacts.{name}: the stack {stack['name']} has no such artifact; delete the entry"
            )
        artifact = artifacts[name]
        if entry.get(WHEELS):
            _agree(artifact.get(WHEELS) or {}, entry[WHEELS], f"{path}: artifacts.{name}.wheels", "the stack says")
            artifact[WHEELS] = {**(artifact.get(WHEELS) or {}), **entry[WHEELS]}
        if "path" in entry and entry["path"] != artifact["path"]:
            raise StackError(
                f"{path}: artifacts.{name}.path: locked for {entry['path']!r}, but the stack now says "
                f"{artifact['path']!r}; "
                "delete the entry and lock again"
            )
        for key in VALUE_KEYS:
            if entry.get(key) is None:
                continue
            if artifact.get(key) not in (None, entry[key]):
                raise StackError(
                    f"{path}: artifacts.{name}.{key}: {entry[key]!r} contradicts the stack's "
                    f"{artifact[key]!r}; one of them is wrong: "
                    "compare with a second source, then correct the stack or delete the entry"
                )
            artifact[key] = entry[key]
    return stack


def _agree(known: dict[str, str | None], given: dict[str, str], where: str, what: str) -> None:
    """Raise StackError when the same wheel has two digests."""
    for file, digest in given.items():
        if known.get(file) not in (None, digest):
            raise StackError(
                f"{where}: {file}: {what} {known[file]!r}, here is {digest!r}; the file changed upstream or on the "
                "way, or one of the two is wrong: compare with a second source. Nothing was recorded"
            )


def unlocked(stack: Stack) -> list[str]:
    """Names of artifacts whose identity is still unknown. Works before and after `resolve`."""
    artifacts = stack["artifacts"].values() if isinstance(stack["artifacts"], dict) else stack["artifacts"]
    return sorted(a["name"] for a in artifacts if a["kind"] in DIGEST_KEY and not a.get(DIGEST_KEY[a["kind"]]))


def record(path: Path, stack_name: str, name: str, entry: dict[str, Any]) -> bool:
    """Add one entry to the lock file, atomically; return whether the file changed.

    Raises StackError when the lock already holds another value for the artifact.
    """
    entries = read_lock(path, stack_name)
    old = entries.get(name)
    if old is not None:
        for key in VALUE_KEYS:
            if old.get(key) is not None and entry.get(key) is not None and old[key] != entry[key]:
                raise StackError(
                    f"{path}: artifacts.{name}.{key}: locked as {old[key]!r}, but {entry.get('url')} now "
                    f"gives {entry[key]!r}; "
                    "the file changed upstream or on the way. Nothing was recorded"
                )
        _agree(old.get(WHEELS) or {}, entry.get(WHEELS) or {}, f"{path}: artifacts.{name}.wheels", "locked as")
        wheels = {**(old.get(WHEELS) or {}), **(entry.get(WHEELS) or {})}
        if all(old.get(key) == entry.get(key) for key in VALUE_KEYS) and wheels == (old.get(WHEELS) or {}):
            return False
        entry = {**entry, WHEELS: wheels or None}
    entries[name] = {**(old or {}), **{key: value for key, value in entry.items() if value is not None}}
    write_lock(path, stack_name, entries)
    return True


def write_lock(path: Path, stack_name: str, entries: dict[str, dict[str, Any]]) -> None:
    """Replace the lock file in one step, sorted, so that two runs give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _HEADER + yaml.safe_dump(
        {"stack": stack_name, "artifacts": entries}, sort_keys=True, default_flow_style=False, width=1000
    )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
