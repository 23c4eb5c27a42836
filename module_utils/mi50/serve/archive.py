"""Program files from an archive, each version in a folder of its own, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .model import Node, ServeError

_CHUNK = 1 << 20


def folder(name: str, version: str, sha256: str) -> str:
    """Where a version of a role's program lies: by version and, where it is known, by the archive's digest."""
    return f"/opt/mi50-aipc/{name}/{version}{f'-{sha256[:8]}' if sha256 else ''}"


def find(base: str, program: str, node: Node) -> str:
    """Path of the program in an unpacked version (archives have a folder of their own at the top); "" when missing."""
    root = node.path(base)
    for path in (root / program, *sorted(root.glob(f"*/{program}")), *sorted(root.glob(f"*/*/{program}"))):
        if path.is_file():
            return "/" + str(path.relative_to(node.root))
    return ""


def unpack(source: str, base: str, sha256: str, node: Node) -> None:
    """Unpack `source` to the folder `base`. Raises ServeError; a half-unpacked folder is never left there."""
    archive, target = node.path(source), node.path(base)
    if not archive.is_file():
        raise ServeError(f"the archive {source} is not on this node")
    if sha256 and (found := _digest(archive)) != sha256:
        raise ServeError(f"{source} has sha256 {found}, expected {sha256}: fetch it again, or correct the stack")
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        scratch.chmod(0o755)
        with tarfile.open(archive) as stream:
            for member in stream:
                _extract(stream, member, scratch, source)
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ServeError(f"{source} cannot be unpacked: {error}. Fetch it again.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def prune(name: str, keep: Sequence[str], node: Node) -> None:
    """Remove versions of a role's program that none of the paths in `keep` lies in."""
    base = node.path(f"/opt/mi50-aipc/{name}")
    wanted = [node.path(path) for path in keep if path]
    for old in sorted(base.glob("*")) if base.is_dir() else []:
        if not any(path == old or old in path.parents for path in wanted):
            shutil.rmtree(old, ignore_errors=True)


def _extract(stream: tarfile.TarFile, member: tarfile.TarInfo, target: Path, source: str) -> None:
    """One member: plain files, folders, links that stay inside. Owners and special bits are not taken over."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ServeError(
            f"{source} holds {member.name!r}, which would lie outside of its folder: not a release archive"
        )
    place = target / path
    if member.isdir():
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif member.isreg():
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        data = stream.extractfile(member)
        if data is None:
            raise ValueError(f"{member.name} cannot be read")
        with data, place.open("wb") as out:
            shutil.copyfileobj(data, out, _CHUNK)
        place.chmod(0o755 if member.mode & 0o100 else 0o644)
    elif member.issym():
        to = PurePosixPath(member.linkname)
        if to.is_absolute() or ".." in to.parts:
            raise ServeError(f"{source} holds the link {member.name!r} to {member.linkname!r}, outside of its folder")
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.symlink_to(member.linkname)
    else:
        raise ServeError(f"{source} holds {member.name!r}, which is neither file, folder nor link")


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while data := stream.read(_CHUNK):
            found.update(data)
    return found.hexdigest()
