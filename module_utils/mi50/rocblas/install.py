"""state: present: look whether everything is there; what is not, renew() installs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import manifest as records
from . import names
from .drift import current as current_files
from .drift import find_drift, fulfils, same_origin, same_source
from .errors import RocblasError
from .identity import Identity, identify
from .manifest import Manifest
from .report import Change, deferred, result
from .request import Request


def present(request: Request, library: Path) -> dict[str, Any]:
    """Install the kernels of `src`, or prove that they are there; with `defer`, only tell which of the two it is."""
    record = records.load(library)
    drift = find_drift(record, library, current_files(library, request.gpu_arch), request) if record else {}
    if record and not any(drift.values()) and fulfils(record, request) and _still_the_source(record, library, request):
        return result(library, record.source, Change(unchanged=sorted(record.files)), {}, {})
    if request.defer:
        return deferred(library, request, drift)
    # Whatever reads a source is compiled on the node in every run that imports it: a third of an unchanged run's time.
    from .renew import renew  # noqa: PLC0415 - see above

    return renew(request, library, record, _src(request), drift)


def _src(request: Request) -> Path:
    if request.src is None:
        raise RocblasError("src: required for state: present.")
    if request.signature and not request.keyring:
        raise RocblasError("keyring: required with signature, e.g. /usr/share/keyrings/archlinux.gpg.")
    return Path(request.src)


def _still_the_source(record: Manifest, library: Path, request: Request) -> bool:
    if same_origin(record, request):
        return True
    src = _src(request)
    if request.defer and not os.path.lexists(src):
        return False  # not fetched yet; without defer that is an error
    identity = identify(src)
    if not same_source(record, src, identity, request):
        return False
    known = record.source["identity"], record.source.get("id")
    if known != (list(identity), request.source_id) and not request.check_mode:
        _refresh(library, record, identity, request.source_id)
    return True


def _refresh(library: Path, record: Manifest, identity: Identity, source_id: str | None) -> None:
    """Same bytes under a new date or from another place: note it, so that the next run need not hash them again."""
    changed = record._replace(source={**record.source, "identity": list(identity), "id": source_id})
    records.write_private(library / names.MANIFEST, records.dump(changed))
