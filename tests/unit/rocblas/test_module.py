"""The glue: options in, result or one clear message out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from ansible.module_utils.testing import patch_module_args

from tests.unit.rocblas.conftest import contents

Plugin = Callable[[str, str], ModuleType]


def call(plugin: Plugin, capfd: pytest.CaptureFixture[str], **options: object) -> dict:
    with patch_module_args({name: str(value) for name, value in options.items()}), pytest.raises(SystemExit):
        plugin("library", "gfx906_rocblas").main()
    return json.loads(capfd.readouterr().out)


def test_present_and_absent(
    plugin: Plugin, capfd: pytest.CaptureFixture[str], rocm: Path, package: Path, library: Path
) -> None:
    outcome = call(plugin, capfd, src=package, dest=rocm, version="6.4.3")
    assert outcome["changed"]
    assert contents(library)
    assert set(outcome) >= {"needs_source", "libraries", "diff"}
    (one,) = outcome["libraries"]
    assert set(one) == {"dest", "changed", "library_dir", "source", "files", "bytes_written", "manifest", "drift"}
    assert one.items() <= outcome.items()
    assert "TensileLibrary_lazy_gfx906.dat" in outcome["diff"]["after"]
    assert not call(plugin, capfd, src=package, dest=rocm, version="6.4.3")["changed"]
    assert call(plugin, capfd, dest=rocm, state="absent")["changed"]
    assert not contents(library)
    assert not call(plugin, capfd, dest=rocm / "gone", state="absent")["changed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"src": "/nonexistent/gone"}, "/nonexistent/gone: cannot be read"),
        ({}, "src"),
        ({"src": "x", "signature": "y"}, "keyring"),
        ({"src": "x", "gpu_arch": "../x"}, "no AMD GPU architecture"),
        ({"src": "x", "verify": "maybe"}, "must be one of"),
        ({"src": "x", "threads": -1}, "threads is -1: give 0"),
    ],
)
def test_bad_options(
    plugin: Plugin, capfd: pytest.CaptureFixture[str], rocm: Path, options: dict[str, str], words: str
) -> None:
    outcome = call(plugin, capfd, dest=rocm, **options)
    assert outcome["failed"]
    assert words in outcome["msg"]
    assert "Traceback" not in outcome["msg"]
