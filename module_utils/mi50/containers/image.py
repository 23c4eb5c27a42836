"""Images by digest: from a registry, or from an archive file, and never another one than was asked for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import process
from .errors import ContainerError

DOCKER = "docker"
LOCAL = "mi50-aipc"  # repository of images that came from archives
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[a-z0-9._:/-]*[a-z0-9])?")
_RETRIES, _PAUSE = 3, 5.0
_CHUNK = 1 << 20
_LAYER = re.compile(r"^([0-9a-f]{12}): (.+)$")
_DONE = ("Pull complete", "Already exists")
Say = Callable[[str], None]
# Runs a program and hands over each line it says; returns exit code and all of it.
Stream = Callable[[Sequence[str], Say], "tuple[int, str]"]

# What docker says: what it means, whether another try may help.
_CAUSES: tuple[tuple[str, str, bool], ...] = (
    (r"manifest unknown|manifest for .* not found|not found: manifest|repository .* not found",
     "the registry has no image with this name and digest: correct the stack, or the mirror lacks it", False),
    (r"verification failed|digest mismatch|does not match the expected digest|unexpected (commit )?digest",
     "what came is not what the digest says: the registry or something on the way changed it", False),
    (r"toomanyrequests|rate limit", "the registry limits downloads: wait, docker login, or use a mirror", False),
    (r"unauthorized|denied|authentication required",
     "the registry wants a login, or the name is wrong: docker login on the node, or correct the name", False),
    (r"server gave HTTP response to HTTPS client",
     "the registry speaks plain http: name it in container_engine_insecure_registries", False),
    (r"x509|certificate",
     "the registry's certificate is not trusted here: add its CA to /etc/docker/certs.d/HOST/ca.crt", False),
    (r"no space left on device", "the disk is full: free some space below Docker's folder", False),
    (r"Cannot connect to the Docker daemon", "the engine does not run: systemctl start docker", False),
    (r"no such host|server misbehaving", "the registry's name does not resolve: correct it, or use a mirror", True),
    (r"connection refused|connection reset|broken pipe|EOF|timeout|deadline exceeded|unreachable|503|502|500",
     "the registry went away: run again, finished layers are kept; or use a mirror", True),
)  # fmt: skip


class Wanted(NamedTuple):
    """An image: its repository and manifest digest, or an archive on the node with its own sha256, or both."""

    repository: str = ""
    digest: str = ""
    archive: str = ""
    archive_sha256: str = ""

    @property
    def reference(self) -> str:
        """Return the name a container is started from, which is this image and no other."""
        if self.archive:
            return f"{LOCAL}/archive:{(self.digest.partition(':')[2] or self.archive_sha256)[:24]}"
        return f"{self.repository}@{self.digest}"


def check(wanted: Wanted, where: str = "image") -> None:
    """Raise ContainerError for an image that nothing pins, or that is none."""
    if wanted.digest and not _DIGEST.fullmatch(wanted.digest):
        raise ContainerError(f"{where}: {wanted.digest!r} is no digest; it is sha256: and 64 hexadecimal digits.")
    if wanted.archive_sha256 and not re.fullmatch(r"[0-9a-f]{64}", wanted.archive_sha256):
        raise ContainerError(f"{where}: {wanted.archive_sha256!r} is no sha256; it has 64 hexadecimal digits.")
    if wanted.archive:
        if not wanted.digest and not wanted.archive_sha256:
            raise ContainerError(
                f"{where}: {wanted.archive}: give its sha256, or the image's digest: nothing says what is in it."
            )
        return
    if not _REPOSITORY.fullmatch(wanted.repository) or "@" in wanted.repository:
        raise ContainerError(
            f"{where}: {wanted.repository!r} is no repository such as docker.io/owner/name, without a tag."
        )
    if not wanted.digest:
        raise ContainerError(
            f"{where}: {wanted.repository}: its digest is not known yet, and a tag such as latest moves. Look it up "
            "once (docker buildx imagetools inspect), write it into the stack's lock, or give the digest."
        )


def present(wanted: Wanted, stream: Stream) -> dict[str, Any] | None:
    """Return what the engine knows of the image: `id`, `size` (bytes); None when it is not there."""
    code, text = stream([DOCKER, "image", "inspect", wanted.reference], lambda line: None)
    try:
        found = json.loads(text[text.index("[") :])[0] if not code else None
    except (ValueError, IndexError, KeyError):
        found = None
    return {"id": str(found.get("Id", "")), "size": int(found.get("Size") or 0)} if found else None


def ensure(wanted: Wanted, stream: Stream, say: Say, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Have the image; return `id` and `size`. Raises ContainerError: then nothing half of it can be started."""
    check(wanted)
    there = present(wanted, stream)
    if there:
        return there
    if wanted.archive:
        _load(wanted, stream, say)
    else:
        _pull(wanted, stream, say, sleep)
    there = present(wanted, stream)
    if not there:
        raise ContainerError(f"{wanted.reference} came, but the engine does not know it. See journalctl -u docker.")
    return there


def remove(references: Sequence[str], stream: Stream) -> None:
    """Remove images that no container uses; others stay, without a word."""
    for reference in references:
        stream([DOCKER, "image", "rm", reference], lambda line: None)


def run_streamed(argv: Sequence[str], said: Say) -> tuple[int, str]:
    """Run a program, a line at a time. Raises ContainerError when it cannot be started."""
    reading, writing = os.pipe()
    try:
        child = process.start(argv, stdin=process.DISCARD, stdout=writing, stderr=writing)
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise ContainerError(
            f"{argv[0]} cannot be started: {error.strerror}. The role container_engine installs it."
        ) from None
    os.close(writing)
    lines = []
    with os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            lines.append(line)
            said(line.rstrip())
    return child.wait(), "".join(lines)


class Layers:
    """Counts layers from what `docker pull` says."""

    def __init__(self, reference: str, say: Say) -> None:
        """Nothing is known yet."""
        self._name, self._say, self._shown = reference.rpartition("/")[2][:40], say, ""
        self._layers: dict[str, str] = {}

    def line(self, text: str) -> None:
        """Take one line."""
        found = _LAYER.match(text)
        if not found or found.group(2) == text:
            return
        self._layers[found.group(1)] = found.group(2)
        done = sum(state.startswith(_DONE) for state in self._layers.values())
        come = sum(
            state.startswith((*_DONE, "Download complete", "Verifying", "Extracting"))
            for state in self._layers.values()
        )
        shown = f"{self._name}: {come} of {len(self._layers)} layers fetched, {done} unpacked"
        if shown != self._shown:
            self._shown = shown
            self._say(shown)


def explain(reference: str, said: str) -> tuple[str, bool]:
    """Return what went wrong with a pull, and whether another try may help."""
    last = next((line for line in reversed(said.strip().splitlines()) if line.strip()), "no reason was given")
    for pattern, meaning, again in _CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return f"{reference} cannot be pulled: {meaning} ({last.strip()[:300]}).", again
    return f"{reference} cannot be pulled: {last.strip()[:300]}.", False


def _pull(wanted: Wanted, stream: Stream, say: Say, sleep: Callable[[float], None]) -> None:
    for attempt in range(_RETRIES + 1):
        code, text = stream([DOCKER, "pull", wanted.reference], Layers(wanted.repository, say).line)
        if not code:
            return
        why, again = explain(wanted.reference, text)
        if not again or attempt == _RETRIES:
            raise ContainerError(why)
        say(f"{why} Trying again.")
        sleep(_PAUSE * (attempt + 1))


def _load(wanted: Wanted, stream: Stream, say: Say) -> None:
    path = Path(wanted.archive)
    if not path.is_file():
        raise ContainerError(f"{path}: there is no such archive on this node.")
    if wanted.archive_sha256:
        say(f"checking {path.name}")
        found = _sha256(path)
        if found != wanted.archive_sha256:
            raise ContainerError(
                f"{path}: its sha256 is {found}, expected {wanted.archive_sha256}. Nothing was loaded."
            )
    configs = _configs(path, wanted.digest) if wanted.digest else set()
    if wanted.digest and not configs and not wanted.archive_sha256:
        raise ContainerError(
            f"{path}: does not hold {wanted.digest}, or does not say so (no OCI index). Nothing was loaded. Save it "
            "anew (skopeo copy docker://… oci-archive:…), or give the archive's sha256."
        )
    say(f"loading {path.name} ({path.stat().st_size / 1e9:.1f} GB)")
    code, text = stream([DOCKER, "load", "--input", str(path)], lambda line: None)
    loaded = re.search(r"Loaded image(?: ID)?: (\S+)", text)
    if code or not loaded:
        why = " ".join(text.split())[-300:]
        full = " The disk is full: free some space below Docker's folder." if "no space left" in text else ""
        raise ContainerError(f"{path}: cannot be loaded: {why}.{full}")
    _compare(loaded.group(1), configs, wanted, stream)
    code, text = stream([DOCKER, "tag", loaded.group(1), wanted.reference], lambda line: None)
    if code:
        raise ContainerError(f"{path}: was loaded as {loaded.group(1)}, but cannot be named: {' '.join(text.split())}.")


def _compare(loaded: str, configs: set[str], wanted: Wanted, stream: Stream) -> None:
    """Raise ContainerError unless what was loaded has a configuration of the manifest: it pins every layer."""
    if not configs:
        return
    dummy, text = stream([DOCKER, "image", "inspect", "--format", "{{.Id}}", loaded], lambda line: None)
    found = text.strip().rpartition("\n")[2]
    if found not in configs | {wanted.digest}:
        remove([loaded], stream)
        raise ContainerError(
            f"{wanted.archive}: holds {found} under another's index; {wanted.digest} is expected. It was removed."
        )


def _configs(path: Path, digest: str) -> set[str]:
    """Return the digests of the configurations that a manifest (or list of them) in an OCI archive leads to.

    Empty when the archive does not hold it. Raises ContainerError for what is no archive.
    """
    try:
        with tarfile.open(path) as archive:
            names = {member.name.lstrip("./"): member for member in archive.getmembers() if member.isreg()}
            found: set[str] = set()
            todo = [digest]
            while todo:
                one = todo.pop()
                member = names.get(f"blobs/sha256/{one.partition(':')[2]}")
                data = archive.extractfile(member) if member and member.size < _CHUNK else None
                blob = data.read() if data else b"{}"
                if data and f"sha256:{hashlib.sha256(blob).hexdigest()}" != one:
                    continue
                manifest = json.loads(blob)
                todo += [str(inner["digest"]) for inner in manifest.get("manifests", [])]
                found |= {str(manifest["config"]["digest"])} if "config" in manifest else set()
            return found
    except (tarfile.TarError, OSError, ValueError, AttributeError, KeyError, TypeError, EOFError) as error:
        raise ContainerError(f"{path}: is no image archive, or a damaged one: {error}.") from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            block = stream.read(_CHUNK)
            if not block:
                return digest.hexdigest()
            digest.update(block)
