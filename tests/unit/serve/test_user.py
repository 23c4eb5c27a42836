"""The user of a service: made once, and never taken for granted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from mi50.process import Finished
from mi50.serve import user
from mi50.serve.model import Node, ServeError


class Machine:
    """/etc/passwd and a useradd that ends with `code`, and writes its line or not."""

    def __init__(self, root: Path, *, code: int = 0, writes: bool = True) -> None:
        self.passwd, self.code, self.writes = root / "etc/passwd", code, writes
        self.calls: list[Sequence[str]] = []
        self.passwd.parent.mkdir()
        self.passwd.write_text("root:x:0:0::/:/bin/sh\n")
        self.node = Node(run=self.run, clock=lambda: 0.0, sleep=lambda _seconds: None, root=root)

    def run(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        self.calls.append(argv)
        if self.writes:
            self.passwd.write_text(self.passwd.read_text() + f"{argv[-1]}:x:990:990::/:/usr/sbin/nologin\n")
        return Finished(self.code, b"", b"no room" if self.code else b"")


def test_it_is_made_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert [user.ensure("mi50-one", "/var/lib/one", machine.node) for _time in range(2)] == [990, 990]
    (argv,) = machine.calls
    assert argv[0] == "useradd" and list(argv[-3:]) == ["--home-dir", "/var/lib/one", "mi50-one"]
    assert "--system" in argv and "/usr/sbin/nologin" in argv


def test_somebody_else_may_make_it_meanwhile(tmp_path: Path) -> None:
    assert user.ensure("mi50-one", "/", Machine(tmp_path, code=9).node) == 990


@pytest.mark.parametrize(
    ("code", "words"), [(1, "could not be made: .*no room"), (0, "was made, but is not in /etc/passwd")]
)
def test_without_it_nothing_goes_on(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(ServeError, match=f"the user mi50-one {words}"):
        user.ensure("mi50-one", "/", Machine(tmp_path, code=code, writes=False).node)
