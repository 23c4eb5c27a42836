"""A build on this node: begun once, attached to ever after, its result taken over or its failure explained.

What the runner last wrote (state.json) and what systemd knows of its units are read together: after a kill or a
reboot only the second can be trusted.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..process import run as run_program
from . import diagnose, facts, store
from .inside import fetch, make, phase, progress, shell
from .unit import USER, Limits, Run, UnitError, Units, alive, ended

# The runner's files, as they are copied to where it runs.
_RUNNER = (phase, fetch, make, progress, shell)
_SETTLE = 1.5  # seconds in which systemd may be between the two units
_CCACHE = "ccache"


class JobError(Exception):
    """A build cannot be begun or taken over; the text is meant for the user."""


class Place(NamedTuple):
    """Where a build works: `root` of all of them, `folder` its own, `shelf` of the finished ones, and of which boot."""

    root: Path
    folder: Path
    shelf: store.Store


class Job:
    """One build of one key on this node."""

    def __init__(
        self, name: str, key: str, place: Place, run: Run = run_program, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Nothing is looked at yet."""
        self._name, self._key, self._place, self._run, self._sleep = name, key, place, run, sleep
        self._units = Units(name, key, place.folder, run)

    def state(self) -> dict[str, Any]:
        """Return `{"state": nothing|running|finished|failed|lost, …}`; of a failure also cause, remedy and log.

        `lost` is a build that did not end and does not run: its machine was restarted, or somebody stopped it.
        """
        units, said = self._units.show(), self._said()
        if not alive(units) and said.get("status") == "running":
            self._sleep(_SETTLE)
            units, said = self._units.show(), self._said()
        if said.get("status") == "done":
            return {"state": "finished", **_shown(said)}
        if alive(units):
            return {"state": "running", **_shown(said)}
        if not said:
            return {"state": "nothing"}
        if said.get("status") == "running" and not _failed(units):
            return {"state": "lost", **_shown(said)}
        return {"state": "failed", **_shown(said), **self._failure(units, said)}

    def start(self, job: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
        """Begin the build, or attach to one that runs or has finished. Raises JobError.

        Returns the state with `attached` and, when an earlier try was interrupted by a reboot, `again`.
        """
        before = self.state()
        if before["state"] in ("running", "finished"):
            return {**before, "attached": True}
        lost = before["state"] == "lost"
        try:
            if lost:  # what was being written when the power went may look whole and not be
                shutil.rmtree(self._place.folder, ignore_errors=True)
            owner = self._user()
            writable = self._lay_out(job, owner)
            self._units.start(job["python"], limits, writable)
        except OSError as exc:
            raise JobError(f"{exc.filename or self._place.folder}: {exc.strerror}") from exc
        except UnitError as exc:
            raise JobError(str(exc)) from exc
        return {"state": "running", "attached": False, "again": lost, "unit": self._units.build}

    def collect(self, facts_of_build: Mapping[str, Any]) -> store.Manifest:
        """Take the finished artifact over into the shelf, remove the folder, return the manifest. Raises JobError."""
        said = self._said()
        if said.get("status") != "done":
            raise JobError(f"{self._place.folder} holds no finished build")
        result = said["result"]
        finished = float(said["updated"])
        manifest = {
            **facts_of_build,
            "name": self._name,
            "key": self._key,
            "files": result["files"],
            "started": _utc(float(said["started"])),
            "finished": _utc(finished),
            "seconds": round(finished - float(said["started"])),
            "made_with": {name: result[name] for name in ("jobs", "compiler", "frozen", "downloads", "ccache")},
            "host": facts.info(),
        }
        try:
            sources = {file["name"]: self._place.folder / "out" / file["name"] for file in result["files"]}
            self._place.shelf.place(manifest, sources)
        except (store.StoreError, KeyError, TypeError) as exc:
            raise JobError(f"the build's result cannot be kept: {exc}") from exc
        self.clean()
        return manifest

    def clean(self) -> None:
        """Stop what runs and remove the folder; its log stays beside it until the next build of the same name.

        What earlier builds of the name left when they failed goes as well, unless one is being tried again just now.
        """
        self._units.stop()
        folder = self._place.folder
        for left in self._place.root.glob(f"{self._name}-*/"):
            key = left.name[len(self._name) + 1 :]
            units = Units(self._name, key, left, self._run)
            if left != folder and not alive(units.show()):
                units.stop()
                shutil.rmtree(left, ignore_errors=True)
        for old in self._place.root.glob(f"{self._name}-*.log"):
            old.unlink()
        with contextlib.suppress(OSError):
            (folder / "log").replace(folder.with_name(f"{folder.name}.log"))
        shutil.rmtree(folder, ignore_errors=True)

    def _failure(self, units: dict[str, dict[str, str]], said: Mapping[str, Any]) -> dict[str, Any]:
        tail = said.get("tail") if said.get("status") == "failed" else None
        log = [str(line) for line in tail or self._units.journal(200) or self._log()]
        cause = diagnose.diagnose(ended(units), said, log)
        return {
            "cause": cause._asdict(),
            "log": diagnose.excerpt(log, cause.at),
            "unit": self._units.build,
            "folder": str(self._place.folder),
        }

    def _said(self) -> dict[str, Any]:
        """What the runner wrote last; it is an unprivileged user's file and may be anything."""
        try:
            handle = os.open(self._place.folder / "state.json", os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(handle, encoding="utf-8") as stream:
                found = json.loads(stream.read(1 << 20))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _log(self) -> list[str]:
        try:
            return (self._place.folder / "log").read_text("utf-8", errors="replace").splitlines()[-200:]
        except OSError:
            return []

    def _user(self) -> pwd.struct_passwd:
        """The unprivileged user that builds run as, made when missing."""
        try:
            return pwd.getpwnam(USER)
        except KeyError:
            home = ["--home-dir", "/nonexistent", "--no-create-home"]
            done = self._run(["useradd", "--system", "--user-group", *home, "--shell", "/usr/sbin/nologin", USER])
            if done.code != 0:
                raise JobError(
                    f"the user {USER} cannot be made: {done.errors.decode(errors='replace').strip()}"
                ) from None
            return pwd.getpwnam(USER)

    def _lay_out(self, job: Mapping[str, Any], owner: pwd.struct_passwd) -> list[str]:
        """Write the folder with the runner and the job; return what the build may write to."""
        root, folder = self._place.root, self._place.folder
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        code = folder / "inside"
        shutil.rmtree(code, ignore_errors=True)
        code.mkdir()
        (code / "__init__.py").touch()
        for module in _RUNNER:
            name = module.__name__.rsplit(".", 1)[-1]
            (code / f"{name}.py").write_text(source_of(module), encoding="utf-8")
        cache = root / _CCACHE
        with_cache = bool(job["ccache"]) and shutil.which("ccache") is not None
        filled = {**job, "key": self._key, "ccache": str(cache) if with_cache else ""}
        (folder / "job.json").write_text(json.dumps(filled, indent=1), encoding="utf-8")
        (folder / "state.json").unlink(missing_ok=True)
        for path in (folder, cache, folder / "downloads"):
            path.mkdir(exist_ok=True)
            os.chown(path, owner.pw_uid, owner.pw_gid)
        return [str(folder), str(cache)]


def source_of(module: Any) -> str:  # noqa: ANN401 - a module; inside Ansible's archive it is no file of its own
    """Return a module's source text."""
    loader = module.__loader__
    text = loader.get_source(module.__name__)
    if text is None:
        raise JobError(f"{module.__name__} has no source here (Python {sys.version.split()[0]})")
    return str(text)


def _failed(units: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether systemd knows how one of the two failed; after a restart it knows neither."""
    return any(one.get("ActiveState") == "failed" for one in units.values())


def _shown(said: Mapping[str, Any]) -> dict[str, Any]:
    names = ("phase", "step", "done", "total", "text", "started", "jobs", "message")
    return {"progress": {name: said[name] for name in names if name in said}}


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def remove_everything(shelf: Path, work: Path, *, dry: bool, run: Run = run_program) -> bool:
    """Stop all builds, remove finished and unfinished ones and their user; tell whether there was anything."""
    listed = run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "mi50-build-*"])
    units = [line.split()[0] for line in listed.output.decode(errors="replace").splitlines() if line.split()]
    try:
        pwd.getpwnam(USER)
        user = True
    except KeyError:
        user = False
    found = bool(units) or user or shelf.exists() or work.exists()
    if dry or not found:
        return found
    if units:
        run(["systemctl", "stop", *units])
        run(["systemctl", "reset-failed", *units])
    for folder in (shelf, work):
        shutil.rmtree(folder, ignore_errors=True)
    if user:
        run(["userdel", USER])
    return True
