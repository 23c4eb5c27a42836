"""A signed repository over file addresses: what is copied, what is refused, and what a second look fetches."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.mirror import fill
from mi50.mirror.errors import MirrorError
from mi50.mirror.plan import Item
from mi50.mirror.store import Store

DEBS = {"rocm": b"rocm deb", "hip": b"hip deb", "other": b"other deb"}


class Repository:
    """dists/jammy and pool below a folder, signed with a key of its own."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.home = root, home
        for name, data in DEBS.items():
            (root / "pool").mkdir(parents=True, exist_ok=True)
            (root / "pool" / f"{name}.deb").write_bytes(data)
        self.gpg("--quick-gen-key", "Vendor <v@example.invalid>", "ed25519", "sign", "never")
        listing = self.gpg("--list-keys", "--with-colons").decode()
        self.fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        self.publish()

    def gpg(self, *words: str) -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--yes", "--passphrase", ""]
        argv += ["--pinentry-mode", "loopback"]
        return subprocess.run([*argv, *words], capture_output=True, check=True).stdout

    def publish(self, **sizes: int) -> None:
        stanzas = []
        for name, data in DEBS.items():
            digest = hashlib.sha256(data).hexdigest()
            needs = "Depends: hip\n" if name == "rocm" else ""
            size = sizes.get(name, len(data))
            stanzas.append(f"Package: {name}\n{needs}Filename: pool/{name}.deb\nSize: {size}\nSHA256: {digest}\n")
        packed = gzip.compress("\n".join(stanzas).encode(), mtime=0)
        binary = self.root / "dists/jammy/main/binary-amd64"
        binary.mkdir(parents=True, exist_ok=True)
        (binary / "Packages.gz").write_bytes(packed)
        line = f" {hashlib.sha256(packed).hexdigest()} {len(packed)} main/binary-amd64/Packages.gz\n"
        text = f"Origin: vendor\nSuite: jammy\nAcquire-By-Hash: yes\nSHA256:\n{line}"
        release = self.root / "dists/jammy/Release"
        release.write_text(text)
        self.gpg("--clear-sign", "--output", str(release.with_name("InRelease")), str(release))

    def items(self, **changes: Any) -> list[Item]:
        (self.root / "key.asc").write_bytes(self.gpg("--armor", "--export"))
        path = "radeon/rocm/apt/1"
        what = {"path": "radeon/rocm/rocm.gpg.key", "fingerprint": self.fingerprint}
        one = {"path": path, "suite": "jammy", "components": ["main"], "fingerprint": self.fingerprint}
        apt = {"repositories": [one], "packages": ["rocm"], "distribution": [], "listing": "os/x.json", **changes}
        return [
            Item("rocm-key", "key", what, {"url": f"file://{self.root}/key.asc"}),
            Item("apt-x", "apt", apt, {path: f"file://{self.root}"}),
        ]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    # Not below tmp_path: the agent's socket has a short limit on its path.
    with tempfile.TemporaryDirectory(prefix="g") as home:
        yield Repository(tmp_path / "upstream", Path(home))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def test_indexes_are_copied_and_packages_are_those_that_are_needed(repository: Repository, tmp_path: Path) -> None:
    store, items = Store(tmp_path / "m"), repository.items()
    fill.fill(store, items, ["rocm-key", "apt-x"])
    root = store.www / "radeon/rocm/apt/1"
    assert (root / "dists/jammy/InRelease").read_bytes() == (repository.root / "dists/jammy/InRelease").read_bytes()
    assert sorted(path.name for path in (root / "pool").iterdir()) == ["hip.deb", "rocm.deb"]
    packed = (root / "dists/jammy/main/binary-amd64/Packages.gz").read_bytes()
    twin = root / "dists/jammy/main/binary-amd64/by-hash/SHA256" / hashlib.sha256(packed).hexdigest()
    assert twin.read_bytes() == packed
    assert fill.lacking(Store(tmp_path / "m"), items) == []
    # A refresh asks for the signed index alone.
    again = fill.fill(Store(tmp_path / "m"), items, ["apt-x"])
    assert again["received"] == (root / "dists/jammy/InRelease").stat().st_size


def test_an_index_changed_on_the_way_is_refused_and_the_old_one_stays(repository: Repository, tmp_path: Path) -> None:
    store, items = Store(tmp_path / "m"), repository.items()
    fill.fill(store, items, ["rocm-key", "apt-x"])
    release = repository.root / "dists/jammy/InRelease"
    before = release.read_bytes()
    release.write_bytes(before.replace(b"Suite: jammy", b"Suite: noble"))
    with pytest.raises(MirrorError, match="changed after it was signed"):
        fill.fill(store, items, ["apt-x"])
    assert (store.www / "radeon/rocm/apt/1/dists/jammy/InRelease").read_bytes() == before
    assert not list(store.root.rglob(".InRelease*"))


def test_another_key_is_refused_before_anything_is_kept(repository: Repository, tmp_path: Path) -> None:
    store, items = Store(tmp_path / "m"), repository.items()
    wrong = items[0]._replace(what={**items[0].what, "fingerprint": "A" * 40})
    with pytest.raises(MirrorError, match="wrong signing key"):
        fill.fill(store, [wrong, items[1]], ["rocm-key"])
    assert not (store.www / "radeon/rocm/rocm.gpg.key").exists()
    with pytest.raises(MirrorError, match="fill rocm-key first"):
        fill.fill(store, items, ["apt-x"])


def test_a_package_that_is_not_what_the_index_says_is_refused(repository: Repository, tmp_path: Path) -> None:
    (repository.root / "pool/hip.deb").write_bytes(b"evil deb")
    with pytest.raises(MirrorError, match=r"sha256 of .*hip\.deb is .*nothing was kept|size of"):
        fill.fill(Store(tmp_path / "m"), repository.items(), ["rocm-key", "apt-x"])


def test_names_that_no_repository_has_are_listed_but_for_those_of_single_roles(
    repository: Repository, tmp_path: Path
) -> None:
    store = Store(tmp_path / "m")
    with pytest.raises(MirrorError, match="no repository of it has rocm-nine, htopp"):
        fill.fill(store, repository.items(packages=["rocm-nine"], distribution=["htopp"]), ["rocm-key", "apt-x"])
    fill.fill(store, repository.items(distribution=["archlinux-keyring"]), ["apt-x"])
    assert store.items["apt-x"]["values"] == {"not_offered": ["archlinux-keyring"]}
