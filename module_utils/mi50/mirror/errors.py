"""What a mirror refuses."""

from __future__ import annotations


class MirrorError(Exception):
    """A mirror that cannot be filled, taken over or served; the text names the item, what was found and the way out."""
