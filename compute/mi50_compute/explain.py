"""What known messages of ROCm's libraries mean on an MI50, and the way out."""

from __future__ import annotations

import re
import signal

KERNELS = (
    "run the playbook again (tag pytorch): it puts the gfx906 kernels back into this environment's torch/lib/rocblas"
)
# (pattern in what the process printed, what it means and what to do); the first match counts.
KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"rocBLAS error: (Cannot read|Could not (load|initialize)).*",
        f"rocBLAS has no kernels for this GPU; a torch that was installed again lost them: {KERNELS}",
    ),
    (
        r"TensileLibrary[\w.]*gfx906",
        f"rocBLAS cannot read its gfx906 catalog: {KERNELS}",
    ),
    (
        r"hipErrorNoBinaryForGpu|no kernel image is available|invalid device function|hipErrorInvalidDeviceFunction",
        "a library of this environment was built without gfx906: compare its torch with the stack's, then " + KERNELS,
    ),
    (
        r"No HIP GPUs are available|hipErrorNoDevice|No CUDA GPUs are available",
        "torch sees no GPU: is the user in the groups render and video (log in again), and does /dev/kfd exist?",
    ),
    (
        r"out of memory|hipErrorOutOfMemory",
        "the GPU's memory is taken: stop what uses it (`rocm-smi --showpids`) and try again",
    ),
    (
        r"Memory access fault by GPU node|HSA_STATUS_ERROR",
        "the GPU faulted: look at the kernel's log (`journalctl -k -g amdgpu`): memory errors and bad risers show",
    ),
    (
        r"hipBLASLt on an unsupported architecture",
        "torch tried hipBLASLt, which has no gfx906 kernels: set TORCH_BLAS_PREFER_HIPBLASLT=0",
    ),
)
SEGFAULT_IN_ALL_REDUCE = (
    "RCCL died: builds without gfx906 kernels do (ROCm/rocm-systems#2805); use one GPU for each process, or an image"
    " whose RCCL was built for gfx906"
)


def remedy(output: str) -> str | None:
    """The way out for the first known message in the output; None when there is none."""
    for pattern, advice in KNOWN:
        if re.search(pattern, output, re.IGNORECASE):
            return advice
    return None


def message(output: str) -> str:
    """The line that says what happened: the one a known pattern is in, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern, dummy in KNOWN:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                return line[:300]
    return lines[-1][:300] if lines else "no message"


def ending(code: int) -> str:
    """A return code of subprocess in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
