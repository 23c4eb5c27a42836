"""Everything that is refused: by name, with the way out, and with the environment in use as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mi50 import process
from mi50.torchenv import build, interpreter, model, pip, wheels

from .conftest import NEEDING, OLD, TAG, TOP, Node

Refused = Callable[..., str]
PYTHON = (
    '{{"version": "3.11", "implementation": "{kind}", "prefix": "{prefix}", "base": "{base}", "machine": "x86_64", '
)
PYTHON += '"conda": {conda}, "ensurepip": {pip}, "headers": {headers}}}'


def interpreter_that_says(folder: Path, **what: str) -> str:
    told = {"kind": "cpython", "prefix": "/usr", "base": "/usr", "conda": "false", "pip": "true", "headers": "true"}
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\necho '{PYTHON.format(**{**told, **what})}'\n")
    path.chmod(0o755)
    return str(path)


def asked(python: str, triton: model.Triton | None = None) -> model.Wanted:
    return model.Wanted(Path("/nowhere"), python, {"torch": "2.9.0+rocm6.4"}, triton, "")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"conda": "true", "base": "/opt/conda"}, ["is conda's", "/opt/conda", "/usr/bin/python3"]),
        ({"prefix": "/srv/venv"}, ["virtual environment /srv/venv", "/usr/bin/python3"]),
        ({"kind": "pypy"}, ["is pypy on x86_64"]),
        ({}, ["belongs to no package"]),
    ],
    ids=["conda", "venv", "pypy", "not the distribution's"],
)
def test_interpreters_that_are_refused(tmp_path: Path, what: dict[str, str], words: list[str]) -> None:
    python = interpreter_that_says(tmp_path, **what)
    with pytest.raises(model.TorchEnvError) as error:
        interpreter.probe(asked(python))
    assert all(word in str(error.value) for word in ["pytorch_python", python, *words])


def test_a_refused_interpreter_changes_nothing(refused: Refused, tmp_path: Path) -> None:
    assert "is conda's" in refused(python=interpreter_that_says(tmp_path, conda="true"))


@pytest.mark.parametrize(
    ("what", "packages"),
    [({"pip": "false"}, ["python3-venv"]), ({"headers": "false"}, ["python3-dev"])],
    ids=["venv", "headers"],
)
def test_missing_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: dict[str, str], packages: list[str]
) -> None:
    monkeypatch.setattr(interpreter, "_packaged", lambda path: True)
    found = interpreter.probe(asked(interpreter_that_says(tmp_path, **what)))
    assert found.missing == packages
    with pytest.raises(model.TorchEnvError, match=f"apt-get install {packages[0]}"):
        interpreter.require(found)


def test_triton_needs_a_compiler_and_a_named_python_its_own_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "_packaged", lambda path: True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    python = Path(interpreter_that_says(tmp_path, pip="false", headers="false"))
    named = python.rename(python.with_name("python3.11"))
    found = interpreter.probe(asked(str(named), model.Triton("/x.whl", "")))
    assert found.missing == ["python3.11-venv", "python3.11-dev", "gcc"]


def test_missing_packages_leave_the_environment_alone(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_missing", lambda asked, known: ["python3-venv"])
    assert "missing on this node: python3-venv" in refused(torch=OLD)


def test_the_lock_and_the_index_disagree(refused: Refused) -> None:
    file = f"torch-2.8.0+rocm6.4-cp{TAG}-cp{TAG}-manylinux_2_28_x86_64.whl"
    words = refused(torch=OLD, wheels={file: "0" * 64})
    assert file in words and "0" * 64 in words and "nothing was fetched" in words


def test_a_wheel_that_is_not_what_the_index_says(refused: Refused, made: Node, indexes: Path) -> None:
    copy = made.home / "index"
    shutil.copytree(indexes / "pytorch/rocm6.4", copy)
    wheel = next(copy.glob("torch-2.8*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    words = refused(torch=OLD, index=copy.as_uri())
    assert wheel.name.replace("+", "%2B") in words or wheel.name in words
    assert "sha256" in words and "not touched" in words


def test_a_dependency_that_the_lock_knows_otherwise(refused: Refused) -> None:
    words = refused(torch=NEEDING, wheels={"filelock-9.9-py3-none-any.whl": "1" * 64})
    assert "filelock-9.9" in words and "1" * 64 in words


def test_no_network_to_pytorch(refused: Refused) -> None:
    words = refused(torch=OLD, index="http://127.0.0.1:9/whl/rocm6.4")
    assert "http://127.0.0.1:9/whl/rocm6.4/torch/" in words and "mi50_url_pytorch" in words


def test_no_network_to_the_package_index(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_RETRIES", "1")
    # Nor any other index that this machine's settings add.
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/more")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    words = refused(torch=NEEDING, pypi="http://127.0.0.1:9/simple")
    assert "mi50_url_pypi" in words and "not touched" in words


def test_what_may_pass_is_told_from_what_will_not(node: Node, tmp_path: Path) -> None:
    with pytest.raises(model.Away):
        node.make(index="http://127.0.0.1:9/whl/rocm6.4")
    with pytest.raises(model.TorchEnvError) as error:
        node.make(index=(tmp_path / "none").as_uri())
    assert not isinstance(error.value, model.Away)


@pytest.mark.parametrize(
    ("said", "passing"),
    [
        ("Max retries exceeded with url: /simple/ (Failed to establish a new connection: No route to host)", True),
        ("ERROR: HTTP error 503 while getting http://mirror.example/x.whl", True),
        ("ERROR: HTTP error 404 while getting http://mirror.example/x.whl", False),
        ("ReadTimeoutError\nOSError: [Errno 28] No space left on device", False),
        ("ERROR: No matching distribution found for torch", False),
    ],
)
def test_which_words_of_pip_may_pass(said: str, passing: bool) -> None:
    assert pip.away(said) is passing


def test_a_refused_first_run_leaves_no_folders(node: Node) -> None:
    with pytest.raises(model.TorchEnvError):
        node.make(index="http://127.0.0.1:9/whl/rocm6.4")
    assert not node.root.exists()


def test_an_index_without_the_version(refused: Refused) -> None:
    words = refused(torch={**OLD, "torch": "2.7.0+rocm6.4"})
    assert "torch 2.7.0+rocm6.4" in words and "it has 2.8.0+rocm6.4, 2.9.0+rocm6.4" in words


def test_a_full_disk_is_seen_before(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "unpacked", lambda wheel: 1 << 50)
    words = refused(torch=OLD)
    assert "GiB are needed" in words and "pytorch_root" in words


def test_a_disk_that_fills_half_way(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = process.run

    def full(argv: list[str], data: bytes = b"", timeout: float | None = None) -> process.Finished:
        if "install" in argv:
            return process.Finished(
                1, b"", b"ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
            )
        return inner(argv, data, timeout)

    monkeypatch.setattr(process, "run", full)
    words = refused(torch=OLD)
    assert "The disk is full" in words and "not touched" in words


def test_an_own_package_that_needs_another_torch(refused: Refused, made: Node, indexes: Path) -> None:
    made.pip("install", "--no-deps", "--no-index", "--find-links", str(indexes / "own"), "xformers")
    for more in ({}, {"torch": {**OLD, "torch": "2.9.0+rocm6.4"}}):
        words = refused(**more)
        assert "xformers 0.0.32 needs torch==2.8.0, here is 2.9.0+rocm6.4" in words
        assert "pip uninstall xformers" in words


def test_an_own_package_from_a_folder_cannot_move(refused: Refused, made: Node, indexes: Path) -> None:
    made.pip("install", "--no-deps", "--no-index", str(next((indexes / "pypi/files").glob("rich_own*"))))
    words = refused(torch=OLD)
    assert "rich-own was installed from a folder" in words


@pytest.mark.parametrize(
    ("wheel", "words"),
    [
        (("triton", "3.4.0+gfx906", TAG), ["triton 3.4.0+gfx906", "needs 3.5.0+gfx906"]),
        (("triton", "3.5.0+gfx906", "27"), ["cp27", "Build it with that Python"]),
        (("triton", "3.6.0+gfx906", TAG), ["is not on this node"]),
    ],
    ids=["version", "python", "missing"],
)
def test_a_triton_that_does_not_fit(
    refused: Refused, made: Node, wheel: tuple[str, str, str], words: list[str]
) -> None:
    said = refused(triton_wheel=made.triton(*wheel))
    assert all(word in said for word in ["pytorch_triton_wheel", *words])


def test_a_triton_with_another_digest(refused: Refused, made: Node) -> None:
    assert "expected " + "2" * 64 in refused(triton_wheel=made.triton(), triton_sha256="2" * 64)


def test_our_triton_replaced_and_no_wheel_to_put_back(refused: Refused, made: Node) -> None:
    made.make(triton_wheel=made.triton())
    made.pip("uninstall", "--yes", "triton")
    assert "there is no wheel to put back" in refused()


def test_a_torch_that_does_not_compute_is_not_put_into_use(made: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof of the new one fails; the one in use stays, and the next run tries again without a download."""
    before = made.link.resolve()
    program = made.home / "lib/mi50_compute/__main__.py"
    broken = [
        {
            **file,
            "content": "import sys\nprint('{}')\nprint('matmul-fp32 is wrong', file=sys.stderr)\nsys.exit(1)\n",
            "sha256": "0" * 64,
        }
        if file["path"] == str(program)
        else file
        for file in made.given["files"]
    ]
    with pytest.raises(model.TorchEnvError, match="does not compute: matmul-fp32 is wrong"):
        made.make(torch=OLD, files=broken)
    assert made.link.resolve() == before
    made.make(torch=OLD, index="http://127.0.0.1:9/whl")
    assert made.link.resolve() != before


def test_without_a_driver_the_proof_waits(node: Node) -> None:
    proof = {**node.given["proof"], "device": "auto"}
    made = node.make(proof=proof)
    assert made["proof"].startswith("not yet:") and "kfd is missing" in made["proof"]
    assert not node.look(proof=proof)["settled"]
    assert node.make(proof=proof)["changed"] is False


@pytest.mark.parametrize("name", ["torch", "", "../x", ".torch"])
def test_names_of_environments(node: Node, name: str) -> None:
    with pytest.raises(model.TorchEnvError, match="pytorch_environments"):
        node.look(environments=[{"name": name}])


def test_folders_that_are_not_ours(node: Node) -> None:
    (node.root / "comfyui").mkdir(parents=True)
    with pytest.raises(model.TorchEnvError, match="was not made by this role"):
        node.look(environments=TOP)
    (node.root / "torch").mkdir()
    with pytest.raises(model.TorchEnvError, match="was not made by this role"):
        node.look()
    (node.root / "torch").rmdir()
    (node.root / "torch").symlink_to("/usr")
    with pytest.raises(model.TorchEnvError, match="leads to /usr"):
        node.look()


def test_two_runs_at_once(made: Node) -> None:
    from mi50.torchenv.run import _locked

    with _locked(made.root), pytest.raises(model.TorchEnvError, match="another run is changing it"):
        made.make()


def test_pip_is_not_led_astray_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def note(argv: list[str], data: bytes = b"", timeout: float | None = None) -> process.Finished:
        seen.append(list(argv))
        return process.Finished(0, b"", b"")

    monkeypatch.setattr(process, "run", note)
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    pip.must("/v/bin/python", ["install", "x"], "x")
    words = " ".join(seen[0])
    assert "-u PIP_TARGET" in words and "-u PYTHONPATH" in words and "-I -m pip install x" in words
    assert "PIP_NO_CACHE_DIR=1" in words


def test_plain_http_is_trusted_when_it_is_named() -> None:
    assert build._pypi({"pypi": "http://mirror.lan:8080/pypi"})[2:] == ["--trusted-host", "mirror.lan:8080"]
    assert build._pypi({"pypi": "https://mirror.lan/pypi"})[2:] == []
    assert build._pypi({"pypi": ""}) == []
