"""What lies in the store and nobody asks for: named, left alone, removed only when asked and not in use."""

from __future__ import annotations

import pytest
from mi50.models import ensure, store
from mi50.models.ensure import Surroundings
from mi50.models.errors import ModelError

from tests.unit.models.conftest import Hub, model

NAME = "model-Q8_0.gguf"


def test_unused_models_are_named_and_left(hub: Hub, around: Surroundings) -> None:
    ensure.ensure([model(), model(name="old", files=[{"path": NAME}, {"path": "config.json"}])], [], around)
    result = ensure.ensure([model()], [], around)
    assert [one["name"] for one in result["unused"]] == ["old"]
    assert result["unused"][0]["bytes"] < 1000  # the weights are shared: they would not be freed
    assert (around.store / "old" / NAME).exists()
    gone = ensure.ensure([model()], ["old"], around)
    assert (gone["changed"], gone["removed"], gone["unused"]) == (True, ["old"], [])
    assert not (around.store / "old").exists()
    assert (around.store / "m" / NAME).exists()
    assert not ensure.ensure([model()], ["old"], around)["changed"]


def test_model_of_an_engine_is_not_removed(hub: Hub, around: Surroundings) -> None:
    ensure.ensure([model()], [], around)
    unit = around.root / "etc/systemd/system/mi50-llama-cpp.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"ExecStart=/usr/bin/llama-server -m {around.store}/m/{NAME}\n")
    with pytest.raises(ModelError, match=r"m: is used by .*mi50-llama-cpp\.service"):
        ensure.ensure([], ["m"], around)
    with pytest.raises(ModelError, match="Give that engine another model"):
        store.remove(around.store, "m", around.root)
    unit.write_text(f"ExecStart=/usr/bin/llama-server -m {around.store}/m2/{NAME}\n")
    assert ensure.ensure([], ["m"], around)["removed"] == ["m"]


@pytest.mark.parametrize("name", ["", ".incoming", "../x", "a/b"])
def test_what_is_no_name_is_not_removed(around: Surroundings, name: str) -> None:
    with pytest.raises(ModelError, match="is no name of a model"):
        store.remove(around.store, name)
