"""Power caps: what a card allows, who may write, what the script does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from mi50.power import plan, question

from lab.sysfs import build
from tests.conftest import load_plugin

SCRIPT = Path(__file__).resolve().parents[3] / "roles/gpu_power/files/mi50-gpu-power"
ONE, TWO = "0000:03:00.0", "0000:06:00.0"


class Node:
    """Two cards, the script and the module's question."""

    def __init__(self, root: Path) -> None:
        self.root = root
        build(root / "sys", "two-mi50")
        self.list = root / "etc/list"
        self.list.parent.mkdir()

    def file(self, pci: str, name: str) -> Path:
        device = self.root / "sys/bus/pci/devices" / pci
        return next(device.glob("hwmon/hwmon*")) / name if name.startswith("power1") else device / name

    def read(self, pci: str, name: str = "power1_cap") -> str:
        return self.file(pci, name).read_text().strip()

    def wish(self, text: str) -> None:
        self.list.write_text(text)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        places = {"--sysfs-root": "sys", "--list": "etc/list", "--runtime": "run/power", "--fan-runtime": "run/fan"}
        own = [word for key, value in places.items() for word in (key, str(self.root / value))]
        return subprocess.run(["sh", str(SCRIPT), *own, *words], capture_output=True, text=True, check=False)

    def ask(self, **wishes: Any) -> dict[str, Any]:
        options = {"cap_watts": None, "level": None, "cards": {}, "files": [], "unit": "mi50-gpu-power.service"}
        places = {"list": "/etc/list", "sysfs_root": str(self.root / "sys"), "fan_runtime": "/run/fan"}
        known = "LoadState=loaded\nActiveState=inactive\nUnitFileState=enabled\nNeedDaemonReload=no\n"
        return question.answer({**options, **places, **wishes}, lambda command: (0, known), self.root)

    def hold(self, pci: str) -> None:
        """What the ladder does."""
        caps = self.root / "run/fan/caps"
        caps.mkdir(parents=True, exist_ok=True)
        (caps / pci).write_text("60000000 225000000\n")
        self.file(pci, "power1_cap").write_text("60000000\n")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_script_sets_and_reads_back(node: Node) -> None:
    node.wish(f"# head\n{ONE}\t190000000\t-\n{TWO}\t150000000\thigh\n")
    done = node.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert (node.read(ONE), node.read(TWO)) == ("190000000", "150000000")
    level = "power_dpm_force_performance_level"
    assert (node.read(ONE, level), node.read(TWO, level)) == ("auto", "high")
    assert (node.root / "run/power" / TWO).read_text() == "150000000\n"


def test_script_and_ladder_do_not_fight(node: Node) -> None:
    node.hold(ONE)
    node.wish(f"{ONE}\t190000000\t-\n{TWO}\t190000000\t-\n")
    done = node.run()
    assert done.returncode == 0
    assert (node.read(ONE), node.read(TWO)) == ("60000000", "190000000")
    assert (node.root / "run/power" / ONE).read_text() == "190000000\n"
    assert "the fan daemon holds the power cap" in done.stderr
    assert node.ask(cap_watts=190)["problems"] == []


def test_a_card_that_is_not_there_fails_and_the_other_is_set(node: Node) -> None:
    node.wish(f"0000:99:00.0\t100000000\tlow\n{TWO}\t150000000\t-\n")
    done = node.run()
    assert done.returncode == 1
    assert "0000:99:00.0: no power cap" in done.stderr
    assert node.read(TWO) == "150000000"


def test_a_value_that_does_not_stick_fails_with_the_range(node: Node) -> None:
    cap = node.file(ONE, "power1_cap")
    cap.unlink()
    cap.symlink_to("/dev/null")
    node.wish(f"{ONE}\t190000000\t-\n")
    done = node.run()
    assert done.returncode == 1
    assert "reads nothing uW, not 190000000 (the card takes 0 to 225000000)" in done.stderr


def test_missing_list_and_wrong_words_fail(node: Node) -> None:
    assert node.run().returncode == 1
    node.wish("")
    assert node.run("--watts", "5").returncode == 2


def test_what_is_wanted_and_what_is_there(node: Node) -> None:
    seen = node.ask(cap_watts=190, cards={TWO: {"level": "high"}})
    assert seen["differing"] == ["/etc/list"]
    assert seen["problems"] == [
        f"{ONE}: power cap is 225 W, not 190",
        f"{TWO}: power cap is 225 W, not 190",
        f"{TWO}: performance level is auto, not high",
    ]
    node.wish(seen["list"])
    node.list.chmod(0o644)
    assert node.run().returncode == 0
    assert node.ask(cap_watts=190, cards={TWO: {"level": "high"}})["settled"]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"cap_watts": 400}, [ONE, "400 W", "1 to 225 W"]),
        ({"cap_watts": 0}, ["0 W"]),
        ({"cards": {"0000:99:00.0": {}}}, ["gpu_power_cards names 0000:99:00.0", TWO]),
        ({"cards": {ONE: {"watts": 3}}}, [f"gpu_power_cards[{ONE}] has watts", "cap_watts and level"]),
        ({"cards": {ONE: {"cap_watts": "many"}}}, ["'many' is no whole number"]),
        ({"level": "turbo"}, ["'turbo'", "profile_peak"]),
    ],
)
def test_what_a_card_cannot_take_is_refused(node: Node, wishes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(question.Unanswered) as caught:
        node.ask(**wishes)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_card_without_a_driver_is_named(tmp_path: Path) -> None:
    build(tmp_path / "sys", "unbound")
    (card,) = plan.cards(tmp_path / "sys")
    assert card.cap is None
    with pytest.raises(plan.Refused, match="is amdgpu loaded"):
        plan.wishes([card], {"cap_watts": 100, "level": None, "cards": {}})


def test_other_gpus_are_left_alone(tmp_path: Path) -> None:
    build(tmp_path / "sys", "ryzen-igpu-bmc")
    assert [card.pci for card in plan.cards(tmp_path / "sys")] == [ONE]


def test_files_are_the_roles_own() -> None:
    plugin = load_plugin("lookup_plugins", "mi50_power")
    script, unit, environment = plugin.files("/srv/sys")
    assert script["content"] == SCRIPT.read_text() and script["mode"] == "0755"
    assert environment["content"] == "MI50_SYSFS_ROOT=/srv/sys\n"
    assert f"ExecStart={script['path']} --sysfs-root ${{MI50_SYSFS_ROOT}}" in unit["content"]
    assert environment["path"] in unit["content"]
