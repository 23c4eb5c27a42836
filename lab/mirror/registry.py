"""Images for the lab's registry: the storage of Debian's real docker-registry, written without an engine.

One image in four versions: a `vllm` (lab/standins/standin_vllm) over llama-server of the engines' tree. Real layers,
manifests and digests; docker-registry serves them as if they had been pushed, and so does the mirror's nginx, since a
pull by digest asks for files and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab import cache, engine
from lab.console import as_root, run, step
from lab.engines import models, tree
from lab.image import build as image
from lab.mirror import server
from lab.settings import Settings

HERE = Path(__file__)
STANDIN = HERE.parents[1] / "standins" / "standin_vllm"
REPOSITORY = "nalanzeyu/vllm-gfx906"
VERSIONS = ("good", "newer", "never", "dies")
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
# As its publisher has it: vLLM's guards read it, the stand-in answers from the GGUF file beside it.
MODEL = "smollm2"
MODEL_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
}
# Of the base image: Python, a shell, and what they are linked with.
PYTHON = re.compile(
    r"(?:bin|lib|lib64|sbin|etc|tmp|usr|usr/bin|usr/lib|usr/lib64|usr/lib/x86_64-linux-gnu)/?$|etc/passwd$"
    r"|usr/bin/(?:python3[.0-9]*|dash|sh)$|usr/lib/python3[.0-9]*(?:/(?!.*__pycache__|.*\.pyc$).*)?$"
    r"|usr/lib/x86_64-linux-gnu/(?:ld-linux|lib(?:c|m|z|expat|ssl|crypto|ffi|lzma|bz2|uuid|pthread|dl|util|resolv)[.-])"
    r"|usr/lib64/"
)
_SKIPPED = ("usr/lib/python3/dist-packages", "/test/", "/idlelib/", "/lib2to3/")


def ensure(settings: Settings) -> Path:
    """Return the folder of the storage (`docker/registry/v2` below it), with `digests.json` and a model beside it."""
    root, base, weights = tree.ensure(settings), image.base(settings), models.ensure(settings)
    name = f"registry-{cache.key(HERE, STANDIN, root.name, base, weights.name)}"
    target = cache.build(settings.cache, name, lambda folder: _build(base, root, weights, folder))
    cache.prune(settings.cache, target, "registry-*")
    return target


def publish(settings: Settings) -> Path:
    """Have the mirror hand out the images (/v2/) and the model (/variants/registry/smollm2/); return the storage."""
    storage = ensure(settings)
    target = server.variants(settings) / "registry"
    shutil.rmtree(target, ignore_errors=True)
    repository = storage / "docker/registry/v2/repositories" / REPOSITORY
    for kind, folder in (("manifests", "_manifests/revisions/sha256"), ("blobs", "_layers/sha256")):
        for path in sorted((repository / folder).iterdir()):
            blob = storage / "docker/registry/v2/blobs/sha256" / path.name[:2] / path.name / "data"
            _same(blob, target / "v2" / REPOSITORY / kind / f"sha256:{path.name}")
    for path in (storage / MODEL).iterdir():
        _same(path, target / MODEL / path.name)
    return storage


def _same(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


def digests(folder: Path) -> dict[str, str]:
    """Return the manifest digest of each version."""
    found: dict[str, str] = json.loads((folder / "digests.json").read_text())
    return found


def _build(base: str, root: Path, weights: Path, folder: Path) -> None:
    (folder / MODEL).mkdir(parents=True)
    os.link(weights / models.SMOLLM.file, folder / MODEL / models.SMOLLM.file)
    (folder / MODEL / "config.json").write_text(json.dumps(MODEL_CONFIG, indent=1) + "\n")
    with step("Building the images of the lab's registry"):
        layers = [_layer(folder, _python(base)), _layer(folder, _llama(root)), _layer(folder, _standin())]
        found = {version: _image(folder, version, layers) for version in VERSIONS}
    (folder / "digests.json").write_text(json.dumps(found, indent=1) + "\n")


def _image(folder: Path, version: str, layers: list[tuple[str, str, int]]) -> str:
    """Write one image; return its digest."""
    environment = ["PATH=/opt/vllm/bin:/usr/bin:/bin", f"STANDIN={version}"]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": environment, "Cmd": ["vllm", "--help"]},
        "rootfs": {"type": "layers", "diff_ids": [diff for diff, _digest, _size in layers]},
    }
    data = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": len(data), "digest": _blob(folder, data)},
        "layers": [{"mediaType": LAYER, "size": size, "digest": digest} for _diff, digest, size in layers],
    }
    digest = _blob(folder, json.dumps(manifest).encode())
    repository = folder / "docker/registry/v2/repositories" / REPOSITORY
    for kind, name in (("_manifests/revisions", digest), ("_layers", str(manifest["config"]["digest"]))):  # type: ignore[index]
        _link(repository / kind, name)
    for _diff, name, _size in layers:
        _link(repository / "_layers", name)
    return digest


def _blob(folder: Path, data: bytes) -> str:
    value = hashlib.sha256(data).hexdigest()
    path = folder / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"sha256:{value}"


def _link(folder: Path, digest: str) -> None:
    path = folder / "sha256" / digest.partition(":")[2] / "link"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(digest)


def _layer(folder: Path, content: Path) -> tuple[str, str, int]:
    """Pack a tar file as a layer; return the digest unpacked, the digest packed, and the bytes packed."""
    plain = content.read_bytes()
    content.unlink()
    packed = gzip.compress(plain, 1, mtime=0)
    return f"sha256:{hashlib.sha256(plain).hexdigest()}", _blob(folder, packed), len(packed)


def _scratch() -> Path:
    return Path(tempfile.mkstemp(prefix="mi50-lab-layer-", suffix=".tar")[1])


def _python(base: str) -> Path:
    """The base image's Python."""
    target = _scratch()
    container = engine.docker("create", base).stdout.strip()
    try:
        command = [*engine._ARGV, "export", container]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as producer,
            tarfile.open(target, "w") as out,
            tarfile.open(fileobj=producer.stdout, mode="r|") as stream,
        ):
            for member in stream:
                name = member.name.removeprefix("./")
                if PYTHON.match(name) and not any(word in f"/{name}" for word in _SKIPPED):
                    out.addfile(member, stream.extractfile(member) if member.isreg() else None)
    finally:
        engine.docker("rm", container, check=False)
    return target


def _llama(root: Path) -> Path:
    """llama-server of the tree with what it is linked with, and its backends for CPUs where it looks for them."""
    target = _scratch()
    listing = run(as_root(["chroot", str(root), "ldd", "/usr/bin/llama-server"])).stdout
    with tarfile.open(target, "w") as out:
        out.add(root / "usr/bin/llama-server", "opt/llama/llama-server")
        out.add((root / "lib64/ld-linux-x86-64.so.2").resolve(), "opt/llama/ld.so")
        for name in sorted(set(re.findall(r"=> (/\S+)", listing))):
            out.add(_resolved(root, name), f"opt/llama/{Path(name).name}")
        for path in _backends(root):
            out.add(path, str(path.relative_to(root)))
    return target


def _backends(root: Path) -> Iterator[Path]:
    yield from sorted((root / "usr/lib/x86_64-linux-gnu/ggml").glob("*/libggml-cpu-*.so"))


def _resolved(root: Path, name: str) -> Path:
    """A file of the tree, links followed within it."""
    path = root / name.lstrip("/")
    while path.is_symlink():
        to = path.readlink()
        path = root / str(to).lstrip("/") if to.is_absolute() else path.parent / to
    return path


def _standin() -> Path:
    target = _scratch()
    with tarfile.open(target, "w") as out:
        data = STANDIN.read_bytes()
        member = tarfile.TarInfo("opt/vllm/bin/vllm")
        member.size, member.mode = len(data), 0o755
        out.addfile(member, io.BytesIO(data))
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        out.addfile(folder)
    return target
