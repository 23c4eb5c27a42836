"""Take secrets, names, addresses and serial numbers out of text. Pure.

The same name becomes the same word everywhere in a bundle, so that a reader can still tell two machines apart. Rather
too much than too little: whatever looks like one of these goes, versions that look like an address with it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

REMOVED = "<removed>"
# Words that say that a value is secret, wherever they stand in the name of a setting.
SECRETIVE = (
    r"[A-Za-z0-9_.-]*(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|auth(?!or)"
    r"|credential|cookie|session[_-]?id|(?<![a-z])key(?![a-z_-]*(?:board|map|ring|file|s\.d)))[A-Za-z0-9_-]*"
)
_VALUE = r"(\[[^\]\n]*\]|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;\"'}\]]+)"
_HARMLESS = re.compile(r"(?i)[\"']?(?:true|false|null|none|yes|no|~|\{|\[|\$\{?\w+\}?|)[\"']?$")
# Names that hold such a word and yet tell where or how much, not what.
_PLACE = re.compile(r"(?i)(?:file|path|dir|ring|home)s?$")
_AMOUNT = re.compile(r"(?i)tokens|length|size|count|timeout|bits")
_NAMED = re.compile(rf"(?i){SECRETIVE}")
_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_SHAPES = (
    # What the vendors document: Hugging Face, OpenAI, GitHub, GitLab, Slack, AWS; JSON Web Tokens (RFC 7519); SSH keys.
    re.compile(r"\bhf_[A-Za-z0-9]{16,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,})"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\S+) AAAA[0-9A-Za-z+/=]+"),
    re.compile(r"\bSHA256:[0-9A-Za-z+/]{43}"),
    re.compile(r"\$(?:1|2[aby]?|5|6|7|y|gy)\$[^\s:]{8,}"),  # crypt(5)
)
_HEADER = re.compile(
    r"(?i)\b(authorization|proxy-authorization|x-api-key|cookie|set-cookie)(\"?\s*[:=]\s*\"?)[^\r\n\"]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_OPTION = re.compile(rf"(?i)(--?{SECRETIVE})(\s+|=){_VALUE}")
_SETTING = re.compile(rf"(?i)({SECRETIVE})([\"']?\s*[:=]\s*){_VALUE}")
_LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@'\"<>]+@", re.IGNORECASE)
# What people asked a model: engines write it into their logs when they are told to.
_ASKED = re.compile(r"(?im)(\b(?:prompt|messages)[\"']?\s*[:=]\s*)([\"'\[{].*)$")
_MAIL = re.compile(r"\b[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}\b", re.IGNORECASE)
_URL_HOST = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s/:'\"<>\]\[]+)", re.IGNORECASE)
_HOME = re.compile(r"(/home/|/Users/)([^/\s:'\"<>]+)")
_V4 = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?![\w]|\.\d)")
_V6 = re.compile(r"(?<![\w:.])([0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:%\w+)?)(?![\w:])")
_MAC = re.compile(r"(?<![\w:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){0,2}(?![\w:-])")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_SERIAL = re.compile(
    r"(?i)\b(serial[ _-]?(?:number|no\.?)?|unique[ _-]?id|asset[ _-]?tag|(?:machine|boot|invocation)[ _-]?id"
    r"|chip[ _-]?id|wwid|wwn|iserial|id_serial(?:_short)?)([\"']?\s*(?:\([^)]*\))?\s*[:=]\s*)"
    r"(\"[^\"\n]*\"|'[^'\n]*'|[^\s,}\]]+)"
)
_BY_ID = re.compile(r"(/dev/disk/by-(?:id|uuid|partuuid|label)/)\S+")


class Known(NamedTuple):
    """What is known of this machine and must not be found in a bundle. Single characters do not count."""

    secrets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    serials: tuple[str, ...] = ()
    # Hosts of URLs that everybody may know: those that stacks name; with a dot before it, the end of a name.
    public: tuple[str, ...] = ()


class Scrubber:
    """Scrubs texts of one bundle; `counts` says how often each kind was replaced."""

    def __init__(self, known: Known, prefix: str = "") -> None:
        """Make one; `prefix` stands before the words it puts in, to tell two scrubbers of a bundle apart."""
        self._known = known
        self._prefix = prefix
        self._names: dict[tuple[str, str], str] = {}
        self.counts: dict[str, int] = {}
        self._exact = [
            ("secret", _exactly(known.secrets, word=False)),
            ("serial", _exactly([form for one in known.serials for form in _forms(one)], word=False)),
            ("host", _exactly(known.hosts, word=True)),
            ("user", _exactly([one for one in known.users if one != "root"], word=True)),
        ]

    def text(self, text: str) -> str:
        """Return the text without what must not be told."""
        text = self._count("secret", _BLOCK, lambda _found: REMOVED, text)
        for kind, pattern in self._exact[:2]:
            text = self._replace(kind, pattern, text)
        for shape in _SHAPES:
            text = self._count("secret", shape, lambda _found: REMOVED, text)
        text = self._count("secret", _HEADER, lambda found: f"{found[1]}{found[2]}{REMOVED}", text)
        text = self._count("secret", _BEARER, lambda found: f"{found[1]} {REMOVED}", text)
        for pattern in (_OPTION, _SETTING):
            text = self._count("secret", pattern, _secret, text)
        text = self._count("text", _ASKED, lambda found: f"{found[1]}{REMOVED}", text)
        text = self._count("secret", _LOGIN, lambda found: f"{found[1]}{REMOVED}@", text)
        text = self._count("serial", _SERIAL, self._serial, text)
        text = self._count("serial", _BY_ID, lambda found: f"{found[1]}{REMOVED}", text)
        text = self._count("mail", _MAIL, lambda _found: "<mail>", text)
        text = self._count("serial", _UUID, lambda found: self._name("uuid", found[0].lower()), text)
        text = self._count("address", _MAC, lambda found: self._name("mac", found[0].lower()), text)
        text = self._count("address", _V6, self._address, text)
        text = self._count("address", _V4, self._address, text)
        text = self._count("host", _URL_HOST, self._url, text)
        text = self._count("user", _HOME, lambda found: f"{found[1]}{self._name('user', found[2])}", text)
        for kind, pattern in self._exact[2:]:
            text = self._replace(kind, pattern, text)
        return text

    def data(self, value: Any, name: str = "") -> Any:  # noqa: ANN401 - what JSON holds
        """Return the value of a setting, or a structure of them, without what must not be told."""
        if isinstance(value, dict):
            below = name if _NAMED.fullmatch(name) and not (_PLACE.search(name) or _AMOUNT.search(name)) else ""
            return {self.text(str(key)): self.data(inner, below or str(key)) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(inner, name) for inner in value]
        if value is None or isinstance(value, bool):
            return value
        if _NAMED.fullmatch(name) and not _tells_nothing(name, str(value)):
            self.counts["secret"] = self.counts.get("secret", 0) + 1
            return REMOVED
        if isinstance(value, str):
            # With its name before it, as the patterns know it from files.
            said = self.text(f"{name}: {value}")
            return said.partition(": ")[2] if name and said.startswith(f"{name}: ") else self.text(value)
        return value

    def leaks(self, text: str) -> list[str]:
        """Return the kinds of known values that a text still holds: none, when it was scrubbed."""
        return [kind for kind, pattern in self._exact if pattern and pattern.search(text)]

    def _count(self, kind: str, pattern: re.Pattern[str], by: Callable[[re.Match[str]], str], text: str) -> str:
        def put(found: re.Match[str]) -> str:
            new = by(found)
            if new != found[0]:
                self.counts[kind] = self.counts.get(kind, 0) + 1
            return new

        return pattern.sub(put, text)

    def _replace(self, kind: str, pattern: re.Pattern[str] | None, text: str) -> str:
        if pattern is None:
            return text
        if kind == "secret":
            return self._count(kind, pattern, lambda _found: REMOVED, text)
        return self._count(kind, pattern, lambda found: self._name(kind, found[0].lower()), text)

    def _name(self, kind: str, value: str) -> str:
        if value.startswith("<"):
            return value
        number = 1 + sum(1 for other, _value in self._names if other == kind)
        return self._names.setdefault((kind, value), f"<{self._prefix}{kind}-{number}>")

    def _address(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[1].partition("%")[0])
        except ValueError:
            return found[0]
        # These are the same on every machine, and what they say matters: who may reach a server.
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            return found[0]
        return self._name("ip", str(address))

    def _url(self, found: re.Match[str]) -> str:
        host = found[2].rpartition("@")[2].lower()
        public = host in self._known.public or host.endswith(tuple(one for one in self._known.public if one[0] == "."))
        keep = public or host.startswith("<") or host in ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - a word of a text
        return found[0] if keep else f"{found[1]}{self._name('host', host)}"

    def _serial(self, found: re.Match[str]) -> str:
        value = found[3].strip("\"'")
        if not value or value.startswith("<") or value.lower() in ("none", "null", "n/a", "unknown"):
            return found[0]
        return f"{found[1]}{found[2]}{self._name('serial', value.lower())}"


def _secret(found: re.Match[str]) -> str:
    """A setting with a secret's name, without its value."""
    return found[0] if _tells_nothing(found[1], found[3]) else f"{found[1]}{found[2]}{REMOVED}"


def _tells_nothing(name: str, value: str) -> bool:
    """Switches, places and amounts, and what was removed already."""
    bare = value.strip("\"'")
    if _HARMLESS.match(value) or bare.startswith(("<", "{{")):
        return True
    return bool(_PLACE.search(name) and bare.startswith("/")) or bool(_AMOUNT.search(name) and bare.isdigit())


def _forms(serial: str) -> list[str]:
    """A serial number as other tools write it: with and without 0x, in decimal."""
    forms = [serial]
    bare = serial.lower().removeprefix("0x")
    if re.fullmatch(r"[0-9a-f]{8,}", bare):
        forms += [bare, str(int(bare, 16))]
    return forms


def _exactly(values: Iterable[str], *, word: bool) -> re.Pattern[str] | None:
    """Match any of the values, the longest first; as whole words where they could be a part of others."""
    known = sorted({one for one in values if len(one) > 1}, key=lambda one: (-len(one), one))
    if not known:
        return None
    joined = "|".join(re.escape(one) for one in known)
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{joined})(?![A-Za-z0-9_])" if word else joined, re.IGNORECASE)


def summary(counts: Mapping[str, int]) -> str:
    """Return what was replaced, for people."""
    return ", ".join(f"{number} times a {kind}" for kind, number in sorted(counts.items())) or "nothing"
