"""Debian's archive as this machine is configured to reach it: nothing here names a host."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.console import run, step
from lab.engine import DEBIAN_KEYRING
from lab.settings import LabError

SOURCE_PACKAGE = "librocblas4"
# Takes proxies from the environment, as every other tool here does.
OPENER = urllib.request.build_opener()
INDEX = "main/binary-amd64/Packages.xz"


@dataclass(frozen=True)
class Archive:
    """Base addresses of Debian and of its security archive (empty when the machine uses none)."""

    main: str
    security: str


@dataclass(frozen=True)
class Package:
    """A package file as the archive's signed index describes it."""

    name: str
    version: str
    url: str
    sha256: str
    size: int


def archive() -> Archive:
    """Read the archive's address from apt; MI50_LAB_DEBIAN overrides it (needed on Ubuntu).

    Raises LabError when the machine has no Debian archive configured.
    """
    override = os.environ.get("MI50_LAB_DEBIAN", "")
    if override:
        return Archive(override.rstrip("/"), "")
    listing = run(["apt-get", "indextargets", "--format", "$(REPO_URI)|$(ORIGIN)|$(RELEASE)", "Created-By: Packages"])
    main = security = ""
    for line in listing.stdout.splitlines():
        uri, origin, release = line.split("|")[:3]
        if origin == "Debian" and uri.startswith(("http://", "https://")):
            if release.endswith("-security"):
                security = security or uri.rstrip("/")
            else:
                main = main or uri.rstrip("/")
    if not main:
        raise LabError(
            "apt on this machine knows no Debian archive (on Debian: run apt-get update; "
            "elsewhere: set MI50_LAB_DEBIAN to the base URL of a Debian mirror)"
        )
    return Archive(main, security)


def proxies() -> dict[str, str]:
    """Proxies that apt uses on this machine, as environment variables for debootstrap and for nodes."""
    found = {}
    for scheme in ("http", "https"):
        value = run(["apt-config", "shell", "P", f"Acquire::{scheme}::Proxy"]).stdout
        match = re.match(r"P='(.*)'", value.strip())
        if match and match.group(1) not in {"", "DIRECT"}:
            found[f"{scheme}_proxy"] = match.group(1)
    return found


def _get(url: str) -> bytes:
    try:
        with OPENER.open(url, timeout=60) as answer:
            data: bytes = answer.read()
            return data
    except (urllib.error.URLError, OSError) as exc:
        raise LabError(f"cannot fetch {url}: {exc}") from exc


def _verified_release(base: str, suite: str) -> str:
    """The text of a suite's InRelease, its signature checked against the machine's Debian keyring."""
    with tempfile.TemporaryDirectory() as scratch:
        signed, plain = Path(scratch) / "InRelease", Path(scratch) / "Release"
        signed.write_bytes(_get(f"{base}/dists/{suite}/InRelease"))
        done = run(["gpgv", "--keyring", str(DEBIAN_KEYRING), "--output", str(plain), str(signed)], check=False)
        if "Good signature" not in done.stderr or not plain.exists():
            raise LabError(
                f"the InRelease of Debian {suite} is not signed by a key in {DEBIAN_KEYRING}:\n{done.stderr}"
            )
        return plain.read_text()


def find(name: str = SOURCE_PACKAGE, suite: str = "unstable") -> Package:
    """Look a package up in a suite: signature, index digest and package digest form one chain."""
    base = archive().main
    release = _verified_release(base, suite)
    section = release.split("SHA256:", 1)[1]
    match = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(INDEX)}$", section, re.MULTILINE)
    if not match:
        raise LabError(f"Debian {suite} lists no {INDEX}")
    packed = _get(f"{base}/dists/{suite}/{INDEX}")
    if hashlib.sha256(packed).hexdigest() != match.group(1):
        raise LabError(
            f"{INDEX} of Debian {suite} does not match its signed digest (the mirror may be mid-update: try again)"
        )
    for stanza in lzma.decompress(packed).decode().split("\n\n"):
        if stanza.startswith(f"Package: {name}\n"):
            field = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
            return Package(name, field["Version"], f"{base}/{field['Filename']}", field["SHA256"], int(field["Size"]))
    raise LabError(f"Debian {suite} has no package {name}")


def download(package: Package, folder: Path) -> Path:
    """The package file in the cache, its sha256 proven before it gets its name."""

    def make(target: Path) -> None:
        with step(f"Downloading {package.name} {package.version} ({package.size / 1e6:.0f} MB)"):
            try:
                with OPENER.open(package.url, timeout=120) as answer, target.open("wb") as out:
                    shutil.copyfileobj(answer, out, 1 << 20)
            except (urllib.error.URLError, OSError) as exc:
                raise LabError(f"cannot fetch {package.url}: {exc}") from exc
            if cache.file_digest(target) != package.sha256:
                raise LabError(f"{package.url} does not match the sha256 of Debian's index")

    return cache.build(folder, f"{package.name}_{package.version.replace(':', '%3a')}_{package.sha256[:12]}.deb", make)
