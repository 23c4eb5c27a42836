"""Does a code object hold code for this architecture? Looks inside; a file name proves nothing.

Sources: ELF header (gABI); EM_AMDGPU and EF_AMDGPU_MACH_* in LLVM's docs/AMDGPUUsage.rst; bundle layouts in
clang/docs/ClangOffloadBundler.rst.
"""

from __future__ import annotations

import struct
import zlib
from array import array

from . import unpack
from .errors import SourceRejected

# What a caller must keep of a file for check(): all headers lie within; a bundle's entry table is far smaller.
HEAD_BYTES = 65536
EM_AMDGPU = 224
MACH_MASK = 0xFF
# EF_AMDGPU_MACH_AMDGCN_*: the architectures a mix-up is likely with, so that the error can name what was found.
MACH = {
    0x2A: "gfx803",
    0x2C: "gfx900",
    0x2F: "gfx906",
    0x30: "gfx908",
    0x33: "gfx1010",
    0x36: "gfx1030",
    0x3F: "gfx90a",
    0x41: "gfx1100",
    0x46: "gfx1101",
    0x47: "gfx1102",
    0x4C: "gfx942",
    0x48: "gfx1200",
    0x4E: "gfx1201",
}
ELF_HEADER = struct.Struct("<4sBBB9xHHIQQQIHHHHHH")
# sh_type, sh_offset, sh_size of a section header
SECTION = struct.Struct("<4xI16xQQ")
SHT_STRTAB = 3
BUNDLE_MAGIC = b"__CLANG_OFFLOAD_BUNDLE__"
CCOB_MAGIC = b"CCOB"
MAX_ENTRIES = 256
CLASS64, LITTLE = 2, 1
# The CCOB header grew: version 1 has 24 bytes, 2 adds the file size, 3 makes both sizes 64 bits wide.
CCOB_HEADER = {1: 20, 2: 24, 3: 32}
CCOB_ZLIB, CCOB_ZSTD = 0, 1


def check(name: str, head: bytes, size: int, arch: str) -> None:
    """Raise RocblasError unless the file is an AMDGPU ELF or offload bundle for `arch`; `size` in bytes."""
    if head.startswith(CCOB_MAGIC):
        head, size = _decompressed_head(name, head), -1
    targets = _bundle_targets(name, head, size) if head.startswith(BUNDLE_MAGIC) else [_elf_arch(name, head, size)]
    if not any(target.partition(":")[0] == arch for target in targets):
        raise SourceRejected(
            f"{name}: its code is for {', '.join(targets) or 'no GPU'}, not for {arch}. The archive holds another "
            "architecture's objects under this name; use the package as its distribution made it."
        )


def _elf_arch(name: str, head: bytes, size: int) -> str:
    if len(head) < ELF_HEADER.size or head[:4] != b"\x7fELF":
        raise SourceRejected(
            f"{name}: neither an ELF file nor an offload bundle (starts with {head[:8].hex() or 'nothing'})."
        )
    fields = ELF_HEADER.unpack_from(head)
    machine, flags = fields[5], fields[10]
    if fields[1:3] != (CLASS64, LITTLE) or machine != EM_AMDGPU:
        raise SourceRejected(f"{name}: an ELF file for machine {machine}, not an AMD GPU code object ({EM_AMDGPU}).")
    end = fields[9] + fields[14] * fields[15]
    if size >= 0 and end > size:
        raise SourceRejected(f"{name}: truncated, its section table ends at byte {end} but it has {size}.")
    return MACH.get(flags & MACH_MASK, f"machine 0x{flags & MACH_MASK:02x}")


def symbols(data: bytes | bytearray) -> array[int]:
    """Return this process's hash() of every string in a bare ELF file's string tables: kernel names are among them.

    Hashes, because the names of all files together would take 15 MB. Empty for a bundle.
    """
    found = array("q")
    if len(data) < ELF_HEADER.size or data[:4] != b"\x7fELF":
        return found
    fields = ELF_HEADER.unpack_from(data)
    try:
        for number in range(fields[15]):
            kind, offset, size = SECTION.unpack_from(data, fields[9] + number * fields[14])
            if kind == SHT_STRTAB:
                found.extend(map(hash, bytes(data[offset : offset + size]).split(b"\0")))
    except struct.error:
        return array("q")
    return found


def _bundle_targets(name: str, head: bytes, size: int) -> list[str]:
    """Architectures of the non-empty device entries, e.g. `gfx906:xnack-`."""
    targets = []
    try:
        at = len(BUNDLE_MAGIC)
        (count,) = struct.unpack_from("<Q", head, at)
        at += 8
        for dummy in range(min(count, MAX_ENTRIES)):
            offset, length, id_length = struct.unpack_from("<QQQ", head, at)
            at += 24
            entry = head[at : at + id_length].decode("ascii", "replace")
            if len(entry) != id_length:
                raise struct.error
            at += id_length
            if size >= 0 and offset + length > size:
                raise SourceRejected(f"{name}: truncated, bundle entry {entry} ends beyond the file's {size} bytes.")
            if length and not entry.startswith("host"):
                targets.append(_target(entry))
                _agree(name, targets[-1], head[offset:], length)
    except struct.error:
        raise SourceRejected(f"{name}: the table of its offload bundle is cut off.") from None
    return targets


def _agree(name: str, target: str, code: bytes, length: int) -> None:
    """What an entry says of itself must be what it holds, as far as that lies in the part of the file that is kept."""
    if len(code) < ELF_HEADER.size:
        return
    found = _elf_arch(name, code, length)
    if found != target.partition(":")[0] and found in MACH.values():
        raise SourceRejected(f"{name}: its bundle entry for {target} holds code for {found}.")


def _target(entry: str) -> str:
    """`hipv4-amdgcn-amd-amdhsa--gfx906:xnack-` -> `gfx906:xnack-`."""
    found = entry.rfind("gfx")
    return entry[found:] if found >= 0 else entry


def _decompressed_head(name: str, head: bytes) -> bytes:
    try:
        version, method = struct.unpack_from("<HH", head, 4)
        payload = head[CCOB_HEADER[version] :]
    except (struct.error, KeyError):
        raise SourceRejected(f"{name}: a compressed offload bundle of an unknown version.") from None
    plain: bytes | None = None
    if method == CCOB_ZLIB:
        try:
            plain = zlib.decompressobj().decompress(payload, HEAD_BYTES)
        except zlib.error:
            plain = None
    elif method == CCOB_ZSTD:
        plain = unpack.head_of(payload, HEAD_BYTES, name)
    if not plain or not plain.startswith(BUNDLE_MAGIC):
        raise SourceRejected(f"{name}: the contents of this compressed offload bundle cannot be read.")
    return plain
