"""One transfer: whole, resumed, refused, interrupted, in every way a server and a disk offer."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from mi50.fetch import partial
from mi50.fetch.download import Wanted, download
from mi50.fetch.errors import FetchError, Interrupted, mask

from tests.unit.fetch.conftest import CONTENT, Upstream, listing

SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = 1 << 20


@pytest.fixture
def wanted(upstream: Upstream, tmp_path: Path) -> Wanted:
    return Wanted(f"{upstream.url}/x.zst", tmp_path / "x.zst")


def test_whole(upstream: Upstream, wanted: Wanted, tmp_path: Path) -> None:
    fetched = download(wanted._replace(sha256=SHA256.upper(), size=len(CONTENT), mode=0o640))
    assert wanted.dest.read_bytes() == CONTENT
    assert wanted.dest.stat().st_mode & 0o777 == 0o640
    assert fetched.record == (wanted.url, SHA256, len(CONTENT), wanted.dest.stat().st_mtime_ns)
    assert fetched.received == len(CONTENT)
    assert listing(tmp_path) == {"x.zst"}


@pytest.mark.parametrize("validator", ["etag", "date"])
def test_goes_on_within_the_run(upstream: Upstream, wanted: Wanted, validator: str) -> None:
    if validator == "date":
        upstream.etag, upstream.date = 'W/"weak"', "Mon, 01 Jan 2024 00:00:00 GMT"
    upstream.cut = [HALF + 5, 7]
    assert download(wanted).received == len(CONTENT)
    assert wanted.dest.read_bytes() == CONTENT
    assert [entry[1:] for entry in upstream.log] == [
        ("", 200),
        (f"bytes={HALF + 5}-", 206),
        (f"bytes={HALF + 12}-", 206),
    ]


def test_the_next_run_goes_on(upstream: Upstream, wanted: Wanted, tmp_path: Path) -> None:
    upstream.cut = [100]
    with pytest.raises(Interrupted, match=f"ended after 100 of {len(CONTENT)} bytes"):
        download(wanted, retries=0)
    assert listing(tmp_path) == {".x.zst.part", ".x.zst.part.json"}
    assert download(wanted._replace(sha256=SHA256)).received == len(CONTENT) - 100
    assert wanted.dest.read_bytes() == CONTENT
    assert listing(tmp_path) == {"x.zst"}


@pytest.mark.parametrize("change", ["content", "address", "no ranges", "416", "no validator", "no note", "wrong place"])
def test_starts_anew_when_the_rest_would_not_fit(
    upstream: Upstream, wanted: Wanted, tmp_path: Path, change: str
) -> None:
    if change == "no validator":
        upstream.etag = ""
    upstream.cut = [100]
    with pytest.raises(Interrupted):
        download(wanted, retries=0)
    if change == "content":
        upstream.content, upstream.etag = CONTENT[::-1], '"two"'
    elif change == "address":
        wanted = wanted._replace(url=f"{upstream.url}/other.zst")
    elif change == "no ranges":
        upstream.ranges = False
    elif change == "416":
        upstream.status = [416]
    elif change == "no note":
        (tmp_path / ".x.zst.part.json").write_text("[]")
    elif change == "wrong place":
        upstream.status = [206]  # without asking where: the stand-in then says it starts at 0
    assert download(wanted).received == len(CONTENT)
    assert wanted.dest.read_bytes() == upstream.content
    assert listing(tmp_path) == {"x.zst"}


@pytest.mark.parametrize("announce", [True, False])
def test_a_chunkless_answer_without_length(upstream: Upstream, wanted: Wanted, announce: bool) -> None:
    upstream.announce = announce
    download(wanted)
    assert wanted.dest.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("expected", "words"),
    [({"sha256": "0" * 64}, f"sha256 of .* is {SHA256}, expected 0{{64}}"), ({"size": 5}, "size of .* expected 5")],
)
def test_a_wrong_file_is_not_kept(
    upstream: Upstream, wanted: Wanted, tmp_path: Path, expected: dict, words: str
) -> None:
    wanted.dest.write_bytes(b"old")
    with pytest.raises(FetchError, match=words):
        download(wanted._replace(**expected))
    assert listing(tmp_path) == {"x.zst"}
    assert wanted.dest.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("status", "words", "requests"),
    [
        (404, r"has no such file \(HTTP 404", 1),
        (410, "has no such file", 1),
        (403, "answers with an error", 1),
        (500, "answers with an error", 4),
        (503, "Try again later", 4),
        (407, "asks for credentials", 1),
    ],
)
def test_status(upstream: Upstream, wanted: Wanted, tmp_path: Path, status: int, words: str, requests: int) -> None:
    upstream.status = [status] * 9
    with pytest.raises(FetchError, match=words):
        download(wanted)
    assert len(upstream.log) == requests
    assert listing(tmp_path) == set()


def test_a_short_outage_is_survived(upstream: Upstream, wanted: Wanted) -> None:
    upstream.status = [503, 502]
    download(wanted)
    assert wanted.dest.read_bytes() == CONTENT


def test_refused_dns_and_scheme(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for url, words in {
        f"http://user:secret@127.0.0.1:{port}/x": "cannot be fetched",
        f"http://127.0.0.1:{port}/x": "cannot be fetched: connection refused",
        "http://nowhere.invalid/x": "the host name does not resolve",
        "ftp://127.0.0.1/x": "only http, https and file",
        f"file://{tmp_path}/none": "cannot be fetched",
    }.items():
        with pytest.raises(FetchError, match=words) as caught:
            download(Wanted(url, tmp_path / "x"))
        assert "secret" not in str(caught.value)
    assert listing(tmp_path) == set()


def test_file(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/x").write_bytes(CONTENT)
    download(Wanted(f"file://{tmp_path}/mirror/x", tmp_path / "x", SHA256))
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_no_answer_in_time(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(FetchError, match="no answer in time"):
            download(Wanted(f"http://127.0.0.1:{silent.getsockname()[1]}/x", tmp_path / "x"), timeout=0.2, retries=0)


def test_tls(upstream: Upstream, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"TLS failed.*clock"):
        download(Wanted(upstream.url.replace("http:", "https:") + "/x", tmp_path / "x"), retries=0)


def test_proxy(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", upstream.url)
    download(Wanted("http://nowhere.invalid/x", tmp_path / "x"))
    assert upstream.log[0][0] == "http://nowhere.invalid/x"
    upstream.status = [403]
    with pytest.raises(FetchError, match=f"through the proxy {upstream.url}: the proxy refuses"):
        download(Wanted("http://nowhere.invalid/x", tmp_path / "y"))
    monkeypatch.setenv("http_proxy", "http://u:secret@proxy.invalid:1")
    with pytest.raises(FetchError, match=r"u:\*\*\*@proxy.invalid:1: the proxy's name does not resolve"):
        download(Wanted("http://nowhere.invalid/x", tmp_path / "y"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download(Wanted(f"{upstream.url}/x", tmp_path / "y"))


def test_too_little_space(upstream: Upstream, wanted: Wanted, tmp_path: Path) -> None:
    upstream.claim = 10**18
    with pytest.raises(
        FetchError, match=r"not enough space for .*: 1000000000000 MB are needed, \d+ MB are free\. Free"
    ):
        download(wanted)
    assert listing(tmp_path) == set()


def test_a_disk_that_fills_up_is_not_left_full(upstream: Upstream, wanted: Wanted, tmp_path: Path) -> None:
    """The limit on the size of files stands in for the disk: a write fails half-way in the same place."""
    upstream.announce = False
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from mi50.fetch import partial\n"
        "from mi50.fetch.download import Wanted, download\n"
        "import errno\n"
        "partial._FULL += (errno.EFBIG,)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500000, 1500000))\n"
        "download(Wanted(sys.argv[1], Path(sys.argv[2])))\n"
    )
    root = Path(partial.__file__).parents[2]
    done = subprocess.run(
        ["python3", "-c", script, wanted.url, str(wanted.dest)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot be written" in done.stderr
    assert listing(tmp_path) == set()


@pytest.mark.parametrize("case", ["folder missing", "a file for a folder", "a link for the partial file"])
def test_unwritable(upstream: Upstream, wanted: Wanted, tmp_path: Path, case: str) -> None:
    if case == "folder missing":
        wanted = wanted._replace(dest=tmp_path / "no/x")
    elif case == "a file for a folder":
        (tmp_path / "f").write_bytes(b"")
        wanted = wanted._replace(dest=tmp_path / "f/x")
    else:
        (tmp_path / "precious").write_bytes(b"precious")
        (tmp_path / ".x.zst.part").symlink_to("precious")
    with pytest.raises(FetchError, match="cannot be written"):
        download(wanted)
    if case.startswith("a link"):
        assert (tmp_path / "precious").read_bytes() == b"precious"


def test_one_at_a_time(upstream: Upstream, wanted: Wanted, tmp_path: Path) -> None:
    with (tmp_path / ".x.zst.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another run is fetching it"):
            download(wanted)
    failures: list[FetchError] = []

    def one() -> None:
        try:
            download(wanted)
        except FetchError as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wanted.dest.read_bytes() == CONTENT
    assert len(failures) < len(threads)
    assert all("another run" in str(error) for error in failures)
    assert listing(tmp_path) == {"x.zst"}


def test_a_file_finished_between_open_and_lock_is_not_written_to(
    upstream: Upstream, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".x.zst.part").write_bytes(b"whole")

    def late(*_arguments: object) -> None:
        (tmp_path / ".x.zst.part").replace(wanted.dest)

    monkeypatch.setattr(partial.fcntl, "flock", late)
    with pytest.raises(FetchError, match="another run"):
        download(wanted)
    assert wanted.dest.read_bytes() == b"whole"


def test_the_next_ones_partial_file_is_left_alone(tmp_path: Path) -> None:
    mine = partial.Partial(tmp_path / "x")
    mine.write(b"whole")
    mine.commit(0o644)
    (tmp_path / ".x.part").write_bytes(b"somebody else's")
    mine.close()
    assert listing(tmp_path) == {"x", ".x.part"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h/x@y", "http://u:***@h/x@y"),
        ("http://h/x", "http://h/x"),
        ("", ""),
        ("http://u@h", "http://u:***@h"),
    ],
)
def test_mask(url: str, shown: str) -> None:
    assert mask(url) == shown
