"""A configuration of Prometheus and Alertmanager as one folder: staged, checked by their own tools, switched, or left.

    BASE/generations/DIGEST/   prometheus.yml, rules/, alertmanager.yml, keys/    never changed once it is there
    BASE/current               link to the one in force

A generation that promtool or amtool refuses is never linked to; one that a server does not take is taken back.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..addresses import LOCAL
from .config import ALERTMANAGER, KEYS, PROMETHEUS

Runner = Callable[[list[str]], tuple[int, str]]
_SECRET, _PLAIN, _FOLDER = 0o600, 0o644, 0o750
_PATIENCE = 60.0  # seconds for a server to take its configuration, or to start and read what it has stored


class SwitchError(Exception):
    """Nothing was switched, or it was switched back; the text says why."""


class Wanted(NamedTuple):
    """Files by their path below the folder; `keys` are names whose value None means: keep what is there."""

    files: Mapping[str, str]
    secrets: Mapping[str, str]
    keys: Mapping[str, str | None]


class Plan(NamedTuple):
    """All files with their text and mode; what differs from now; `digest` names the generation."""

    files: dict[str, tuple[str, int]]
    changed: list[str]
    diff: list[dict[str, str]]
    digest: str
    before: str


class Server(NamedTuple):
    """A unit, and where its API answers."""

    unit: str
    port: int
    path: str
    host: str = LOCAL


PROMETHEUS_API, ALERTMANAGER_API = "/api/v1/status/runtimeinfo", "/api/v2/status"


def plan(base: Path, wanted: Wanted) -> Plan:
    """Compare with what is in force. Raises SwitchError for a key that nobody knows: it would only get a 401."""
    current = base / "current"
    files = {name: (text, _PLAIN) for name, text in wanted.files.items()}
    files.update({name: (text, _SECRET) for name, text in wanted.secrets.items()})
    missing = []
    for name, key in wanted.keys.items():
        text = key if key is not None else _read(current / KEYS / name)
        if not (text or "").strip():
            missing.append(name)
        else:
            files[f"{KEYS}/{name}"] = ((text or "").strip(), _SECRET)
    if missing:
        raise SwitchError(
            f"scrape target without key: {', '.join(missing)} (node and engine). Its key file could not be read on the"
            " node, and no key of an earlier run is here. Run site.yml on the node first, or take the engine out of"
            " monitoring_engines. Nothing was changed."
        )
    before = {name: _read(current / name) for name in {*files, *_names(current)}}
    changed = sorted(name for name, text in before.items() if name not in files or files[name][0] != text)
    digest = hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]
    return Plan(files, changed, [_diff(name, before[name], files.get(name)) for name in changed], digest, _linked(base))


def _diff(name: str, before: str | None, after: tuple[str, int] | None) -> dict[str, str]:
    secret = name.startswith(f"{KEYS}/") or name == ALERTMANAGER
    old, new = before or "", after[0] if after else ""
    if secret:
        old, new = ("(a secret)\n" if old else ""), ("(another secret)\n" if new else "")
    return {"before_header": name, "after_header": name, "before": old, "after": new}


def _names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _linked(base: Path) -> str:
    try:
        return (base / "current").readlink().name
    except OSError:
        return ""


def stage(base: Path, todo: Plan, owner: tuple[int, int]) -> Path:
    """Write the generation beside the others; `owner` is the user and group that read it. Raises OSError."""
    folder = base / "generations" / todo.digest
    shutil.rmtree(folder, ignore_errors=True)
    base.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.mkdir(mode=_FOLDER, parents=True)
    os.chown(folder, 0 if os.geteuid() == 0 else -1, owner[1])
    for name, (text, mode) in todo.files.items():
        path = folder / name
        if not path.parent.is_dir():
            path.parent.mkdir(mode=_FOLDER)
            os.chown(path.parent, 0 if os.geteuid() == 0 else -1, owner[1])
        # From its first moment as narrow as it shall be.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        path.chmod(mode)
        os.chown(path, *owner)
    return folder


def prove(folder: Path, run: Runner) -> None:
    """Have promtool and amtool judge a staged folder. Raises SwitchError with their words."""
    checks = [["promtool", "check", "config", str(folder / PROMETHEUS)]]
    if (folder / ALERTMANAGER).exists():
        checks.append(["amtool", "check-config", str(folder / ALERTMANAGER)])
    for argv in checks:
        code, said = run(argv)
        if code:
            shutil.rmtree(folder, ignore_errors=True)
            lines = [line.strip() for line in said.splitlines() if "FAILED" in line or "error" in line.lower()]
            words = " ".join(lines or said.split("\n")[-3:])[:800]
            raise SwitchError(f"{argv[0]} refuses the configuration: {words}. What ran before goes on unchanged.")


def link(base: Path, digest: str) -> None:
    """Point `current` at a generation, in one step; an empty digest removes it. Raises OSError."""
    current, new = base / "current", base / ".current.new"
    new.unlink(missing_ok=True)
    if not digest:
        current.unlink(missing_ok=True)
        return
    new.symlink_to(Path("generations") / digest)
    new.replace(current)


def switch(base: Path, todo: Plan, servers: Sequence[Server], run: Runner) -> None:
    """Let the servers take the staged generation; the one before comes back when one does not. Raises SwitchError."""
    link(base, todo.digest)
    try:
        for server in servers:
            take(server, run)
    except SwitchError as error:
        link(base, todo.before)
        for server in servers if todo.before else ():
            run(["systemctl", "reload-or-restart", server.unit])
        back = "The configuration before is in force again." if todo.before else "There was none before."
        raise SwitchError(f"{error}. {back}") from error
    for path in (base / "generations").iterdir():
        if path.name not in (todo.digest, todo.before):
            shutil.rmtree(path, ignore_errors=True)


def take(server: Server, run: Runner) -> None:
    """Have a server read its configuration, and wait until it says that it has. Raises SwitchError."""
    began = time.time()
    code, said = run(["systemctl", "reload-or-restart", server.unit])
    if code:
        raise SwitchError(f"{server.unit} does not start: {said.strip()[-300:]} (journalctl -u {server.unit})")
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        seen = ask(server)
        if isinstance(seen, dict) and _took(seen, began):
            return
        time.sleep(0.2)
    raise SwitchError(f"{server.unit} does not take its configuration: journalctl -u {server.unit}")


def _took(seen: Mapping[str, Any], began: float) -> bool:
    """Prometheus tells when it last read its configuration and whether it could; Alertmanager only that it is there."""
    data = seen.get("data")
    if not isinstance(data, dict):
        return "cluster" in seen
    # 2026-01-02T03:04:05Z, whole seconds; a start counts as reading.
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began - 1))
    return bool(data.get("reloadConfigSuccess")) and str(data.get("lastConfigTime", ""))[:19] >= stamp


def ask(server: Server) -> Any:  # noqa: ANN401 - JSON
    """What the server answers; None while it does not."""
    connection = http.client.HTTPConnection(server.host.strip("[]"), server.port, timeout=5)
    try:
        connection.request("GET", server.path)
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
