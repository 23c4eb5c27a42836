"""Suites are complete and whole; a wrong one is refused with one message that says where and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.mi50.bench.suite import LANGUAGES, SuiteError, load_suite, select, sha256
from ansible.plugins.loader import lookup_loader

from tools import suite_images

SUITES = Path(__file__).resolve().parents[3] / "suites"
BLOG = SUITES / "blog-2025-10.yml"
NAMES = sorted(path.stem for path in SUITES.glob("*.yml"))
IMAGE = ["image-recognition", "picture-story", "geometry", "text-extraction"]
TEXT = ["algebra", "gaokao-essay", "front-end-page", "task-plan"]


def minimal() -> dict[str, Any]:
    task = {
        "id": "one",
        "title": {"zh": "一", "en": "One"},
        "kind": "text",
        "model": "m",
        "prompt": {"zh": "说一", "en": "Say one"},
        "modes": {"fixed": {"max_tokens": 32}},
        "checks": [{"id": "said", "kind": "words", "groups": ["one"]}],
    }
    model = {"name": "m:1b", "context": 4096, "sampling": {"temperature": 0}}
    return {
        "schema_version": 1,
        "id": "s",
        "title": "S",
        "models": {"m": model},
        "repetitions": {"measured": 6},
        "tasks": [task],
    }


def write(folder: Path, suite: Any, name: str = "s.yml") -> Path:
    shutil.copy(SUITES / "schema.json", folder)
    path = folder / name
    path.write_text(suite if isinstance(suite, str) else yaml.safe_dump(suite, allow_unicode=True), encoding="utf-8")
    return path


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_the_suites_are_right(name: str, language: str) -> None:
    suite = load_suite(SUITES / f"{name}.yml", language)
    assert suite["id"] == name
    for task in suite["tasks"]:
        assert isinstance(task["prompt"], str)
        assert "natural" in task["modes"], "without it nothing is checked"
        assert task["checks"]


def test_the_blog_suite_has_its_eight_tasks_and_two_models() -> None:
    suite = load_suite(BLOG)
    assert [task["id"] for task in suite["tasks"]] == IMAGE + TEXT
    assert {task["model"] for task in suite["tasks"][:4]} == {"gemma3-27b"}
    assert {task["model"] for task in suite["tasks"][4:]} == {"qwen3-30b"}
    assert [model["name"] for model in suite["models"].values()] == [
        "gemma3:27b-it-qat",
        "qwen3:30b-a3b-thinking-2507-q4_K_M",
    ]
    assert {model["context"] for model in suite["models"].values()} == {131072}
    assert [task["id"] for task in load_suite(SUITES / "blog-2025-10-text.yml")["tasks"]] == TEXT


def test_a_suite_may_change_the_modes_of_the_tasks_it_keeps() -> None:
    short, whole = load_suite(SUITES / "blog-2025-10-short.yml"), load_suite(BLOG)
    assert [task["id"] for task in short["tasks"]] == IMAGE + TEXT
    assert {task["modes"]["fixed"]["max_tokens"] for task in short["tasks"]} == {36}
    assert {task["modes"]["natural"]["repetitions"]["measured"] for task in short["tasks"]} == {1}
    assert [task["prompt"] for task in short["tasks"]] == [task["prompt"] for task in whole["tasks"]]
    assert short["sha256"] != whole["sha256"]
    assert whole["tasks"][0]["modes"]["fixed"]["max_tokens"] == 256, "the suite it extends was changed"


def test_languages_have_their_own_prompts_pictures_and_checks() -> None:
    chinese, english = load_suite(BLOG, "zh"), load_suite(BLOG, "en")
    assert chinese["sha256"] != english["sha256"]
    for one, other in zip(chinese["tasks"], english["tasks"]):
        assert one["prompt"] != other["prompt"]
        assert one["prompt"].isascii() is False
    pictures = {suite["language"]: suite["tasks"][3]["images"][0]["file"] for suite in (chinese, english)}
    assert pictures == {"zh": "images/notice-zh.png", "en": "images/notice-en.png"}


def test_the_text_to_be_read_is_the_text_that_was_drawn() -> None:
    for language in LANGUAGES:
        checks = load_suite(BLOG, language)["tasks"][3]["checks"]
        drawn = (SUITES / "images" / f"notice-{language}.txt").read_text(encoding="utf-8")
        assert [check["text"] for check in checks if check["kind"] == "ocr"] == [drawn]


def test_the_pictures_are_what_the_script_draws(capsys: pytest.CaptureFixture[str]) -> None:
    assert suite_images.main(["--check"]) == 0, capsys.readouterr().err


def test_a_changed_picture_is_noticed(tmp_path: Path) -> None:
    for name in suite_images.PICTURES:
        shutil.copy(SUITES / "images" / name, tmp_path)
    assert suite_images.different(tmp_path) == []
    shutil.copy(SUITES / "images" / "story.png", tmp_path / "scene.png")
    (tmp_path / "geometry.png").unlink()
    assert suite_images.different(tmp_path) == ["scene.png", "geometry.png"]


def test_the_digest_covers_what_is_measured_and_nothing_else(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, minimal()))
    assert sha256(suite) == suite["sha256"]
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    commented = "# a comment\n" + yaml.safe_dump(minimal(), allow_unicode=True, sort_keys=True)
    assert load_suite(write(moved, commented))["sha256"] == suite["sha256"]
    for change in (
        ("models", "m", "context"),
        ("tasks", 0, "modes", "fixed", "max_tokens"),
        ("repetitions", "measured"),
    ):
        changed: Any = minimal()
        inner = changed
        for part in change[:-1]:
            inner = inner[part]
        inner[change[-1]] += 1
        assert load_suite(write(moved, changed))["sha256"] != suite["sha256"]


def edited(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    suite = minimal()
    change(suite)
    return suite


WRONG: dict[str, tuple[Any, str]] = {
    "not YAML": ("a: [", "not valid YAML"),
    "not a mapping": ("- a", "a mapping is expected, this is list"),
    "no tasks": (edited(lambda s: s.pop("tasks")), "'tasks' is a required property"),
    "misspelt key": (edited(lambda s: s["tasks"][0].update(promt="x")), "tasks.one: Additional properties"),
    "one language": (edited(lambda s: s["tasks"][0].update(prompt={"zh": "x"})), "tasks.one.prompt"),
    "model unknown": (edited(lambda s: s["tasks"][0].update(model="x")), "task one: no model 'x'; there are: m"),
    "check unknown": (edited(lambda s: s["tasks"][0]["checks"][0].update(kind="taste")), "tasks.one.checks.said.kind"),
    "check parameter": (
        edited(lambda s: s["tasks"][0]["checks"][0].update(group=1)),
        "tasks.one.checks.said: Additional",
    ),
    "check twice": (
        edited(lambda s: s["tasks"][0].update(checks=s["tasks"][0]["checks"] * 2)),
        "check 'said' is there twice",
    ),
    "task twice": (edited(lambda s: s.update(tasks=s["tasks"] * 2)), "task id 'one' is used twice"),
    "picture without kind": (
        edited(lambda s: s["tasks"][0].update(images=[{"file": "a.png", "sha256": "0" * 64}])),
        "task one: kind text and images do not go together",
    ),
    "no picture": (
        edited(lambda s: s["tasks"][0].update(kind="image", images=[{"file": "a.png", "sha256": "0" * 64}])),
        "a.png: cannot be read: No such file or directory; make it with: python -m tools.suite_images",
    ),
    "no repetition": (edited(lambda s: s["repetitions"].update(measured=0)), "repetitions.measured: minimum 1, not 0"),
    "wrong version": (edited(lambda s: s.update(schema_version=2)), "schema_version: const 1, not 2"),
    "extends nothing": (
        {"schema_version": 1, "id": "x", "title": "X", "extends": "no.yml", "keep": ["a"]},
        "no such suite",
    ),
    "extends itself": (
        {"schema_version": 1, "id": "x", "title": "X", "extends": "s.yml", "keep": ["a"]},
        "extends itself",
    ),
    "keeps nothing": (
        {"schema_version": 1, "id": "x", "title": "X", "extends": "b.yml"},
        "'keep' is a required property",
    ),
    "keeps unknown": (
        {"schema_version": 1, "id": "x", "title": "X", "extends": "base.yml", "keep": ["two"]},
        "keep: base.yml has no task 'two'; it has: one",
    ),
    "sweep of nothing": (
        edited(
            lambda s: s.update(
                probes={"concurrency": {"levels": [1], "task": "x", "max_tokens": 1, "repetitions": {"measured": 1}}}
            )
        ),
        "probes.concurrency.task: no task 'x'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_suite_is_refused(wrong: str, tmp_path: Path) -> None:
    content, message = WRONG[wrong]
    write(tmp_path, minimal(), "base.yml")
    path = write(tmp_path, content)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value) or "no such suite" in message
    assert "\n" not in str(caught.value)


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SUITES, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "images" / "scene.png").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(SuiteError, match=r"image-recognition: images/scene\.png: sha256 is .*changed or damaged"):
        load_suite(tmp_path / BLOG.name)


def test_a_language_that_does_not_exist() -> None:
    with pytest.raises(SuiteError, match="language 'de': no such language; one of zh, en"):
        load_suite(BLOG, "de")


def test_a_choice_of_tasks_keeps_the_digest() -> None:
    suite = load_suite(BLOG)
    chosen = select(suite, kinds=["text"])
    assert [task["id"] for task in chosen["tasks"]] == TEXT
    assert chosen["sha256"] == suite["sha256"]
    assert [task["id"] for task in select(suite, tasks=["algebra"])["tasks"]] == ["algebra"]
    with pytest.raises(SuiteError, match="has no task 'algebar'; it has: image-recognition"):
        select(suite, tasks=["algebar"])
    with pytest.raises(SuiteError, match="kind 'video'"):
        select(suite, kinds=["video"])
    with pytest.raises(SuiteError, match="no task of kind image is left"):
        select(suite, tasks=["algebra"], kinds=["image"])


def lookup(plugin: Callable[[str, str], ModuleType], *terms: str, **options: Any) -> list[dict[str, Any]]:
    plugin("lookup_plugins", "mi50_suite")
    found: list[dict[str, Any]] = lookup_loader.get("mi50_suite").run(list(terms), {}, **options)
    return found


def test_the_lookup_gives_cells_and_pictures(plugin: Callable[[str, str], ModuleType]) -> None:
    lookup_loader.add_directory(str(SUITES.parent / "lookup_plugins"))
    (found,) = lookup(plugin, "blog-2025-10", language="en", kinds=["image"], modes=["natural"], image_dir="/srv/i/")
    assert [cell["id"] for cell in found["cells"]] == [f"{name}.natural" for name in IMAGE]
    assert [Path(image["path"]).name for image in found["images"]] == [
        "scene.png",
        "story.png",
        "geometry.png",
        "notice-en.png",
    ]
    assert found["cells"][3]["task"]["images"][0]["path"] == "/srv/i/notice-en.png"
    assert lookup(plugin, "suites/smoke.yml")[0]["id"] == "smoke"
    with pytest.raises(AnsibleError, match="no such suite; suites in that folder: blog-2025-10-short"):
        lookup(plugin, "blog")
