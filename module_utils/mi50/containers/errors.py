"""What is wrong with an engine or an image, for people."""

from __future__ import annotations


class ContainerError(Exception):
    """Something a person has to mend: the text names it, the value found, and the way out."""
