"""Checks a document against the part of JSON Schema that schema.json uses, in words, and fills defaults."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    Json = Any  # any of its kinds, until it is checked

_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
_WORDS = {
    "object": "an object {…}",
    "array": "a list […]",
    "string": "a text in quotes",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}


def shown(value: object) -> str:
    """A value as the file has it, cut where it is long."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is(value: object, name: str) -> bool:
    if name == "boolean":
        return isinstance(value, bool)
    # In JSON, true is no number; in Python, True is 1. NaN and infinities are no JSON numbers either.
    if isinstance(value, bool):
        return False
    if isinstance(value, float) and not abs(value) < float("inf"):
        return False
    return isinstance(value, _TYPES[name])  # type: ignore[arg-type]  # a mapping of types and tuples of types


def check(value: Json, schema: dict[str, Any], place: str, problems: list[str]) -> Json:
    """The value with defaults filled in; each mistake becomes one line `place: value, what is wrong, way out`."""
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else list(wanted or [])
    if names and not any(_is(value, name) for name in names):
        words = " or ".join("true or false" if name == "boolean" else _WORDS[name] for name in names)
        problems.append(f"{place}: {shown(value)} is of the wrong kind; write {words}")
        return value
    if "enum" in schema and value not in schema["enum"]:
        choices = ", ".join(shown(choice) for choice in schema["enum"])
        problems.append(f"{place}: {shown(value)} is none of the choices; write one of {choices}")
    elif isinstance(value, dict):
        return _object(value, schema, place, problems)
    elif isinstance(value, list):
        return _array(value, schema, place, problems)
    elif isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value):
            hint = schema.get("description", f"it must match {schema['pattern']}")
            problems.append(f"{place}: {shown(value)} has the wrong form; {hint}")
    elif value is not None and not isinstance(value, bool):
        _range(value, schema, place, problems)
    return value


def _range(value: float, schema: dict[str, Any], place: str, problems: list[str]) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = " ".join(
            [*([f"from {low}"] if low is not None else []), *([f"to {high}"] if high is not None else [])]
        )
        problems.append(f"{place}: {shown(value)} is out of range; write a number {bounds}")


def _array(value: list[Any], schema: dict[str, Any], place: str, problems: list[str]) -> list[Any]:
    low, high = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not low <= len(value) <= high:
        wanted = f"{low}" if low == high else f"{low} to {high}" if "maxItems" in schema else f"at least {low}"
        problems.append(f"{place}: {len(value)} items; write {wanted}")
    item = schema.get("items", {})
    return [check(entry, item, f"{place}[{number}]", problems) for number, entry in enumerate(value)]


def _object(value: dict[str, Any], schema: dict[str, Any], place: str, problems: list[str]) -> dict[str, Any]:
    known = schema.get("properties", {})
    at = f"{place}." if place else ""
    for key in value:
        if key not in known:
            problems.append(f"{at}{key}: unknown key; remove it, or use one of {', '.join(known)}")
    for key in schema.get("required", []):
        if key not in value:
            problems.append(f"{at}{key}: missing; {known[key].get('description', 'it has no default')}")
    filled = {}
    for key, rule in known.items():
        if key in value:
            filled[key] = check(value[key], rule, f"{at}{key}", problems)
        elif "default" in rule:
            filled[key] = check(rule["default"], rule, f"{at}{key}", problems)
        elif rule.get("type") == "string" and "enum" not in rule and key not in schema.get("required", []):
            filled[key] = ""
    return filled
