"""HAProxy's files. Data in, text out; no secret is in the configuration, so its diff can be shown.

Two hops inside one HAProxy: `model-…` chooses a node for a request, `engine-…` adds that node's key. The header cannot
be set earlier, because HAProxy runs its rules before it chooses a server, and nodes have keys of their own.
A request is tried again on another node only while it has not been sent: `engine-…` closes without a word when it gets
no connection, which `model-…` takes for an empty response; what breaks later is answered with 502 and stays broken.
Written for HAProxy 2.6 (Debian 12) and 2.8 (Ubuntu 24.04).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from ..addresses import joined
from .model import FOLDER, RUN, STATE, Engine, Settings

# Room beside the body for the request's head and HAProxy's own blocks.
_ROOM = 1 << 16
_READY = {"lmstudio": "/v1/models", "ollama": "/v1/models", "openai": "/v1/models"}
_JSON = "content-type application/json"

HEAD = "# Managed by Ansible (mi50-aipc, role gateway); changes are overwritten.\n"
_GLOBAL = """\
global
    log stdout format raw daemon
    maxconn {connections}
    # A request's body decides where it goes: all of it has to fit.
    tune.bufsize {buffer}
    hard-stop-after {timeout}s
    server-state-file {state}
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

defaults models
    mode http
    log global
    log-format "%[var(txn.client)] %[var(txn.served)] %s %HM %HP %ST %tsc queue=%Tw first=%Tr all=%Ta bytes=%B"
    option dontlognull
    option http-server-close
    option http-no-delay
    option abortonclose
    option clitcpka
    option redispatch 1
    load-server-state-from-file global
    retries 3
    # Nothing but a server that was never reached: what was sent once is never sent again.
    retry-on conn-failure empty-response
    timeout http-request 30s
    timeout http-keep-alive 60s
    timeout connect 5s
    timeout client-fin 30s
    timeout queue {queue}s
    timeout client {timeout}s
    timeout server {timeout}s
    timeout tunnel {timeout}s
{errors}
defaults engines
    mode http
    no log
    option http-server-close
    option http-no-delay
    option abortonclose
    option srvtcpka
    # A node that lost its power says nothing: its streams end after half a minute.
    srvtcpka-idle 15s
    srvtcpka-intvl 5s
    srvtcpka-cnt 3
    load-server-state-from-file global
    http-reuse never
    retries 0
    errorfile 503 /dev/null
{broken}    timeout connect 3s
    timeout check 5s
    timeout client-fin 30s
    timeout client {timeout}s
    timeout server {timeout}s
    timeout tunnel {timeout}s
"""
_FRONTEND = """
frontend gateway from models
    bind {bind}{tls}
    http-request return status 200 {json} string '{{"status":"ok"}}' if METH_GET {{ path /health }}
    # Keys are looked up by their digest: none stands in a file that HAProxy reads.
    http-request set-var(txn.client) http_auth_bearer,sha2(256),hex,map_str({folder}/clients.map)
    acl known var(txn.client) -m found
    http-request set-var(txn.client) req.hdr(x-api-key),sha2(256),hex,map_str({folder}/clients.map) if !known
    http-request return status 401 {json} hdr WWW-Authenticate Bearer string '{unauthorized}' unless known
    http-request del-header Authorization
    http-request del-header X-Api-Key
    http-request return status 200 {json} file {folder}/models.json if METH_GET {{ path /v1/models }}
    # Not by a regular expression: HAProxy compiles those to machine code in memory, which the unit forbids it.
    acl odd path -m sub . // %
    http-request return status 404 {json} string '{no_path}' unless METH_POST {{ path_beg /v1/ }} !odd
    http-request return status 413 {json} string '{too_long}' if {{ req.body_size gt {body} }}
    http-request wait-for-body time 30s
    http-request set-var(txn.model) req.body,json_query('$.model')
    http-request return status 400 {json} string '{no_model}' unless {{ var(txn.model) -m found }}
    http-request set-var(txn.backend) var(txn.model),map_str({folder}/models.map)
    http-request return status 404 {json} lf-string '{unknown}' unless {{ var(txn.backend) -m found }}
    http-request set-var(txn.served) var(txn.model)
    use_backend %[var(txn.backend)]
"""
_METRICS = """
frontend metrics from models
    bind {bind}
    no log
    http-request use-service prometheus-exporter if METH_GET {{ path /metrics }}
    http-request return status 404 content-type text/plain string "metrics are at /metrics"
"""
_LOOKS = (
    "inter {interval}s fastinter 1s downinter {interval}s fall 3 rise 2 observe layer4 error-limit 1 on-error mark-down"
)
_ENGINE = """
listen {proxy} from engines
    bind unix@{socket} mode 600
    option httpchk
{checks}{key}    server {name} {where} check {looks}
"""


def configuration(engines: Sequence[Engine], settings: Settings, folder: str = FOLDER) -> str:
    """`haproxy.cfg`; `folder` is where its other files lie (another one while a candidate is tried)."""
    errors = "".join(
        f"    http-error status {code} {_JSON} string '{_error(text, kind)}'\n" for code, text, kind in _ERRORS
    )
    broken = "".join(line for line in errors.splitlines(keepends=True) if " status 503 " not in line)
    given = {
        "timeout": settings.timeout,
        "queue": settings.queue_timeout,
        "errors": errors,
        "broken": broken,
        "state": STATE,
    }
    text = HEAD + _GLOBAL.format(connections=settings.max_connections * 4, buffer=settings.max_body + _ROOM, **given)
    text += _FRONTEND.format(
        bind=joined(settings.bind, settings.port) + f" maxconn {settings.max_connections}",
        tls=f" ssl crt {folder}/tls.pem alpn h2,http/1.1" if settings.certificate else "",
        json=_JSON,
        folder=folder,
        body=settings.max_body,
        unauthorized=_error("The API key is missing or wrong.", "invalid_request_error", "invalid_api_key"),
        no_path=_error("Known here: GET /v1/models, and POST below /v1 with a model.", "invalid_request_error"),
        too_long=_error(f"The request is longer than {settings.max_body} bytes (gateway_max_body).",
                        "invalid_request_error"),
        no_model=_error(f"The request names no model, is no JSON, or is longer than {settings.max_body} bytes.",
                        "invalid_request_error"),
        unknown=_error("The model `%[var(txn.model),json(utf8s)]` does not exist.", "invalid_request_error",
                       "model_not_found"),
    )  # fmt: skip
    text += _METRICS.format(bind=joined(settings.metrics_bind, settings.metrics_port))
    for model, proxy in proxies(engines).items():
        text += f"\nbackend {proxy} from models\n    balance leastconn\n"
        text += "    http-response set-header X-Served-By %[srv_name]\n"
        for engine in engines:
            if model in engine.models:
                text += f"    server {engine.name} unix@{_socket(engine)} track {_proxy(engine)}/{engine.name}"
                text += f" maxconn {engine.slots}\n" if engine.slots else "\n"
    return text + "".join(_engine(engine, settings, folder) for engine in engines)


def others(engines: Sequence[Engine], clients: Mapping[str, str]) -> dict[str, str]:
    """What lies beside the configuration and holds no secret, by name; `clients`: name to key."""
    digests = sorted((hashlib.sha256(key.encode()).hexdigest().upper(), name) for name, key in clients.items())
    models = proxies(engines)
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "mi50-aipc"} for name in models]
    return {
        "clients.map": "".join(f"{digest} {name}\n" for digest, name in digests),
        "models.map": "".join(f"{model} {proxy}\n" for model, proxy in models.items()),
        "nodes.map": "".join(f"{engine.name} {engine.node}\n" for engine in engines),
        "models.json": json.dumps({"object": "list", "data": rows}) + "\n",
    }


def engine_keys(keys: Mapping[str, str]) -> str:
    """`engines.map`, the one file with secrets: an engine's name and its key."""
    return "".join(f"{name} {key}\n" for name, key in sorted(keys.items()))


def proxies(engines: Sequence[Engine]) -> dict[str, str]:
    """Name of each model's backend in HAProxy, readable and without two that are the same."""
    models = sorted({model for engine in engines for model in engine.models})
    found: dict[str, str] = {}
    for model in models:
        name = "model-" + re.sub(r"[^A-Za-z0-9_.:-]", "_", model)
        found[model] = name if name not in found.values() else f"{name}-{_short(model)}"
    return found


def _engine(engine: Engine, settings: Settings, folder: str) -> str:
    bearer = f'"Bearer %[str({engine.name}),map_str({folder}/engines.map)]"' if engine.key else ""
    ask = f" ver HTTP/1.1 hdr Host {engine.node}" + (f" hdr Authorization {bearer}" if bearer else "")
    checks = ""
    for path in dict.fromkeys((_READY.get(engine.kind, "/health"), "/v1/models")):
        checks += f"    http-check connect\n    http-check send meth GET uri {path}{ask}\n"
        checks += "    http-check expect status 200\n"
    # Ollama's list adds the tag that means the newest.
    end = "" if engine.kind == "ollama" else '"'
    checks += "".join(f"    http-check expect string '\"{model}{end}'\n" for model in engine.models)
    return _ENGINE.format(
        proxy=_proxy(engine),
        socket=_socket(engine),
        checks=checks,
        key=f"    http-request set-header Authorization {bearer}\n" if bearer else "",
        name=engine.name,
        where=engine.where,
        looks=_LOOKS.format(interval=settings.check_interval),
    )


def _proxy(engine: Engine) -> str:
    return f"engine-{engine.name}"


def _socket(engine: Engine) -> str:
    """Short, because the path of a socket may have 107 bytes, of which HAProxy wants some while it reloads."""
    return f"{RUN}/{_short(engine.name)}.sock"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _error(text: str, kind: str, code: str | None = None) -> str:
    """An error as OpenAI's API shapes it; single quotes would end HAProxy's own."""
    return json.dumps({"error": {"message": text, "type": kind, "param": None, "code": code}}, separators=(",", ":"))


_ERRORS = (
    (400, "The request is no proper HTTP.", "invalid_request_error"),
    (408, "The request did not arrive in time.", "invalid_request_error"),
    (500, "The gateway failed.", "server_error"),
    (502, "The engine broke off before it answered. The request was not repeated.", "server_error"),
    (503, "No node that serves this model is up, or none became free in time.", "server_error"),
    (504, "The engine did not answer in time.", "server_error"),
)
