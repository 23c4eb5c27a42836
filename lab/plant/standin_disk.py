"""Stand-in for /sys as a directory of plain files, kept alive by the thermal model in real time.

It replaces sysfs for a whole mi50-fand process (`--sysfs-root`), with its threads, its real clock and its memory. It
does not prove anything about drivers: plain files take every value, keep no mode and report no error.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from lab.plant.model import STEP
from lab.plant.rig import Rig

PERIOD = 0.2


class DiskTree:
    """A rig's tree on disk: numbers written to a file reach the hooks, what the model computes reaches the files."""

    def __init__(self, rig: Rig, root: Path) -> None:
        """Lay it out."""
        self.rig = rig
        self.root = root
        self.frozen: set[str] = set()  # files that a test has replaced and that stay as they are
        self._shown: dict[str, str] = {}
        for path, value in rig.io.values.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            text = value() if callable(value) else value
            target.write_text(f"{text}\n")
            self._shown[path] = text
        for name, destination in rig.io.links.items():
            link = root / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(root / destination, link.parent))

    def sync(self, seconds: float) -> None:
        """Take what was written, let time pass, show what is new."""
        for path, hook in list(self.rig.io.hooks.items()):
            self._take(path, hook)
        for _ in range(max(1, round(seconds / STEP))):
            self.rig.step()
        for path, value in self.rig.io.values.items():
            text = value() if callable(value) else value
            if text != self._shown[path] and path not in self.frozen:
                self._show(path, text)

    def _take(self, path: str, hook: object) -> None:
        try:
            text = (self.root / path).read_text().strip()
        except FileNotFoundError:
            return
        if text != self._shown[path] and text.isdigit() and callable(hook):
            try:
                hook(int(text))
            except OSError:
                return
            self._shown[path] = text

    def _show(self, path: str, text: str) -> None:
        """By rename: a reader of a half-written file would see a fault that sysfs does not have."""
        self._shown[path] = text
        target = self.root / path
        fresh = target.with_name(f".{target.name}")
        fresh.write_text(f"{text}\n")
        fresh.replace(target)

    def live(self, seconds: float, load: float) -> None:
        """Run in real time."""
        for die in self.rig.dies.values():
            die.load = load
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(PERIOD)
            self.sync(PERIOD)
