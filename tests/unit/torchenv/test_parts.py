"""Names of wheels, pages of an index, placeholders, settings, the question in the preflight's call."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from mi50.preflight import also
from mi50.stack.api import get_stack
from mi50.torchenv import gpus, index, model, question, records, settings, wheels

ROOT = Path(__file__).resolve().parents[3]
TORCH = "torch-2.9.0+rocm6.4-cp311-cp311-manylinux_2_28_x86_64.whl"


@pytest.mark.parametrize(
    ("file", "minor", "fits"),
    [
        (TORCH, "3.11", True),
        (TORCH, "3.12", False),
        ("torch-2.9.0+rocm6.4-cp313-cp313t-manylinux_2_28_x86_64.whl", "3.13", False),
        ("triton-3.5.0+gfx906-cp311-cp311-linux_x86_64.whl", "3.11", True),
        ("x-1.0-py3-none-any.whl", "3.9", True),
        ("x-1.0-cp311-cp311-win_amd64.whl", "3.11", False),
        ("x-1.0-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl", "3.11", False),
        ("x-1.0-1-cp311-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", "3.11", True),
    ],
)
def test_which_wheels_fit(file: str, minor: str, fits: bool) -> None:
    name = index.wheel_name(file)
    assert name and index.fits(name, minor) is fits


def test_what_is_no_wheel() -> None:
    assert index.wheel_name("torch-2.9.0.tar.gz") is None


def test_a_page_as_pytorch_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "torch"
    folder.mkdir()
    text = f'<a href="/whl/rocm6.4/{TORCH.replace("+", "%2B")}#sha256=ABC" data-x>x</a><a href="torch-1.tar.gz">y</a>'
    (folder / "index.html").write_text(text)
    found = index.page(tmp_path.as_uri(), "torch")
    assert found == [index.Link(TORCH, f"file:///whl/rocm6.4/{TORCH.replace('+', '%2B')}", "abc")]
    assert index.choose(found, "torch", "2.9.0+rocm6.4", "3.11") == found[0]
    with pytest.raises(model.TorchEnvError, match=r"PyTorch has it for cp311, not for Python 3\.9"):
        index.choose(found, "torch", "2.9.0+rocm6.4", "3.9")
    with pytest.raises(model.TorchEnvError, match="correct mi50_url_pytorch"):
        index.page("ftp://x", "torch")


def test_which_digest_counts() -> None:
    link = index.Link(TORCH, "https://x.example/t", "aa")
    assert index.expected(link, {}) == "aa"
    assert index.expected(link, {TORCH: "AA"}) == "aa"
    assert index.expected(link._replace(sha256=""), {TORCH: "bb"}) == "bb"
    assert index.expected(link._replace(sha256=""), {}) == ""


@pytest.mark.parametrize(
    ("line", "need"),
    [
        ('Requires-Dist: pytorch-triton-rocm==3.5.0; platform_system == "Linux"', ("pytorch-triton-rocm", "3.5.0")),
        ("Requires-Dist: pytorch-triton-rocm (==3.4.0) ; x", ("pytorch-triton-rocm", "3.4.0")),
        ("Requires-Dist: triton_rocm==3.6.0", ("triton-rocm", "3.6.0")),
        ("Requires-Dist: jinja2", ("", "")),
    ],
)
def test_what_torch_takes_triton_from(line: str, need: tuple[str, str]) -> None:
    assert wheels.needed_triton(f"Name: torch\nRequires-Dist: filelock\n{line}\n") == need


def test_placeholders_hold_the_names_nobody_has(tmp_path: Path) -> None:
    ours = index.wheel_name("triton-3.5.0+gfx906-cp311-cp311-linux_x86_64.whl")
    assert wheels.placeholders(tmp_path, ours, ("pytorch-triton-rocm", "3.5.0"), "3.5.0+gfx906") == {
        "pytorch-triton-rocm": "3.5.0+gfx906"
    }
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        assert all(".dist-info/" in name for name in archive.namelist()), "a placeholder has no code"
        text = archive.read("pytorch_triton_rocm-3.5.0+gfx906.dist-info/METADATA").decode()
    assert "Requires-Dist: triton==3.5.0+gfx906" in text
    assert wheels.placeholders(tmp_path, None, ("pytorch-triton-rocm", "3.5.0"), "") == {
        "pytorch-triton-rocm": "3.5.0+absent"
    }
    with pytest.raises(model.TorchEnvError, match=r"this torch needs pytorch-triton-rocm==3\.4\.0"):
        wheels.placeholders(tmp_path, ours, ("pytorch-triton-rocm", "3.4.0"), "")


def test_a_file_that_is_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_text("no")
    with pytest.raises(model.TorchEnvError, match="cannot be read as a wheel"):
        wheels.metadata(path)


GIVEN = {
    **{name: "" for name in settings.SETTINGS},
    "root": "/v",
    "python": "/usr/bin/python3",
    "environments": ["comfyui", {"name": "old", "state": "absent"}],
    "kernels": {},
    "proof": True,
    "proof_only": [],
}


@pytest.mark.parametrize(("stack", "patched"), [("rocm-6.4.3", True), ("rocm-6.3.3", False)])
def test_settings_are_completed_from_the_stack(stack: str, patched: bool) -> None:
    resolved = get_stack(stack, ROOT / "stacks", None, {"mi50_url_pytorch": "https://mirror.example/whl"})
    plan = settings.plan(resolved, GIVEN, settings.files(ROOT))
    options = plan["options"]
    series = stack[: stack.rindex(".")].replace("-", "")
    assert plan["patched"] is patched and (options["kernels"] == {}) is patched
    assert options["torch"]["torch"].endswith(series) and options["index"] == f"https://mirror.example/whl/{series}"
    assert options["environments"] == [
        {"state": "present", "name": "comfyui"},
        {"state": "absent", "name": "old"},
    ]
    assert "triton_wheel" not in options and "pypi" not in options, "what is not set is not handed on"


def test_the_program_is_the_checkouts() -> None:
    paths = {Path(file["path"]).name for file in settings.files(ROOT)}
    assert paths == {path.name for path in (ROOT / "compute/mi50_compute").glob("*.py")} | {"mi50-compute"}
    assert all("content" not in file for file in settings.files(ROOT))


def test_the_question_takes_triton_from_what_was_built() -> None:
    built = {"builds": {"triton": {"path": "/b/triton.whl", "sha256": "ab"}}}
    assert question.with_builds({}, built) == {"triton_wheel": "/b/triton.whl", "triton_sha256": "ab"}
    assert question.with_builds({"triton_wheel": "/mine.whl"}, built) == {"triton_wheel": "/mine.whl"}
    assert question.with_builds({"root": "/v"}, None) == {"root": "/v"}


def test_the_preflight_asks_it_last_and_hands_the_build_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    held = {"builds": {"triton": {"path": "/t", "sha256": "1"}}}
    shorts = {
        "build_once": lambda question, asked, run: held,
        "torch_env": lambda question, asked, run: seen.append(asked) or {"settled": True},
    }
    for name, short in shorts.items():
        monkeypatch.setitem(also.QUESTIONS, name, also.QUESTIONS[name]._replace(short=short))
    answers = also.ask({"build_once": {"x": 1}, "torch_env": {"root": "/v"}}, lambda command: (0, ""))
    assert list(answers) == ["build_once", "torch_env"]
    assert seen == [{"root": "/v", "triton_wheel": "/t", "triton_sha256": "1"}]


def test_triton_differs_by_digest_or_by_name() -> None:
    record = {"triton": {"file": "a.whl", "version": "3.5.0+gfx906", "sha256": "1"}}

    def asked(path: str, digest: str, pinned: str = "3.5.0+gfx906") -> str:
        triton = model.Triton(path, digest) if path else None
        return records.triton_difference(record, model.Wanted(Path("/"), "", {}, triton, pinned))

    assert asked("/x/a.whl", "") == "" and asked("/x/other.whl", "1") == ""
    assert "another build" in asked("/x/a.whl", "2") and "another build" in asked("/x/b.whl", "")
    assert asked("", "") == "" and "instead of 3.6.0" in asked("", "", "3.6.0")


def test_cards_are_counted_in_kfd(tmp_path: Path) -> None:
    for number, target in enumerate(("0", "90006", "90006", "100300")):
        node = tmp_path / f"class/kfd/kfd/topology/nodes/{number}"
        node.mkdir(parents=True)
        (node / "properties").write_text(f"simd_count 240\ngfx_target_version {target}\n")
    assert gpus.count(tmp_path) == 2
    assert "kfd is missing" in gpus.absent(tmp_path, tmp_path)
    (tmp_path / "kfd").touch()
    assert gpus.absent(tmp_path, tmp_path) == ""
    assert "no gfx906 card" in gpus.absent(tmp_path / "nothing", tmp_path)
