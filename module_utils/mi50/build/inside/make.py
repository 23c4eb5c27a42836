"""The second phase, without a network: the requirements put in, the commands run, the wheel tested and described."""

from __future__ import annotations

import email
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from .shell import Shell, StepFailed

# How a Python project becomes a wheel, unless the recipe says something else.
WHEEL = [
    "{python}",
    "-m",
    "pip",
    "wheel",
    "-v",
    "--no-build-isolation",
    "--no-deps",
    "--no-index",
    "-w",
    "{out}",
    "{source}",
]


def build(shell: Shell, job: dict[str, Any]) -> dict[str, Any]:
    """Compile, test, and return `{"files", "frozen", "jobs", "compiler"}`. Raises StepFailed."""
    python = str(shell.work / "venv/bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    shell.step("prepare")
    if job["requirements"]:
        wheels = str(shell.work / "wheelhouse")
        shell.run([*pip, "install", "--quiet", "--no-index", "--find-links", wheels, "-r", "requirements.txt"])
    out = shell.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    # The commit's own time in the wheel, so that the same source gives the same bytes.
    shell.environment["SOURCE_DATE_EPOCH"] = _said(
        ["git", "-C", str(shell.work / "src"), "show", "-s", "--format=%ct"]
    ).strip()
    shell.step("compile")
    jobs = _commands(shell, job, python, out)
    wheel = _wheel(out, job)
    _tests(shell, job, wheel)
    shell.step("done")
    return {
        "files": [{"name": wheel.name, "sha256": _digest(wheel), "size": wheel.stat().st_size}],
        "frozen": _said([*pip, "freeze", "--all"]).split(),
        "jobs": jobs,
        "downloads": [json.loads(mark.read_text("utf-8")) for mark in sorted(shell.work.glob("downloads/*.json"))],
        "compiler": _said(["c++", "--version"]).splitlines()[:1],
        "ccache": _said(["ccache", "--dir", job["ccache"], "--show-stats"]).splitlines() if job["ccache"] else [],
    }


def _commands(shell: Shell, job: dict[str, Any], python: str, out: Path) -> int:
    """Run the recipe's commands; again with half the jobs when compilers are killed for want of memory."""
    jobs = int(job["jobs"])
    while True:
        values = _values(shell, job, python, out, jobs)
        environment = {name: text.format_map(values) for name, text in job["environment"].items()}
        environment.update(_parallel(shell, job, jobs))
        try:
            for command in job["commands"] or [WHEEL]:
                shell.run([word.format_map(values) for word in command], shell.work / "src", **environment)
            return jobs
        except StepFailed:
            if jobs == 1 or not shell.short_of_memory():
                raise
            jobs = max(1, jobs // 2)
            shell.tail.clear()
            shell.step("compile", f"short of memory: again with {jobs} jobs")
            shell.note(jobs=jobs)


def _values(shell: Shell, job: dict[str, Any], python: str, out: Path, jobs: int) -> dict[str, str]:
    return {
        "python": python,
        "source": str(shell.work / "src" / job["directory"]),
        "downloads": str(shell.work / "downloads"),
        "out": str(out),
        "jobs": str(jobs),
        "path": shell.environment["PATH"],
    }


def _parallel(shell: Shell, job: dict[str, Any], jobs: int) -> dict[str, str]:
    found = {"MAX_JOBS": str(jobs), "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs)}
    if job["ccache"]:
        # Paths below the build's folder, whose name differs from build to build, are made relative before hashing.
        found.update(
            CCACHE_DIR=job["ccache"],
            CCACHE_BASEDIR=str(shell.work),
            CMAKE_C_COMPILER_LAUNCHER="ccache",
            CMAKE_CXX_COMPILER_LAUNCHER="ccache",
        )
    return found


def _wheel(out: Path, job: dict[str, Any]) -> Path:
    """The one wheel that was made, if it is what the recipe says. Raises StepFailed."""
    found = [path for path in sorted(out.iterdir()) if fnmatch.fnmatch(path.name, job["produces"])]
    if len(found) != 1:
        names = ", ".join(path.name for path in sorted(out.iterdir())) or "nothing"
        raise StepFailed(f"{len(found)} wheels instead of one fit {job['produces']}: {names}")
    with zipfile.ZipFile(found[0]) as archive:
        metadata = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        if not metadata:
            raise StepFailed(f"{found[0].name} holds no wheel's metadata")
        said = email.message_from_bytes(archive.read(metadata[0]))
    if (said["Name"], said["Version"]) != (job["distribution"], job["version"]):
        raise StepFailed(
            f"the wheel is named {said['Name']} {said['Version']}; "
            f"the recipe says {job['distribution']} {job['version']}"
        )
    return found[0]


def _tests(shell: Shell, job: dict[str, Any], wheel: Path) -> None:
    if not job["tests"]:
        return
    shell.step("test")
    folder = shell.work / "testenv"
    shutil.rmtree(folder, ignore_errors=True)
    shell.run([job["python"], "-m", "venv", str(folder)])
    python = str(folder / "bin/python")
    shell.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)])
    for command in job["tests"]:
        shell.run([word.format_map({"python": python}) for word in command], shell.work / "tmp")
    shutil.rmtree(folder, ignore_errors=True)


def _digest(path: Path) -> str:
    value = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            value.update(chunk)
    return value.hexdigest()


def _said(argv: list[str]) -> str:
    try:
        # pylint: disable-next=ansible-bad-function
        return subprocess.run(argv, capture_output=True, check=False, text=True).stdout
    except OSError:
        return ""


def base_environment(work: Path) -> dict[str, str]:
    """Return what every command gets: nothing of the unit's own environment but the proxies."""
    proxies = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if os.environ.get(name)}
    return {
        "PATH": f"{work}/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(work / "home"),
        "TMPDIR": str(work / "tmp"),
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PIP_NO_INPUT": "1",
        **proxies,
    }


def read_job(work: Path) -> dict[str, Any]:
    """Return the job as root wrote it."""
    found: dict[str, Any] = json.loads((work / "job.json").read_text(encoding="utf-8"))
    return found
