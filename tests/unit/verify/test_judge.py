"""A healthy node is green; each planted fault is found by its id, alone, with a remedy."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from mi50.preflight.check_gpu import GPU_CHECKS
from mi50.preflight.check_system import SYSTEM_CHECKS
from mi50.preflight.evaluate import evaluate
from mi50.preflight.model import ERROR, FAIL, OK, SKIP, WARN, Check, HostState, Policy, build_report
from mi50.verify import check_cards, check_host, check_net
from mi50.verify.judge import judge
from mi50.verify.model import Card, Crash, Listener, Seen, Setting

ANY = str(IPv4Address(0))
LIMITS = {"edge": 100.0, "junction": 105.0, "mem": 94.0}
COOL = {"edge": 45.0, "junction": 52.0, "mem": 50.0}
CARDS = tuple(Card(f"0000:0{n}:00.0", COOL, LIMITS, 0, 10 << 20) for n in (3, 4))
ROCM: dict[str, Any] = {
    "missing": {"packages": [], "extra_packages": [], "apt_modules": [], "groups": [], "users": [], "memberships": []},
    "wrong_origin": [],
    "reboot_required": False,
    "reboot_reasons": [],
    "driver": {"mode": "inbox", "packages": []},
    "problems": [],
    "rocm": {"version": "6.4.3-128"},
}
ANSWERS: dict[str, Any] = {
    "rocm_info": ROCM,
    "gfx906_rocblas": {"libraries": [{"dest": "/opt/rocm-6.4.3", "whole": 156, "problems": []}]},
    "fan_info": {"differing": [], "left_over": [], "rivals": [], "problems": []},
    "gpu_power_info": {"differing": [], "problems": []},
    "build_once": {"builds": {"triton": {"held": True, "version": "3.5.0"}}},
    "torch_env": {"settled": True, "why": [], "has": "torch 2.9.0"},
    "llama_cpp": {"settled": True, "why": [], "state": "ready", "model": "gemma"},
}
HEALTHY = Seen(
    gfx906=("0000:03:00.0", "0000:04:00.0"),
    kfd_device=True,
    cards=CARDS,
    kernel_log=("amdgpu 0000:03:00.0: amdgpu: SMU is initialized successfully!",),
    cmdline="BOOT_IMAGE=/vmlinuz root=/dev/sda1 iommu=pt quiet",
    settings=(Setting("/etc/profile.d/mi50-rocm.sh", "ROCM_PATH", "/opt/rocm-6.4.3"),),
    prefix="/opt/rocm-6.4.3",
    link="/opt/rocm-6.4.3",
    loader_dirs=("/opt/rocm-6.4.3/lib", "/opt/rocm-6.4.3/lib64"),
    agents=("gfx906", "gfx906"),
    agents_error="",
    listeners=(Listener("127.0.0.1", 8000), Listener(ANY, 22)),
    unmet=(),
    answers=ANSWERS,
)


def with_answer(name: str, **changes: object) -> dict[str, Any]:
    return {"answers": {**ANSWERS, name: {**ANSWERS[name], **changes}}}


def missing(**changes: object) -> dict[str, Any]:
    return with_answer("rocm_info", missing={**ROCM["missing"], **changes})


def card(**changes: object) -> dict[str, Any]:
    return {"cards": (CARDS[0], CARDS[1]._replace(**changes))}


def log(line: str) -> dict[str, Any]:
    return {"kernel_log": (*HEALTHY.kernel_log, line) if HEALTHY.kernel_log else ()}


def kernels(problem: str) -> dict[str, Any]:
    return with_answer("gfx906_rocblas", libraries=[{"dest": "/opt/rocm-6.4.3", "whole": 0, "problems": [problem]}])


FAULTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # what is wrong: (the fault, id, status, words of the finding)
    "forced off": ({"unmet": ("rocm-hip-sdk needs hipblas (= 2.4)",)}, "dpkg.depends", FAIL, "needs hipblas"),
    "no compute device": ({"kfd_device": False}, "kernel.kfd", FAIL, "/dev/kfd is missing"),
    "atomics": (
        log("kfd kfd: amdgpu: skipped device 1002:66a1, PCI rejects atomics 730<0"),
        "kernel.log",
        FAIL,
        "skipped",
    ),
    "no room": (log("amdgpu: probe of 0000:04:00.0 failed with error -12"), "kernel.log", FAIL, "-12"),
    "wrong VBIOS": (log("amdgpu: probe of 0000:04:00.0 failed with error -22"), "kernel.log", FAIL, "VBIOS"),
    "hang": (
        log("[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx timeout, signaled seq=1"),
        "kernel.log",
        FAIL,
        "hung",
    ),
    "bad memory": (log("amdgpu: 2 uncorrectable hardware errors detected in umc block"), "kernel.log", FAIL, "memory"),
    "no firmware": (log("amdgpu: Direct firmware load for amdgpu/vega20_sos.bin failed"), "kernel.log", FAIL, "start"),
    "IOMMU": ({"cmdline": "quiet"}, "kernel.iommu", WARN, "iommu=pt"),
    "other ROCm": ({"link": "/opt/rocm-7.0.0"}, "rocm.link", FAIL, "/opt/rocm-7.0.0"),
    "no /opt/rocm": ({"link": None}, "rocm.link", FAIL, "nowhere"),
    "no ld.so": ({"loader_dirs": ()}, "rocm.loader", FAIL, "not in"),
    "two in ld.so": ({"loader_dirs": (*HEALTHY.loader_dirs, "/opt/rocm-7.0.0/lib")}, "rocm.loader", FAIL, "rocm-7.0.0"),
    "card not listed": ({"agents": ("gfx906",)}, "rocm.agents", FAIL, "gfx906 1 times"),
    "iGPU instead": ({"agents": ("gfx1036", "gfx906")}, "rocm.agents", FAIL, "gfx1036"),
    "no rocminfo": ({"agents": None, "agents_error": "rocminfo ends with 1"}, "rocm.agents", FAIL, "ends with 1"),
    "override": (
        {"settings": (Setting("/etc/environment", "HSA_OVERRIDE_GFX_VERSION", "9.0.6"),)},
        "env.override",
        FAIL,
        "HSA_OVERRIDE_GFX_VERSION=9.0.6 in /etc/environment",
    ),
    "kernels elsewhere": (
        {"settings": (Setting("/etc/profile.d/x.sh", "ROCBLAS_TENSILE_LIBPATH", "/opt/x"),)},
        "env.override",
        FAIL,
        "ROCBLAS_TENSILE_LIBPATH",
    ),
    "hidden": ({"settings": (Setting("/etc/environment", "HIP_VISIBLE_DEVICES", "0"),)}, "env.visible", WARN, "=0"),
    "package gone": (missing(packages=["rocblas"]), "rocm.packages", FAIL, "rocblas is missing"),
    "dpkg": (with_answer("rocm_info", problems=["dpkg: half-configured"]), "rocm.packages", FAIL, "half-configured"),
    "foreign package": (
        with_answer("rocm_info", wrong_origin=[{"name": "rocminfo", "version": "5.7", "origins": []}]),
        "rocm.origin",
        FAIL,
        "rocminfo 5.7 is from nowhere",
    ),
    "no group": (
        missing(memberships=[{"user": "me", "groups": ["render"]}]),
        "rocm.access",
        FAIL,
        "me is not in render",
    ),
    "reboot": (
        with_answer("rocm_info", reboot_required=True, reboot_reasons=["new kernel"]),
        "rocm.reboot",
        FAIL,
        "new kernel",
    ),
    "DKMS gone": (
        with_answer("rocm_info", driver={"mode": "dkms", "packages": ["amdgpu-dkms"]}),
        "rocm.driver",
        FAIL,
        "amdgpu-dkms",
    ),
    "kernels wiped": (kernels("missing: Kernels.so"), "kernels.opt-rocm-6.4.3", FAIL, "Kernels.so"),
    "fans ungoverned": (with_answer("fan_info", problems=["dead"]), "fan.daemon", FAIL, "dead"),
    "fan files": (with_answer("fan_info", differing=["/x"]), "fan.files", FAIL, "/x differs"),
    "rival": (
        with_answer("fan_info", rivals=[{"unit": "fancontrol.service", "state": "active", "remedy": "stop it"}]),
        "fan.rivals",
        FAIL,
        "fancontrol.service (active)",
    ),
    "cap": (with_answer("gpu_power_info", problems=["0000:03:00.0 has 225 W"]), "card.power", FAIL, "225 W"),
    "wheel": (
        with_answer("build_once", builds={"triton": {"held": False, "problem": "sha256 differs"}}),
        "build.triton",
        FAIL,
        "sha256 differs",
    ),
    "torch": (with_answer("torch_env", settled=False, why=["no triton"]), "torch.environments", FAIL, "no triton"),
    "engine": (
        with_answer("llama_cpp", settled=False, why=["the last look said: hung"]),
        "serve.llama_cpp",
        FAIL,
        "hung",
    ),
    "sensor": (card(temperatures={**COOL, "junction": None}), "card.sensors", FAIL, "junction unreadable"),
    "sensor at 511": (card(temperatures={**COOL, "mem": 511.0}), "card.sensors", FAIL, "mem 511"),
    "hot": (card(temperatures={**COOL, "junction": 106.0}), "card.heat", FAIL, "junction 106 of 105"),
    "nearly hot": (card(temperatures={**COOL, "mem": 90.0}), "card.heat", WARN, "mem 90 of 94"),
    "memory errors": (card(errors=3), "card.memory", FAIL, "0000:04:00.0: 3"),
    "open port": ({"listeners": (Listener(ANY, 8000),)}, "net.listen", WARN, "0.0.0.0:8000 (vLLM's port)"),
    "open port, IPv6": ({"listeners": (Listener("::", 11434),)}, "net.listen", WARN, "[::]:11434"),
    "refusal": ({"answers": {**ANSWERS, "fan_info": "systemd does not answer"}}, "fan.state", FAIL, "systemd does not"),
}


def test_a_healthy_node_is_green() -> None:
    assert {check.id: check.status for check in judge(HEALTHY) if check.status != OK} == {}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str) -> None:
    fault, wanted, status, words = FAULTS[name]
    (found,) = [check for check in judge(HEALTHY._replace(**fault)) if check.status != OK]
    assert (found.id, found.status) == (wanted, status)
    assert words in found.found
    assert len(found.remedy) > 5


CHECKS = {**check_host.HOST_CHECKS, **check_cards.CARD_CHECKS, **check_net.NET_CHECKS}


def test_every_check_answers_under_its_own_id() -> None:
    assert {name for name, check in CHECKS.items() if check(HEALTHY).id != name} == set()
    host, policy = HostState(), Policy("rocm", ())
    early = {**SYSTEM_CHECKS, **GPU_CHECKS}
    assert {name for name, check in early.items() if check(host, policy).id != name} == set()


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_crashes_is_a_finding_and_costs_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_seen: Seen) -> Check:
        raise KeyError("path")

    ids = [check.id for check in judge(HEALTHY)]
    for family in (check_host.HOST_CHECKS, check_cards.CARD_CHECKS, check_net.NET_CHECKS):
        if name in family:
            monkeypatch.setitem(family, name, crash)
    found = judge(HEALTHY)
    assert [check.id for check in found] == ids
    (bad,) = [check for check in found if check.status != OK]
    assert (bad.id, bad.status) == (name, ERROR)
    assert bad.found.startswith("KeyError: 'path' (test_judge.py, line ")
    assert "support_bundle.yml" in bad.remedy
    report = build_report("node1", [check.as_dict() for check in found])
    assert (report["ok"], report["failures"]) == (False, [name])


def test_a_check_of_the_preflight_that_crashes_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEM_CHECKS, "disk.space", lambda _host, _policy: 1 / 0)
    found = {check.id: check for check in evaluate(HostState(), Policy("rocm", ()))}
    assert found["disk.space"].status == ERROR and found["disk.space"].found.startswith("ZeroDivisionError: ")
    assert found["gpu.present"].status == FAIL


def test_what_could_not_be_read_is_an_error_of_the_checks_that_need_it() -> None:
    seen = HEALTHY._replace(cards=(), listeners=None, unread={"cards": "ValueError: x", "listeners": "ValueError: y"})
    found = {check.id: check for check in judge(seen) if check.status != OK}
    assert set(found) == {"card.sensors", "card.heat", "card.memory", "net.listen"}
    assert {check.status for check in found.values()} == {ERROR}
    assert found["net.listen"].found == "ValueError: y"


@pytest.mark.parametrize(
    ("question", "check_id"),
    [
        ("rocm_info", "rocm.state"),
        ("torch_env", "torch.environments"),
        ("vllm", "serve.vllm"),
        ("model", "serve.models"),
    ],
)
def test_a_question_that_crashed_is_a_finding(question: str, check_id: str) -> None:
    for answer in (Crash("KeyError: 'path' (question.py, line 77)"), {"of": "another shape"}):
        found = [
            check for check in judge(HEALTHY._replace(answers={**ANSWERS, question: answer})) if check.status != OK
        ]
        assert [(check.id, check.status) for check in found] == [(check_id, ERROR)]
        assert "KeyError: " in found[0].found


def test_what_cannot_be_looked_at_is_skipped_not_passed() -> None:
    bare = HEALTHY._replace(kernel_log=None, listeners=None, cards=(), gfx906=("0000:03:00.0",), agents=("gfx906",))
    skipped = {check.id for check in judge(bare) if check.status == SKIP}
    assert skipped == {"kernel.log", "kernel.iommu", "net.listen", "card.sensors", "card.heat", "card.memory"}


def test_ids_are_unique_and_every_one_of_them_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/troubleshooting.md").read_text()
    ids = [check.id for check in judge(HEALTHY)]
    assert len(ids) == len(set(ids))
    families = {"kernels": "kernels.*", "build": "build.*", "serve": "serve.*"}
    for one in ids:
        assert f"`{families.get(one.split('.')[0], one)}`" in page, one


def test_many_problems_make_a_short_line() -> None:
    faults = missing(packages=[f"p{n}" for n in range(9)])
    (found,) = [check for check in judge(HEALTHY._replace(**faults)) if check.status != OK]
    assert found.found.endswith("p3 is missing and 5 more")
