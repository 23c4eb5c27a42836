"""Does ComfyUI compute, on the GPU? An upscale workflow whose result is known. Part of the health program, as `probe`.

A picture of random pixels is uploaded, sent through an upscaler (`upscaler.py`, a file of the service) and compared:
a black picture, a wrong kernel or a cached answer is none. Addresses and shapes: ComfyUI's server.py and execution.py.
Standard library only.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from . import probe
from .probe import Answer, Config, Fault

MODEL = "mi50-check-x4.safetensors"
SIDE, SCALE = 32, 4
# Of 255: what rounding to half precision and back may cost.
TOLERANCE = 4
_NAME, _BOUNDARY = "mi50-check.png", "mi50-aipc-check"
_MAGIC = b"\x89PNG\r\n\x1a\n"


def workflow() -> dict[str, Any]:
    """Load the picture, enlarge it, keep the result among the temporary ones."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": _NAME}},
        "2": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": MODEL}},
        "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["2", 0], "image": ["1", 0]}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }


def loaded(config: Config) -> None:
    """Whether it computes on a GPU, by its own word. Raises Fault."""
    found = _json(config, "/system_stats", config["live_timeout"])
    devices = found.get("devices") if isinstance(found.get("devices"), list) else []
    kinds = [str(device.get("type")) for device in devices or []]
    if "cuda" not in kinds and not config["software"]:
        raise Fault("cpu", f"ComfyUI computes on {', '.join(kinds) or 'nothing'}, not on the GPU: torch sees no card")


def busy(config: Config) -> bool:
    """Whether it works on somebody's pictures."""
    try:
        found = _json(config, "/queue", config["live_timeout"])
    except Fault:
        return False
    return bool(found.get("queue_running") or found.get("queue_pending"))


def complete(config: Config) -> Answer:
    """Have one picture enlarged. Raises Fault; `wrong` when another one comes back."""
    begin = time.monotonic()
    end = begin + float(config["answer_timeout"])
    pixels = os.urandom(3 * SIDE * SIDE)
    _upload(config, png(SIDE, SIDE, pixels))
    asked = _json(config, "/prompt", config["live_timeout"], {"prompt": workflow(), "client_id": "mi50-aipc"})
    picture = _wait(config, str(asked.get("prompt_id")), end)
    status, data = probe.ask(config, f"/view?{urlencode(picture)}", config["live_timeout"])
    if status != 200:
        raise Fault("hung", f"/view says {status}")
    width, height, found = unpng(data)
    wanted = enlarged(pixels, SIDE, SIDE, SCALE)
    if (width, height) != (SIDE * SCALE, SIDE * SCALE):
        raise Fault("wrong", f"a picture of {width} x {height} came back, {SIDE * SCALE} x {SIDE * SCALE} is right")
    off = sum(abs(one - other) > TOLERANCE for one, other in zip(found, wanted))
    if off:
        black = " (it is black)" if not any(found) else ""
        raise Fault(
            "wrong", f"the picture came back with {off} of {len(wanted)} values wrong{black}: kernels or memory"
        )
    return Answer(1, time.monotonic() - begin, 0.0, f"{SIDE} x {SIDE} pixels became {width} x {height}")


def enlarged(pixels: bytes, width: int, height: int, scale: int) -> bytes:
    """RGB pixels, each as a square of `scale` pixels a side."""
    rows = []
    for row in range(height):
        line = pixels[3 * width * row : 3 * width * (row + 1)]
        rows.append(b"".join(line[at : at + 3] * scale for at in range(0, len(line), 3)) * scale)
    return b"".join(rows)


def png(width: int, height: int, pixels: bytes) -> bytes:
    """RGB pixels as a PNG file."""
    rows = b"".join(b"\0" + pixels[3 * width * row : 3 * width * (row + 1)] for row in range(height))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return _MAGIC + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def unpng(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and RGB pixels of a PNG file with eight bits a colour. Raises Fault.

    Filters: W3C, Portable Network Graphics, section 9.
    """
    try:
        if data[:8] != _MAGIC:
            raise ValueError("no PNG")
        at, packed, head = 8, b"", b""
        while at < len(data):
            (size,) = struct.unpack_from(">I", data, at)
            kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
            head = content if kind == b"IHDR" else head
            packed += content if kind == b"IDAT" else b""
            at += 12 + size
        width, height, depth, colours = struct.unpack_from(">IIBB", head)
        interlaced = head[12]
        if depth != 8 or colours not in (2, 6) or interlaced:
            raise ValueError(f"{depth} bits, colours {colours}, interlaced {interlaced}")
        step = 3 if colours == 2 else 4
        rows = _unfiltered(zlib.decompress(packed), width * step, height, step)
    except (ValueError, IndexError, struct.error, zlib.error) as error:
        raise Fault("wrong", f"what came back is no picture that can be read: {error}") from error
    if step == 3:
        return width, height, rows
    return width, height, b"".join(rows[at : at + 3] for at in range(0, len(rows), 4))


def _unfiltered(data: bytes, length: int, height: int, step: int) -> bytes:
    before, found = bytearray(length), bytearray()
    for row in range(height):
        kind, line = data[row * (length + 1)], bytearray(data[row * (length + 1) + 1 : (row + 1) * (length + 1)])
        if len(line) < length or kind > 4:
            raise ValueError(f"row {row} is cut off or has filter {kind}")
        for at in range(length):
            left, up = (line[at - step] if at >= step else 0), before[at]
            corner = before[at - step] if at >= step else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            elif kind == 4:
                straight = left + up - corner
                guess = min((left, up, corner), key=lambda one: abs(straight - one))
            else:
                break
            line[at] = (line[at] + guess) & 0xFF
        found += line
        before = line
    return bytes(found)


def _upload(config: Config, picture: bytes) -> None:
    fields = {"overwrite": b"true", "type": b"input"}
    body = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in fields.items()
    )
    body += (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{_NAME}"\r\n'
        f"Content-Type: image/png\r\n\r\n"
    ).encode()
    body += picture + f"\r\n--{_BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    status, data = probe.ask(config, "/upload/image", config["live_timeout"], body, kind)
    if status != 200:
        raise Fault("hung", f"/upload/image says {status}: {_short(data)}")


def _wait(config: Config, number: str, end: float) -> dict[str, str]:
    """Where the result lies. Raises Fault."""
    while True:
        found = _json(config, f"/history/{number}", config["live_timeout"]).get(number)
        if isinstance(found, Mapping):
            status = found.get("status") or {}
            if status.get("status_str") == "error":
                raise Fault("hung", f"the workflow failed: {_reason(status)}")
            images = (found.get("outputs", {}).get("4") or {}).get("images") or []
            if images:
                return {name: str(images[0].get(name, "")) for name in ("filename", "subfolder", "type")}
            if status.get("completed"):
                raise Fault("hung", "the workflow ended without a picture")
        if time.monotonic() > end:
            raise Fault("hung", f"the picture was not done within {config['answer_timeout']:.0f} s")
        time.sleep(0.25)


def _reason(status: Mapping[str, Any]) -> str:
    for kind, content in status.get("messages") or []:
        if kind == "execution_error":
            return f"{content.get('node_type')}: {content.get('exception_message')}"[:300].strip()
    return "no reason was given"


def _json(config: Config, path: str, seconds: float, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    status, data = probe.ask(config, path, seconds, body)
    try:
        found = json.loads(data)
    except ValueError as error:
        raise Fault("hung", f"{path} says {status} and no JSON: {_short(data)}") from error
    if status != 200 or not isinstance(found, dict):
        raise Fault("hung", f"{path} says {status}: {_short(data)}")
    return found


def _short(data: bytes) -> str:
    return " ".join(data[:400].decode(errors="replace").split())
