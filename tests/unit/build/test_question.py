"""What a node answers about builds, alone and together with the preflight."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from mi50.build import facts, question, store
from mi50.build import key as keys
from mi50.preflight import also

CONTENT = b"wheel"
WHEEL = "triton-3.5.0+gfx906-py3-none-any.whl"
PARTS = {"name": "triton 3.5.0", "source": "a" * 40}


def options(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    build = {"name": "triton", "version": "3.5.0", "parts": PARTS, **changes}
    asked = {
        "builds": [build],
        "dir": str(tmp_path / "builds"),
        "work_dir": str(tmp_path / "w"),
        "python": sys.executable,
    }
    found = ArgumentSpecValidator(question.SPEC).validate(asked)
    assert found.error_messages == []
    return dict(found.validated_parameters)


@pytest.fixture
def shelf(tmp_path: Path) -> str:
    """A finished build for this very machine; its key."""
    parts = keys.parts(PARTS, facts.compatibility(sys.executable))
    file = {"name": WHEEL, "sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}
    key = keys.digest(parts)
    manifest = {"name": "triton", "version": "3.5.0", "key": key, "parts": parts, "files": [file]}
    (tmp_path / "source").write_bytes(CONTENT)
    store.Store(tmp_path / "builds").place(manifest, {WHEEL: tmp_path / "source"})
    return key


def test_a_node_that_has_it_says_where(tmp_path: Path, shelf: str) -> None:
    found = question.answer(options(tmp_path))
    assert found["settled"] is True
    assert found["builds"]["triton"]["path"] == str(tmp_path / "builds" / shelf / WHEEL)
    assert found["builds"]["triton"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_another_commit_is_another_build(tmp_path: Path, shelf: str) -> None:
    found = question.answer(options(tmp_path, parts={**PARTS, "source": "b" * 40}))
    assert found["settled"] is False
    assert found["builds"]["triton"]["key"] != shelf
    assert "path" not in found["builds"]["triton"]


def test_a_pin_brings_the_earlier_one_back(tmp_path: Path, shelf: str) -> None:
    changed = {**PARTS, "source": "b" * 40}
    assert question.answer(options(tmp_path, parts=changed, pin=shelf[:8]))["settled"] is True
    assert question.answer(options(tmp_path, parts=changed, pin="ffffffff"))["settled"] is False


def test_a_truncated_wheel_is_noticed_without_reading_it(tmp_path: Path, shelf: str) -> None:
    (tmp_path / "builds" / shelf / WHEEL).write_bytes(b"wh")
    found = question.answer(options(tmp_path))
    assert found["settled"] is False
    assert "2 bytes instead of 5" in found["builds"]["triton"]["problem"]


def test_a_changed_wheel_is_noticed_when_every_byte_is_read(tmp_path: Path, shelf: str) -> None:
    (tmp_path / "builds" / shelf / WHEEL).write_bytes(b"whale")
    assert question.answer(options(tmp_path))["settled"] is True
    assert question.look(options(tmp_path))["settled"] is False


def test_a_look_says_what_the_node_can_spare(tmp_path: Path) -> None:
    found = question.look(options(tmp_path, requires_python="2.6-2.7"))["builds"]["triton"]
    assert found["cores"] >= 1 and found["memory_mib"] > 0 and found["disk_mib"] > 0
    assert found["state"] == "nothing"
    assert "is for Python 2.6-2.7" in found["unsuitable"]
    assert question.look(options(tmp_path, requires_python="3.9-3.99"))["builds"]["triton"]["unsuitable"] == ""


@pytest.mark.parametrize(
    ("written", "state"),
    [({"status": "done"}, "finished"), ({"status": "failed"}, "nothing"), ({"status": "running"}, "running")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_state_of_a_build_here(tmp_path: Path, written: dict[str, Any], state: str) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"boot_id": facts.boot_id(), **written}))
    assert question.state(tmp_path) == state
    (tmp_path / "state.json").write_text(json.dumps({"boot_id": "another boot", "status": "running"}))
    assert question.state(tmp_path) == "nothing"


def test_another_python_is_asked_itself(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho .cpython-399-x86_64-linux-gnu.so\n")
    script.chmod(0o755)
    assert facts.compatibility(str(script))["python"] == "cpython-399-x86_64-linux-gnu"
    with pytest.raises(question.Unanswered, match="build_once_python"):
        question.answer({**options(tmp_path), "python": str(tmp_path / "none")})


def test_asked_together_with_the_preflight(tmp_path: Path, shelf: str) -> None:
    answers = also.ask({"build_once": options(tmp_path)}, lambda *_: None)
    assert answers["build_once"]["builds"]["triton"]["key"] == shelf
    assert set(answers["build_once"]["builds"]["triton"]) == {"path", "sha256", "size", "version", "key"}
    # Only answers that leave nothing to do are of use to a role.
    assert also.ask({"build_once": options(tmp_path, parts={})}, lambda *_: None) == {}
    assert also.ask({"build_once": {**options(tmp_path), "python": "/none"}}, lambda *_: None) == {}
