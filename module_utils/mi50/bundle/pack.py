"""The bundle as one archive on the controller, readable for its owner alone. Runs on the controller."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

README = """Support bundle of mi50-aipc.

Secrets, names of hosts and people, addresses and serial numbers were taken out on the node and once more on the
controller; <host-1>, <ip-2> and the like stand for the same thing everywhere in here. Look into it before you hand it
on: nobody knows every shape that a secret can have.

Taken out: {summary}

Holds:
{listing}
"""


def listing(files: Mapping[str, str], absent: Mapping[str, str]) -> str:
    """Return one line a file, with its size, then what there was nothing for."""
    rows = [f"  {len(text.encode()):>8}  {name}" for name, text in sorted(files.items())]
    rows += [f"         -  {name}: {why}" for name, why in sorted(absent.items())]
    return "\n".join(rows)


def write(path: Path, top: str, files: Mapping[str, str], when: int) -> int:
    """Write `files` below the folder `top` of a .tar.gz of mode 0600; return its size in bytes. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        # mkstemp makes it 0600, and it stays so.
        with os.fdopen(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, text in sorted(files.items()):
                data = text.encode()
                entry = tarfile.TarInfo(f"{top}/{name}")
                # Neither who made it nor on which machine.
                entry.size, entry.mtime, entry.mode = len(data), when, 0o600
                archive.addfile(entry, io.BytesIO(data))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path.stat().st_size
