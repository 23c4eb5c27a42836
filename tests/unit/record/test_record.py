"""What a node was, what came, and the way back; apt is asked, not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mi50.record import give_back, ledger, look, store

STATUS = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n{}\n"
GROUPS = "root:x:0:\nvideo:x:44:ops\nrender:x:104:{}\nops:x:1000:\n"


def machine(
    root: Path, packages: dict[str, str], *, render: str = "", auto: tuple[str, ...] = (), more: str = ""
) -> None:
    """Write what look() reads; `packages` are names with their Recommends."""
    rows = [STATUS.format("dpkg", "1.21", "")]
    rows += [STATUS.format(name, "1", f"Recommends: {value}\n" if value else "") for name, value in packages.items()]
    for path, text in {
        "var/lib/dpkg/status": "".join(rows),
        "var/lib/apt/extended_states": "".join(
            f"Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n\n" for name in auto
        ),
        "etc/group": GROUPS.format(render) + more,
        "etc/passwd": "root:x:0:0::/:/bin/sh\nops:x:1000:1000::/:/bin/sh\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


class Apt:
    """apt-get and its kin: would remove what it is told here."""

    def __init__(self, *removable: str, also: tuple[str, ...] = ()) -> None:
        self.removable, self.also = removable, also
        self.said: list[list[str]] = []
        self.marks = ""

    def __call__(self, words: list[str]) -> tuple[int, str]:
        self.said.append(words)
        if words[:2] == ["apt-get", "-s"]:
            if "autoremove" in words:
                option = next(word for word in words if word.startswith("Dir::State::extended_states="))
                self.marks = Path(option.partition("=")[2]).read_text()
                return 0, "".join(f"Remv {name} [1]\n" for name in self.removable)
            purged = words[words.index("purge") + 1 :]
            return 0, "".join(f"Purg {name} [1]\n" for name in (*purged, *self.also))
        return 0, ""

    def ran(self, *start: str) -> list[list[str]]:
        return [words for words in self.said if words[: len(start)] == list(start)]


@pytest.fixture
def node(tmp_path: Path) -> tuple[Path, ledger.Record]:
    """A node after a run: gcc and git came, ops became a member of render; /opt is away, our folder is empty."""
    (tmp_path / "opt").mkdir()
    machine(tmp_path, {"bash": ""})
    record = ledger.begin(ledger.new(), look.look(tmp_path))
    machine(tmp_path, {"bash": "", "gcc": "", "git": ""}, render="ops", auto=("gcc",))
    record = ledger.end(record, look.look(tmp_path), {"stack": "rocm-6.4.3", "engines": [], "at": 1})
    (tmp_path / "opt").rmdir()
    (tmp_path / "var/lib/mi50-aipc").mkdir(parents=True)
    return tmp_path, record


def test_what_came_is_recorded(node: tuple[Path, ledger.Record]) -> None:
    _root, record = node
    assert record["packages"] == ["gcc", "git"]
    assert record["members"] == [["render", "ops"]]
    assert [run["stack"] for run in record["runs"]] == ["rocm-6.4.3"]


def test_an_interrupted_run_goes_on_from_its_beginning(tmp_path: Path) -> None:
    machine(tmp_path, {"bash": ""})
    record = ledger.begin(ledger.new(), look.look(tmp_path))
    machine(tmp_path, {"bash": "", "gcc": ""})
    again = ledger.begin(record, look.look(tmp_path))
    assert ledger.end(again, look.look(tmp_path))["packages"] == ["gcc"]


def test_what_a_user_installs_between_runs_is_not_ours(node: tuple[Path, ledger.Record]) -> None:
    root, record = node
    machine(root, {"bash": "", "gcc": "", "git": "", "vim": ""})
    record = ledger.end(ledger.begin(record, look.look(root)), look.look(root))
    assert record["packages"] == ["gcc", "git"]


def test_only_a_run_of_something_else_is_remembered_anew() -> None:
    record = ledger.new()
    for at, stack in enumerate(["a", "a", "b", "a"]):
        record = ledger.end(record, {"packages": {}}, {"stack": stack, "at": at})
    assert [run["stack"] for run in record["runs"]] == ["a", "b", "a"]


def test_everything_is_given_back(node: tuple[Path, ledger.Record]) -> None:
    root, record = node
    apt = Apt("gcc", "git", "leftover-of-the-user")
    plan = give_back.plan(record, (), apt, root)
    assert plan.purge == ["gcc", "git"] and plan.stay == {}
    assert apt.marks.count("Auto-Installed: 1") == 2
    give_back.apply(plan, apt, root)
    assert apt.ran("apt-get", "-y")[0][-2:] == ["gcc", "git"]
    assert apt.ran("gpasswd") == [["gpasswd", "-d", "ops", "render"]]
    assert (root / "opt").is_dir() and not (root / "var/lib/mi50-aipc").exists()


def test_what_others_need_stays_and_is_named(node: tuple[Path, ledger.Record]) -> None:
    root, record = node
    plan = give_back.plan(record, (), Apt("git"), root)
    assert plan.purge == ["git"] and plan.stay == {"gcc": "another package needs it"}
    kept = give_back.plan(record, ("git",), Apt("gcc"), root)
    assert kept.stay == {"git": "mi50_keep_packages names it"}


def test_what_a_later_package_recommends_stays(node: tuple[Path, ledger.Record]) -> None:
    root, record = node
    machine(root, {"bash": "", "gcc": "", "git": "", "tig": "git (>= 1) | hg, less"}, render="ops")
    apt = Apt("gcc", "git")
    plan = give_back.plan(record, (), apt, root)
    assert plan.purge == ["gcc"] and plan.stay == {"git": "tig recommends it"}
    assert "Package: git" not in apt.marks


def test_a_removal_that_would_take_more_is_refused(node: tuple[Path, ledger.Record]) -> None:
    root, record = node
    apt = Apt("gcc", "git", also=("precious",))
    with pytest.raises(give_back.GiveBackError, match="precious"):
        give_back.apply(give_back.plan(record, (), apt, root), apt, root)
    assert apt.ran("apt-get", "-y") == []


def test_a_group_with_others_in_it_stays(tmp_path: Path) -> None:
    machine(tmp_path, {"bash": ""})
    record = ledger.begin(ledger.new(), look.look(tmp_path))
    machine(tmp_path, {"bash": ""}, more="docker:x:120:\n")
    record = ledger.end(record, look.look(tmp_path))
    assert give_back.plan(record, (), Apt(), tmp_path).groups == ["docker"]
    machine(tmp_path, {"bash": ""}, more="docker:x:120:ops\n")
    assert give_back.plan(record, (), Apt(), tmp_path).groups == []


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}'])
def test_a_record_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(store.RecordError):
        store.read(path)


def test_the_record_is_for_root_alone(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record: dict[str, Any] = ledger.new()
    assert store.read(path) is None
    store.write(path, record)
    assert store.read(path) == record and path.stat().st_mode & 0o777 == 0o600
