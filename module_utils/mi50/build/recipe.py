"""What is built, from data: the stack's `builds` and the inventory's changes to them, checked and made whole.

Runs on the controller. A recipe says nothing about a host; `key.parts` adds that.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Below the checkout: where patches named by a recipe lie.
PATCHES = Path("stacks", "patches")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_WORD = re.compile(r"\{([a-z]*)\}")
_PLACEHOLDERS = ("python", "source", "downloads", "out", "jobs", "path")
# What an inventory may change of a recipe, by build_once_overrides.
CHANGEABLE = (
    "commit",
    "version",
    "distribution",
    "directory",
    "branch",
    "packages",
    "requirements",
    "indexes",
    "environment",
    "commands",
    "tests",
    "patches",
    "downloads",
    "produces",
    "job_mib",
    "disk_gib",
    "timeout_minutes",
    "requires_python",
    "ccache",
)
_DEFAULTS: dict[str, Any] = {
    "directory": ".",
    "branch": "mi50-build",
    "packages": [],
    "requirements": [],
    "indexes": [],
    "environment": {},
    "commands": [],
    "tests": [],
    "patches": [],
    "downloads": [],
    "requires_python": "",
    "ccache": True,
    "job_mib": 2048,
    "disk_gib": 10,
    "timeout_minutes": 360,
}


class RecipeError(Exception):
    """A recipe that cannot be used; the text is meant for the user."""


class Recipe(NamedTuple):
    """One thing to build: `job` is what the runner needs, `parts` what the key needs."""

    name: str
    version: str
    job: dict[str, Any]
    parts: dict[str, str]
    packages: list[str]
    need: dict[str, int]
    minutes: int
    requires_python: str
    unlocked: list[str]


def resolve(stack: Mapping[str, Any], name: str, overrides: Mapping[str, Any], patches: Path) -> Recipe:
    """Return a build of the resolved stack. `patches` is the folder that relative patch names are in.

    Raises RecipeError naming the stack or the variable, the value and the way out.
    """
    recipe = _merged(stack, name, overrides)
    source = _source(stack, recipe)
    downloads = [_download(stack, one, name) for one in recipe["downloads"]]
    texts = [_patch(patches, str(one), name) for one in recipe["patches"]]
    _placeholders(recipe)
    job = {
        "name": name,
        "version": recipe["version"],
        "distribution": recipe["distribution"],
        "produces": recipe.get("produces") or recipe["distribution"].replace("-", "_") + "-*.whl",
        "source": {**source, "branch": recipe["branch"]},
        "indexes": [_artifact(stack, index, name)["url"] for index in recipe["indexes"]],
        "downloads": downloads,
        "patches": texts,
        **{key: recipe[key] for key in ("directory", "requirements", "environment", "commands", "tests", "ccache")},
    }
    return Recipe(
        name,
        recipe["version"],
        job,
        _parts(stack, recipe, job),
        [str(package) for package in recipe["packages"]],
        {"job_mib": int(recipe["job_mib"]), "disk_mib": int(recipe["disk_gib"] * 1024)},
        int(recipe["timeout_minutes"]),
        recipe["requires_python"],
        [one["name"] for one in downloads if not one["sha256"]],
    )


def asked(recipe: Recipe, pin: str) -> dict[str, Any]:
    """Return what a node is asked about a build: an element of `builds` in question.SPEC."""
    return {
        "name": recipe.name,
        "version": recipe.version,
        "parts": recipe.parts,
        "requires_python": recipe.requires_python,
        "pin": str(pin),
    }


def _merged(stack: Mapping[str, Any], name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    known = {build["name"]: build for build in stack.get("builds", [])}
    if name not in known:
        names = ", ".join(known) or "none"
        raise RecipeError(f"build_once_builds: the stack {stack['name']} has no build {name!r}; it has: {names}")
    if not isinstance(overrides, Mapping):
        raise RecipeError(f"build_once_overrides: {name}: {overrides!r} is not a mapping of fields of the recipe")
    for field in overrides:
        if field not in CHANGEABLE:
            near = difflib.get_close_matches(str(field), CHANGEABLE, 1)
            guess = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(CHANGEABLE)}"
            raise RecipeError(f"build_once_overrides: {name}: {field!r} is unknown{guess}")
    return {**_DEFAULTS, "distribution": name, **known[name], **overrides}


def _source(stack: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, str]:
    artifact = _artifact(stack, recipe["artifact"], recipe["name"])
    commit = recipe.get("commit") or artifact.get("commit")
    if not isinstance(commit, str) or not _COMMIT.match(commit):
        raise RecipeError(
            f"{recipe['name']}: the commit to build is {commit!r}: give all 40 hexadecimal digits, in the stack "
            f"{stack['name']} (artifacts: {artifact['name']}) or in build_once_overrides"
        )
    if not artifact.get("url"):
        raise RecipeError(f"{recipe['name']}: {artifact['base']} is empty: it is where the source comes from")
    return {"url": str(artifact["url"]), "commit": commit}


def _artifact(stack: Mapping[str, Any], name: str, build: str) -> Mapping[str, Any]:
    found = stack["artifacts"].get(name)
    if found is None:
        raise RecipeError(f"{build}: the stack {stack['name']} has no artifact {name!r}")
    return dict(found)


def _download(stack: Mapping[str, Any], one: Mapping[str, Any], build: str) -> dict[str, Any]:
    artifact = _artifact(stack, one["artifact"], build)
    if not artifact.get("url"):
        raise RecipeError(f"{build}: the download {one['artifact']} has no address: set {artifact['base']}")
    return {
        "name": str(one["unpack"]),
        "url": artifact["url"],
        "sha256": artifact.get("sha256") or "",
        "strip": int(one.get("strip", 0)),
    }


def _patch(folder: Path, name: str, build: str) -> dict[str, str]:
    path = folder / name
    try:
        return {"name": Path(name).name, "text": path.read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(f"{build}: the patch {path} cannot be read: {exc}") from exc


def _placeholders(recipe: Mapping[str, Any]) -> None:
    texts = [*recipe["environment"].values(), *(word for command in recipe["commands"] for word in command)]
    # A test runs in an environment of its own, and knows of nothing else.
    tests = [word for command in recipe["tests"] for word in command]
    for text, known in [*((one, _PLACEHOLDERS) for one in texts), *((one, ("python",)) for one in tests)]:
        if not isinstance(text, str):
            raise RecipeError(f"{recipe['name']}: {text!r} in environment, commands or tests is no text: quote it")
        unknown = [word for word in _WORD.findall(text) if word not in known]
        if unknown or text.count("{") != len(_WORD.findall(text)):
            raise RecipeError(f"{recipe['name']}: {text!r}: a brace begins one of {{{'}, {'.join(known)}}}")


def _parts(stack: Mapping[str, Any], recipe: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, str]:
    """What the recipe contributes to the key. Addresses do not: a mirror gives the same bytes."""
    downloads = [f"{one['name']}={one['sha256'] or Path(one['url']).name}" for one in job["downloads"]]
    texts = [f"{one['name']}={hashlib.sha256(one['text'].encode()).hexdigest()[:16]}" for one in job["patches"]]
    made = [job["directory"], job["commands"], job["source"]["branch"], job["tests"]]
    return {
        "name": f"{recipe['name']} {recipe['version']}",
        "source": job["source"]["commit"],
        "rocm": str(stack["rocm"]["version"]),
        "torch": str(stack["python"]["torch"]),
        "arch": str(stack["gfx906_rocblas"]["gpu_arch"]),
        "requirements": " ".join(job["requirements"]),
        "environment": " ".join(f"{name}={text}" for name, text in sorted(job["environment"].items())),
        "downloads": " ".join(downloads),
        "patches": " ".join(texts),
        "commands": hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16],
    }
