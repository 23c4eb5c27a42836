"""A synthetic rocBLAS build: the file names, headers and catalogs of the real one, a few hundred bytes each."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgpack

GFX906, GFX908 = 0x2F, 0x30
LIBRARY = "opt/rocm/lib/rocblas/library"
INDEX = "TensileLibrary_lazy_gfx906.dat"
TYPES = ("SS", "HH")
BASE = "TensileLibrary_Type_{}_Contraction_l_Ailk_Bjlk_Cijk_Dijk"
Files = dict[str, bytes]
Edit = Callable[[tarfile.TarFile], None]


def code_object(machine: int = GFX906, kernels: tuple[str, ...] = (), seed: str = "") -> bytes:
    """A bare ELF of EM_AMDGPU with one string table that names its kernels."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in kernels)
    body = strings + hashlib.sha256(seed.encode()).digest() * 8
    header = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH",
        b"\x7fELF",
        2,
        1,
        1,
        3,
        224,
        1,
        0,
        0,
        64 + len(body),
        0x500 | machine,
        64,
        0,
        0,
        64,
        1,
        0,
    )
    section = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64, len(strings), 0, 0, 1, 0)
    return header + body + section


MACHINES = {"gfx906": GFX906, "gfx908": GFX908, "gfx90a": 0x3F}


def bundle(*targets: str, code: bytes | None = None) -> bytes:
    """An uncompressed clang offload bundle; `code` stands in every entry instead of what its target asks for."""
    entries = [("host-x86_64-unknown-linux-gnu", b"")]
    entries += [
        (f"hipv4-amdgcn-amd-amdhsa--{name}", code or code_object(MACHINES[name.partition(":")[0]])) for name in targets
    ]
    table, body = b"", b""
    for name, held in entries:
        table += struct.pack("<QQQ", 1024 + len(body), len(held), len(name)) + name.encode()
        body += held
    return (b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<Q", len(entries)) + table).ljust(1024, b"\0") + body


def kernel_name(kind: str, version: str) -> str:
    return f"Cijk_Ailk_Bjlk_{kind}_MT64x32x8_of_{version}"


def catalog(kind: str, version: str, source: bool = False, assembly: bool = False, extra: str = "") -> bytes:
    solutions = [
        {"name": kernel_name(kind, version), "extra": extra, "sizeMapping": {"sourceKernel": flag}}
        for flag, on in ((True, source), (False, assembly))
        if on
    ]
    return msgpack.packb({"solutions": solutions, "library": {"type": "Problem", "rows": []}})


def index(names: list[str]) -> bytes:
    rows = [
        {"library": {"type": "Problem", "rows": [{"library": {"type": "Placeholder", "value": name}}]}}
        for name in names
    ]
    return msgpack.packb({"solutions": [], "library": {"type": "Hardware", "rows": rows}})


def amd(version: str = "4.4") -> Files:
    """AMD's library: everything but gfx906."""
    files = {"TensileLibrary_lazy_gfx908.dat": index([BASE.format(kind) + "_gfx908" for kind in TYPES])}
    for kind in TYPES:
        files[f"{BASE.format(kind)}_fallback.dat"] = catalog(kind, version, source=True)
        files[f"{BASE.format(kind)}_gfx908.co"] = code_object(GFX908)
    return files


def kernels(suffix: str = "", version: str = "4.4", seed: str = "a") -> Files:
    """The gfx906 files; `suffix` is `-xnack-` in Arch's build."""
    files = {f"Kernels.so-000-gfx906{suffix}.hsaco": code_object(seed=seed)}
    names = []
    for kind in TYPES:
        base = BASE.format(kind)
        names += [f"{base}_gfx906", f"{base}_fallback"]
        files[f"{base}_gfx906.dat"] = catalog(kind, version, source=kind == "SS", assembly=True)
        files[f"{base}_gfx906.co"] = code_object(seed=seed)
        if kind == "SS":
            files[f"{base}_gfx906{suffix}.hsaco"] = code_object(seed=seed)
        files[f"{base}_fallback_gfx906{suffix}.hsaco"] = code_object(kernels=(kernel_name(kind, version),), seed=seed)
    # Sorts behind the index: installing in the order of names would be seen.
    files[f"TensileLibrary_zz_gfx906{suffix}.hsaco"] = code_object(seed=seed)
    files[INDEX] = index(names)
    return files


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def prefix(root: Path, version: str = "4.4.60403", files: Files | None = None) -> Path:
    """A ROCm prefix of AMD's."""
    write(root / "lib/rocblas/library", amd() if files is None else files)
    (root / f"lib/librocblas.so.{version}").write_bytes(b"")
    return root


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mtime = len(data), kind, link, 1_750_000_000
    tar.addfile(info, io.BytesIO(data))


def mtree(members: Files) -> bytes:
    lines = ["#mtree", "/set type=file uid=0 gid=0 mode=644"]
    lines += [
        f"./{name} time=1.0 size={len(data)} sha256digest={hashlib.sha256(data).hexdigest()}"
        for name, data in members.items()
    ]
    return gzip.compress("\n".join(lines).encode())


def tar_bytes(members: Files, edit: Edit | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            add(tar, name, data)
        if edit:
            edit(tar)
    return stream.getvalue()


def arch_members(files: Files, version: str = "6.4.3-3", so: str = "4.4", listed: Files | None = None) -> Files:
    body = {f"{LIBRARY}/{name}": data for name, data in files.items()}
    body[f"opt/rocm/lib/librocblas.so.{so}"] = b"so"
    listing = body if listed is None else {f"{LIBRARY}/{name}": data for name, data in listed.items()}
    info = f"pkgname = rocblas\npkgbase = rocblas\npkgver = {version}\narch = x86_64\n".encode()
    return {".BUILDINFO": b"format = 2\n", ".MTREE": mtree(listing), ".PKGINFO": info, **body}


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc", "-1"], input=data, stdout=subprocess.PIPE, check=True).stdout


def arch(path: Path, files: Files, edit: Edit | None = None, **options: str) -> Path:
    """An Arch package at `path`."""
    path.write_bytes(zstd(tar_bytes(arch_members(files, **options), edit)))
    return path


def deb(path: Path, files: Files, version: str = "6.4.4-4") -> Path:
    """A Debian package at `path`."""
    body = {f"./usr/lib/x86_64-linux-gnu/rocblas/4.4.1/library/{name}": data for name, data in files.items()}
    sums = "".join(
        f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {name[2:]}\n" for name, data in body.items()
    )
    control = f"Package: librocblas4\nVersion: {version}\nArchitecture: amd64\n"
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": gzip.compress(tar_bytes({"./control": control.encode(), "./md5sums": sums.encode()})),
        "data.tar.zst": zstd(tar_bytes(body)),
    }
    out = b"!<arch>\n"
    for name, data in parts.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    path.write_bytes(out)
    return path


def full() -> Files:
    """What Arch's package holds: everything."""
    return {**amd(), **kernels("-xnack-")}
