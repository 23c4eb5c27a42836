"""Environments on top of the shared one: a venv of its own for every program, torch by reference.

A file `mi50_torch.pth` in the venv adds the shared site-packages behind the venv's own. pip sees torch there, takes it
for installed, and cannot remove it: it lies outside of the venv. What pip puts into the venv itself hides what is
shared, which is wanted for every package but torch's family and triton.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import config_files
from . import dists
from .model import CONSTRAINTS, FAMILY, LINK, MARK, PTH, TRITONS, TorchEnvError, Wanted, packages
from .records import load


class Child(NamedTuple):
    """One environment: `missing` (to be made), `remove`, and what is to be written or taken out of it.

    `foreign`: the Python it was made with, where that is not the one asked for.
    """

    name: str
    path: Path
    missing: bool
    remove: bool
    write: list[str]
    hiding: dict[str, str]
    foreign: str = ""

    @property
    def settled(self) -> bool:
        """Whether it is as asked for."""
        return not (self.missing or self.remove or self.write or self.hiding or self.foreign)

    def reasons(self) -> list[str]:
        """What is to be done, in words."""
        if self.missing or self.remove:
            return [f"environment {self.name} {'is to be made' if self.missing else 'is to be removed'}"]
        hidden = [
            f"environment {self.name}: its own {name} {number} hides ours" for name, number in self.hiding.items()
        ]
        return hidden + [f"environment {self.name}: {Path(path).name} differs" for path in self.write]


def plan_all(asked: Wanted, wishes: Sequence[Mapping[str, Any]], base: Path | None) -> list[Child]:
    """Look at each environment that is named. Raises TorchEnvError for a name that cannot be, or a folder not ours."""
    seen: set[str] = set()
    found = []
    for wish in wishes:
        name = str(wish["name"])
        if not name or name.startswith(".") or "/" in name or name == LINK or name in seen:
            raise TorchEnvError(
                f"pytorch_environments: {name!r} cannot be: give each one name of its own, a plain folder name other "
                f"than {LINK!r}, which is the shared environment."
            )
        seen.add(name)
        child = _plan(asked, name, wish["state"] == "absent", base)
        found += [child] if child else []
    return found


def _plan(asked: Wanted, name: str, absent: bool, base: Path | None) -> Child | None:
    path = asked.root / name
    if not os.path.lexists(path):
        return None if absent else Child(name, path, True, False, [], {})
    mark = load(path / MARK)
    if mark is None:
        raise TorchEnvError(
            f"{path}: is there and was not made by this role; nothing was changed. Move it away, or give the "
            "environment another name in pytorch_environments."
        )
    if absent:
        return Child(name, path, False, True, [], {})
    if not mark.get("complete"):
        return Child(name, path, True, False, [], {})
    if asked.minor and mark["minor"] != asked.minor:
        return Child(name, path, False, False, [], {}, mark["minor"])
    differ = [str(change.file.path) for change in config_files.plan(files(asked, path))]
    return Child(name, path, False, False, differ, hiding(path) if base else {})


def files(asked: Wanted, path: Path) -> list[config_files.File]:
    """What makes a venv one of ours: the way to the shared packages, and the constraints for its pip."""
    site = packages(path)
    shared = asked.link / site.relative_to(path)
    line = f"import site; site.addsitedir({str(shared)!r})\n"
    return [config_files.File(site / PTH, line), config_files.File(path / "pip.conf", pip_conf(asked.link))]


def pip_conf(shared: Path) -> str:
    """Tie pip to the constraints in `shared`; it reads this however the venv is used."""
    return (
        "# Written by the role pytorch. Keeps torch, torchvision, torchaudio and triton as they are.\n"
        f"[global]\nconstraint = {shared / CONSTRAINTS}\n"
    )


def hiding(path: Path) -> dict[str, str]:
    """Distributions of the venv's own that hide the shared torch or triton."""
    own = dists.versions(dists.installed(packages(path)))
    return {name: number for name, number in own.items() if name in {*FAMILY, *TRITONS}}
