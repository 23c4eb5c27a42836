"""Make .deb files and signed apt repositories with the ordinary Debian tools."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import keys
from lab.console import run
from lab.settings import Settings


@dataclass(frozen=True)
class Deb:
    """One binary package: its control fields, its file tree and its maintainer scripts."""

    name: str
    version: str
    depends: str = ""
    summary: str = "stand-in of the mi50-aipc lab"
    architecture: str = "amd64"
    files: Mapping[str, str] = field(default_factory=dict)
    tree: Path | None = None
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """The name apt repositories give it: without the epoch."""
        return f"{self.name}_{self.version.split(':')[-1]}_{self.architecture}.deb"


def build_deb(deb: Deb, folder: Path) -> Path:
    """Write the package into `folder/<first letter>/<name>/`, as AMD's pool does."""
    with tempfile.TemporaryDirectory(prefix="mi50-lab-deb-") as scratch:
        root = deb.tree or Path(scratch)
        control = root / "DEBIAN"
        control.mkdir()
        for name, text in deb.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if text.startswith("#!") else 0o644)
        lines = {
            "Package": deb.name,
            "Version": deb.version,
            "Architecture": deb.architecture,
            "Maintainer": "mi50-aipc lab <lab@lab.invalid>",
            "Depends": deb.depends,
            "Description": deb.summary,
        }
        (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in lines.items() if value))
        for name, text in deb.scripts.items():
            (control / name).write_text(text)
            (control / name).chmod(0o755)
        root.chmod(0o755)
        target = folder / deb.name[0] / deb.name / deb.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        run(["dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", str(root), str(target)])
        shutil.rmtree(control)
    return target


def publish(
    settings: Settings,
    root: Path,
    *,
    suite: str,
    origin: str,
    key: str,
    label: str = "",
    codename: str = "",
    release: str = "",
) -> None:
    """Index root/pool into root/dists/<suite>, and sign Release.gpg and InRelease."""
    dist = root / "dists" / suite
    binary = dist / "main" / "binary-amd64"
    binary.mkdir(parents=True, exist_ok=True)
    packages = run(["apt-ftparchive", "packages", "pool"], cwd=root).stdout
    (binary / "Packages").write_text(packages)
    run(["gzip", "-9nkf", str(binary / "Packages")])
    fields = {
        "Origin": origin,
        "Label": label or origin,
        "Suite": suite,
        "Codename": codename or suite,
        "Version": release,
        "Architectures": "amd64",
        "Components": "main",
    }
    options = [
        word for name, value in fields.items() if value for word in ("-o", f"APT::FTPArchive::Release::{name}={value}")
    ]
    text = run(["apt-ftparchive", *options, "release", str(dist)]).stdout
    release_file = dist / "Release"
    release_file.write_text(text)
    keys.sign(settings, key, release_file, output=dist / "Release.gpg")
    keys.sign(settings, key, release_file, output=dist / "InRelease", mode="--clear-sign")
