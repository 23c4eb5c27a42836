"""PyTorch's wheel index: which file is the wheel of a version for an interpreter, and where it lies.

The page of a project lists links (PEP 503); `#sha256=` behind one is what the index says of the file.
"""

from __future__ import annotations

import html.parser
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from ..fetch.download import proxy_for
from ..fetch.errors import Interrupted, explain, mask
from .model import Away, TorchEnvError, canonical

SECONDS = 60
_LIMIT = 64 << 20
_FILE = re.compile(r"^(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-(?P<tag>[^-]+-[^-]+-[^-]+)\.whl$")


class Link(NamedTuple):
    """A wheel on an index: its file name, address, and the sha256 the index states (empty when it does not)."""

    file: str
    url: str
    sha256: str


class Name(NamedTuple):
    """What the name of a wheel says."""

    name: str
    version: str
    python: str
    abi: str
    platform: str


def wheel_name(file: str) -> Name | None:
    """Read a wheel's name (PEP 427); None when it is none."""
    match = _FILE.match(file)
    if not match:
        return None
    python, abi, platform = match["tag"].split("-")
    return Name(canonical(match["name"]), match["version"], python, abi, platform)


def fits(name: Name, minor: str) -> bool:
    """Whether a wheel is for cpython `minor` on 64-bit Linux with the glibc of Ubuntu 22.04 or newer, or for all."""
    linux = any(part == "any" or re.match(r"(many)?linux.*_x86_64$", part) for part in name.platform.split("."))
    tag = "cp" + minor.replace(".", "")
    own = tag in name.python.split(".") and name.abi in (tag, "abi3", "none")
    return linux and (own or ("py3" in name.python.split(".") and name.abi == "none"))


def page(base: str, project: str) -> list[Link]:
    """Read the links of one project. Raises TorchEnvError when the page cannot be had."""
    url = f"{base.rstrip('/')}/{quote(project)}/"
    # A folder on a disk has no index page of its own making.
    address = f"{url}index.html" if url.startswith("file:") else url
    if urlsplit(address).scheme not in ("http", "https", "file"):
        raise TorchEnvError(f"{mask(base)}: no address of a wheel index; correct mi50_url_pytorch.")
    try:
        with urllib.request.build_opener().open(address, timeout=SECONDS) as answer:
            text = answer.read(_LIMIT).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        why = explain(address, error, proxy_for(address))
        kind = Away if isinstance(why, Interrupted) else TorchEnvError
        raise kind(f"{why} Or set mi50_url_pytorch to a mirror of PyTorch's index.") from None
    reader = _Links()
    reader.feed(text)
    return [link for href in reader.found if (link := _link(urljoin(url, href))).file.endswith(".whl")]


class _Links(html.parser.HTMLParser):
    """Collects the addresses of a page."""

    def __init__(self) -> None:
        """Start with none."""
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _link(url: str) -> Link:
    plain, fragment = urldefrag(url)
    digest = fragment[len("sha256=") :] if fragment.startswith("sha256=") else ""
    return Link(unquote(urlsplit(plain).path.rpartition("/")[2]), plain, digest.lower())


def choose(links: list[Link], project: str, version: str, minor: str) -> Link:
    """Return the wheel of this version for this Python. Raises TorchEnvError naming what there is instead."""
    named = [(link, name) for link in links if (name := wheel_name(link.file)) and name.name == canonical(project)]
    for link, name in named:
        if name.version == version and fits(name, minor):
            return link
    same = sorted({name.python for dummy, name in named if name.version == version})
    if same:
        raise TorchEnvError(
            f"{project} {version}: PyTorch has it for {', '.join(same)}, not for Python {minor}. Set pytorch_python to "
            "one of those, or mi50_stack to another stack."
        )
    have = sorted({name.version for dummy, name in named})[-6:]
    raise TorchEnvError(
        f"{project} {version}: the index has no such wheel (it has {', '.join(have) or 'none at all'}). Correct "
        "mi50_url_pytorch: a mirror may be incomplete."
    )


def expected(link: Link, locked: Mapping[str, str | None]) -> str:
    """The sha256 that counts for a wheel: the lock's, else the index's own; empty when neither says.

    Raises TorchEnvError when the two disagree, before anything is fetched.
    """
    known = (locked.get(link.file) or "").lower()
    if known and link.sha256 and known != link.sha256:
        raise TorchEnvError(
            f"{link.file}: the index {mask(link.url)} says sha256 {link.sha256}, the stack's lock says {known}. The "
            "file was changed upstream or on the way; nothing was fetched. Compare with a second source."
        )
    return known or link.sha256
