"""The distribution's own repositories, as the mirror's host is configured to reach them: nothing here names a host."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import MirrorError

# Runs a command given as a list; returns (return code, standard output).
Runner = Callable[[list[str]], tuple[int, str]]
ORIGINS = {"debian": "Debian", "ubuntu": "Ubuntu"}
_FORMAT = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(ORIGIN)"


def platform(root: Path) -> str:
    """Return ID-VERSION_ID of os-release."""
    try:
        text = (root / "etc/os-release").read_text(encoding="utf-8")
    except OSError as error:
        raise MirrorError(f"/etc/os-release: cannot be read: {error.strerror}.") from None
    found = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.MULTILINE))
    return f"{found.get('ID', '')}-{found.get('VERSION_ID', '')}"


def own(root: Path, run: Runner) -> list[dict[str, Any]]:
    """Return the repositories of this host's distribution that its apt knows, one a suite, for its own platform."""
    here = platform(root)
    name = here.partition("-")[0]
    code, output = run(["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"])
    if code:
        raise MirrorError("apt-get indextargets failed on this host: run apt-get update there and look at its errors.")
    found: dict[str, dict[str, Any]] = {}
    for line in output.splitlines():
        uri, release, component, signed, origin = (line.split("|") + [""] * 5)[:5]
        if origin != ORIGINS.get(name, "-") or not uri.startswith(("http://", "https://")):
            continue
        keyring = signed if signed.startswith("/") else f"/usr/share/keyrings/{name}-archive-keyring.gpg"
        one = found.setdefault(
            release,
            {
                "platform": here,
                "name": re.sub(r"[^a-z0-9.-]", "-", release),
                "url": uri.rstrip("/"),
                "suite": release,
                "components": [],
                "keyring": keyring,
            },
        )
        if component not in one["components"]:
            one["components"].append(component)
    return [found[release] for release in sorted(found)]
