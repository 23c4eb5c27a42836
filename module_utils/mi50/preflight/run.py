"""What one run of ansible-playbook knows of itself and of its nodes: who holds a node, which nodes are one machine.

Runs on the controller. Its workers are processes of their own: what they have to agree on is in files.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..build.cache import run_id
from .model import FAIL, OK, Check

TAKE = "mi50_take_lock"
_MACHINE_ID = Path("/etc/machine-id")


def runs_dir() -> Path:
    """Return the folder of the runs, the user's own."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "mi50-aipc" / "runs"


def controller() -> str:
    """Return a name for this machine that another machine does not have."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {_MACHINE_ID.read_text(encoding='ascii').strip()[:8]}"
    return socket.gethostname()


def describe(name: str) -> dict[str, Any]:
    """Return this run's claim on the node of that name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {"id": run_id(), "name": name, "controller": controller(), "user": user, "since": int(time.time())}


def over(claim: Mapping[str, Any]) -> bool:
    """Whether the run of a claim was one of this machine and is not there any more."""
    if claim.get("controller") != controller():
        return False
    process, dummy, began = str(claim.get("id")).partition("-")
    try:
        fields = (
            Path(f"/proc/{int(process)}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        )
    except (OSError, ValueError, IndexError):
        return True
    # A process that has ended and was not waited for is over as well.
    return fields[19] != began or fields[0] == "Z"


def held(claim: Mapping[str, Any], mine: Mapping[str, Any]) -> Check:
    """The check that refuses a node which is another run's."""
    title = "Other runs"
    if claim.get("id") == mine["id"] and claim.get("controller") == mine["controller"]:
        text = f"{claim['name']} and {mine['name']} are one machine: this run works on it as {claim['name']}"
        return Check("node.lock", title, FAIL, text, "one name", "List each machine once in the inventory")
    since = claim.get("since")
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since)) if isinstance(since, int) else "an unknown time"
    process = str(claim.get("id") or "unknown").partition("-")[0]
    where = str(claim.get("controller") or "").partition(" ")[0] or "another machine"
    who = f"{claim.get('user') or 'somebody'} on {where}"
    return Check(
        "node.lock",
        title,
        FAIL,
        f"{who} has been working on it since {when} (process {process} there)",
        "nobody else's run",
        f"Wait until that run has ended. If it is dead: run again with -e {TAKE}=true, or reboot the node",
    )


def same_key(name: str, digest: str, folder: Path | None = None) -> Check:
    """The check that no two nodes of this run have one SSH host key: one machine, or copies of one image.

    The first that says so has the key; the others are refused before anything changes on them.
    """
    title = "SSH host key"
    root = (folder or runs_dir()) / run_id()
    first = name
    with contextlib.suppress(OSError):
        if not root.is_dir():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep(root.parent)
        # Made by linking a finished file: of two workers one is first, and the other reads a whole name.
        draft = root / f".{os.getpid()}.{digest}"
        draft.write_text(name, encoding="utf-8")
        try:
            os.link(draft, root / digest)
        except FileExistsError:
            first = (root / digest).read_text(encoding="utf-8")
        finally:
            draft.unlink()
    if first == name:
        return Check("inventory.host_key", title, OK, "no other node of this run has it")
    return Check(
        "inventory.host_key",
        title,
        FAIL,
        f"{first} and {name} have the same one",
        "one for each machine",
        "If they are one machine, list it once. If one is a copy of the other's disk, give it keys of its own: "
        "`sudo rm /etc/ssh/ssh_host_* && sudo dpkg-reconfigure openssh-server`",
    )


def sweep(folder: Path) -> None:
    """Forget runs that are over."""
    for path in folder.iterdir():
        process = path.name.partition("-")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(path, ignore_errors=True)
