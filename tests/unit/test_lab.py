"""The lab's own logic that needs no container engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import __main__ as command
from lab import cache, measure, site
from lab.mirror import packages, rocblas
from lab.settings import LabError, from_environment, lab_name


def test_settings_repeat_the_presets() -> None:
    settings = from_environment({"HOME": "/home/u", "LAB_NODES": "3", "LAB_CARDS": "one-mi50,four-mi50"})
    assert [settings.preset(name) for name in settings.node_names()] == ["one-mi50", "four-mi50", "one-mi50"]
    assert settings.cache == Path("/home/u/.cache/mi50-aipc/lab")


@pytest.mark.parametrize(
    "bad",
    [{"LAB_NODES": "0"}, {"LAB_NODES": "two"}, {"LAB_NODES": "33"}, {"LAB_ROCBLAS": "some"}, {"LAB_NAME": "Rack 2"}],
)
def test_settings_refuse(bad: dict[str, str]) -> None:
    with pytest.raises(LabError, match=next(iter(bad))):
        from_environment({"HOME": "/home/u", **bad})


def test_a_lab_has_a_name() -> None:
    assert lab_name({}) == "mi50-lab"
    assert lab_name({"LAB_NAME": "rack-2"}) == "rack-2"


def test_a_failed_build_leaves_nothing_that_counts(tmp_path: Path) -> None:
    def fail(target: Path) -> None:
        target.write_text("half")
        raise LabError("no")

    with pytest.raises(LabError):
        cache.build(tmp_path, "thing", fail)
    assert list(tmp_path.iterdir()) == []
    calls = []

    def make(target: Path) -> None:
        calls.append(target)
        target.write_text("whole")

    assert cache.build(tmp_path, "thing", make).read_text() == "whole"
    cache.build(tmp_path, "thing", make)
    assert len(calls) == 1


def test_key_follows_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = cache.key("recipe", tmp_path)
    assert first == cache.key("recipe", tmp_path)
    (tmp_path / "a").write_text("2")
    second = cache.key("recipe", tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, cache.key("recipe", tmp_path)}) == 3


def test_recap() -> None:
    text = "x\nPLAY RECAP *\nnode1   : ok=3    changed=1  unreachable=0  failed=0\nnode2 : ok=2 changed=0 failed=1\n"
    assert site.parse_recap(text)["node1"]["changed"] == 1
    assert site.parse_recap(text)["node2"] == {"ok": 2, "changed": 0, "failed": 1}


def test_task_times_are_summed_by_name() -> None:
    text = "rocm : Install ROCm ------------- 12.50s\nrocm : Install ROCm --- 0.50s\nPlaybook run took 0 days\n"
    assert measure.parse_tasks(text) == {"rocm : Install ROCm": 13.0}


def test_amd_never_carries_gfx906_unless_the_release_had_it() -> None:
    folder = "./usr/lib/x86_64-linux-gnu/rocblas/4.4.1/library"
    names = [
        f"{folder}/{name}"
        for name in ("A_fallback.dat", "A_gfx906.co", "A_gfx906-xnack-.hsaco", "A_gfx908.co", "A_gfx1030.co")
    ]
    pick = {
        mode: rocblas.amd(names, everything=mode[0], with_gfx906=mode[1])
        for mode in [(False, False), (True, False), (False, True)]
    }
    assert [name[len(folder) + 1 :] for name in pick[False, False]] == ["A_fallback.dat", "A_gfx908.co"]
    assert len(pick[True, False]) == 3
    assert len(pick[False, True]) == 4


def test_versions_look_like_amds() -> None:
    debs = {deb.name: deb for release in packages.RELEASES[:1] for deb in packages.userspace(release, Path("/nowhere"))}
    assert debs["rocm"].version == "6.4.3.60403-128~22.04"
    assert debs["rocblas"].version == "4.4.1.60403-128~22.04"
    assert packages.driver(packages.RELEASES[0])[0].filename == "amdgpu-dkms_6.12.12.60403-2194681.22.04_all.deb"
    # Every dependency is on a package the repository holds, in that version.
    for deb in debs.values():
        for need in filter(None, deb.depends.split(", ")):
            name, _, version = need.partition(" ")
            if name != "python3":
                assert version == f"(= {debs[name].version})"


def test_the_table_says_whether_the_bar_is_met() -> None:
    one = measure.Sample(1, [2.0, 2.0], [1.0, 1.5], {"a : b": 3.0})
    eight = measure.Sample(8, [4.9, 4.9], [5.0, 5.0], {"a : b": 9.0})
    text = measure.table([one, eight], 2)
    assert "| 8 | 4.90 | 4.90 | 4.90 | 2.45 | 5.00 |" in text
    assert "Measured 2.45: met." in text
    eight.seconds = [5.2, 5.2]
    assert "Measured 2.60: missed." in measure.table([one, eight], 2)


def test_what_was_measured_before_stays_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    assert measure.earlier(page) == ""
    page.write_text(f"# Scale\n\nold\n\n{measure.EARLIER}\n| x | 1 |\n")
    assert measure.earlier(page) == f"\n{measure.EARLIER}\n| x | 1 |\n"


@pytest.mark.parametrize(
    "words", [["fleet", "some"], ["fleet", "--help"], ["chaos", "--sed", "x"], ["chaos", "--help"]]
)
def test_nothing_is_built_for_words_that_are_wrong(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.engine, "ensure", lambda _: pytest.fail("the lab came up"))
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == (0 if "--help" in words else 2)
