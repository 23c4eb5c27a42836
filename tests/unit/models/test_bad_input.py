"""What is wrong with a wish, a hub, a disk or a file gets one clear error, and what was there stays."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from mi50.fetch import partial
from mi50.fetch.errors import FetchError
from mi50.models import ensure, tokens
from mi50.models.ensure import Surroundings
from mi50.models.errors import ModelError
from mi50.models.hub import Endpoints
from mi50.models.wanted import parse

from tests.unit.models import made_up
from tests.unit.models.conftest import COMMIT, REPO, Hub, model

NAME = "model-Q8_0.gguf"
HUB = {"name": "m", "repo": REPO, "revision": COMMIT}

WISHES: list[tuple[Any, str]] = [
    ("gemma", "models_list[0]: 'gemma' is no model"),
    ({**HUB, "name": "../../etc"}, "models_list[0].name: '../../etc' is no name"),
    ({**HUB, "name": ""}, "'' is no name"),
    ({**HUB, "source": "ftp"}, "models_list[0].source: 'ftp' is none of huggingface, modelscope, url, path"),
    ({**HUB, "repo": "https://hub.example/a/b"}, "models_list[0].repo: 'https://hub.example/a/b' is no repository"),
    ({**HUB, "revision": ""}, "models_list[0].revision: '' is no revision. Name the commit"),
    ({**HUB, "revision": "../x"}, "'../x' is no revision"),
    ({**HUB, "quant": "q4"}, "unknown quant; known: check, files"),
    ({**HUB, "files": [{"path": "/etc/passwd"}]}, "models_list[0].files[0]: '/etc/passwd' is no path within a model"),
    ({**HUB, "files": ["a/../../b"]}, "'a/../../b' is no path within a model"),
    ({**HUB, "files": [".mi50-model.json"]}, "'.mi50-model.json' is no path within a model"),
    ({**HUB, "files": [{"path": "x", "sha256": "abc"}]}, "models_list[0].files[0].sha256: 'abc' is no sha256"),
    ({**HUB, "files": [{"path": "x", "size": "5 GB"}]}, "size: '5 GB' is no number of bytes"),
    ({**HUB, "files": ["x", "x"]}, "a path is named twice"),
    ({**HUB, "include": "*.gguf"}, "models_list[0].include: '*.gguf' is no list"),
    ({**HUB, "check": {"contxt": 1}}, "models_list[0].check: {'contxt': 1}; give context"),
    ({**HUB, "check": {"slots": 2}}, "check: has no context"),
    ({"name": "m", "source": "url", "url": "ftp://x", "files": ["a"]}, "models_list[0].url: 'ftp://x': give"),
    ({"name": "m", "source": "path", "path": "models/x"}, "models_list[0].path: 'models/x' is not absolute"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "words"), WISHES, ids=[words[:40] for _wish, words in WISHES])
def test_wishes(wish: Any, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse([wish])
    assert words in str(caught.value)


def test_names_that_differ_in_case_alone_are_one_folder_on_some_disks() -> None:
    with pytest.raises(ModelError, match="'M' is used twice"):
        parse([HUB, {**HUB, "name": "M"}])


def refused(around: Surroundings, *words: str, **changes: object) -> str:
    with pytest.raises((ModelError, FetchError)) as caught:
        ensure.ensure([model(**changes)], [], around)
    for word in words:
        assert word in str(caught.value)
    assert not (around.store / "m").exists()
    return str(caught.value)


def test_unknown_repository(hub: Hub, around: Surroundings) -> None:
    refused(around, "m: what nobody/nothing holds", "has no such file (HTTP 404", repo="nobody/nothing")


def test_unknown_file_names_those_there_are(hub: Hub, around: Surroundings) -> None:
    refused(around, "has no file model-Q4_0.gguf; it has model-Q8_0.gguf", files=["model-Q4_0.gguf"])


def test_repository_without_weights(hub: Hub, around: Surroundings) -> None:
    refused(around, "has no file of weights that matches", files=None)


def test_licence_not_accepted(hub: Hub, around: Surroundings) -> None:
    hub.status = 401
    refused(around, "(HTTP 401)", "Accept it and give a token (models_token_files")


def test_licence_not_accepted_where_the_list_is_open(
    hub: Hub, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.RequestHandlerClass, "content", lambda self, _name: self.answer(403, b"gated"))
    refused(around, "(HTTP 403", "Accept it and give a token")


def test_hub_is_gone(hub: Hub, around: Surroundings) -> None:
    hub.status = 503
    refused(around, "answers with an error (HTTP 503")


def test_a_page_instead_of_a_list(hub: Hub, around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.models.conftest.json.dumps", lambda _value: "<html>sign in</html>")
    refused(around, "answers with something else than a hub does: b'<html>sign in</html>'")


def test_no_address_is_set(around: Surroundings) -> None:
    refused(around._replace(hubs=Endpoints({})), "huggingface: no address is set for it; give mi50_url_huggingface")


def test_the_hub_has_another_digest_than_asked(hub: Hub, around: Surroundings) -> None:
    files = [{"path": NAME, "sha256": "0" * 64}, {"path": "config.json"}]
    refused(around, f"sha256 of {NAME} is", f"{'0' * 64} is expected. The file was changed", files=files)
    assert hub.bodies() == []


def test_what_comes_is_not_what_is_listed(hub: Hub, around: Surroundings) -> None:
    hub.lies[NAME] = hub.files[NAME][::-1]
    refused(around, f"sha256 of {hub.url}/{REPO}/resolve/{COMMIT}/{NAME} is", "nothing was kept")


def test_small_files_are_compared_with_their_git_name(hub: Hub, around: Surroundings) -> None:
    hub.lies["config.json"] = b'{"model_type": "ruin!"}'
    refused(around, "its content is not what its hub lists (git blob", files=[NAME, "config.json"])


def test_hub_that_names_a_path_outside(hub: Hub, around: Surroundings) -> None:
    hub.files["../../etc/cron.d/x.json"] = b"x"
    refused(around, "'../../etc/cron.d/x.json' is no path within a model", files=None, include=["*"])


def test_damaged_weights_are_refused_whatever_their_digest(hub: Hub, around: Surroundings) -> None:
    hub.files[NAME] = hub.files[NAME][:2000]
    refused(around, "it was cut off. Fetch it again")
    hub.files["x.safetensors"] = (50).to_bytes(8, "little") + b"no JSON" + bytes(2000)
    refused(around, "is damaged: it is no JSON object", files=["x.safetensors"])


def test_disk_too_small_is_known_before(hub: Hub, around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 10**12, 10**9))
    refused(around, "GB are to come", "but only 1.0 GB are free. Nothing was fetched")
    assert hub.bodies() == []


def test_disk_that_fills_up_meanwhile(hub: Hub, around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partial.os, "write", full)
    refused(around, "The disk is full")


def test_too_large_for_the_card_is_known_before(hub: Hub, around: Surroundings) -> None:
    """17 GB of weights are judged by their header: nothing of them is fetched."""
    metadata = dict(made_up.QWEN)
    head, _data = made_up.header(metadata, list(made_up.qwen_tensors()))
    hub.files["big.gguf"] = head + bytes(10**6)
    sixteen = around._replace(vram=(16 << 30,))
    refused(sixteen, "m: 17.3 GiB of weights + 12.0 GiB for 131072 tokens", "which has 16.0 GiB", "Nothing was fetched",
            files=["big.gguf"], check={"context": 131072})  # fmt: skip
    refused(sixteen, "is to run on 2 cards, 1 are there", files=["big.gguf"], check={"context": 8192, "tensor": 2})
    refused(sixteen, "the model was made for 262144", files=["big.gguf"], check={"context": 300000})
    assert hub.bodies() == []


def test_fit_is_told_and_doubts_are_remarks(hub: Hub, around: Surroundings) -> None:
    wanted = model(check={"context": 2048})
    blind = ensure.ensure([wanted], [], around, check_mode=True)
    assert ensure.remarks(blind) == ["m: no gfx906 card is seen here; whether it fits was not checked."]
    result = ensure.ensure([wanted], [], around._replace(vram=(32 << 30,)))
    assert result["models"][0]["fit"]["ok"]
    assert result["models"][0]["fit"]["context"] == 4096
    again = ensure.ensure([wanted], [], around._replace(vram=(32 << 30,)))
    assert again["models"][0]["fit"] == result["models"][0]["fit"]
    tight = ensure.ensure([wanted], [], around._replace(vram=(2 << 30,)))
    assert ensure.remarks(tight)[0].startswith("tight: m: 0.0 GiB of weights")


def test_fit_of_a_server_that_sends_no_pieces(hub: Hub, around: Surroundings) -> None:
    hub.ranges = False
    result = ensure.ensure([model(check={"context": 2048})], [], around._replace(vram=(32 << 30,)))
    assert result["models"][0]["fit"]["ok"]  # the header is at the beginning: one piece was enough


def test_wanted_and_unwanted_at_once(around: Surroundings) -> None:
    with pytest.raises(ModelError, match="m: is asked for and to be removed at once"):
        ensure.ensure([model()], ["m"], around)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("hf_abc\n", 0o644, "can be read by others (mode 0644). chmod 600 it"),
        ("hf_abc\n", 0o640, "can be read by others (mode 0640)"),
        ("two words\n", 0o600, "holds no token"),
        ("", 0o600, "holds no token"),
        ("hf_ü\n", 0o600, "holds no token"),
        (None, 0, "cannot be read: No such file or directory"),
    ],
    ids=["world", "group", "words", "empty", "no-ascii", "none"],
)
def test_token_files(tmp_path: Path, content: str | None, mode: int, words: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content, encoding="utf-8")
        path.chmod(mode)
    with pytest.raises(ModelError) as caught:
        tokens.read({"huggingface": str(path)})
    assert words in str(caught.value)
    assert "hf_abc" not in str(caught.value)


def test_token_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hf_abc\n")
    path.chmod(0o600)
    assert tokens.read({"huggingface": str(path), "modelscope": ""}) == {"huggingface": "hf_abc"}


@pytest.mark.parametrize("change", ["none", "empty", "damaged"])
def test_path_without_a_model(around: Surroundings, tmp_path: Path, change: str) -> None:
    there = tmp_path / "there"
    if change != "none":
        there.mkdir()
    if change == "damaged":
        (there / "x.gguf").write_bytes(b"GGUX" + bytes(100))
    words = {"none": "does not exist on this node", "empty": "holds no .gguf", "damaged": "is no GGUF file"}[change]
    refused(around, words, source="path", path=str(there), files=None)


def test_path_with_another_digest(around: Surroundings, tmp_path: Path) -> None:
    metadata, tensors = made_up.small()
    there = made_up.write(tmp_path / "mine.gguf", metadata, tensors)
    files = [{"path": "mine.gguf", "sha256": hashlib.sha256(b"x").hexdigest()}]
    refused(around, "its sha256 is", "Nothing was taken over", source="path", path=str(tmp_path), files=files)
    assert there.exists()
