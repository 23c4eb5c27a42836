"""What one apt source of ours is against what it shall be: key, files, source and package lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import config_files
from . import dpkg, keyring, openpgp, sources


@dataclass(frozen=True)
class Settings:
    """What the source shall be; `files` (pin, environment) belong to it and are written with it."""

    path: Path
    source: sources.Source
    architectures: Sequence[str]
    keyring: Path
    fingerprints: Sequence[str]
    files: Sequence[config_files.File]
    build: str
    cache_valid_time: int
    stamp_dir: Path

    @property
    def text(self) -> str:
        """The source file."""
        return sources.render(self.source, self.architectures, self.keyring)

    @property
    def stamp(self) -> Path:
        """Where the last proof of the lists is recorded."""
        return self.stamp_dir / f"{self.path.stem}.refreshed.json"


@dataclass(frozen=True)
class State:
    """What is to be done; `reason` says why the lists must be proven, None when they need not."""

    key: keyring.Plan
    trusted: bytes
    new_key: bool
    changes: list[config_files.Change]
    digest: str
    reason: str | None

    @property
    def current(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.new_key or self.changes or self.reason)


def settings(options: Mapping[str, Any]) -> Settings:
    """Read module options of these names."""
    return Settings(
        path=Path(options["path"]),
        source=sources.Source(options["uri"], options["suite"], tuple(options["components"])),
        architectures=options["architectures"],
        keyring=Path(options["keyring"]),
        fingerprints=options["fingerprints"],
        files=[config_files.File(Path(item["path"]), item["content"]) for item in options["files"]],
        build=options["build"],
        cache_valid_time=options["cache_valid_time"],
        stamp_dir=Path(options["stamp_dir"]),
    )


def look(wanted: Settings, fetch: Callable[[], tuple[bytes, str]], *, root: Path, now: float) -> State:
    """Compare; `fetch` (key bytes, where from) is called only for a key that is not installed.

    Raises ValueError for a fingerprint that is none, keyring.KeyringError for a wrong key; what `fetch` raises goes
    through.
    """
    ring = wanted.keyring
    installed = ring.read_bytes() if ring.is_file() else None
    pinned = [openpgp.normalise_fingerprint(value) for value in wanted.fingerprints]
    plan = keyring.plan(installed, pinned, fetch, now)
    trusted = plan.data if plan.data is not None else installed or b""
    # Whatever its content, apt's own user must be able to read it.
    new_key = plan.data is not None or ring.stat().st_mode & 0o777 != config_files.MODE
    # The source comes last: a killed run leaves none without its key and pin.
    changes = config_files.plan([*wanted.files, config_files.File(wanted.path, wanted.text)])
    digest = sources.digest([wanted.text.encode(), trusted])
    valid = wanted.cache_valid_time
    reason = sources.why_refresh(wanted.stamp, digest, [wanted.source], root=root, valid_seconds=valid, now=now)
    # A source that somebody edited is put back the same way as a new one.
    if reason is None and any(change.file.path == wanted.path for change in changes):
        reason = "the source or its key changed"
    return State(plan, trusted, new_key, changes, digest, reason)


def foreign(wanted: Settings, root: Path) -> list[str]:
    """Installed packages (`name=version` to install) that the source offers, but that are of another build."""
    offered = dpkg.offered(root / sources.LISTS, wanted.source.list_prefix)
    return dpkg.foreign(dpkg.read_status(root), offered, wanted.build)


def settled(wanted: Settings, *, root: Path, now: float) -> bool:
    """Tell whether the source is as it shall be and nothing installed is of another build; no network, never raises."""

    def unknown() -> tuple[bytes, str]:
        raise keyring.KeyringError("not installed")

    try:
        return look(wanted, unknown, root=root, now=now).current and not foreign(wanted, root)
    except (OSError, ValueError, keyring.KeyringError):
        return False
