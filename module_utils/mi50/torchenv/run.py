"""Entry point of the module `torch_env`: one step of the role, under the lock of the folder of the environments."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import dists, records, venv
from .look import KEEP, Look, look
from .model import MARK, RECORD, TorchEnvError, Wanted, current, packages, wanted
from .question import facts


def run(options: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Do what is asked; return the module's result. Raises TorchEnvError for everything a user can put right."""
    if options["state"] == "absent":
        return _absent(options, check_mode=check_mode)
    step = options["step"]
    if step == "look" or check_mode:
        return _look(options, check_mode=check_mode)
    with _locked(Path(options["root"])):
        return {"build": _build, "finish": _finish, "verify": _verify}[step](options)


def _look(options: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """What there is and what would be done. In check mode a later step says `changed` for it."""
    seen = look(options)
    planned = plan(seen)
    result = {"changed": False, "settled": seen.settled, "plan": planned, "missing_packages": [], **facts(seen)}
    result["generation"] = str(seen.generation) if seen.generation and seen.build == KEEP else None
    if seen.build != KEEP or seen.others is not None or not seen.settled:
        # Only for a node that is to be changed: each of these starts the interpreter.
        from . import build, finish, interpreter  # noqa: PLC0415 - a settled node does not pay for compiling them

        if seen.build != KEEP:
            result["missing_packages"] = interpreter.probe(seen.asked).missing
        build.check_own(seen, None)
        finish.check_environments(seen)
    if options["step"] != "look":
        result["changed"] = bool(planned)
    result["diff"] = {"before": "", "after": "".join(f"{line}\n" for line in planned)} if check_mode else {}
    return result


def plan(seen: Look) -> list[str]:
    """Everything that is to be done, in words."""
    what = {"fresh": "torch is installed beside and put into use", "clone": "triton is put in beside and into use"}
    lines = [f"{seen.asked.link}: {what[seen.build]}: {'; '.join(seen.reasons)}"] if seen.build != KEEP else []
    if seen.build == KEEP:
        lines += [f"{seen.asked.link}: {reason}" for reason in seen.reasons]
    if seen.adopt:
        lines.append(f"{seen.asked.link}: the same torch was installed again")
    lines += [f"the compute proof: {len(seen.files)} files differ"] if seen.files else []
    return lines + [reason for child in seen.environments for reason in child.reasons()]


def _build(options: Mapping[str, Any]) -> dict[str, Any]:
    """Have a generation that is what is asked for; not in use yet unless it was before."""
    from . import build, finish  # noqa: PLC0415 - as above

    seen = look(options)
    finish.check_environments(seen)
    if seen.build != KEEP:
        made = build.build(seen, options)
        record = records.generation_record(made) or {}
        return {"changed": True, "generation": str(made), "unlocked": record.get("unlocked", []), "diff": _diff(seen)}
    build.check_own(seen, None)
    if (seen.adopt or seen.others is not None) and seen.generation and seen.record:
        # Installed again as it was, or the user added a package: only our record is behind.
        records.save(seen.generation / RECORD, {**seen.record, **dists.summary(packages(seen.generation))})
    return {"changed": False, "generation": str(seen.generation), "unlocked": [], "diff": _diff(seen)}


def _diff(seen: Look) -> dict[str, str]:
    return {"before": "", "after": "".join(f"{line}\n" for line in plan(seen))}


def _finish(options: Mapping[str, Any]) -> dict[str, Any]:
    """Prove the generation and put it into use; keep the environments on top."""
    from . import finish  # noqa: PLC0415 - as above

    before = look({**options, "generation": None})
    seen = look(options)
    generation = seen.generation
    if generation is None or seen.build != KEEP:
        raise TorchEnvError(f"{options['generation']}: is not what was built: {'; '.join(seen.reasons)}. Run again.")
    if seen.kernels:
        raise TorchEnvError(
            f"{generation}: its rocBLAS has no gfx906 kernels, so the first matrix product would abort. The role "
            "gfx906_rocblas puts them in; see what it said."
        )
    written = finish.program(options, check_mode=False)
    proof = (
        {"ok": True, "line": seen.proof["line"], "outcome": seen.proof["outcome"]}
        if seen.proof and seen.proof["ok"]
        else None
    )
    ran = proof is None
    proof = proof or finish.prove(generation, options)
    done = finish.use(before, generation, options)
    mended = finish.environments(seen._replace(build=before.build), generation)
    if not options["keep_wheels"]:
        shutil.rmtree(Path(options["cache_dir"]) / "wheels", ignore_errors=True)
    result = {"changed": bool(written or done or mended or (ran and proof["ok"])), "generation": str(generation)}
    after = look({**options, "generation": None})
    return {**result, **facts(after), "proof_outcome": proof["outcome"], "done": done + mended, "diff": written}


def _verify(options: Mapping[str, Any]) -> dict[str, Any]:
    """Read every file of torch and triton again, and compute again. Raises TorchEnvError."""
    from . import finish  # noqa: PLC0415 - as above

    seen = look(options)
    if seen.generation is None or seen.record is None or seen.build != KEEP:
        raise TorchEnvError(f"{seen.asked.link}: is not as the stack says: {'; '.join(seen.reasons)}. Run the role.")
    site = packages(seen.generation)
    found = dists.installed(site)
    damaged = dists.damaged(site, [found[name] for name in seen.record["family"]])
    if damaged:
        raise TorchEnvError(
            f"{site}: {len(damaged)} files are not as they were installed: {'; '.join(damaged[:5])}. Remove "
            f"{seen.generation}, and run the role."
        )
    proof = finish.prove(seen.generation, options)
    return {"changed": False, **facts(look(options)), "proof_outcome": proof["outcome"]}


def _absent(options: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Remove what the role made: the environments that are its own, the compute proof, fetched wheels."""
    asked = wanted(options)
    current(asked)  # refuses a link that is not ours
    mine = _mine(asked, options)
    if mine and not check_mode:
        with _locked(asked.root):
            for path in mine:
                if path.is_symlink() or path.is_file():
                    path.unlink()
                else:
                    venv.remove(path)
        for folder in _folders(options, asked):
            with contextlib.suppress(OSError):
                folder.rmdir()
    listing = "".join(f"{path}\n" for path in mine)
    return {"changed": bool(mine), "removed": [str(path) for path in mine], "diff": {"before": listing, "after": ""}}


def _mine(asked: Wanted, options: Mapping[str, Any]) -> list[Path]:
    found = [asked.link] if os.path.lexists(asked.link) else []
    if asked.root.is_dir():
        found += [path for path in sorted(asked.root.iterdir()) if records.load(path / MARK) is not None]
    found += [asked.store] if asked.store.is_dir() else []
    found += [path for file in options["files"] if (path := Path(file["path"])).exists()]
    cache = Path(options["cache_dir"]) / "wheels"
    return found + ([cache] if cache.is_dir() else [])


def _folders(options: Mapping[str, Any], asked: Wanted) -> list[Path]:
    """Folders that may be empty now, the inner ones first."""
    parents = {Path(file["path"]).parent for file in options["files"]}
    caches = {path / "__pycache__" for path in parents}
    for path in caches:
        if "mi50-aipc" in path.parts:
            shutil.rmtree(path, ignore_errors=True)
    ours = {folder for path in parents for folder in (path, *path.parents) if "mi50-aipc" in folder.parts}
    above = [asked.root.parent] if asked.root.parent.name == "mi50-aipc" else []
    return [*sorted(ours, key=lambda path: -len(path.parts)), asked.root, *above]


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the folder against a second run; the lock is on the directory itself: no file is left behind."""
    try:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise TorchEnvError(f"pytorch_root: {root}: {error.strerror}. Correct pytorch_root.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise TorchEnvError(f"{root}: another run is changing it at this moment. Wait for it and run again.") from None
    try:
        yield
    finally:
        os.close(handle)
        # What a refused run made for nothing.
        with contextlib.suppress(OSError):
            root.rmdir()
