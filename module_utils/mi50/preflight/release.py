"""What a signed Release file has to say, by apt's own rules (apt-secure(8), Debian's repository format). Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz
from typing import NamedTuple

from ..apt import openpgp

FUTURE_S = 10.0  # apt's Acquire::Max-FutureTime
# From the strongest compression to none, the forms apt knows that AMD's and Debian's tools write.
FORMS = (".xz", ".gz", ".bz2", "")
ARCH = "amd64"
_WEAK = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}  # RFC 9580 section 9.5; apt trusts none of them
_HASH_FIELD, _PRIMARY_FIELD = 7, 9  # of VALIDSIG, GnuPG doc/DETAILS
# A status line of gpgv -> what it means, when there is no valid signature of the pinned key. The first match wins.
_REFUSED = (
    ("EXPKEYSIG", "expired_signature", "the key that signed it has expired"),
    ("EXPSIG", "expired_signature", "its signature has expired"),
    ("REVKEYSIG", "expired_signature", "the key that signed it was revoked"),
)


class Problem(Exception):
    """A repository that apt would refuse; the text says what was found."""

    def __init__(self, kind: str, text: str, expected: str = "", url: str = "") -> None:
        """`kind` is a key of check_repository.REMEDIES; `url` the file, the InRelease when empty."""
        super().__init__(text)
        self.kind = kind
        self.expected = expected
        self.url = url


class Index(NamedTuple):
    """One package list: where it is below the suite's folder, and what was signed for it."""

    path: str
    sha256: str
    size: int


def check_signature(status: str, pinned: str) -> None:
    """Read gpgv's status lines, verified against the pinned key alone. Raises Problem unless apt would accept."""
    lines = [line.split()[1:] for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    words = {line[0]: line[1:] for line in reversed(lines) if line}
    if "BADSIG" in words:
        raise Problem("changed", "the file was changed after it was signed")
    for word, kind, text in _REFUSED:
        if word in words:
            raise Problem(kind, text)
    valid = words.get("VALIDSIG", [])
    if "GOODSIG" in words and len(valid) > _PRIMARY_FIELD and valid[_PRIMARY_FIELD] == pinned:
        if valid[_HASH_FIELD] in _WEAK:
            raise Problem("weak", f"signed with {_WEAK[valid[_HASH_FIELD]]}, which apt no longer trusts")
        return
    stranger = words.get("ERRSIG")
    if stranger:
        # The last field is the fingerprint where the signature carries one.
        name = stranger[-1] if re.fullmatch(r"[0-9A-F]{40,64}", stranger[-1]) else stranger[0]
        raise Problem("stranger", f"signed by the key {openpgp.format_fingerprint(name)}, not by the pinned one")
    raise Problem("unsigned", "no OpenPGP signature in it")


def fields_of(text: str) -> dict[str, str]:
    """Fields of a Release file by lower-case name; continuation lines keep their line ends."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            found[name] = f"{found.get(name, '')}\n{line}"
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.lower()
            found[name] = value.strip()
    return found


def _seconds(value: str, name: str) -> float:
    parsed = parsedate_tz(value)
    if parsed is None:
        raise Problem("malformed", f"{name} {value!r} is no date")
    return float(mktime_tz(parsed))


def check_fields(text: str, origin: str, now: float) -> dict[str, str]:
    """Check Origin, Date and Valid-Until of a signed Release file; return its fields. Raises Problem."""
    fields = fields_of(text)
    found = fields.get("origin", "")
    if found != origin:
        raise Problem(
            "origin", f"Origin is {found!r}, expected {origin!r}", f"Origin {origin}: the pin holds for no other"
        )
    if "date" in fields and _seconds(fields["date"], "Date") > now + FUTURE_S:
        raise Problem("future", f"Date {fields['date']} is in the future", "not later than the node's clock")
    if "valid-until" in fields and _seconds(fields["valid-until"], "Valid-Until") < now:
        raise Problem("outdated", f"Valid-Until {fields['valid-until']} is past", "later than the node's clock")
    return fields


def indexes(fields: dict[str, str], component: str) -> Iterator[Index]:
    """Yield the package lists of a component, the one apt would take first. Raises Problem when none is signed for."""
    listed: dict[str, Index] = {}
    for line in fields.get("sha256", "").splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1].isdigit():
            listed[parts[2]] = Index(parts[2], parts[0].lower(), int(parts[1]))
    names = [f"{component}/binary-{ARCH}/Packages{form}" for form in FORMS]
    chosen = [listed[name] for name in names if name in listed]
    if not chosen:
        raise Problem("no_index", f"lists no {names[-1]} with a SHA256", f"component {component} for {ARCH}")
    yield from chosen


def compare(index: Index, data: bytes, url: str) -> None:
    """Raise Problem when a package list is not the one that was signed for."""
    found = hashlib.sha256(data).hexdigest()
    if (len(data), found) != (index.size, index.sha256):
        expected = f"{index.size} bytes, SHA256 {index.sha256}"
        text = f"not what InRelease was signed for: {len(data)} bytes, SHA256 {found}, expected {expected}"
        raise Problem("tampered", text, expected, url)
