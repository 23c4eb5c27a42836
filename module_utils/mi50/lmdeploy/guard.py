"""What a gfx906 card and lmdeploy's PyTorch engine can serve, judged by a model's config.json before it is started.

Facts: field note gfx906, 4 (the PyTorch engine alone is built for ROCm; no report of gfx906 was found), 3.4 (dtypes);
lmdeploy v0.12.3, lmdeploy/pytorch/nn/linear/__init__.py (awq, smooth_quant, fp8, nothing else), lmdeploy/cli/utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..vllm import guard as cards

SPEC: dict[str, dict[str, Any]] = {
    "model": {"type": "path", "required": True},
    "alias": {"type": "str", "default": ""},
    "backend": {"type": "str", "default": "pytorch"},
    "context": {"type": "int", "default": 16384},
    "max_requests": {"type": "int", "default": 4},
    "dtype": {"type": "str", "default": "float16"},
    "kv_quant": {"type": "int", "choices": [0, 4, 8], "default": 0},
    "tensor_parallel": {"type": "int", "default": 0},
    "trust_remote_code": {"type": "bool", "default": False},
    "memory_share": {"type": "float", "default": 0.8},
    "extra_args": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
}
HINTS = (
    (r"out of memory|HIP out of memory|No enough gpu memory",
     "the cards' memory is not enough: less lmdeploy_context or lmdeploy_memory_share, more cards"),
    (r"is not supported|Unsupported quant method|Can not found rewrite|not in the supported",
     "lmdeploy's PyTorch engine does not serve this model: take another, or serve it with vllm or llama_cpp"),
    (r"hipErrorNoBinaryForGpu|invalid device function|TensileLibrary",
     "a library has no kernels for gfx906: run the role pytorch, which proves torch and puts rocBLAS's in"),
    (r"LLVM ERROR|failed to legalize|PassManager::run failed|Cannot select",
     "Triton cannot compile a kernel of lmdeploy for gfx906: this model or quantisation does not run here"),
    (r"No HIP GPUs are available|Unable to open /dev/kfd", "no card can be opened by the service's user"),
    (r"TurboMind|turbomind", "only the PyTorch engine exists for ROCm: lmdeploy_backend: pytorch"),
)  # fmt: skip
_WAY = "Take an AWQ version of the model (4 bit), an unquantised one, or serve it with vllm"
_WHY = {
    "gptq": "lmdeploy's PyTorch engine reads no GPTQ",
    "fp8": "gfx906 has no fp8",
    "compressed-tensors": "lmdeploy's PyTorch engine reads no compressed-tensors",
    "mxfp4": "gfx906 has no mxfp4 kernels",
    "gguf": "lmdeploy reads no GGUF: serve it with llama_cpp",
}
_QUANT = ("quantization_config", "compression_config")
_DTYPES = ("float16",)
_OWN = ("--backend", "--server-name", "--server-port", "--model-name", "--dtype", "--session-len", "--tp",
        "--max-batch-size", "--cache-max-entry-count", "--quant-policy", "--api-keys", "--ssl",
        "--proxy-url", "--log-level", "--disable-fastapi-docs", "--download-dir")  # fmt: skip
# Doors and machines that nobody here looks after.
_CLOSED = {
    "--allow-terminate-by-client": "would let clients stop the server",
    "--dp": "data parallelism takes a proxy in front",
    "--nnodes": "several nodes are not set up here",
    "--role": "prefill and decode apart take several nodes",
    "--communicator": "belongs to TurboMind",
    "--model-format": "belongs to TurboMind",
    "--rope-scaling-factor": "belongs to TurboMind",
}


def judge(config: Mapping[str, Any], options: Mapping[str, Any], settings: cards.Settings, name: str) -> cards.Verdict:
    """Judge a model's configuration and the options. Raises nothing: what is missing in it is a problem."""
    problems = [*_options(options), *_quantisation(config, name)]
    # What is the card's or the model's own holds for any engine; of formats only AWQ's is looked at here: its groups.
    plain = {key: value for key, value in config.items() if key not in _QUANT or method_of(config) == "awq"}
    shared = cards.judge(plain, settings._replace(extra=()), name)
    problems += [_renamed(text) for text in shared.problems if "vllm_dtype" not in text]
    kind = str(config.get("model_type") or "")
    warnings = [
        "lmdeploy on gfx906 is experimental: nobody has reported it working. It counts as serving only once it has "
        "answered from the card"
    ]
    warnings += [f"{name}: {kind} leaves float16's range: look at its first answers"] if kind in cards.OVERFLOWS else []
    return cards.Verdict(list(dict.fromkeys(problems)), warnings)


def method_of(config: Mapping[str, Any]) -> str:
    """How the weights are quantised; empty when they are not."""
    quant = config.get("quantization_config") or config.get("compression_config") or {}
    return str(quant.get("quant_method") or ("compressed-tensors" if quant else "")).lower()


def flags(
    options: Mapping[str, Any], settings: cards.Settings, alias: str, host: str, port: int | str
) -> Sequence[str]:
    """Return the words after `lmdeploy`; no secret is among them."""
    words = ["serve", "api_server", options["model"], "--backend", "pytorch", "--model-name", alias]
    words += ["--server-name", host, "--server-port", str(port), "--dtype", settings.dtype]
    words += ["--session-len", str(settings.context), "--tp", str(settings.tensor)]
    words += ["--max-batch-size", str(settings.requests), "--cache-max-entry-count", f"{options['memory_share']:g}"]
    words += ["--quant-policy", str(options["kv_quant"])] if options["kv_quant"] else []
    # Ray, which it would take otherwise, opens ports of its own on every address.
    words += ["--distributed-executor-backend", "mp"] if settings.tensor > 1 else []
    return [*words, "--disable-fastapi-docs", *options["extra_args"]]


def settings_of(options: Mapping[str, Any], count: int) -> cards.Settings:
    """Fill in what is 0: all cards side by side."""
    return cards.Settings(
        tensor=options["tensor_parallel"] or max(1, count),
        context=options["context"],
        requests=options["max_requests"],
        dtype=options["dtype"],
        trust_remote_code=options["trust_remote_code"],
    )


def problems_of(options: Mapping[str, Any], settings: cards.Settings, count: int) -> list[str]:
    """Say what of the options makes no sense on that many cards."""
    found = []
    if count and settings.tensor != count:
        found.append(
            f"lmdeploy_tensor_parallel is {settings.tensor}, but there are {count} cards: name those in lmdeploy_gpus"
        )
    if not 0.1 <= options["memory_share"] <= 0.95:
        found.append(f"lmdeploy_memory_share is {options['memory_share']}: give 0.1 to 0.95 (of what weights leave)")
    secret = [key for key in options["environment"] if "API_KEY" in str(key).upper() or "TOKEN" in str(key).upper()]
    if secret:
        found.append(f"lmdeploy_environment has {', '.join(secret)}: units can be read by all; use lmdeploy_api_key")
    return found


def _options(options: Mapping[str, Any]) -> list[str]:
    found = []
    if options["backend"] != "pytorch":
        found.append(
            f"lmdeploy_backend is {options['backend']!r}: TurboMind is CUDA's and is not built for ROCm; give pytorch"
        )
    if options["dtype"] not in _DTYPES:
        found.append(f"lmdeploy_dtype is {options['dtype']!r}: gfx906 has no bfloat16 or fp8; give float16")
    for word in options["extra_args"]:
        flag = word.partition("=")[0]
        if flag in _OWN:
            found.append(f"lmdeploy_extra_args has {word}, which the role sets itself: use its variable")
        if flag in _CLOSED:
            found.append(f"lmdeploy_extra_args has {word}, which {_CLOSED[flag]}: leave it out")
    return found


def _quantisation(config: Mapping[str, Any], name: str) -> list[str]:
    quant, method = config.get("quantization_config") or {}, method_of(config)
    if method in ("", "awq"):
        return []
    if method == "smooth_quant":
        if str(quant.get("quant_dtype", "int8")) == "int8":
            return []
        return [f"{name}: smooth_quant with {quant['quant_dtype']}: gfx906 has no fp8. {_WAY}"]
    why = _WHY.get(method, "lmdeploy's PyTorch engine has no kernels for it")
    return [f"{name}: is quantised with {method}: {why}. {_WAY}"]


def _renamed(text: str) -> str:
    """Sentences of vLLM's guards that hold here too, with this role's variables."""
    return text.replace("vllm_", "lmdeploy_").replace("in the container", "on the node")
