"""A secret that is sealed opens at the holder of the pair alone; openssl is real."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from mi50 import process, seal

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")


def test_it_opens_with_the_pair_and_no_other(tmp_path: Path) -> None:
    pair, other = tmp_path / "keys/one.pem", tmp_path / "keys/other.pem"
    public = seal.public(pair, process.run)
    assert "PRIVATE" not in public
    assert stat.S_IMODE(pair.stat().st_mode) == 0o600
    assert seal.public(pair, process.run) == public  # made once
    sealed = seal.seal("k" * 318, public, process.run)
    assert seal.unseal(sealed, pair, process.run) == "k" * 318
    assert seal.seal("k" * 318, public, process.run) != sealed
    assert seal.public(other, process.run) != public
    with pytest.raises(seal.SealError, match="openssl pkeyutl failed"):
        seal.unseal(sealed, other, process.run)
    assert sorted(path.name for path in pair.parent.iterdir()) == ["one.pem", "other.pem"]


def test_what_cannot_be_sealed_is_said_without_it(tmp_path: Path) -> None:
    pair = tmp_path / "pair.pem"
    with pytest.raises(seal.SealError, match="319 bytes; 318 can be sealed") as found:
        seal.seal("k" * 319, "", process.run)
    assert "kk" not in str(found.value)
    with pytest.raises(seal.SealError, match="openssl pkeyutl failed"):
        seal.seal("secret", "no key", process.run)
    seal.public(pair, process.run)
    with pytest.raises(seal.SealError, match="base64"):
        seal.unseal("~", pair, process.run)


def test_a_host_without_openssl_says_so(tmp_path: Path) -> None:
    def none(argv: object, data: bytes = b"", timeout: float | None = None) -> process.Finished:
        raise FileNotFoundError("openssl")

    with pytest.raises(seal.SealError, match="apt-get install openssl"):
        seal.public(tmp_path / "pair.pem", none)
    assert not (tmp_path / "pair.pem").exists()
