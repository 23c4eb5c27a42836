"""Real pip and real venvs against wheel indexes on disk; the lab's stand-in for torch, without rocBLAS's real files."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from mi50.torchenv import interpreter, question, run, settings, venv

from lab.mirror import wheels
from lab.mirror.wheels import Wheel

# Real pip in real venvs is slow, and which Python runs Ansible makes no difference to it: once is enough.
collect_ignore = (
    [] if not os.environ.get("MI50_UNIT_AGAIN") else [f"test_{n}.py" for n in ("environment", "bad_input", "on_top")]
)

ROOT = Path(__file__).resolve().parents[3]
TAG = f"3{sys.version_info.minor}"
MINOR = f"3.{sys.version_info.minor}"
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
NEW = {"torch": "2.9.0+rocm6.4", "torchvision": "0.24.0+rocm6.4", "torchaudio": "2.9.0+rocm6.4"}
OLD = {"torch": "2.8.0+rocm6.4", "torchvision": "0.23.0+rocm6.4", "torchaudio": "2.8.0+rocm6.4"}
# With a need that pip has to fetch.
NEEDING = {**OLD, "torchaudio": "2.8.1+rocm6.4"}
TOP = [{"name": "comfyui"}]
CATALOGS = {"TensileLibrary_lazy_gfx908.dat": ROOT / "LICENSE", "TensileLibrary_fallback.dat": ROOT / "LICENSE"}


@pytest.fixture(scope="session")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pytorch/rocm6.4 and pypi as folders of pages, our triton and the user's packages as plain files."""
    root = tmp_path_factory.mktemp("indexes")
    older = wheels.family(CATALOGS, TAG, "2.8.0", "0.23.0")[:3]
    needing = dataclasses.replace(older[2], version=NEEDING["torchaudio"], needs=(*older[2].needs, "filelock"))
    # Nothing to fetch from the package index for the older ones: that saves each upgrade a run of pip.
    older = [dataclasses.replace(one, needs=tuple(set(one.needs) - {*wheels.NEEDS})) for one in older]
    family = [*wheels.family(CATALOGS, TAG), *older, needing]
    projects: dict[str, list[Path]] = {}
    for wheel in family:
        projects.setdefault(wheel.name, []).append(wheels.write(wheel, root / "pytorch/rocm6.4"))
    for name, paths in projects.items():
        wheels.page(root / "pytorch/rocm6.4", name, paths, beside="../")
    small = [Wheel(need.partition(">")[0], "9.9", "py3-none-any") for need in wheels.NEEDS]
    small += [Wheel("rich-own", "1.0", "py3-none-any", ("torch>=2",), {"rich_own/__init__.py": "VALUE = 1\n"})]
    for wheel in small:
        wheels.page(root / "pypi", wheel.name, [wheels.write(wheel, root / "pypi" / "files")], beside="../files/")
    for name in ("triton", "pytorch-triton-rocm"):
        wheels.write(wheels.triton(name, "3.5.0+gfx906", TAG, "gfx906"), root / "gfx906")
    wheels.write(wheels.triton("triton", "3.4.0+gfx906", TAG, "gfx906"), root / "gfx906")
    wheels.write(wheels.triton("triton", "3.5.0+gfx906", "27", "gfx906"), root / "gfx906")
    wheels.write(Wheel("xformers", "0.0.32", "py3-none-any", ("torch==2.8.0",), {"xformers.py": ""}), root / "own")
    return root


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One venv, to be copied: making one takes seconds. Its pip lies outside, so that a copy is a few files."""
    path = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([BASE, "-m", "venv", str(path)], check=True)
    site = next(path.glob("lib/python3*/site-packages"))
    for name in ("setuptools", "pkg_resources", "_distutils_hack"):
        shutil.rmtree(site / name, ignore_errors=True)
    for leftover in [*site.glob("setuptools-*"), *site.glob("distutils-precedence.pth")]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    (site / "pip").rename(path.with_name("pip"))
    (site / "pip").symlink_to(path.with_name("pip"))
    return path


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the node of every test lies: venvs know their own path."""
    return tmp_path_factory.mktemp("node") / "home"


@pytest.fixture
def node(indexes: Path, template: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node without environments, whose pip has no settings of this machine's user."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(interpreter, "_packaged", lambda path: True)
    monkeypatch.setattr(interpreter, "_missing", lambda asked, known: [])
    # symlinks: bin/python would become a copy of the interpreter.
    monkeypatch.setattr(
        venv, "make", lambda python, path: shutil.copytree(template, path, symlinks=True, dirs_exist_ok=True)
    )
    yield Node(indexes, place)
    shutil.rmtree(place)


@pytest.fixture
def made(node: Node) -> Node:
    """A node with torch and one environment on top; made once, then copied."""
    snapshot = node.home.with_name("snapshot")
    if snapshot.exists():
        shutil.rmtree(node.home)
        subprocess.run(["cp", "-a", str(snapshot), str(node.home)], check=True)
    else:
        node.make(environments=TOP)
        subprocess.run(["cp", "-a", str(node.home), str(snapshot)], check=True)
    return node


class Node:
    """The options of the module for one folder, and its steps."""

    def __init__(self, indexes: Path, home: Path) -> None:
        self.indexes, self.home = indexes, home
        self.root = home / "venvs"
        (home / "dev").mkdir(parents=True)
        self.given: dict[str, Any] = {
            "root": str(self.root),
            "python": BASE,
            "torch": NEW,
            "index": (indexes / "pytorch/rocm6.4").as_uri(),
            "pypi": (indexes / "pypi").as_uri(),
            "triton_version": "3.5.0+gfx906",
            "cache_dir": str(home / "cache"),
            "progress": str(home / "run/torch.json"),
            "sysfs_root": str(home / "sys"),
            "dev_root": str(home / "dev"),
            "proof": {"device": "cpu", "only": ["matmul-small-fp32"], "library": str(home / "lib")},
            "files": [
                {**file, "path": f"{home}/lib/mi50_compute/{Path(file['path']).name}"}
                for file in settings.files(ROOT, contents=True)
            ],
        }

    @property
    def link(self) -> Path:
        return self.root / "torch"

    @property
    def site(self) -> Path:
        return self.link / f"lib/python{MINOR}/site-packages"

    def options(self, **more: Any) -> dict[str, Any]:
        checked = ArgumentSpecValidator(question.SPEC).validate({**self.given, **more})
        assert checked.error_messages == []
        return dict(checked.validated_parameters)

    def look(self, **more: Any) -> dict[str, Any]:
        return run.run(self.options(**more), check_mode=False)

    def make(self, **more: Any) -> dict[str, Any]:
        """What the role does, the kernels apart."""
        built = run.run(self.options(step="build", **more), check_mode=False)
        done = run.run(self.options(step="finish", generation=built["generation"], **more), check_mode=False)
        return {**done, "changed": built["changed"] or done["changed"]}

    def pip(self, *words: str, name: str = "torch") -> str:
        """What a user does in an environment."""
        python = self.root / name / "bin/python"
        done = subprocess.run([python, "-I", "-m", "pip", *words], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def python(self, code: str, name: str = "torch") -> str:
        python = self.root / name / "bin/python"
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    def triton(self, name: str = "triton", version: str = "3.5.0+gfx906", tag: str = TAG) -> str:
        file = f"{name.replace('-', '_')}-{version}-cp{tag}-cp{tag}-linux_x86_64.whl"
        return str(self.indexes / "gfx906" / file)

    def state(self) -> dict[str, object]:
        """Every file of the environments with its content's date, and where the name leads."""
        listing: dict[str, object] = {"": str(self.link.readlink()) if self.link.is_symlink() else None}
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                listing[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
        return listing


@pytest.fixture
def refused(made: Node) -> Callable[..., str]:
    """Run the steps, expect a refusal that leaves everything as it was, and return its words."""

    def run_it(**more: Any) -> str:
        before = made.state()
        with pytest.raises(question.TorchEnvError) as error:
            made.make(**more)
        assert made.state() == before, "something was changed"
        return str(error.value)

    return run_it
