"""A whole mi50-fand process on a tree of plain files in real time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.plant.rig import Rig
from lab.plant.standin_disk import DiskTree

PACKAGE = Path(__file__).resolve().parents[3] / "roles" / "fan_control" / "files"


class Live:
    """The process, its tree, and what it said to systemd."""

    def __init__(self, document: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        document["paths"] = {
            "runtime": str(folder / "run"),
            "metrics": str(folder / "textfile" / "mi50_fand.prom"),
            "wanted_caps": str(folder / "wanted"),
        }
        for name in ("textfile", "wanted", "proc"):
            (folder / name).mkdir()
        self.config = folder / "config.json"
        self.config.write_text(json.dumps(document))
        self.tree = DiskTree(Rig(document), folder / "sys")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.setblocking(False)
        self.told: list[tuple[float, str]] = []
        self.process: subprocess.Popen[str] | None = None
        self._stop = threading.Event()
        self._plant = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Live:
        self._plant.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stop.set()
        self._plant.join()
        self.socket.close()

    def _live(self) -> None:
        while not self._stop.wait(0.1):
            self.tree.sync(0.1)

    def command(self, *words: str) -> list[str]:
        roots = ["--sysfs-root", str(self.folder / "sys"), "--proc-root", str(self.folder / "proc")]
        return [sys.executable, "-m", "mi50_fand", *words, "--config", str(self.config), *roots]

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "NOTIFY_SOCKET": str(self.folder / "notify")}
        self.process = subprocess.Popen(
            self.command("run"), env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def verb(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
        return subprocess.run(self.command(*words), env=environment, capture_output=True, text=True, check=False)

    def hear(self) -> list[str]:
        """Everything told to systemd so far, one line each."""
        while True:
            try:
                data = self.socket.recv(4096).decode()
            except BlockingIOError:
                return [line for _, line in self.told]
            self.told += [(time.monotonic(), line) for line in data.splitlines()]

    def heard(self) -> list[tuple[float, str]]:
        """The same with the time of each line."""
        self.hear()
        return self.told

    def wait(self, holds: Callable[[], bool], seconds: float) -> float:
        """Seconds until it holds; fails when it does not."""
        begin = time.monotonic()
        while not holds():
            assert time.monotonic() - begin < seconds, "did not happen in time"
            assert self.process is None or self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        return time.monotonic() - begin

    def ready(self) -> None:
        self.wait(lambda: "READY=1" in self.hear(), 10)

    def pwm(self, channel: int = 2) -> int:
        text = (self.folder / "sys" / self.tree.rig.chip.base / f"pwm{channel}").read_text().strip()
        return int(text) if text else -1

    def hang(self, attribute: str) -> Path:
        """Put a FIFO in the place of an attribute: open() blocks until somebody writes."""
        path = self.tree.root / attribute
        fifo = path.with_name("fifo")
        os.mkfifo(fifo)
        self.tree.frozen.add(attribute)
        fifo.replace(path)
        return path

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(10)

    def status(self) -> dict[str, Any]:
        path = self.folder / "run" / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}
