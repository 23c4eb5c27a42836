"""Wheels: torch's family from its own index, and what it needs from the package index; both as pages that pip reads."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from .. import process
from ..fetch.record import sha256_of
from ..torchenv import index
from ..torchenv.build import needs_of
from ..torchenv.model import TorchEnvError, canonical
from .errors import MirrorError
from .files import Done, get
from .plan import Item
from .store import Store, write

# The glibc of Ubuntu 22.04 is 2.35; pip takes each older tag only when it is named.
_MINORS = (5, 12, 17, 24, 26, 27, 28, 31, 34, 35)
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in _MINORS),
    "manylinux1_x86_64",
    "manylinux2010_x86_64",
    "manylinux2014_x86_64",
    "linux_x86_64",
)
_HOURS = 4 * 3600.0


def torch(store: Store, item: Item) -> Done:
    """Have torch's family for every Python, and the wheels it needs besides. Raises MirrorError."""
    what, source = item.what, item.source
    folder = store.www / what["path"]
    paths: list[Path] = []
    locked: dict[str, str] = {}
    received = 0
    needs: dict[str, list[str]] = {}
    for minor in what["pythons"]:
        family = []
        for project, version in sorted(what["pins"].items()):
            try:
                link = index.choose(index.page(source["url"], project), project, version, minor)
                digest = index.expected(link, what["wheels"])
            except TorchEnvError as error:
                raise MirrorError(f"{item.name}: {error}") from None
            received += get(store, link.url, folder / link.file, digest)
            family.append(folder / link.file)
            locked[link.file] = digest or sha256_of(folder / link.file)
        paths += family
        needs[minor] = needs_of(family)
    for project in what["pins"]:
        mine = sorted(path for path in folder.glob("*.whl") if _project(path) == canonical(project))
        paths.append(page(folder, project, mine, beside="../"))
    more, got = _download(store, item, needs)
    return Done([*paths, *more], {"wheels": locked}, received + got)


def pypi(store: Store, item: Item) -> Done:
    """Have the wheels of pinned requirements for every Python. Raises MirrorError."""
    paths, received = _download(store, item, {minor: item.what["requirements"] for minor in item.what["pythons"]})
    return Done(paths, {}, received)


def page(folder: Path, project: str, files: Iterable[Path], *, beside: str) -> Path:
    """Write a project's page (PEP 503), each link with its digest; `beside` leads from the page to the files."""
    name = canonical(project)
    links = "".join(
        f'<a href="{beside}{quote(path.name)}#sha256={sha256_of(path)}">{path.name}</a><br/>\n' for path in files
    )
    target = folder / name / "index.html"
    write(target, f"<!DOCTYPE html><html><head><title>{name}</title></head><body>\n{links}</body></html>\n")
    return target


def _project(path: Path) -> str:
    return canonical(path.name.partition("-")[0])


def _download(store: Store, item: Item, needs: dict[str, list[str]]) -> tuple[list[Path], int]:
    """Let pip choose for each Python what these requirements need, and lay it out as an index."""
    root = store.www / "pypi"
    root.mkdir(parents=True, exist_ok=True)
    places = [store.www / path for path in item.what.get("beside", []) if (store.www / path).is_dir()]
    chosen: set[Path] = set()
    received = 0
    for minor, lines in needs.items():
        if not lines:
            continue
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=root) as scratch:
            for path in _pip(item, minor, lines, Path(scratch), places):
                target = root / _project(path) / path.name
                if not target.exists():
                    received += path.stat().st_size
                    target.parent.mkdir(exist_ok=True)
                    path.chmod(0o644)
                    path.replace(target)
                chosen.add(target)
    for folder in {path.parent for path in chosen}:
        chosen.add(page(root, folder.name, sorted(folder.glob("*.whl")), beside=""))
    return sorted(chosen), received


def _pip(item: Item, minor: str, lines: Sequence[str], folder: Path, places: Sequence[Path]) -> list[Path]:
    tag = "cp" + minor.replace(".", "")
    words = ["--python-version", minor, "--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none"]
    words += [word for name in PLATFORMS for word in ("--platform", name)]
    base = item.source["pypi"]
    if base:
        place = urlsplit(base)
        words += ["--index-url", base, *(["--trusted-host", place.netloc] if place.scheme == "http" else [])]
    for url in item.source.get("indexes", []):
        host = urlsplit(url)
        words += ["--extra-index-url", url, *(["--trusted-host", host.netloc] if host.scheme == "http" else [])]
    # What is in the mirror already is not fetched again.
    words += [word for place in places for word in ("--find-links", str(place))]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = ["python3", "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", *words, "--dest", str(folder), "-r", str(folder / "requirements.txt")]
    done = process.run(["env", "PIP_NO_INPUT=1", *command], timeout=_HOURS)
    if done.code:
        said = done.errors.decode("utf-8", "replace")
        errors = [line[len("ERROR:") :].strip() for line in said.splitlines() if line.startswith("ERROR:")]
        why = "; ".join(errors) or " ".join(said.split())[-400:]
        raise MirrorError(f"{item.name}: pip download for Python {minor}: {re.sub(chr(10), ' ', why)}.")
    return sorted(folder.glob("*.whl"))
