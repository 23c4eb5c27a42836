"""HAProxy's answers, and draining, on a socket that is none of HAProxy's."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mi50.gateway import admin, drain
from mi50.gateway.model import GatewayError

PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
4711            master          1               0d00h02m10s     2.6.12-1+deb12u1
# workers
4801            worker          0               0d00h00m05s     2.6.12-1+deb12u1
# old workers
4720            worker          1               0d00h02m05s     2.6.12-1+deb12u1
# programs

"""
HEAD = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,check_status,last_chk,\n"


class Haproxy:
    """Answers as a master does: two workers, each with servers of a state and a number of sessions."""

    def __init__(self, path: Path) -> None:
        self.states = {"n1-llama_cpp": "UP", "n2-llama_cpp": "UP"}
        self.engines = dict(self.states)
        self.sessions = {"now": {"n1-llama_cpp": 1}, "old": {"n1-llama_cpp": 1}}
        self.commands: list[str] = []
        self.refuses = False
        self.ask = admin.asker(path)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            with one:
                one.sendall(self.answer(one.recv(4096).decode().strip()).encode())

    def answer(self, command: str) -> str:
        self.commands.append(command)
        if command == "show proc":
            return PROC
        if command.endswith("show stat"):
            sessions = self.sessions["now" if command.startswith("@1") else "old"]
            rows = [f"model-small,{name},0,0,{sessions.get(name, 0)},1,,9,{state},L7OK,,"
                    for name, state in self.states.items()]  # fmt: skip
            rows += [f"engine-{name},{name},0,0,0,1,,9,{state},L4CON,Connection refused,"
                     for name, state in self.engines.items()]  # fmt: skip
            return HEAD + "\n".join(
                ["gateway,FRONTEND,,,7,9,512,9,OPEN,,,", *rows, "model-small,BACKEND,0,0,2,,,9,UP,,,", ""]
            )
        if command == "@1 show servers state":
            rows = [f"3 model-small 1 {name} - 2 {8 if state == 'DRAIN' else 0}" for name, state in self.states.items()]
            return "1\n# be_id be_name srv_id srv_name\n" + "\n".join(rows) + "\n"
        if command.startswith("@1 set server "):
            if self.refuses:
                return "No such server.\n"
            name, state = command.split()[3].partition("/")[2], command.rsplit(maxsplit=1)[-1]
            self.states[name] = "DRAIN" if state == "drain" else "UP"
        return "\n"


@pytest.fixture
def haproxy() -> Iterator[Haproxy]:
    with tempfile.TemporaryDirectory() as folder:
        found = Haproxy(Path(folder) / "s")
        yield found
        found._listening.close()


class Clock:
    """Time that passes by sleeping; something may happen meanwhile."""

    def __init__(self, then: object = None) -> None:
        self.now, self.then = 0.0, then

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if callable(self.then):
            self.then(self.now)

    def time(self, seconds: float = 10.0) -> drain.Time:
        return drain.Time(seconds, lambda: self.now, self.sleep)


def test_workers_of_before_a_reload_are_told_apart() -> None:
    assert admin.workers(PROC) == (4801, [4720])
    assert admin.workers("") == (0, [])


def test_statistics_that_are_none_are_refused() -> None:
    with pytest.raises(GatewayError, match="cannot be read"):
        admin.stat("Unknown command\nx,y\n")


def test_draining_waits_for_every_worker(haproxy: Haproxy) -> None:
    def ends(now: float) -> None:
        if now >= 1:
            haproxy.sessions["now"] = {}
        if now >= 3:
            haproxy.sessions["old"] = {}

    clock = Clock(ends)
    seen = drain.drained(haproxy.ask, ["n1-llama_cpp"], clock.time())
    assert (seen, 3 <= clock.now < 4) == (drain.Seen(True, 0, [], []), True)
    assert [one for one in haproxy.commands if "set" in one] == ["@1 set server model-small/n1-llama_cpp state drain"]


def test_draining_has_an_end_and_can_be_asked_again(haproxy: Haproxy) -> None:
    clock = Clock()
    assert drain.drained(haproxy.ask, ["n1-llama_cpp"], clock.time()).sessions == 2
    assert drain.drained(haproxy.ask, ["n1-llama_cpp"], clock.time()) == drain.Seen(False, 2, [], [])


def test_the_last_that_serves_a_model_is_told(haproxy: Haproxy) -> None:
    haproxy.states["n2-llama_cpp"] = "DOWN"
    seen = drain.drained(haproxy.ask, ["n1-llama_cpp"], Clock().time(), check=True, last_too=True)
    assert seen.last == ["model-small"]
    assert haproxy.states["n1-llama_cpp"] == "UP"


def test_the_last_that_is_up_is_drained_on_request_alone(haproxy: Haproxy) -> None:
    drain.drained(haproxy.ask, ["n2-llama_cpp"], Clock().time())
    with pytest.raises(
        GatewayError, match=r"n1-llama_cpp would leave small without .* n2-llama_cpp drain.*mi50_serial"
    ):
        drain.drained(haproxy.ask, ["n1-llama_cpp"], Clock().time())
    assert haproxy.states["n1-llama_cpp"] == "UP"
    # What is drained already may be asked again, and a model that nobody else has is no reason to stop.
    assert not drain.drained(haproxy.ask, ["n2-llama_cpp"], Clock().time()).changed
    del haproxy.states["n2-llama_cpp"]
    assert drain.drained(haproxy.ask, ["n1-llama_cpp"], Clock().time(0)).last == ["model-small"]


def test_what_becomes_of_a_node(haproxy: Haproxy) -> None:
    nodes = {"n1-llama_cpp": "n1", "n2-llama_cpp": "n2", "n3-vllm": "n3"}

    def after(wanted: str, *, check: bool = False) -> tuple[str, list[str]]:
        act = drain.drained if wanted == "drained" else drain.ready
        seen = act(haproxy.ask, ["n1-llama_cpp"], Clock().time(0), check=check)
        return drain.state(seen, wanted=wanted, check=check), drain.out(haproxy.ask, nodes)

    assert after("ready", check=True) == after("drained", check=True) == ("serves", [])
    assert after("drained") == ("drained", ["n1"])
    assert after("ready", check=True) == after("drained", check=True) == ("drained", ["n1"])
    haproxy.engines["n1-llama_cpp"] = "DOWN"
    assert after("ready", check=True) == after("ready") == ("drained", ["n1"])
    haproxy.engines["n1-llama_cpp"] = "UP"
    assert after("ready") == ("serves", [])


def test_a_command_that_is_refused_is_an_error(haproxy: Haproxy) -> None:
    haproxy.refuses = True
    with pytest.raises(GatewayError, match="No such server"):
        drain.drained(haproxy.ask, ["n1-llama_cpp"], Clock().time())


def test_a_node_comes_back_when_its_engine_is_up(haproxy: Haproxy) -> None:
    haproxy.states["n1-llama_cpp"], haproxy.engines["n1-llama_cpp"] = "DRAIN", "DOWN"
    clock = Clock(lambda now: haproxy.engines.update({"n1-llama_cpp": "UP"}) if now >= 2 else None)
    assert drain.ready(haproxy.ask, ["n1-llama_cpp"], clock.time(1.0)).waiting == [
        "n1-llama_cpp: down L4CON Connection refused"
    ]
    assert haproxy.states["n1-llama_cpp"] == "DRAIN"
    assert drain.ready(haproxy.ask, ["n1-llama_cpp"], clock.time()) == drain.Seen(True, 1, [], [])
    assert haproxy.states["n1-llama_cpp"] == "UP"
    assert drain.ready(haproxy.ask, ["n1-llama_cpp"], clock.time()) == drain.Seen(False, 1, [], [])


def test_moved_engines_begin_anew_and_the_others_keep_their_state() -> None:
    head, tail = "1\n# be_id be_name srv_id srv_name\n", "4 engine-b 1 b 127.0.0.1 0 0\n6 model-x 2 b - {} 8 1\n"
    text = f"{head}3 engine-a 1 a 127.0.0.1 2 0\n5 model-x 1 a - 0 0\n{tail.format(0)}\n"
    assert admin.state(lambda command: text, ["engine-a"]) == head + tail.format(2)
