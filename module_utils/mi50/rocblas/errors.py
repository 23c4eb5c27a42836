"""The one error this package raises on purpose."""

from __future__ import annotations


class RocblasError(Exception):
    """Bad input or a refused action: the text names the file, the value and the way out."""
