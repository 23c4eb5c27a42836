"""The module, the lookup, the catalogue and its lock, as Ansible calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from mi50.models import catalog, question, store
from mi50.models.errors import ModelError
from mi50.models.wanted import parse

from tests.unit.models.conftest import COMMIT, REPO, Hub

Plugin = Callable[[str, str], ModuleType]
ROOT = Path(__file__).resolve().parents[3]
NAME = "model-Q8_0.gguf"
MODEL = {"name": "m", "repo": REPO, "revision": COMMIT, "files": [{"path": NAME}]}


def call(plugin: Plugin, capfd: pytest.CaptureFixture[str], name: str, **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        plugin("library", name).main()
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def test_module(
    plugin: Plugin, capfd: pytest.CaptureFixture[str], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not from the result: core prints warnings instead once its controller was loaded in this process.
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, text, **_more: warned.append(text))
    options = {
        "models": [MODEL], "store": str(tmp_path / "models"), "endpoints": {"huggingface": hub.url},
        "progress": str(tmp_path / "run/progress.json"), "sysfs_root": str(tmp_path), "dev_root": str(tmp_path),
    }  # fmt: skip
    assert call(plugin, capfd, "model", **options, look=True)["lacking"] == ["m"]
    assert call(plugin, capfd, "model", **options, _ansible_check_mode=True)["changed"]
    assert not (tmp_path / "models").exists()
    first = call(plugin, capfd, "model", **options)
    assert first["changed"]
    assert first["bytes_received"] == len(hub.files[NAME])
    seen = call(plugin, capfd, "model", **options, look=True)
    assert (seen["changed"], seen["present"], "lacking" in seen) == (False, ["m"], False)
    bad = call(plugin, capfd, "model", **{**options, "models": [{**MODEL, "repo": "x"}]})
    assert bad["failed"]
    assert "models[0].repo: 'x' is no repository" in bad["msg"]
    doubt = call(plugin, capfd, "model", **{**options, "models": [{**MODEL, "check": {"context": 100}}]})
    assert "no gfx906 card is seen" in doubt["models"][0]["fit"]["text"]
    assert any("no gfx906 card is seen" in text for text in warned)


def test_the_question_agrees_with_the_module(hub: Hub, tmp_path: Path) -> None:
    """What the lookup works out on the controller is what the node has recorded."""
    (identity,) = (one["identity"] for one in catalog.resolve([MODEL], {}, "models_list"))
    assert identity == parse([{**MODEL, "source": "huggingface", "include": [], "check": {}, "url": None}])[0].identity
    asked = {"store": str(tmp_path), "models": [{"name": "m", "identity": identity}], "absent": []}
    assert question.answer(asked) == {"settled": False, "lacking": ["m"], "unused": []}
    (tmp_path / "m").mkdir()
    store.save(tmp_path / "m", store.Entry("m", identity, {}, ()))
    assert question.answer(asked) == {"settled": True, "lacking": [], "unused": []}
    assert question.answer({**asked, "absent": ["m"]})["lacking"] == ["m"]


def look_up(plugin: Plugin, *terms: Any, **options: Any) -> Any:
    module = plugin("lookup_plugins", "mi50_models")
    lookup = module.LookupModule(loader=DataLoader(), templar=Templar(loader=DataLoader()))
    lookup._load_name = "mi50_models"
    lookup.set_options = lambda **_kwargs: None
    lookup.get_option = lambda name: options.get(name, "" if name == "folder" else False)
    return lookup.run(list(terms), {})


def test_lookup_of_the_real_catalogue(plugin: Plugin) -> None:
    ((found,),) = look_up(plugin, ["gemma3-27b-it-qat"])
    assert found["repo"] == "ggml-org/gemma-3-27b-it-qat-GGUF"
    assert all(len(one["sha256"]) == 64 for one in found["files"])
    assert "identity" not in found
    ((name,),) = look_up(plugin, ["gemma3-27b-it-qat"], names=True)
    assert set(name) == {"name", "identity"}
    assert look_up(plugin, []) == [[]]


def test_another_place_for_a_known_model(plugin: Plugin) -> None:
    elsewhere = {"name": "gemma3-27b-it-qat", "source": "modelscope", "repo": "some/where", "revision": "master"}
    ((known,), (moved,)) = look_up(plugin, ["gemma3-27b-it-qat"], [elsewhere])
    assert (moved["source"], moved["repo"], moved["revision"]) == ("modelscope", "some/where", "master")
    assert moved["files"] == known["files"]
    assert parse([moved])[0].identity == parse([known])[0].identity


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("gemma3-27b-it-quat", "did you mean 'gemma3-27b-it-qat'"),
        ("nothing-like-it", "Any other model is a mapping"),
        ("qwen3-30b-a3b-gptq-int4", "its revision is not known yet. Lock it once"),
        (5, "models_list[0]: 5 is no model"),
    ],
)
def test_lookup_says_what_is_wrong(plugin: Plugin, asked: Any, words: str) -> None:
    with pytest.raises(AnsibleError) as caught:
        look_up(plugin, [asked])
    assert words in str(caught.value)


def test_the_real_catalogue_is_sound() -> None:
    known = catalog.load(ROOT / "stacks/models")
    for model in known.values():
        asked = {**model, "revision": model["revision"] or COMMIT}
        assert parse([catalog.plain(asked)])[0].name == model["name"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = [{"path": NAME, "sha256": None, "size": None}]
    models = [{"name": "m", "repo": REPO, "revision": None, "files": files}, {**MODEL, "name": "n"}]
    (tmp_path / catalog.NAME).write_text(yaml.safe_dump({"models": models}))
    return tmp_path


def test_lock(plugin: Plugin, capfd: pytest.CaptureFixture[str], hub: Hub, folder: Path) -> None:
    options = {"folder": str(folder), "models": ["m"], "endpoints": {"huggingface": hub.url}}
    assert call(plugin, capfd, "model_lock", **options, _ansible_check_mode=True)["locked"] == ["m"]
    assert hub.log == []
    assert call(plugin, capfd, "model_lock", **options)["locked"] == ["m"]
    assert hub.bodies() == []  # no weights
    known = catalog.load(folder)["m"]
    assert known["revision"] == COMMIT
    assert known["files"][0]["size"] == len(hub.files[NAME])
    assert len(known["files"][0]["sha256"]) == 64
    assert call(plugin, capfd, "model_lock", **options)["unchanged"] == ["m"]
    assert parse([catalog.plain(known)])[0].pinned
    hub.files[NAME] += b"!"
    changed = call(plugin, capfd, "model_lock", **options)
    assert "expected" in changed["msg"]
    assert catalog.load(folder)["m"] == known
    assert call(plugin, capfd, "model_lock", **{**options, "models": ["none"]})["failed"]


def test_lock_that_contradicts_the_catalogue(folder: Path) -> None:
    data = yaml.safe_load((folder / catalog.NAME).read_text())
    data["models"][0]["files"][0]["sha256"] = "0" * 64
    (folder / catalog.NAME).write_text(yaml.safe_dump(data))
    catalog.record(folder, "m", {"revision": COMMIT, "files": [{"path": NAME, "sha256": "1" * 64}]})
    with pytest.raises(ModelError, match="One of them is wrong"):
        catalog.load(folder)


@pytest.mark.parametrize("text", ["[]", "models: [1]", "models: {x: 1}", ": :"])
def test_broken_files_are_named(folder: Path, text: str) -> None:
    (folder / catalog.LOCK).write_text(text)
    with pytest.raises(ModelError, match=r"catalog\.lock\.yml"):
        catalog.load(folder)
    (folder / catalog.LOCK).unlink()
    (folder / catalog.NAME).write_text(text)
    with pytest.raises(ModelError, match=r"catalog\.yml"):
        catalog.load(folder)
