"""An archive of the name and shape of LM Studio's headless one, with the stand-in in it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from lab import cache
from lab.settings import Settings

STANDIN = Path(__file__).resolve().parents[1] / "standins/standin_llmster"
VERSION = "0.0.25-1"


def ensure(settings: Settings, tree: str) -> Path:
    """The archive in the cache; `tree` is where a node sees the tree with llama-server."""
    name = f"lmstudio-{cache.key(STANDIN, tree)}"

    def make(target: Path) -> None:
        target.mkdir()
        target.chmod(0o755)
        with tarfile.open(target / f"{VERSION}-linux-x64.full.tar.gz", "w:gz") as archive:
            _add(archive, "llmster", STANDIN.read_bytes(), 0o755)
            _add(archive, "standin.json", json.dumps({"tree": tree}).encode(), 0o644)

    folder = settings.cache / "engines"
    target = cache.build(folder, name, make)
    cache.prune(folder, target, "lmstudio-*")
    return target / f"{VERSION}-linux-x64.full.tar.gz"


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    archive.addfile(member, io.BytesIO(data))
