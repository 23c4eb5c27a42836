"""Which proxy a request would use, and where that was set: a broken proxy nobody remembers is the usual cause."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .model import Proxy

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]+)\s*=\s*(.*?)\s*$")
_APT_LINE = re.compile(r'^Acquire::(https?)::Proxy(?:::([^\s"]+))?\s+"([^"]*)";', re.IGNORECASE)


@dataclass(frozen=True)
class ProxySettings:
    """Proxy settings by scheme from every place that can hold one."""

    variables: dict[str, str] = field(default_factory=dict)  # scheme -> URL, from mi50_http_proxy and mi50_https_proxy
    no_proxy: str = ""
    environment: dict[str, str] = field(default_factory=dict)  # lower-case names, from /etc/environment
    environment_file: str = "/etc/environment"
    apt: dict[str, str] = field(default_factory=dict)  # "http", "https" or "http:host" -> URL or DIRECT
    apt_files: dict[str, str] = field(default_factory=dict)  # the same keys -> file


def read_environment_file(path: Path) -> dict[str, str]:
    """Return the assignments of /etc/environment with lower-case names; a missing file has none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        if match and not line.lstrip().startswith("#"):
            found[match.group(1).lower()] = match.group(2).strip("\"'")
    return found


def parse_apt_dump(text: str) -> dict[str, str]:
    """Return the proxies in the output of `apt-config dump`, by scheme or scheme:host; empty values are not set."""
    found = {}
    for line in text.splitlines():
        match = _APT_LINE.match(line)
        if match and match.group(3):
            scheme, host, value = match.group(1).lower(), match.group(2), match.group(3)
            found[f"{scheme}:{host}" if host else scheme] = value
    return found


def _apt_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield apt's configuration files under `root` that can be read, with their text."""
    apt = root / "etc/apt"
    for path in [apt / "apt.conf", *sorted((apt / "apt.conf.d").glob("*"))]:
        with contextlib.suppress(OSError):
            yield path, path.read_text(encoding="utf-8", errors="replace")


def mentions_proxy(root: Path) -> bool:
    """Tell whether apt may have a proxy: some file says so, or includes another. Asking apt-config costs more."""
    return any(word in text.lower() for _path, text in _apt_files(root) for word in ("proxy", "#include"))


def find_apt_file(value: str, root: Path) -> str:
    """Return the apt configuration file under `root` that holds a proxy value, as the node names it."""
    for path, text in _apt_files(root):
        if value in text:
            return f"/{path.relative_to(root)}"
    return "/etc/apt/apt.conf.d"


def bypasses(host: str, no_proxy: str) -> bool:
    """Return whether a no_proxy list names the host: exactly, as a parent domain, or with `*`."""
    for entry in no_proxy.replace(" ", ",").split(","):
        name = entry.strip().lower().split(":")[0].lstrip("*").lstrip(".")
        if entry.strip() == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
    return False


def effective_proxy(url: str, apt: bool, settings: ProxySettings) -> Proxy | None:
    """Return the proxy for a URL, or None for a direct connection.

    apt asks its own configuration first, then the environment (apt-transport-http(1)). Everything else uses the
    inventory's variables, then /etc/environment.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if apt:
        for key in (f"{parts.scheme}:{host}", parts.scheme):
            if settings.apt.get(key):
                value = settings.apt[key]
                return None if value.upper() == "DIRECT" else Proxy(value, settings.apt_files.get(key, "apt.conf"))
    if bypasses(host, settings.no_proxy) or bypasses(host, settings.environment.get("no_proxy", "")):
        return None
    if settings.variables.get(parts.scheme):
        return Proxy(settings.variables[parts.scheme], f"mi50_{parts.scheme}_proxy")
    value = settings.environment.get(f"{parts.scheme}_proxy", "")
    return Proxy(value, settings.environment_file) if value else None
