"""Is anything half-done on a node? Its own traces, and how it differs from one that nothing happened to."""

from __future__ import annotations

import dataclasses
import re

from lab import engine, nodes

# What must not be left: half-configured packages, half a download, an unfinished journal, a claim, a failed unit.
_STATES = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | grep -v -e '^ii ' -e '^rc '"
_NAMES = "-name '.*.part' -o -name '.*.part.json' -o -name '.*.journal*' -o -name '.*.staging*' -o -name '*.dpkg-new'"
FOLDERS = "/opt /usr/local /etc /usr/share/keyrings /var/lib/mi50-aipc /var/cache/mi50-aipc"
TRACES = (
    f"dpkg --audit; {_STATES}; ls -A /var/lib/dpkg/updates; find {FOLDERS} {_NAMES} 2>/dev/null;"
    " ls /run/mi50-aipc/run.lock 2>/dev/null;"
    " systemctl list-units --all --no-legend --plain --state=failed,activating,reloading,deactivating; true"
)
# Records of times, durations and inode numbers: what counts is all of them but the numbers, which differ in length, and
# the proof's `of`, a digest over times and inode numbers.
_RECORDS = "-name .mi50-proof.json -o -name '*.refreshed.json' -o -name .gfx906_rocblas.json"
_NUMBERS = "sed -E 's/of.: .[0-9a-f]{64}/of/; s/-?[0-9]+([.][0-9]+)?(e[-+]?[0-9]+)?/0/g'"
LISTING = (
    f"find {FOLDERS} -name __pycache__ -prune -o -type d -printf '%p\\t%y\\t%m\\t\\n'"
    " -o -printf '%p\\t%y\\t%m\\t%s\\n' 2>/dev/null;"
    f" find {FOLDERS} -type f \\( {_RECORDS} \\) -printf '%p\\t%y\\t%m\\t' -exec sh -c \"{_NUMBERS}"
    " '{}' | md5sum | cut -c1-32\" ';' 2>/dev/null; true"
)
# A node's own: its names and keys, its history, what it built for others, and what distribution packages generate.
_OWN = re.compile(
    r"/etc/(hostname|hosts|resolv\.conf|mtab|machine-id|ld\.so\.cache|\.pwd\.lock|ssh/.*|passwd-?"
    r"|group-?|shadow-?|gshadow-?|subuid-?|subgid-?|apt/.*\.mi50\.disabled)$"
    r"|/var/lib/mi50-aipc/(record[^/]*$|build(/|$))|/var/cache/mi50-aipc/builds(/|$)"
)
_TEMPORARY = re.compile(r"/\.[^/]+$|\.(part|tmp|dpkg-new|dpkg-tmp)$")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One path of a node: what it is, its mode, and of a file its size in bytes."""

    kind: str
    mode: str
    size: str


def traces(name: str) -> str:
    """What is half-done on a node by its own word; empty for nothing. Raises LabError for a node that is down."""
    return engine.docker("exec", nodes.container(name), "sh", "-c", TRACES).stdout.strip()


def listing(name: str) -> dict[str, Entry]:
    """Everything in the folders that the project writes to, by path."""
    text = engine.docker("exec", nodes.container(name), "sh", "-c", LISTING).stdout
    return parse(text)


def parse(text: str) -> dict[str, Entry]:
    """The paths of a listing that are to be the same on every node."""
    found = {}
    for line in text.splitlines():
        path, kind, mode, size = line.split("\t")
        if not _OWN.search(path):
            found[path] = Entry(kind, mode, size)
    return found


def compare(node: dict[str, Entry], untouched: dict[str, Entry]) -> list[str]:
    """How a node differs from one that nothing happened to.

    A node may have more, such as a compiler that it built with, but no temporary files and nothing more below /opt.
    """
    found = [f"{path}: missing" for path in untouched if path not in node]
    for path, entry in node.items():
        other = untouched.get(path)
        if other is None:
            if path.startswith("/opt/") or _TEMPORARY.search(path):
                found.append(f"{path}: left over")
        elif entry != other:
            found.append(
                f"{path}: {' '.join(dataclasses.astuple(entry))}, elsewhere {' '.join(dataclasses.astuple(other))}"
            )
    return sorted(found)
