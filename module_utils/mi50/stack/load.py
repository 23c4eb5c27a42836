"""Read a stack file and check it against `stacks/schema.json`.

Every complaint is one message with the file, the place in it, the value and the way out.
"""

from __future__ import annotations

import copy
import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checked import Checked

try:
    import yaml

    HAS_LIBRARIES = True
except ImportError:  # a managed node never loads stacks; only the controller has it
    HAS_LIBRARIES = False

if TYPE_CHECKING:
    import jsonschema

Stack = dict[str, Any]
Parsed = Any  # what a YAML or JSON parser returns
_SHOWN = 80  # characters of a wrong value worth printing

# (path, mtime_ns, size) of stack and schema -> parsed stack. One play looks a stack up many times.
_CACHE: dict[tuple[Any, ...], Stack] = {}


class StackError(Exception):
    """A stack, lock or name that cannot be used; the text is meant for the user as it is."""


def known_stacks(stacks_dir: Path) -> list[str]:
    """Names of the stacks in a folder, sorted; lock files are not stacks."""
    return sorted(p.name[: -len(".yml")] for p in stacks_dir.glob("*.yml") if not p.name.endswith(".lock.yml"))


def nearest(name: str, known: list[str]) -> str | None:
    """Return the known name that looks most like `name`, or None when nothing comes near."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return found[0] if found else None


def load_stack(name: str, stacks_dir: Path) -> Stack:
    """Return the validated stack `name` from `stacks_dir` (a private copy).

    Raises StackError for an unknown name, unreadable YAML or content the schema refuses.
    """
    if not HAS_LIBRARIES:
        raise StackError("PyYAML and jsonschema are needed on the controller: pip install -r requirements.txt")
    path = stacks_dir / f"{name}.yml"
    if not isinstance(name, str) or "/" in name or not path.is_file():
        raise StackError(_unknown(str(name), stacks_dir))
    schema_path = stacks_dir / "schema.json"
    if not schema_path.is_file():
        schema_path = Path(__file__).resolve().parents[3] / "stacks" / "schema.json"
    key = (*_stamp(path), *_stamp(schema_path))
    if key not in _CACHE:
        data = read_yaml(path)
        checked = Checked(path, schema_path)
        if not checked.before():
            validate(data, json.loads(schema_path.read_text(encoding="utf-8")), path)
            _check_consistency(data, path)
            checked.remember()
        _CACHE[key] = data
    return copy.deepcopy(_CACHE[key])


def read_yaml(path: Path) -> Parsed:
    """Parse a YAML file. Raises StackError naming the file and the line."""
    try:
        # libyaml's loader where PyYAML has it: every worker of a play parses these files.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    except (OSError, UnicodeDecodeError) as exc:
        raise StackError(f"{path}: cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise StackError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc


def validate(data: Parsed, schema: dict[str, Any], path: Path) -> None:
    """Check parsed data against a JSON schema. Raises StackError with all complaints, the deepest of each branch."""
    try:
        # Here and not above: the import takes a tenth of a second, and a stack that was checked before needs none.
        import jsonschema  # noqa: PLC0415
    except ImportError as exc:
        raise StackError("jsonschema is needed on the controller: pip install -r requirements.txt") from exc
    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(data), key=lambda e: [str(part) for part in e.absolute_path])
    if errors:
        lines = [_complaint(error) for error in map(_deepest, errors)]
        raise StackError(f"{path}: not a valid stack: " + "; ".join(lines) + f". The rules are in {schema_name(path)}.")


def _deepest(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """Return the cause inside an if/then branch, which says more than the branch itself."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - see validate

    found = best_match([error])
    return found if found is not None else error


def schema_name(path: Path) -> str:
    """Return what to call the schema in a message about `path`."""
    return f"{path.parent.name}/schema.json"


def _complaint(error: jsonschema.ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "top level"
    schema = error.schema if isinstance(error.schema, dict) else {}
    hint = f" ({schema['description']})" if schema.get("description") else ""
    if error.validator in ("additionalProperties", "required"):
        return f"{where}: {error.message}"
    value = json.dumps(error.instance, default=str)
    if len(value) > _SHOWN:
        value = value[: _SHOWN - 3] + "..."
    if error.validator == "type":
        return f"{where}: {value} is not of type {error.validator_value}; quote it or correct it{hint}"
    if error.validator == "pattern":
        return f"{where}: {value} does not match {error.validator_value}{hint}"
    return f"{where}: {error.message}{hint}"


def _check_consistency(data: Stack, path: Path) -> None:
    """Refuse what a schema cannot see: names that must agree or exist. Raises StackError."""
    expected = path.name[: -len(".yml")]
    if data["name"] != expected:
        raise StackError(f"{path}: name: {data['name']!r} must equal the file name, {expected!r}")
    names = [artifact["name"] for artifact in data["artifacts"]]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            raise StackError(
                f"{path}: artifacts: the name {name!r} is used {names.count(name)} times; names are unique"
            )
    for source, spec in data["gfx906_rocblas"]["sources"].items():
        if spec["artifact"] is not None and spec["artifact"] not in names:
            raise StackError(
                f"{path}: gfx906_rocblas.sources.{source}.artifact: no artifact is called {spec['artifact']!r}"
            )
    _check_builds(data, path)
    for where, mapping in walk_mappings(data):
        if "base" in mapping and mapping["base"] not in data["bases"]:
            raise StackError(
                f"{path}: {where}.base: {mapping['base']!r} is not among bases: {', '.join(sorted(data['bases']))}"
            )


def _check_builds(data: Stack, path: Path) -> None:
    """Refuse builds that name artifacts which are not there, or are of another kind. Raises StackError."""
    kinds = {artifact["name"]: artifact["kind"] for artifact in data["artifacts"]}
    for build in data.get("builds", []):
        wanted = [(build["artifact"], "git"), *((one["artifact"], "file") for one in build.get("downloads", []))]
        wanted += [(index, "wheel-index") for index in build.get("indexes", [])]
        for name, kind in wanted:
            if kinds.get(name) != kind:
                raise StackError(f"{path}: builds.{build['name']}: no artifact of kind {kind} is called {name!r}")


def walk_mappings(node: Parsed, where: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return every mapping of a parsed document with its dotted place."""
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(node, dict):
        found.append((where, node))
        for key, value in node.items():
            found.extend(walk_mappings(value, f"{where}.{key}" if where else str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            found.extend(walk_mappings(value, f"{where}.{index}"))
    return found


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size


def _unknown(name: str, stacks_dir: Path) -> str:
    known = known_stacks(stacks_dir)
    if not known:
        return (
            f"mi50_stack: {name!r}: there are no stack files in {stacks_dir}; set mi50_stacks_dir to the "
            "folder that holds them"
        )
    near = nearest(name, known)
    guess = f"; did you mean {near!r}?" if near else "."
    return f"mi50_stack: unknown stack {name!r}{guess} Known in {stacks_dir}: {', '.join(known)}"
