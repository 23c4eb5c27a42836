"""Read a suite: its tasks, prompts, images, checks and probes, resolved for one language.

A suite is written by hand (`suites/*.yml`), read on the controller and handed to the nodes as plain data. Every
complaint is one message with the file, the place in it, the value and the way out. PyYAML and jsonschema are needed
to read one, and only there: `sha256`, `select` and everything that the nodes call take plain data.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from .checks import KINDS

Suite = dict[str, Any]
LANGUAGES = ("zh", "en")
_PNG = b"\x89PNG\r\n\x1a\n"
_SHOWN = 80  # characters of a wrong value worth printing


class SuiteError(Exception):
    """A suite that cannot be used; the text is meant for the user as it is."""


def load_suite(path: Path, language: str = "zh") -> Suite:
    """Return the suite of a file, checked, resolved for one language, with its `sha256` and its `dir`.

    Prompts, titles and system texts become plain strings, a task's `images` a list of `{"file", "path", "sha256",
    "px", "bytes"}` (`file` relative to `dir`, `path` absolute), checks of other languages are left out.
    Raises SuiteError.
    """
    if language not in LANGUAGES:
        raise SuiteError(f"language {language!r}: no such language; one of {', '.join(LANGUAGES)}")
    data = _extended(path, ())
    _consistent(data, path)
    suite = _localised(data, path, language)
    suite["sha256"] = sha256(suite)
    suite["dir"] = str(path.parent.resolve())
    for task in suite["tasks"]:
        for image in task["images"]:
            image["path"] = str(path.parent.resolve() / image["file"])
    return suite


def sha256(suite: Suite) -> str:
    """Digest of everything in a resolved suite that decides what is measured; not of comments, order or folders."""
    content = {key: value for key, value in suite.items() if key not in ("sha256", "dir", "title")}
    content["tasks"] = [
        {**task, "images": [image["sha256"] for image in task["images"]]} for task in content.get("tasks", [])
    ]
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def select(suite: Suite, tasks: list[str] | None = None, kinds: list[str] | None = None) -> Suite:
    """Return the suite with the named tasks only, its `sha256` kept: the cells stay comparable with a whole run's.

    Raises SuiteError for a task or kind that the suite does not have, and for a choice that leaves nothing.
    """
    known = [task["id"] for task in suite["tasks"]]
    unknown = [name for name in tasks or [] if name not in known]
    if unknown:
        raise SuiteError(f"suite {suite['id']} has no task {unknown[0]!r}; it has: {', '.join(known)}")
    wrong = [kind for kind in kinds or [] if kind not in ("text", "image")]
    if wrong:
        raise SuiteError(f"kind {wrong[0]!r}: tasks are of kind text or image")
    chosen = [
        task for task in suite["tasks"] if (not tasks or task["id"] in tasks) and (not kinds or task["kind"] in kinds)
    ]
    if not chosen:
        raise SuiteError(f"suite {suite['id']}: no task of kind {', '.join(kinds or [])} is left")
    return {**suite, "tasks": chosen}


def _read(path: Path) -> dict[str, Any]:
    try:
        import yaml  # noqa: PLC0415 - the controller has it, a node need not
    except ImportError as exc:
        raise SuiteError("PyYAML is needed on the controller: pip install -r requirements.txt") from exc
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        near = ", ".join(sorted(found.name for found in path.parent.glob("*.yml"))) or "none"
        raise SuiteError(f"{path}: no such suite; suites in that folder: {near}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise SuiteError(f"{path}: cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise SuiteError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(data, dict):
        raise SuiteError(f"{path}: not a suite: a mapping is expected, this is {type(data).__name__}")
    return data


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's own content, or that of the suite it extends with the tasks it keeps."""
    if path.resolve() in seen:
        raise SuiteError(f"{path}: extends itself: {' -> '.join(p.name for p in (*seen, path))}")
    data = _read(path)
    _validate(data, path)
    if "extends" not in data:
        return data
    parent_path = path.parent / data["extends"]
    parent = _extended(parent_path, (*seen, path.resolve()))
    known = {task["id"]: task for task in parent["tasks"]}
    missing = [name for name in data["keep"] if name not in known]
    if missing:
        raise SuiteError(f"{path}: keep: {parent_path.name} has no task {missing[0]!r}; it has: {', '.join(known)}")
    changed = {key: value for key, value in data.items() if key not in ("extends", "keep", "modes")}
    own = {"modes": data["modes"]} if "modes" in data else {}
    return {**parent, **changed, "tasks": [{**known[name], **own} for name in data["keep"]]}


def _validate(data: dict[str, Any], path: Path) -> None:
    try:
        import jsonschema  # noqa: PLC0415 - see _read; the import takes a tenth of a second besides
        from jsonschema.exceptions import best_match  # noqa: PLC0415
    except ImportError as exc:
        raise SuiteError("jsonschema is needed on the controller: pip install -r requirements.txt") from exc
    schema = json.loads(_schema_path(path).read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(data)
    lines = []
    for error in sorted(errors, key=lambda e: [str(part) for part in e.absolute_path]):
        cause = best_match([error]) or error
        where = _place(data, list(cause.absolute_path))
        hint = (
            f" ({cause.schema['description']})"
            if isinstance(cause.schema, dict) and "description" in cause.schema
            else ""
        )
        value = "" if cause.validator in ("required", "additionalProperties") else f", not {_short(cause.instance)}"
        message = cause.message if not value else f"{cause.validator} {_short(cause.validator_value)}{value}"
        lines.append(f"{where}: {message}{hint}")
    if lines:
        raise SuiteError(f"{path}: not a valid suite: {'; '.join(lines)}. The rules are in suites/schema.json.")


def _schema_path(path: Path) -> Path:
    own = path.parent / "schema.json"
    return own if own.is_file() else Path(__file__).resolve().parents[3] / "suites" / "schema.json"


def _place(data: Any, parts: list[Any]) -> str:  # noqa: ANN401 - any YAML
    """Where in the file, with the id of a task or check instead of its number."""
    words = []
    for part in parts:
        data = data[part]
        name = data.get("id") if isinstance(part, int) and isinstance(data, dict) else None
        words.append(str(name if name is not None else part))
    return ".".join(words) or "top level"


def _short(value: Any) -> str:  # noqa: ANN401 - any YAML
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _consistent(data: dict[str, Any], path: Path) -> None:
    """What a schema cannot say: names that refer to something, ids that are used once."""
    problems = []
    ids = [task["id"] for task in data["tasks"]]
    problems += [f"task id {name!r} is used twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
    for task in data["tasks"]:
        if task["model"] not in data["models"]:
            problems.append(f"task {task['id']}: no model {task['model']!r}; there are: {', '.join(data['models'])}")
        if (task["kind"] == "image") != bool(task.get("images")):
            problems.append(f"task {task['id']}: kind {task['kind']} and images do not go together")
        names = [check["id"] for check in task["checks"]]
        problems += [
            f"task {task['id']}: check {name!r} is there twice" for name in set(names) if names.count(name) > 1
        ]
        problems += [
            f"task {task['id']}: check {check['id']}: kind {check['kind']!r} is unknown"
            for check in task["checks"]
            if check["kind"] not in KINDS
        ]
    sweep = data.get("probes", {}).get("concurrency", {}).get("task")
    if sweep is not None and sweep not in ids:
        problems.append(f"probes.concurrency.task: no task {sweep!r}; there are: {', '.join(ids)}")
    if problems:
        raise SuiteError(f"{path}: {'; '.join(problems)}")


def _localised(data: dict[str, Any], path: Path, language: str) -> Suite:
    suite = copy.deepcopy(data)
    suite["language"] = language
    suite["title"] = _text(suite["title"], language)
    for task in suite["tasks"]:
        for key in ("title", "prompt", "system"):
            if key in task:
                task[key] = _text(task[key], language).strip()
        task["checks"] = [
            {key: value for key, value in check.items() if key != "languages"}
            for check in task["checks"]
            if language in check.get("languages", LANGUAGES)
        ]
        task["images"] = [
            _image(image, path, task["id"])
            for image in task.get("images", [])
            if language in image.get("languages", LANGUAGES)
        ]
        if task["kind"] == "image" and not task["images"]:
            raise SuiteError(f"{path}: task {task['id']}: no image for language {language}")
    return suite


def _text(value: str | dict[str, str], language: str) -> str:
    return value if isinstance(value, str) else value[language]


def _image(image: dict[str, Any], path: Path, task: str) -> dict[str, Any]:
    """Look at an image file: there, unchanged, a PNG. Raises SuiteError."""
    where = f"{path}: task {task}: {image['file']}"
    try:
        data = (path.parent / image["file"]).read_bytes()
    except OSError as exc:
        raise SuiteError(
            f"{where}: cannot be read: {exc.strerror}; make it with: python -m tools.suite_images"
        ) from exc
    found = hashlib.sha256(data).hexdigest()
    if found != image["sha256"]:
        raise SuiteError(f"{where}: sha256 is {found}, the suite says {image['sha256']}: changed or damaged")
    if not data.startswith(_PNG):
        raise SuiteError(f"{where}: not a PNG file")
    return {"file": image["file"], "sha256": found, "px": list(struct.unpack(">II", data[16:24])), "bytes": len(data)}
