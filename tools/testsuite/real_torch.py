"""An environment with real torch for the CPU, for the tests of the compute proof."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.testsuite.steps import ROOT, Stage

# With the local version, so that pip never takes the build that brings gigabytes of CUDA along.
TORCH = "torch==2.13.0+cpu"
DIRECTORY = ROOT / ".venv-torch"


def environment(stage: Stage) -> dict[str, str]:
    """MI50_TORCH_PYTHON for pytest, or nothing (and a skipped step) where the package index has no such torch."""
    python = DIRECTORY / "bin" / "python"
    stamp = DIRECTORY / TORCH.replace("=", "_")
    if not stamp.exists():
        made = stage.log_file("real torch")
        with made.open("w", encoding="utf-8") as log:
            commands: list[list[str | Path]] = [
                [sys.executable, "-m", "venv", "--clear", DIRECTORY],
                [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", TORCH],
            ]
            for command in commands:
                if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
                    stage.skip("real torch", f"the package index has no {TORCH} for this Python")
                    return {}
        stamp.touch()
    return {"MI50_TORCH_PYTHON": str(python)}
