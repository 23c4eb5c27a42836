"""Look at the stack's apt repository as apt will: its key, its signature, its index, without touching apt.

What is wrong here would otherwise show after the key, the pin and the source have been written.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

from ..apt import openpgp
from ..apt.sources import LISTS, read_sources
from .download import LIMIT, DownloadError, download
from .model import Finding, Probe, RepositoryState, RepositoryTarget, mask_url
from .proxy import ProxySettings
from .release import Problem, check_fields, check_signature, compare, indexes

# Runs a command given as a list; returns (return code, standard output). A missing program is (127, "").
Runner = Callable[[list[str]], tuple[int, str]]

SOURCE = "etc/apt/sources.list.d/mi50-rocm.sources"  # what role rocm writes
MISSING_PROGRAM = 127
_SIGNED_BY = re.compile(r"^Signed-By:[ \t]*(/\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)


def look(
    target: RepositoryTarget | None, probes: Iterable[Probe], proxies: ProxySettings, root: Path, run: Runner
) -> RepositoryState:
    """Return what the node finds at the repository. Never raises for what the network or the mirror does.

    `root` stands for /; `probes` are the requests made before: an address that did not answer is not asked again.
    """
    if target is None:
        return _both("skip", "the stack has no suite for this release (os.release)")
    try:
        pinned = openpgp.normalise_fingerprint(target.fingerprint)
    except ValueError as error:
        return RepositoryState(Finding("bad_pin", str(error), "40 or 64 hex digits"), _after_key())
    if verified_by_apt(target, pinned, root):
        return _both("ok", f"already verified by apt: {mask_url(target.url)} {target.suite}")
    probe = next((probe for probe in probes if probe.base == target.base), None)
    reason = _unreachable(target, probe)
    if reason and not target.key_content:
        return _both("skip", reason)
    key, data = _key(target, pinned, proxies)
    if key.kind != "ok":
        return RepositoryState(key, _after_key())
    return RepositoryState(key, Finding("skip", reason) if reason else _lists(target, pinned, data, proxies, run))


def _both(kind: str, text: str) -> RepositoryState:
    return RepositoryState(Finding(kind, text), Finding(kind, text))


def _after_key() -> Finding:
    return Finding("skip", "not looked at until repository.key is right")


def _unreachable(target: RepositoryTarget, probe: Probe | None) -> str:
    """Why the network is not asked; empty when it may be."""
    if not target.url:
        return f"{target.base} is empty"
    if probe is None:
        return f"{target.base} is not among preflight_bases"
    return "" if probe.kind in ("ok", "skip") else f"network.{target.base} failed"


def verified_by_apt(target: RepositoryTarget, pinned: str, root: Path) -> bool:
    """Whether the node's apt has this very repository already, with the pinned key, and has fetched its index.

    apt keeps an index only after it verified it, so there is nothing left to prove and a converged run asks nobody.
    """
    try:
        text = (root / SOURCE).read_text(encoding="utf-8", errors="replace")
        keyrings = _SIGNED_BY.findall(text)
        keys = openpgp.read_keys((root / keyrings[0].lstrip("/")).read_bytes()) if len(keyrings) == 1 else []
    except (OSError, openpgp.KeyDataError):
        return False
    if [key.fingerprint for key in keys] != [pinned] or any(key.expired(time.time()) for key in keys):
        return False
    return any(
        source.uri.rstrip("/") == target.url
        and source.suite == target.suite
        and set(target.components) <= set(source.components)
        and (root / LISTS / f"{source.list_prefix}InRelease").is_file()
        for source in read_sources(text)
    )


def _key(target: RepositoryTarget, pinned: str, proxies: ProxySettings) -> tuple[Finding, bytes]:
    """The pinned key out of what is offered, and what there is to say about it."""
    expected = openpgp.format_fingerprint(pinned)
    where = "the file given as rocm_apt_key_file" if target.key_content else mask_url(target.key_url)
    try:
        # Fetched by our own module, not by apt: apt's proxies do not apply.
        offered = target.key_content.encode() or download(target.key_url, proxies, apt=False)
        keys = {key.fingerprint: key for key in openpgp.read_keys(offered)}
    except DownloadError as error:
        return Finding(f"key_{error.kind}", str(error), expected), b""
    except openpgp.KeyDataError as error:
        return Finding("no_key", f"{where}: {error}", expected), b""
    if pinned not in keys:
        found = " and ".join(map(openpgp.format_fingerprint, keys))
        return Finding("wrong_key", f"wrong key: {where} holds {found}, expected {expected}", expected), b""
    key = keys[pinned]
    if key.expired(time.time()):
        day = datetime.fromtimestamp(key.expires or 0, tz=timezone.utc).strftime("%Y-%m-%d")
        return Finding("expired_key", f"{where}: {expected} expired on {day}", f"{expected}, not expired"), b""
    return Finding("ok", f"{where}: {expected}", expected), key.data


def _lists(target: RepositoryTarget, pinned: str, key: bytes, proxies: ProxySettings, run: Runner) -> Finding:
    """Whether the signed index and the package lists it names are what the key's owner published."""
    folder = f"{target.url}/dists/{target.suite}"
    address = mask_url(f"{folder}/InRelease")
    expected = f"signed by {openpgp.format_fingerprint(pinned)}, Origin {target.origin}"
    try:
        with tempfile.TemporaryDirectory(prefix="mi50-preflight-") as scratch:
            text = _signed_text(download(f"{folder}/InRelease", proxies), key, pinned, Path(scratch), run)
        if text is None:
            return Finding("skip", "no gpgv on this node; apt itself will verify")
        fields = check_fields(text, target.origin, time.time())
        for component in target.components:
            _compare_index(folder, component, fields, proxies)
    except DownloadError as error:
        return Finding(f"lists_{error.kind}", str(error), expected)
    except Problem as error:
        return Finding(error.kind, f"{mask_url(error.url) or address}: {error}", error.expected or expected)
    except OSError as error:
        return Finding("local", f"cannot write to {tempfile.gettempdir()}: {error.strerror}", expected)
    return Finding("ok", f"{address}: signed by the pinned key, Origin {target.origin}", expected)


def _signed_text(inrelease: bytes, key: bytes, pinned: str, scratch: Path, run: Runner) -> str | None:
    """What the pinned key signed in an InRelease file, None without gpgv. Raises Problem."""
    keyring, signed, output = scratch / "key.gpg", scratch / "InRelease", scratch / "Release"
    keyring.write_bytes(key)
    signed.write_bytes(inrelease)
    # The clock has a check of its own. Only gpgv's own output is read on: text around the signed part is anybody's.
    command = ["gpgv", "--homedir", str(scratch), "--keyring", str(keyring), "--status-fd", "1"]
    code, status = run([*command, "--ignore-time-conflict", "--output", str(output), str(signed)])
    if code == MISSING_PROGRAM:
        return None
    check_signature(status, pinned)
    return output.read_text(encoding="utf-8", errors="replace")


def _compare_index(folder: str, component: str, fields: dict[str, str], proxies: ProxySettings) -> None:
    """Fetch the package list apt would and compare it with the signed index. Raises DownloadError, Problem."""
    missing: DownloadError | None = None
    for index in indexes(fields, component):
        if index.size > LIMIT:  # longer than a preflight may take: left to apt
            return
        url = f"{folder}/{index.path}"
        try:
            data = download(url, proxies)
        except DownloadError as error:
            # Like apt: not every form that is listed has to be there.
            if error.kind != "missing":
                raise
            missing = missing or error
            continue
        compare(index, data, url)
        return
    if missing:
        raise missing
