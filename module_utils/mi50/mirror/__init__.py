"""One host that serves apt, files, wheels, git, images and models: filled, checked, exported, imported."""

from __future__ import annotations
