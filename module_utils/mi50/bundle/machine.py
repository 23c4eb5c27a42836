"""What this machine is called, whose it is, and what it keeps secret: everything that must not be in a bundle."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .scrub import Known

_SECRETS = (
    "etc/mi50-aipc/keys/*",
    "root/.cache/huggingface/token",
    "home/*/.cache/huggingface/token",
    "root/.modelscope/credentials/*",
    "home/*/.modelscope/credentials/*",
)
_DOCKER = ("root/.docker/config.json", "home/*/.docker/config.json", "var/lib/mi50-aipc/*/docker/config.json")
_DMI = ("product_serial", "product_uuid", "board_serial", "board_asset_tag", "chassis_serial", "chassis_asset_tag")
# Names that every machine has, and values that vendors leave in the firmware.
_COMMON_HOSTS = re.compile(r"(?i)localhost.*|ip6-.*|broadcasthost|.*\.localdomain|\(none\)")
_COMMON_SERIALS = re.compile(
    r"(?i)|none|n/?a|default string|to be filled.*|not specified|system serial number|0+|\.+|unknown"
)
_PEOPLE = range(1000, 65000)  # uids of login.defs(5)


def known(root: Path, sysfs: Path, public: Iterable[str], token_files: Iterable[str] = ()) -> Known:
    """Return it. Files that are missing or unreadable tell nothing; `token_files` are absolute paths."""
    tokens = tuple(path.lstrip("/") for path in token_files)
    return Known(
        secrets=tuple(one for one in _secrets(root, tokens) if len(one) >= 6),
        hosts=tuple(dict.fromkeys(name for name in _hosts(root) if not _COMMON_HOSTS.fullmatch(name))),
        users=tuple(dict.fromkeys(_users(root))),
        serials=tuple(dict.fromkeys(one for one in _serials(root, sysfs) if not _COMMON_SERIALS.fullmatch(one))),
        public=tuple(public),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _secrets(root: Path, tokens: Iterable[str]) -> Iterator[str]:
    for pattern in (*_SECRETS, *tokens):
        for path in sorted(root.glob(pattern)):
            yield from _text(path).split()
    for pattern in _DOCKER:
        for path in sorted(root.glob(pattern)):
            try:
                logins = json.loads(_text(path) or "{}").get("auths", {})
            except (ValueError, AttributeError):
                continue
            for login in logins.values():
                yield from (str(value) for value in login.values() if value)


def _hosts(root: Path) -> Iterator[str]:
    names = [_text(root / "etc/hostname"), _text(root / "etc/mailname")]
    if root == Path("/"):
        names.append(os.uname().nodename)
    for line in _text(root / "etc/hosts").splitlines():
        names += line.partition("#")[0].split()[1:]
    for line in _text(root / "etc/resolv.conf").splitlines():
        words = line.split()
        if words and words[0] in ("search", "domain"):
            names += [word.strip(".") for word in words[1:]]
    for name in filter(None, names):
        yield name
        # The first part of a full name stands alone in most logs.
        if "." in name:
            yield name.partition(".")[0]


def _users(root: Path) -> Iterator[str]:
    for line in _text(root / "etc/passwd").splitlines():
        row = line.split(":")
        if len(row) == 7 and row[2].isdigit() and int(row[2]) in _PEOPLE:
            yield row[0]
            yield from (part.strip() for part in row[4].split(",") if len(part.strip()) > 2)


def _serials(root: Path, sysfs: Path) -> Iterator[str]:
    yield _text(root / "etc/machine-id")
    for name in _DMI:
        yield _text(sysfs / "class/dmi/id" / name)
    for pattern in (
        "bus/pci/devices/*/unique_id",
        "bus/pci/devices/*/serial_number",
        "block/*/device/serial",
        "block/*/wwid",
    ):
        for path in sorted(sysfs.glob(pattern)):
            yield _text(path)
    # `unique_id` of KFD is the same number in decimal.
    for path in sorted(sysfs.glob("class/kfd/kfd/topology/nodes/*/properties")):
        match = re.search(r"^unique_id (\d{6,})$", _text(path), re.MULTILINE)
        if match:
            yield match[1]
            yield f"{int(match[1]):x}"
