"""Have models on a node: look, judge, reckon the space, and only then fetch; each takes its place whole and proven."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..fetch import record as records
from . import fit, hub, remote, shape, store
from .errors import ModelError
from .fetch import bring, partial, same_disk
from .progress import Progress
from .wanted import HUBS, File, Wanted

RESERVE_BYTES = 1 << 30  # left free for the node itself


class Need(NamedTuple):
    """One model that is not there as asked for, and why; `wanted` is complete: every file, its size where known."""

    asked: Wanted
    wanted: Wanted
    why: str


class Surroundings(NamedTuple):
    """Where things are: the store, the hubs, the cards' memory in bytes, where progress is told."""

    store: Path
    hubs: hub.Endpoints
    vram: tuple[int, ...] = ()
    progress: Path | None = None
    root: Path = Path("/")


def ensure(
    wanted: Sequence[Wanted],
    absent: Sequence[str],
    around: Surroundings,
    *,
    check_mode: bool = False,
    reread: bool = False,
) -> dict[str, Any]:
    """Have every model, and none of `absent`; return the module's result. Raises ModelError, FetchError.

    Nothing is asked when all are there. `reread` reads every byte again. A second run waits for the first.
    """
    clash = sorted({model.name for model in wanted} & set(absent))
    if clash:
        raise ModelError(
            f"{', '.join(clash)}: is asked for and to be removed at once. Take it out of one of the lists."
        )
    if check_mode:
        needs, fits, removed, present = _plan(wanted, absent, around, reread)
        return _result(needs, fits, removed, present, around, wanted, check_mode=True)
    with store.locked(around.store):
        needs, fits, removed, present = _plan(wanted, absent, around, reread)
        received = _apply(needs, around)
        for name in removed:
            store.remove(around.store, name, around.root)
        result = _result(needs, fits, removed, present, around, wanted, check_mode=False)
    return {**result, "bytes_received": received}


def _plan(
    wanted: Sequence[Wanted], absent: Sequence[str], around: Surroundings, reread: bool
) -> tuple[list[Need], dict[str, Any], list[str], list[str]]:
    needs, fits, present = [], {}, []
    for model in wanted:
        why = look(model, around.store, reread=reread)
        whole = _complete(model, around.hubs) if why else model
        fits[model.name] = judge(whole, around, there=not why)
        if why:
            needs.append(Need(model, whole, why))
        else:
            present.append(model.name)
    removed = [
        name for name in absent if (around.store / name).exists() or (around.store / store.INCOMING / name).exists()
    ]
    for name in removed:
        serving = store.users(around.store, name, around.root)
        if serving:
            raise ModelError(f"{name}: is used by {', '.join(serving)}; it is not removed. Change those engines first.")
    return needs, fits, removed, present


def remarks(result: Mapping[str, Any]) -> list[str]:
    """Return what people should hear about a result: moving revisions, tight or unchecked fits."""
    said = []
    for model in result["models"]:
        if not model["pinned"]:
            said.append(f"{model['name']}: nothing pins it: give a commit as revision, or the sha256 of its files.")
        verdict = model["fit"]
        if verdict and (verdict["ok"] is None or verdict.get("tight")):
            said.append(verdict["text"] if verdict["ok"] is None else f"tight: {verdict['text']}.")
    return said


def card_memory(seen: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the bytes of every gfx906 card in the order of their addresses, from what amdgpu_info returns."""
    cards = sorted(
        (card for card in seen["gpus"] if card["pci_address"] in seen["gfx906"]), key=lambda one: one["pci_address"]
    )
    return tuple(int(card["vram_total"]) for card in cards if card["vram_total"])


def look(model: Wanted, folder: Path, *, reread: bool = False) -> str:
    """Say what a model in the store lacks; empty when nothing."""
    entry = store.load(folder, model.name)
    if entry is None:
        return "unknown files lie there" if (folder / model.name).exists() else "missing"
    if entry.identity != model.identity:
        return "asked for otherwise than before"
    bad = store.wrong(folder, entry)
    # The date of a file says little: its bytes decide, and are read where the date changed or all are to be read.
    if not bad and not reread:
        return ""
    for file in entry.files:
        with contextlib.suppress(OSError):
            if records.sha256_of(folder / model.name / file.path) == file.sha256:
                continue
        return f"damaged: {file.path} is not what was proven"
    renewed = [file._replace(mtime_ns=(folder / model.name / file.path).stat().st_mtime_ns) for file in entry.files]
    with contextlib.suppress(OSError):
        store.save(folder / model.name, entry._replace(files=tuple(renewed)))
    return ""


def judge(model: Wanted, around: Surroundings, *, there: bool) -> dict[str, Any] | None:
    """Say whether a model fits on the cards as its `check` asks, before it is fetched; None when nothing was asked.

    Raises ModelError when it does not.
    """
    if not model.check:
        return None
    ask = fit.Ask(**model.check)
    cards = ask.tensor * ask.pipeline
    if not around.vram:
        return {"ok": None, "text": f"{model.name}: no gfx906 card is seen here; whether it fits was not checked."}
    if len(around.vram) < cards:
        raise ModelError(f"{model.name}: is to run on {cards} cards, {len(around.vram)} are there.")
    shaped, extra = _shape(model, around, there)
    verdict = fit.judge(shaped, ask._replace(extra=extra), around.vram[:cards])
    if not verdict.ok:
        raise ModelError(f"{verdict.text} Nothing was fetched.")
    return {"ok": True, "tight": verdict.tight, "left": verdict.left, "context": verdict.context, "text": verdict.text}


def _shape(model: Wanted, around: Surroundings, there: bool) -> tuple[shape.Model, int]:
    if there:
        entry = store.load(around.store, model.name)
        files = tuple(File(one.path, one.sha256, one.size) for one in entry.files) if entry else ()
        return remote.local(around.store / model.name, model.name), remote.projector_bytes(files)
    if model.source == "path":
        return remote.local(Path(model.place), model.name), remote.projector_bytes(model.files)
    return remote.model(model, around.hubs), remote.projector_bytes(model.files)


def _complete(model: Wanted, hubs: hub.Endpoints) -> Wanted:
    """Return the model with the list of its files."""
    if model.source == "path":
        return _complete_path(model)
    # With digests given the hub's list is not needed, and a plain mirror of the files is enough.
    if model.source in HUBS and not (model.files and all(file.sha256 for file in model.files)):
        return hub.complete(model, hubs)
    headers = hubs.headers(model.source)
    files = [
        file if file.size else file._replace(size=hub.size(hub.address(model, file.path, hubs), headers, hubs.timeout))
        for file in model.files
    ]
    return model._replace(files=tuple(files))


def _complete_path(model: Wanted) -> Wanted:
    place = Path(model.place)
    if not place.exists():
        raise ModelError(f"{model.name}: {place} does not exist on this node.")
    base = place.parent if place.is_file() else place
    listed = [place] if place.is_file() else [base / file.path for file in model.files]
    if not listed:
        listed = sorted(path for path in base.rglob("*") if path.is_file() and not path.name.startswith("."))
    given = {file.path: file for file in model.files}
    files = []
    for path in listed:
        name = str(path.relative_to(base))
        if not path.is_file():
            raise ModelError(f"{model.name}: {path} is no file.")
        files.append(given.get(name, File(name))._replace(size=path.stat().st_size))
    if not any(file.path.endswith((".gguf", ".safetensors")) for file in files):
        raise ModelError(f"{model.name}: {place} holds no .gguf and no .safetensors file.")
    return model._replace(place=str(base), files=tuple(files))


def _apply(needs: Sequence[Need], around: Surroundings) -> int:
    if not needs:
        return 0
    known = store.by_digest(around.store)
    _check_space(needs, known, around)
    total = sum(file.size or 0 for need in needs for file in need.wanted.files)
    progress = Progress(around.progress, total)
    try:
        return sum(
            bring(need.wanted, need.asked.identity, around.store, around.hubs, known, progress) for need in needs
        )
    except OSError as error:
        full = " The disk is full: free some space there." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise ModelError(f"{error.filename or around.store}: cannot be written: {error.strerror}.{full}") from None
    finally:
        progress.close()


def _check_space(needs: Sequence[Need], known: Mapping[tuple[str, int], Path], around: Surroundings) -> None:
    """Raise ModelError when what is to come does not fit; what is here already, and linked, takes nothing."""
    coming = 0
    for need in needs:
        folder = around.store / store.INCOMING / need.wanted.name
        for file in need.wanted.files:
            if (file.sha256, file.size or 0) in known:
                continue
            here = [folder / file.path, partial(folder / file.path)]
            coming += max(0, (file.size or 0) - max((path.stat().st_size for path in here if path.exists()), default=0))
            if need.wanted.source == "path" and same_disk(Path(need.wanted.place), around.store):
                coming -= file.size or 0
    free = shutil.disk_usage(around.store).free
    if coming + RESERVE_BYTES > free and coming > 0:
        unused = store.unused(around.store, {need.wanted.name for need in needs})
        hint = f" Of models nobody asks for, {', '.join(one['name'] for one in unused)} lie there." if unused else ""
        raise ModelError(
            f"{around.store}: {coming / 1e9:.1f} GB are to come and {RESERVE_BYTES / 1e9:.1f} GB stay free, but only "
            f"{free / 1e9:.1f} GB are free. Nothing was fetched. Free some space, or give another models_dir.{hint}"
        )


def _result(
    needs: Sequence[Need],
    fits: Mapping[str, Any],
    removed: Sequence[str],
    present: Sequence[str],
    around: Surroundings,
    wanted: Sequence[Wanted],
    *,
    check_mode: bool,
) -> dict[str, Any]:
    """Return what Ansible shows; models in the order asked for."""
    whole = {need.wanted.name: need for need in needs}
    listed = []
    for model in wanted:
        need, entry = whole.get(model.name), store.load(around.store, model.name)
        files = entry.files if entry and not (need and check_mode) else ()
        size = (
            sum(file.size for file in files) if files else sum(f.size or 0 for f in (need.wanted.files if need else ()))
        )
        listed.append(
            {
                "name": model.name,
                "path": str(around.store / model.name),
                "why": need.why if need else "",
                "bytes": size,
                "files": [{"path": one.path, "sha256": one.sha256, "size": one.size} for one in files],
                "pinned": model.pinned,
                "fit": fits.get(model.name),
            }
        )
    text = "".join(f"+ {need.wanted.name} ({need.why})\n" for need in needs)
    gone = "".join(f"- {name}\n" for name in removed)
    return {
        "changed": bool(needs or removed),
        "models": listed,
        "present": list(present),
        "removed": list(removed),
        "unused": [
            one for one in store.unused(around.store, {model.name for model in wanted}) if one["name"] not in removed
        ],
        "diff": {"before": gone, "after": text},
    }
