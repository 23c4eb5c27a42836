"""Two checks of the stack's apt repository: the key, and the lists it signed. Pure: repository.py made the requests."""

from __future__ import annotations

from .model import FAIL, OK, SKIP, Check, Finding, RepositoryState

_NETWORK = (
    "Try again; check the network and mi50_http_proxy, mi50_https_proxy, or set mi50_url_radeon to a mirror nearby"
)
_STALE = "Do not use this mirror: set mi50_url_radeon to another, or let a proxy that caches apt indexes drop them"
_MIRROR = "The mirror must keep the vendor's paths below it: correct mi50_url_radeon, or complete the mirror"
_NEW_KEY = (
    "If the vendor announced a new key, set rocm_apt_key_fingerprint to it (and rocm_apt_key_file to the key, when "
    "the mirror lacks it); otherwise neither the mirror nor the connection is to be trusted"
)
REMEDIES = {
    "bad_pin": "Give the full fingerprint in rocm_apt_key_fingerprint, or leave it empty for the stack's own",
    "no_key": "Fetch the key elsewhere, compare its fingerprint with the vendor's documentation, and give the file as "
    "rocm_apt_key_file; behind a proxy check mi50_https_proxy",
    "wrong_key": _NEW_KEY,
    "expired_key": "Get the extended key (same fingerprint) from the vendor and give it as rocm_apt_key_file; check "
    "`date` on the node",
    "key_fetch": f"{_NETWORK}, or give the key as rocm_apt_key_file",
    "key_missing": f"{_MIRROR}, or give the key as rocm_apt_key_file",
    "lists_fetch": _NETWORK,
    "lists_missing": _MIRROR,
    "stranger": _NEW_KEY,
    "changed": _STALE,
    "tampered": f"The mirror was changed or is just being updated: run again later. If it stays: {_STALE[0].lower()}"
    f"{_STALE[1:]}",
    "unsigned": f"A proxy or mirror answered with something else: {_MIRROR[0].lower()}{_MIRROR[1:]}",
    "weak": "The mirror has to sign with SHA-256 or better; set mi50_url_radeon to another",
    "expired_signature": "Get the extended key (same fingerprint) from the vendor and give it as rocm_apt_key_file, or "
    "update the mirror; check `date` on the node",
    "origin": "mi50_url_radeon leads to another repository than the stack's: correct it, or keep the vendor's own "
    "InRelease on the mirror",
    "future": "Set the node's clock (`sudo timedatectl set-ntp true`), or the mirror's and sign again",
    "outdated": "Update the mirror, or set the node's clock (`sudo timedatectl set-ntp true`)",
    "malformed": _MIRROR,
    "no_index": _MIRROR,
    "local": "Make room in the temporary directory of the node",
}


def check_repository(state: RepositoryState | None) -> list[Check]:
    """Return the two checks; nothing when the repository was not part of the question."""
    if state is None:
        return []
    return [
        _check("repository.key", "Signing key of ROCm's repository", state.key),
        _check("repository.lists", "Package lists of ROCm's repository", state.lists),
    ]


def _check(check_id: str, title: str, finding: Finding) -> Check:
    if finding.kind in ("ok", "skip"):
        return Check(check_id, title, OK if finding.kind == "ok" else SKIP, finding.found, finding.expected)
    return Check(check_id, title, FAIL, finding.found, finding.expected, REMEDIES[finding.kind])
