"""Settings of the role and a stack become what the modules are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mi50.rocblas.origin import plan
from mi50.stack.api import get_stack

ROOT = Path(__file__).resolve().parents[3]
DEFAULTS = yaml.safe_load((ROOT / "roles/gfx906_rocblas/defaults/main.yml").read_text())
SPECIAL = {"cache_dir": "/var/cache/x", "controller_dir": "/home/u/.cache/x"}


@pytest.fixture
def planned() -> Callable[..., dict[str, Any]]:
    def call(stack: str = "rocm-6.4.3", **settings: object) -> dict[str, Any]:
        usual = {name.removeprefix("gfx906_rocblas_"): value for name, value in DEFAULTS.items()}
        return plan(get_stack(stack, ROOT / "stacks", None, {}), {**usual, **SPECIAL, **settings})

    return call


def test_arch(planned: Callable[..., dict[str, Any]]) -> None:
    found = planned()
    name = "rocblas-6.4.3-3-x86_64.pkg.tar.zst"
    assert not found["problem"]
    assert found["options"]["src"] == f"/var/cache/x/{name}"
    assert found["options"]["version"] == "6.4.3-3"
    assert found["options"]["expected_files"] == 156
    assert found["options"]["signature"] == f"/var/cache/x/{name}.sig"
    assert [one["dest"] for one in found["files"]] == [f"/var/cache/x/{name}", f"/var/cache/x/{name}.sig"]
    assert found["copies"] == []
    assert found["packages"] == ["xz-utils", "gpgv", "archlinux-keyring"]
    assert found["discard"] == "always"


def test_debian_is_pinned_by_version_and_digest(planned: Callable[..., dict[str, Any]]) -> None:
    assert "gfx906_rocblas_debian_url" in planned(source="debian")["problem"]
    found = planned(source="debian", debian_url="https://mirror.example/debian/")
    (file,) = found["files"]
    assert file["url"] == "https://mirror.example/debian/pool/main/r/rocblas/librocblas4_6.4.4-4_amd64.deb"
    assert file["sha256"] == found["options"]["sha256"]
    assert len(file["sha256"]) == 64
    assert (found["options"]["version"], found["options"]["expected_files"]) == ("6.4.4-4", 140)
    assert "signature" not in found["options"]
    assert found["packages"] == ["xz-utils"]


def test_local(planned: Callable[..., dict[str, Any]]) -> None:
    assert "gfx906_rocblas_src" in planned(source="local")["problem"]
    found = planned(source="local", src="/srv/rocblas.deb", fetch="controller")
    assert (found["problem"], found["files"], found["copies"], found["discard"]) == ("", [], [], "never")
    assert found["options"]["src"] == "/srv/rocblas.deb"
    assert not {"version", "sha256", "signature", "source_id"} & set(found["options"])


def test_fetched_on_the_controller(planned: Callable[..., dict[str, Any]]) -> None:
    here, there = planned(fetch="controller"), planned()
    assert here["options"] == there["options"]
    assert [one["url"] for one in here["files"]] == [one["url"] for one in there["files"]]
    assert all(one["dest"].startswith("/home/u/.cache/x/rocblas-6.4.3-3-") for one in here["files"])
    assert [(one["src"], one["dest"]) for one in here["copies"]] == [
        (mine["dest"], theirs["dest"]) for mine, theirs in zip(here["files"], there["files"])
    ]


def test_a_stack_that_needs_nothing(planned: Callable[..., dict[str, Any]]) -> None:
    found = planned("rocm-6.3.3")
    assert not found["needed"]
    assert "knows no such source" in found["problem"]


def test_a_kept_archive_goes_only_when_it_is_refused(planned: Callable[..., dict[str, Any]]) -> None:
    assert planned(keep_archive=True)["discard"] == "rejected"
