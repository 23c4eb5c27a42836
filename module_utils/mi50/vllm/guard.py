"""What a gfx906 card and the vLLM made for it can serve, judged by a model's config.json before anything is started.

Facts: field note gfx906, 2.2 (bf16 has fallback kernels alone), 3.1 and 3.4 (formats, group sizes, desc_act, dtypes).
Every refusal names what was found, why it does not work here, and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..models.shape import text_config

DTYPES = ("float16", "float32")
KV_TYPES = ("auto", "float16")
# Formats of weights that the fork serves. compressed-tensors: only 4 bit integers, see _compressed.
_FORMATS = ("gptq", "awq", "compressed-tensors")
_WHY = {
    "fp8": "gfx906 has no fp8",
    "fbgemm_fp8": "gfx906 has no fp8",
    "modelopt": "gfx906 has no fp8 or fp4",
    "mxfp4": "gfx906 has no mxfp4 kernels",
    "bitsandbytes": "bitsandbytes has no kernels for gfx906",
    "gguf": "vLLM reads GGUF slowly here: serve it with llama_cpp",
    "quark": "its kernels are made for newer cards",
    "exl2": "vLLM does not serve it",
    "hqq": "its kernels are made for other cards",
    "awq_marlin": "Marlin kernels are NVIDIA's",
    "gptq_marlin": "Marlin kernels are NVIDIA's",
}
_WAY = "Take a GPTQ or AWQ version of the model (4 bit, group size 128 or 64), or an unquantised one"
_BITS = {"gptq": (2, 3, 4, 8), "awq": (4,)}
# Activations beyond float16's range; upstream vLLM refuses float16 for these, forks clamp.
OVERFLOWS = ("gemma2", "gemma3", "gemma3_text", "plamo2", "glm4")
# What the role sets itself; given a second time it would quietly win.
_OWN = ("--model", "--host", "--port", "--api-key", "--dtype", "--max-model-len", "--gpu-memory-utilization",
        "--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp", "--served-model-name", "--kv-cache-dtype",
        "--max-num-seqs", "--middleware", "--trust-remote-code", "--quantization", "-q", "--uds", "--ssl-keyfile",
        "--ssl-certfile", "--root-path", "--headless", "--data-parallel-size", "-dp", "--config",
        "--distributed-executor-backend", "--nnodes", "--node-rank")  # fmt: skip


class Settings(NamedTuple):
    """How the model is to run: cards that share each layer and that follow one another, tokens, requests at a time.

    `nodes`: how many nodes the cards are spread over; `pipeline` counts all of them.
    """

    tensor: int = 1
    pipeline: int = 1
    context: int = 16384
    requests: int = 1
    dtype: str = "float16"
    kv_type: str = "auto"
    expert_parallel: bool = False
    trust_remote_code: bool = False
    nodes: int = 1
    extra: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What does not work, and what may not; sentences for people."""

    problems: list[str]
    warnings: list[str]


def judge(config: Mapping[str, Any], settings: Settings, name: str) -> Verdict:
    """Judge a model's configuration. Raises nothing: what is missing in it is a problem."""
    text = text_config(config)
    problems = [*_settings(settings), *_numbers(text, settings, name), *_context(text, settings, name)]
    problems += _quantisation(config, text, settings, name)
    if config.get("auto_map") and not settings.trust_remote_code:
        problems.append(
            f"{name}: brings Python code of its own (auto_map), which would run in the container: read it, then set "
            "vllm_trust_remote_code: true, or take a model that needs none"
        )
    kind = str(text.get("model_type") or config.get("model_type") or "")
    warnings = []
    if kind in OVERFLOWS and settings.dtype == "float16":
        warnings.append(
            f"{name}: {kind} leaves float16's range; the image has to clamp it (a fork's does, a plain vLLM refuses to "
            "start). Look at its first answers, or take vllm_dtype: float32 at half the speed"
        )
    if not _method(config, text):
        warnings.append(f"{name}: is not quantised; the gfx906 fork is slow with such models")
    if _experts(text):
        warnings.append(
            f"{name}: is a mixture of experts; the gfx906 fork is slow with them, quantised ones most of all"
        )
    return Verdict(problems, warnings)


def _settings(settings: Settings) -> list[str]:
    found = []
    if settings.dtype not in DTYPES:
        why = (
            "gfx906 has no bfloat16"
            if "b" in settings.dtype
            else "gfx906 has no fp8"
            if "8" in settings.dtype
            else "unknown"
        )
        found.append(f"vllm_dtype is {settings.dtype!r}: {why}; give one of {', '.join(DTYPES)}")
    if settings.kv_type not in KV_TYPES:
        found.append(f"vllm_kv_type is {settings.kv_type!r}: gfx906 has no fp8; give one of {', '.join(KV_TYPES)}")
    for label, value, low in (
        ("context", settings.context, 256),
        ("max_requests", settings.requests, 1),
        ("tensor_parallel", settings.tensor, 1),
        ("pipeline_parallel", settings.pipeline, 1),
    ):
        if value < low:
            found.append(f"vllm_{label} is {value}: give {low} or more")
    for word in settings.extra:
        flag, dummy, given = word.partition("=")
        if flag in _OWN:
            found.append(f"vllm_extra_args has {word}, which the role sets itself: use its variable")
        if "fp8" in given or "bfloat16" in given:
            found.append(f"vllm_extra_args has {word}: gfx906 has neither fp8 nor bfloat16")
    return found


def _numbers(text: Mapping[str, Any], settings: Settings, name: str) -> list[str]:
    """Heads and layers that have to be divisible by the cards."""
    heads, kv = _int(text, "num_attention_heads", "n_head"), _int(text, "num_key_value_heads")
    layers = _int(text, "num_hidden_layers", "n_layer")
    if not heads or not layers:
        return [
            f"{name}: its config.json has no num_attention_heads or num_hidden_layers: no language model vLLM knows"
        ]
    found, tensor = [], max(1, settings.tensor)
    if heads % tensor:
        fitting = [str(count) for count in (1, 2, 4, 8) if heads % count == 0]
        found.append(
            f"{name}: its {heads} attention heads cannot be shared by {tensor} cards: vllm_tensor_parallel "
            f"{', '.join(fitting)} can; use the other cards with vllm_pipeline_parallel"
        )
    elif kv and kv % tensor and tensor % kv:
        found.append(
            f"{name}: its {kv} key-value heads cannot be shared by {tensor} cards: one has to divide the other"
        )
    if layers < settings.pipeline:
        found.append(f"{name}: has {layers} layers, too few for vllm_pipeline_parallel {settings.pipeline}")
    return found


def _context(text: Mapping[str, Any], settings: Settings, name: str) -> list[str]:
    longest = _int(text, "max_position_embeddings", "n_positions", "max_sequence_length")
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    # YaRN and its like: the factor counts on top of the length the model was first trained with.
    if (
        isinstance(scaling, Mapping)
        and scaling.get("factor")
        and scaling.get("rope_type", scaling.get("type")) == "yarn"
    ):
        longest = max(
            longest, int(float(scaling["factor"]) * int(scaling.get("original_max_position_embeddings") or 0))
        )
    if longest and settings.context > longest:
        return [
            f"{name}: vllm_context is {settings.context}, but the model was made for {longest}: ask for that or less"
        ]
    return []


def _quantisation(config: Mapping[str, Any], text: Mapping[str, Any], settings: Settings, name: str) -> list[str]:
    method, quant = _method(config, text), _quant(config, text)
    if not method:
        return []
    if method not in _FORMATS:
        why = _WHY.get(method, "the gfx906 fork has no kernels for it")
        return [f"{name}: is quantised with {method}: {why}. {_WAY}"]
    if method == "compressed-tensors":
        found, group = _compressed(quant, name)
    else:
        bits = _int(quant, "bits", "w_bit")
        group = _int(quant, "group_size", "q_group_size")
        found = [] if bits in _BITS[method] else [f"{name}: {method} with {bits} bits is not served here. {_WAY}"]
        if method == "gptq" and quant.get("desc_act") and settings.tensor > 1:
            found.append(
                f"{name}: GPTQ with desc_act cannot be shared well by {settings.tensor} cards: take a version with "
                "desc_act: false, or vllm_tensor_parallel: 1 and vllm_pipeline_parallel: "
                f"{settings.tensor * settings.pipeline}"
            )
    return found + _groups(text, group, settings, f"{name}: {method}")


def _compressed(quant: Mapping[str, Any], name: str) -> tuple[list[str], int]:
    """llm-compressor: W4A16 with integers is served, nothing else."""
    groups = quant.get("config_groups")
    schemes = list(groups.values()) if isinstance(groups, Mapping) else []
    size = 0
    for scheme in schemes:
        weights = (scheme or {}).get("weights") or {}
        if (
            weights.get("num_bits") != 4
            or weights.get("type", "int") != "int"
            or (scheme or {}).get("input_activations")
        ):
            what = f"{weights.get('type', '?')}{weights.get('num_bits', '?')}"
            more = " with quantised activations" if (scheme or {}).get("input_activations") else ""
            said = f"is compressed-tensors with {what} weights{more}; of those only W4A16 INT is served here"
            return [f"{name}: {said}. {_WAY}"], 0
        size = max(size, int(weights.get("group_size") or 0))
    return ([] if schemes else [f"{name}: its compressed-tensors configuration names no weights. {_WAY}"]), size


def _groups(text: Mapping[str, Any], group: int, settings: Settings, name: str) -> list[str]:
    """Groups of weights share a scale: none may be cut where a layer is shared between cards along its inputs."""
    tensor = settings.tensor
    if group <= 0 or tensor < 2:
        return []
    heads = _int(text, "num_attention_heads", "n_head")
    size = _int(text, "head_dim") or (_int(text, "hidden_size", "n_embd") // heads if heads else 0)
    inputs = {"attention": heads * size, "intermediate_size": _int(text, "intermediate_size", "n_inner")}
    experts = _int(text, "moe_intermediate_size")
    if _experts(text):
        # In a mixture of experts the plain layers are few or none; whole experts need not be cut.
        inputs["intermediate_size"] = 0 if experts else inputs["intermediate_size"]
        inputs["moe_intermediate_size"] = 0 if settings.expert_parallel else experts
    found = []
    for what, width in inputs.items():
        if width and (width % tensor or (width // tensor) % group):
            whole = [str(count) for count in (1, 2, 4, 8) if width % count == 0 and (width // count) % group == 0]
            more = ", vllm_expert_parallel: true" if what.startswith("moe") else ""
            found.append(
                f"{name} with group size {group}: {what} {width} over {tensor} cards gives {width / tensor:g}, no "
                f"multiple of {group}. Take vllm_tensor_parallel {' or '.join(whole) or '1'}{more}, or a smaller group"
            )
    return found


def _method(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    quant = _quant(config, text)
    return str(quant.get("quant_method") or ("compressed-tensors" if quant.get("config_groups") else "")).lower()


def _quant(config: Mapping[str, Any], text: Mapping[str, Any]) -> Mapping[str, Any]:
    for place in (config, text):
        for key in ("quantization_config", "compression_config"):
            found = place.get(key)
            if isinstance(found, Mapping):
                return found
    return {}


def _experts(text: Mapping[str, Any]) -> int:
    return _int(text, "num_experts", "num_local_experts", "n_routed_experts")


def _int(data: Mapping[str, Any], *names: str) -> int:
    for key in names:
        value = data.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return 0


def flags(
    settings: Settings,
    name: str,
    alias: str,
    port: int | str,
    utilisation: float,
    host: str = "0.0.0.0",  # noqa: S104 - in a container, whose one port is published where it shall be
) -> Sequence[str]:
    """Return the words after `vllm serve`; no secret is among them."""
    words = [name, "--host", host, "--port", str(port), "--served-model-name", alias]
    words += ["--dtype", settings.dtype, "--max-model-len", str(settings.context)]
    words += ["--gpu-memory-utilization", f"{utilisation:g}", "--max-num-seqs", str(settings.requests)]
    words += ["--tensor-parallel-size", str(settings.tensor), "--pipeline-parallel-size", str(settings.pipeline)]
    words += ["--middleware", "mi50_key.RequireKey"]
    if settings.tensor * settings.pipeline > 1:
        words += ["--distributed-executor-backend", "ray" if settings.nodes > 1 else "mp"]
    words += ["--kv-cache-dtype", settings.kv_type] if settings.kv_type != "auto" else []
    words += ["--enable-expert-parallel"] if settings.expert_parallel else []
    words += ["--trust-remote-code"] if settings.trust_remote_code else []
    return [*words, *settings.extra]
