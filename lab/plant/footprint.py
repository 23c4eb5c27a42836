"""Memory and CPU of mi50-fand and of Debian's fancontrol, side by side in real time, each on a tree of plain files.

`python -m lab.plant footprint --seconds 600` fetches Debian's package with apt and writes the table of
docs/cooling.md.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from lab.plant.plots import ROOT, insert
from lab.plant.rig import Rig
from lab.plant.standin_disk import DiskTree

PACKAGE = ROOT / "roles" / "fan_control" / "files"
TICK = os.sysconf("SC_CLK_TCK")
WARM_UP = 10.0


class Watched:
    """A process and what it has used: seconds of CPU with its ended children, kB of memory."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Keep the process."""
        self.name = name
        self.process = process
        self.begin = 0.0
        self.begun = 0.0
        self.resident: list[int] = []
        self.proportional = 0

    def cpu(self) -> float:
        """Seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / TICK

    def start(self) -> None:
        """Count from now on."""
        self.begin, self.begun = self.cpu(), time.monotonic()

    def sample(self) -> None:
        """Take one look at the memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.resident.append(int(status.partition("VmRSS:")[2].split()[0]))
        smaps = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        self.proportional = int(smaps.partition("\nPss:")[2].split()[0])

    def row(self) -> str:
        """A row of the table."""
        seconds = time.monotonic() - self.begun
        used = self.cpu() - self.begin
        most = max(self.resident) / 1024
        share = 100 * used / seconds
        return (
            f"| {self.name} | {self.resident[0] / 1024:.1f} | {most:.1f} | {self.proportional / 1024:.1f} "
            f"| {used:.2f} s in {seconds:.0f} s | {share:.3f} % |"
        )


def memory() -> str | None:
    """A tmpfs to work in, or None. On a disk's file system, truncating a file costs more than the rest of a cycle."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind = line.split()[:3]
        if kind == "tmpfs" and os.access(place, os.W_OK):
            return place
    return None


def fancontrol_script(folder: Path) -> Path:
    """Debian's fancontrol, unpacked from its package. Raises CalledProcessError when apt cannot fetch it."""
    subprocess.run(["apt-get", "download", "-q", "fancontrol"], cwd=folder, check=True, capture_output=True)
    package = next(folder.glob("fancontrol_*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, folder / "package"], check=True)
    return folder / "package" / "usr" / "sbin" / "fancontrol"


def tree(folder: Path, document: dict[str, Any]) -> DiskTree:
    """A tree with paths of its own."""
    folder.mkdir()
    document["paths"] = {
        "runtime": str(folder / "run"),
        "metrics": str(folder / "mi50_fand.prom"),
        "wanted_caps": str(folder / "wanted"),
    }
    (folder / "config.json").write_text(json.dumps(document))
    (folder / "proc").mkdir()  # of its own: here, fancontrol runs beside the daemon on purpose
    return DiskTree(Rig(document), folder / "sys")


def start_fand(folder: Path) -> Watched:
    """The daemon."""
    words = [sys.executable, "-m", "mi50_fand", "run", "--config", str(folder / "config.json")]
    words += ["--sysfs-root", str(folder / "sys"), "--proc-root", str(folder / "proc")]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    return Watched("mi50-fand", subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL))


def start_fancontrol(script: Path, folder: Path, made: DiskTree) -> Watched:
    """fancontrol at 1 s on the first card's junction."""
    rig = made.rig
    pwm = made.root / rig.chip.base / f"pwm{rig.blower().config.channel}"
    temp = made.root / rig.card.base / "temp2_input"
    settings = {"INTERVAL": "1", "FCTEMPS": f"{pwm}={temp}"}
    settings |= {"MINTEMP": f"{pwm}=45", "MAXTEMP": f"{pwm}=90", "MINSTART": f"{pwm}=80", "MINSTOP": f"{pwm}=64"}
    config = folder / "fancontrol.conf"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return Watched("fancontrol", subprocess.Popen(["bash", script, config], stdout=subprocess.DEVNULL))


def measure(seconds: float, example: str) -> str:
    """Run both for so long and return the table."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        folder = Path(name)
        script = fancontrol_script(folder)
        document = json.loads((ROOT / "tests" / "fixtures" / "fand" / f"{example}.json").read_text())
        trees = [tree(folder / side, json.loads(json.dumps(document))) for side in ("fand", "fancontrol")]
        stop = threading.Event()
        plants = [threading.Thread(target=_live, args=(made, stop)) for made in trees]
        for plant in plants:
            plant.start()
        watched = [start_fand(folder / "fand"), start_fancontrol(script, folder, trees[1])]
        try:
            return _watch(watched, seconds)
        finally:
            for one in watched:
                one.process.terminate()
                one.process.wait()
            stop.set()
            for plant in plants:
                plant.join()


def _live(made: DiskTree, stop: threading.Event) -> None:
    for die in made.rig.dies.values():
        die.load = 100.0
    while not stop.wait(0.5):
        made.sync(0.5)


def _watch(watched: list[Watched], seconds: float) -> str:
    time.sleep(WARM_UP)
    for one in watched:
        one.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for one in watched:
            one.sample()
        time.sleep(min(10.0, max(0.1, end - time.monotonic())))
    head = "| | resident at start, MB | most, MB | proportional, MB | CPU | of one core |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(one.row() for one in watched), "", machine()])


def machine() -> str:
    """What it was measured on."""
    model = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0].lstrip("\t: ")
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}, {model or platform.machine()}."
    )


def write(seconds: float, example: str) -> str:
    """Measure and write the table into the document; returns it."""
    text = measure(seconds, example)
    insert("footprint", text)
    return text
