"""Registries in somebody else's daemon.json, and an engine that is found as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50.containers import daemon, engine
from mi50.containers.errors import ContainerError

MIRROR, OTHER = "http://mirror.lab:5000", "https://other.lab"
WANT = {daemon.MIRRORS: [MIRROR], daemon.INSECURE: ["registry.lab:5000"]}
NONE: dict[str, list[str]] = {daemon.MIRRORS: [], daemon.INSECURE: []}


def test_into_no_file_and_out_again() -> None:
    there = daemon.merge(None, {}, WANT)
    assert there.changed
    assert json.loads(there.text or "") == {daemon.MIRRORS: [MIRROR], daemon.INSECURE: ["registry.lab:5000"]}
    assert there.ours == WANT
    assert not daemon.merge(there.text, there.ours, WANT).changed
    gone = daemon.merge(there.text, there.ours, NONE)
    assert (gone.text, gone.ours, gone.changed) == (None, {}, True)


def test_somebody_elses_file_stays_what_it_is() -> None:
    text = json.dumps({"data-root": "/big", "registry-mirrors": [OTHER], "log-opts": {"max-size": "1m"}}, indent=4)
    there = daemon.merge(text, {}, WANT)
    found = json.loads(there.text or "")
    assert list(found) == ["data-root", "registry-mirrors", "log-opts", "insecure-registries"]
    assert found["registry-mirrors"] == [OTHER, MIRROR]
    assert '\n    "data-root"' in (there.text or "")
    back = daemon.merge(there.text, there.ours, NONE)
    assert json.loads(back.text or "") == json.loads(text)
    assert back.ours == {}


def test_what_somebody_else_wrote_is_never_ours() -> None:
    text = json.dumps({"registry-mirrors": [f"{MIRROR}/"]})
    there = daemon.merge(text, {}, {**NONE, daemon.MIRRORS: [MIRROR]})
    assert (there.changed, there.ours) == (False, {})
    assert not daemon.merge(text, there.ours, NONE).changed
    assert not daemon.merge('{"registry-mirrors": []}', {}, NONE).changed


def test_another_mirror_replaces_ours_alone() -> None:
    first = daemon.merge(json.dumps({"registry-mirrors": [OTHER]}), {}, WANT)
    second = daemon.merge(first.text, first.ours, {**WANT, daemon.MIRRORS: ["http://new.lab"]})
    assert json.loads(second.text or "")["registry-mirrors"] == [OTHER, "http://new.lab"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{broken", "is no JSON"),
        ("[]", "holds list, no object"),
        ('{"registry-mirrors": "http://x"}', "registry-mirrors is 'http://x', no list of strings"),
        ('{"insecure-registries": [1]}', "insecure-registries is [1]"),
    ],
)
def test_files_that_are_not_touched(text: str, words: str) -> None:
    with pytest.raises(ContainerError) as caught:
        daemon.merge(text, {}, WANT)
    assert words in str(caught.value)
    assert daemon.PATH in str(caught.value)


@pytest.mark.parametrize(
    ("mirrors", "insecure", "words"),
    [
        (["mirror.lab"], [], "'mirror.lab': a mirror of Docker Hub is http(s)://HOST[:PORT]"),
        (["http://mirror.lab/v2"], [], "without a path"),
        ([], ["http://registry.lab"], "write HOST[:PORT] or a network"),
    ],
)
def test_wishes_dockerd_would_refuse(mirrors: list[str], insecure: list[str], words: str) -> None:
    with pytest.raises(ContainerError) as caught:
        daemon.wanted(mirrors, insecure)
    assert words in str(caught.value)


class Docker:
    """A node with an engine that reads its file again when it is told to."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, []  # type: ignore[var-annotated]
        self.version, self.running, self.enabled, self.takes = "20.10.24+dfsg1", True, True, True
        self.security: list[str] = ["name=seccomp"]
        self.says, self.valid = "Docker version 20.10.24", True
        self.seen: dict[str, Any] = {}
        for name in ("usr/bin/docker", "etc/docker", "run/docker.pid", "proc/7"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "usr/bin/docker").touch()
        (root / "etc/docker").mkdir(exist_ok=True)

    def started_with(self, *flags: str) -> None:
        (self.root / "run/docker.pid").write_text("7")
        (self.root / "proc/7").mkdir(parents=True, exist_ok=True)
        (self.root / "proc/7/cmdline").write_bytes(b"\0".join([b"dockerd", *(flag.encode() for flag in flags)]) + b"\0")

    @property
    def file(self) -> Path:
        return self.root / "etc/docker/daemon.json"

    def read(self) -> None:
        if self.takes:
            self.seen = json.loads(self.file.read_text()) if self.file.exists() else {}

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        words = [Path(argv[0]).name, *argv[1:]]
        self.calls.append(" ".join(words))
        if words[:2] == ["docker", "--version"]:
            return 0, self.says
        if words[:2] == ["docker", "info"]:
            registry = {"Mirrors": [f"{one}/" for one in self.seen.get("registry-mirrors", [])],
                        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
                        "IndexConfigs": {one: {"Secure": False} for one in self.seen.get("insecure-registries", ())},
                        }  # fmt: skip
            info = {"ServerVersion": self.version, "DockerRootDir": "/var/lib/docker", "RegistryConfig": registry}
            return (
                (0, json.dumps({**info, "SecurityOptions": self.security})) if self.running else (1, "Cannot connect")
            )
        if words[0] == "dockerd":
            return (
                (0, "configuration OK")
                if self.valid
                else (1, "unable to configure the Docker daemon with file: unknown")
            )
        if words[:2] == ["systemctl", "show"]:
            state = "active" if self.running else "inactive"
            return (
                0,
                f"LoadState=loaded\nActiveState={state}\nUnitFileState={'enabled' if self.enabled else 'disabled'}\n",
            )
        if words[1] == "enable":
            self.enabled = True
        if words[1] in ("start", "reload"):
            self.running = True
            self.read()
        return 0, ""

    def configure(self, *, check_mode: bool = False, **changes: list[str]) -> dict[str, Any]:
        want = {"mirrors": [MIRROR], "insecure": ["registry.lab:5000"], **changes}
        seen = engine.look(self.run, self.root)
        return engine.configure(want["mirrors"], want["insecure"], seen, self.run, self.root, check_mode=check_mode)


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path)


def test_no_docker(tmp_path: Path) -> None:
    assert engine.look(lambda _argv: (1, ""), tmp_path).program == ""


def test_found_as_it_is_and_not_touched(docker: Docker) -> None:
    found = docker.configure(mirrors=[], insecure=[])
    assert not found["changed"]
    assert not docker.file.exists()
    assert engine.settled([], [], docker.run, docker.root)
    assert [call for call in docker.calls if "show" not in call and "info" not in call and "version" not in call] == []


def test_registries_are_in_force_without_a_restart(docker: Docker) -> None:
    assert docker.configure(check_mode=True)["changed"]
    assert not docker.file.exists()
    assert docker.configure()["changed"]
    assert docker.seen["registry-mirrors"] == [MIRROR]
    assert [call for call in docker.calls if "restart" in call] == []
    assert not docker.configure()["changed"]
    assert engine.settled([MIRROR], ["registry.lab:5000"], docker.run, docker.root)
    assert not engine.settled([OTHER], [], docker.run, docker.root)
    assert docker.configure(mirrors=[], insecure=[])["changed"]
    assert not docker.file.exists()
    assert not (docker.root / daemon.NOTE.lstrip("/")).exists()


def test_stopped_engine_is_started_and_enabled(docker: Docker) -> None:
    docker.running = docker.enabled = False
    assert docker.configure(mirrors=[], insecure=[])["reasons"] == [
        "the engine is started",
        "docker.service is enabled",
    ]
    assert (docker.running, docker.enabled) == (True, True)


def test_settings_an_engine_has_not_read_yet(docker: Docker) -> None:
    docker.configure()
    docker.seen = {}
    assert docker.configure()["reasons"] == [f"the engine does not know {MIRROR}, registry.lab:5000 yet"]
    assert docker.seen["registry-mirrors"] == [MIRROR]


def test_what_dockerd_does_not_take_is_put_back(docker: Docker) -> None:
    before = '{"data-root": "/big"}\n'
    docker.file.write_text(before)
    docker.takes = False
    with pytest.raises(ContainerError, match="did not take http://mirror"):
        docker.configure()
    assert docker.file.read_text() == before
    assert not (docker.root / daemon.NOTE.lstrip("/")).exists()


def test_what_dockerd_finds_invalid_is_not_written(docker: Docker) -> None:
    docker.valid = False
    with pytest.raises(ContainerError, match="dockerd refuses what"):
        docker.configure()
    assert list(docker.file.parent.iterdir()) == []


@pytest.mark.parametrize("flags", [("--registry-mirror", "http://x"), ("--registry-mirror=http://x",)])
def test_flags_of_dockerd_in_the_way(docker: Docker, flags: tuple[str, ...]) -> None:
    docker.started_with("-H", "fd://", *flags)
    with pytest.raises(ContainerError, match=r"is started with --registry-mirror.*Nothing was changed"):
        docker.configure()
    assert not docker.file.exists()
    docker.configure(mirrors=[])  # the other list is free


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"says": "podman version 4.3"}, "is podman"),
        ({"security": ["name=rootless"]}, "runs rootless"),
    ],
    ids=["podman", "rootless"],
)
def test_engines_that_cannot_serve(docker: Docker, change: dict[str, Any], words: str) -> None:
    for key, value in change.items():
        setattr(docker, key, value)
    with pytest.raises(ContainerError, match=words):
        engine.look(docker.run, docker.root)


def test_snap(tmp_path: Path) -> None:
    (tmp_path / "snap/bin").mkdir(parents=True)
    (tmp_path / "snap/bin/docker").touch()
    with pytest.raises(ContainerError, match="installed as a snap"):
        engine.look(lambda _argv: (0, ""), tmp_path)


def test_too_old(docker: Docker) -> None:
    docker.version = "19.03.8"
    assert "too old" in engine.problems(engine.look(docker.run, docker.root))[0]
    docker.version = "20.10.24+dfsg1"
    assert engine.problems(engine.look(docker.run, docker.root)) == []
