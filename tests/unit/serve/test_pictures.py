"""The workflow that proves ComfyUI: the network whose answer is known, pictures, and what counts as no answer."""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mi50.serve import pictures, probe, upscaler

STANDIN = Path(__file__).resolve().parents[3] / "lab/standins/standin_comfyui"


def convolved(name: str, picture: list[list[float]], tensors: dict[str, Any]) -> list[list[float]]:
    """A convolution whose kernels have a middle alone: a product of matrices, a pixel at a time."""
    shape, numbers = tensors[f"{name}.weight"]
    for at in range(0, len(numbers), 9):
        assert not any(numbers[at : at + 4])
        assert not any(numbers[at + 5 : at + 9])
    rows = [
        [(column, value) for column in range(shape[1]) if (value := numbers[9 * (row * shape[1] + column) + 4])]
        for row in range(shape[0])
    ]
    assert not any(tensors[f"{name}.bias"][1])
    return [[sum(pixel[column] * value for column, value in row) for row in rows] for pixel in picture]


def test_the_network_enlarges_and_nothing_else() -> None:
    data = upscaler.network()
    (size,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + size])
    assert (8 + size) % 8 == 0
    body, tensors = data[8 + size :], {}
    for name, about in head.items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            tensors[name] = (about["shape"], struct.unpack(f"<{(end - begin) // 4}f", body[begin:end]))
    assert max(about["data_offsets"][1] for name, about in head.items() if name != "__metadata__") == len(body)
    # One pixel stands for all of its colour: nearest neighbours change no value. As RRDBNet of xinntao/ESRGAN.
    picture = [[0.0, 0.5, 1.0], [0.25, 1.0, 0.125]]
    first = convolved("conv_first", picture, tensors)
    block = first
    for number in (1, 2, 3):
        grown = block
        for convolution in (1, 2, 3, 4):
            new = convolved(f"body.0.rdb{number}.conv{convolution}", grown, tensors)
            assert new != [[0.0] * 32] * 2
            grown = [one + two for one, two in zip(grown, new, strict=True)]
        last = convolved(f"body.0.rdb{number}.conv5", grown, tensors)
        block = [[a * 0.2 + b for a, b in zip(one, two, strict=True)] for one, two in zip(last, block, strict=True)]
    body_out = [[a * 0.2 + b for a, b in zip(one, two, strict=True)] for one, two in zip(block, first, strict=True)]
    trunk = convolved("conv_body", body_out, tensors)
    found = [[a + b for a, b in zip(one, two, strict=True)] for one, two in zip(first, trunk, strict=True)]
    for name in ("conv_up1", "conv_up2", "conv_hr", "conv_last"):
        found = convolved(name, found, tensors)
    for one, two in zip(found, picture, strict=True):
        assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize("kind", range(5))
def test_pictures_of_every_filter_are_read(kind: int) -> None:
    pixels = bytes((7 * at * at) & 255 for at in range(3 * 5 * 4))
    rows, packed = [pixels[15 * row : 15 * row + 15] for row in range(4)], b""
    for number, row in enumerate(rows):
        up = rows[number - 1] if number else bytes(15)
        packed += bytes([kind])
        for at, value in enumerate(row):
            left, above, corner = row[at - 3] if at > 2 else 0, up[at], up[at - 3] if at > 2 else 0
            paeth = min((left, above, corner), key=lambda one: abs(left + above - corner - one))
            packed += bytes([(value - (0, left, above, (left + above) // 2, paeth)[kind]) & 255])
    plain = pictures.png(5, 4, pixels)
    assert pictures.unpng(plain) == (5, 4, pixels)
    start, end = plain.index(b"IDAT"), plain.index(b"IEND")
    data = zlib.compress(packed)
    filtered = plain[: start - 4] + struct.pack(">I", len(data)) + b"IDAT" + data + b"crc." + plain[end - 4 :]
    assert pictures.unpng(filtered) == (5, 4, pixels)


@pytest.mark.parametrize("data", [b"", b"<html>", pictures.png(2, 2, bytes(12))[:40], pictures.png(9, 9, bytes(12))])
def test_what_is_no_picture_is_told(data: bytes) -> None:
    with pytest.raises(probe.Fault, match="no picture that can be read") as caught:
        pictures.unpng(data)
    assert caught.value.state == "wrong"


class Comfy(http.server.BaseHTTPRequestHandler):
    """As much of ComfyUI as the check asks for; `says` spoils it."""

    says: dict[str, Any]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/system_stats":
            self.reply(self.says.get("stats", {"devices": [{"type": "cuda"}]}))
        elif address.path == "/queue":
            self.reply({"queue_running": self.says.get("running", []), "queue_pending": []})
        elif address.path.startswith("/history/"):
            image = {"filename": "x_00001_.png", "subfolder": "", "type": "temp"}
            done = {"status": {"status_str": "success", "completed": True}, "outputs": {"4": {"images": [image]}}}
            self.reply({"p1": self.says.get("history", done)} if self.says.get("done", True) else {})
        else:
            assert parse_qs(address.query)["type"] == ["temp"]
            pixels = self.says["pixels"]
            self.reply(self.says.get("picture") or pictures.png(128, 128, pictures.enlarged(pixels, 32, 32, 4)))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            message = email.message_from_bytes(head + data, policy=email.policy.HTTP)
            parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
            self.says["pixels"] = pictures.unpng(parts["image"].get_content())[2]
            self.reply({"name": parts["image"].get_filename()})
        elif "refused" in self.says:
            self.reply({"error": {"message": self.says["refused"]}}, 400)
        else:
            assert json.loads(data)["prompt"] == pictures.workflow()
            self.reply({"prompt_id": "p1", "number": 1, "node_errors": {}})

    def reply(self, body: Any, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def comfy() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The health program's configuration, and what the server does."""
    says: dict[str, Any] = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Comfy,), {"says": says}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    times = {"live_timeout": 5.0, "answer_timeout": 5.0, "floor": 0.0, "expected_vram": 0, "gpus": []}
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield {"kind": "comfyui", "url": url, "key_file": "", "model": "ComfyUI", "software": False, **times}, says
    server.shutdown()
    server.server_close()


def test_a_right_picture_is_an_answer(comfy: Any) -> None:
    config, says = comfy
    answer = probe.look(config, completion=True)
    assert answer is not None
    assert answer.text == "32 x 32 pixels became 128 x 128"
    assert answer.tokens == 1
    before = says["pixels"]
    probe.look(config, completion=True)
    assert says["pixels"] != before, "ComfyUI would answer the same picture from its cache"
    says["running"] = [[0, "p0"]]
    assert probe.look(config, completion=True) is None


ERROR = {"node_type": "ImageUpscaleWithModel", "exception_message": "HIP error"}
FAILED = {
    "status_str": "error",
    "completed": False,
    "messages": [["execution_start", {}], ["execution_error", ERROR]],
}
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "on the CPU": ({"stats": {"devices": [{"type": "cpu"}]}}, "cpu", "computes on cpu, not on the GPU"),
    "black": ({"picture": pictures.png(128, 128, bytes(3 * 128 * 128))}, "wrong", "it is black"),
    "another size": ({"picture": pictures.png(2, 2, bytes(12))}, "wrong", "a picture of 2 x 2 came back"),
    "noise": ({"picture": pictures.png(128, 128, bytes(range(256)) * 192)}, "wrong", "values wrong: kernels or memory"),
    "a node failed": ({"history": {"status": FAILED}}, "hung", "ImageUpscaleWithModel: HIP error"),
    "nothing came of it": ({"history": {"status": {"completed": True}}}, "hung", "ended without a picture"),
    "refused": ({"refused": "Value not in list: mi50-check-x4"}, "hung", "/prompt says 400: .*Value not in list"),
    "too slow": ({"done": False}, "hung", "not done within 1 s"),
}


@pytest.mark.parametrize("case", WRONG)
def test_everything_else_is_none(comfy: Any, case: str) -> None:
    config, says = comfy
    spoiled, state, words = WRONG[case]
    says.update(spoiled)
    with pytest.raises(probe.Fault, match=words) as caught:
        probe.look({**config, "answer_timeout": 1.0 if case == "too slow" else 5.0}, completion=True)
    assert caught.value.state == state


def test_the_labs_stand_in_computes_the_network(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("class cuda:\n    device_count = staticmethod(lambda: 0)\n")
    models = tmp_path / "models/upscale_models"
    models.mkdir(parents=True)
    (models / pictures.MODEL).write_bytes(upscaler.network())
    folders = {"check": {"base_path": str(tmp_path / "models"), "upscale_models": "upscale_models"}}
    (tmp_path / "paths.yaml").write_text("# x\n" + json.dumps(folders))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = ["--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(tmp_path)]
    given += ["--extra-model-paths-config", str(tmp_path / "paths.yaml"), "--use-quad-cross-attention"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    config = {"kind": "comfyui", "url": f"http://127.0.0.1:{port}", "key_file": "", "software": True, "floor": 0.0}
    config.update(live_timeout=5.0, answer_timeout=20.0, expected_vram=0, gpus=[])
    with subprocess.Popen([sys.executable, str(STANDIN), *given], env=environment) as server:
        try:
            answer = None
            while answer is None:
                time.sleep(0.05)
                assert server.poll() is None
                with contextlib.suppress(probe.Fault):
                    probe.live(config)
                    answer = probe.complete(config, 1)
            assert answer.text.endswith("became 128 x 128")
            (tmp_path / "standin-fault").write_text('{"black": true}')
            with pytest.raises(probe.Fault, match="it is black"):
                probe.complete(config, 1)
            (tmp_path / "standin-fault").write_text('{"node": "HIP error: invalid device function"}')
            with pytest.raises(probe.Fault, match="ImageUpscaleWithModel: HIP error"):
                probe.complete(config, 1)
        finally:
            server.kill()
