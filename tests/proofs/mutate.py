"""Give the module spoiled packages: it must refuse each with a clear error, change nothing, write nowhere else.

A spoiled package is tried without a signature and without a pinned digest, so that only the module's own proofs stand
between it and the library. Where what was spoiled is a byte that nobody reads (the date in a .deb's outer header), the
kernels that are installed must be the good ones byte for byte, and the same package must be refused once the digest is
pinned, as the role pins it. Such cases are counted apart.
"""

from __future__ import annotations

import collections
import hashlib
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mi50.rocblas.errors import RocblasError
from mi50.rocblas.request import Request
from mi50.rocblas.run import run

from tests.proofs import mutations
from tests.proofs.archives import VERSIONS, Packer
from tests.proofs.material import Material

FORMS = (("arch", "zst"), ("deb", "xz"), ("deb", "zst"))
HANGS_AFTER = 120  # seconds
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events that change a file system: positions of a path and of the directory it is relative to (-1: of none).
CHANGES = {
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, -1),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
}
SHOWN = 10


class Watch:
    """Notes every path this process changes, through Python's audit events; on for the rest of the process."""

    def __init__(self) -> None:
        """Start to listen."""
        self.paths: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.paths is None:
            return
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            self._note(arguments[0])
        for position, folder in CHANGES.get(event, ()):
            self._note(arguments[position], arguments[folder] if folder >= 0 else None)

    def _note(self, path: object, folder: object = None) -> None:
        # A path that is an open descriptor was noted when it was opened.
        if self.paths is not None and isinstance(path, (str, bytes, os.PathLike)):
            base = Path(f"/proc/self/fd/{folder}").readlink() if isinstance(folder, int) and folder >= 0 else Path()
            self.paths.append(str(base / os.fsdecode(path)))


class Case(NamedTuple):
    """One spoiled package: which seed made it, and what it is."""

    number: int
    form: tuple[str, str]
    mutation: str


class Bench:
    """A destination, a canary beside it, and the judge."""

    def __init__(self, material: Material, folder: Path) -> None:
        """Lay everything out in `folder`."""
        self.folder, self.material = folder, material
        self.rocm = material.prefix(folder / "opt/rocm-6.4.3")
        self.library = self.rocm / "lib/rocblas/library"
        (folder / mutations.CANARY).mkdir()
        (folder / mutations.CANARY / "keep").write_text("x")
        self.before = self.state()
        self.watch = Watch()

    def state(self) -> dict[str, tuple[int, ...]]:
        """Everything in the folder but the package on trial; a directory's own time is not its content."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            status = path.lstat()
            time = 0 if path.is_dir() else status.st_mtime_ns
            found[str(path.relative_to(self.folder))] = (status.st_mode, status.st_size, status.st_ino, time)
        return {name: value for name, value in found.items() if not name.startswith("trial")}

    def judge(self, data: bytes, form: tuple[str, str], good: bytes) -> tuple[str, str]:
        """`refused` or `harmless` with the module's words, or the sentence that makes the proof fail."""
        path = self.folder / ("trial.pkg.tar.zst" if form[0] == "arch" else "trial.deb")
        path.write_bytes(data)
        request = Request(str(self.rocm), src=str(path), version=VERSIONS[form[0]])
        verdict, words = self._try(request)
        if verdict == "installed":
            verdict, words = self._installed(request, good)
        if verdict in ("refused", "harmless") and self.state() != self.before:
            verdict, words = "FAILED", f"something is left behind: {self.state().keys() ^ self.before.keys()}"
        return verdict, words

    def _try(self, request: Request) -> tuple[str, str]:
        self.watch.paths = []
        signal.alarm(HANGS_AFTER)
        try:
            run(request)
            verdict, words = "installed", ""
        except RocblasError as error:
            verdict, words = "refused", str(error)
        except Exception:
            verdict, words = "FAILED", f"a traceback: {traceback.format_exc()}"
        finally:
            signal.alarm(0)
            paths, self.watch.paths = self.watch.paths, None
        stray = [path for path in paths if not self._allowed(path)]
        return ("FAILED", f"it wrote to {stray[:5]}") if stray else (verdict, words)

    def _allowed(self, path: str) -> bool:
        """The module's own files in the library; what it installs is looked at by itself."""
        if path == os.devnull:
            return True
        place = Path(path)
        if not place.is_absolute():
            return False
        parts = place.relative_to(self.library).parts if self.library in place.parents else ()
        return bool(parts) and ".." not in parts and (parts[0].startswith(".gfx906_rocblas") or len(parts) == 1)

    def _installed(self, request: Request, good: bytes) -> tuple[str, str]:
        """Harmless is only what installs the good kernels, and what a pinned digest refuses."""
        kernels = self.material.kernels
        installed = {path.name for path in self.library.iterdir() if "gfx906" in path.name and path.name[0] != "."}
        right = installed == set(kernels) and all((self.library / n).read_bytes() == d for n, d in kernels.items())
        run(request._replace(state="absent"))
        pinned = self._try(request._replace(sha256=hashlib.sha256(good).hexdigest()))
        if right and pinned[0] == "refused":
            return "harmless", "the good kernels, byte for byte; refused once the digest is pinned"
        return "FAILED", f"it installed {'the good kernels' if right else 'other kernels'}, pinned: {pinned}"


def cases(numbers: Iterable[int]) -> Iterator[Case]:
    """Every kind of damage and forgery in turn, over every form of package; the number is the seed."""
    every = [*mutations.DAMAGE, *mutations.FORGERY]
    for number in numbers:
        yield Case(number, FORMS[number // len(every) % len(FORMS)], every[number % len(every)].__name__)


def prove(material: Material, numbers: range, folder: Path) -> dict[str, Any]:
    """Try the cases with these numbers; return what became of them, with the number that failed as `FAILED`."""
    packers = {form: Packer(material, *form) for form in FORMS}
    bench = Bench(material, folder)
    for form, packer in packers.items():
        verdict, words = bench.judge(packer.good, form, packer.good)
        # Proves the judge as well: the good package is installed, and nothing refuses it once its digest is pinned.
        if verdict != "FAILED" or "installed the good kernels, pinned: ('installed'" not in words:
            raise RuntimeError(f"the good package of {form} is not installed: {words}")
        run(Request(str(bench.rocm), state="absent"))
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    total = collections.Counter({"refused": 0, "harmless": 0, "FAILED": 0})
    for case in cases(numbers):
        rng = random.Random(case.number)  # noqa: S311 - the same cases in every run
        packer = packers[case.form]
        data = getattr(mutations, case.mutation)(packer, rng)
        if data == packer.good:
            raise RuntimeError(f"{case}: nothing was changed")
        verdict, words = bench.judge(data, case.form, packer.good)
        counts[case.mutation, verdict] += 1
        total[verdict] += 1
        if verdict == "FAILED":
            if total[verdict] <= SHOWN:
                print(f"FAILED {case}: {words}", flush=True)
            run(Request(str(bench.rocm), state="absent"))
            bench.before = bench.state()
    listing = {f"{mutation}: {verdict}": n for (mutation, verdict), n in sorted(counts.items())}
    archives = {"material": material.name, "first": numbers.start, "archives": total.total()}
    return {**archives, **total, "by kind": listing}
