"""The fastest a device could be on a model: a plausibility gate, and a column that shows the room left.

decode_max(d) = BW / (W_active + KV(d)); prefill_max(T) = F / (2 N_active + attn(T)),
attn(T) = 4 * L_global * heads * head_dim * T / 2 (+ the local layers with the window instead of T).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# MI50: 1024 GB/s of HBM2; dp4a int8 at twice the 26.5 TFLOPS of fp16.
MI50_BANDWIDTH_GBS = 1024.0
MI50_TFLOPS = 53.0


@dataclass(frozen=True)
class Model:
    """What of a model is read and computed for a token; bytes, counts."""

    active_bytes: float
    active_params: float
    kv_bytes_token: float = 0.0
    kv_bytes_token_local: float = 0.0
    window: float = 0.0
    layers_global: float = 0.0
    layers_local: float = 0.0
    heads: float = 0.0
    head_dim: float = 0.0
    bandwidth_gbs: float = MI50_BANDWIDTH_GBS
    tflops: float = MI50_TFLOPS

    @classmethod
    def parse(cls, raw: Mapping[str, Any] | None) -> Model | None:
        """Read the module's `model.roofline`; None without one. Raises ValueError naming the key."""
        if not raw:
            return None
        values: dict[str, float] = {}
        for name, value in raw.items():
            if name not in cls.__dataclass_fields__:
                raise ValueError(f"model.roofline.{name} is unknown; known are {', '.join(cls.__dataclass_fields__)}")
            try:
                values[name] = float(value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"model.roofline.{name}: {value!r} is no number") from error
            if values[name] < 0:
                raise ValueError(f"model.roofline.{name}: {value!r} is negative")
        for name in ("active_bytes", "active_params"):
            if not values.get(name):
                raise ValueError(f"model.roofline.{name} is missing")
        return cls(**values)

    def decode_max(self, depth: float) -> float:
        """Return tokens/s with `depth` tokens of context."""
        local = min(depth, self.window) * self.kv_bytes_token_local
        return self.bandwidth_gbs * 1e9 / (self.active_bytes + depth * self.kv_bytes_token + local)

    def prefill_max(self, length: float) -> float:
        """Return tokens/s for a prompt of `length` tokens."""
        seen = self.layers_global * length / 2 + self.layers_local * min(length / 2, self.window)
        return self.tflops * 1e12 / (2 * self.active_params + 4 * self.heads * self.head_dim * seen)


def record(model: Model | None, depth: int, decode: float | None, prefill: float | None) -> dict[str, Any] | None:
    """Return the cell's roofline object."""
    if model is None:
        return None
    decode_max, prefill_max = model.decode_max(depth), model.prefill_max(depth)
    return {
        "decode_max": decode_max,
        "prefill_max": prefill_max,
        "bandwidth_gbs": model.bandwidth_gbs,
        "tflops": model.tflops,
        "depth": depth,
        "eta_dec": decode / decode_max if decode else None,
        "eta_pf": prefill / prefill_max if prefill else None,
        "source": "model data",
    }
