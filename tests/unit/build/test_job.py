"""A build on a node, with a systemd that is played: begun once, attached to, taken over, explained."""

from __future__ import annotations

import getpass
import json
import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50.build import facts, job, store, unit
from mi50.build import key as keys
from mi50.build.job import Job, JobError, Place
from mi50.build.unit import Limits, UnitError, Units
from mi50.process import Finished

PARTS = {"os": "debian 12", "glibc": "2.36", "python": "cp311", "machine": "x86_64", "source": "a"}
KEY = keys.digest(PARTS)
LIMITS = Limits(7000, 60, True, {"https_proxy": "http://proxy:3128", "http_proxy": ""})
WHEEL = "triton-3.5.0+gfx906-cp311-cp311-linux_x86_64.whl"


class Systemd:
    """Answers systemctl show; remembers everything it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.units: dict[str, dict[str, str]] = {}
        self.refuses = ""
        self.log: list[str] = []

    def __call__(self, argv: Sequence[str], timeout: float | None = None) -> Finished:
        self.asked.append(list(argv))
        if argv[0] == "journalctl":
            return Finished(0, "\n".join(self.log).encode(), b"")
        if argv[0] == "systemd-run":
            return Finished(1, b"", self.refuses.encode()) if self.refuses else Finished(0, b"", b"")
        if argv[:2] == ["systemctl", "show"]:
            blocks = []
            for name in argv[4:]:
                known = {"Id": name, "LoadState": "not-found", "ActiveState": "inactive", "Result": "success"}
                blocks.append("\n".join(f"{k}={v}" for k, v in {**known, **self.units.get(name, {})}.items()))
            return Finished(0, "\n\n".join(blocks).encode(), b"")
        return Finished(0, b"", b"")

    def runs(self) -> list[list[str]]:
        return [argv for argv in self.asked if argv[0] == "systemd-run"]


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    # The builds' user is whoever runs the test; nobody is made.
    monkeypatch.setattr(job, "USER", getpass.getuser())
    return Systemd()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    work = tmp_path / "build"
    return Place(work, work / f"triton-{KEY[:12]}", store.Store(tmp_path / "builds"))


@pytest.fixture
def one(place: Place, systemd: Systemd) -> Job:
    return Job("triton", KEY, place, systemd, sleep=lambda _seconds: None)


def wrote(place: Place, **state: Any) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    plain = {"status": "running", "step": "compile", "started": 100.0, "updated": 160.0, "boot_id": facts.boot_id()}
    (place.folder / "state.json").write_text(json.dumps({**plain, **state}))


def finished(place: Place, content: bytes = b"wheel") -> None:
    (place.folder / "out").mkdir(parents=True)
    (place.folder / "out" / WHEEL).write_bytes(content)
    (place.folder / "log").write_text("all of it")
    file = {"name": WHEEL, "size": 5, "sha256": store.sha256(_write(place.root / "x", b"wheel"))}
    made = {"files": [file], "jobs": 4, "compiler": [], "frozen": [], "downloads": [], "ccache": []}
    wrote(place, status="done", step="done", result=made)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_nothing_is_begun_by_looking(one: Job, systemd: Systemd, place: Place) -> None:
    assert one.state() == {"state": "nothing"}
    assert systemd.runs() == []
    assert not place.root.exists()


def test_two_units_the_second_without_a_network(one: Job, systemd: Systemd, place: Place) -> None:
    found = one.start({"python": "/usr/bin/python3", "ccache": False}, LIMITS)
    assert (found["state"], found["attached"]) == ("running", False)
    fetch, build = systemd.runs()
    common = {f"--property=User={unit.USER}", "--property=MemoryMax=7000M", "--property=ProtectSystem=strict"}
    assert common <= set(fetch) and common <= set(build)
    assert f"--unit=mi50-build-triton-{KEY[:12]}-fetch.service" in fetch
    assert "--property=PrivateNetwork=yes" in build and "--property=PrivateNetwork=yes" not in fetch
    assert f"--property=After=mi50-build-triton-{KEY[:12]}-fetch.service" in build
    assert "--setenv=https_proxy=http://proxy:3128" in fetch
    assert not any("http_proxy=" in word and word.endswith("=") for word in fetch)
    assert build[-2:] == ["build", str(place.folder)]
    assert "--no-block" in fetch and "--no-block" in build
    given = json.loads((place.folder / "job.json").read_text())
    assert (given["key"], given["ccache"]) == (KEY, "")
    compile((place.folder / "inside/phase.py").read_text(), "phase.py", "exec")
    assert {path.name for path in (place.folder / "inside").iterdir()} >= {
        "phase.py",
        "shell.py",
        "make.py",
        "fetch.py",
    }


def test_without_a_sandbox_nothing_is_shut_off(one: Job, systemd: Systemd) -> None:
    one.start({"python": "/usr/bin/python3", "ccache": False}, LIMITS._replace(sandbox=False, memory_mib=0))
    words = {word for argv in systemd.runs() for word in argv}
    assert not [
        word for word in words if word.startswith(("--property=Protect", "--property=Private", "--property=Mem"))
    ]
    assert f"--property=User={unit.USER}" in words


@pytest.mark.parametrize("which", ["", "-fetch"])
def test_a_running_build_is_attached_to(one: Job, systemd: Systemd, place: Place, which: str) -> None:
    wrote(place, done=812, total=2210)
    systemd.units[f"mi50-build-triton-{KEY[:12]}{which}.service"] = {"ActiveState": "activating"}
    found = one.start({}, LIMITS)
    assert (found["state"], found["attached"], systemd.runs()) == ("running", True, [])
    assert found["progress"]["done"] == 812


def test_a_finished_build_is_taken_over_and_never_made_again(one: Job, systemd: Systemd, place: Place) -> None:
    finished(place)
    assert one.start({}, LIMITS)["attached"] is True
    manifest = one.collect({"version": "3.5.0+gfx906", "parts": PARTS, "builder": "node1"})
    assert systemd.runs() == []
    assert (manifest["builder"], manifest["seconds"], manifest["made_with"]["jobs"]) == ("node1", 60, 4)
    assert place.shelf.problem(KEY, verify=True) == ""
    assert not place.folder.exists()
    assert place.folder.with_name(f"{place.folder.name}.log").read_text() == "all of it"


def test_what_failed_builds_left_goes_and_what_runs_stays(one: Job, systemd: Systemd, place: Place) -> None:
    finished(place)
    for key in ("a" * 12, "b" * 12):
        (place.root / f"triton-{key}").mkdir()
    (place.root / "vllm-cccccccccccc").mkdir()
    systemd.units[f"mi50-build-triton-{'b' * 12}.service"] = {"ActiveState": "active"}
    one.collect({"version": "3.5.0+gfx906", "parts": PARTS})
    left = sorted(path.name for path in place.root.iterdir() if path.is_dir())
    assert left == [f"triton-{'b' * 12}", "vllm-cccccccccccc"]


def test_a_result_that_was_tampered_with_is_not_kept(one: Job, place: Place) -> None:
    finished(place, content=b"whale")
    with pytest.raises(JobError, match=r"cannot be kept: .*sha256"):
        one.collect({"version": "3.5.0+gfx906", "parts": PARTS})
    assert place.shelf.problem(KEY, verify=False) == "missing"
    (place.folder / "out" / WHEEL).unlink()
    (place.folder / "out" / WHEEL).symlink_to("/etc/shadow")
    with pytest.raises(JobError, match="cannot be kept"):
        one.collect({"version": "3.5.0+gfx906", "parts": PARTS})


def test_a_state_file_that_is_a_link_is_not_followed(one: Job, place: Place, tmp_path: Path) -> None:
    place.folder.mkdir(parents=True)
    (tmp_path / "secret").write_text('{"status": "done"}')
    (place.folder / "state.json").symlink_to(tmp_path / "secret")
    assert one.state() == {"state": "nothing"}


def test_a_restart_of_the_machine_is_noticed_and_begins_from_scratch(one: Job, systemd: Systemd, place: Place) -> None:
    wrote(place, done=5, total=9)
    (place.folder / "half-written.o").write_text("")
    assert one.state()["state"] == "lost"
    found = one.start({"python": "/usr/bin/python3", "ccache": False}, LIMITS)
    assert (found["attached"], found["again"], len(systemd.runs())) == (False, True, 2)
    assert not (place.folder / "half-written.o").exists()


def test_between_the_two_units_the_build_is_not_given_up(place: Place, systemd: Systemd) -> None:
    wrote(place, phase="fetch", step="fetched")

    def later(_seconds: float) -> None:
        systemd.units[f"mi50-build-triton-{KEY[:12]}.service"] = {"ActiveState": "active"}

    assert Job("triton", KEY, place, systemd, sleep=later).state()["state"] == "running"


def test_a_failure_is_explained_and_the_next_try_keeps_what_was_compiled(
    one: Job, systemd: Systemd, place: Place
) -> None:
    tail = ["[1/2] x", "c++: fatal error: Killed signal terminated program cc1plus", "ninja: build stopped"]
    wrote(place, status="failed", tail=tail, done=1, total=2)
    (place.folder / "compiled.o").write_text("")
    found = one.state()
    assert (found["state"], found["cause"]["name"], found["cause"]["kind"]) == ("failed", "memory", "host")
    assert found["log"] == tail
    one.start({"python": "/usr/bin/python3", "ccache": False}, LIMITS)
    assert (place.folder / "compiled.o").exists()


def test_a_runner_killed_for_memory_is_explained_by_systemd(one: Job, systemd: Systemd, place: Place) -> None:
    wrote(place, done=5, total=9)
    systemd.units[f"mi50-build-triton-{KEY[:12]}.service"] = {"ActiveState": "failed", "Result": "oom-kill"}
    systemd.log = ["[5/9] Building CXX object x.o"]
    found = one.state()
    assert (found["state"], found["cause"]["name"], found["log"]) == ("failed", "memory", systemd.log)


def test_what_systemd_refuses_is_said(one: Job, systemd: Systemd) -> None:
    systemd.refuses = "Failed to start transient service unit: Access denied"
    with pytest.raises(JobError, match=r"systemd-run refused .* Access denied"):
        one.start({"python": "/usr/bin/python3", "ccache": False}, LIMITS)


def test_a_host_without_systemd_is_told() -> None:
    def nothing(argv: Sequence[str], timeout: float | None = None) -> Finished:
        raise FileNotFoundError(2, os.strerror(2), argv[0])

    with pytest.raises(UnitError, match="units of systemd"):
        Units("triton", KEY, Path("/x"), nothing).show()


def test_the_builds_user_is_made_once(place: Place, systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.getuid())
    answers = iter([KeyError("no such user"), me, me])

    def known(_name: str) -> pwd.struct_passwd:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(pwd, "getpwnam", known)
    Job("triton", KEY, place, systemd).start({"python": "/usr/bin/python3", "ccache": False}, LIMITS)
    made = [argv for argv in systemd.asked if argv[0] == "useradd"]
    assert len(made) == 1
    assert {"--system", "--no-create-home", "/usr/sbin/nologin"} <= set(made[0])


@pytest.mark.parametrize("dry", [True, False])
def test_everything_is_removed(place: Place, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, dry: bool) -> None:
    finished(place)
    (place.shelf.root / KEY).mkdir(parents=True)

    def run(argv: Sequence[str], timeout: float | None = None) -> Finished:
        if argv[1] == "list-units":
            systemd.asked.append(list(argv))
            return Finished(0, b"mi50-build-triton-x.service loaded active running mi50-aipc\n", b"")
        return systemd(argv, timeout)

    assert job.remove_everything(place.shelf.root, place.root, dry=dry, run=run) is True
    assert (place.root.exists(), place.shelf.root.exists()) == (dry, dry)
    stops = [argv for argv in systemd.asked if argv[:2] == ["systemctl", "stop"]]
    assert stops == ([] if dry else [["systemctl", "stop", "mi50-build-triton-x.service"]])
    assert [argv[0] for argv in systemd.asked if argv[0] == "userdel"] == ([] if dry else ["userdel"])
    nothing = Systemd()
    again = place.root.parent / "none"
    if not dry:
        monkeypatch.setattr(job, "USER", "no-such-user-at-all")
        assert job.remove_everything(again, again, dry=False, run=nothing) is False
