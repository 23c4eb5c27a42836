"""Tolerant reading of sysfs attributes: a file that cannot be used gives None and one plain sentence, no error."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

# No attribute read here is longer than a page; `resource` and KFD's `properties` are the longest.
_LIMIT = 65536
_DECIMAL = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,16})", re.ASCII)
_REASONS = {
    errno.ENOENT: "does not exist",
    errno.EISDIR: "is not a file",
    errno.ENOTDIR: "does not exist",
    errno.EACCES: "must not be read by this user",
    errno.EPERM: "is refused (GPU asleep or in reset, or a container without the device)",
    errno.EIO: "gives an I/O error",
    errno.ENODATA: "has no data (sensor switched off)",
}


def read_text(path: Path) -> str:
    """Return the text of an attribute, stripped, control characters removed.

    Raises:
        OSError: whatever the kernel answers.
    """
    # O_NONBLOCK: a FIFO in the place of a file must not hang the inventory; sysfs ignores the flag.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        raw = os.read(descriptor, _LIMIT)
    finally:
        os.close(descriptor)
    text = raw.decode("utf-8", errors="replace")
    return "".join(char for char in text if char.isprintable() or char == "\n").strip()


def reason(error: OSError) -> str:
    """Say in plain words why a file could not be read."""
    return _REASONS.get(error.errno or 0, f"cannot be read ({error.strerror or error})")


def names(directory: Path) -> list[str]:
    """Return the sorted entries of a directory; none when it cannot be listed."""
    try:
        return sorted(entry.name for entry in directory.iterdir())
    except OSError:
        return []


def link_name(path: Path) -> str | None:
    """Return the last component of a symlink's target, such as the driver's name."""
    try:
        name = path.readlink().name
    except OSError:
        return None
    return name if name and name.isprintable() else None


def exists(path: Path) -> bool:
    """Say whether something is there; False as well when that must not be looked at (Path.exists raises then)."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def parse_decimal(text: str) -> int | None:
    """Return a plain ASCII integer; None for anything else (no underscores, signs of other scripts, floats)."""
    return int(text) if _DECIMAL.fullmatch(text) else None


def parse_hex(text: str) -> int | None:
    """Return a hexadecimal number with or without 0x; None for anything else."""
    match = _HEX.fullmatch(text)
    return int(match.group(1), 16) if match else None


class Attributes:
    """One sysfs directory. What cannot be used is noted in `problems`, together with what stays unknown because of it.

    With `quiet` nothing is noted: for attributes that are legitimately absent.
    """

    def __init__(self, directory: Path, problems: list[str], quiet: bool = False) -> None:
        """Read from `directory`, note in `problems`."""
        self.directory = directory
        self.problems = problems
        self.quiet = quiet

    def hushed(self) -> Attributes:
        """Return the same directory without notes."""
        return Attributes(self.directory, self.problems, quiet=True)

    def note(self, sentence: str) -> None:
        """Add a problem."""
        if not self.quiet:
            self.problems.append(sentence)

    def text(self, name: str, what: str) -> str | None:
        """Return a non-empty attribute; `what` names the thing that stays unknown otherwise."""
        try:
            value = read_text(self.directory / name)
        except OSError as error:
            self.note(f"{what} unknown: {name} {reason(error)}.")
            return None
        if not value:
            self.note(f"{what} unknown: {name} is empty.")
            return None
        return value

    def integer(self, name: str, what: str, low: int = 0) -> int | None:
        """Return a decimal attribute that is at least `low`."""
        value = self.text(name, what)
        if value is None:
            return None
        number = parse_decimal(value)
        if number is None or number < low:
            self.note(f"{what} unknown: {name} reads {value[:40]!r}, not a number from {low} up.")
            return None
        return number

    def hexadecimal(self, name: str, what: str) -> int | None:
        """Return a hexadecimal attribute such as a PCI id."""
        value = self.text(name, what)
        if value is None:
            return None
        number = parse_hex(value)
        if number is None:
            self.note(f"{what} unknown: {name} reads {value[:40]!r}, not a hexadecimal number.")
        return number
