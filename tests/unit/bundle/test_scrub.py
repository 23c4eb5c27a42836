"""Everything that was planted is gone, and what a maintainer needs is still there."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mi50.bundle.collect import clean
from mi50.bundle.scrub import Known, Scrubber, summary

KEY = "q7Vd0wPzLk3mXc9RtY2uBn8sHf5jGa1e"
UNIQUE_ID = "0x18f3a7c25e90b1d4"
KNOWN = Known(
    secrets=(KEY,),
    hosts=("rack7-node3.corp.example", "rack7-node3", "corp.example"),
    users=("jdoe", "Jane Doe"),
    serials=(UNIQUE_ID, "692103002345", "9b1de0f9a3c84c5d8f1e2d3c4b5a6978"),
    public=("repo.radeon.com", "github.com"),
)
PRIVATE = "10.20." + "30.40"
PUBLIC_V6 = "2001:db8:85a3::8a2e:370:7334"

# What is planted -> words that must be gone. The rest of the line is the context in which it is found in the field.
PLANTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "key of a file": (f"srv[12]: started with {KEY}", (KEY,)),
    "unit environment": (
        'Environment="HF_TOKEN=hf_AbCdEfGhIjKlMnOpQrStUv" "VLLM_API_KEY=abc123def"',
        ("hf_AbCd", "abc123def"),
    ),
    "argument": ("ExecStart=/usr/bin/vllm serve --api-key s3cr3tvalue --port 8000", ("s3cr3tvalue",)),
    "argument with equals": ("llama-server --api-key=topsecret1 -c 4096", ("topsecret1",)),
    "json": ('{"api_key": "swordfish-99", "port": 8000}', ("swordfish-99",)),
    "json list": (
        json.dumps({"tokens_of": 1, "api_keys": ["first-secret-1", "second-secret-2"]}, indent=1),
        ("first-secret-1", "second-secret-2"),
    ),
    "json nested": ('{"auth": {"registry": {"value": "dXNlcjpwYXNz"}}}', ("dXNlcjpwYXNz",)),
    "yaml": ("ansible_become_password: Tr0ub4dor\nother: 1", ("Tr0ub4dor",)),
    "ini": ("password = 'correct horse battery'", ("correct horse battery",)),
    "number as password": ("password=482913", ("482913",)),
    "bearer": ("Authorization: Bearer 0123456789abcdefXYZ", ("0123456789abcdefXYZ",)),
    "bearer in curl": ('curl -H "authorization: bearer zzTop12345678"', ("zzTop12345678",)),
    "url login": (
        "http_proxy=http://proxyuser:pr0xyPass@proxy.corp.example:3128/",
        ("proxyuser", "pr0xyPass", "corp.example"),
    ),
    "private key": (
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----",
        ("b3BlbnNzaC1r",),
    ),
    "half a private key": ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg", ("MIIEvQIBADANBg",)),
    "github": ("pulling with ghp_0123456789abcdefghijABCDEFGHIJ012345", ("ghp_0123",)),
    "openai": ("using sk-proj-0123456789abcdef0123", ("sk-proj-0123",)),
    "aws": ("AKIAIOSFODNN7EXAMPLE", ("AKIAIOSFODNN7EXAMPLE",)),
    "jwt": ("cookie eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.SflKxwRJSM", ("eyJhbGciOiJIUzI1NiJ9", "SflKxwRJSM")),
    "crypt": ("ops:$6$rounds$abcdefghijklmnop:19000", ("abcdefghijklmnop",)),
    "host key": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ", ("AAAAC3Nza",)),
    "fingerprint": (
        "SHA256:0123456789012345678901234567890123456789012",
        ("0123456789012345678901234567890123456789012",),
    ),
    "host name": ("Nov 23 06:12:44 rack7-node3 kernel: amdgpu", ("rack7-node3",)),
    "host name in capitals": ("from RACK7-NODE3.CORP.EXAMPLE", ("rack7-node3", "corp.example")),
    "mirror": ("deb https://mirror.inner.example/ubuntu noble main", ("inner.example",)),
    "ip": (f"peer {PRIVATE} port 22", (PRIVATE,)),
    "ip with port": (f"listening on {PRIVATE}:8000", (PRIVATE,)),
    "ipv6": (f"peer [{PUBLIC_V6}]:22", (PUBLIC_V6,)),
    "link local": ("fe80::1c2b:3aff:fe4d:5e6f%eth0", ("fe80::1c2b",)),
    "mac": ("link/ether 3c:ec:ef:12:34:56 brd", ("3c:ec:ef:12:34:56",)),
    "unique_id": (f"unique_id {UNIQUE_ID}", (UNIQUE_ID, UNIQUE_ID[2:])),
    "unique_id without 0x": (f"GPU {UNIQUE_ID[2:]}", (UNIQUE_ID[2:],)),
    "unique_id in decimal": (f"unique_id {int(UNIQUE_ID, 16)}", (str(int(UNIQUE_ID, 16)),)),
    "uuid of the card": ("Uuid: GPU-18f3a7c25e90b1d4", ("18f3a7c25e90b1d4",)),
    "serial of a tool": ("Serial Number: PCB042817-0031", ("PCB042817-0031",)),
    "serial of json": ('{"serial_number": "PCB042817-0031", "vram": 1}', ("PCB042817-0031",)),
    "known serial": ("card 692103002345 in slot 2", ("692103002345",)),
    "machine id": ("booted 9b1de0f9a3c84c5d8f1e2d3c4b5a6978", ("9b1de0f9a3c84c5d8f1e2d3c4b5a6978",)),
    "uuid": ("root=UUID=0f3c9a52-1111-4222-8333-944455556666 ro", ("0f3c9a52-1111-4222-8333-944455556666",)),
    "disk": ("/dev/disk/by-id/nvme-Samsung_SSD_S5GXNX0T123456", ("S5GXNX0T123456",)),
    "home": ("cwd /home/alice/models", ("alice",)),
    "user": ("COMMAND by jdoe", ("jdoe",)),
    "real name": ("jdoe:x:1000:1000:Jane Doe,,,:", ("Jane Doe", "jdoe")),
    "mail": ("Maintainer: someone@inner.example", ("someone@", "inner.example")),
    "prompt": ("INFO Received request cmpl-1: prompt: 'my dear diary', params", ("my dear diary",)),
}
# Lines without which a bundle would be of no use.
KEPT = (
    "amdgpu 0000:03:00.0: amdgpu: ring sdma0 timeout, signaled seq=12, emitted seq=14",
    "kfd kfd: amdgpu: skipped device 1002:66a1, PCI rejects atomics 730<0",
    "rocblas 4.4.1.60403-128~22.04",
    "VBIOS version: 113-D1631711-100",
    "vbios 016.004.000.056.013522",
    "listening on 127.0.0.1:8000 and ::1",
    "sha256 82ac281e388550e02d19e32e85a2bce58472853d44ddb783d5f8aabbccddeeff",
    "TensileLibrary_Type_HH_Contraction_l_Ailk_Bjlk_Cijk_Dijk_fallback_gfx906-xnack-.hsaco",
    "llm_context: 32768, max_tokens: 4096, prompt tokens 12",
    "keyring /etc/apt/keyrings/rocm.gpg",
    "api_key_file: /etc/mi50-aipc/keys/vllm",
    "06:12:44.123456 [1234] fan1 1480 RPM",
    "Uris: https://repo.radeon.com/rocm/apt/6.4.3",
    "kernel 6.8.0-49-generic",
)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_what_was_planted_is_gone(name: str) -> None:
    line, words = PLANTED[name]
    said = clean(f"before\n{line}\n" if not line.startswith("{") else line, Scrubber(KNOWN))
    left = [word for word in words if word.lower() in said.lower()]
    assert left == [], said


@pytest.mark.parametrize("line", KEPT)
def test_what_a_maintainer_needs_stays(line: str) -> None:
    assert Scrubber(KNOWN).text(line) == line


def test_the_same_name_is_the_same_word_everywhere() -> None:
    scrubber = Scrubber(KNOWN)
    first = scrubber.text(f"a {PRIVATE} b 10.20." + "30.41")
    second = scrubber.text(f"{PRIVATE} rack7-node3")
    assert first == "a <ip-1> b <ip-2>"
    assert second == "<ip-1> <host-1>"
    assert scrubber.counts == {"address": 3, "host": 1}
    assert summary(scrubber.counts) == "3 times a address, 1 times a host"


def test_scrubbing_twice_changes_nothing_more() -> None:
    text = "\n".join(line for line, _words in PLANTED.values())
    once = Scrubber(KNOWN).text(text)
    assert Scrubber(KNOWN, prefix="inventory-").text(once) == once


def test_a_leak_is_told_by_its_kind() -> None:
    scrubber = Scrubber(KNOWN)
    assert scrubber.leaks(f"x {KEY} y") == ["secret"]
    assert scrubber.leaks("x") == []


@given(st.text(alphabet=string.printable, max_size=200), st.sampled_from(["secret", "host", "serial"]))
def test_a_known_value_is_gone_from_any_text(noise: str, kind: str) -> None:
    value = {"secret": KEY, "host": "rack7-node3", "serial": UNIQUE_ID}[kind]
    scrubber = Scrubber(KNOWN)
    assert scrubber.leaks(scrubber.text(f"{noise} {value} {noise}")) == []


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_nothing_below_a_secret_name_is_told(value: Any) -> None:
    said = Scrubber(KNOWN).data({"service_password": ["unheard-of-1", value], "x": value})
    assert "unheard-of-1" not in json.dumps(said)
