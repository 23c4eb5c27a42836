"""The node after role models: one whole model, fetched over a line that broke three times."""

from __future__ import annotations

import json
import re
from typing import Any

STORE = "/var/lib/mi50-aipc/models"
MIB = 1 << 20
LIST = "http://127.0.0.1:8123/api/models/lab/small-GGUF/tree/0123456789abcdef0123456789abcdef01234567"


def requests(host: Any) -> list[tuple[str, str, int, bool]]:
    """Transfers of the weights: status, range, bytes, whether it was broken off; looks at the header are none."""
    lines = host.file("/var/log/standin_hub").content_string.splitlines()
    rows = [line.split() for line in lines if "/resolve/" in line and "small-F32" in line]
    return [
        (row[0], row[2], int(row[3]), "cut" in row[4:]) for row in rows if not re.fullmatch(r"bytes=\d+-\d+", row[2])
    ]


def test_three_cuts_were_resumed(host: Any) -> None:
    first = requests(host)[:4]
    assert [entry[3] for entry in first] == [True, True, True, False]
    assert [entry[1] for entry in first] == ["-", *(f"bytes={5 * MIB * number}-" for number in (1, 2, 3))]


def test_the_whole_run_took_the_bytes_of_one_copy(host: Any) -> None:
    """Two models have the file; it crossed the network once, and once more after it was damaged."""
    size = host.file(f"{STORE}/small/small-F32.gguf").size
    assert sum(entry[2] for entry in requests(host)) == 2 * size


def test_file_is_what_its_hub_lists(host: Any) -> None:
    code = f"import urllib.request as u; print(u.urlopen('{LIST}').read().decode())"
    listed = json.loads(host.check_output(f'python3 -c "{code}"'))
    file = host.file(f"{STORE}/small/small-F32.gguf")
    assert file.sha256sum == listed[0]["lfs"]["oid"]
    assert (file.mode, file.user) == (0o644, "root")


def test_nothing_else_is_there(host: Any) -> None:
    found = host.check_output(f"find {STORE} -type f -printf '%P\\n' | sort").splitlines()
    assert found == [".lock", "small/.mi50-model.json", "small/small-F32.gguf"]
    assert not host.file("/run/mi50-aipc/models.json").exists
