"""What a mirror of a stack holds, and why what it has is not what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mi50.mirror import fill, plan
from mi50.mirror.errors import MirrorError
from mi50.mirror.store import Store
from mi50.stack.api import get_stack

STACKS = Path(__file__).resolve().parents[3] / "stacks"
DIGEST = "ab" * 32


@pytest.fixture
def stack() -> dict[str, Any]:
    return get_stack("rocm-6.4.3", STACKS, Path("/nonexistent/lock.yml"), {})


def by_name(stack: dict[str, Any], **settings: Any) -> dict[str, plan.Item]:
    return {item.name: item for item in plan.items(stack, plan.Settings(**settings))}


def test_everything_of_the_stack_has_a_place(stack: dict[str, Any]) -> None:
    items = by_name(stack)
    assert set(stack["artifacts"]) <= set(items)
    assert {"rocm-key", "apt-debian-12", "apt-ubuntu-22.04", "apt-ubuntu-24.04", "build-triton", "build-vllm"} <= set(
        items
    )
    assert items["rocblas-arch"].what["path"].startswith("arch_archive/packages/r/rocblas/")
    assert items["rocblas-arch"].what["signature"].endswith(".sig")
    assert items["torch-index"].what["pythons"] == ["3.10", "3.11", "3.12"]
    assert items["build-vllm"].what["beside"] == ["pytorch/rocm6.4"]
    assert items["build-vllm"].source["indexes"] == ["https://download.pytorch.org/whl/rocm6.4"]
    assert items["vllm-image"].what["path"] == "nalanzeyu/vllm-gfx906"
    assert items["apt-debian-12"].what["repositories"][0]["path"] == "radeon/rocm/apt/6.4.3"
    assert "rocm" in items["apt-debian-12"].what["packages"]
    # Without the distribution's repositories nobody asks for its packages.
    assert items["apt-debian-12"].what["distribution"] == []


def test_another_upstream_is_the_same_item(stack: dict[str, Any]) -> None:
    mirrored = get_stack(
        "rocm-6.4.3", STACKS, Path("/nonexistent/lock.yml"), {"mi50_url_radeon": "https://mirror.example/r"}
    )
    assert by_name(stack)["apt-debian-12"].what == by_name(mirrored)["apt-debian-12"].what
    assert by_name(stack)["apt-debian-12"].source != by_name(mirrored)["apt-debian-12"].source


def test_a_distribution_brings_what_the_roles_install(stack: dict[str, Any]) -> None:
    one = {"platform": "debian-12", "name": "main", "url": "http://d.example/debian", "suite": "bookworm"}
    one.update(components=["main"], keyring="/k.gpg")
    items = by_name(stack, distributions=[one], platforms=["debian-12"], packages=["htop"])
    wanted = items["apt-debian-12"].what
    assert {"libpython3.11", "build-essential", "python3-venv", "htop", "nginx-light"} <= set(wanted["distribution"])
    assert wanted["repositories"][-1]["path"] == "os/debian-12/main"
    assert "apt-ubuntu-24.04" not in items
    assert items["torch-index"].what["pythons"] == ["3.11"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"only": ["rocblas"]}, "artifact_mirror_items: rocblas: there is no such item; known: "),
        ({"without": ["x"]}, "artifact_mirror_without: x"),
        ({"platforms": ["debian-11"]}, "artifact_mirror_platforms: debian-11: .*debian-12, ubuntu-22.04"),
        ({"overrides": {"triton": {}}}, "artifact_mirror_overrides: triton: .*no such artifact"),
    ],
)
def test_names_that_are_none_are_refused(stack: dict[str, Any], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(MirrorError, match=words):
        plan.items(stack, plan.Settings(**settings))


def test_a_mirror_does_not_fetch_from_itself(stack: dict[str, Any]) -> None:
    mirrored = get_stack(
        "rocm-6.4.3", STACKS, Path("/nonexistent/lock.yml"), {"mi50_url_radeon": "http://mirror.example:8090/radeon"}
    )
    items = plan.items(mirrored, plan.Settings())
    with pytest.raises(MirrorError, match="its upstream address is this mirror itself"):
        fill.refuse_itself(items, ["http://mirror.example:8090", ""])
    fill.refuse_itself(items, ["http://mirror.example:809", "http://other.example"])


def item(**what: Any) -> plan.Item:
    given = {"path": "arch/x", "sha256": None, "size": None, **what}
    return plan.Item("x", "file", given, {"url": "http://a.example/x"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "www/arch/x"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"data")
    found = Store(tmp_path)
    found.put("x", "file", item().what, {}, [path])
    return found


def test_a_lock_that_was_written_since_is_no_other_file(store: Store) -> None:
    known = store.files["www/arch/x"]
    assert fill.lacking(store, [item()]) == []
    assert fill.lacking(store, [item(sha256=known["sha256"], size=4)]) == []
    assert fill.learned(store, item()) == {"x": {"url": "http://a.example/x", "size": 4, "sha256": known["sha256"]}}


def test_a_lock_that_disagrees_is_said_with_both_values(store: Store) -> None:
    assert fill.lacking(store, [item(sha256=DIGEST)]) == ["x"]
    with pytest.raises(MirrorError, match=rf"x: sha256 is {store.files['www/arch/x']['sha256']}, .*says {DIGEST}"):
        fill.check(store, [item(sha256=DIGEST)], every_byte=False)


def test_one_error_lists_all_that_is_missing(store: Store, stack: dict[str, Any]) -> None:
    wanted = [*plan.items(stack, plan.Settings(platforms=["debian-12"])), item(path="arch/y")]
    with pytest.raises(MirrorError) as caught:
        fill.check(store, wanted, every_byte=False)
    assert all(f"{one.name}: not in it" in str(caught.value) for one in wanted[:-1])
    assert "x: path is arch/x" in str(caught.value)


def test_more_than_is_wanted_is_enough(store: Store) -> None:
    repository = {"path": "radeon/r", "suite": "jammy", "components": ["main"], "fingerprint": "F"}
    own = {"path": "os/debian-12/b", "suite": "b", "components": ["main"], "keyring": "/k"}
    what = {"repositories": [repository, own], "packages": ["a", "b"], "distribution": ["c"], "listing": "l"}
    store.put("apt", "apt", what, {}, [])
    less = {"repositories": [repository], "packages": ["a"], "distribution": [], "listing": "l"}
    assert fill.differs(store, plan.Item("apt", "apt", less, {})) == ""
    other = {**less, "packages": ["a", "d"]}
    assert fill.differs(store, plan.Item("apt", "apt", other, {})) == "packages: d are not in it"
    moved = {**less, "repositories": [{**repository, "suite": "noble"}]}
    assert "radeon/r noble main F are not in it" in fill.differs(store, plan.Item("apt", "apt", moved, {}))


def test_wheels_may_be_more_but_none_may_be_another(store: Store) -> None:
    what = {"path": "pytorch/rocm6.4", "pins": {"torch": "2"}, "pythons": ["3.11"], "wheels": {}}
    store.put("torch", "wheel-index", what, {"wheels": {"torch.whl": "aa"}}, [])
    good = {**what, "wheels": {"torch.whl": "aa", "other-python.whl": "cc"}}
    assert fill.differs(store, plan.Item("torch", "wheel-index", good, {"url": "u"})) == ""
    bad = {**what, "wheels": {"torch.whl": "bb"}}
    assert "sha256 of torch.whl is aa, the lock says bb" in fill.differs(
        store, plan.Item("torch", "wheel-index", bad, {})
    )


@pytest.mark.parametrize("path", ["relative", "/", "/srv"])
def test_a_mirror_has_a_folder_of_its_own(path: str) -> None:
    with pytest.raises(MirrorError, match="give an absolute path of its own"):
        fill.root(path)
