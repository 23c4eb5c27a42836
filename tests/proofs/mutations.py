"""Ways to spoil a package: damage of its bytes, and packages put together with bad intent but right digests."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Callable

from tests.proofs.archives import Member, Packer

Mutation = Callable[[Packer, random.Random], bytes]
CANARY = "canary"
OUTSIDE = (
    f"../{CANARY}/x_gfx906.co",
    f"opt/../../../../../{CANARY}/TensileLibrary_x_gfx906.co",
    f"/{CANARY}/TensileLibrary_x_gfx906.co",
    "/etc/TensileLibrary_x_gfx906.co",
    "..",
    "./../TensileLibrary_x_gfx906.dat",
    "opt/rocm/lib/rocblas/library/../../x_gfx906.hsaco",
    "line\nbreak_gfx906.co",
)


def cut(packer: Packer, rng: random.Random) -> bytes:
    """End at any byte."""
    return packer.good[: rng.randrange(len(packer.good))]


def cut_near_the_end(packer: Packer, rng: random.Random) -> bytes:
    """Lose the last few bytes only."""
    return packer.good[: -rng.randrange(1, 64)]


def flip_bit(packer: Packer, rng: random.Random) -> bytes:
    """One bit anywhere."""
    data = bytearray(packer.good)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flip_byte_near_the_start(packer: Packer, rng: random.Random) -> bytes:
    """One byte of the headers and the metadata."""
    data = bytearray(packer.good)
    data[rng.randrange(min(4096, len(data)))] ^= rng.randrange(1, 256)
    return bytes(data)


def zero_a_run(packer: Packer, rng: random.Random) -> bytes:
    """A lost block, as a broken disk or a sparse download leaves it."""
    data = bytearray(packer.good)
    at = rng.randrange(len(data))
    size = min(4096, len(data) - at)
    data[at : at + size] = bytes(size) if any(data[at : at + size]) else b"\xff" * size
    return bytes(data)


def lose_a_run(packer: Packer, rng: random.Random) -> bytes:
    """Some bytes are missing in the middle."""
    at = rng.randrange(len(packer.good) - 1)
    return packer.good[:at] + packer.good[at + rng.randrange(1, 4096) :]


def repeat_a_run(packer: Packer, rng: random.Random) -> bytes:
    """Some bytes are there twice, as after a resumed download that began too early."""
    at = rng.randrange(len(packer.good))
    return packer.good[:at] + packer.good[max(0, at - rng.randrange(1, 4096)) :]


def append(packer: Packer, rng: random.Random) -> bytes:
    """Something behind the end."""
    return packer.good + rng.randbytes(rng.randrange(1, 600))


def _files(packer: Packer, ending: str = "") -> list[Member]:
    names = packer.material.kernels
    return [m for m in packer.members if m.name.rpartition("/")[2] in names and m.name.endswith(ending)]


def _replaced(packer: Packer, old: Member, *new: Member) -> list[Member]:
    members = list(packer.members)
    at = members.index(old)
    return [*members[:at], *new, *members[at + 1 :]]


def _inserted(packer: Packer, rng: random.Random, member: Member) -> bytes:
    members = list(packer.members)
    members.insert(rng.randrange(len(members) + 1), member)
    listed = members if rng.random() < 0.5 else packer.members
    return packer.pack(members, packer.listing(listed))


def wrong_architecture(packer: Packer, rng: random.Random) -> bytes:
    """Another architecture's code object under a gfx906 name, with its own digest in the list."""
    old = rng.choice([m for m in _files(packer) if not m.name.endswith(".dat")])
    members = _replaced(packer, old, old._replace(data=rng.choice(packer.material.foreign)))
    return packer.pack(members)


def missing_index(packer: Packer, rng: random.Random) -> bytes:
    """No lazy index; the list may or may not know it."""
    (old,) = _files(packer, packer.material.index)
    members = _replaced(packer, old)
    return packer.pack(members, packer.listing(members if rng.random() < 0.5 else packer.members))


def missing_file(packer: Packer, rng: random.Random) -> bytes:
    """One file that the index names, or that a catalog names, is not there; the list may or may not know it."""
    members = _replaced(packer, rng.choice(_files(packer)))
    return packer.pack(members, packer.listing(members if rng.random() < 0.5 else packer.members))


def spoiled_file(packer: Packer, rng: random.Random) -> bytes:
    """One byte of one kernel differs, in a package that is otherwise whole; the list has the digest it should have."""
    old = rng.choice(_files(packer))
    data = bytearray(old.data)
    data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    return packer.pack(_replaced(packer, old, old._replace(data=bytes(data))), packer.listing(packer.members))


def shortened_file(packer: Packer, rng: random.Random) -> bytes:
    """A code object that ends early, with the digest of what is left of it."""
    old = rng.choice([m for m in _files(packer) if not m.name.endswith(".dat")])
    return packer.pack(_replaced(packer, old, old._replace(data=old.data[: rng.randrange(len(old.data) - 1)])))


def nonsense_index(packer: Packer, rng: random.Random) -> bytes:
    """An index that is no MessagePack, nests without end, promises billions, or names files elsewhere."""
    (old,) = _files(packer, packer.material.index)
    climbing = b"\x82\xa4type\xabPlaceholder\xa5value\xb8TensileLibrary/../../etc"
    choices = [b"", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\x80", rng.randbytes(2000), climbing, old.data[:-9]]
    return packer.pack(_replaced(packer, old, old._replace(data=rng.choice(choices))))


def hostile_name(packer: Packer, rng: random.Random) -> bytes:
    """A member whose name is absolute or climbs."""
    data = rng.choice(_files(packer, "o")).data
    return _inserted(packer, rng, Member(rng.choice(OUTSIDE), data))


def hostile_kind(packer: Packer, rng: random.Random) -> bytes:
    """A link, device, pipe or unknown kind of member under a kernel's name."""
    kinds = [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
    ]
    name = f"{packer.folder}/TensileLibrary_x_gfx906.co"
    return _inserted(packer, rng, Member(name, b"", rng.choice(kinds), rng.choice([f"/{CANARY}/x", "../../x", name])))


def kernel_as_link(packer: Packer, rng: random.Random) -> bytes:
    """A kernel is replaced by a link to another kernel, or to something outside."""
    old, other = rng.sample(_files(packer), 2)
    kind = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE])
    new = Member(old.name, b"", kind, rng.choice([other.name, f"/{CANARY}/x", "../../../../etc/hostname"]))
    return packer.pack(_replaced(packer, old, new), packer.listing(packer.members))


def duplicate(packer: Packer, rng: random.Random) -> bytes:
    """A kernel twice, with the same or with other bytes."""
    old, other = rng.sample(_files(packer), 2)
    return _inserted(packer, rng, Member(old.name, rng.choice([old.data, other.data])))


def elsewhere(packer: Packer, rng: random.Random) -> bytes:
    """A second folder with kernels."""
    old = rng.choice(_files(packer))
    return _inserted(packer, rng, Member(f"usr/share/{old.name.rpartition('/')[2]}", old.data))


def long_name_that_climbs(packer: Packer, rng: random.Random) -> bytes:
    """The name comes from an extended header (GNU or pax), the member's own name is harmless."""
    name = rng.choice(OUTSIDE)
    if rng.random() < 0.5:
        extra = Member("././@LongLink", name.encode() + b"\0", tarfile.GNUTYPE_LONGNAME)
    else:
        extra = Member("pax", pax(path=name), tarfile.XHDTYPE)
    body = Member("harmless_gfx906.co", rng.choice(_files(packer, "o")).data)
    return _inserted(packer, rng, Member("", b"", header=extra.block() + body.block()))


def lying_size(packer: Packer, rng: random.Random) -> bytes:
    """A header whose size is negative, huge, or another one than the data's."""
    old = rng.choice(_files(packer))
    info = tarfile.TarInfo(old.name)
    info.size = rng.choice([len(old.data) + 512, max(0, len(old.data) - 512), 2**40, 2**63, 0])
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if rng.random() < 0.3:
        head[124:136] = b"\xff" * 12
    if rng.random() < 0.7:
        head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:512]))
    extra = Member("pax", pax(size=rng.choice(["-1", "x", "9" * 30])), tarfile.XHDTYPE).block()
    header = bytes(head) if rng.random() < 0.7 else extra + bytes(head)
    return packer.pack(_replaced(packer, old, old._replace(header=header)), packer.listing(packer.members))


def global_header(packer: Packer, rng: random.Random) -> bytes:
    """A pax header that would rename or resize everything behind it."""
    change = rng.choice([{"path": rng.choice(OUTSIDE)}, {"size": "0"}, {"linkpath": "/etc/passwd"}])
    return _inserted(packer, rng, Member("pax", pax(**change), tarfile.XGLTYPE))


def other_metadata(packer: Packer, rng: random.Random) -> bytes:
    """Another version, architecture or package by its own word; or a spoiled or empty list of digests."""
    arch = packer.kind == "arch"
    keys = ("pkgname", "pkgver", "arch") if arch else ("Package", "Version", "Architecture")
    key, value = rng.choice(list(zip(keys, ("hipblas", rng.choice(["7.2.4-2", "6.4.30-1", "6.4"]), "aarch64"))))
    if rng.random() < 0.7:
        return packer.pack(packer.members, information=packer.information(**{key: value}))
    listing = bytearray(packer.listing(packer.members))
    if arch:
        return packer.pack(packer.members, listing=bytes(listing[: rng.randrange(len(listing) - 1)]))
    # a digest of one of the kernels' lines: the first field of a line has 32 digits
    lines = bytes(listing).splitlines(keepends=True)
    at = rng.choice([n for n, line in enumerate(lines) if b"gfx906" in line])
    lines[at] = b"0" * 32 + lines[at][32:]
    return packer.pack(packer.members, listing=b"".join(lines))


def pax(**records: str) -> bytes:
    """Pax records with right lengths."""
    out = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        out += str(length).encode() + body
    return out


DAMAGE: list[Mutation] = [
    cut,
    cut_near_the_end,
    flip_bit,
    flip_byte_near_the_start,
    zero_a_run,
    lose_a_run,
    repeat_a_run,
    append,
]
FORGERY: list[Mutation] = [
    wrong_architecture,
    missing_index,
    missing_file,
    spoiled_file,
    shortened_file,
    nonsense_index,
    hostile_name,
    hostile_kind,
    kernel_as_link,
    duplicate,
    elsewhere,
    long_name_that_climbs,
    lying_size,
    global_header,
    other_metadata,
]
