"""Starts lmdeploy's server behind a key: the launcher that lies in its environment as mi50_lmdeploy.py.

lmdeploy takes keys as an argument alone (`--api-keys`), which `ps` shows. Here its application is wrapped before
uvicorn serves it, by the middleware that guards vLLM as well (mi50_key.py), which reads the key from a file.
Source: lmdeploy v0.12.3, lmdeploy/serve/openai/api_server.py, which calls `uvicorn.run(app=app, ...)`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main() -> None:
    """Run `lmdeploy` with this process's arguments. A server that cannot be guarded does not start."""
    uvicorn: Any = importlib.import_module("uvicorn")
    guard = importlib.import_module("mi50_key").RequireKey
    serve = uvicorn.run

    def guarded(app: Any, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - uvicorn's own
        return serve(guard(app), *arguments, **settings)

    # Before lmdeploy is imported: it must find this one under either name.
    uvicorn.run = guarded
    sys.argv[0] = "lmdeploy"
    importlib.import_module("lmdeploy.cli").run()


# lmdeploy starts workers by multiprocessing's spawn, which imports this file under another name.
if __name__ == "__main__":
    main()
