"""Whether packages that a user put into an environment can live with torch and triton as the stack has them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from .. import process
from . import dists
from .model import TorchEnvError

_SECONDS = 120
# pip carries the reference implementation of markers and version specifiers with it.
_ASK = """
import importlib.metadata as metadata, json, sys
from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from pip._vendor.packaging.utils import canonicalize_name
asked = json.load(sys.stdin)
found = []
for name in asked["names"]:
    try:
        lines = metadata.distribution(name).requires or []
    except metadata.PackageNotFoundError:
        continue
    for line in lines:
        try:
            need = Requirement(line)
        except InvalidRequirement:
            continue
        have = asked["versions"].get(canonicalize_name(need.name))
        if have is None or (need.marker and not need.marker.evaluate({"extra": ""})):
            continue
        if not need.specifier.contains(have, prereleases=True):
            found.append([name, metadata.version(name), str(need).partition(";")[0].strip(), have])
print(json.dumps(found))
"""


def refuse(python: Path, where: str, names: Iterable[str], versions: Mapping[str, str]) -> None:
    """Raise TorchEnvError naming each package among `names` that needs another version than `versions` has.

    `python` is that of the environment they are installed in.
    """
    found = _conflicts(python, {"names": sorted(names), "versions": dict(versions)})
    if found:
        listing = "; ".join(f"{name} {number} needs {need}, here is {have}" for name, number, need, have in found)
        first = found[0][0]
        raise TorchEnvError(
            f"{where}: {listing}. Nothing was changed. Remove it ({python} -m pip uninstall {first}), install a "
            "version of it for this torch, or give it an environment made without this role."
        )


def _conflicts(python: Path, asked: Mapping[str, object]) -> list[list[str]]:
    if not asked["names"]:
        return []
    try:
        done = process.run([str(python), "-I", "-c", _ASK], json.dumps(asked).encode(), _SECONDS)
        found: list[list[str]] = json.loads(done.output)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise TorchEnvError(
            f"{python}: cannot tell what its packages need ({error}); its pip may be broken. {python} -m ensurepip "
            "--upgrade puts it right. Nothing was changed."
        ) from None
    return found


def movable(site: Path, names: Iterable[str]) -> list[str]:
    """The user's packages as requirements, for another environment; TorchEnvError for one that came from no index."""
    found, wanted = dists.installed(site), []
    for name in sorted(names):
        if (found[name] / "direct_url.json").exists():
            raise TorchEnvError(
                f"{site}: {name} was installed from a folder or an address, so a new environment cannot have it. "
                "Nothing was changed. Remove it there, or put it into an environment of its own "
                "(pytorch_environments)."
            )
        wanted.append(f"{name}=={dists.version(found[name])}")
    return wanted
