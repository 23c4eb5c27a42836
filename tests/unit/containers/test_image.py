"""Images that are what their digest says, from registries and archives, and what docker's complaints mean."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50.containers import image
from mi50.containers.errors import ContainerError
from mi50.containers.image import Wanted

DIGEST = f"sha256:{'1' * 64}"
HUB = Wanted("docker.io/owner/name", DIGEST)


class Docker:
    """Answers as docker does; `fails` are pulls that go wrong, one text each."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.fails: list[str] = []
        self.calls: list[list[str]] = []
        self.loads = ("Loaded image: x/y:z", "sha256:" + "2" * 64)

    def stream(self, argv: Sequence[str], said: Callable[[str], None]) -> tuple[int, str]:
        words = list(argv[1:])
        self.calls.append(words)
        if words[:2] == ["image", "inspect"]:
            name = words[-1]
            if name not in self.known:
                return 1, "[]\nError: No such image"
            if "--format" in words:
                return 0, f"{self.known[name]}\n"
            return 0, json.dumps([{"Id": self.known[name], "Size": 5}])
        if words[0] == "pull":
            if self.fails:
                return 1, self.fails.pop(0)
            first, second = "a" * 12, "b" * 12
            for line in (
                f"{first}: Pulling fs layer",
                f"{second}: Pulling fs layer",
                f"{first}: Pull complete",
                "Status",
            ):
                said(line)
            self.known[words[1]] = "sha256:id"
        if words[0] == "load":
            self.known[self.loads[0].split()[-1]] = self.loads[1]
            return 0, self.loads[0]
        if words[0] == "tag":
            self.known[words[2]] = self.known[words[1]]
        if words[:2] == ["image", "rm"]:
            self.known.pop(words[2], None)
        return 0, ""

    def ensure(self, wanted: Wanted) -> tuple[dict[str, Any], list[str]]:
        lines: list[str] = []
        return image.ensure(wanted, self.stream, lines.append, lambda _seconds: None), lines


@pytest.fixture
def docker() -> Docker:
    return Docker()


def test_pulled_by_digest_with_progress(docker: Docker) -> None:
    found, lines = docker.ensure(HUB)
    assert found == {"id": "sha256:id", "size": 5}
    assert ["pull", f"docker.io/owner/name@{DIGEST}"] in docker.calls
    assert lines[-1] == "name: 1 of 2 layers fetched, 1 unpacked"
    docker.calls.clear()
    docker.ensure(HUB)
    assert [call[0] for call in docker.calls] == ["image"]


def test_registry_that_goes_away_is_asked_again(docker: Docker) -> None:
    docker.fails = ["error pulling image: read: connection reset by peer", "unexpected EOF"]
    dummy, lines = docker.ensure(HUB)
    assert sum("Trying again" in line for line in lines) == 2
    docker.known.clear()
    docker.fails = ["dial tcp 10.0.0.1:5000: connect: connection refused"] * 9
    with pytest.raises(ContainerError, match="the registry went away: run again, finished layers are kept"):
        docker.ensure(HUB)
    assert len(docker.fails) == 5


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Error: manifest for x@sha256:1 not found: manifest unknown", "no image with this name and digest"),
        ("filesystem layer verification failed for digest sha256:1", "what came is not what the digest says"),
        ("toomanyrequests: You have reached your pull rate limit", "limits downloads"),
        ("denied: requested access to the resource is denied", "wants a login"),
        ("http: server gave HTTP response to HTTPS client", "container_engine_insecure_registries"),
        ("x509: certificate signed by unknown authority", "/etc/docker/certs.d"),
        ("write /var/lib/docker/tmp/x: no space left on device", "the disk is full"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "systemctl start docker"),
        ("something new", r"cannot be pulled: something new"),
    ],
)
def test_complaints(docker: Docker, said: str, words: str) -> None:
    docker.fails = [said]
    with pytest.raises(ContainerError, match=words):
        docker.ensure(HUB)
    assert docker.known == {}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("docker.io/owner/name:latest@x", DIGEST), "is no repository"),
        (Wanted("", DIGEST), "'' is no repository"),
        (Wanted("docker.io/owner/name"), "its digest is not known yet, and a tag such as latest moves"),
        (Wanted("docker.io/owner/name", "sha256:12"), "'sha256:12' is no digest"),
        (Wanted(archive="/x.tar"), "nothing says what is in it"),
        (Wanted(archive="/x.tar", archive_sha256="1"), "'1' is no sha256"),
    ],
)
def test_unpinned_images(wanted: Wanted, words: str) -> None:
    with pytest.raises(ContainerError) as caught:
        image.check(wanted)
    assert words in str(caught.value)


def archive(path: Path, *, lie: bool = False, index: bool = True) -> tuple[str, str]:
    """An OCI archive with one image; returns the digests of its manifest and its configuration."""
    config = b'{"rootfs": {}}'
    config_digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    manifest = json.dumps({"config": {"digest": config_digest}, "layers": []}).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    files = {
        f"blobs/sha256/{digest[7:]}": manifest + (b" " if lie else b""),
        f"blobs/sha256/{config_digest[7:]}": config,
    }
    files["index.json"] = json.dumps({"manifests": [{"digest": digest}]}).encode()
    with tarfile.open(path, "w") as out:
        for name, data in (files if index else {"manifest.json": b"[]"}).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return digest, config_digest


def test_archive_by_the_images_digest(docker: Docker, tmp_path: Path) -> None:
    digest, config = archive(tmp_path / "x.tar")
    docker.loads = ("Loaded image ID: sha256:loaded", config)
    wanted = Wanted(digest=digest, archive=str(tmp_path / "x.tar"))
    docker.ensure(wanted)
    assert docker.known[wanted.reference] == config


def test_archive_that_holds_another_image_than_its_index_says(docker: Docker, tmp_path: Path) -> None:
    digest, dummy = archive(tmp_path / "x.tar")
    wanted = Wanted(digest=digest, archive=str(tmp_path / "x.tar"))
    with pytest.raises(ContainerError, match="under another's index"):
        docker.ensure(wanted)
    assert docker.known == {}


@pytest.mark.parametrize("change", [{"lie": True}, {"index": False}], ids=["damaged manifest", "no index"])
def test_archive_that_does_not_say_what_it_holds(docker: Docker, tmp_path: Path, change: dict[str, bool]) -> None:
    digest, dummy = archive(tmp_path / "x.tar", **change)
    with pytest.raises(ContainerError, match="Nothing was loaded"):
        docker.ensure(Wanted(digest=digest, archive=str(tmp_path / "x.tar")))
    assert not [call for call in docker.calls if call[0] == "load"]


def test_archive_by_its_own_digest(docker: Docker, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    archive(path, index=False)
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    docker.ensure(Wanted(archive=str(path), archive_sha256=own))
    with pytest.raises(ContainerError, match=r"its sha256 is .* Nothing was loaded"):
        Docker().ensure(Wanted(archive=str(path), archive_sha256="0" * 64))


@pytest.mark.parametrize("content", [None, b"", b"no archive at all"], ids=["none", "empty", "text"])
def test_what_is_no_archive(docker: Docker, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ContainerError, match=r"there is no such archive|is no image archive"):
        docker.ensure(Wanted(digest=DIGEST, archive=str(path)))


def test_programs_are_heard_line_by_line() -> None:
    lines: list[str] = []
    assert image.run_streamed(["sh", "-c", "echo a; echo b >&2; exit 3"], lines.append) == (3, "a\nb\n")
    assert lines == ["a", "b"]
    with pytest.raises(ContainerError, match="cannot be started"):
        image.run_streamed(["/nonexistent/docker"], lines.append)
