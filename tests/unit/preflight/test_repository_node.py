"""The repository on nodes that have it already or lack something, mirrors on disk, and the limits of a download."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mi50.preflight import download as downloading
from mi50.preflight.check_repository import REMEDIES
from mi50.preflight.model import FAIL, OK, SKIP, Probe
from mi50.preflight.proxy import ProxySettings
from mi50.preflight.repository import SOURCE, look

from .conftest import ROOT
from .mirror import ANSWERS, BASE, Ask, Mirror, configure, statuses


def test_what_apt_has_verified_costs_nothing(mirror: Mirror, ask: Ask, tmp_path: Path) -> None:
    configure(mirror, tmp_path / "node", "vendor")
    found = ask(mirror.target(), ())
    assert statuses(found) == (OK, OK)
    assert "already verified by apt" in found["lists"].found
    assert mirror.seen == []


def test_another_configuration_is_verified_anew(mirror: Mirror, ask: Ask, tmp_path: Path) -> None:
    node = tmp_path / "node"
    cases: list[Callable[[], object]] = [
        lambda: configure(mirror, node, "vendor", suite="jammy"),
        lambda: configure(mirror, node, "vendor", folder="older"),
        lambda: configure(mirror, node, "vendor", components="proprietary"),
        lambda: configure(mirror, node, "vendor", index=False),
        lambda: configure(mirror, node, "vendor", "stranger"),
        lambda: configure(mirror, node, "stranger"),
        lambda: (configure(mirror, node, "vendor"), (node / "etc/apt/keyrings/rocm.gpg").unlink()),
        lambda: (configure(mirror, node, "vendor"), (node / "etc/apt/keyrings/rocm.gpg").write_bytes(b"x")),
    ]
    for number, prepare in enumerate(cases):
        prepare()
        mirror.seen.clear()
        assert statuses(ask(mirror.target())) == (OK, OK)
        assert mirror.seen, number
    configure(mirror, node, "vendor")
    wrong = ask(mirror.target(fingerprint=mirror.gpg.names["stranger"]))
    assert statuses(wrong) == (FAIL, SKIP)
    configure(mirror, node, "old")
    mirror.key("old")
    assert statuses(ask(mirror.target(fingerprint=mirror.gpg.names["old"]))) == (FAIL, SKIP)


def test_the_source_looked_at_is_the_one_role_rocm_writes() -> None:
    assert f"/{SOURCE}" in (ROOT / "roles/rocm/vars/main.yml").read_text()


def test_limits(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{mirror.url}/rocm.gpg.key"
    with pytest.raises(downloading.DownloadError, match="more than 0 MiB"):
        downloading.download(url, ProxySettings(), limit=10)
    with pytest.raises(downloading.DownloadError, match="not complete after 0 s"):
        monkeypatch.setattr(downloading.time, "monotonic", iter((0.0, 31.0)).__next__)
        downloading.download(f"file://{mirror.root}/rocm.gpg.key", ProxySettings(), timeout=0)
    assert (downloading.LIMIT, downloading.TIMEOUT_S) == (64 << 20, 30)


def test_local_mirror(mirror: Mirror, ask: Ask) -> None:
    address = f"file://{mirror.root}"
    local = (Probe(BASE, address, "skip"),)
    target = mirror.target(url=f"{address}/apt", key_url=f"{address}/rocm.gpg.key")
    assert statuses(ask(target, local)) == (OK, OK)
    assert "mirror" in ask(replace(target, suite="jammy"), local)["lists"].remedy


def test_node_without_gpgv_leaves_it_to_apt(mirror: Mirror, tmp_path: Path, scratch: Path) -> None:
    state = look(mirror.target(), ANSWERS, ProxySettings(), tmp_path / "node", lambda _command: (127, ""))
    assert (state.key.kind, state.lists.kind) == ("ok", "skip")


def test_every_kind_has_a_way_out() -> None:
    folder = ROOT / "module_utils/mi50/preflight"
    text = (folder / "repository.py").read_text() + (folder / "release.py").read_text()
    kinds = set(re.findall(r'(?:Problem|Finding|EXP\w+",|REVKEYSIG",)[(\s]+"([a-z_]+)"', text)) - {"ok", "skip"}
    assert len(kinds) > 10
    assert kinds | {"key_fetch", "key_missing", "lists_fetch", "lists_missing"} == set(REMEDIES)
