"""Fetch files from upstream hosts: resumed, proven, all or nothing, and not again while they are there."""

from __future__ import annotations
