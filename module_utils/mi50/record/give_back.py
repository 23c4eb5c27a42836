"""Give a node back what it was: packages that came with the roles, memberships, groups, marks, folders.

Runs after every role has removed what is its own. A package goes when nothing else on the node needs it; which ones do,
apt decides: it is asked what it would remove on its own, had nobody asked for our packages by name.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from ..apt import cut
from . import ledger, look

# Runs a command; returns its exit code and its output, both streams.
Runner = Callable[[list[str]], tuple[int, str]]
# A machine without our packages never had them because something suggested or recommended them.
_STRICT = ("-o", "APT::AutoRemove::RecommendsImportant=false", "-o", "APT::AutoRemove::SuggestsImportant=false")
_REMOVED = re.compile(r"^(?:Remv|Purg) (\S+) ", re.MULTILINE)
_NAMES = re.compile(r"[a-z0-9][a-z0-9+.-]+")


class GiveBackError(Exception):
    """Nothing was removed, or not everything; the text says why."""


class Plan(NamedTuple):
    """What is given back, and what stays: name to the reason."""

    purge: list[str]
    stay: dict[str, str]
    members: list[list[str]]
    groups: list[str]
    marks: list[str]
    make: list[str]
    remove: list[str]

    def changes(self) -> bool:
        """Whether anything is left to do; folders that hold something are none of it."""
        return bool(self.purge or self.members or self.groups or self.marks or self.make or self.remove)


def plan(record: ledger.Record, keep: Collection[str], run: Runner, root: Path = Path("/")) -> Plan:
    """Return what is to be given back. Raises GiveBackError when apt cannot be asked, OSError."""
    seen = look.look(root)
    record = ledger.end(record, seen)
    first = record["first"] or seen
    status = look.installed(root)
    ours = [name for name in record["packages"] if name in status]
    wanted = _recommended(status, {*ours, *first["packages"]})
    stay = {name: "mi50_keep_packages names it" for name in ours if name in keep}
    stay.update({name: f"{wanted[name]} recommends it" for name in ours if name in wanted and name not in stay})
    free = [name for name in ours if name not in stay]
    purge = sorted(_removable(free, stay, run, root) & set(free)) if free else []
    stay.update({name: "another package needs it" for name in free if name not in purge})
    gone = {name: number for name, number in seen["groups"].items() if name not in first["groups"]}
    primary = {ids[1] for ids in seen["users"].values()}
    return Plan(
        purge,
        stay,
        [one for one in record["members"] if one[1] in seen["members"].get(one[0], [])],
        [
            name
            for name in record["groups"]
            if name in gone and gone[name] not in primary and _ours(name, record["members"], seen["members"])
        ],
        [name for name in record["marks"] if name in status and name not in seen["auto"]],
        [path for path, there in first["folders"].items() if there and not (root / path[1:]).exists()],
        [path for path, there in first["folders"].items() if not there and look.empty(root / path[1:])],
    )


def _ours(group: str, members: list[list[str]], now: Mapping[str, list[str]]) -> bool:
    """Whether everybody in a group came with us."""
    return all([group, user] in members for user in now.get(group, []))


def _recommended(status: Mapping[str, Mapping[str, str]], known: Collection[str]) -> dict[str, str]:
    """Name to who recommends it, of packages that somebody installed after us: they may rely on ours."""
    return {
        name: package
        for package, fields in status.items()
        if package not in known
        for name in _NAMES.findall(re.sub(r"\([^)]*\)|\[[^]]*\]", " ", fields["Recommends"]))
    }


def _removable(free: list[str], stay: Collection[str], run: Runner, root: Path) -> set[str]:
    """What apt would remove by itself, were `free` packages that nobody asked for by name."""
    marks = root / look.MARKS
    with tempfile.TemporaryDirectory(prefix="mi50-record-") as scratch:
        copy = Path(scratch) / "extended_states"
        copy.write_text(_marked(marks.read_text(encoding="utf-8") if marks.exists() else "", free, stay), "utf-8")
        code, said = run(["apt-get", "-s", *_STRICT, "-o", f"Dir::State::extended_states={copy}", "autoremove"])
    if code:
        raise GiveBackError(f"apt cannot tell what needs the packages: {_end(said)}. Nothing was removed")
    return set(_REMOVED.findall(said))


def _marked(text: str, auto: Collection[str], manual: Collection[str]) -> str:
    """The file of apt's marks with other marks for these packages."""
    ours = {*auto, *manual}
    rest = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if (
            block.strip()
            and not {fields.get("Package"), f"{fields.get('Package')}:{fields.get('Architecture')}"} & ours
        ):
            rest.append(block)
    for name in sorted(auto):
        package, _colon, arch = name.partition(":")
        line = f"Package: {package}\nArchitecture: {arch or _native()}\nAuto-Installed: 1"
        rest.append(line)
    return "\n\n".join(rest) + "\n"


def _native() -> str:
    """ROCm, and with it this project, is for this architecture alone (preflight: os.arch)."""
    return "amd64"


def apply(wanted: Plan, run: Runner, root: Path = Path("/")) -> None:
    """Do it, in an order that can be begun again. Raises GiveBackError, OSError."""
    if wanted.purge:
        words = ["-o", "APT::Get::AutomaticRemove=false", "purge", *wanted.purge]
        code, said = run(["apt-get", "-s", *words])
        more = sorted(set(_REMOVED.findall(said)) - set(wanted.purge))
        if code or more:
            why = f"it would also remove {', '.join(more[:5])}" if more else _end(said)
            raise GiveBackError(
                f"apt does not remove the packages: {why}. Name those that shall stay in mi50_keep_packages"
            )
        # The mark tells the next run whose it was, should it be cut off.
        _must(["apt-get", "-y", "-q", "-o", cut.MARK, "-o", "DPkg::Lock::Timeout=120", *words], run)
    needed = [name for name, why in wanted.stay.items() if why.startswith("another")]
    marks = [*wanted.marks, *needed]
    if marks:
        _must(["apt-mark", "auto", *marks], run)
    for group, user in wanted.members:
        _must(["gpasswd", "-d", user, group], run)
    for group in wanted.groups:
        _must(["groupdel", group], run)
    for path in wanted.make:
        (root / path[1:]).mkdir(mode=0o755, parents=True, exist_ok=True)
    for path in wanted.remove:
        if look.empty(root / path[1:]):
            (root / path[1:]).rmdir()


def sweep(record: ledger.Record, root: Path = Path("/")) -> None:
    """Remove folders that were not there before and are empty by now, the deepest first."""
    for path, there in (record["first"] or {"folders": {}})["folders"].items():
        if not there and look.empty(root / path[1:]):
            (root / path[1:]).rmdir()


def _must(words: list[str], run: Runner) -> None:
    code, said = run(words)
    if code:
        raise GiveBackError(f"`{' '.join(words[:6])}` ended with {code}: {_end(said)}. Run the playbook again")


def _end(said: str) -> str:
    """The last words of a program, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return " ".join((errors or lines)[-3:])[:400]
