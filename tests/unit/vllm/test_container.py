"""The start script, run by a real shell against a made-up docker; and the key's middleware."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mi50.vllm import container, mi50_key
from mi50.vllm.container import Container

CARD = "0000:03:00.0"
KEY = "k" * 43
DOCKER = """#!/bin/sh
for word; do printf '<%s>' "$word"; done >>"$LOG"
echo >>"$LOG"
[ "$1 $2" != "network inspect" ]
"""


class Node:
    """A shell's surroundings: docker and getent that write down what they are asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        bin_ = root / "bin"
        bin_.mkdir()
        for name, text in (("docker", DOCKER), ("getent", '#!/bin/sh\ngrep "^$2:" "$GROUPS_FILE"\n')):
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(0o755)
        (root / "group").write_text("render:x:992:\nvideo:x:44:\n")
        drm = root / "sys/bus/pci/devices" / CARD / "drm"
        for name in ("card1", "renderD129"):
            (drm / name).mkdir(parents=True)
        (root / "dev/dri").mkdir(parents=True)
        (root / "dev/dri/renderD129").touch()

    def run(self, **changes: Any) -> tuple[int, list[str], str]:
        plain = {
            "name": "vllm", "image": "r/i@sha256:0", "cache_key": "abc", "bind": "127.0.0.1", "port": 8000,
            "key_file": "/etc/keys/vllm", "command": ["vllm", "serve", "/models/m"], "cards": [CARD],
            "mounts": [("/var/lib/models/m", "/models/m", False)],
            "sysfs": str(self.root / "sys"), "dev": str(self.root / "dev"),
        }  # fmt: skip
        text = container.script(Container(**{**plain, **changes}))
        text = text.replace("/var/cache/mi50-aipc", str(self.root / "cache"))
        path = self.root / "start"
        path.write_text(text)
        log = self.root / "log"
        log.unlink(missing_ok=True)
        env = {"PATH": f"{self.root}/bin:/usr/bin:/bin", "LOG": str(log), "GROUPS_FILE": str(self.root / "group")}
        done = subprocess.run(["sh", str(path)], env=env, capture_output=True, text=True, check=False)
        return done.returncode, log.read_text().splitlines() if log.exists() else [], done.stderr


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_whole_command(node: Node) -> None:
    code, calls, said = node.run(environment={"X": "a b'c\"$HOME"})
    assert (code, said) == (0, "")
    assert calls[0] == "<rm><--force><mi50-vllm>"
    assert calls[2].startswith("<network><create>")
    words = calls[-1].strip("<>").split("><")
    assert words[:2] == ["run", "--rm"]
    assert words[-4:] == ["r/i@sha256:0", "vllm", "serve", "/models/m"]

    def after(flag: str) -> list[str]:
        return [words[at + 1] for at, word in enumerate(words) if word == flag]

    assert after("--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert after("--device") == [
        f"{node.root}/dev/kfd",
        f"{node.root}/dev/dri/renderD129:{node.root}/dev/dri/renderD129",
    ]
    assert after("--group-add") == ["992", "44"]  # numbers of this host, never names
    assert after("--publish") == ["127.0.0.1:8000:8000"]
    assert after("--cap-drop") == ["ALL"]
    assert after("--security-opt") == ["no-new-privileges"]
    assert after("--pull") == ["never"]
    assert after("--volume") == [
        f"{node.root}/cache/vllm/abc:/cache",
        "/etc/keys/vllm:/run/mi50/key:ro",
        "/usr/local/lib/mi50-aipc/vllm:/mi50:ro",
        "/var/lib/models/m:/models/m:ro",
    ]
    assert "X=a b'c\"$HOME" in after("--env")
    assert "TRITON_CACHE_DIR=/cache/triton" in after("--env")
    assert (node.root / "cache/vllm/abc/home").is_dir()


def test_card_without_a_render_node_starts_nothing(node: Node) -> None:
    (node.root / "dev/dri/renderD129").unlink()
    code, calls, said = node.run()
    assert code != 0
    assert f"the card {CARD} has no render node" in said
    assert not [call for call in calls if call.startswith("<run>")]


def test_group_that_is_not_there_starts_nothing(node: Node) -> None:
    (node.root / "group").write_text("video:x:44:\n")
    code, calls, said = node.run()
    assert code != 0
    assert "there is no group render on this node" in said
    assert not [call for call in calls if call.startswith("<run>")]


def test_without_cards_no_device_is_handed_in(node: Node) -> None:
    words = node.run(cards=[])[1][-1]
    assert "--device" not in words
    assert "--group-add" not in words


def test_script_passes_shellcheck(node: Node) -> None:
    node.run(arguments=["--cap-add", "SYS_PTRACE"], bind="::1")
    done = subprocess.run(["shellcheck", str(node.root / "start")], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert "'[::1]:8000:8000'" in (node.root / "start").read_text()


class App:
    """What is behind the middleware."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.seen.append(str(scope.get("path", scope["type"])))
        await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    monkeypatch.setenv("MI50_KEY_FILE", str(path))
    return path


def ask(path: str, *given: str, kind: str = "http") -> tuple[list[str], list[Any]]:
    app, sent = App(), []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    headers = [(b"Authorization" if at else b"authorization", text.encode()) for at, text in enumerate(given)]
    asyncio.run(mi50_key.RequireKey(app)({"type": kind, "path": path, "headers": headers}, receive, send))
    return app.seen, sent


@pytest.mark.usefixtures("key_file")
def test_key_opens() -> None:
    assert ask("/v1/models", f"Bearer {KEY}")[0] == ["/v1/models"]
    assert ask("/health")[0] == ["/health"]
    assert ask("", kind="lifespan")[0] == [""]


@pytest.mark.usefixtures("key_file")
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/v1/models", []),
        ("/v1/chat/completions", ["Bearer wrong"]),
        ("/v1/models", [KEY]),
        ("/v1/models", [f"Bearer {KEY}x"]),
        ("/v1/models", [f"bearer {KEY}"]),
        ("/v1/models", ["Bearer x", f"Bearer {KEY}"]),
        ("/v1/models", [f"Bearer {KEY}", "Bearer x"]),
        ("/metrics", []),
        ("/health/../v1/models", []),
        ("/docs", []),
    ],
    ids=str,
)
def test_all_else_is_refused(path: str, given: list[str]) -> None:
    seen, sent = ask(path, *given)
    assert seen == []
    assert sent[0]["status"] == 401
    assert KEY not in str(sent)


@pytest.mark.usefixtures("key_file")
def test_websocket_is_closed() -> None:
    seen, sent = ask("/v1/realtime", kind="websocket")
    assert (seen, sent[0]["type"]) == ([], "websocket.close")


@pytest.mark.parametrize("content", ["", "short\n", None])
def test_without_a_key_it_does_not_start(key_file: Path, content: str | None) -> None:
    key_file.unlink()
    if content is not None:
        key_file.write_text(content)
    with pytest.raises((OSError, ValueError)):
        mi50_key.RequireKey(App())
