"""What the testinfra tests of every scenario share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def journal(host: Any, *units: str) -> Iterator[None]:
    """On a failed assertion print the journal (of these units, or its end) before the error goes on."""
    try:
        yield
    except AssertionError:
        selection = " ".join(f"-u {unit}" for unit in units)
        print(host.run(f"journalctl --no-pager -n 80 {selection}").stdout)
        raise


def installed_versions(host: Any) -> dict[str, str]:
    """Fully installed packages: name to version."""
    listing = host.check_output("dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'")
    rows = (line.split() for line in listing.splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "ii"}
