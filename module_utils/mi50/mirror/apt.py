"""A part of an apt repository, with the indexes and signatures of the whole.

Release files and package lists are copied as they are, so that nodes go on to trust the publisher's key and nobody
signs anything anew; of the pool only what the roles install is there, with all that it needs (deb(5), Debian policy 7).
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .. import process
from ..apt import keyring
from ..preflight.release import FORMS, Problem, check_signature, fields_of, indexes
from .errors import MirrorError
from .files import Done, get
from .plan import PACKAGES, Item
from .store import Store, write

_NEEDS = ("Pre-Depends", "Depends", "Recommends")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    "": bytes,
}
# Who provides a virtual package is apt's choice at installation: a few candidates are kept, not all mail servers.
_PROVIDERS = 3


class Package(NamedTuple):
    """One stanza of a package list: where its file is, and what it needs."""

    name: str
    address: str
    path: Path
    sha256: str
    size: int
    needs: tuple[tuple[str, ...], ...]


def fill(store: Store, item: Item) -> Done:
    """Have the repositories of an item. Raises MirrorError."""
    paths: list[Path] = []
    received = 0
    packages: dict[str, list[Package]] = {}
    provided: dict[str, list[str]] = {}
    for repository in item.what["repositories"]:
        lists, more = _lists(store, repository, item.source[repository["path"]])
        received += more
        paths += lists.paths
        for text in lists.texts:
            _read(text, store.www / repository["path"], item.source[repository["path"]], packages, provided)
    wanted = [*item.what["packages"], *item.what["distribution"]]
    absent = [name for name in wanted if name not in packages and name not in provided]
    # Not every release has each package that some role may install (Ubuntu 22.04 has no archlinux-keyring): apt there
    # would not find it either. What the stack or a user names has to be there.
    missing = [name for name in absent if name not in PACKAGES]
    if missing:
        raise MirrorError(
            f"{item.name}: no repository of it has {', '.join(missing)}. Correct the names (artifact_mirror_packages, "
            "the stack), or the repositories (artifact_mirror_distributions)."
        )
    for name in closure(wanted, packages, provided):
        for package in packages[name]:
            received += get(store, package.address, package.path, package.sha256, package.size)
            paths.append(package.path)
    theirs = [one for one in item.what["repositories"] if one.get("keyring")]
    if theirs:  # what nodes point their apt at (client.py)
        write(store.www / item.what["listing"], json.dumps(theirs, indent=1) + "\n")
        paths.append(store.www / item.what["listing"])
    return Done(paths, {"not_offered": absent} if absent else {}, received)


def closure(
    wanted: Iterable[str], packages: Mapping[str, list[Package]], provided: Mapping[str, list[str]]
) -> list[str]:
    """Return the names that are needed to install `wanted`, recommended ones included, as apt does by default.

    Names that no repository has are the distribution's own, where that is not mirrored: apt on the node decides.
    """
    found: set[str] = set()
    todo = list(wanted)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        if name not in packages:
            todo += [one for one in provided.get(name, [])[:_PROVIDERS] if one not in found]
            continue
        found.add(name)
        for package in packages[name]:
            todo += [choice for choices in package.needs for choice in _choose(choices, packages, provided)]
    return sorted(found)


def _choose(
    choices: tuple[str, ...], packages: Mapping[str, list[Package]], provided: Mapping[str, list[str]]
) -> Iterator[str]:
    """Of alternatives the first that exists: apt takes it, unless another is there already."""
    for name in choices:
        if name in packages or name in provided:
            yield name
            return


class _Lists(NamedTuple):
    paths: list[Path]
    texts: list[str]


def _lists(store: Store, repository: Mapping[str, Any], url: str) -> tuple[_Lists, int]:
    """Fetch the signed index, prove it, and fetch the package lists it names."""
    suite, folder = repository["suite"], store.www / repository["path"] / "dists" / repository["suite"]
    release = folder / "InRelease"
    # It changes while its name stays: always asked for, and put in place once it and its lists are proven.
    fresh = folder / ".InRelease.new"
    received = get(store, f"{url}/dists/{suite}/InRelease", fresh)
    paths, texts = [release], []
    try:
        fields = fields_of(_signed(store, fresh, repository))
        for component in repository["components"]:
            path, text, more = _list(store, folder, f"{url}/dists/{suite}", component, fields)
            paths += path
            texts.append(text)
            received += more
    except Problem as error:
        raise MirrorError(f"{url}/dists/{suite}/InRelease: {error}. Use another upstream mirror.") from None
    else:
        fresh.replace(release)
    finally:
        if fresh.exists():
            fresh.unlink()
    return _Lists(paths, texts), received


def _signed(store: Store, path: Path, repository: Mapping[str, Any]) -> str:
    """Return what was signed. Raises Problem, MirrorError."""
    with tempfile.TemporaryDirectory(prefix="mi50-mirror-") as scratch:
        keys = Path(scratch) / "keys.gpg"
        pinned = str(repository.get("fingerprint") or "")
        if pinned:
            source = store.www / "radeon/rocm/rocm.gpg.key"
            if not source.is_file():
                raise MirrorError(f"{source}: AMD's key is not in the mirror: fill rocm-key first.")
            keys.write_bytes(b"".join(key.data for key in keyring.choose(source.read_bytes(), [pinned], str(source))))
        else:
            keys = Path(repository["keyring"])
            if not keys.is_file():
                raise MirrorError(
                    f"{keys}: the keyring of {repository['path']} does not exist on this host; install it."
                )
        output = Path(scratch) / "Release"
        command = ["gpgv", "--homedir", scratch, "--keyring", str(keys), "--status-fd", "1", "--output", str(output)]
        done = process.run([*command, str(path)], timeout=120)
        status = done.output.decode("utf-8", "replace")
        if pinned:
            check_signature(status, pinned)
        elif "[GNUPG:] VALIDSIG " not in status or "[GNUPG:] BADSIG " in status:
            raise Problem("unsigned", f"no valid signature by a key of {keys}")
        return output.read_text(encoding="utf-8", errors="replace")


def _list(store: Store, folder: Path, url: str, component: str, fields: dict[str, str]) -> tuple[list[Path], str, int]:
    """Fetch one package list in the form apt takes first, under both its names. Raises Problem, MirrorError."""
    failed: MirrorError | None = None
    for index in indexes(fields, component):
        path = folder / index.path
        # An old list of this name is another file.
        if path.is_file() and not store.has(path, index.sha256):
            path.unlink()
        try:
            received = get(store, f"{url}/{index.path}", path, index.sha256, index.size)
        except MirrorError as error:
            failed = failed or error
            continue
        form = next(form for form in FORMS if form and index.path.endswith(form)) if "." in path.name else ""
        paths = [path]
        if fields.get("acquire-by-hash", "").lower() == "yes":
            twin = path.parent / "by-hash" / "SHA256" / index.sha256
            if not twin.exists():
                twin.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, twin)
            paths.append(twin)
        return paths, _UNPACK[form](path.read_bytes()).decode("utf-8", "replace"), received
    raise failed or MirrorError(f"{url}: no package list of {component}.")


def _read(text: str, root: Path, url: str, packages: dict[str, list[Package]], provided: dict[str, list[str]]) -> None:
    """Add what a package list offers."""
    for stanza in text.split("\n\n"):
        fields = dict(_fields(stanza))
        name, where = fields.get("Package", ""), fields.get("Filename", "")
        if not name or not where or ".." in where.split("/") or where.startswith("/"):
            continue
        needs = tuple(
            tuple(match.group() for part in group.split("|") if (match := _NAME.match(part.strip())))
            for key in _NEEDS
            for group in fields.get(key, "").split(",")
            if group.strip()
        )
        packages.setdefault(name, []).append(
            Package(name, f"{url}/{where}", root / where, fields["SHA256"], int(fields["Size"]), needs)
        )
        for group in fields.get("Provides", "").split(","):
            match = _NAME.match(group.strip())
            if match:
                provided.setdefault(match.group(), []).append(name)


_WANTED = ("Package", "Filename", "SHA256", "Size", "Provides", *_NEEDS)


def _fields(stanza: str) -> Iterator[tuple[str, str]]:
    for line in stanza.splitlines():
        key, colon, value = line.partition(":")
        if colon and key in _WANTED:
            yield key, value.strip()
