"""The estimate of keys and values against what a real llama-server says it takes, for two real models."""

from __future__ import annotations

import re
import subprocess

import pytest
from mi50.models import fit, shape

from lab.console import as_root
from lab.engines import models, tree
from lab.settings import from_environment

pytestmark = pytest.mark.lab
MIB = 1 << 20
# One with windowed layers in the proportion of gemma3:27b, one without.
CASES = [(models.GEMMA, 8192), (models.GEMMA, 1024), (models.SMOLLM, 8192)]
SIZE = re.compile(r"llama_kv_cache: size = +([\d.]+) MiB \( *(\d+) cells, +(\d+) layers")
AFTER = "compute buffer size"  # is reckoned once the caches are there


def taken(model: models.Model, context: int) -> float:
    """MiB of keys and values, by the server's own log."""
    settings = from_environment()
    root, folder = tree.ensure(settings), models.ensure(settings)
    server = f"/usr/bin/llama-server -m /srv/models/{model.file} --port 18399 -c {context} -np 1 -dev none -v"
    script = f"mount --bind '{folder}' '{root}/srv/models' && exec chroot '{root}' timeout 60 {server}"
    command = as_root(["unshare", "--mount", "sh", "-c", script])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        lines: list[str] = []
        for line in child.stdout or ():
            lines.append(line)
            if AFTER in line:
                break
        child.terminate()
    sizes = {found.groups() for found in SIZE.finditer("".join(lines))}
    assert sizes, "".join(lines[-20:])
    return sum(float(size) for size, _cells, _layers in sizes)


@pytest.mark.parametrize(("model", "context"), CASES, ids=[f"{model.file}-{context}" for model, context in CASES])
def test_keys_and_values_are_what_llama_server_takes(model: models.Model, context: int) -> None:
    shaped = shape.of_file(models.ensure(from_environment()) / model.file)
    assert fit.kv_bytes(shaped, context) / MIB == pytest.approx(taken(model, context), rel=0.005)
