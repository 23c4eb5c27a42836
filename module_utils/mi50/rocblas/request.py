"""What the module was asked to do."""

from __future__ import annotations

from typing import NamedTuple


class Expected(NamedTuple):
    """What the user asked for; `files` is the number of kernels' files or None."""

    version: str | None = None
    files: int | None = None
    allow_version_mismatch: bool = False


class Request(NamedTuple):
    """The module's options for one destination; `files` is the expected number of files."""

    dest: str
    src: str | None = None
    state: str = "present"
    gpu_arch: str = "gfx906"
    version: str | None = None
    signature: str | None = None
    keyring: str | None = None
    verify: str = "stat"
    expected_files: int | None = None
    allow_version_mismatch: bool = False
    source_id: str | None = None
    sha256: str | None = None
    defer: bool = False
    discard_source: str = "never"
    threads: int = 0
    check_mode: bool = False

    @property
    def expected(self) -> Expected:
        """What the source must be."""
        return Expected(self.version, self.expected_files, self.allow_version_mismatch)
