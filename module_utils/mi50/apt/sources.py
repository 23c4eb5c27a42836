"""Refresh one apt source by itself, and say in one sentence why that failed."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

LISTS = "var/lib/apt/lists"
# Restricted to one file: a broken source of somebody else neither hides nor causes our error, and nobody else's
# lists or caches are touched.
OPTIONS = (
    "-o", "Dir::Etc::sourceparts=/dev/null",
    "-o", "APT::Get::List-Cleanup=false",
    "-o", "APT::Update::Error-Mode=any",
    "-o", "Acquire::Retries=2",
    "-o", "Acquire::http::Timeout=30",
    "-o", "Acquire::https::Timeout=30",
    "-o", "Dir::Cache::pkgcache=",
    "-o", "Dir::Cache::srcpkgcache=",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One stanza of a deb822 source file."""

    uri: str
    suite: str
    components: tuple[str, ...]

    @property
    def list_prefix(self) -> str:
        """How apt names this suite's files in its lists directory (apt's URItoFileName)."""
        address = self.uri.rstrip("/")
        bare = re.sub(r"^file:/+", "/", address) if address.startswith("file:") else re.sub(r"^[a-z+]+://", "", address)
        quoted = re.sub(r"""[\\|{}\[\]<>"^~_=!@#$%&*]""", lambda found: f"%{ord(found[0]):02x}", bare)
        return f"{quoted.replace('/', '_')}_dists_{self.suite}_"


class RefreshError(Exception):
    """apt could not use the source; the text names the file, the address and the way out."""

    def __init__(self, kind: str, text: str) -> None:
        """`kind` is one of the names of _KINDS, or other."""
        super().__init__(text)
        self.kind = kind

    @property
    def passing(self) -> bool:
        """Whether the same may succeed a while later."""
        return self.kind == "unreachable"


def read_sources(text: str) -> list[Source]:
    """Stanzas of a deb822 source file, disabled ones left out."""
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = {}
        for line in re.sub(r"\n[ \t]+", " ", stanza).splitlines():
            name, colon, value = line.partition(":")
            if colon and not line.startswith("#"):
                fields[name.strip().lower()] = value.split()
        if fields.get("enabled") == ["no"]:
            continue
        found += [
            Source(uri, suite, tuple(fields.get("components", ())))
            for uri in fields.get("uris", ())
            for suite in fields.get("suites", ())
        ]
    return found


def render(source: Source, architectures: Sequence[str], keyring: Path) -> str:
    """Text of a deb822 source file that trusts `keyring` and no other key."""
    fields = {
        "Types": "deb",
        "URIs": source.uri,
        "Suites": source.suite,
        "Components": " ".join(source.components),
        "Architectures": " ".join(architectures),
        "Signed-By": str(keyring),
    }
    return "# Managed by mi50-aipc.\n" + "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def digest(parts: Sequence[bytes]) -> str:
    """One value for the contents of the source file and its key: another value means that lists are stale."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


@contextmanager
def candidate(
    source: Source, architectures: Sequence[str], key: bytes, name: str, folder: Path
) -> Iterator[tuple[Path, list[str]]]:
    """A source file and its keyring outside apt's configuration, and apt-get's arguments to try them.

    Nothing of the node's own configuration changes before the repository is proven, not even when the run is killed.
    The lists that are fetched go where they belong, because their names follow from the address alone.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="candidate-", dir=folder) as scratch:
        # apt checks signatures as its own user, _apt.
        Path(scratch).chmod(0o755)
        path, keyring = Path(scratch) / name, Path(scratch) / "keyring.gpg"
        keyring.write_bytes(key)
        path.write_text(render(source, architectures, keyring))
        keyring.chmod(0o644)
        path.chmod(0o644)
        yield path, ["update", "-q", "-o", f"Dir::Etc::sourcelist={path}", *OPTIONS]


def why_refresh(
    stamp: Path, value: str, sources: list[Source], *, root: Path, valid_seconds: int, now: float
) -> str | None:
    """Why the lists of this source must be fetched; None when they are good for use."""
    lists = root / LISTS
    for source in sources:
        if not any((lists / f"{source.list_prefix}{name}").exists() for name in ("InRelease", "Release")):
            return f"no package list of {source.uri} {source.suite}"
    try:
        recorded = json.loads(stamp.read_text())
        then = float(recorded["refreshed"])
    except (OSError, ValueError, KeyError, TypeError):
        return "never refreshed by this role"
    if recorded.get("digest") != value:
        return "the source or its key changed"
    # A clock that was set back must not keep old lists valid for ever.
    if not 0 <= now - then <= valid_seconds:
        return f"the package list is older than {valid_seconds} s"
    return None


def _host(url: str) -> str:
    return urlsplit(url).hostname or "" if "://" in url else url.split(":", maxsplit=1)[0]


# apt's words (apt 2.2 to 3.0, gpgv and sqv) -> kind. The first match wins, so the causes come before their effects.
_KINDS = (
    ("expired-key", r"EXPKEYSIG|KEYEXPIRED|key .*expired|is not live"),
    ("bad-signature", r"BADSIG|signatures? (was|were) invalid|isn't valid, got|Bad signature|NOSPLIT|NODATA"),
    ("wrong-key", r"NO_PUBKEY|public key is not available|Missing key"),
    ("no-verifier", r"Could not execute|Unknown error executing|is (gnupg|gpgv|sqv) installed|neither seems installed"),
    # apt says this after every failed verification, so it means something only when nothing above was said.
    ("unsigned", r"is not signed"),
    ("tampered", r"Hash Sum mismatch|unexpected size|Hashes of received file|Insufficient information"),
    ("expired-release", r"Release file for .* is expired|is not valid yet"),
    ("certificate", r"[Cc]ertificate verif|certificate.*(NOT trusted|expired)"),
    ("proxy", r"\b407\b|Proxy Auth|Invalid response from proxy|proxy .*(error|fail)"),
    ("missing", r"does not have a Release file|404 +Not Found|no longer has a Release file"),
    ("unreachable", r"Could not (resolve|connect)|Temporary failure|timed out|Connection (refused|failed)|unreachable"),
    ("unreachable", r"Failed to fetch"),
)
_REMEDIES = {
    "expired-key": (
        "The signing key on the node has expired: get the extended key and give it as rocm_apt_key_file, then "
        "run again."
    ),
    "wrong-key": (
        "The repository is signed by another key than the pinned one: check the mirror, or set "
        "rocm_apt_key_fingerprint if the vendor announced a new key."
    ),
    "no-verifier": (
        "apt could not run its own check of the signature: see whether /tmp on the node is full or not writable and "
        "whether gpgv is installed, then run again."
    ),
    "unsigned": (
        "The repository carries no signature that apt could check: do not use this mirror, or let it keep the vendor's "
        "InRelease file."
    ),
    "bad-signature": (
        "The repository's index was changed after it was signed: do not use this mirror; compare it with the "
        "vendor's, or let a proxy that caches apt indexes drop them."
    ),
    "tampered": (
        "A file does not match the signed index: the mirror was changed or is just being updated; run again "
        "later, or use another mirror (mi50_url_radeon)."
    ),
    "expired-release": (
        "The index is out of date or this machine's clock is wrong: check `date`, then update the mirror."
    ),
    "certificate": (
        "The TLS certificate does not verify: check the machine's clock and ca-certificates; a proxy that "
        "breaks TLS needs its CA installed on the node."
    ),
    "proxy": (
        "The proxy did not pass the request on: check mi50_http_proxy and mi50_https_proxy, and list hosts to "
        "be reached directly in mi50_no_proxy."
    ),
    "missing": (
        "There is no such repository at this address: check mi50_url_radeon (the mirror must keep the "
        "vendor's paths below it)."
    ),
    "unreachable": (
        "The node cannot reach it: check the network and DNS, set mi50_http_proxy/mi50_https_proxy behind a "
        "proxy, or point mi50_url_radeon at a mirror."
    ),
    "other": "See apt's own words above; `apt-get update` on the node shows them again.",
}


def classify(output: str, proxies: Mapping[str, str]) -> str:
    """What kind of failure apt reports; `proxies` are the proxy addresses in use (any key)."""
    kind = next((name for name, pattern in _KINDS if re.search(pattern, output)), "other")
    hosts = {_host(value) for value in proxies.values() if value}
    # A proxy that is down is reported as if it were the archive's address.
    if kind == "unreachable" and any(
        host and re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", output) for host in hosts
    ):
        return "proxy"
    return kind


def error(output: str, path: str, sources: list[Source], proxies: Mapping[str, str]) -> RefreshError:
    """One sentence for apt's output: what failed, where, and the way out."""
    kind = classify(output, proxies)
    lines = [line.strip() for line in output.splitlines()]
    chosen = [line for line in lines if re.match(r"(E|W|Err):", line)]
    said = " ".join(dict.fromkeys(line[2:].strip() if line[1:2] == ":" else line for line in chosen)) or " ".join(
        lines[-3:]
    )
    where = ", ".join(f"{source.uri} {source.suite}" for source in sources)
    used = f" through the proxy {', '.join(sorted(set(proxies.values())))}" if kind == "proxy" else ""
    return RefreshError(kind, f"cannot use the apt source {path} ({where}){used}: {said[:600]} {_REMEDIES[kind]}")
