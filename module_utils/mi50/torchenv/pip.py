"""Run a venv's own pip, undisturbed by what the environment says, and say what went wrong in a sentence."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .. import process
from .model import Away, TorchEnvError

HOURS = 3600.0
# What would lead pip elsewhere, or tie it to what it is about to change.
_DROPPED = (
    *("PIP_CONSTRAINT", "PIP_REQUIREMENT", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_NO_DEPS"),
    *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"),
)
_SETTINGS = (
    *("PIP_NO_INPUT=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore", "PIP_NO_CACHE_DIR=1"),
    "LC_ALL=C.UTF-8",
)
_OFFLINE = re.compile(
    r"(Failed to establish a new connection|Name or service not known|Temporary failure in name resolution|"
    r"Connection refused|Max retries exceeded|ProxyError|ReadTimeoutError|Network is unreachable|HTTP error \d+)"
)

# An index that answers so goes on answering so.
_ANSWERED = re.compile(r"HTTP error 4\d\d|No space left on device|Disk quota exceeded")


def run(python: Path | str, arguments: Sequence[str], seconds: float = 2 * HOURS) -> process.Finished:
    """`python -m pip` with these arguments. Raises TorchEnvError when it cannot be started or takes too long.

    Nothing stays in the cache of the user whom it runs as: wheels are kept where the roles know of them.
    """
    dropped = [word for name in _DROPPED if name in os.environ for word in ("-u", name)]
    argv = ["env", *dropped, *_SETTINGS, str(python), "-I", "-m", "pip", *arguments]
    try:
        return process.run(argv, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TorchEnvError(f"pip {arguments[0]} with {python}: {error}") from None


def must(python: Path | str, arguments: Sequence[str], doing: str) -> str:
    """The same, and its output; TorchEnvError with pip's own words and the way out when it fails."""
    done = run(python, arguments)
    output = done.output.decode("utf-8", "replace")
    if done.code:
        text = output + done.errors.decode("utf-8", "replace")
        raise (Away if away(text) else TorchEnvError)(f"{doing}: {words(text)} {remedy(text)}")
    return output


def words(text: str) -> str:
    """pip's own errors, or its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line[len("ERROR:") :].strip() for line in lines if line.startswith("ERROR:")]
    return ("; ".join(errors) or (lines[-1] if lines else "pip said nothing"))[:600]


def remedy(text: str) -> str:
    """The way out for what pip met."""
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return (
            "The disk is full: free space, or set pytorch_root to a larger one. The environment in use was not touched."
        )
    if _OFFLINE.search(text):
        return (
            "The package index does not answer: check network and proxy, or set mi50_url_pypi to a mirror. The "
            "environment in use was not touched."
        )
    if "No matching distribution" in text:
        return "The package index has no such package; set mi50_url_pypi to a complete one."
    return "The environment in use was not touched."


def away(text: str) -> bool:
    """Whether pip failed because an index did not answer, which may pass."""
    return bool(_OFFLINE.search(text)) and not _ANSWERED.search(text)


def check(python: Path | str) -> set[str]:
    """What `pip check` complains of, line by line; empty when every need is met."""
    done = run(python, ["check"], HOURS / 4)
    if done.code == 0:
        return set()
    text = done.output.decode("utf-8", "replace") + done.errors.decode("utf-8", "replace")
    return {line.strip() for line in text.splitlines() if line.strip()}
