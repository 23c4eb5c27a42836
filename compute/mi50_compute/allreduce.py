"""All-reduce over two or more devices, one process each: right sums, within a time, or a named failure.

On GPUs it goes through RCCL (torch calls it nccl), on the CPU through gloo.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time

import torch

from mi50_compute import explain
from mi50_compute.supervise import Result, child_environment

ID = "all-reduce"
LENGTH = 1 << 20


def _free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(device_type: str, count: int, seconds: float) -> Result:
    """Run `count` ranks on devices 0 to count-1, all within `seconds`."""
    environment = {**child_environment(), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "mi50_compute.allreduce", device_type, str(rank), str(count)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
            for rank in range(count)
        ]
        try:
            codes = _wait(ranks, started + seconds)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        log.seek(0)
        output = log.read().decode("utf-8", "replace")
    taken = time.monotonic() - started
    if codes is None:
        return Result(
            ID, "hang", f"{count} ranks: no answer within {seconds:.0f} s", taken, remedy=explain.remedy(output)
        )
    bad = [code for code in codes if code]
    if not bad:
        return Result(ID, "ok", f"{count} ranks, {LENGTH} values, every sum exact", taken)
    if 3 in bad:
        return Result(ID, "wrong", explain.message(output), taken)
    remedy = explain.SEGFAULT_IN_ALL_REDUCE if -11 in bad else explain.remedy(output)
    return Result(ID, "abort", f"{explain.ending(bad[0])}: {explain.message(output)}", taken, remedy=remedy)


def _wait(ranks: list[subprocess.Popen[bytes]], deadline: float) -> list[int] | None:
    """Return codes of all ranks, or of those that ended once one failed; None when time ran out."""
    while time.monotonic() < deadline:
        codes = [process.poll() for process in ranks]
        ended = [code for code in codes if code is not None]
        # The others would wait for a dead one until the deadline.
        if len(ended) == len(ranks) or any(ended):
            return ended
        time.sleep(0.05)
    return None


def rank_main(device_type: str, rank: int, count: int) -> int:
    """One rank: a vector of small whole numbers, whose sums fp32 holds exactly. Returns 3 when one is wrong."""
    import torch.distributed as dist  # noqa: PLC0415 - the parent starts ranks without it

    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", rank=rank, world_size=count)
    device = torch.device(f"cuda:{rank}" if device_type == "cuda" else "cpu")
    base = torch.arange(LENGTH, dtype=torch.float32) % 1024
    values = ((rank + 1) * base).to(device)
    dist.all_reduce(values)
    expected = base * (count * (count + 1) // 2)
    wrong = int((values.cpu() != expected).sum())
    dist.destroy_process_group()
    if wrong:
        print(f"rank {rank}: {wrong} of {LENGTH} sums are wrong", file=sys.stderr)
    return 3 if wrong else 0


if __name__ == "__main__":
    code = rank_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.stderr.flush()
    # Without the interpreter's shutdown: libraries have been seen to hang there, and the answer is known.
    os._exit(code)
