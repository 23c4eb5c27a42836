"""tools/testsuite: what is counted, and that what did not run is a failure."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from tools import import_all, stack_files
from tools.testsuite import __main__ as suite
from tools.testsuite import lint, nodes, sanity, unit
from tools.testsuite.steps import FAILED, PASSED, Counts, Stage, junit_counts, sum_counts

SUITE = '<testsuites><testsuite tests="{tests}" failures="{f}" errors="{e}" skipped="{s}"/></testsuites>'


def junit(path: Path, tests: int, f: int = 0, e: int = 0, s: int = 0) -> Path:
    path.write_text(SUITE.format(tests=tests, f=f, e=e, s=s))
    return path


@pytest.mark.parametrize(
    ("numbers", "code", "expected"),
    [
        ((10, 0, 0, 0), 0, Counts(10, 0, 0)),
        ((10, 1, 2, 3), 1, Counts(4, 3, 3)),
        ((10, 0, 0, 0), 3, Counts(10, 1, 0)),
        ((0, 0, 0, 0), 0, Counts(0, 1, 0)),
        ((2, 0, 0, 2), 0, Counts(0, 0, 2)),
    ],
)
def test_counts_of_a_report(tmp_path: Path, numbers: tuple[int, int, int, int], code: int, expected: Counts) -> None:
    assert junit_counts(junit(tmp_path / "x.xml", *numbers), code) == expected


def test_no_report_is_a_failure(tmp_path: Path) -> None:
    assert junit_counts(tmp_path / "none.xml", 0) == FAILED


def test_count_line() -> None:
    assert str(Counts(3, 0)) == "3 passed, 0 failed"
    assert str(sum_counts([Counts(3, 0), Counts(1, 2, 4)])) == "4 passed, 2 failed, 4 skipped"


def run_suite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], *results: bool
) -> tuple[int, str]:
    def stage(step: Stage) -> None:
        for number, good in enumerate(results):
            step.command(f"step {number}", [sys.executable, "-c", f"print('hello'); raise SystemExit({int(not good)})"])

    monkeypatch.setattr(suite, "STAGES", {"one": stage})
    code = suite.run_stages(["one"], tmp_path / "logs")
    return code, capsys.readouterr().out


def test_green_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = run_suite(monkeypatch, tmp_path, capsys, True, True)
    assert code == 0
    assert output.endswith("\n2 passed, 0 failed\n")
    assert not (tmp_path / "logs" / "one").exists()


def test_red_run_shows_and_keeps_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = run_suite(monkeypatch, tmp_path, capsys, True, False)
    assert code == 1
    assert output.endswith("\n1 passed, 1 failed\n")
    assert "    hello\n" in output
    assert (tmp_path / "logs" / "one" / "one-step_1.log").read_text() == "hello\n"
    # A run of another stage, which may be going on at the same time, leaves it alone.
    monkeypatch.setattr(suite, "STAGES", {"two": lambda stage: stage.check("step", list)})
    assert suite.run_stages(["two"], tmp_path / "logs") == 0
    assert (tmp_path / "logs" / "one" / "one-step_1.log").exists()


def test_the_end_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["ok: [a]", "\x1b[0;31mfatal: [a]: FAILED! => no space\x1b[0m", "a : ok=3 changed=0 unreachable=0 failed=1"]
    script = f"print({chr(10).join(lines)!r}); print('cleaning up\\n' * 200); raise SystemExit(2)"
    monkeypatch.setattr(
        suite,
        "STAGES",
        {"one": lambda stage: stage.command("x", [sys.executable, "-c", script]), "two": lambda stage: None},
    )
    assert suite.run_stages(["one", "two"], tmp_path / "logs") == 1
    end = capsys.readouterr().out.rpartition("whole log:")[2]
    assert (
        "[one] x:\n    fatal: [a]: FAILED! => no space\n    a : ok=3 changed=0 unreachable=0 failed=1\n\nstage" in end
    )
    assert end.endswith("\n0 passed, 1 failed\n")


def test_a_run_of_nothing_is_red(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = run_suite(monkeypatch, tmp_path, capsys)
    assert code == 1
    assert output.endswith("\n0 passed, 0 failed\n")


def test_a_broken_stage_counts_and_the_next_still_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(stage: Stage) -> None:
        raise RuntimeError(stage.name)

    monkeypatch.setattr(suite, "STAGES", {"a": broken, "b": lambda stage: stage.skip("x", "no card")})
    assert suite.run_stages(["a", "b"], tmp_path / "logs") == 1
    output = capsys.readouterr().out
    assert "RuntimeError: a" in output
    assert output.endswith("\n0 passed, 1 failed, 1 skipped\n")


def test_a_missing_program_is_a_failed_step(tmp_path: Path) -> None:
    stage = Stage("one", tmp_path)
    assert not stage.command("gone", [tmp_path / "no-such-program"])
    assert stage.counts == FAILED


def test_stage_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        suite.main(["lint", "units"])
    assert "units" in capsys.readouterr().err


def test_shell_scripts_are_found() -> None:
    found = {path.name for path in lint.tracked_files() if lint.is_shell(path)}
    assert {"bootstrap", "site", "test", "run"} <= found


def test_a_template_becomes_plain_shell() -> None:
    template = "#!/bin/sh\n{# why #}\n{% if x %}\nexport A='{{ a.b }}'\n{% endif %}\n"
    assert lint.plain_shell(template) == "#!/bin/sh\n\n\nexport A='value'\n\n"


def test_no_scenario_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nodes, "ROOT", tmp_path)
    stage = Stage("molecule", tmp_path)
    nodes.run_molecule(stage)
    assert stage.counts == FAILED


def test_the_other_controller() -> None:
    assert "3.12" in unit.other_controllers("3.11")
    assert unit.other_controllers("3.13") == ("3.11",)


def test_interpreter_is_of_the_version_asked_for() -> None:
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert unit.interpreter("2.6") is None
    assert unit.interpreter(current) is not None


def test_pip_configuration_survives_the_private_home() -> None:
    listing = (
        "global.index-url='https://one.example'\nglobal.find-links='/a\\n/b'\n:env:.index-url='https://two.example'"
    )
    text = sanity.pip_configuration(sanity.pip_settings(listing), {"https_proxy": "http://proxy.example:3128"})
    assert text.splitlines() == [
        "[global]",
        "find-links = /a",
        "    /b",
        "index-url = https://two.example",
        "proxy = http://proxy.example:3128",
    ]


def test_the_installed_ansible_test_names_its_pip() -> None:
    assert sanity.bootstrap_names(sanity.installed_source())
    with pytest.raises(ValueError, match="pip"):
        sanity.bootstrap_names("nothing here")


def test_import_all_finds_a_module_that_does_not_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "utils" / "pretended"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert import_all.main([str(tmp_path / "utils")]) == 0
    (package / "bad.py").write_text("import no_such_module\n")
    assert import_all.main([str(tmp_path / "utils")]) == 1
    assert "no_such_module" in capsys.readouterr().out
    sys.path.remove(str(tmp_path / "utils"))


def test_import_all_of_nothing_is_a_failure(tmp_path: Path) -> None:
    assert import_all.main([str(tmp_path)]) == 1
    sys.path.remove(str(tmp_path))


def test_stack_problems(tmp_path: Path) -> None:
    folder = tmp_path / "stacks"
    folder.mkdir()
    assert stack_files.problems(tmp_path) == ["stacks/schema.json is missing"]
    (folder / "schema.json").write_text('{"required": ["name"], "properties": {"name": {"type": "string"}}}')
    assert stack_files.problems(tmp_path) == ["stacks/ holds no stack"]
    (folder / "a.yml").write_text("name: a\n")
    assert stack_files.problems(tmp_path) == []
    (folder / "b.yml").write_text("name: 3\n")
    assert stack_files.problems(tmp_path) == [
        "stacks/b.yml: name: 3 is not of type 'string'",
        "stacks/b.yml: name is 3, the file says 'b'",
    ]


def test_passed_is_one() -> None:
    assert Counts(passed=1) == PASSED


def test_containers_do_not_hold_up_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    met = threading.Barrier(2, timeout=20)

    def stage(stage: Stage) -> None:
        met.wait()  # passes only when the other lane runs at the same time
        stage.check("step", list)

    monkeypatch.setattr(suite, "STAGES", {"unit": stage, "molecule": stage})
    assert suite.run_stages(["molecule", "unit"], tmp_path / "logs") == 0
    table = capsys.readouterr().out.split("seconds\n")[1].split()
    assert table.index("unit") < table.index("molecule")


def test_scenarios_run_side_by_side_but_never_more_commands_than_slots(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each command notes how many run; four of them, two slots."""
    running = tmp_path / "running"
    running.mkdir()
    code = (
        "import os, sys, time; from pathlib import Path; d = Path(sys.argv[1]); me = d / str(os.getpid()); "
        "me.touch(); time.sleep(0.4); n = len(list(d.iterdir())); "
        "(d.parent / f'seen-{os.getpid()}').write_text(str(n)); me.unlink()"
    )
    monkeypatch.setattr(nodes, "scenarios", lambda: ["a", "b", "c", "d"])
    monkeypatch.setattr(nodes, "image_and_mirror", lambda _stage: True)
    monkeypatch.setattr(nodes, "lab_environment", dict)
    program = tmp_path / "molecule"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" {running}\n')
    program.chmod(0o755)
    monkeypatch.setattr(nodes, "tool", lambda _name: program)
    stage = Stage("molecule", tmp_path)
    nodes.run_molecule(stage)
    assert stage.counts == Counts(4, 0)
    seen = [int(path.read_text()) for path in tmp_path.glob("seen-*")]
    assert len(seen) == 4
    assert max(seen) == 2


def test_a_way_back_ends_with_an_empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is asked for, what fails is not gone on with, and the container goes in any case."""
    ran: list[tuple[str, str | None]] = []

    def command(_stage: object, _step: str, argv: list[str], environment: dict[str, str]) -> bool:
        ran.append((argv[1], environment.get("MI50_WAY_BACK")))
        return argv[1] != failing

    monkeypatch.setattr(Stage, "command", command)
    failing = ""
    nodes._way_back(Stage("long", tmp_path), {}, "monitoring")
    assert ran == [("converge", "yes"), ("cleanup", "yes"), ("destroy", "yes")]
    ran.clear()
    failing = "converge"
    nodes._way_back(Stage("long", tmp_path), {}, "monitoring")
    assert [verb for verb, _given in ran] == ["converge", "destroy"]
    assert all((nodes.ROOT / "molecule" / name / "molecule.yml").is_file() for name in nodes.WAYS_BACK)
