"""A mirror with a real key and a real signature, and the server in front of it."""

from __future__ import annotations

import functools
import hashlib
import http.server
import lzma
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

from mi50.preflight.model import Check, Probe, RepositoryTarget
from mi50.preflight.repository import SOURCE

BASE = "mi50_url_radeon"
ANSWERS = (Probe(BASE, "http://m/x", "ok"),)
Ask = Callable[..., dict[str, Check]]


class Gpg:
    """A GnuPG home with one ed25519 key a name; its path is short, because gpg's sockets live in it."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.names: dict[str, str] = {}

    def run(self, *args: str, data: bytes = b"") -> bytes:
        base = ["gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback"]
        return subprocess.run([*base, "--passphrase", "", *args], check=True, input=data, capture_output=True).stdout

    def make(self, name: str, expires: str = "never", *options: str) -> None:
        self.run(*options, "--quick-generate-key", f"{name}@t.invalid", "ed25519", "sign,cert", expires)
        listing = self.run("--with-colons", "--list-keys", f"{name}@t.invalid").decode()
        self.names[name] = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def export(self, *names: str) -> bytes:
        return self.run("--armor", "--export", *(self.names[name] for name in names))

    def clearsign(self, text: str, name: str, *options: str) -> bytes:
        return self.run(*options, "--local-user", self.names[name], "--clear-sign", data=text.encode())


@contextmanager
def keys() -> Iterator[Gpg]:
    """A key in use, a stranger's, and one that expired."""
    assert shutil.which("gpg"), "these tests need gpg (script/test installs gnupg)"
    home = tempfile.mkdtemp(prefix="mi50gpg-")
    made = Gpg(home)
    made.make("vendor", "never", "--faked-system-time", "20240101T000000")
    made.make("stranger")
    made.make("old", "1d", "--faked-system-time", "20200101T000000")
    try:
        yield made
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)


@dataclass
class Mirror:
    """A served folder with a key and one signed suite."""

    root: Path
    gpg: Gpg
    url: str = ""
    seen: list[str] = field(default_factory=list)
    broken: str = "nothing"  # a file name the server answers with an error

    def sign(self, name: str = "vendor", *options: str, forms: tuple[str, ...] = (".xz", ""), **changes: str) -> None:
        """Write the suite anew; `changes` are fields of the Release file, an empty value drops one."""
        dist = self.root / "apt/dists/noble"
        folder = dist / "main/binary-amd64"
        folder.mkdir(parents=True, exist_ok=True)
        plain = b"Package: rocm\nVersion: 6.4.3\n"
        for form, data in (("", plain), (".xz", lzma.compress(plain)), (".gz", b"gz" + plain)):
            (folder / f"Packages{form}").write_bytes(data)
        fields = {"Origin": "repo.radeon.com", "Suite": "noble", "Date": formatdate(usegmt=True), **changes}
        lines = [f"{key}: {value}" for key, value in fields.items() if value] + ["SHA256:"]
        for path in [folder / f"Packages{form}" for form in forms]:
            data = path.read_bytes()
            lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {path.relative_to(dist)}")
        text = "\n".join(lines) + "\n"
        (dist / "InRelease").write_bytes(self.gpg.clearsign(text, name, *options))

    def key(self, *names: str) -> None:
        (self.root / "rocm.gpg.key").write_bytes(self.gpg.export(*names))

    def edit(self, path: str, old: bytes, new: bytes) -> None:
        target = self.root / "apt/dists/noble" / path
        data = target.read_bytes()
        assert old in data
        target.write_bytes(data.replace(old, new))

    def target(self, **changes: Any) -> RepositoryTarget:
        base = RepositoryTarget(
            base=BASE,
            url=f"{self.url}/apt",
            suite="noble",
            components=("main",),
            origin="repo.radeon.com",
            fingerprint=self.gpg.names["vendor"],
            key_url=f"{self.url}/rocm.gpg.key",
        )
        return replace(base, **changes)


@contextmanager
def served(root: Path, gpg: Gpg) -> Iterator[Mirror]:
    """A good mirror, listening."""
    made = Mirror(root, gpg)
    made.root.mkdir()
    made.key("vendor")
    made.sign()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            made.seen.append(self.path)
            self.path = self.path.replace("http://radeon.invalid", "")  # asked as a proxy
            if self.path.endswith(f"/{made.broken}"):
                self.send_error(500)
            else:
                super().do_GET()

        def log_message(self, *_args: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(made.root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        made.url = f"http://127.0.0.1:{listening.server_port}"
        yield made
        listening.shutdown()


def configure(
    mirror: Mirror,
    node: Path,
    *keys: str,
    suite: str = "noble",
    folder: str = "apt",
    components: str = "main",
    index: bool = True,
) -> None:
    """The node as role rocm and apt leave it, or left it for another stack."""
    shutil.rmtree(node, ignore_errors=True)
    (node / "etc/apt/keyrings").mkdir(parents=True)
    (node / "etc/apt/keyrings/rocm.gpg").write_bytes(mirror.gpg.export(*keys))
    source = node / SOURCE
    source.parent.mkdir(parents=True)
    source.write_text(
        f"Components: {components}\nSigned-By: /etc/apt/keyrings/rocm.gpg\n"
        f"Suites: {suite}\nURIs: {mirror.url}/{folder}\n"
    )
    lists = node / "var/lib/apt/lists"
    lists.mkdir(parents=True)
    if index:
        (lists / f"{mirror.url.removeprefix('http://')}_{folder}_dists_{suite}_InRelease").touch()


def run(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    return done.returncode, done.stdout


def statuses(found: dict[str, Check]) -> tuple[str, str]:
    return found["key"].status, found["lists"].status
