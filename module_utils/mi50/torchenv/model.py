"""What a torch environment is asked to be, what it is recorded as, and where its parts lie."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1
LINK = "torch"
STORE = ".torch"
RECORD = ".mi50-torch.json"
PROOF = ".mi50-proof.json"
MARK = ".mi50-env.json"
CONSTRAINTS = "constraints.txt"
PTH = "mi50_torch.pth"
# Distributions that come from PyTorch's index, and those that own `triton/` or stand for its owner.
FAMILY = ("torch", "torchvision", "torchaudio")
TRITONS = ("triton", "pytorch-triton-rocm", "triton-rocm")
# Not ours to judge: every venv has its own.
TOOLS = ("pip", "setuptools", "wheel")
_MINOR = re.compile(r"python(3\.\d+)$")


class TorchEnvError(Exception):
    """Something a user can put right; the text names what was found, the value, and the way out."""


class Away(TorchEnvError):
    """A server does not answer; a later try may succeed."""


class Triton(NamedTuple):
    """The wheel that takes stock triton's place: its path on the node, and its sha256 where known."""

    path: str
    sha256: str

    @property
    def file(self) -> str:
        """The wheel's name, which has its version and its Python in it."""
        return Path(self.path).name


class Wanted(NamedTuple):
    """What the environment shall be. `pins`: version with local part by name; `minor`: as `3.11`."""

    root: Path
    python: str
    pins: dict[str, str]
    triton: Triton | None
    triton_version: str

    @property
    def interpreter(self) -> str:
        """The interpreter behind the links that distributions lay."""
        return os.path.realpath(self.python)

    @property
    def minor(self) -> str:
        """Its version as its name tells; empty when it does not (then it has to be asked)."""
        found = _MINOR.search(self.interpreter)
        return found.group(1) if found else ""

    @property
    def link(self) -> Path:
        """The environment's name for everybody; leads to the generation in use."""
        return self.root / LINK

    @property
    def store(self) -> Path:
        """The folder of the generations."""
        return self.root / STORE


def wanted(options: Mapping[str, Any]) -> Wanted:
    """Read the options, which are valid by the SPEC of question.py."""
    pins = {name: version for name in FAMILY if (version := options["torch"].get(name))}
    wheel = options["triton_wheel"]
    triton = Triton(wheel, (options["triton_sha256"] or "").lower()) if wheel else None
    return Wanted(Path(options["root"]), options["python"], pins, triton, options["triton_version"] or "")


def current(asked: Wanted) -> Path | None:
    """Return the generation in use, None when there is none; TorchEnvError when something else has the name."""
    if not os.path.lexists(asked.link):
        return None
    if not asked.link.is_symlink():
        raise TorchEnvError(
            f"{asked.link}: is there and was not made by this role; nothing was changed. Move it away, or set "
            "pytorch_root to another folder."
        )
    target = Path(os.path.realpath(asked.link))
    if target.parent != Path(os.path.realpath(asked.store)):
        raise TorchEnvError(
            f"{asked.link}: leads to {target}, outside of {asked.store}; nothing was changed. Remove the link, or set "
            "pytorch_root to another folder."
        )
    return target if target.is_dir() else None


def packages(venv: Path) -> Path:
    """Return the site-packages of a venv; TorchEnvError when there is none."""
    found = sorted(venv.glob("lib/python3*/site-packages"))
    if len(found) != 1:
        raise TorchEnvError(f"{venv}: is no virtual environment: it has {len(found)} lib/python3*/site-packages.")
    return found[0]


def canonical(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def public(version: str) -> str:
    """A version without its local part: what `==` compares when the other side has none (PEP 440)."""
    return version.partition("+")[0]
