"""A reader of OpenPGP public keys (RFC 4880 and 9580): fingerprints, expiry, extraction of one key.

It decides which key goes into a keyring; signatures are left to apt's own verifier. The fingerprint is a digest of
the primary key packet, so a pinned fingerprint needs no web of trust; apt checks that subkeys are bound to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SIGNATURE, PUBLIC_KEY, PUBLIC_SUBKEY = 2, 6, 14
SECRET_TAGS = {5, 7}
SIGNED_TIME, KEY_EXPIRES, ISSUER, KEY_FLAGS, ISSUER_FINGERPRINT = 2, 9, 16, 27, 33
CERTIFICATIONS = {0x10, 0x11, 0x12, 0x13, 0x1F}
BINDING = 0x18
# First octets of a new-format length, RFC 9580 section 4.2.1.
TWO_OCTETS, PARTIAL, FIVE_OCTETS = 192, 224, 255
V4, V6 = 4, 6
V4_DIGITS = 40
MAY_SIGN = 0x02
ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(?P<body>.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)


class KeyDataError(ValueError):
    """The bytes are no OpenPGP public key; the text says what they look like instead."""


class Packet(NamedTuple):
    """One packet: its tag, its body, and its bytes as they stood in the file."""

    tag: int
    body: bytes
    raw: bytes


class _Subpackets(NamedTuple):
    kind: int
    values: dict[int, bytes]


@dataclass(frozen=True)
class Key:
    """One certificate. Times are seconds since 1970; `expires` is None when it never does."""

    fingerprint: str
    created: int
    expires: int | None
    subkeys: tuple[str, ...]
    data: bytes

    def expired(self, now: float) -> bool:
        """Whether nothing signed with this key is accepted any more at `now`."""
        return self.expires is not None and self.expires <= now


def _crc24(data: bytes) -> int:
    """Armor checksum, RFC 9580 section 6.1.1."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _bit in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF


def _dearmor_block(body: bytes) -> bytes:
    text = body.replace(b"\r\n", b"\n")
    # Armor headers such as `Version:` end at the first empty line.
    _headers, separator, rest = text.partition(b"\n\n")
    payload = rest if separator and b":" in text.split(b"\n", 1)[0] else text
    lines = [line.strip() for line in payload.splitlines() if line.strip()]
    checksum = lines.pop() if lines and re.fullmatch(rb"=[A-Za-z0-9+/]{4}", lines[-1]) else b""
    try:
        data = base64.b64decode(b"".join(lines), validate=True)
        expected = int.from_bytes(base64.b64decode(checksum[1:], validate=True), "big") if checksum else None
    except binascii.Error as error:
        raise KeyDataError(f"the armored key is damaged: {error}") from error
    if expected is not None and _crc24(data) != expected:
        raise KeyDataError("the armored key is damaged: its checksum does not match")
    return data


def dearmor(data: bytes) -> bytes:
    """Return the binary form of a key file, armored or not.

    Raises KeyDataError for bytes that cannot be a public key (a proxy's HTML page, an empty file, a private key).
    """
    blocks = ARMOR.findall(data)
    if blocks:
        return b"".join(_dearmor_block(block) for block in blocks)
    if not data.strip():
        raise KeyDataError("the file is empty")
    if data[0] & 0x80:
        return data
    start = data.lstrip()[:60].decode("ascii", "replace").split("\n")[0]
    raise KeyDataError(f"no OpenPGP public key; it starts with {start!r}")


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    if first < TWO_OCTETS:
        return first, at + 1
    if first < PARTIAL:
        return ((first - TWO_OCTETS) << 8) + data[at + 1] + TWO_OCTETS, at + 2
    if first == FIVE_OCTETS:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise KeyDataError("a packet of partial length: not a key file")


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, length and where the body starts."""
    octet = data[at]
    if not octet & 0x80:
        raise KeyDataError(f"byte {at} starts no OpenPGP packet")
    if octet & 0x40:
        length, start = _new_length(data, at + 1)
        return octet & 0x3F, length, start
    size = {0: 1, 1: 2, 2: 4}.get(octet & 3)
    if size is None:
        raise KeyDataError("a packet of indeterminate length: not a key file")
    return (octet & 0x3C) >> 2, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def packets(data: bytes) -> Iterator[Packet]:
    """Iterate over the packets of binary key data. Raises KeyDataError when a packet is cut off."""
    at = 0
    while at < len(data):
        try:
            tag, length, start = _header(data, at)
        except IndexError:
            raise KeyDataError("the key is truncated") from None
        end = start + length
        if end > len(data):
            raise KeyDataError("the key is truncated")
        yield Packet(tag, data[start:end], data[at:end])
        at = end


def fingerprint(body: bytes) -> str:
    """Fingerprint of a key packet: RFC 9580 section 5.5.4 (SHA-1 for version 4, SHA-256 for version 6)."""
    version = body[0] if body else 0
    if version == V4:
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()
    if version == V6:
        return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise KeyDataError(f"a key of OpenPGP version {version}; 4 and 6 are supported")


def _subpacket_area(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        length, start = _new_length(data, at)
        if length:
            yield data[start] & 0x7F, data[start + 1 : start + length]
        at = start + length


def _signature(body: bytes) -> _Subpackets | None:
    """Type and subpackets of a version 4 or 6 signature; None for others, which carry no expiry."""
    if body[0] not in (V4, V6):
        return None
    width = 2 if body[0] == V4 else 4
    hashed = 4 + width
    end = hashed + int.from_bytes(body[4:hashed], "big")
    values = dict(_subpacket_area(body[hashed:end]))
    unhashed = end + width
    rest = _subpacket_area(body[unhashed : unhashed + int.from_bytes(body[end:unhashed], "big")])
    # Only the issuer may stand outside the hashed area; everything else there is unsigned.
    values.update({kind: value for kind, value in rest if kind == ISSUER and kind not in values})
    return _Subpackets(body[1], values)


def _issued_by(signature: _Subpackets, primary: str) -> bool:
    issuer = signature.values.get(ISSUER_FINGERPRINT)
    if issuer is not None:
        return issuer[1:].hex().upper() == primary
    key_id = primary[-16:] if len(primary) == V4_DIGITS else primary[:16]
    return signature.values.get(ISSUER, b"").hex().upper() == key_id


def _validity(body: bytes, signatures: list[_Subpackets]) -> tuple[int | None, bool]:
    """When a key ends and whether it may sign, by its newest self-signature."""
    if not signatures:
        return None, False
    newest = max(signatures, key=lambda item: int.from_bytes(item.values.get(SIGNED_TIME, b""), "big"))
    seconds = int.from_bytes(newest.values.get(KEY_EXPIRES, b""), "big")
    created = int.from_bytes(body[1:5], "big")
    return (created + seconds if seconds else None), bool(newest.values.get(KEY_FLAGS, b"\0")[0] & MAY_SIGN)


def _certificate(group: list[Packet]) -> Key:
    primary = group[0]
    name = fingerprint(primary.body)
    signatures: dict[int, list[_Subpackets]] = {0: []}
    owner = 0
    for index, packet in enumerate(group):
        if packet.tag == PUBLIC_SUBKEY:
            owner = index
            signatures[owner] = []
        elif packet.tag == SIGNATURE:
            found = _signature(packet.body)
            wanted = {BINDING} if owner else CERTIFICATIONS
            if found and found.kind in wanted and _issued_by(found, name):
                signatures[owner].append(found)
    end, may_sign = _validity(primary.body, signatures[0])
    # The certificate is of use until the last of its signing keys ends, and never longer than its primary key.
    ends = [end] if may_sign else []
    for index, items in signatures.items():
        if index:
            sub_end, sub_signs = _validity(group[index].body, items)
            ends += [sub_end] if sub_signs else []
    last = None if not ends or None in ends else max(value for value in ends if value is not None)
    limits = [value for value in (end, last) if value is not None]
    return Key(
        fingerprint=name,
        created=int.from_bytes(primary.body[1:5], "big"),
        expires=min(limits) if limits else None,
        subkeys=tuple(fingerprint(packet.body) for packet in group if packet.tag == PUBLIC_SUBKEY),
        data=b"".join(packet.raw for packet in group),
    )


def read_keys(data: bytes) -> list[Key]:
    """Every public key in a file, armored or binary. Raises KeyDataError when there is none or one is damaged."""
    groups: list[list[Packet]] = []
    for packet in packets(dearmor(data)):
        if packet.tag in SECRET_TAGS:
            raise KeyDataError("a PRIVATE key; export the public one (gpg --export)")
        if packet.tag == PUBLIC_KEY:
            groups.append([packet])
        elif groups:
            groups[-1].append(packet)
    if not groups:
        raise KeyDataError("OpenPGP data without a public key")
    try:
        return [_certificate(group) for group in groups]
    except IndexError:
        raise KeyDataError("the key is damaged") from None


def format_fingerprint(value: str) -> str:
    """Groups of four, as gpg and AMD's documentation print them."""
    return " ".join(value[index : index + 4] for index in range(0, len(value), 4))


def normalise_fingerprint(value: str) -> str:
    """Upper-case hex without spaces. Raises ValueError unless it is a full fingerprint (40 or 64 digits)."""
    text = re.sub(r"[\s:]", "", value).upper().removeprefix("0X")
    if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", text):
        raise ValueError(f"{value!r} is no fingerprint: give all 40 (or 64) hex digits; short key ids can be forged")
    return text
