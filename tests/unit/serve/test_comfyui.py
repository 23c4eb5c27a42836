"""ComfyUI: what is refused, and what its unit says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import comfyui, key, model, pictures, probe, question, service, unit
from mi50.serve.model import ServeError

from tests.unit.serve.conftest import PARAMS, Machine, other

SOURCE, PYTHON = "/opt/mi50-aipc/comfyui/4e95c0c10424", "/opt/mi50-aipc/venvs/comfyui/bin/python"
OPTIONS: dict[str, Any] = {
    **{name: spec.get("default") for name, spec in comfyui.SPEC.items()},
    "source": SOURCE,
    "python": PYTHON,
}


@pytest.fixture
def there(machine: Machine) -> Machine:
    """A machine that has ComfyUI and an environment."""
    for path in (f"{SOURCE}/main.py", PYTHON):
        file = machine.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return machine


def params(port: int = 8188, **changes: Any) -> dict[str, Any]:
    own = {name: changes.pop(name) for name in list(changes) if name in OPTIONS}
    plain = {**PARAMS, "name": "comfyui", "api_key_file": "", "port": port}
    return {**plain, **changes, "options": {**OPTIONS, **own}}


def planned(machine: Machine, **changes: Any) -> service.Plan:
    found = service.plan(params(**changes), machine.node)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "/srv/none"}, ["no ComfyUI in /srv/none", "the role fetches it"]),
        ({"python": "/srv/none/bin/python"}, ["/srv/none/bin/python", "role pytorch"]),
        ({"models": "/srv/nowhere"}, ["comfyui_models is /srv/nowhere"]),
        ({"bind": "0.0.0.0"}, ["comfyui_bind is 0.0.0.0", "ssh -L 8188:127.0.0.1:8188"]),  # noqa: S104 - refused
        ({"api_key": "a-key-of-some-length"}, ["knows no API key"]),
        ({"extra_args": ["--port", "1"]}, ["--port", "comfyui_extra_args"]),
        ({"gpus": ["0000:99:00.0"]}, ["0000:99:00.0", "0000:03:00.0"]),
        ({"gpus": ["none"]}, ["[none]", "allow_software"]),
    ],
)
def test_bad_input(there: Machine, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ServeError) as caught:
        planned(there, **changes)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_unit_opens_the_card_and_the_compute_device(there: Machine) -> None:
    todo = planned(there)
    text = unit.unit(todo.service, there.node)
    assert f"DeviceAllow={there.node.dev}/kfd rw" in text
    assert "/dri/renderD128 rw" in text
    assert "--use-quad-cross-attention --force-fp16" in text
    assert "--listen 127.0.0.1 --port 8188" in text
    assert "--cpu" not in text
    assert "MIOPEN_USER_DB_PATH=/var/cache/mi50-aipc/comfyui/miopen" in text
    assert "writing the network of the check" in todo.reasons
    assert not [reason for reason in todo.reasons if "key" in reason]
    plain = planned(there, attention="split", half=False, vram="low", extra_args=["--verbose"])
    assert "--use-split-cross-attention --lowvram --verbose" in unit.unit(plain.service, there.node)


def test_it_takes_the_first_of_several_cards(tmp_path: Path) -> None:
    machine = other(tmp_path, "two-mi50")
    for path in (f"{SOURCE}/main.py", PYTHON):
        file = machine.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    todo = planned(machine)
    assert len(todo.service.gpus) == 1
    assert "computes on one card" in todo.warnings[0]


def test_folders_of_models(there: Machine) -> None:
    (there.root / "home/me/pictures").mkdir(parents=True)
    todo = planned(there, models="/home/me/pictures")
    text = {file.path: file.content for file in todo.service.files}[comfyui.PATHS]
    found = json.loads("\n".join(str(text).splitlines()[1:]))
    assert found["models"]["base_path"] == "/home/me/pictures"
    assert found["models"]["checkpoints"] == "checkpoints"
    assert found["mi50_check"] == {"base_path": comfyui.CHECKED, "upscale_models": "upscale_models"}
    assert todo.service.read == ("/home/me/pictures",)


def test_without_a_key_nothing_is_written_or_asked(there: Machine) -> None:
    none = model.Key("")
    assert (key.problems(none, there.node), key.ensure(none, there.node, 0), key.remove(none, there.node)) == (
        [],
        False,
        False,
    )
    assert probe.key({"key_file": ""}) == ""
    known = {"files": {}, "watched": {}, "gpus": [], "key_file": ""}
    assert question.drift(known, there.root, there.root / "sys") == []
    assert not service.installed(params(), there.node)


@pytest.mark.parametrize(
    ("log", "devices"),
    [
        (
            "Total VRAM 32752 MB, total RAM 64000 MB\nDevice: cuda:0 AMD Radeon Graphics : native\n",
            [("AMD Radeon Graphics", 32752 << 20, "")],
        ),
        (
            "[INFO] Total VRAM 16376 MB, total RAM 1 MB\n[INFO] Device: cuda:0 AMD Instinct MI50/MI60 : native\n",
            [("AMD Instinct MI50/MI60", 16376 << 20, "")],
        ),
        ("Total VRAM 64000 MB, total RAM 64000 MB\nDevice: cpu\n", []),
        ("Starting server\n", None),
    ],
)
def test_devices_from_the_log(there: Machine, log: str, devices: Any) -> None:
    assert comfyui.devices_of(log, "comfyui", there.node) == devices


def test_the_network_is_written_and_removed(there: Machine) -> None:
    todo = planned(there)
    comfyui.install(todo.service, OPTIONS, there.node)
    file = there.root / f"{comfyui.CHECKED}/upscale_models/{pictures.MODEL}".lstrip("/")
    assert comfyui.pending(todo.service, OPTIONS, there.node) == []
    file.write_bytes(b"damaged")
    assert comfyui.pending(todo.service, OPTIONS, there.node) == ["writing the network of the check"]
    assert comfyui.CHECKED.rpartition("/")[0] in comfyui.remove("comfyui", there.node)
    assert not file.exists()
