"""What is wrong with a model, for people."""

from __future__ import annotations


class ModelError(Exception):
    """A model that cannot be had, read or run as asked: the text names it, the value found, and the way out."""
