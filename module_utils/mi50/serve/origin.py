"""What the roles of engines ask for: their settings, completed from the stack, as options of llm_service.

Runs on the controller, in one call a role: as templates the same answers would cost each node of a play time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Variables of every engine's role, without its prefix, that llm_service takes as they are.
COMMON = (
    "user",
    "bind",
    "port",
    "api_key_file",
    "gpus",
    "min_tokens_per_second",
    "allow_software",
    "allow_small_bar",
    "load_timeout",
    "answer_timeout",
    "health_interval",
    "health_timeout",
    "health_completion_every",
    "sysfs_root",
    "proc_root",
    "dev_root",
)
# Options of an engine that a role fills in from the stack's artifact and the cache, not from variables of that name.
FILLED = ("archive", "version", "sha256")


def code() -> str:
    """A digest of this package: after a change in it, every service is proven once more."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# What build_once made of a commit: known in the middle of a run only, so no part of what is asked for.
HANDED = ("wheel", "wheel_sha256")


def plan(
    role: str, settings: Mapping[str, Any], options: Mapping[str, Any], source: Mapping[str, Any], api_key: str = ""
) -> dict[str, Any]:
    """Return what a role does: `service` (options of llm_service, without the key), `question`, `files`, `problem`.

    settings: values of COMMON. options: the engine's own. source: where the program comes from: `artifact` (the
    stack's, resolved; empty when there is none), `url`, `version`, `checksum` (each replaces the stack's value when
    set), `archive` (a file that is on the node already), `cache_dir`, `release` (whether an archive is used at all).
    """
    filled, files, problem = _archive(role, source) if source.get("release") else ({}, [], "")
    service = {"name": role, **settings, "options": {**options, **filled}}
    service["asked"] = asked(service, api_key)
    question = {"name": role, "asked": service["asked"], "sysfs_root": settings["sysfs_root"]}
    if built(role, options):
        question["build"] = role
    return {"service": service, "question": question, "files": files, "problem": problem}


def built(role: str, options: Mapping[str, Any]) -> bool:
    """Whether the role's program is a wheel that build_once makes."""
    return str(options.get("mode", "build" if role == "lmdeploy" else "")) == "build"


def asked(service: Mapping[str, Any], api_key: str) -> str:
    """A digest of all that is asked for, the project's code included; of a key only a digest of its own enters."""
    key = hashlib.sha256(f"mi50 {api_key}".encode()).hexdigest() if api_key else ""
    options = {name: value for name, value in service.get("options", {}).items() if name not in HANDED}
    text = json.dumps([{**service, "options": options}, key, code()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _archive(role: str, source: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """Options, files to fetch and what is wrong, for a program that comes as an archive."""
    artifact: Mapping[str, Any] = source.get("artifact") or {}
    version = source.get("version") or artifact.get("version") or ""
    changed = bool(source.get("url") or source.get("archive"))
    # The stack's digest is that of the stack's file.
    digest = source.get("checksum") or ("" if changed else artifact.get("sha256") or "")
    if source.get("archive"):
        return {"archive": source["archive"], "version": version, "sha256": digest}, [], ""
    url = source.get("url") or artifact.get("url") or ""
    if not url:
        return (
            {},
            [],
            (
                f"{role}: this stack names no release of it: set {role}_url and {role}_version, or {role}_archive to a "
                "file on the node"
            ),
        )
    path = f"{source['cache_dir']}/{url.rpartition('/')[2]}"
    file = {"url": url, "dest": path, "sha256": digest}
    size = None if changed else artifact.get("size")
    return {"archive": path, "version": version, "sha256": digest}, [{**file, **({"size": size} if size else {})}], ""
