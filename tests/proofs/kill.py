"""Kill the module at random moments, then run it again: the library ends whole, or `absent` gives it back as it was.

What is killed is the program that Ansible sends to a node, with SIGKILL. Half of the kills fall anywhere in the run, so
mostly while the package is read; the other half fall into the few milliseconds in which files move, which the journal
announces. In between the question is what rocBLAS would load at that moment: it opens the lazy index first, so a
library that has one must hold one whole set, the old or the new.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.proofs import payload
from tests.proofs.archives import VERSIONS, Packer
from tests.proofs.material import Material
from tests.unit.rocblas.synthetic import Files

PRIVATE = ".gfx906_rocblas"
JOURNAL = f"{PRIVATE}.journal"
# Long enough for the renames of a real set on a slow disk.
MOVING = 0.03
AGAIN = 0.3  # how often a run that mends is killed itself


class Verb(NamedTuple):
    """A program to run, and the set of gfx906 files it ends with."""

    program: Path
    ends_with: Files


class Story(NamedTuple):
    """From one whole state to another; `start` leads there from the library as it was first."""

    name: str
    start: list[Verb]
    killed: Verb
    before: Files


class Stage:
    """One library that somebody else's gfx906 files lie in, or none, and the programs."""

    def __init__(self, material: Material, folder: Path, own: Files, sources: dict[str, Path]) -> None:
        """Lay the library out in `folder`; `own` are files that were there before us; `sources` are two packages."""
        self.own, self.index = own, material.index
        self.library = material.prefix(folder) / "lib/rocblas/library"
        for name, data in own.items():
            (self.library / name).write_bytes(data)
        self.first = self.snapshot()
        text = payload.build(folder)
        common = {"dest": [str(folder)], "state": "present", "version": VERSIONS["arch"]}
        sets = {"one": material.kernels, "other": other_build(material.kernels)}
        self.install = {
            name: Verb(payload.write(text, folder / f"{name}.py", src=str(source), **common), sets[name])
            for name, source in sources.items()
        }
        self.absent = Verb(payload.write(text, folder / "absent.py", dest=[str(folder)], state="absent"), own)

    def stories(self) -> list[Story]:
        """What may be interrupted."""
        one, other = self.install["one"], self.install["other"]
        return [
            Story("installation", [], one, self.own),
            Story("replacement by another build", [one], other, one.ends_with),
            Story("removal", [one], self.absent, one.ends_with),
        ]

    def snapshot(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Mode, owner, time and bytes of everything that is not the module's own."""
        found = {}
        for path in sorted(self.library.iterdir()):
            if not path.name.startswith(PRIVATE):
                status = path.lstat()
                found[path.name] = (status.st_mode, status.st_uid, status.st_mtime_ns, path.read_bytes())
        return found

    def present(self) -> Files:
        """The gfx906 files that lie in the library now."""
        names = [path.name for path in self.library.iterdir() if "gfx906" in path.name and path.name[0] != "."]
        return {name: (self.library / name).read_bytes() for name in names}

    def leftovers(self) -> set[str]:
        """The module's own files."""
        return {path.name for path in self.library.iterdir() if path.name.startswith(PRIVATE)}


def other_build(kernels: Files) -> Files:
    """Another build of the same release: every code object has other bytes, the catalogs are the same."""
    return {name: data if name.endswith(".dat") else data + bytes(16) for name, data in kernels.items()}


def run(verb: Verb) -> dict[str, object]:
    """Let a program end by itself; RuntimeError unless it succeeds."""
    result = payload.run(verb.program)
    if result["rc"]:
        raise RuntimeError(f"{verb.program.name}: {result.get('msg')}")
    return result


def kill(verb: Verb, rng: random.Random, seconds: float, library: Path) -> str:
    """Start a program that takes about `seconds` and kill it; say how far it was, `too late` when that was too late."""
    journal = library / JOURNAL
    # A journal that is there already says nothing about this run.
    moving = not journal.exists() and rng.random() < 0.5
    latest = time.monotonic() + (10 * seconds if moving else rng.uniform(0, 1.05 * seconds))
    command = [sys.executable, str(verb.program)]
    unpacked = payload.surroundings(verb.program)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, env=unpacked) as child:
        while child.poll() is None and time.monotonic() < latest and not (moving and journal.exists()):
            time.sleep(0.0002)
        if moving:
            time.sleep(MOVING * rng.random() ** 3)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    if child.returncode == 0:
        return "too late"
    if child.returncode != -signal.SIGKILL:
        raise RuntimeError(f"{verb.program.name}: exit code {child.returncode}")
    staging = library / f"{PRIVATE}.staging"
    return "moving files" if journal.exists() else "reading" if staging.exists() else "before or after both"


def trial(stage: Stage, story: Story, rng: random.Random, seconds: float) -> tuple[int, str, list[str]]:
    """One story with one kill or more; return the kills, where the first one hit, and what is wrong afterwards."""
    for verb in story.start:
        run(verb)
    kills, place, wrong = 0, "", []
    while True:
        hit = kill(story.killed, rng, seconds, stage.library)
        place = place or hit
        kills += hit != "too late"
        if (stage.library / stage.index).exists() and stage.present() not in (story.before, story.killed.ends_with):
            wrong.append("a mixed set that rocBLAS would load")
        if hit == "too late" or rng.random() > AGAIN:
            break
    ending = rng.choice([story.killed, stage.absent])
    run(ending)
    if stage.present() != ending.ends_with:
        wrong.append(f"{ending.program.name} does not end whole")
    run(stage.absent)
    if stage.snapshot() != stage.first:
        wrong.append("absent does not give everything back")
    if stage.leftovers():
        wrong.append(f"left behind: {stage.leftovers()}")
    return kills, place, wrong


def prove(material: Material, count: int, first: int, folder: Path) -> dict[str, object]:
    """Kill `count` times or a little more, in trials numbered from `first`; `failed` of the result went wrong."""
    sources = {}
    for name, kernels in (("one", material.kernels), ("other", other_build(material.kernels))):
        sources[name] = folder / f"{name}.pkg.tar.zst"
        sources[name].write_bytes(Packer(material._replace(kernels=kernels), "arch", "zst").good)
    own = {**dict(list(material.kernels.items())[:3]), material.index: b"another index", "old_gfx906.co": b"old"}
    stages = []
    for name, files in (("empty", {}), ("occupied", own)):
        (folder / name).mkdir()
        stages.append(Stage(material, folder / name, files, sources))
    started = time.monotonic()
    run(stages[0].install["one"])
    seconds = time.monotonic() - started
    run(stages[0].absent)
    kills = trials = failed = 0
    places: collections.Counter[str] = collections.Counter()
    while kills < count:
        number = first + trials
        stage = stages[number % 2]
        story = stage.stories()[number // 2 % 3]
        rng = random.Random(number)  # noqa: S311 - reproducible, as far as a kill can be
        more, place, problems = trial(stage, story, rng, seconds)
        kills, trials = kills + more, trials + 1
        places[f"{story.name}: {place}"] += 1
        failed += bool(problems)
        if problems:
            print(f"FAILED trial {number}, {story.name}, killed while {place}: {'; '.join(problems)}", flush=True)
    return {
        "material": material.name,
        "first": first,
        "kills": kills,
        "trials": trials,
        "failed": failed,
        "first kill of a trial": dict(sorted(places.items())),
    }
