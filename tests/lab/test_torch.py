"""Issue 5, "Shows" 1: after site.yml torch is in its environment, its rocBLAS patched; what users spoil is mended."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from lab import engine, nodes
from lab.mirror import tree
from lab.mirror.wheels import Wheel, write
from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab
NODES = ("node1", "node2")
VENV = "/opt/mi50-aipc/venvs/torch"
SITE = f"{VENV}/lib/python3.11/site-packages"
LIBRARY = f"{SITE}/torch/lib/rocblas/library"
LIMIT = ("--limit", "node1,node2")


def versions(lab: Lab, node: str) -> dict[str, str]:
    """Name to version, as pip sees them."""
    rows = json.loads(lab.ssh(node, f"{VENV}/bin/pip list --format json 2>/dev/null"))
    return {row["name"]: row["version"] for row in rows}


@pytest.mark.parametrize("node", NODES)
def test_torch_of_the_stack_is_there_and_pip_is_content(converged: Lab, node: str) -> None:
    found = versions(converged, node)
    assert {name: found[name] for name in ("torch", "torchvision", "torchaudio")} == {
        "torch": "2.9.0+rocm6.4",
        "torchvision": "0.24.0+rocm6.4",
        "torchaudio": "2.9.0+rocm6.4",
    }
    assert "No broken requirements found" in converged.ssh(node, f"{VENV}/bin/pip check")
    # The stock triton is on the index beside torch, which asks for it: it was left out, or ours is in its place.
    owner = converged.ssh(node, f"grep -h FLAVOUR {SITE}/triton/__init__.py 2>/dev/null || echo none")
    assert "stock" not in owner


@pytest.mark.parametrize("node", NODES)
def test_every_kernel_in_the_environment_equals_the_source(
    converged: Lab, node: str, source_digests: dict[str, str]
) -> None:
    lines = converged.ssh(node, f"cd {LIBRARY} && sha256sum -- *gfx906*").splitlines()
    assert {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)} == source_digests


@pytest.mark.parametrize(("node", "cards"), [("node1", 1), ("node2", 2)])
def test_the_proof_ran_on_every_card_and_says_on_what(converged: Lab, node: str, cards: int) -> None:
    proof = json.loads(converged.ssh(node, f"cat {VENV}/.mi50-proof.json"))
    assert proof["ok"] is True
    assert [device["device"] for device in proof["outcome"]["devices"]] == [f"cuda:{number}" for number in range(cards)]
    ids = {result["id"] for device in proof["outcome"]["devices"] for result in device["results"]}
    # What the stand-in can do; see lab/standins/standin_torch.
    assert ids == {"matmul-small-fp32", "matmul-small-fp16"}
    now = json.loads(converged.ssh(node, "mi50-compute --json --only matmul-small-fp32 2>/dev/null"))
    assert now["ok"] is True and list(now["environments"]) == ["torch"]


def test_a_converged_node_is_not_asked_again(converged: Lab) -> None:
    task = "pytorch : See what the node has and lacks"
    assert task in converged.runs["first"].output
    assert task not in converged.runs["second"].output
    assert "torch 2.9.0+rocm6.4" in converged.runs["second"].output


def test_what_users_spoil_is_mended(converged: Lab, source_digests: dict[str, str]) -> None:
    """node1 loses kernels; node2 gets torch installed again, past the constraints, with the stock triton."""
    kernel = sorted(source_digests)[0]
    index = f"--index-url {converged.url}/pytorch/rocm6.4 --trusted-host {converged.url.partition('//')[2]}"
    converged.ssh("node1", f"find {LIBRARY} -name '*gfx906*' -delete")
    before = converged.ssh("node2", f"readlink {VENV}")
    converged.ssh("node2", f"PIP_CONSTRAINT= {VENV}/bin/pip install -q --force-reinstall --no-deps torch {index}")
    assert converged.ssh("node2", f"readlink {VENV}") == before
    result = converged.site(*LIMIT)
    assert result.returncode == 0, result.why
    assert all(result.recap[node]["changed"] > 0 for node in NODES)
    assert converged.ssh("node1", f"sha256sum {LIBRARY}/{kernel}").split()[0] == source_digests[kernel]
    for node in NODES:
        assert json.loads(converged.ssh(node, "mi50-compute --json --only matmul-small-fp32 2>/dev/null"))["ok"] is True
    again = converged.site(*LIMIT)
    assert {node: again.recap[node]["changed"] for node in NODES} == dict.fromkeys(NODES, 0)


def test_an_own_package_that_needs_another_torch_is_refused_by_name(converged: Lab) -> None:
    """node1: the stack's torch stays in use, and nothing of the environment changes."""
    with tempfile.TemporaryDirectory() as scratch:
        wheel = write(
            Wheel("xformers", "0.0.32", "py3-none-any", ("torch==2.8.0",), {"xformers.py": ""}), Path(scratch)
        )
        engine.docker("cp", str(wheel), f"{nodes.container('node1')}:/var/tmp/{wheel.name}")
    converged.ssh("node1", f"{VENV}/bin/pip install -q --no-deps --no-index --find-links /var/tmp xformers")
    state = f"readlink {VENV}; find {SITE} -type f -not -name '*.pyc' -printf '%p %s %T@\\n' | sort | sha256sum"
    before = converged.ssh("node1", state)
    try:
        result = converged.site("--limit", "node1")
        assert result.returncode != 0
        assert "xformers 0.0.32 needs torch==2.8.0, here is 2.9.0+rocm6.4" in result.output
        assert converged.ssh("node1", state) == before
    finally:
        converged.ssh("node1", f"{VENV}/bin/pip uninstall -q -y xformers")
    assert converged.site("--limit", "node1").returncode == 0


def test_the_mirror_has_the_stock_triton(lab: Lab) -> None:
    """Were it not on the index, its absence on the nodes would prove nothing."""
    folder = tree.docroot(lab.settings) / "pytorch/rocm6.4"
    assert list(folder.glob("pytorch_triton_rocm-3.5.0-*.whl"))
