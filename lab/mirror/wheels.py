"""The mirror's wheel indexes: PyTorch's, with stand-ins under the real names, and one of real small packages.

Real: pip, the index pages and their digests, wheels whose paths, metadata and needs are those of torch 2.9.0+rocm6.4,
rocBLAS's catalogs without gfx906 inside. Stand-in: the code (lab/standins/standin_torch), the sizes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from lab import cache
from lab.console import run, step
from lab.mirror import rocblas
from lab.settings import Settings

STANDINS = Path(__file__).parents[1] / "standins"
INDEX = "rocm6.4"
# PyTorch's indexes, one a ROCm: what torch.version.hip says there, and whether its rocBLAS still has gfx906 kernels.
INDEXES = {INDEX: ("6.4.43484-123eb5128", False), "rocm6.3": ("6.3.42131-fa1d09cbd", True)}
LINUX = "manylinux_2_28_x86_64"
# Bookworm's Python and a neighbour's, so that the choice of a wheel is one.
PYTHONS = ("311", "312")
DATE = (2025, 10, 15, 0, 0, 0)
# What the stand-in needs besides, a part of what torch 2.9.0 needs (numpy, sympy, networkx, pillow would take each node
# ten seconds more); fetched from this machine's own package index.
NEEDS = ("filelock", "typing-extensions>=4.10.0", "jinja2")
TRITON = "3.5.0"
WORDS = "STAND-IN of the mi50-aipc lab. Does not prove that the real wheel works."


@dataclass(frozen=True)
class Wheel:
    """One wheel: its names, its needs, and its files as text, bytes or a path by path inside."""

    name: str
    version: str
    tag: str
    needs: tuple[str, ...] = ()
    files: Mapping[str, str | bytes | Path] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The start of its file name and of its .dist-info folder."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def filename(self) -> str:
        """As PEP 427 has it."""
        return f"{self.stem}-{self.tag}.whl"


def write(wheel: Wheel, folder: Path) -> Path:
    """Write the wheel into a folder; the same content gives the same bytes."""
    requires = "".join(f"Requires-Dist: {need}\n" for need in wheel.needs)
    metadata = f"Metadata-Version: 2.1\nName: {wheel.name}\nVersion: {wheel.version}\nSummary: {WORDS}\n{requires}"
    info = f"{wheel.stem}.dist-info"
    pure = "true" if wheel.tag.endswith("-any") else "false"
    parts: dict[str, str | bytes | Path] = {
        **wheel.files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: {pure}\nTag: {wheel.tag}\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / wheel.filename
    rows = ""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, content in parts.items():
            data = content.read_bytes() if isinstance(content, Path) else content
            data = data.encode() if isinstance(data, str) else data
            archive.writestr(zipfile.ZipInfo(path, DATE), data, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows += f"{path},sha256={digest},{len(data)}\n"
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", DATE), f"{rows}{info}/RECORD,,\n")
    return target


def page(folder: Path, project: str, files: list[Path], *, beside: str) -> None:
    """Write a project's page of links with their digests; `beside` leads from the page to the files."""
    links = "".join(
        f'<a href="{beside}{quote(path.name)}#sha256={cache.file_digest(path)}">{path.name}</a><br/>\n'
        for path in files
    )
    target = folder / project / "index.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"<!DOCTYPE html><html><body><h1>Links for {project}</h1>\n{links}</body></html>\n")


def family(
    libraries: Mapping[str, Path], python: str, release: str = "2.9.0", vision: str = "0.24.0", index: str = INDEX
) -> list[Wheel]:
    """torch, torchvision, torchaudio of one release for one Python, and the triton they need."""
    tag, local = f"cp{python}-cp{python}-{LINUX}", f"+{index}"
    code = {f"torch/{path.name}": path for path in sorted((STANDINS / "standin_torch").glob("*.py"))}
    inside: dict[str, str | bytes | Path] = {
        **code,
        "torch/version.py": f'__version__ = "{release}{local}"\nhip = "{INDEXES[index][0]}"\ncuda = None\n',
        "torch/lib/librocblas.so": STANDINS / "standin_library.txt",
        "torch/lib/libtorch_hip.so": STANDINS / "standin_library.txt",
        "torchgen/__init__.py": "",
        **{f"torch/lib/rocblas/library/{name}": path for name, path in libraries.items()},
    }
    stock = f"pytorch-triton-rocm=={TRITON}"
    return [
        Wheel("torch", f"{release}{local}", tag, (*NEEDS, f'{stock}; platform_system == "Linux"'), inside),
        Wheel("torchvision", f"{vision}{local}", tag, (f"torch=={release}",), {"torchvision/__init__.py": ""}),
        Wheel("torchaudio", f"{release}{local}", tag, (f"torch=={release}",), {"torchaudio/__init__.py": ""}),
        triton("pytorch-triton-rocm", TRITON, python, "stock"),
    ]


def triton(name: str, version: str, python: str, flavour: str) -> Wheel:
    """A wheel that owns triton/; `flavour` tells stock from ours."""
    code = f'"""{WORDS}"""\n__version__ = "{version}"\nFLAVOUR = "{flavour}"\n'
    return Wheel(name, version, f"cp{python}-cp{python}-linux_x86_64", (), {"triton/__init__.py": code})


def catalogs(deb: Path, members: list[str], folder: Path, *, gfx906: bool = False) -> dict[str, Path]:
    """rocBLAS's real files of a wheel: every shared catalog, other indexes, a kernel; gfx906 if asked for."""
    chosen = [
        name
        for name in members
        if (gfx906 and rocblas.architecture(name) == "gfx906")
        or (
            rocblas.architecture(name) != "gfx906"
            and ("fallback.dat" in name or "_lazy_" in name or "Kernels.so-000-gfx908" in name)
        )
    ]
    rocblas.unpack(deb, chosen, folder)
    return {path.name: path for path in sorted(folder.iterdir())}


def build(settings: Settings, deb: Path, members: list[str], root: Path) -> None:
    """Lay out `root`/pytorch (PyTorch's index), `root`/gfx906 (stand-ins of our triton), and add to `root`/pypi."""
    with step("Building the wheel indexes (stand-ins of torch, real small packages)"):
        with tempfile.TemporaryDirectory(prefix=".catalogs-", dir=settings.cache) as scratch:
            for index, (_hip, gfx906) in INDEXES.items():
                lay_out(catalogs(deb, members, Path(scratch) / index, gfx906=gfx906), root, index)
        _real(settings, root / "pypi")


def lay_out(libraries: Mapping[str, Path], root: Path, index: str = INDEX) -> None:
    """The stand-ins: for both Pythons, and an older release as the real index has it, for what is before an upgrade."""
    wheels = [wheel for python in PYTHONS for wheel in family(libraries, python, index=index)]
    if index == INDEX:
        wheels += family(libraries, PYTHONS[0], "2.8.0", "0.23.0")[:3]
    files: dict[str, list[Path]] = {}
    for wheel in wheels:
        files.setdefault(wheel.name, []).append(write(wheel, root / "pytorch" / index))
    for name, paths in files.items():
        page(root / "pytorch" / index, name, paths, beside="../")
    for name in ("triton", "pytorch-triton-rocm"):
        write(triton(name, f"{TRITON}+gfx906", PYTHONS[0], "gfx906"), root / "gfx906")


def _real(settings: Settings, index: Path) -> None:
    """Real packages from this machine's own index, for the nodes' Python, in folders that the server lists."""
    folder = cache.build(settings.cache, f"wheels-{cache.key(*PYTHONS, *NEEDS)}", _download)
    for path in folder.glob("*.whl"):
        project = path.name.partition("-")[0].replace("_", "-").lower()
        (index / project).mkdir(parents=True, exist_ok=True)
        if not (index / project / path.name).exists():
            os.link(path, index / project / path.name)


def _download(folder: Path) -> None:
    python = ["--python-version", PYTHONS[0], "--implementation", "cp", "--abi", f"cp{PYTHONS[0]}", "--abi", "none"]
    platforms = ["--platform", "manylinux2014_x86_64", "--platform", LINUX, "--only-binary", ":all:"]
    run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), *python, *platforms, *NEEDS])
