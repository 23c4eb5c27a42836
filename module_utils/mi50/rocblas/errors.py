"""The errors this package raises on purpose."""

from __future__ import annotations


class RocblasError(Exception):
    """Bad input or a refused action: the text names the file, the value and the way out."""


class SourceRejected(RocblasError):
    """The source itself is at fault: damaged, forged, or not what was asked for. Reading it again ends the same."""


class NoLibrary(RocblasError):
    """There is no rocBLAS library directory below a destination that exists."""
