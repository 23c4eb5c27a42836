"""GitHub in the lab: real git repositories over HTTP, with a package in them that takes a compiler a while.

Also what its build downloads: an LLVM archive with little inside, and the real wheels of its build requirements.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lab import cache
from lab.console import run, step
from lab.mirror import forks
from lab.settings import Settings

SOURCE = Path(__file__).parents[1] / "standins" / "standin_triton"
STACKS = Path(__file__).parents[2] / "stacks"
REPOSITORY = "nlzy/triton-gfx906"
# Commits of the repository, each on a branch of its own, and how many C++ files they have. Those of `full` are heavy.
UNITS = {"full": 12, "small": 3, "broken": 3, "tiny": 0}
BROKEN_UNIT = 1
# The same bytes, and so the same commits, in every lab.
_IDENTITY = {
    name: value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (
        (f"GIT_{role}_NAME", "mi50-aipc lab"),
        (f"GIT_{role}_EMAIL", "lab@lab.invalid"),
        (f"GIT_{role}_DATE", "2025-12-08T12:37:16Z"),
    )
}
# Debian 12's Python, for which the nodes build.
_PYTHON = "3.11"
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")


def stack() -> dict[str, Any]:
    """The stack whose recipe is followed."""
    found: dict[str, Any] = yaml.safe_load((STACKS / "rocm-6.4.3.yml").read_text())
    return found


def _recipe() -> dict[str, Any]:
    found: dict[str, Any] = next(build for build in stack()["builds"] if build["name"] == "triton")
    return found


def key() -> str:
    """What the tree of `compose` depends on."""
    return cache.key(SOURCE, Path(__file__), " ".join(_recipe()["requirements"]), _llvm(), forks.key(stack()))


def _llvm() -> str:
    """Where triton's recipe looks for LLVM, below its base."""
    wanted = _recipe()["downloads"][0]["artifact"]
    return str(next(artifact["path"] for artifact in stack()["artifacts"] if artifact["name"] == wanted))


def compose(settings: Settings, target: Path) -> None:
    """Put github/, triton/ and pypi/ into a docroot."""
    with step("Making the git repository and the build's downloads"):
        _repository(target / "github" / REPOSITORY)
        archive = target / "triton" / _llvm()
        archive.parent.mkdir(parents=True)
        archive.write_bytes(_llvm_archive(archive.name.removesuffix(".tar.gz")))
        _wheels(settings, target / "pypi")
        forks.compose(settings.cache, target, stack(), _IDENTITY)


def commits(root: Path) -> dict[str, str]:
    """The commits of a docroot's repository by the name of their branch."""
    listing = run(["git", "--git-dir", str(root / "github" / REPOSITORY), "for-each-ref", "refs/heads"]).stdout
    return {line.split()[2].rsplit("/", 1)[-1]: line.split()[0] for line in listing.splitlines()}


def _repository(bare: Path) -> None:
    """A bare repository that a plain web server can serve."""
    bare.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="mi50-lab-git-") as scratch:
        work = Path(scratch)
        git = ["git", "-C", str(work), "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
        run([*git, "init", "--quiet", "--initial-branch=full", "--object-format=sha1"])
        for branch in UNITS:
            run([*git, "checkout", "--quiet", "--orphan", branch], check=False)
            _tree(work, branch)
            run([*git, "add", "--all"])
            run([*git, "commit", "--quiet", "--message", f"Stand-in, {branch}"], env=_IDENTITY)
        run(["git", "clone", "--quiet", "--bare", "--no-local", str(work), str(bare)])
    run(["git", "--git-dir", str(bare), "gc", "--quiet"])
    run(["git", "--git-dir", str(bare), "update-server-info"])


def _tree(work: Path, branch: str) -> None:
    for path in work.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copy(SOURCE / "setup.py.txt", work / "setup.py")
    if branch == "full":
        (work / "heavy").touch()
    package = work / "python" / "triton"
    for name, text in {
        "__init__.py": '"""STAND-IN for triton."""\n\n__version__ = "3.5.0"\n',
        "_C/__init__.py": "",
        "backends/__init__.py": 'backends = {"amd": object(), "nvidia": object()}\n',
    }.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if not UNITS[branch]:
        return
    shutil.copy(SOURCE / "CMakeLists.txt", work / "CMakeLists.txt")
    source = work / "src"
    source.mkdir()
    unit = (SOURCE / "unit.cpp.txt").read_text()
    numbers = range(UNITS[branch])
    for number in numbers:
        text = unit.replace("@NUMBER@", str(number))
        if branch == "broken" and number == BROKEN_UNIT:
            text += "static int unfinished( {\n"
        (source / f"unit_{number:02d}.cpp").write_text(text)
    declared = "".join(f"void init_unit_{number}(py::module_ &);\n" for number in numbers)
    called = "".join(f"  init_unit_{number}(m);\n" for number in numbers)
    head = "#include <pybind11/pybind11.h>\nnamespace py = pybind11;\n"
    (source / "module.cpp").write_text(f"{head}{declared}PYBIND11_MODULE(libtriton, m) {{\n{called}}}\n")


def _llvm_archive(folder: str) -> bytes:
    """STAND-IN for the LLVM build that triton downloads: one header, under the paths of the real archive."""
    packed = io.BytesIO()
    # Without a time in gzip's header: the same bytes in every lab.
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        text = b"// STAND-IN for LLVM's headers.\n#define STANDIN_LLVM 906\n"
        entry = tarfile.TarInfo(f"{folder}/include/standin/llvm.h")
        entry.size, entry.mode = len(text), 0o644
        archive.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


def _wheels(settings: Settings, index: Path) -> None:
    """The build's requirements from this machine's own package index, laid out as an index of their own."""
    wanted = _recipe()["requirements"]
    folder = cache.build(settings.cache, f"wheels-{cache.key(_PYTHON, *wanted)}", lambda path: _download(path, wanted))
    for wheel in folder.glob("*.whl"):
        project = re.sub(r"[-_.]+", "-", wheel.name.split("-", 1)[0]).lower()
        (index / project).mkdir(parents=True, exist_ok=True)
        os.link(wheel, index / project / wheel.name)


def _download(folder: Path, wanted: list[str]) -> None:
    folder.mkdir()
    where = ["--dest", str(folder), "--no-deps", "--only-binary=:all:", "--python-version", _PYTHON]
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    run([sys.executable, "-m", "pip", "download", "--quiet", *where, *platforms, *wanted])
