"""Environments on top of the shared one: torch by reference, never a copy, never undone by pip."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import OLD, TOP, Node


def test_torch_is_shared_and_not_copied(made: Node) -> None:
    assert made.python("import torch; print(torch.__file__)", "comfyui") == str(made.site / "torch/__init__.py")
    assert made.python("import os; print(os.environ['TORCH_BLAS_PREFER_HIPBLASLT'])", "comfyui") == "0"
    assert "No broken requirements" in made.pip("check", name="comfyui")
    site = made.root / "comfyui" / made.site.relative_to(made.link)
    assert not list(site.glob("torch*"))
    # One more environment costs a venv with pip and a small file, whatever torch weighs.
    own = {path.name for path in site.iterdir() if path.name != "__pycache__" and not path.name.startswith("pip")}
    assert own == {"mi50_torch.pth"}


def test_it_follows_the_shared_one_at_once(made: Node) -> None:
    made.make(torch=OLD, environments=TOP)
    assert made.python("import torch; print(torch.__version__)", "comfyui") == OLD["torch"]
    assert "torch==2.8.0+rocm6.4" in (made.link / "constraints.txt").read_text()


def test_pip_in_it_cannot_reach_the_shared_one(made: Node) -> None:
    before = made.state()
    said = made.pip("uninstall", "--yes", "torch", name="comfyui")
    assert "outside environment" in said
    said = made.pip("install", "torch<2.9", "--index-url", made.given["index"], name="comfyui")
    assert "(constraint) torch==2.9.0+rocm6.4" in said
    assert made.state() == before


def test_a_torch_of_its_own_goes_again(made: Node) -> None:
    made.pip("install", "--force-reinstall", "--no-deps", "torch", "--index-url", made.given["index"], name="comfyui")
    assert "comfyui" in made.python("import torch; print(torch.__file__)", "comfyui")
    assert made.look(environments=TOP)["plan"] == ["environment comfyui: its own torch 2.9.0+rocm6.4 hides ours"]
    assert made.make(environments=TOP)["changed"]
    assert made.python("import torch; print(torch.__file__)", "comfyui") == str(made.site / "torch/__init__.py")
    assert made.look(environments=TOP)["settled"]


def test_a_stock_triton_in_it_goes(made: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONSTRAINT", os.devnull)
    stock = ["pytorch-triton-rocm==3.5.0", "--index-url", made.given["index"]]
    made.pip("install", "--no-deps", "--force-reinstall", *stock, name="comfyui")
    assert made.python("import triton; print(triton.FLAVOUR)", "comfyui") == "stock"
    made.make(environments=TOP)
    assert not (made.root / "comfyui" / made.site.relative_to(made.link) / "triton").exists()


def test_another_torch_in_it_is_refused(
    made: Node, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONSTRAINT", os.devnull)
    older = ["--no-deps", f"torch=={OLD['torch']}", "--index-url", made.given["index"]]
    made.pip("install", *older, name="comfyui")
    words = refused(environments=TOP)
    assert "torch 2.8.0+rocm6.4 of its own, which hides the shared 2.9.0+rocm6.4" in words
    assert "pip uninstall torch" in words and "pytorch_environments" in words


def test_its_package_that_needs_the_torch_in_use_stops_an_upgrade(
    made: Node, refused: Callable[..., str], indexes: Path
) -> None:
    made.make(torch=OLD, environments=TOP)
    made.pip("install", "--no-index", "--find-links", str(indexes / "own"), "xformers", name="comfyui")
    words = refused(environments=TOP)
    assert str(made.root / "comfyui") in words and "xformers 0.0.32 needs torch==2.8.0" in words


def test_its_settings_are_put_back(made: Node) -> None:
    (made.root / "comfyui/pip.conf").write_text("[global]\nindex-url = https://elsewhere.example\n")
    assert made.look(environments=TOP)["plan"] == ["environment comfyui: pip.conf differs"]
    made.make(environments=TOP)
    assert str(made.link / "constraints.txt") in (made.root / "comfyui/pip.conf").read_text()


def test_one_that_was_not_finished_is_made_anew_and_one_not_wanted_goes(made: Node) -> None:
    mark = made.root / "comfyui/.mi50-env.json"
    mark.write_text(mark.read_text().replace("true", "false"))
    (made.root / "comfyui/leftover").touch()
    made.make(environments=TOP)
    assert not (made.root / "comfyui/leftover").exists() and made.look(environments=TOP)["settled"]
    made.make(environments=[{"name": "comfyui", "state": "absent"}])
    assert not (made.root / "comfyui").exists()


def test_one_of_another_python_is_refused(made: Node, refused: Callable[..., str]) -> None:
    mark = made.root / "comfyui/.mi50-env.json"
    mark.write_text(mark.read_text().replace('"minor": "3.', '"minor": "2.'))
    words = refused(environments=TOP)
    assert "was made with Python 2." in words and "pip freeze --local" in words
