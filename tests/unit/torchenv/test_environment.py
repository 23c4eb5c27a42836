"""The shared environment: built, proven, put into use, kept through what users do to it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from mi50 import process
from mi50.models import progress
from mi50.rocblas import names
from mi50.torchenv import generations, model, question

from .conftest import NEW, OLD, Node


def test_from_nothing_to_settled(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node.look()["plan"][0].endswith("there is none yet")
    shown: list[str] = []
    write = progress.Progress._write

    def watched(self: progress.Progress, there: int, *, force: bool) -> None:
        write(self, there, force=True)
        shown.append(progress.line(json.loads((node.home / "run/torch.json").read_text())).partition(" MB")[0])

    monkeypatch.setattr(progress.Progress, "_write", watched)
    made = node.make()
    # What is done is told while it is: each wheel, the needs, the installation. Afterwards there is nothing to tell.
    assert [words for words in shown if words.startswith("torch torch-2")]
    assert [words for words in shown if words.startswith("torch torchaudio-2")]
    assert shown[-2:] == ["torch: fetching what it needs besides", "torch: installing"]
    assert not (node.home / "run/torch.json").exists()
    assert made["changed"] and made["torch"] == NEW["torch"] and made["triton"] is None
    assert made["proof"] == "1 operations on 1 device(s): all right"
    assert made["proof_outcome"]["devices"][0]["results"][0]["status"] == "ok"
    again = node.look()
    assert again["settled"] and again["plan"] == []
    assert node.make()["changed"] is False
    assert "No broken requirements" in node.pip("check")
    assert node.python("import os; print(os.environ['TORCH_BLAS_PREFER_HIPBLASLT'])") == "0"
    # The wheels were installed from an index, not from a folder: pip freeze names versions.
    assert f"torch=={NEW['torch']}" in node.pip("freeze")


def test_check_mode_builds_nothing(node: Node) -> None:
    from mi50.torchenv.run import run

    result = run(node.options(step="build"), check_mode=True)
    assert result["changed"] and "there is none yet" in result["diff"]["after"]
    assert not node.root.exists()


def test_stock_triton_never_comes_and_never_returns(made: Node) -> None:
    assert not (made.site / "triton").exists()
    listing = made.pip("list")
    assert "pytorch-triton-rocm 3.5.0+absent" in " ".join(listing.split())
    # A package that needs torch finds every need met, and fetches no triton.
    index = (made.indexes / "pytorch/rocm6.4").as_uri()
    made.pip("install", "rich-own", "--index-url", (made.indexes / "pypi").as_uri(), "--extra-index-url", index)
    assert not (made.site / "triton").exists()


@pytest.mark.parametrize("name", ["triton", "pytorch-triton-rocm"])
def test_our_triton_takes_both_names_and_shares_torch(made: Node, name: str) -> None:
    node = made
    first = str(made.link.resolve())
    second = node.make(triton_wheel=node.triton(name))
    assert second["changed"] and second["triton"] == "3.5.0+gfx906"
    assert second["generation"] != first
    versions = " ".join(node.pip("list").split())
    assert "triton 3.5.0+gfx906" in versions and "pytorch-triton-rocm 3.5.0+gfx906" in versions
    assert "No broken requirements" in node.pip("check")
    assert node.python("import triton; print(triton.FLAVOUR)") == "gfx906"
    same = [Path(one) / node.site.relative_to(node.link) / "torch/version.py" for one in (first, second["generation"])]
    assert same[0].samefile(same[1])
    assert node.look(triton_wheel=node.triton(name))["settled"]
    # Nobody hands a wheel over in the next run: what is there stays.
    assert node.look()["settled"]


def test_another_build_of_triton_is_put_in(made: Node) -> None:
    made.make(triton_wheel=made.triton())
    seen = made.look(triton_wheel=made.triton("pytorch-triton-rocm"))
    assert not seen["settled"] and "another build of triton" in seen["plan"][0]


def test_torch_installed_again_is_noticed(made: Node) -> None:
    index = (made.indexes / "pytorch/rocm6.4").as_uri()
    made.pip("install", "--force-reinstall", "--no-deps", "torch", "--index-url", index)
    seen = made.look()
    assert not seen["settled"] and seen["generation"], "the same torch needs no new generation"
    mended = made.make()
    assert mended["generation"] == seen["generation"] and mended["changed"]
    assert made.look()["settled"]


def test_another_torch_over_ours_is_replaced_beside(made: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    first = str(made.link.resolve())
    index = (made.indexes / "pytorch/rocm6.4").as_uri()
    refused = made.pip("install", "--no-deps", f"torch=={OLD['torch']}", "--index-url", index)
    assert "(constraint) torch==2.9.0+rocm6.4" in refused
    monkeypatch.setenv("PIP_CONSTRAINT", os.devnull)
    made.pip("install", "--no-deps", f"torch=={OLD['torch']}", "--index-url", index)
    monkeypatch.delenv("PIP_CONSTRAINT")
    seen = made.look()
    assert "torch 2.8.0+rocm6.4, was 2.9.0+rocm6.4" in seen["plan"][0]
    assert made.make()["generation"] != first
    assert made.look()["settled"]
    assert not Path(first).exists(), "a spoiled generation is not kept"


def test_stock_triton_over_ours_is_replaced(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.make(triton_wheel=node.triton())
    monkeypatch.setenv("PIP_CONSTRAINT", os.devnull)
    index = (node.indexes / "pytorch/rocm6.4").as_uri()
    node.pip("install", "--force-reinstall", "--no-deps", "pytorch-triton-rocm==3.5.0", "--index-url", index)
    assert node.python("import triton; print(triton.FLAVOUR)") == "stock"
    assert "pytorch-triton-rocm 3.5.0, was 3.5.0+gfx906" in node.look(triton_wheel=node.triton())["plan"][0]
    node.make(triton_wheel=node.triton())
    assert node.python("import triton; print(triton.FLAVOUR)") == "gfx906"
    assert node.look()["settled"]


def test_lost_library_is_noticed(made: Node) -> None:
    (made.site / "torch/lib/libtorch_hip.so").unlink()
    assert "torch/lib/libtorch_hip.so is missing" in made.look()["plan"][0]


def test_verify_reads_every_file(made: Node) -> None:
    from mi50.torchenv.run import run

    assert run(made.options(step="verify"), check_mode=False)["changed"] is False
    with (made.site / "torchvision/__init__.py").open("a") as stream:
        stream.write("# changed\n")
    assert made.look()["settled"], "a look does not read everything"
    with pytest.raises(model.TorchEnvError, match=r"1 files are not as .* torchvision/__init__\.py: was changed"):
        run(made.options(step="verify"), check_mode=False)


def test_kernels_that_are_missing_are_a_reason(node: Node) -> None:
    """Without the record of gfx906_rocblas there are none; the role then has them put in, and finish insists."""
    with pytest.raises(model.TorchEnvError, match="gfx906_rocblas puts them in"):
        node.make(kernels={})
    assert not node.link.exists(), "it was not put into use"
    node.make()
    seen = node.look(kernels={})
    assert any("lacks gfx906 kernels" in line for line in seen["plan"])
    library = node.site / "torch/lib/rocblas/library"
    (library / names.MANIFEST).write_text("{}")
    assert not node.look(kernels={})["settled"]


def test_a_killed_build_is_cleared(node: Node) -> None:
    half = node.root / ".torch/2.9.0-rocm6.4.1"
    (half / "bin").mkdir(parents=True)
    made = node.make()
    assert made["generation"] == str(half) and model.packages(half), "what the killed run left was cleared away"


@pytest.mark.parametrize("moment", ["install", "check", "mi50_compute"])
def test_a_run_that_is_killed_leaves_the_one_in_use(made: Node, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    before = made.state()
    inner = process.run

    def die(argv: list[str], data: bytes = b"", timeout: float | None = None) -> process.Finished:
        if moment in argv:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(argv, data, timeout)

    child = os.fork()
    if not child:
        monkeypatch.setattr(process, "run", die)
        made.make(torch=OLD)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, "nobody was killed: this proves nothing"
    after = made.state()
    assert {name: after[name] for name in before} == before
    made.make(torch=OLD)
    assert made.python("import torch; print(torch.__version__)", "comfyui") == OLD["torch"]
    assert len(list((made.root / ".torch").iterdir())) == 2, "what the killed run left was cleared away"


def test_going_back_needs_no_network(node: Node) -> None:
    first = node.make(torch=OLD)["generation"]
    second = node.make()["generation"]
    assert node.link.resolve() == Path(second)
    back = node.make(torch=OLD, index="http://127.0.0.1:9/whl", pypi="http://127.0.0.1:9/simple")
    assert back["generation"] == first and node.link.resolve() == Path(first)


def test_a_spoiled_one_is_not_gone_back_to(node: Node) -> None:
    first = node.make(torch=OLD)["generation"]
    node.make()
    site = Path(first) / node.site.relative_to(node.link)
    (site / "torch/version.py").write_text("__version__ = 'spoiled'\n")
    back = node.make(torch=OLD)["generation"]
    assert back != first and node.python("import torch; print(torch.__version__)") == OLD["torch"]


def test_the_previous_one_goes_when_it_is_not_wanted(node: Node) -> None:
    first = node.make(torch=OLD)["generation"]
    node.make(keep_previous=False)
    assert not Path(first).exists()


def test_own_packages_come_along(node: Node) -> None:
    node.make(torch=OLD)
    node.pip("install", "rich-own", "--no-deps", "--index-url", (node.indexes / "pypi").as_uri())
    assert node.look(torch=OLD)["plan"] == []
    node.make(torch=OLD)
    assert node.look(torch=OLD)["settled"], "a package of the user is no drift"
    node.make()
    assert node.python("import rich_own, torch; print(rich_own.VALUE, torch.__version__)") == f"1 {NEW['torch']}"


def test_generations_count_upwards(tmp_path: Path) -> None:
    asked = model.Wanted(tmp_path, "/usr/bin/python3", {"torch": "2.9.0+rocm6.4"}, None, "")
    for number in (2, 10):
        (asked.store / f"2.9.0-rocm6.4.{number}").mkdir(parents=True)
    assert generations.free_name(asked).name == "2.9.0-rocm6.4.11"


def test_absent_leaves_nothing(made: Node) -> None:
    from mi50.torchenv.run import run

    gone = run(made.options(state="absent"), check_mode=False)
    assert gone["changed"] and str(made.root / "comfyui") in gone["removed"]
    assert not made.root.exists() and not list(made.home.rglob("*.py"))
    assert run(made.options(state="absent"), check_mode=False)["changed"] is False


def test_question_answers_only_when_nothing_is_left(node: Node) -> None:
    assert question.answer(node.options()) is None
    node.make(triton_wheel=node.triton())
    answer = question.answer(node.options())
    assert answer and answer["settled"] and answer["has"] == "torch 2.9.0+rocm6.4, triton 3.5.0+gfx906"
    (node.root / "torch").unlink()
    (node.root / "torch").mkdir()
    assert question.answer(node.options()) is None, "the role says what is wrong"
