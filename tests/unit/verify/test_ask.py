"""The roles' questions, asked for what is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from mi50.preflight import also
from mi50.rocm import question as rocm
from mi50.verify import ask
from mi50.verify.model import Crash


def never(_command: list[str]) -> tuple[int, str]:
    raise AssertionError("a program was started")


def test_every_question_of_the_preflight_can_be_verified() -> None:
    assert set(also.NAMES) == set(ask._ANSWERS)


def test_a_refusal_is_an_answer_and_what_has_no_options_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_options: object, _run: object) -> dict[str, Any]:
        raise rocm.Unanswered("no apt here")

    monkeypatch.setitem(ask._ANSWERS, "rocm_info", refuse)
    found = ask.ask({"rocm_info": {"version": "6.4.3"}, "fan_info": None, "gpu_power_info": {}}, never)
    assert found == {"rocm_info": "no apt here"}
    assert "no question" in str(ask.ask({"weather": {"x": 1}}, never)["weather"])


def test_torch_is_asked_with_the_wheel_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    built = {"builds": {"triton": {"path": "/w.whl", "sha256": "ab"}}}
    monkeypatch.setitem(ask._ANSWERS, "build_once", lambda _options, _run: built)
    monkeypatch.setitem(ask._ANSWERS, "torch_env", lambda options, _run: seen.append(options) or {})
    ask.ask({"build_once": {"builds": []}, "torch_env": {"root": "/v"}}, never)
    assert seen == [{"root": "/v", "triton_wheel": "/w.whl", "triton_sha256": "ab"}]


def test_kernels_are_read_to_the_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `gfx906_rocblas` would be asked, with sha256 whatever the role says; problems named, nothing written."""
    asked: list[Any] = []

    def run_all(request: Any, destinations: list[str]) -> tuple[dict[str, Any], None]:
        asked.append((request, destinations))
        drift = {"missing": ["a", "b", "c", "d", "e"], "catalogs": ["f"]}
        return {"drift": drift, "warnings": [], "needs_source": True, "files": {"unchanged": ["x"]}}, None

    monkeypatch.setattr(ask, "run_all", run_all)
    found = ask.kernels({"dest": ["/a", "/b"], "verify": "stat", "version": "6.4.3", "state": "absent"})
    assert [request.verify for request, _dest in asked] == ["sha256", "sha256"]
    assert all(request.check_mode and request.defer and request.state == "present" for request, _dest in asked)
    assert [destinations for _request, destinations in asked] == [["/a"], ["/b"]]
    assert found["libraries"][0] == {
        "dest": "/a",
        "whole": 1,
        "problems": ["missing: a, b, c and 2 more", "catalogs of another build: f"],
    }


def test_a_library_without_kernels_is_a_problem_and_stays_as_it_is(tmp_path: Path) -> None:
    library = tmp_path / "lib/rocblas/library"
    library.mkdir(parents=True)
    (library / "TensileLibrary_lazy_gfx908.dat").write_bytes(b"x")
    before = hashlib.sha256(b"".join(str(path).encode() for path in sorted(tmp_path.rglob("*")))).digest()
    (one,) = ask.kernels({"dest": [str(tmp_path)]})["libraries"]
    assert one["whole"] == 0
    assert one["problems"] == ["no kernels were installed here, or others are asked for now"]
    assert hashlib.sha256(b"".join(str(path).encode() for path in sorted(tmp_path.rglob("*")))).digest() == before


def test_a_damaged_build_is_no_wheel_to_ask_for_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """build_once has no path of a wheel whose bytes are wrong; torch and the engine are asked all the same."""
    seen: list[Any] = []
    built = {
        "builds": {"triton": {"held": False, "key": "ab", "parts": {}, "problem": "sha256"}, "vllm": {"held": False}}
    }
    monkeypatch.setitem(ask._ANSWERS, "build_once", lambda _options, _run: built)
    monkeypatch.setitem(ask._ANSWERS, "torch_env", lambda options, _run: seen.append(options) or {})
    monkeypatch.setitem(ask._ANSWERS, "vllm", lambda options, _run: seen.append(options) or {})
    questions = {"build_once": {"builds": []}, "torch_env": {"root": "/v"}, "vllm": {"build": "vllm"}}
    assert ask.ask(questions, never) == {"build_once": built, "torch_env": {}, "vllm": {}}
    assert seen == [{"root": "/v"}, {"build": "vllm"}]


def test_an_engine_is_asked_with_the_wheel_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setitem(ask._ANSWERS, "build_once", lambda _options, _run: {"builds": {"vllm": {"sha256": "ab"}}})
    monkeypatch.setitem(ask._ANSWERS, "vllm", lambda options, _run: seen.append(options) or {})
    ask.ask({"build_once": {"builds": []}, "vllm": {"build": "vllm"}}, never)
    assert seen == [{"build": "vllm", "wheel_sha256": "ab"}]


def test_a_question_that_crashes_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_options: object, _run: object) -> dict[str, Any]:
        raise KeyError("path")

    monkeypatch.setitem(ask._ANSWERS, "rocm_info", crash)
    monkeypatch.setitem(ask._ANSWERS, "vllm", lambda _options, _run: {"settled": True})
    found = ask.ask({"rocm_info": {"version": "6.4.3"}, "vllm": {"build": ""}}, never)
    assert isinstance(found["rocm_info"], Crash) and found["rocm_info"].text.startswith("KeyError: 'path' (")
    assert found["vllm"] == {"settled": True}
