"""One commit of a git repository, in a bare repository that a web server hands out."""

from __future__ import annotations

import os
from pathlib import Path

from .. import process
from .errors import MirrorError
from .files import Done
from .plan import Item
from .store import Store

_HOURS = 4 * 3600.0
# What git says where a server cannot hand out one commit alone.
_NO_SHALLOW = ("shallow", "not our ref", "unadvertised", "remote ref")


def fill(store: Store, item: Item) -> Done:
    """Have the commit; history only where the server gives nothing less. Raises MirrorError."""
    bare, commit, url = store.www / item.what["path"], item.what["commit"], item.source["url"]
    if not (bare / "HEAD").exists():
        bare.parent.mkdir(parents=True, exist_ok=True)
        _must(item, ["git", "init", "--quiet", "--bare", "--template=", str(bare)])
    git = ["git", f"--git-dir={bare}", "-c", "gc.auto=0"]
    before = _bytes(bare)
    mark = f"refs/heads/mi50/{commit}"
    if _git([*git, "rev-parse", "--quiet", "--verify", f"{mark}^{{tree}}"]).code:
        done = _git([*git, "fetch", "--quiet", "--no-tags", "--depth", "1", url, f"{commit}:{mark}"])
        said = done.errors.decode("utf-8", "replace").lower()
        if done.code and any(word in said for word in _NO_SHALLOW):
            _must(item, [*git, "fetch", "--quiet", "--no-tags", url, "+refs/heads/*:refs/upstream/heads/*"])
            _must(item, [*git, "fetch", "--quiet", url, "+refs/tags/*:refs/upstream/tags/*"])
            _must(item, [*git, "update-ref", mark, commit])
        elif done.code:
            raise MirrorError(f"{item.name}: {url}: {' '.join(said.split())[-400:]}. Check the address and the commit.")
    _must(item, [*git, "fsck", "--connectivity-only", "--no-dangling", mark])
    _must(item, [*git, "update-server-info"])
    # Who serves it may be another user than who filled it, and a transfer never keeps half a pack.
    paths = [path for path in bare.rglob("*") if path.is_file()]
    return Done(paths, {}, max(0, _bytes(bare) - before))


def _bytes(bare: Path) -> int:
    return sum(path.stat().st_size for path in bare.rglob("*.pack"))


def _git(argv: list[str]) -> process.Finished:
    # No question to a terminal; whose folder it is does not matter to who has just made it.
    settings = ["env", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory"]
    return process.run(
        [*settings, "GIT_CONFIG_VALUE_0=*", f"LC_ALL={os.environ.get('LC_ALL') or 'C.UTF-8'}", *argv], timeout=_HOURS
    )


def _must(item: Item, argv: list[str]) -> None:
    done = _git(argv)
    if done.code:
        said = " ".join(done.errors.decode("utf-8", "replace").split())[-400:]
        raise MirrorError(f"{item.name}: {item.source['url']}: {said}. Check the address and the commit.")
