"""Configuration: F34's mistakes, each refused in words that name the key, the value and the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import mi50_fand
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mi50_fand import schema
from mi50_fand.config import ConfigError, parse

from .conftest import EXAMPLES, example

SCHEMA = json.loads((Path(mi50_fand.__file__).parent / "schema.json").read_text())


def put(data: dict[str, Any], path: str, value: Any) -> str:
    """The document as JSON with one value set; a path such as gpus.0.curves.edge."""
    node: Any = data
    *parents, last = path.split(".")
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return json.dumps(data)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse(text)
    return "\n".join(error.value.problems)


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.json")))
def test_examples_are_good(name: str) -> None:
    data = example(name)
    jsonschema.validate(data, SCHEMA)
    assert parse(json.dumps(data)).gpus[0].name == "gpu0"


MISTAKES = [
    ("gpus.0.pci", "03:00.0", ["gpus[0].pci", '"03:00.0"', "0000:03:00.0"]),
    ("gpus.0.pci", 3, ["gpus[0].pci", "3", "a text in quotes"]),
    ("gpus.0.colour", "red", ["gpus[0].colour: unknown key", "cap_watts"]),
    ("gpus", [], ["gpus: 0 items", "1 to 16"]),
    ("version", 2, ["version", "2", "1"]),
    ("interval", 10, ["interval", "10", "from 0.5 to 2"]),
    ("interval", True, ["interval", "true", "a number"]),
    ("gpus.0.curves.junction", [[45, 25], [40, 100]], ["gpus[0].curves.junction", "[40, 100]", "must rise"]),
    ("gpus.0.curves.junction", [[45, 60], [80, 50], [90, 100]], ["duty never falls"]),
    ("gpus.0.curves.junction", [[45, 25], [99, 100]], ["reaches 100 % at 99", "by 95"]),
    ("gpus.0.curves.mem", [[45, 25], [80, 90]], ["gpus[0].curves.mem", "nowhere", "by 84"]),
    ("gpus.0.curves.edge", [[40]], ["gpus[0].curves.edge", "2"]),
    ("gpus.0.limits.junction", 150, ["gpus[0].limits.junction", "150", "to 105"]),
    ("gpus.0.limits.junction", 92, ["curves.junction", "by 82"]),
    ("gpus.0.sensors", {"edge": "optional", "junction": "optional"}, ["gpus[0].sensors", "must be mandatory"]),
    ("gpus.0.power_curve", [[100, 50]], ["power_curve", "one point"]),
    ("gpus.0.stop_units", ["llama; rm"], ["stop_units[0]", "llama; rm"]),
    ("blowers.0.floor", 0, ["blowers[0].floor", "0", "from 15"]),
    ("blowers.0.floor", 18, ["blowers[0].floor", "start", "at least 20"]),
    ("blowers.0.gpus", ["gpu7"], ["blowers[0].gpus", '"gpu7"', "gpu0"]),
    ("blowers.0.gpus", [], ["blowers[0].gpus"]),
    ("blowers.0.chip", "amdgpu", ["blowers[0].chip", "amdgpu"]),
    ("blowers.0.device", "hwmon3", ["blowers[0].device", "devices/platform"]),
    ("blowers.0.calibration", [[20, 900], [80, 3000]], ["calibration", "100 %"]),
    ("blowers.0.mode", "monitored", ["blowers[0].channel", "never written"]),
    ("law.hold_s", 0, ["law.hold_s", "from 5"]),
    ("law.down_percent_per_s", 50, ["law.down_percent_per_s", "to 5"]),
    ("ladder.power_off", "no", ["ladder.power_off", "true or false"]),
    ("paths.runtime", "run", ["paths.runtime"]),
]


@pytest.mark.parametrize(
    ("path", "value", "words"), MISTAKES, ids=[f"{path}={value}"[:40] for path, value, _ in MISTAKES]
)
def test_f34_mistake_is_explained(path: str, value: Any, words: list[str]) -> None:
    data = example()
    said = refusal(put(data, path, value))
    for word in words:
        assert word in said


def test_f34_every_mistake_is_told_at_once() -> None:
    data = example()
    data["blowers"][0]["floor"] = 5
    data["interval"] = 99
    said = refusal(json.dumps(data))
    assert "floor" in said
    assert "interval" in said


def test_f34_syntax_and_twins() -> None:
    assert "line 1, column" in refusal('{"version": 1,')
    assert "twice" in refusal('{"version": 1, "version": 1}')
    assert "wrong kind" in refusal("[]")
    assert "wrong kind" in refusal('{"version": 1, "interval": NaN, "gpus": [], "blowers": []}')


def test_f34_missing_keys_and_duplicates() -> None:
    data = example("two-blowers-one-card")
    del data["blowers"][0]["channel"]
    assert "blowers[0].channel: missing" in refusal(json.dumps(data))
    data = example("two-blowers-one-card")
    data["blowers"][1]["channel"] = data["blowers"][0]["channel"]
    assert "one channel is one blower" in refusal(json.dumps(data))
    data = example("two-cards-one-blower")
    data["gpus"][1]["pci"] = data["gpus"][0]["pci"]
    assert "already gpus[0]" in refusal(json.dumps(data))
    data["gpus"][1]["pci"] = "0000:09:00.0"
    data["blowers"][0]["gpus"] = ["gpu0"]
    assert 'no blower cools "gpu1"' in refusal(json.dumps(data))


def test_the_phantom_fan_of_the_card_is_refused_wherever_it_lies() -> None:
    data = example()
    data["blowers"][0] |= {"device": "devices/platform/x", "chip": "amdgpu"}
    assert "an MI50 has no fan" in refusal(json.dumps(data))


def test_a_ladder_without_a_cap_leaves_a_monitored_blower_alone() -> None:
    data = example("monitored-only")
    data["ladder"] = {"power_cap": False}
    assert "ladder.power_cap" in refusal(json.dumps(data))


def test_the_channel_list_is_what_the_shell_reads() -> None:
    lines = parse(json.dumps(example("two-blowers-one-card"))).channel_list().splitlines()
    assert lines[0].startswith("#")
    assert lines[1].split("\t") == ["devices/platform/nct6775.656", "nct6798", "2", "left"]
    assert lines[2].split("\t")[2] == "3"
    assert len(parse(json.dumps(example("monitored-only"))).channel_list().splitlines()) == 1


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 300), st.text(max_size=6), st.sampled_from(["gpu0", "mandatory"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["name", "edge", "x"]), inner)
    ),
    max_leaves=5,
)
PATHS = [
    "version",
    "interval",
    "gpus.0",
    "gpus.0.name",
    "gpus.0.sensors",
    "gpus.0.curves",
    "gpus.0.power_curve",
    "gpus.0.limits",
    "blowers.0.tacho",
    "blowers.0.channel",
    "blowers.0.calibration",
    "law",
    "ladder",
    "paths",
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PATHS), values)
def test_own_check_agrees_with_jsonschema(path: str, value: Any) -> None:
    document = json.loads(put(example(), path, value))
    problems: list[str] = []
    schema.check(document, SCHEMA, "", problems)
    assert bool(problems) is not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_defaults_reach_the_daemon(document: Callable[..., dict]) -> None:
    config = parse(json.dumps(document()))
    assert config.runtime == "/run/mi50-fand"
    assert config.law["hold_s"] == 20
    assert config.gpus[0].curves["junction"][-1] == (90, 100)
    assert config.gpus[0].mandatory == {"edge": True, "junction": True, "mem": True}
