"""Time and peak memory of the module beside GNU tar's selective extraction and beside the manual way, in one run."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lab.mirror import rocblas
from tests.proofs import payload
from tests.proofs.material import Packages

WANTED = "*gfx906*"
WINDOW_LOG = 25
EVERY = 0.005  # seconds between two looks at the processes


class Row(NamedTuple):
    """One thing to measure; `before` makes its starting state and is not timed."""

    package: str
    kind: str
    what: str
    command: list[str]
    written: str
    before: Callable[[], None]


class Cost(NamedTuple):
    """Seconds of wall and of processor time; the peaks of all processes added up and of Python's alone, in MiB."""

    seconds: float
    cpu: float
    mib: float
    python: float


class Memory:
    """Looks at a process and all that it starts, until stopped; the kernel itself keeps each one's peak."""

    def __init__(self, pid: int) -> None:
        """Begin to look."""
        self._peaks: dict[int, tuple[str, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(pid,), daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, float]:
        """MiB of all processes, and of Python's."""
        self._stop.set()
        self._thread.join()
        both = [(name, kib / 1024) for name, kib in self._peaks.values()]
        return sum(mib for dummy, mib in both), sum(mib for name, mib in both if name.startswith("python"))

    def _look(self, pid: int) -> None:
        while not self._stop.wait(EVERY):
            self._visit(pid)

    def _visit(self, pid: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            if "VmHWM" in fields:
                self._peaks[pid] = (fields["Name"].strip(), int(fields["VmHWM"].split()[0]))
            for task in Path(f"/proc/{pid}/task").iterdir():
                for child in (task / "children").read_text().split():
                    self._visit(int(child))


def cost(command: list[str]) -> Cost:
    """Run a command to its end; RuntimeError unless it succeeds."""
    started, used = time.monotonic(), _used()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        memory = Memory(child.pid)
        output = child.communicate()[0]
    seconds = time.monotonic() - started
    mib, python = memory.stop()
    if child.returncode:
        raise RuntimeError(f"{command}: {output.decode(errors='replace')[-2000:]}")
    return Cost(seconds, _used() - used, mib, python)


def _used() -> float:
    """Processor seconds of every finished child so far, and of theirs."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


class Place:
    """A ROCm prefix as AMD ships it, room for tar, and the module's programs."""

    def __init__(self, packages: Packages, folder: Path) -> None:
        """Lay everything out in `folder`."""
        wide = _widened(packages.arch, folder)
        self.sources = {"arch": packages.arch, "wide": wide, "deb": packages.deb, "one": packages.deb}
        self.room = folder / "unpacked"
        self.prefix = folder / "opt/rocm-6.4.3"
        self.library = self.prefix / "lib/rocblas/library"
        members = rocblas.amd(rocblas.members(packages.deb), everything=False, with_gfx906=False)
        rocblas.unpack(packages.deb, members, self.library)
        (self.prefix / "lib/librocblas.so.4.4").write_bytes(b"")
        text = payload.build(folder)
        arguments: dict[str, dict[str, object]] = {
            "install": {},
            "unchanged": {},
            "every byte": {"verify": "sha256"},
            "remove": {"state": "absent"},
        }
        self.programs: dict[tuple[str, str], list[str]] = {}
        for package, source in self.sources.items():
            for name, extra in arguments.items():
                given = {"src": str(source), "dest": [str(self.prefix)], "threads": int(package == "one"), **extra}
                program = payload.write(text, folder / f"{package} {name}.py", **given)
                self.programs[package, name] = [sys.executable, str(program)]

    def empty(self) -> None:
        """Nothing installed, nothing unpacked, nothing left for the disk to write from what ran before."""
        payload.run(Path(self.programs["arch", "remove"][1]))
        shutil.rmtree(self.room, ignore_errors=True)
        (self.room / "copy").mkdir(parents=True)
        os.sync()

    def as_it_is(self) -> None:
        """The state that the row before left."""


def _widened(package: Path, folder: Path) -> Path:
    """The same package with a window of 32 MiB, as Arch's own builders have it (zstd --ultra -20)."""
    target = folder / "wide.pkg.tar.zst"
    wide = f"zstd -dcq '{package}' | zstd -q -1 -T0 --zstd=wlog={WINDOW_LOG} -o '{target}'"
    subprocess.run(["sh", "-c", wide], check=True)
    return target


def _data_at(deb: Path) -> int:
    """Where in a .deb the data.tar begins, counted from 1 as tail does."""
    at = len("!<arch>\n")
    with deb.open("rb") as stream:
        while True:
            stream.seek(at)
            header = stream.read(60)
            if header.startswith(b"data.tar.xz"):
                return at + len(header) + 1
            size = int(header[48:58])
            at += len(header) + size + size % 2


def rows(place: Place) -> list[Row]:
    """What is measured, in this order."""
    found = []
    room, copy = place.room, place.room / "copy"
    one = place.sources["one"]
    ways = {
        "arch": (".pkg.tar.zst", f"tar -x --zstd -f '{place.sources['arch']}' -C '{room}'"),
        "wide": (".pkg.tar.zst, 32 MiB window", f"tar -x --zstd -f '{place.sources['wide']}' -C '{room}'"),
        "deb": (".deb (xz)", f"dpkg-deb --fsys-tarfile '{place.sources['deb']}' | tar -x -C '{room}'"),
        "one": (
            ".deb (xz), one thread",
            f"tail -c +{_data_at(one)} '{one}' | XZ_DEFAULTS=-T1 tar -x -J -C '{room}'",
        ),
    }
    for package, (name, unpack) in ways.items():
        by_hand = f"{unpack} && find '{room}' -name '{WANTED}' -type f -exec cp -t '{copy}' {{}} +"
        selective = f"{unpack} --wildcards '{WANTED}'"
        tools = [
            ("manual", "by hand: unpack everything, copy the files", by_hand, "4.3 GB"),
            ("tar", "GNU tar, these files only", selective, "142 MB"),
        ]
        found += [Row(name, kind, what, ["sh", "-c", text], size, place.empty) for kind, what, text, size in tools]
        module = [
            ("install", "gfx906_rocblas, first run", "142 MB", place.empty),
            ("unchanged", "gfx906_rocblas, unchanged", "0", place.as_it_is),
            ("every byte", "gfx906_rocblas, unchanged, `verify: sha256`", "0", place.as_it_is),
            ("remove", "gfx906_rocblas, `state: absent`", "0", place.as_it_is),
        ]
        found += [
            Row(name, kind, what, place.programs[package, kind], size, first) for kind, what, size, first in module
        ]
    return found


def measure(packages: Packages, rounds: int, folder: Path) -> dict[str, Any]:
    """Run every row once a round; return medians, peaks being the highest of all rounds."""
    place = Place(packages, folder)
    everything = rows(place)
    for path in place.sources.values():
        with path.open("rb") as stream:
            while stream.read(1 << 20):
                pass
    costs: list[list[Cost]] = [[] for dummy in everything]
    for number in range(rounds):
        for row, found in zip(everything, costs):
            row.before()
            found.append(cost(row.command))
            print(
                f"round {number + 1}: {row.package} {row.what}: {found[-1].seconds:.2f} s", file=sys.stderr, flush=True
            )
    table = [
        {
            "package": row.package,
            "is": row.kind,
            "what": row.what,
            "written": row.written,
            "s": round(statistics.median(one.seconds for one in found), 3),
            "cpu": round(statistics.median(one.cpu for one in found), 3),
            "all s": [round(one.seconds, 3) for one in found],
            "mib": round(max(one.mib for one in found), 1),
            "python": round(max(one.python for one in found), 1),
        }
        for row, found in zip(everything, costs)
    ]
    return {"rounds": rounds, "load": round(os.getloadavg()[0], 1), "rows": table}
