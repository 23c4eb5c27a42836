"""Plan and switch on a machine of files with a fake systemd: what is written, kept, refused, and taken back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50 import seal
from mi50.gateway import service, switch, tls
from mi50.gateway.model import FOLDER, PAIR, UNIT, Engine, GatewayError, Settings
from mi50.process import Finished
from mi50.serve.model import Node

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
ENGINE = Engine("n1-llama_cpp", "n1", "llama_cpp", "192.0.2.1", 8080, ("small",), "node", "/k")
TAKEN = ("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
         "   0: 00000000:2260 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n")  # fmt: skip


class Machine:
    """Files below a folder; systemd keeps one word; openssl is real."""

    def __init__(self, root: Path) -> None:
        self.root, self.now, self.active, self.worker, self.refuses, self.fails = root, 0.0, "inactive", 0, "", False
        self.calls: list[list[str]] = []
        for name in ("proc/net", "usr/sbin", "usr/bin", "etc/systemd/system", "run"):
            (root / name).mkdir(parents=True)
        for name in ("usr/sbin/haproxy", "usr/bin/openssl", "proc/net/tcp", "proc/net/tcp6"):
            (root / name).touch()
        (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        self.node = Node(run=self.run, clock=lambda: self.now, sleep=self.sleep, root=root, proc=root / "proc")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        self.calls.append(list(argv))
        if argv[0] == "openssl":
            done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=60)
            return Finished(done.returncode, done.stdout, done.stderr)
        if argv[0] == "haproxy":
            return Finished(1 if self.refuses else 0, b"", self.refuses.encode())
        if argv[0] == "useradd":
            with (self.root / "etc/passwd").open("a") as stream:
                stream.write(f"{argv[-1]}:x:{os.getuid()}:990::/:/usr/sbin/nologin\n")
        if argv[0] == "systemctl":
            if argv[2] in ("start", "reload") and not self.fails:
                self.active, self.worker = "active", self.worker + 1
            if argv[2] == "show":
                text = f"LoadState=loaded\nActiveState={self.active}\nUnitFileState=enabled\nNeedDaemonReload=no\n"
                return Finished(0, text.encode(), b"")
        return Finished(0, b"", b"")

    def file(self, name: str) -> str:
        return (self.root / FOLDER.lstrip("/") / name).read_text()

    def verbs(self) -> list[str]:
        return [call[2] for call in self.calls if call[0] == "systemctl" and call[2] in ("start", "reload", "restart")]

    def sealed(self) -> str:
        return seal.seal("an-engines-key-0123", seal.public(self.node.path(PAIR), self.run), self.run)

    def plan(self, engines: Sequence[Engine] = (ENGINE,), sealed: Any = None, **settings: Any) -> service.Plan:
        return service.plan(Settings(**settings), engines, sealed or {}, self.node)

    def apply(self, engines: Sequence[Engine] = (ENGINE,), **settings: Any) -> service.Plan:
        key = self.sealed()
        todo = self.plan(engines, {one.name: key for one in engines}, **settings)
        service.apply(todo, self.node)
        return todo


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)

    def answer(command: str) -> str:
        if command == "show proc":
            return f"# workers\n{found.worker} worker 0 0d 2.6\n# old workers\n" if found.worker else ""
        rows = "3 engine-n1-llama_cpp 1 n1-llama_cpp 192.0.2.1 2 0\n4 model-small 1 n1-llama_cpp x 2 8\n"
        return f"1\n# be_id be_name\n{rows}"

    monkeypatch.setattr(switch.admin, "asker", lambda path: answer)
    monkeypatch.setattr(service, "_refused", lambda engine, key: False)
    return found


def test_keys_are_made_once_and_stand_in_their_files_alone(machine: Machine) -> None:
    assert machine.plan().wanted == ["n1-llama_cpp"]
    machine.apply(clients=("alice", "bob"))
    keys = {name: (machine.root / f"etc/mi50-aipc/keys/gateway/{name}") for name in ("alice", "bob")}
    texts = {name: path.read_text() for name, path in keys.items()}
    assert [path.stat().st_mode & 0o777 for path in keys.values()] == [0o600, 0o600]
    assert machine.file("engines.map") == "n1-llama_cpp an-engines-key-0123\n"
    everything = "".join(machine.file(name) for name in ("haproxy.cfg", "clients.map", "models.map", "models.json"))
    assert [text for text in (*texts.values(), "an-engines-key") if text.strip() in everything] == []
    assert [
        call for call in machine.calls if any("an-engines-key" in word or texts["bob"].strip() in word for word in call)
    ] == []
    settled = machine.plan(clients=("alice", "bob"))
    assert (settled.reasons, settled.wanted, service.diff(settled)) == ([], [], [])
    machine.apply(clients=("alice",))
    assert (keys["alice"].read_text(), keys["bob"].exists()) == (texts["alice"], False)
    assert machine.file("clients.map").count("\n") == 1


def test_no_diff_shows_a_key(machine: Machine) -> None:
    sealed = {"n1-llama_cpp": machine.sealed()}
    text = str(service.diff(machine.plan(sealed=sealed, given={"default": "a-key-of-ones-own-0123"})))
    assert "backend model-small" in text
    assert "an-engines-key" not in text
    assert "a-key-of-ones-own" not in text


def test_a_change_is_a_reload_and_never_a_restart(machine: Machine) -> None:
    machine.apply()
    machine.apply(
        [ENGINE, Engine("n2-vllm", "n2", "vllm", "192.0.2.2", 8000, ("big",), "node", "/k")], max_connections=9
    )
    assert machine.verbs() == ["start", "reload"]
    # What was drained or down stays so.
    assert "4 model-small" in (machine.root / "var/lib/mi50-aipc/gateway/servers").read_text()


def test_an_engine_that_moved_begins_anew(machine: Machine) -> None:
    machine.apply()
    machine.apply([Engine(**{**ENGINE.__dict__, "address": "192.0.2.9"})])
    text = (machine.root / "var/lib/mi50-aipc/gateway/servers").read_text()
    assert "4 model-small" in text
    assert "engine-n1-llama_cpp" not in text


def test_what_haproxy_refuses_is_never_put_in_place(machine: Machine) -> None:
    machine.apply()
    before = machine.file("haproxy.cfg")
    machine.refuses = "[ALERT] parsing [x:9]: unknown keyword"
    with pytest.raises(GatewayError, match=r"unknown keyword.*what served serves on"):
        machine.apply(port=9999)
    assert (machine.file("haproxy.cfg"), machine.verbs()) == (before, ["start"])
    assert [path.name for path in (machine.root / "etc/mi50-aipc").iterdir() if "try" in path.name] == []


def test_what_haproxy_does_not_take_is_taken_back(machine: Machine) -> None:
    machine.apply()
    before = machine.file("haproxy.cfg")
    machine.fails = True
    with pytest.raises(GatewayError, match="did not take the new configuration"):
        machine.apply(port=9999)
    assert machine.file("haproxy.cfg") == before


def test_a_first_one_that_does_not_come_up_is_stopped(machine: Machine) -> None:
    machine.fails = True
    with pytest.raises(GatewayError, match=f"{UNIT} is stopped"):
        machine.apply()
    assert ["systemctl", "--no-ask-password", "disable", "--now", UNIT] in machine.calls


def test_packages_come_first(machine: Machine) -> None:
    (machine.root / "usr/sbin/haproxy").unlink()
    todo = machine.plan()
    service.apply(todo, machine.node)
    assert (todo.missing, machine.verbs()) == (["haproxy"], [])


def test_a_port_that_is_taken_is_refused(machine: Machine) -> None:
    (machine.root / "proc/net/tcp").write_text(TAKEN)
    with pytest.raises(GatewayError, match="port 8800 is taken by another program: stop it, or set gateway_port"):
        machine.plan()


def test_its_own_port_is_not_taken_even_where_owners_cannot_be_seen(machine: Machine) -> None:
    machine.apply()
    (machine.root / "proc/net/tcp").write_text(TAKEN)
    assert machine.plan(sealed={"n1-llama_cpp": machine.sealed()}).reasons == []
    machine.active = "failed"
    with pytest.raises(GatewayError, match=r"port 8800 is taken by another program.* gateway_metrics_port"):
        machine.plan(metrics_port=8800, port=8801)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clients": ()}, "gateway_clients is empty"),
        ({"clients": ("Alice Smith",)}, "give small letters"),
        ({"given": {"eve": "a-key-of-ones-own-0123"}}, "which gateway_clients does not name"),
        ({"given": {"default": "short"}}, "cannot be used"),
        ({"clients": ("a", "b"), "given": {"a": "x" * 20, "b": "x" * 20}}, "two clients .* have the same key"),
        ({"port": 0}, "gateway_port is 0"),
        ({"certificate": "/c.pem"}, "belong together"),
        ({"certificate": "/c.pem", "certificate_key": "/k.pem"}, "/c.pem cannot be read on the gateway's host"),
    ],
)
def test_bad_settings_are_refused(machine: Machine, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewayError, match=words):
        machine.plan(**settings)
    assert not (machine.root / "etc/mi50-aipc").exists()


def certificate(folder: Path, name: str, *more: str) -> dict[str, str]:
    where = {"certificate": f"/{name}.pem", "certificate_key": f"/{name}.key"}
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-subj", f"/CN={name}", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem",
               *(more or ("-days", "90"))]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return where


def test_certificates_are_looked_at(machine: Machine) -> None:
    good, soon = certificate(machine.root, "good"), certificate(machine.root, "soon", "-days", "3")
    other = certificate(machine.root, "other")
    assert tls.problems(Settings(**good), machine.node) == ([], [])
    assert "expires soon" in tls.problems(Settings(**soon), machine.node)[1][0]
    mixed = {**good, "certificate_key": other["certificate_key"]}
    assert "is not the key of" in tls.problems(Settings(**mixed), machine.node)[0][0]
    (machine.root / "no.pem").write_text("nothing\n")
    found = tls.problems(Settings(certificate="/no.pem", certificate_key="/no.pem"), machine.node)[0]
    assert ["holds no certificate" in found[0], "holds no private key" in found[1]] == [True, True]
    text = tls.joined(Settings(**good), machine.node)
    assert text.index("BEGIN CERTIFICATE") < text.index("PRIVATE KEY")


def test_an_expired_certificate_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    old = certificate(machine.root, "old", "-days", "1")
    ask = tls._ask
    # Two days from now.
    monkeypatch.setattr(
        tls, "_ask", lambda node, *words: ask(node, *("172800" if word == "0" else word for word in words))
    )
    assert "has expired" in tls.problems(Settings(**old), machine.node)[0][0]


def test_removing_leaves_nothing(machine: Machine) -> None:
    machine.apply()
    assert service.remove(machine.node, check=True)
    assert (machine.root / FOLDER.lstrip("/")).exists()
    service.remove(machine.node, check=False)
    left = [path for path in (machine.root / "etc").rglob("*gateway*")]
    assert (left, (machine.root / "etc/mi50-aipc/keys").exists()) == ([], False)
    (machine.root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    assert service.remove(machine.node, check=False) == []
