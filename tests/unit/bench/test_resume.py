"""A run goes on after a kill, keeps its secrets, and says where it is."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from mi50.bench import api, record
from mi50.bench.settings import Call
from mi50.bench.store import Store, turn

from .cellserver import PAGES, Serve, engine
from .conftest import TASK, Bench


def test_finished_cells_are_not_measured_again(serve: Serve, bench: Bench) -> None:
    server = serve(engine, pages=dict(PAGES))
    first = bench.cell()
    count = len(server.asked)
    assert bench.cell() == first
    assert len(server.asked) == count
    bench.cell(max_tokens=40)  # another task under the same name is another measurement
    assert len(server.asked) > count
    assert bench.rows("cell")[-1]["attempt"] == 2


def test_a_cut_line_is_taken_off_and_the_half_cell_begins_again(serve: Serve, bench: Bench) -> None:
    server = serve(engine, pages=dict(PAGES))
    bench.cell(id="first")
    whole = bench.store().path.read_bytes()
    bench.cell(id="second")
    lines = bench.store().path.read_bytes()[len(whole) :].split(b"\n")
    bench.store().path.write_bytes(whole + b"\n".join(lines[:3]) + b"\n" + lines[3][:50])  # killed while writing
    second = bench.cell(id="second")
    assert any("the last line was cut by a kill" in note for note in second["warnings"])
    count = len(server.asked)
    bench.cell(id="first")
    assert len(server.asked) == count
    assert (second["status"], second["attempt"]) == (record.OK, 2)
    assert [row["cell_id"] for row in bench.store().cells()] == ["tiny.first.fixed", "tiny.second.fixed"]
    mine = [row for row in bench.rows() if row["cell_id"] == "tiny.second.fixed"]
    assert {row["attempt"] for row in mine} == {1, 2}


def test_a_broken_file_is_refused(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    bench.cell()
    path = bench.store().path
    path.write_bytes(b"not json\n" + path.read_bytes())
    with pytest.raises(api.SettingsError, match="line 1 is no JSON"):
        bench.cell(id="next")


def test_two_writers_are_refused(tmp_path: Path, bench: Bench, serve: Serve) -> None:
    serve(engine)
    with Store(bench.directory, "t1", "llama.cpp"), pytest.raises(api.SettingsError, match="already going on"):
        bench.cell()


def test_the_key_is_nowhere(serve: Serve, bench: Bench, tmp_path: Path) -> None:
    server = serve(engine, pages=dict(PAGES))
    key = tmp_path / "key"
    key.write_text("sk-very-secret-1\n")
    key.chmod(0o600)
    cell = bench.set(engine={"api_key_file": str(key)}).cell()
    assert cell["status"] == record.OK
    assert all(b"Authorization: Bearer sk-very-secret-1" in head for head in server.heads)
    for path in bench.directory.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".gz":
            data = zlib.decompress(data, 31)
        assert b"very-secret" not in data, path
    assert "very-secret" not in repr(Call({}, {"kind": "openai", **bench.params["engine"]}).endpoint())


@pytest.mark.parametrize(("mode", "text", "reason"), [(0o644, "k", "chmod 0600"), (0o600, "", "one key"),
                                                      (0o600, "a b", "one key")])  # fmt: skip
def test_bad_key_files(bench: Bench, tmp_path: Path, mode: int, text: str, reason: str) -> None:
    key = tmp_path / "key"
    key.write_text(text)
    key.chmod(mode)
    with pytest.raises(api.SettingsError, match=reason):
        bench.set(engine={"api_key_file": str(key)}).cell()
    with pytest.raises(api.SettingsError, match="cannot be read"):
        bench.set(engine={"api_key_file": str(tmp_path / "none")}).cell()


def test_progress(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    bench.set(run={"index": 3, "of": 8}, measure={"controls": True}).cell()
    state = json.loads((bench.directory / "t1/progress.json").read_text())
    assert (state["phase"], state["index"], state["of"], state["message"]) == ("done", 3, 8, "OK")
    phases = list(dict.fromkeys(step["phase"] for step in bench.steps))
    assert phases == ["coherence", "warmup", "measure", "repeat", "done"]


def test_plan_sends_and_writes_nothing(serve: Serve, bench: Bench) -> None:
    server = serve(engine)
    params = {**bench.params, "task": TASK}
    plan = api.measure(params, bench.roots, bench.steps.append, check=True)["plan"]
    assert (plan["cell_id"], plan["finished"], plan["requests"]) == ("tiny.say.fixed", False, 7)
    assert (server.connections, bench.directory.exists()) == (0, False)
    bench.cell()
    assert api.measure(params, bench.roots, bench.steps.append, check=True)["plan"]["finished"]


def test_summary_lists_cells_and_files(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    bench.cell()
    found = api.summary(bench.params)
    assert [(row["cell_id"], row["status"], row["ok"]) for row in found["cells"]] == [("tiny.say.fixed", "OK", 6)]
    assert len(found["files"]) == 1 + 2 * 7  # the records; stream and answer of each request
    assert all((bench.directory / "t1" / name).exists() for name in found["files"])


def test_a_cell_waits_for_another_ones_end(serve: Serve, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(engine, pages=dict(PAGES))
    monkeypatch.setattr("mi50.bench.store.time.sleep", lambda _seconds: None)
    bench.set(measure={"load_timeout": 0.05})
    with (
        turn(bench.directory, 0, lambda: None),
        pytest.raises(api.SettingsError, match="another cell is being measured"),
    ):
        bench.cell()
    assert bench.steps[0]["phase"] == "waiting"
    assert bench.cell()["status"] == record.OK
