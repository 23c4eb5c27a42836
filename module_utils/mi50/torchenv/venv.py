"""Make a venv, give it what keeps torch as it is, and share one's files with another."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from .. import config_files, process
from . import dists
from .children import pip_conf
from .model import CONSTRAINTS, LINK, TorchEnvError, Wanted, packages

# Every interpreter of the environment reads it, however it is started; hipBLASLt has no kernels for gfx906.
SETTINGS = "import os; os.environ.setdefault('TORCH_BLAS_PREFER_HIPBLASLT', '0')\n"
SETTINGS_PTH = "mi50_torch_settings.pth"
_SECONDS = 600


def make(python: str, path: Path) -> None:
    """`python -m venv`. Raises TorchEnvError; what it left is removed."""
    try:
        done = process.run([python, "-I", "-m", "venv", str(path)], timeout=_SECONDS)
        words = (done.errors + done.output).decode("utf-8", "replace").strip() if done.code else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        words = str(error)
    if words:
        remove(path)
        lines = " ".join(words.split())[-400:]
        raise TorchEnvError(f"{path}: no virtual environment could be made with {python}: {lines}")


def remove(path: Path) -> None:
    """Remove a venv, whole; what cannot be removed is left to the next run."""
    shutil.rmtree(path, ignore_errors=True)


def settle(generation: Path, versions: Mapping[str, str]) -> None:
    """Write what keeps it as it is: constraints that every pip run in it and on top of it reads, and the settings."""
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    head = "# Written by the role pytorch: what pip must leave as it is, here and in the environments on top.\n"
    config_files.apply(
        config_files.plan(
            [
                config_files.File(generation / CONSTRAINTS, head + "".join(lines)),
                config_files.File(generation / "pip.conf", pip_conf(generation)),
                config_files.File(packages(generation) / SETTINGS_PTH, SETTINGS),
            ]
        )
    )


def share(old: Path, new: Path, without: Iterable[str]) -> None:
    """Give the venv `new` everything of `old` but some distributions, by hard links: it takes no space.

    pip replaces files, it never writes into them, so that what happens to one venv does not happen to the other.
    """
    source, target = packages(old), packages(new)
    left_out = _files_of(source, without)
    own = {path.name for path in target.iterdir()}
    # The new venv has its own pip.
    left_out |= own
    _tree(source, target, left_out)
    # Manuals and headers that wheels bring lie beside site-packages.
    for name in ("share", "etc", "include"):
        if (old / name).is_dir():
            _tree(old / name, new / name, set())
    _scripts(old, new)


def _tree(source: Path, target: Path, left_out: set[str]) -> None:
    for folder, names, files in os.walk(source):
        here = Path(folder)
        below = here.relative_to(source)
        names[:] = [name for name in names if str(below / name) not in left_out]
        (target / below).mkdir(exist_ok=True)
        for name in files:
            if str(below / name) not in left_out and not os.path.lexists(target / below / name):
                _link(here / name, target / below / name)


def _files_of(site: Path, names: Iterable[str]) -> set[str]:
    """Paths below site-packages that belong to these distributions, folders without anybody else's files included."""
    found = dists.installed(site)
    mine: set[str] = set()
    for name in names:
        if name in found:
            mine |= {row[0] for row in dists.rows(found[name])} | {found[name].name}
    # What Python compiled later, and what triton's users cached beside it, is in no RECORD.
    tops = {path.split("/")[0] for path in mine if "/" in path}
    return mine | {top for top in tops if top in {"triton", LINK + "_triton"} or top.endswith(".dist-info")}


def _link(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _scripts(old: Path, new: Path) -> None:
    """Copy the scripts that the new venv lacks, with its own interpreter in their first line."""
    before, after = f"#!{old}/bin/".encode(), f"#!{new}/bin/".encode()
    for path in sorted((old / "bin").iterdir()):
        target = new / "bin" / path.name
        if path.is_symlink() or not path.is_file() or os.path.lexists(target):
            continue
        text = path.read_bytes()
        if text.startswith(before):
            target.write_bytes(after + text[len(before) :])
            target.chmod(path.stat().st_mode & 0o777)


def switch(asked: Wanted, generation: Path) -> None:
    """Let the environment's name lead to another generation, in one step. Raises TorchEnvError."""
    scratch = asked.root / f".{LINK}.new"
    try:
        if os.path.lexists(scratch):
            scratch.unlink()
        scratch.symlink_to(os.path.relpath(generation, asked.root))
        scratch.replace(asked.link)
    except OSError as error:
        raise TorchEnvError(
            f"{asked.link}: cannot be made: {error.strerror}. The one before is still in use."
        ) from None
