"""Questions of roles in the call of the preflight: only answers that leave nothing to do come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from mi50.preflight import also
from mi50.rocblas import names
from mi50.rocblas import question as rocblas
from mi50.rocm import question as rocm

SEEN = {
    "settled": True,
    "rocm": {"version": "6.4.3-128", "packages": {"rocm": "6.4.3.60403-128"}},
    "driver": {"mode": "inbox", "reason": "x", "packages": [], "warnings": ["w"]},
    "reboot_required": False,
    "reboot_reasons": [],
    "problems": [],
}
QUESTIONS: dict[str, dict[str, Any]] = {"gfx906_rocblas": {"dest": ["/x"]}, "rocm_info": {"version": "6.4.3"}}


def run(command: list[str]) -> tuple[int, str]:
    raise AssertionError(f"started {command}")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    """Ask both with these answers; return what came back and who was asked, in order."""

    def ask(questions: dict[str, Any], seen: object, kernels: object) -> tuple[dict[str, Any], list[str]]:
        order: list[str] = []

        def answer_rocm(_options: object, _run: object) -> object:
            order.append("rocm_info")
            if isinstance(seen, Exception):
                raise seen
            return seen

        def answer_rocblas(_options: object) -> object:
            order.append("gfx906_rocblas")
            return kernels

        monkeypatch.setattr(rocm, "answer", answer_rocm)
        monkeypatch.setattr(rocblas, "answer", answer_rocblas)
        return also.ask(questions, run), order

    return ask


def test_settled_answers_hold_what_roles_read(asked: Callable[..., tuple[dict[str, Any], list[str]]]) -> None:
    answers, order = asked(QUESTIONS, SEEN, {"files": {"/x": 156}})
    assert order == ["rocm_info", "gfx906_rocblas"]
    assert answers == {
        "rocm_info": {
            "settled": True,
            "has": "ROCm 6.4.3-128, driver inbox",
            "rocm": {"version": "6.4.3-128"},
            "driver": {"mode": "inbox", "warnings": ["w"]},
            "reboot_required": False,
            "reboot_reasons": [],
        },
        "gfx906_rocblas": {"has": "gfx906 kernel files 156", "files": {"/x": 156}},
    }


@pytest.mark.parametrize("seen", [{**SEEN, "settled": False}, rocm.Unanswered("no apt here")])
def test_what_comes_after_a_role_that_acts_is_not_asked(
    asked: Callable[..., tuple[dict[str, Any], list[str]]], seen: object
) -> None:
    assert asked(QUESTIONS, seen, {"files": {"/x": 156}}) == ({}, ["rocm_info"])


def test_a_role_with_other_work_is_not_asked_nor_are_those_after_it(
    asked: Callable[..., tuple[dict[str, Any], list[str]]],
) -> None:
    assert asked({**QUESTIONS, "rocm_info": {}}, SEEN, {"files": {}}) == ({}, [])
    assert asked({}, SEEN, {}) == ({}, [])


def test_a_role_without_work_is_passed_over(asked: Callable[..., tuple[dict[str, Any], list[str]]]) -> None:
    answers, order = asked({**QUESTIONS, "rocm_info": None}, SEEN, {"files": {}})
    assert (list(answers), order) == (["gfx906_rocblas"], ["gfx906_rocblas"])


def test_kernels_that_are_not_whole_give_no_answer(asked: Callable[..., tuple[dict[str, Any], list[str]]]) -> None:
    answers, order = asked(QUESTIONS, SEEN, None)
    assert (list(answers), order) == (["rocm_info"], ["rocm_info", "gfx906_rocblas"])


def test_a_library_is_looked_at_and_left_alone(tmp_path: Path) -> None:
    """A killed run's rest is the module's to finish, not the preflight's."""
    library = tmp_path / "lib/rocblas/library"
    (library / names.STAGING).mkdir(parents=True)
    (library / "TensileLibrary_lazy_gfx90a.dat").write_text("x")
    before = sorted(path.name for path in library.iterdir())
    options = {"src": str(tmp_path / "none.deb"), "dest": [str(tmp_path)], "source_id": "https://m/none.deb"}
    assert rocblas.answer(options) is None
    assert rocblas.answer({**options, "dest": [str(tmp_path / "nowhere")]}) is None
    assert sorted(path.name for path in library.iterdir()) == before


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"rocm": {"version": "6.4.3"}}, ["rocm", "rocm_info", "gfx906_rocblas"]),
        ({"rocm_info": {"version": "6.4.3", "driver": "nvidia"}}, ["rocm_info", "driver", "build"]),
        ({"gfx906_rocblas": {"destination": "/opt"}}, ["gfx906_rocblas", "destination"]),
    ],
)
def test_module_refuses_wrong_questions(
    plugin: Callable[[str, str], ModuleType],
    stack: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
    question: dict[str, Any],
    says: list[str],
) -> None:
    with patch_module_args({"stack": stack, "also": question}), pytest.raises(SystemExit):
        plugin("library", "preflight_host").main()
    result = json.loads(capfd.readouterr().out)
    assert result["failed"]
    assert all(word in result["msg"] for word in ["also", *says]), result["msg"]


def test_module_asks_no_role_after_a_failed_check(
    plugin: Callable[[str, str], ModuleType],
    stack: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = plugin("library", "preflight_host")
    monkeypatch.setattr(module.also, "ask", lambda _questions, _run: {"gfx906_rocblas": {"files": {}}})
    question = {"gfx906_rocblas": {"dest": [str(tmp_path)], "src": "/none"}}
    with patch_module_args({"stack": stack, "root": str(tmp_path), "also": question}), pytest.raises(SystemExit):
        module.main()
    result = json.loads(capfd.readouterr().out)
    assert "fail" in {check["status"] for check in result["checks"]}
    assert (result["answers"], result["settled"]) == ({}, False)


def test_packages_that_are_not_whole_are_work_whatever_the_roles_say(
    plugin: Callable[[str, str], ModuleType],
    stack: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run of ours was cut off: the node must not be let go as one that lacks nothing."""
    module = plugin("library", "preflight_host")
    monkeypatch.setattr(module.also, "ask", lambda _questions, _run: {"gfx906_rocblas": {"files": {}}})
    seen: list[Any] = []

    def evaluate(host: Any, policy: Any) -> list[Any]:
        seen.append((host.dpkg_cut, policy.mends))
        return []

    monkeypatch.setattr(module, "evaluate", evaluate)
    question = {"gfx906_rocblas": {"dest": [str(tmp_path)], "src": "/none"}}
    given = {"stack": stack, "root": str(tmp_path), "also": question, "run": {"id": "1-1", "name": "n"}}
    results = []
    for cut in ("", "apt-get install rocm"):
        monkeypatch.setitem(module.collect.__globals__, "read_cut", lambda _root, _broken, cut=cut: cut)
        (tmp_path / "var/lib/dpkg/updates").mkdir(parents=True, exist_ok=True)
        (tmp_path / "var/lib/dpkg/updates/0000").touch()
        with patch_module_args({**given, "_ansible_check_mode": True}), pytest.raises(SystemExit):
            module.main()
        results.append(json.loads(capfd.readouterr().out))
    assert seen == [("", True), ("apt-get install rocm", True)]
    assert [one["settled"] for one in results] == [True, False]
    assert results[1]["answers"] == {}
