"""See conftest.py."""

from __future__ import annotations

import warnings

import pytest


def test_check(check: dict[str, str]) -> None:
    """What verify.yml found, with its remedy."""
    if check["status"] == "skip":
        pytest.skip(check["found"])
    if check["status"] == "warn":
        warnings.warn(f"{check['id']}: {check['found']}", stacklevel=1)
    text = f"{check['found']}; expected {check['expected']}. {check['remedy']}"
    assert check["status"] not in ("fail", "error"), text
