"""Read `apt-cache policy PACKAGE…`: candidates, and where installed versions come from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

STATUS = "/var/lib/dpkg/status"


@dataclass
class Policy:
    """One package. `origins` are the addresses (`URI suite/component`) that offer the installed version."""

    installed: str = ""
    candidate: str = ""
    origins: list[str] = field(default_factory=list)


def parse(output: str) -> dict[str, Policy]:
    """Packages by name; unknown ones are absent, as in apt's own output. Expects LC_ALL=C."""
    found: dict[str, Policy] = {}
    current = Policy()
    version_is_installed = False
    for line in output.splitlines():
        if line and not line[0].isspace():
            current = found.setdefault(line.rstrip(":"), Policy())
        elif line.startswith("  Installed: "):
            current.installed = _known(line)
        elif line.startswith("  Candidate: "):
            current.candidate = _known(line)
        elif re.match(r" (\*\*\*|   ) \S+( \d+)?$", line):
            version_is_installed = line.startswith(" ***")
        elif version_is_installed and STATUS not in line:
            source = re.match(r"\s+-?\d+ (\S+ \S+)", line)
            if source:
                current.origins.append(source.group(1))
    return found


def _known(line: str) -> str:
    value = line.split(": ", 1)[1].strip()
    return "" if value == "(none)" else value
