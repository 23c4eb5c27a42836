"""One call does a service: what it writes, what it proves, and what it goes back to."""

from __future__ import annotations

import json
import stat
from typing import Any

import pytest
from mi50.preflight import also
from mi50.serve import question, record, service
from mi50.serve.model import ServeError

from tests.unit.serve.conftest import KEY, LOADED, PCI, RADV, UNIT, Machine

TIMER = "mi50-llama_cpp-health.timer"


def ask(machine: Machine, asked: str) -> dict[str, Any]:
    (machine.root / "run/mi50-aipc/serve").mkdir(parents=True, exist_ok=True)
    (machine.root / "run/mi50-aipc/serve/llama_cpp.json").write_text(
        '{"state": "ready", "text": "it answers", "model": "small"}'
    )

    def run(argv: list[str]) -> tuple[int, str]:
        blocks = []
        for name in argv[4:]:
            unit = {"LoadState": "loaded", "NeedDaemonReload": "no", **machine.units.get(name, {})}
            blocks.append("\n".join(f"{key}={value}" for key, value in unit.items()))
        return 0, "\n\n".join(blocks)

    options = {"name": "llama_cpp", "asked": asked, "sysfs_root": str(machine.root / "sys")}
    return question.answer(options, run, machine.root)


def test_a_first_version_is_written_proven_and_recorded(machine: Machine) -> None:
    proof = machine.apply()
    assert (proof.tokens, proof.tokens_per_second) == (32, 50.0)
    assert proof.vram_after - proof.vram_before == LOADED - (11 << 20)
    assert [device.name for device in proof.devices] == [RADV]
    assert machine.units[UNIT] | {"InvocationID": ""} == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "InvocationID": "",
        "NRestarts": "0",
        "LoadState": "loaded",
    }
    assert machine.units[TIMER]["UnitFileState"] == "enabled"
    known = record.read("llama_cpp", machine.node)
    assert known is not None
    assert known["proof"]["tokens"] == 32
    assert stat.S_IMODE(record.path("llama_cpp", machine.node).stat().st_mode) == 0o600


def test_a_second_call_finds_nothing_to_do(machine: Machine) -> None:
    machine.apply()
    calls = len(machine.calls)
    todo = machine.plan()
    assert (todo.reasons, service.apply(todo, machine.node)) == ([], None)
    assert {call[0] for call in machine.calls[calls:]} == {"systemctl"}


def test_the_unit_opens_the_chosen_card_alone(machine: Machine) -> None:
    machine.apply()
    lines = machine.file(f"/etc/systemd/system/{UNIT}").splitlines()
    allowed = [line for line in lines if line.startswith("DeviceAllow=")]
    assert allowed == [f"DeviceAllow={machine.root}/dev/dri/renderD128 rw"]
    for line in (
        "DevicePolicy=closed",
        "User=mi50-llama_cpp",
        "ProtectSystem=strict",
        "SupplementaryGroups=render video",
    ):
        assert line in lines
    assert "Environment=VK_DRIVER_FILES=/usr/share/vulkan/icd.d/radeon_icd.x86_64.json" in lines
    assert "lvp_icd" not in "".join(lines)


def test_the_key_stands_in_its_file_alone(machine: Machine) -> None:
    machine.apply()
    key, path = machine.key(), machine.root / KEY.lstrip("/")
    assert len(key) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = [one for one in machine.root.rglob("*") if one.is_file() and key.encode() in one.read_bytes()]
    assert found == [path]
    assert key not in json.dumps([machine.calls, machine.said])
    machine.apply(context=512)
    assert machine.key() == key


def test_a_given_key_is_used_and_changes_restart(machine: Machine) -> None:
    machine.apply()
    machine.apply(api_key="my-own-key-0123456789")
    assert machine.key() == "my-own-key-0123456789"
    assert "the key is written" in machine.plan(api_key="another-key-0123456789").reasons
    assert "my-own-key" not in repr(machine.plan(api_key="my-own-key-0123456789").common)


BROKEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "never ready": ({"loading": True}, ["did not answer within", "503"]),
    "dies": ({"unit": {"ActiveState": "failed"}}, ["does not stay up", "systemd gave up"]),
    "dies again and again": ({"crashes": True}, ["started anew 2 times"]),
    "on the CPU": ({"vram": 11 << 20}, ["the model takes", "runs on the CPU", PCI]),
    "too slow": ({"speed": 1.5}, ["1.5 tokens/s", "floor of 10.0"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_version_that_does_not_serve_is_taken_back(machine: Machine, case: str) -> None:
    does, words = BROKEN[case]
    machine.apply(min_tokens_per_second=10.0)
    before = machine.file(f"/etc/systemd/system/{UNIT}")
    machine.behaviour = {"-c 2048": does}
    with pytest.raises(ServeError) as caught:
        machine.apply(context=2048, min_tokens_per_second=10.0)
    assert all(word in str(caught.value) for word in [*words, "The version before serves again"]), str(caught.value)
    assert machine.file(f"/etc/systemd/system/{UNIT}") == before
    assert machine.units[UNIT]["ActiveState"] == machine.units[TIMER]["ActiveState"] == "active"
    # The one that serves is still the one on record.
    assert machine.plan(min_tokens_per_second=10.0).reasons == []


def test_a_first_version_that_does_not_serve_is_stopped(machine: Machine) -> None:
    machine.behaviour = {"-c 1024": {"vram": 11 << 20}}
    with pytest.raises(ServeError, match="is stopped; there was no version before"):
        machine.apply()
    assert (machine.units[UNIT]["ActiveState"], machine.units[UNIT]["UnitFileState"]) == ("inactive", "disabled")
    machine.behaviour = {}
    assert machine.apply().tokens == 32


REFUSED = {
    "llvmpipe": ([("llvmpipe (LLVM 21.1.3, 256 bits)", 7000)], ["llvmpipe", "in software", "llama_cpp_allow_software"]),
    "nothing": ([], ["found no GPU and would compute on the CPU", "mesa-vulkan-drivers"]),
    "another card": ([("AMD Radeon Graphics (RADV RENOIR)", FULL := 32752)], ["RENOIR", "'VEGA20'", PCI]),
    "half of it": ([(RADV, FULL // 2)], ["16.0 of 32.0 GiB", "llama_cpp_allow_small_bar"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_devices_are_refused_while_the_old_version_serves(machine: Machine, case: str) -> None:
    machine.apply()
    invocation = machine.units[UNIT]["InvocationID"]
    machine.devices, words = REFUSED[case]
    with pytest.raises(ServeError) as caught:
        machine.apply(context=2048)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert machine.units[UNIT]["InvocationID"] == invocation


def test_software_passes_when_it_is_allowed(machine: Machine) -> None:
    (machine.root / "usr/share/vulkan/icd.d/lvp_icd.x86_64.json").touch()
    machine.devices = [("llvmpipe (LLVM 21.1.3, 256 bits)", 7000)]
    machine.behaviour = {"-c 1024": {"vram": 11 << 20, "speed": 1.0}}
    assert machine.apply(allow_software=True, min_tokens_per_second=10.0).tokens == 32
    assert "lvp_icd" in machine.file(f"/etc/systemd/system/{UNIT}")


def test_half_a_card_passes_when_it_is_allowed(machine: Machine) -> None:
    machine.devices = [(RADV, 16376)]
    assert machine.apply(allow_small_bar=True).tokens == 32


def test_a_change_beside_the_server_does_not_stop_it(machine: Machine) -> None:
    machine.apply()
    invocation = machine.units[UNIT]["InvocationID"]
    todo = machine.plan(health_interval=60)
    assert not todo.restart
    assert service.apply(todo, machine.node) is not None
    assert machine.units[UNIT]["InvocationID"] == invocation
    assert "OnUnitInactiveSec=60s" in machine.file(f"/etc/systemd/system/{TIMER}")


def test_another_model_in_the_same_file_is_proven_again(machine: Machine) -> None:
    machine.apply()
    path = machine.root / "srv/models/small.gguf"
    path.write_bytes(path.read_bytes() + b"more")
    todo = machine.plan()
    assert todo.restart
    assert "/srv/models/small.gguf is not the file that was proven" in todo.reasons


def test_the_cheap_question(machine: Machine) -> None:
    assert not ask(machine, "x")["settled"]
    todo = machine.plan()
    service.apply(todo, machine.node)
    assert ask(machine, todo.asked) == {"settled": True, "why": [], "state": "ready", "model": "small"}
    assert "something else is asked for" in ask(machine, "x")["why"][0]
    machine.units[UNIT]["ActiveState"] = "inactive"
    assert "ActiveState is 'inactive'" in ask(machine, todo.asked)["why"][0]
    machine.units[UNIT]["ActiveState"] = "active"
    (machine.root / KEY.lstrip("/")).chmod(0o644)
    assert "can be read by others" in ask(machine, todo.asked)["why"][0]


def test_another_wheel_than_the_one_that_serves_is_noticed(machine: Machine) -> None:
    todo = machine.plan()
    service.apply(todo, machine.node)
    plain = {"name": "llama_cpp", "asked": todo.asked, "build": "llama_cpp"}
    built = {"builds": {"llama_cpp": {"path": "/w.whl", "sha256": "abc"}}}
    options = question.with_builds(plain, built)
    assert options["wheel_sha256"] == "abc"
    seen = question.answer({**options, "sysfs_root": str(machine.root / "sys")}, lambda argv: (1, ""), machine.root)
    assert "something else is asked for" not in "; ".join(seen["why"])
    # What build_once has not made, or what no build is behind, is not compared.
    assert question.with_builds(plain, None) == plain
    assert question.with_builds({**plain, "build": ""}, built) == {**plain, "build": ""}
    known = record.read("llama_cpp", machine.node)
    assert known is not None
    for wheel, settled in (("abc", True), ("def", False)):
        known["facts"]["wheel"] = wheel
        record.path("llama_cpp", machine.node).write_text(json.dumps(known))
        (machine.root / "run/mi50-aipc/serve").mkdir(parents=True, exist_ok=True)
        (machine.root / "run/mi50-aipc/serve/llama_cpp.json").write_text('{"state": "ready", "text": ""}')
        why = question.answer({**options, "sysfs_root": str(machine.root / "sys")}, units_run, machine.root)["why"]
        assert why == ([] if settled else ["build_once has another wheel than the one that serves"])


def units_run(argv: list[str]) -> tuple[int, str]:
    """systemd's word that all is well."""
    fine = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no"
    return 0, "\n\n".join(fine for dummy in argv[4:])


def test_the_preflight_asks_every_engine_the_same(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"settled": True, "model": "small"}
    monkeypatch.setattr(
        also.module("vllm"), "answer", lambda options, run: {**seen, "settled": options["name"] != "vllm"}
    )
    questions = {name: {"name": name, "asked": "x"} for name in ("lmstudio", "llama_cpp", "vllm", "lmdeploy")}
    answers = also.ask(questions, lambda command: (0, ""))
    # Up to the first that lacks something.
    assert list(answers) == ["llama_cpp", "lmstudio"]
    assert answers["llama_cpp"] == {"settled": True, "has": "llama_cpp serving small"}
    assert also.ask({"llama_cpp": None, "lmstudio": {}}, lambda command: (0, "")) == {}


def test_proven_asks_and_changes_nothing(machine: Machine) -> None:
    machine.apply()
    asked = machine.completions
    assert service.prove(machine.plan(), machine.node).tokens == 32
    assert machine.completions == asked + 1
    with pytest.raises(ServeError, match="is not as it shall be"):
        service.prove(machine.plan(context=512), machine.node)


def test_starts_of_the_past_are_no_reason_to_fail(machine: Machine) -> None:
    machine.apply()
    machine.units[UNIT]["NRestarts"] = "7"
    assert service.prove(machine.plan(), machine.node).tokens == 32


def test_what_the_last_look_found_is_looked_at_again(machine: Machine) -> None:
    machine.apply()
    status = machine.root / "run/mi50-aipc/serve/llama_cpp.json"
    status.parent.mkdir(parents=True, exist_ok=True)
    status.write_text('{"state": "ready", "text": "it answers"}')
    assert machine.plan().reasons == []
    status.write_text('{"state": "cpu", "text": "it runs on the CPU"}')
    todo = machine.plan()
    assert (todo.reasons, todo.restart) == (["the last look said: cpu: it runs on the CPU"], False)
    machine.vram(0)
    with pytest.raises(ServeError, match="runs on the CPU"):
        service.apply(todo, machine.node)


def test_removal_leaves_models_alone(machine: Machine) -> None:
    machine.apply()
    params = machine.params()
    assert service.installed(params, machine.node)
    gone = service.remove(params, machine.node)
    assert {f"/etc/systemd/system/{UNIT}", KEY, "/usr/local/sbin/mi50-serve", "the user mi50-llama_cpp"} <= set(gone)
    left = [path for path in machine.root.rglob("*") if "llama_cpp" in path.name or "mi50_serve" in path.name]
    assert left == []
    assert not service.installed(params, machine.node)
    assert (machine.root / "srv/models/small.gguf").exists()
    assert machine.units[UNIT]["ActiveState"] == "inactive"
