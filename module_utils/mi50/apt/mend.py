"""Finish what apt was cut off in, when that was a run of ours; leave what somebody else was in the middle of.

dpkg(1): `--configure -a` goes on with every package that is unpacked. What it cannot, because a package that others
need was never unpacked, `apt-get --fix-broken install` can; it may touch only packages that our own run was about.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import cut, dpkg, litter

# Runs a command; returns its exit code and its output, both streams.
Runner = Callable[[list[str]], tuple[int, str]]
LOCKS = litter.LOCKS
PATIENCE_S = 900.0  # ROCm's packages take minutes to unpack, and apt goes on when only the controller died
_KEEP = ("--force-confdef", "--force-confold")  # as ansible.builtin.apt has it: nobody is there to answer
_TOUCHED = re.compile(r"^(?:Inst|Remv|Purg) ([a-z0-9][a-z0-9+.-]*)", re.MULTILINE)
WAY_OUT = "`sudo dpkg --configure -a && sudo apt-get -f install`"


class MendError(Exception):
    """Packages are not whole, and it is not for us to change that; the text says why and what to do."""


def mend(
    root: Path,
    since: float | None,
    run: Runner,
    *,
    check: bool = False,
    patience: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Make the packages whole that a run of ours left; return what was done, in words. Raises MendError, OSError.

    `since` as cut.find() has it. With `check` nothing is done, and the words are those of what would be.
    """
    if since is not None and not check:
        _wait(root, patience, sleep)
    broken, interrupted = dpkg.unfinished(root)
    found = cut.find(root, since, broken)
    if found is None:
        if broken or interrupted:
            raise MendError(f"{_say(broken, interrupted)}, and not by a run of this project. {WAY_OUT}, then run again")
        return []
    done = []
    if broken or interrupted:
        done.append(f"dpkg --configure -a finished what was cut off: {found.describe()}")
        if check:
            return [done[0].replace("finished", "would finish")]
        # It ends with an error where -f install has to come first: what is left is looked at below.
        run(["dpkg", *_KEEP, "--configure", "-a"])
    touched = [] if check else _fix(found, run, root)
    if touched:
        done.append(f"apt-get -f install put right {_some(touched)}")
    left, interrupted = ({}, False) if check else dpkg.unfinished(root)
    if left or interrupted:
        raise MendError(f"{_say(left, interrupted)} by a run of this project, and stays so. {WAY_OUT} shows why")
    swept = 0 if check or since is None else litter.sweep(root, since)
    if swept:
        done.append(f"{swept} files that dpkg had not come to the end of were removed")
    return done


def _fix(found: cut.Cut, run: Runner, root: Path) -> list[str]:
    """Let apt put right what is missing or half gone, when it is all ours. Returns the packages it touched."""
    with tempfile.TemporaryDirectory(prefix="mi50-mend-") as scratch:
        preferences = Path(scratch) / "preferences"
        preferences.write_text(_preferences(found, root), encoding="utf-8")
        return _fix_by(found, run, ["-o", f"Dir::Etc::preferences={preferences}", "--allow-downgrades", "-f"])


def _preferences(found: cut.Cut, root: Path) -> str:
    """Apt's own preferences, and before them the versions that the run was to bring.

    On the way to an older release apt would by itself take nothing older than what was there, and stop with "I can't
    find an archive for it", or take another repository's (apt_preferences(5): above 1000 a version may be older).
    """
    pins = [
        f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n" for name, version in found.versions.items()
    ]
    with contextlib.suppress(OSError):
        pins.append((root / "etc/apt/preferences").read_text(encoding="utf-8"))
    return "\n".join(pins)


def _fix_by(found: cut.Cut, run: Runner, how: list[str]) -> list[str]:
    code, said = run(["apt-get", "-s", *how, "install"])
    if code:
        raise MendError(f"apt does not know how to go on after {found.describe()}: {_end(said)}. {WAY_OUT} shows more")
    touched = sorted(set(_TOUCHED.findall(said)))
    others = [name for name in touched if name not in found.packages]
    if others:
        raise MendError(
            f"after {found.describe()} apt would also change {_some(others)}, which that run was not about. "
            "Look at `sudo apt-get -s -f install`; if it is right, run it without -s, then run again"
        )
    if touched:
        options = [part for word in (cut.MARK, "DPkg::Lock::Timeout=120", *_OPTIONS) for part in ("-o", word)]
        code, said = run(["apt-get", "-y", "-q", *options, *how, "install"])
        if code:
            raise MendError(f"apt-get -f install ended with {code}: {_end(said)}. Run again; else {WAY_OUT}")
    return touched


_OPTIONS = tuple(f"Dpkg::Options::={word}" for word in _KEEP)


def _wait(root: Path, patience: float, sleep: Callable[[float], None]) -> None:
    """Until nobody works with dpkg: what the last run started may still be at it."""
    waited = 0.0
    while busy(root):
        if waited >= patience:
            raise MendError(f"apt or dpkg still works after {patience:.0f} s (`pgrep -a 'apt|dpkg'`): run again later")
        sleep(1.0)
        waited += 1.0


def busy(root: Path) -> bool:
    """Whether a program holds one of dpkg's locks."""
    for name in LOCKS:
        try:
            with (root / name).open("rb+") as stream:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


def _say(broken: dict[str, str], interrupted: bool) -> str:
    names = [f"{name} is {state}" for name, state in sorted(broken.items())]
    return "; ".join(filter(None, [_some(names), "dpkg was interrupted" if interrupted else ""]))


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _end(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join(([line for line in lines if line.startswith("E:")] or lines)[-3:])[:300]
