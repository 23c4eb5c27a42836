"""Small files, written together."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args


@pytest.fixture
def run(plugin, capfd):
    def call(**params):
        module = plugin("library", "config_files")
        with patch_module_args(params), pytest.raises(SystemExit):
            module.main()
        return json.loads(capfd.readouterr().out)

    return call


def test_writes_reports_and_settles(tmp_path, run):
    one, two = tmp_path / "new/one", tmp_path / "two"
    two.write_text("same\n")
    two.chmod(0o644)
    files = [{"path": str(one), "content": "a\n"}, {"path": str(two), "content": "same\n"}]
    checked = run(files=files, _ansible_check_mode=True)
    assert checked["changed_paths"] == [str(one)] and not one.exists()
    result = run(files=files)
    assert result["changed_paths"] == [str(one)] and one.read_text() == "a\n"
    assert result["diff"][0]["before"] == "" and result["diff"][0]["after"] == "a\n"
    assert run(files=files)["changed"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "two"], "a temporary file was left"


def test_mode_counts(tmp_path, run):
    path = tmp_path / "x"
    path.write_text("a")
    path.chmod(0o600)
    assert run(files=[{"path": str(path), "content": "a"}])["changed"] is True
    assert path.stat().st_mode & 0o777 == 0o644


def test_absent(tmp_path, run):
    path = tmp_path / "x"
    path.write_text("a")
    files = [{"path": str(path)}, {"path": str(tmp_path / "never")}]
    assert run(files=files, state="absent")["changed_paths"] == [str(path)]
    assert run(files=files, state="absent")["changed"] is False


def test_a_directory_in_the_way_is_named(tmp_path, run):
    (tmp_path / "x").mkdir()
    assert str(tmp_path / "x") in run(files=[{"path": str(tmp_path / "x"), "content": "a"}])["msg"]
