"""What must hold before kernels may touch a library: whole, of this release, fitting the catalogs there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from . import msgpack, names
from .collect import MAX_CATALOG, Collector, Item
from .errors import RocblasError, SourceRejected
from .locate import soname
from .metadata import Package, upstream_version, version_matches
from .request import Expected

MACHINES = ("x86_64", "amd64")
SHOWN = 5
RISK = (
    "Kernels of another rocBLAS release may be missing solutions or compute wrong results without an error; "
    "allow_version_mismatch installs them nevertheless, and then only a numeric test of GEMM tells."
)


def check_package(label: str, package: Package, expected: Expected) -> None:
    """Refuse a foreign package or version by the archive's own word, whatever the file is called."""
    if package.name is not None and "rocblas" not in package.name:
        raise SourceRejected(f"{label}: this is the package {package.name}, not rocBLAS.")
    if package.arch is not None and package.arch not in MACHINES:
        raise SourceRejected(f"{label}: built for {package.arch}, expected {' or '.join(MACHINES)}.")
    if expected.version is None or expected.allow_version_mismatch:
        return
    if package.version is None:
        raise SourceRejected(
            f"{label}: states no version, so that it is {expected.version} cannot be proven. "
            "Use a distribution's package, or leave `version` out if you know where it comes from."
        )
    if not version_matches(expected.version, package.version):
        raise SourceRejected(
            f"{label}: holds version {package.version} by its own metadata, expected {expected.version}. "
            f"Links to a current package serve whatever is newest; fetch {expected.version} from an archive. {RISK}"
        )


def check_content(label: str, content: Collector, expected: Expected) -> None:
    """Refuse an incomplete or damaged set; needs no destination."""
    arch, kernels = content.arch, content.kernels
    check_package(label, content.package, expected)
    if not kernels:
        raise SourceRejected(f"{label}: holds no {arch} kernels. Is it a rocBLAS package that was built for {arch}?")
    _check_digests(label, content)
    if content.index is None:
        raise SourceRejected(
            f"{label}: {names.lazy_index(arch)} is missing; without it rocBLAS loads no {arch} kernel."
        )
    if expected.files is not None and len(kernels) != expected.files:
        raise SourceRejected(
            f"{label}: {len(kernels)} {arch} files, expected {expected.files}; some are missing or foreign."
        )
    missing = [f"{name} (named by {owner})" for name, owner in _referred(content) if not _there(name, arch, kernels)]
    if missing:
        raise SourceRejected(f"{label}: incomplete, missing {_some(missing)}. Fetch the package again.")


def _check_digests(label: str, content: Collector) -> None:
    if ".PKGINFO" in content.metadata and ".MTREE" not in content.metadata:
        raise SourceRejected(f"{label}: has no .MTREE, the list of digests that makepkg puts into every package.")
    if not content.digests and ".MTREE" not in content.metadata:
        return
    prefix = f"{content.folder}/" if content.folder else ""
    for name, item in [*content.kernels.items(), *content.catalogs.items()]:
        listed = content.digests.get(prefix + name)
        if listed is None:
            raise SourceRejected(f"{label}: {name} is not in the package's own list of files; refused as foreign.")
        found = item.sha256 if listed.algorithm == "sha256" else item.md5
        if found != listed.value or listed.size not in (None, item.size):
            raise SourceRejected(
                f"{label}: {name} does not have the digest the package lists; damaged. Fetch it again."
            )
    pattern = names.kernel_pattern(content.arch)
    listed_names = {path[len(prefix) :] for path in content.digests if path.startswith(prefix)}
    lost = sorted(name for name in listed_names if pattern.fullmatch(name) and name not in content.kernels)
    if lost:
        raise SourceRejected(f"{label}: incomplete, it lists but does not hold {_some(lost)}. Fetch it again.")


def index_names(label: str, content: Collector) -> list[str]:
    """Catalog names the lazy index refers to, without `.dat`; RocblasError when it is no Tensile index."""
    try:
        tree = msgpack.loads(content.index or b"")
    except msgpack.MsgpackError as error:
        raise SourceRejected(f"{label}: {names.lazy_index(content.arch)} is damaged: {error}.") from None
    found: set[str] = set()
    _placeholders(tree, found)
    bad = [name for name in found if "/" in name or not name.startswith("TensileLibrary")]
    if not found or bad:
        raise SourceRejected(f"{label}: {names.lazy_index(content.arch)} is no index of Tensile catalogs.")
    return sorted(found)


def _placeholders(node: msgpack.Value, found: set[str]) -> None:
    """Depth is bounded by the reader."""
    if isinstance(node, dict):
        name = node.get("value")
        if node.get("type") == "Placeholder" and isinstance(name, str):
            found.add(name)
        for value in node.values():
            _placeholders(value, found)
    elif isinstance(node, list):
        for value in node:
            _placeholders(value, found)


def _referred(content: Collector) -> list[tuple[str, str]]:
    """Every file the set must hold, with who says so; the name carries the bare architecture."""
    arch = content.arch
    result = [(f"Kernels.so-000-{arch}.hsaco", "rocBLAS")]
    for name in index_names(content.label, content):
        if name.endswith("_fallback"):
            result.append((f"{name}_{arch}.hsaco", name))
        else:
            result.append((f"{name}.dat", names.lazy_index(arch)))
    for name, item in sorted(content.kernels.items()):
        result.extend((name[: -len(".dat")] + suffix, name) for suffix in sorted(item.needs))
    return result


def _there(name: str, arch: str, kernels: dict[str, Item]) -> bool:
    """Source kernels may carry the target's features: `gfx906-xnack-` for `gfx906`."""
    if name in kernels:
        return True
    stem, dot, suffix = name.rpartition(".")
    if not stem.endswith(arch):
        return False
    return any(other.startswith((f"{stem}-", f"{stem}:")) and other.endswith(dot + suffix) for other in kernels)


class Fit(NamedTuple):
    """How the set fits a destination: catalogs to add, catalogs it relies on, and what the user should know."""

    add: list[str]
    relies: list[str]
    warnings: list[str]


def check_fit(content: Collector, library: Path, expected: Expected) -> Fit:
    """Compare with the rocBLAS that is installed; RocblasError when kernels and catalogs are of two releases."""
    warnings: list[str] = []
    installed = soname(library)
    if content.soname and installed and content.soname != installed:
        text = f"{content.label}: made for librocblas {content.soname}, but {library} belongs to {installed}."
        _refuse_or_warn(text, expected, warnings)
    version = content.package.version
    if expected.version and version and not version_matches(expected.version, version):
        warnings.append(f"{content.label}: version {upstream_version(version)} instead of {expected.version}. {RISK}")
    relies = [f"{name}.dat" for name in index_names(content.label, content) if name.endswith("_fallback")]
    add = [name for name in relies if not (library / name).is_file()]
    if add:
        text = f"{library}: lacks {_some(add)}, which the kernels' index names; it belongs to another rocBLAS release."
        _refuse_or_warn(text, expected, warnings)
        unknown = [name for name in add if name not in content.catalogs]
        if unknown:
            raise RocblasError(f"{content.label}: does not hold {_some(unknown)} either. Nothing was changed.")
    other = [name for name in relies if name not in add and not _agrees(name, content, library)]
    if other:
        text = (
            f"{library}: {_some(other)} (of {len(relies)}) name kernels that the source does not have: "
            "catalogs and kernels are of two rocBLAS releases."
        )
        _refuse_or_warn(text, expected, warnings)
    return Fit(add, [name for name in relies if name not in add], warnings)


def _refuse_or_warn(text: str, expected: Expected, warnings: list[str]) -> None:
    if not expected.allow_version_mismatch:
        raise RocblasError(f"{text} {RISK}")
    warnings.append(f"{text} {RISK}")


def _agrees(name: str, content: Collector, library: Path) -> bool:
    """Same bytes; or else every kernel the destination's catalog names must exist in the source's code objects."""
    path = library / name
    ours = content.catalogs.get(name)
    if path.stat().st_size > MAX_CATALOG:
        return False
    data = path.read_bytes()
    if ours is not None and hashlib.sha256(data).hexdigest() == ours.sha256:
        return True
    try:
        wanted = _solutions(msgpack.loads(data))
    except msgpack.MsgpackError:
        return False
    if not wanted:
        return False
    stem = f"{name[: -len('.dat')]}_{content.arch}"
    hashes = set(map(hash, wanted))
    return any(hashes.issubset(item.symbols) for other, item in content.kernels.items() if other.startswith(stem))


def _solutions(tree: msgpack.Value) -> set[bytes]:
    """Kernel names of a catalog; empty when it is not built as expected."""
    solutions = tree.get("solutions") if isinstance(tree, dict) else None
    found = [entry.get("name") for entry in solutions if isinstance(entry, dict)] if isinstance(solutions, list) else []
    return {name.encode("utf-8", "surrogateescape") for name in found if isinstance(name, str)}


def _some(listing: list[str]) -> str:
    rest = f" and {len(listing) - SHOWN} more" if len(listing) > SHOWN else ""
    return ", ".join(listing[:SHOWN]) + rest
