"""A node belongs to one run at a time: who works on it says so in a file that is gone after a reboot.

Two runs on one node would fight over apt, and each would judge what the other is in the middle of. Runs on the node.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLAIM = "run/mi50-aipc/run.lock"
HOST_KEYS = ("ssh_host_ed25519_key.pub", "ssh_host_ecdsa_key.pub", "ssh_host_rsa_key.pub")
_KEYS = ("id", "name", "controller", "user", "since")


def claim(root: Path, run: Mapping[str, Any], *, take: bool = False) -> dict[str, Any] | None:
    """Mark the node as this run's; return the claim that stands in the way, None when it is ours now.

    `run` has `id`, `name` (the node's, in that inventory), `controller`, `user`, `since` (seconds since 1970). With
    `take` another's claim is replaced. Where nothing can be written nobody else's run could either: that is no claim.
    """
    path = root / CLAIM
    mine = {key: run.get(key) for key in _KEYS}
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".run.lock.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(mine, stream)
            Path(temporary).chmod(0o644)
            if take:
                Path(temporary).replace(path)
                return None
            # A link is made whole or not at all: of two runs one gets it, and nobody reads half a claim.
            os.link(temporary, path)
            return None
        except FileExistsError:
            found = read(root)
            return None if found and (found["id"], found["name"]) == (mine["id"], mine["name"]) else found
        finally:
            Path(temporary).unlink(missing_ok=True)
    return None


def read(root: Path) -> dict[str, Any] | None:
    """Return the claim on the node, None when there is none; one that cannot be read counts as somebody's."""
    try:
        found = json.loads((root / CLAIM).read_text(encoding="utf-8"))
        return {key: found.get(key) for key in _KEYS}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        return dict.fromkeys(_KEYS)


def host_key(root: Path) -> str:
    """Return a digest of the node's SSH host key; empty for a host without one."""
    for name in HOST_KEYS:
        with contextlib.suppress(OSError):
            words = (root / "etc/ssh" / name).read_text(encoding="ascii", errors="replace").split()
            if len(words) > 1:
                return hashlib.sha256(f"{words[0]} {words[1]}".encode()).hexdigest()
    return ""
