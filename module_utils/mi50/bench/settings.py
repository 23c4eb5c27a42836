"""The parameters of a call, checked; the module and the command line both make these."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .roofline import Model
from .store import fingerprint, part
from .wire import Endpoint, Limits

TASK_KEYS = {
    "id", "kind", "probe", "title", "lang", "model", "prompt", "images", "max_tokens", "min_tokens", "sampling",
    "checks", "mode", "context", "concurrency", "lengths", "system",
}  # fmt: skip
_CHOICES = {
    "kind": ("text", "image"),
    "mode": ("natural", "fixed"),
    "probe": ("task", "slope", "depth", "concurrency"),
}


class SettingsError(ValueError):
    """A parameter is unusable; the text names it, the value and the way out."""


@dataclass(frozen=True)
class Task:
    """One cell's task, as a suite gives it."""

    id: str
    prompt: str
    kind: str = "text"
    probe: str = "task"
    title: str | None = None
    lang: str | None = None
    model: str | None = None
    images: list[dict[str, str]] = field(default_factory=list)
    max_tokens: int = 256
    min_tokens: int = 1
    sampling: dict[str, Any] = field(default_factory=dict)
    checks: list[Any] = field(default_factory=list)
    mode: str = "natural"
    context: int = 0
    concurrency: int = 1
    lengths: list[int] = field(default_factory=list)
    system: str = ""

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Task:
        """Check a task. Raises SettingsError."""
        unknown = sorted(set(raw) - TASK_KEYS)
        if unknown:
            raise SettingsError(f"task.{unknown[0]} is unknown; known are {', '.join(sorted(TASK_KEYS))}")
        values = {name: value for name, value in raw.items() if value is not None}
        values.setdefault("prompt", "")
        # A probe's prompt may be filler alone.
        for name in ("id", "prompt") if values.get("probe", "task") == "task" else ("id",):
            if not isinstance(values.get(name), str) or not values[name].strip():
                raise SettingsError(f"task.{name} is missing")
        for name, allowed in _CHOICES.items():
            if values.get(name, allowed[0]) not in allowed:
                raise SettingsError(f"task.{name} is {values[name]!r}; it is one of {', '.join(allowed)}")
        for name, least in (("max_tokens", 1), ("min_tokens", 0), ("context", 0), ("concurrency", 1)):
            values[name] = _count(values.get(name, cls.__dataclass_fields__[name].default), f"task.{name}", least)
        values["lengths"] = [_count(value, "task.lengths", 1) for value in values.get("lengths", [])]
        task = cls(**values)
        if task.kind == "image" and not task.images:
            raise SettingsError(f"task {task.id}: kind is image, but there are no images")
        if task.probe == "slope" and (len(task.lengths) != 2 or task.lengths[0] >= task.lengths[1]):
            raise SettingsError(f"task {task.id}: probe slope needs two lengths, the shorter first, not {task.lengths}")
        return task

    def cell_id(self, model_key: str) -> str:
        """Return the cell's id, fit for file names."""
        parts = [part(model_key), part(self.id), self.mode]
        parts += [part(self.lang)] if self.lang else []
        parts += [f"d{self.context}"] if self.context or self.probe == "depth" else []
        parts += [f"c{self.concurrency}"] if self.concurrency > 1 or self.probe == "concurrency" else []
        return ".".join(parts)


def _count(value: object, name: str, least: int) -> int:
    try:
        number = int(str(value))
    except ValueError as error:
        raise SettingsError(f"{name}: {value!r} is no whole number") from error
    if number < least:
        raise SettingsError(f"{name}: {number} is less than {least}")
    return number


def _like(value: object, default: object, name: str) -> object:
    """Return a value in the type of its default: templates make strings of everything."""
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[str(value).lower()]
        if isinstance(default, int):
            return int(str(value))
        if isinstance(default, float):
            return float(str(value))
    except (KeyError, ValueError) as error:
        raise SettingsError(f"{name}: {value!r} is no {type(default).__name__}") from error
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{name}: {value!r} is no list")
        return tuple(str(item) for item in value)
    if name == "measure.thermal" and value is False:
        return "off"  # YAML 1.1 reads the bare word so
    return str(value)


@dataclass(frozen=True)
class Measure:
    """How a cell is measured; seconds, degrees Celsius."""

    repeats: int = 6
    max_repeats: int = 12
    ci_target: float = 0.05
    warmups: int = 1
    thermal: str = "warm"
    preheat_cap: float = 600.0
    preheat_window: float = 20.0
    throttle_temp: float = 100.0
    sample_hz: float = 10.0
    controls: bool = True
    calibrate: bool = True
    load_timeout: float = 600.0
    connect_timeout: float = 10.0
    prefill_timeout: float = 1800.0
    stall_timeout: float = 30.0
    total_timeout: float = 7200.0
    keep_going: int = 2
    redo: tuple[str, ...] = ("SERVER_DIED", "TIMEOUT_CONNECT", "HTTP_503_LOADING", "GPU_RESET", "DIRTY_BASELINE")

    @classmethod
    def parse(cls, raw: Mapping[str, Any] | None) -> Measure:
        """Check how it is measured. Raises SettingsError."""
        values = {name: value for name, value in (raw or {}).items() if value is not None}
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise SettingsError(f"measure.{unknown[0]} is unknown; known are {', '.join(cls.__dataclass_fields__)}")
        for name, value in values.items():
            values[name] = _like(value, cls.__dataclass_fields__[name].default, f"measure.{name}")
        measure = cls(**values)
        if measure.thermal not in ("warm", "idle", "off"):
            raise SettingsError(f"measure.thermal is {measure.thermal!r}; it is one of warm, idle, off")
        if measure.repeats < 1 or measure.max_repeats < measure.repeats:
            raise SettingsError(
                f"measure.repeats {measure.repeats} must be 1 or more, and max_repeats {measure.max_repeats} no less"
            )
        if measure.sample_hz <= 0:
            raise SettingsError(f"measure.sample_hz {measure.sample_hz}: more than nothing is needed")
        return measure

    def limits(self) -> Limits:
        """Return the limits of one request."""
        return Limits(
            self.connect_timeout, self.prefill_timeout, self.stall_timeout, self.total_timeout, self.load_timeout
        )


ENGINE_KEYS = {
    "name", "kind", "url", "api_key_file", "ca_file", "pid", "version", "commit", "image_digest", "backend"
}  # fmt: skip
MODEL_KEYS = {
    "key", "requested", "file", "sha256", "bytes", "format", "bpw", "kv_type", "mmproj_sha256", "context",
    "unsupported", "roofline",
}  # fmt: skip


def given(raw: Mapping[str, Any] | None, known: set[str], what: str, numbers: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the parameters that are set, numbers as numbers. Raises SettingsError for an unknown one."""
    values = {name: value for name, value in (raw or {}).items() if value is not None and value != ""}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"{what}.{unknown[0]} is unknown; known are {', '.join(sorted(known))}")
    for name in numbers:
        if name in values:
            values[name] = _count(values[name], f"{what}.{name}", 0)
    return values


@dataclass(frozen=True)
class Call:
    """Everything one call needs."""

    run: dict[str, Any]
    engine: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    measure: Measure = field(default_factory=Measure)
    roofline: Model | None = None
    gpu: str | None = None
    where: str = "node"

    @property
    def engine_name(self) -> str:
        """Return the engine's name in records and file names."""
        return str(self.engine.get("name") or part(self.engine["kind"]))

    @property
    def model_key(self) -> str:
        """Return the model's key."""
        return str(self.model.get("key") or self.model.get("requested") or "model")

    def endpoint(self) -> Endpoint:
        """Return where the server is, with the key. Raises SettingsError."""
        try:
            key = read_key(self.engine.get("api_key_file"))
            return Endpoint.parse(self.engine["url"], key, self.engine.get("ca_file"))
        except ValueError as error:
            raise SettingsError(f"engine: {error}") from error

    def mark(self, task: Task) -> str:
        """Return the digest of what defines the cell: a change of it is another measurement."""
        engine = {
            name: self.engine.get(name) for name in ("kind", "url", "version", "commit", "image_digest", "backend")
        }
        measure = {name: getattr(self.measure, name) for name in ("repeats", "max_repeats", "thermal", "controls")}
        return fingerprint(vars(task), engine, self.model, measure, self.run.get("suite_sha256"))


def read_key(path: str | None) -> str | None:
    """Read an API key from a file that only its owner may read. Raises SettingsError."""
    if not path:
        return None
    try:
        mode = Path(path).stat().st_mode
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"engine.api_key_file {path} cannot be read: {getattr(error, 'strerror', 'not ASCII')}"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"engine.api_key_file {path} can be read by others; chmod 0600 {path}")
    if not text or any(character.isspace() for character in text):
        raise SettingsError(f"engine.api_key_file {path} must hold one key on one line")
    return text
