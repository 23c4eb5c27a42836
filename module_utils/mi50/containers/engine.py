"""Docker on a node: found as it is, or missing; whether it runs, and with which registries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import config_files
from . import daemon
from .errors import ContainerError

PACKAGE = "docker.io"
UNIT = "docker.service"
_PROGRAMS = ("/usr/bin/docker", "/usr/local/bin/docker", "/bin/docker")
_SNAP = "/snap/bin/docker"
# The first that takes device files, numeric groups and cgroup v2 as the service needs them.
_OLDEST = (20, 10)

# Runs a program: exit code and all it said.
Runner = Callable[[Sequence[str]], "tuple[int, str]"]


class Seen(NamedTuple):
    """What a node has: `program` (empty: none), `server` version (empty: it does not answer), unit state, its flags."""

    program: str
    server: str
    active: bool
    enabled: bool
    root_dir: str
    flags: tuple[str, ...]
    info: Mapping[str, Any]


def look(run: Runner, root: Path = Path("/")) -> Seen:
    """Look what there is. Raises ContainerError for something that calls itself docker and cannot serve here."""
    program = next((name for name in _PROGRAMS if (root / name.lstrip("/")).exists()), "")
    if not program:
        if (root / _SNAP.lstrip("/")).exists():
            raise ContainerError(
                "Docker is installed as a snap, which sees neither /var/lib/mi50-aipc nor the cards' device files. "
                f"Remove it (snap remove docker) and run again: {PACKAGE} is installed then."
            )
        return Seen("", "", False, False, "", (), {})
    dummy, text = run([program, "--version"])
    if "podman" in text.lower():
        raise ContainerError(
            f"{program} is podman ({text.strip()}), which this role does not drive. Remove podman-docker and run "
            f"again: {PACKAGE} is installed then."
        )
    info = _info(run, program)
    security = " ".join(info.get("SecurityOptions") or [])
    if "rootless" in security:
        raise ContainerError(
            "Docker runs rootless here, without access to the cards' device files. Run it as root's service."
        )
    state = _unit(run)
    flags = _flags(root)
    return Seen(
        program,
        str(info.get("ServerVersion") or ""),
        state.get("ActiveState") == "active" or bool(info.get("ServerVersion")),
        state.get("UnitFileState") in ("enabled", "static", "") or "LoadState" not in state,
        str(info.get("DockerRootDir") or ""),
        flags,
        info,
    )


def problems(seen: Seen) -> list[str]:
    """Say what of a running engine is too old."""
    numbers = seen.server.split(".")[:2]
    if seen.server and all(part.isdigit() for part in numbers) and tuple(map(int, numbers)) < _OLDEST:
        return [f"Docker {seen.server} is too old, {'.'.join(map(str, _OLDEST))} is the least. Update it."]
    return []


def configure(mirrors: Sequence[str], insecure: Sequence[str], seen: Seen, run: Runner, root: Path = Path("/"), *,
              check_mode: bool = False) -> dict[str, Any]:  # fmt: skip
    """Have our registries in force, and the engine running and enabled; return what changed.

    Raises ContainerError; a file that the engine does not take is as it was before.
    """
    want = daemon.wanted(mirrors, insecure)
    path, note_path = root / daemon.PATH.lstrip("/"), root / daemon.NOTE.lstrip("/")
    before, note = _text(path), _text(note_path)
    merged = daemon.merge(before, daemon.note(note), want)
    clash = daemon.conflicts(seen.flags, want) if merged.changed else []
    if clash:
        raise ContainerError("; ".join(clash) + ". Nothing was changed.")
    reasons = (
        [f"{daemon.PATH} gets registries" if merged.text is not None else f"{daemon.PATH} goes"]
        if merged.changed
        else []
    )
    stale = [] if merged.changed or not seen.server else daemon.in_force(seen.info, want)
    reasons += [f"the engine does not know {', '.join(stale)} yet"] if stale else []
    reasons += [] if seen.server else ["the engine is started"]
    reasons += [] if seen.enabled else [f"{UNIT} is enabled"]
    result = {
        "changed": bool(reasons),
        "reasons": reasons,
        "diff": {"before": before or "", "after": merged.text or ""},
    }
    if check_mode or not reasons:
        return result
    if merged.changed:
        _validate(merged.text, run, path)
        _write(path, merged.text)
        _write(note_path, json.dumps(merged.ours) + "\n" if merged.ours else None)
    _bring_up(seen, run, reload=merged.changed or bool(stale))
    lacking = daemon.in_force(_info(run, seen.program or _PROGRAMS[0]), want)
    if lacking:
        if merged.changed:
            _write(path, before)
            _write(note_path, note)
            run(["systemctl", "reload", UNIT])
        raise ContainerError(
            f"Docker did not take {', '.join(lacking)}; {daemon.PATH} is as it was. See journalctl -u docker."
        )
    return result


def settled(mirrors: Sequence[str], insecure: Sequence[str], run: Runner, root: Path = Path("/")) -> bool:
    """Tell cheaply whether nothing is left to do: files and the unit, no question to the engine itself."""
    if not any((root / name.lstrip("/")).exists() for name in _PROGRAMS):
        return False
    path, note_path = root / daemon.PATH.lstrip("/"), root / daemon.NOTE.lstrip("/")
    try:
        merged = daemon.merge(_text(path), daemon.note(_text(note_path)), daemon.wanted(mirrors, insecure))
    except ContainerError:
        return False
    state = _unit(run)
    return not merged.changed and state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled"


def _bring_up(seen: Seen, run: Runner, *, reload: bool) -> None:
    if not seen.enabled:
        run(["systemctl", "enable", UNIT])
    # Registries are among what dockerd reads again without a restart: containers run on.
    verb = ["start"] if not seen.server else ["reload"] if reload else []
    for word in verb:
        code, text = run(["systemctl", word, UNIT])
        if code:
            raise ContainerError(f"systemctl {word} {UNIT} failed: {' '.join(text.split())}. See journalctl -u docker.")


def _validate(text: str | None, run: Runner, path: Path) -> None:
    """Have dockerd itself judge the file where it can (from 23.0 on). Raises ContainerError."""
    if text is None:
        return
    trial = path.with_name(".mi50-daemon.json")
    config_files.write(trial, text.encode())
    try:
        code, said = run(["dockerd", "--validate", "--config-file", str(trial)])
    finally:
        trial.unlink()
    if code and "unknown flag" not in said and "not found" not in said:
        raise ContainerError(
            f"dockerd refuses what {daemon.PATH} would become: {' '.join(said.split())}. It was not changed."
        )


def _info(run: Runner, program: str) -> dict[str, Any]:
    code, text = run([program, "info", "--format", "{{json .}}"])
    try:
        found = json.loads(text.strip().splitlines()[-1]) if text.strip() else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) and not code else {}


def _unit(run: Runner) -> dict[str, str]:
    code, text = run(["systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", "--", UNIT])
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line) if not code else {}


def _flags(root: Path) -> tuple[str, ...]:
    """Return the flags of the running dockerd."""
    for pid in ("run/docker.pid", "var/run/docker.pid"):
        try:
            number = (root / pid).read_text(encoding="ascii").strip()
            words = (root / "proc" / number / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            return tuple(word for word in words if word.startswith("-"))
        except (OSError, UnicodeDecodeError):
            continue
    return ()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ContainerError(f"{path}: cannot be read: {error}.") from None


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        config_files.write(path, text.encode())
