"""Wheels on the node: what they say of themselves, and the small ones that stand for stock triton's name.

torch needs the distribution `pytorch-triton-rocm`, vLLM one called `triton`; both names own the same folder. One wheel
has the folder, the other name is held by a wheel without code: so pip finds every need met, and never fetches the
stock build over ours.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path

from ..fetch.record import sha256_of
from .index import Name, fits, wheel_name
from .model import TRITONS, TorchEnvError, Triton, canonical, public

ABSENT = "absent"
_REQUIRES = re.compile(r"^Requires-Dist:\s*(?P<name>[A-Za-z0-9._-]+)\s*\(?\s*(==\s*(?P<version>[^\s;,)]+))?")
_DATE = (2025, 1, 1, 0, 0, 0)


def metadata(wheel: Path) -> str:
    """The METADATA of a wheel. Raises TorchEnvError for a file that is none."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.count("/") == 1 and name.endswith(".dist-info/METADATA"):
                    return archive.read(name).decode("utf-8", "replace")
    except (OSError, zipfile.BadZipFile) as error:
        raise TorchEnvError(f"{wheel}: cannot be read as a wheel: {error}. Fetch or build it again.") from None
    raise TorchEnvError(f"{wheel}: is no wheel: it has no METADATA. Fetch or build it again.")


def unpacked(wheel: Path) -> int:
    """Bytes of a wheel's files once installed, without compiled Python."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def needed_triton(torch_metadata: str) -> tuple[str, str]:
    """The distribution that this torch takes triton from, and its version; empty strings when it needs none."""
    for line in torch_metadata.splitlines():
        match = _REQUIRES.match(line)
        if match and canonical(match["name"]) in TRITONS:
            return canonical(match["name"]), match["version"] or ""
    return "", ""


def check_triton(triton: Triton, minor: str, pinned: str) -> Name:
    """Prove that a file is the wheel of triton for this torch and this Python. Raises TorchEnvError."""
    path = Path(triton.path)
    if not path.is_file():
        raise TorchEnvError(f"pytorch_triton_wheel: {path} is not on this node; build it again, or leave it empty.")
    if triton.sha256 and sha256_of(path) != triton.sha256:
        raise TorchEnvError(
            f"pytorch_triton_wheel: {path} has sha256 {sha256_of(path)}, expected {triton.sha256}. It was damaged on "
            "the way or is another build; remove it and run again."
        )
    name = wheel_name(triton.file)
    if name is None or name.name not in TRITONS:
        raise TorchEnvError(f"pytorch_triton_wheel: {triton.file} is no wheel called {' or '.join(TRITONS[:2])}.")
    if not fits(name, minor):
        raise TorchEnvError(
            f"pytorch_triton_wheel: {triton.file} is for {name.python} on {name.platform}, this environment is Python "
            f"{minor} on x86_64. Build it with that Python."
        )
    if pinned and public(name.version) != public(pinned):
        raise TorchEnvError(
            f"pytorch_triton_wheel: {triton.file} is triton {name.version}; this torch needs {pinned} (each torch has "
            "its own triton: 3.5 belongs to 2.9). Build the version of the stack."
        )
    with zipfile.ZipFile(path) as archive:
        if "triton/__init__.py" not in archive.namelist():
            raise TorchEnvError(f"pytorch_triton_wheel: {triton.file} holds no triton/__init__.py. Build it again.")
    return name


def placeholder(folder: Path, name: str, version: str, owner: str) -> Path:
    """Write a wheel without code that holds a distribution's name; `owner` is the one that has the code, or empty."""
    stem = f"{name.replace('-', '_')}-{version}"
    words = f"Its code is in {owner}." if owner else "Left out: it cannot compile for gfx906, and there is no other."
    requires = f"Requires-Dist: {owner.replace(' ', '==')}\n" if owner else ""
    parts = {
        f"{stem}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Placeholder of mi50-aipc. {words}\n"
            f"{requires}"
        ),
        f"{stem}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: mi50-aipc\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    listing = "".join(f"{path},{_digest(text)},{len(text.encode())}\n" for path, text in parts.items())
    parts[f"{stem}.dist-info/RECORD"] = f"{listing}{stem}.dist-info/RECORD,,\n"
    target = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in parts.items():
            archive.writestr(zipfile.ZipInfo(path, _DATE), text)
    return target


def _digest(text: str) -> str:
    value = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def placeholders(folder: Path, owner: Name | None, need: tuple[str, str], pinned: str) -> dict[str, str]:
    """Write the placeholders for every name of triton that nobody holds; return them as name to version.

    `owner` is triton's wheel, None when it is left out; `need` is what torch asks for (see needed_triton).
    """
    need_name, need_version = need
    if owner is None:
        # torch without triton runs; what is held is the name, against the stock build.
        held = {need_name: f"{need_version or public(pinned)}+{ABSENT}"} if need_name else {}
        for name, version in held.items():
            placeholder(folder, name, version, "")
        return held
    if need_version and public(need_version) != public(owner.version):
        raise TorchEnvError(
            f"pytorch_triton_wheel: is triton {owner.version}; this torch needs {need_name}=={need_version}."
        )
    names = {need_name or TRITONS[1], "triton"} - {owner.name}
    for name in sorted(names):
        placeholder(folder, name, owner.version, f"{owner.name} {owner.version}")
    return dict.fromkeys(sorted(names), owner.version)
