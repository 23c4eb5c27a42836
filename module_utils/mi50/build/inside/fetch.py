"""The first phase, the only one with a network: the source at its commit, the downloads, the requirements as wheels."""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .shell import Shell, StepFailed

_CHUNK = 1 << 20
_TIMEOUT = 60.0
# What git says where a server cannot hand out one commit alone; then everything is fetched.
_NO_SHALLOW = ("shallow", "not our ref", "unadvertised", "remote ref")


def fetch(shell: Shell, job: dict[str, Any]) -> None:
    """Bring everything the build needs. Raises StepFailed."""
    # What an earlier try compiled lies in the source tree: it is only made anew when it was never whole.
    mark = shell.work / "prepared.json"
    if _read(mark) != {"key": job["key"]}:
        _source(shell, job["source"])
        _patches(shell, job["patches"])
        mark.write_text(json.dumps({"key": job["key"]}), encoding="utf-8")
    _downloads(shell, job["downloads"])
    _requirements(shell, job)


def _source(shell: Shell, source: dict[str, str]) -> None:
    folder, commit = shell.work / "src", source["commit"]
    shell.step("source", source["url"].rsplit("/", 1)[-1])
    git = ["git", "-C", str(folder), "-c", "advice.detachedHead=false"]
    if not (folder / ".git").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        shell.run(["git", "init", "--quiet", str(folder)])
    if not _has(shell, git, commit):
        _get(shell, git, source["url"], commit)
    # A branch whose name the recipe chooses: some builds put it, or the commit, into their version.
    shell.run([*git, "checkout", "--quiet", "--force", "-B", source["branch"], commit])
    shell.run([*git, "clean", "--quiet", "-ffdx"])


def _has(shell: Shell, git: list[str], commit: str) -> bool:
    try:
        shell.run([*git, "rev-parse", "--quiet", "--verify", f"{commit}^{{tree}}"])
    except StepFailed:
        shell.tail.clear()  # not an error: it is what tells us to fetch
        return False
    return True


def _get(shell: Shell, git: list[str], url: str, commit: str) -> None:
    """Fetch one commit, or everything where the server hands out no single ones. Raises StepFailed."""
    try:
        shell.run([*git, "fetch", "--progress", "--no-tags", "--depth", "1", url, commit])
    except StepFailed:
        said = "\n".join(shell.tail).lower()
        if not any(word in said for word in _NO_SHALLOW):
            raise
        shell.say("the server hands out no single commit: fetching the whole history")
        shell.tail.clear()
        shell.run([*git, "fetch", "--progress", url, "+refs/*:refs/remotes/upstream/*"])
    if not _has(shell, git, commit):
        raise StepFailed(f"unknown commit {commit}: {url} has no such commit")


def _patches(shell: Shell, patches: list[dict[str, str]]) -> None:
    for patch in patches:
        shell.step("patches", patch["name"])
        path = shell.work / "tmp" / "patch"
        path.write_text(patch["text"], encoding="utf-8")
        shell.run(["git", "-C", str(shell.work / "src"), "apply", "--index", str(path)])


def _downloads(shell: Shell, downloads: list[dict[str, Any]]) -> None:
    for one in downloads:
        folder = shell.work / "downloads" / one["name"]
        mark = folder.with_suffix(".json")
        known = _read(mark)
        if not (known and known["url"] == one["url"] and known["sha256"] == (one["sha256"] or known["sha256"])):
            known = _download(shell, one, folder)
            mark.write_text(json.dumps(known), encoding="utf-8")


def _download(shell: Shell, one: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fetch, prove and unpack one archive. Raises StepFailed."""
    shell.step("download", one["name"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder.parent / (one["name"] + "-" + urlsplit(one["url"]).path.rsplit("/", 1)[-1])
    found = _stream(shell, one["url"], file)
    if one["sha256"] and one["sha256"] != found:
        file.unlink()
        raise StepFailed(f"sha256 mismatch: {one['url']} has {found}, the stack says {one['sha256']}")
    if not one["sha256"]:
        shell.say(f"not locked: {one['url']} has sha256 {found}")
    shell.run(
        ["tar", "-x", "-C", str(folder), f"--strip-components={one['strip']}", "--no-same-owner", "-f", str(file)]
    )
    file.unlink()
    return {"url": one["url"], "sha256": found}


def _stream(shell: Shell, url: str, file: Path) -> str:
    value, done = hashlib.sha256(), 0
    try:
        opener = urllib.request.build_opener()  # with the proxies of the unit's environment
        with opener.open(url, timeout=_TIMEOUT) as answer, file.open("wb") as out:
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                value.update(chunk)
                done += len(chunk)
                percent = {"done": done * 100 // total, "total": 100} if total else {}
                shell.note(**percent, text=f"{done >> 20} MiB")
    except (urllib.error.URLError, OSError) as exc:
        shell.say(f"{url}: {exc}")
        raise StepFailed(f"{url}: {exc}") from exc
    return value.hexdigest()


def _requirements(shell: Shell, job: dict[str, Any]) -> None:
    shell.step("requirements")
    venv = shell.work / "venv"
    python = str(venv / "bin/python")
    if not Path(python).exists() or _read(shell.work / "venv.json") != {"python": job["python"]}:
        shutil.rmtree(venv, ignore_errors=True)
        shell.run([job["python"], "-m", "venv", str(venv)])
        (shell.work / "venv.json").write_text(json.dumps({"python": job["python"]}), encoding="utf-8")
    if job["requirements"]:
        (shell.work / "requirements.txt").write_text("".join(f"{line}\n" for line in job["requirements"]), "utf-8")
        # Wheels only: a source distribution would run code of its own in the phase that has a network.
        options = ["--only-binary=:all:", "--progress-bar=off", "--disable-pip-version-check"]
        options += [f"--index-url={job['index_url']}"] if job["index_url"] else []
        options += [f"--extra-index-url={url}" for url in job["indexes"]]
        # An index of one's own is often plain HTTP on one's own network; pip takes such only by name.
        hosts = {urlsplit(url).hostname for url in [job["index_url"], *job["indexes"]] if url.startswith("http://")}
        options += [f"--trusted-host={host}" for host in sorted(host for host in hosts if host)]
        shell.run(
            [python, "-m", "pip", "download", *options, "-d", str(shell.work / "wheelhouse"), "-r", "requirements.txt"]
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
