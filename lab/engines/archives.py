"""Archives of the names and shapes of LM Studio's headless one and of Ollama's, with the stand-ins in them."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.settings import Settings

STANDINS = Path(__file__).resolve().parents[1] / "standins"
SERVER = STANDINS / "standin_server.py"


@dataclass(frozen=True)
class Archive:
    """A program: its stand-in, the archive's file name, and where in it the program lies."""

    name: str
    standin: str
    file: str
    program: str


LMSTUDIO = Archive("lmstudio", "standin_llmster", "0.0.25-1-linux-x64.full.tar.gz", "llmster")
OLLAMA = Archive("ollama", "standin_ollama", "ollama-linux-amd64.tgz", "bin/ollama")


def ensure(settings: Settings, want: Archive, tree: str) -> Path:
    """The archive in the cache; `tree` is where a node sees the tree with llama-server."""
    standin = STANDINS / want.standin
    name = f"{want.name}-{cache.key(standin, SERVER, Path(__file__), tree)}"

    def make(target: Path) -> None:
        target.mkdir()
        target.chmod(0o755)
        folder = want.program.rpartition("/")[0]
        with tarfile.open(target / want.file, "w:gz") as archive:
            _add(archive, want.program, standin.read_bytes(), 0o755)
            for beside, data in (
                ("standin.json", json.dumps({"tree": tree}).encode()),
                (SERVER.name, SERVER.read_bytes()),
            ):
                _add(archive, f"{folder}/{beside}".lstrip("/"), data, 0o644)

    folder = settings.cache / "engines"
    target = cache.build(folder, name, make)
    cache.prune(folder, target, f"{want.name}-*")
    return target / want.file


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    archive.addfile(member, io.BytesIO(data))
