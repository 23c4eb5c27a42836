"""GitHub in the lab, continued: the engines that are made of a commit, vllm-gfx906 and lmdeploy, as stand-ins.

Real: git, CMake, ninja, the compiler, pip, and every pinned requirement of the stack's recipes but torch.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import cache
from lab.console import run

STANDINS = Path(__file__).parents[1] / "standins"
SERVER = STANDINS / "standin_vllm"
VLLM, LMDEPLOY = STANDINS / "standin_vllm_source", STANDINS / "standin_lmdeploy"
# Path in the repository to the file it is made of.
SOURCES: dict[str, dict[str, Path | str]] = {
    "nlzy/vllm-gfx906": {
        "setup.py": VLLM / "setup.py.txt",
        "CMakeLists.txt": VLLM / "CMakeLists.txt",
        "csrc/ops.cpp": VLLM / "ops.cpp.txt",
        "vllm/__init__.py": '"""STAND-IN for vLLM."""\n',
        "vllm/cli.py": SERVER,
    },
    "InternLM/lmdeploy": {
        "setup.py": LMDEPLOY / "setup.py.txt",
        "uvicorn.py": LMDEPLOY / "uvicorn.py.txt",
        "lmdeploy/__init__.py": '"""STAND-IN for lmdeploy."""\n\n__version__ = "0.12.3"\n',
        "lmdeploy/pytorch/__init__.py": "",
        "lmdeploy/cli/__init__.py": LMDEPLOY / "cli.py.txt",
        "lmdeploy/standin.py": SERVER,
    },
}
_PYTHON = "3.11"
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
# Of what an environment needs beside its wheel, the small part: timm wants half of the package index.
_RUNTIME = ("amdsmi",)


def requirements(stack: Mapping[str, Any]) -> list[str]:
    """What the forks' recipes need from a package index, as the stack pins it; torch has an index of its own."""
    builds = [build for build in stack["builds"] if build["name"] != "triton"]
    found = [pin for build in builds for pin in build["requirements"] if not pin.startswith("torch==")]
    found += [pin for build in builds for pin in build.get("runtime", []) if pin.split("==")[0] in _RUNTIME]
    return sorted(set(found))


def key(stack: Mapping[str, Any]) -> str:
    """What the repositories and wheels depend on."""
    return cache.key(Path(__file__), SERVER, VLLM, LMDEPLOY, *requirements(stack))


def compose(folder: Path, target: Path, stack: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    """Put the repositories into github/ and the wheels into pypi/ of a docroot; `folder` is the cache."""
    for name, files in SOURCES.items():
        _repository(target / "github" / name, files, identity)
    (path,) = (artifact["path"] for artifact in stack["artifacts"] if artifact["name"] == "triton-kernels")
    _kernels(target / "github" / path)
    wanted = requirements(stack)
    wheels = cache.build(folder, f"wheels-{cache.key(_PYTHON, *wanted)}", lambda path: _download(path, wanted))
    for wheel in wheels.glob("*.whl"):
        project = re.sub(r"[-_.]+", "-", wheel.name.split("-", 1)[0]).lower()
        (target / "pypi" / project).mkdir(parents=True, exist_ok=True)
        if not (target / "pypi" / project / wheel.name).exists():
            shutil.copy(wheel, target / "pypi" / project / wheel.name)


def commits(root: Path) -> dict[str, str]:
    """The commit of each fork in a docroot, by the name of the stack's build."""
    found = {}
    for build, name in (("vllm", "nlzy/vllm-gfx906"), ("lmdeploy", "InternLM/lmdeploy")):
        found[build] = run(["git", "--git-dir", str(root / "github" / name), "rev-parse", "main"]).stdout.strip()
    return found


def _repository(bare: Path, files: Mapping[str, Path | str], identity: Mapping[str, str]) -> None:
    bare.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mi50-lab-git-") as scratch:
        work = Path(scratch)
        git = ["git", "-C", str(work), "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
        run([*git, "init", "--quiet", "--initial-branch=main", "--object-format=sha1"])
        for name, content in files.items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else content.read_text())
        run([*git, "add", "--all"])
        run([*git, "commit", "--quiet", "--message", "Stand-in"], env=dict(identity))
        run(["git", "clone", "--quiet", "--bare", "--no-local", str(work), str(bare)])
    run(["git", "--git-dir", str(bare), "update-server-info"])


def _kernels(target: Path) -> None:
    """STAND-IN for the archive of triton's source: one file, where vLLM's build looks for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = b'"""STAND-IN for triton_kernels."""\n'
    # Without a time in gzip's header: the same bytes in every lab.
    with (
        target.open("wb") as out,
        gzip.GzipFile("", "wb", fileobj=out, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        entry = tarfile.TarInfo("triton-3.5.0/python/triton_kernels/triton_kernels/matmul_ogs.py")
        entry.size, entry.mode = len(text), 0o644
        archive.addfile(entry, io.BytesIO(text))


def _download(folder: Path, wanted: list[str]) -> None:
    folder.mkdir()
    where = ["--dest", str(folder), "--only-binary=:all:", "--python-version", _PYTHON]
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    # One at a time: build requirements of different projects need not agree with each other.
    for pin in wanted:
        run([sys.executable, "-m", "pip", "download", "--quiet", *where, *platforms, pin])
