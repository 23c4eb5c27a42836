"""Does a service answer, on the GPU? The questions, and what their answers mean.

Part of the health program on the node (with `health` and `pictures`), and what proves readiness when Ansible installs a
service, so that the two cannot disagree. Standard library only, and no other module of this project.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PROMPT = "Count from one to twenty in words."
READY_TOKENS = 16
LOOK_TOKENS = 8
# A share of the model's size below which it does not lie in VRAM (buffers of the CPU and rounding aside).
VRAM_SHARE = 0.6
_LIMIT = 1 << 20  # bytes of an answer that are read
_BUSY = {"llama.cpp": "/slots", "vllm": "/metrics"}
_LIVE = {
    "llama.cpp": "/health",
    "vllm": "/health",
    "lmdeploy": "/health",
    "ollama": "/api/version",
    "comfyui": "/system_stats",
}

Config = Mapping[str, Any]


class Fault(Exception):
    """It does not answer as it must: `state` is `loading`, `down`, `hung`, `unloaded`, `cpu`, `slow`, `refused`."""

    def __init__(self, state: str, text: str) -> None:
        """The text is for people."""
        super().__init__(text)
        self.state = state


class Answer(NamedTuple):
    """One completion: tokens, seconds it took in all, tokens a second, the beginning of the text."""

    tokens: int
    seconds: float
    speed: float
    text: str


def key(config: Config) -> str:
    """The API key; empty for an engine that knows none. Raises Fault."""
    if not config["key_file"]:
        return ""
    try:
        return Path(config["key_file"]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Fault("refused", f"the key file {config['key_file']} cannot be read: {error.strerror}") from error


def ask(config: Config, path: str, seconds: float, body: Mapping[str, Any] | bytes | None = None,
        kind: str = "application/json") -> tuple[int, bytes]:  # fmt: skip
    """Ask the server; returns status and body. Raises Fault: `down` when nobody listens, `hung` when nobody answers."""
    parts, secret = urlsplit(config["url"]), key(config)
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=seconds)
    try:
        if body is None:
            connection.request("GET", parts.path + path, headers=headers)
        else:
            headers["Content-Type"] = kind
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", parts.path + path, data, headers)
        response = connection.getresponse()
        return response.status, response.read(_LIMIT)
    except ConnectionRefusedError as error:
        raise Fault("down", f"nothing listens on port {parts.port}") from error
    except TimeoutError as error:
        raise Fault("hung", f"no answer to {path} within {seconds:.0f} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Fault("down", f"{path}: the connection broke ({type(error).__name__})") from error
    finally:
        connection.close()


def live(config: Config) -> None:
    """The cheap question. Raises Fault; `loading` while the model is being loaded."""
    if config["kind"] == "ray":
        _joined(config)
        return
    path = _LIVE.get(config["kind"], "/v1/models")
    status, body = ask(config, path, config["live_timeout"])
    if status == http.client.SERVICE_UNAVAILABLE:
        raise Fault("loading", f"the server says {status}: {_short(body) or 'loading'}")
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise Fault("refused", f"the server refuses the key of {config['key_file']} ({status})")
    if status != http.client.OK:
        raise Fault("hung", f"{path} says {status}: {_short(body)}")


def loaded(config: Config) -> None:
    """Whether the server has the model in memory, where it can be without. Raises Fault."""
    if config["kind"] == "ray":
        return
    if config["kind"] == "comfyui":
        _pictures().loaded(config)
        return
    path = {"lmstudio": "/api/v1/models", "ollama": "/api/ps"}.get(config["kind"], "/v1/models")
    status, body = ask(config, path, config["live_timeout"])
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise Fault("refused", f"the server refuses the key of {config['key_file']} ({status})")
    try:
        found = json.loads(body)
        rows = found.get("data") or found.get("models") or []
        if config["kind"] == "lmstudio":
            # It lists all models it knows; those in memory are instances, named by the identifier they were given.
            rows = [instance for row in rows for instance in row.get("loaded_instances") or []]
        names = {_plain(config, str(row.get("id") or row.get("name"))): row for row in rows}
    except (ValueError, AttributeError, TypeError) as error:
        raise Fault("hung", f"{path} says {status} and no list of models: {_short(body)}") from error
    row = names.get(config["model"])
    state = (row or {}).get("state") or ((row or {}).get("status") or {}).get("value") or "loaded"
    if row is None or state not in ("loaded", "sleeping"):
        have = ", ".join(f"{name} ({row.get('state')})" if row.get("state") else name for name, row in names.items())
        raise Fault("unloaded", f"{config['model']} is not loaded; the server has {have or 'no model'}")
    size, there = int(row.get("size") or 0), row.get("size_vram")
    if not config.get("software") and size and there is not None and there < size * VRAM_SHARE:
        raise Fault("cpu", f"{config['model']} takes {size / 1e9:.1f} GB, of which {there / 1e9:.1f} GB lie in VRAM")


def _plain(config: Config, name: str) -> str:
    """A model's name as it was given: Ollama adds the tag that means the newest."""
    return name[: -len(":latest")] if config["kind"] == "ollama" and name.endswith(":latest") else name


def busy(config: Config) -> bool:
    """Whether it works on somebody's request, as far as it tells: then it is not asked for a completion of ours."""
    path = _BUSY.get(config["kind"])
    if config["kind"] == "comfyui":
        return bool(_pictures().busy(config))
    if path is None:
        return False
    try:
        status, body = ask(config, path, config["live_timeout"])
        if path == "/slots":
            return status == http.client.OK and any(slot.get("is_processing") for slot in json.loads(body))
    except (Fault, ValueError, AttributeError, TypeError):
        return False
    lines = body.decode(errors="replace").splitlines()
    return any(line.startswith("vllm:num_requests_running") and not line.endswith((" 0", " 0.0")) for line in lines)


def complete(config: Config, tokens: int) -> Answer:
    """Ask for one completion (of ComfyUI, for one picture; a node that only lends its cards has none). Raises Fault."""
    if config["kind"] == "ray":
        return Answer(0, 0.0, 0.0, "it lends its cards to " + config["url"].rpartition("/")[2])
    if config["kind"] == "comfyui":
        found_picture: Answer = _pictures().complete(config)
        return found_picture
    message = {"role": "user", "content": PROMPT}
    body = {"model": config["model"], "messages": [message], "max_tokens": tokens, "temperature": 0, "stream": False}
    begin = time.monotonic()
    status, data = ask(config, "/v1/chat/completions", config["answer_timeout"], body)
    seconds = time.monotonic() - begin
    if status == http.client.SERVICE_UNAVAILABLE:
        raise Fault("loading", f"the server says {status}: {_short(data)}")
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise Fault("refused", f"the server refuses the key of {config['key_file']} ({status})")
    try:
        found = json.loads(data)
        if status != http.client.OK:
            raise Fault("hung", f"a completion was answered with {status}: {_short(data)}")
        said = found["choices"][0]["message"]
        text = str(said.get("content") or said.get("reasoning_content") or said.get("reasoning") or "")
        count = int((found.get("usage") or {}).get("completion_tokens") or 0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Fault("hung", f"a completion was answered with {status} and no text: {_short(data)}") from error
    if count < 1:
        raise Fault("hung", "a completion came back without a token")
    own = (found.get("timings") or {}).get("predicted_per_second") or (found.get("stats") or {}).get(
        "tokens_per_second"
    )
    return Answer(count, seconds, float(own or count / max(seconds, 1e-6)), text[:80])


def _joined(config: Config) -> None:
    """One node of a vLLM over several: url is ray://OWN:PORT/HEAD:PORT. Raises Fault while there is no head."""
    own, dummy, head = config["url"].partition("//")[2].partition("/")
    for place, fault in ((head, "loading"), (own, "down")):
        host, dummy, port = place.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=config["live_timeout"]).close()
        except OSError as error:
            who = "the head of vllm_cluster does not answer" if place == head else "Ray does not run here"
            raise Fault(fault, f"{who} at {place} ({error.strerror or type(error).__name__})") from error


def _pictures() -> Any:  # noqa: ANN401 - the module
    """What knows ComfyUI; other engines do not load it."""
    from . import pictures  # noqa: PLC0415 - see above

    return pictures


def vram(config: Config) -> int:
    """Bytes of VRAM in use on the service's cards together."""
    total = 0
    for pci in config["gpus"]:
        try:
            path = Path(config["sysfs_root"]) / "bus/pci/devices" / pci / "mem_info_vram_used"
            total += int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return total


def on_gpu(config: Config, answer: Answer | None = None, before: int = 0) -> None:
    """Raises Fault `cpu` when less of the cards is in use than the model takes, `slow` below the floor.

    `before`: bytes that were in use before the service started.
    """
    if config["software"]:
        return
    expected, now = config["expected_vram"], vram(config)
    if expected and now - before < expected * VRAM_SHARE:
        where = ", ".join(config["gpus"]) or "no card"
        raise Fault(
            "cpu",
            f"the model takes {expected / 1e9:.1f} GB, but on {where} only {max(0, now - before) / 1e9:.1f} GB more "
            "are in use: it was loaded into the computer's memory and runs on the CPU",
        )
    if answer is not None and config["floor"] and answer.speed < config["floor"]:
        raise Fault("slow", f"{answer.speed:.1f} tokens/s, below the floor of {config['floor']:.1f}: is this the GPU?")


def look(config: Config, *, completion: bool) -> Answer | None:
    """One look: alive, loaded, on the GPU, and if asked for, a completion. Raises Fault."""
    live(config)
    loaded(config)
    answer = complete(config, LOOK_TOKENS) if completion and not busy(config) else None
    on_gpu(config, answer)
    return answer


def _short(data: bytes) -> str:
    return " ".join(data[:200].decode(errors="replace").split())
