"""Made-up runs for the tests of the report: lines of the schema's example, with other numbers. Nothing was measured."""

from __future__ import annotations

import copy
import gzip
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mi50.bench.formulas import FORMULAS
from mi50.bench.stats import summary
from mi50.bench.summary import counted, totals

EXAMPLE = Path(__file__).resolve().parents[2] / "fixtures" / "bench" / "example-run.jsonl"
Record = dict[str, Any]

GEMMA = (
    "gemma3-27b",
    "gemma3:27b-it-qat",
    17.2e9,
    ["image-recognition", "picture-story", "geometry", "text-extraction"],
)
QWEN = (
    "qwen3-30b",
    "qwen3:30b-a3b-thinking-2507-q4_K_M",
    1.91e9,
    ["algebra", "gaokao-essay", "front-end-page", "task-plan"],
)


def template(kind: str) -> Record:
    """A fresh copy of the example's first line of a type."""
    lines = (json.loads(line) for line in EXAMPLE.read_text(encoding="utf-8").splitlines())
    found: Record = next(line for line in lines if line["type"] == kind)
    return found


_TEMPLATES: dict[str, Record] = {}


def fresh(kind: str) -> Record:
    if kind not in _TEMPLATES:
        _TEMPLATES[kind] = template(kind)
    return copy.deepcopy(_TEMPLATES[kind])


@dataclass
class MadeUp:
    """One file of one node and engine. `prefill` and `decode` are tokens/s at depth 0; statuses are by cell id."""

    node: str = "node1"
    engine: str = "llama.cpp"
    run_id: str = "2026-11-22-a"
    prefill: float = 400.0
    decode: float = 24.0
    seed: int = 1
    reps: int = 6
    tasks: list[str] | None = None
    depths: tuple[int, ...] = ()
    statuses: dict[str, tuple[str, str]] = field(default_factory=dict)
    weights: str = "1"
    commit: str = "ee09828c"
    checks: tuple[str, ...] = ("right", "coherent")
    failing: tuple[str, ...] = ()
    hours: float = 0.0

    def lines(self) -> list[Record]:
        self.random = random.Random(f"{self.seed}{self.node}{self.engine}")  # noqa: S311 - made-up numbers, no secrets
        head = fresh("run")
        head["run_id"] = self.run_id
        head["node"]["inventory_name"] = self.node
        head["framework"].update(name=self.engine, kind=self.engine, commit=self.commit)
        lines = [head]
        minute = 0.0
        for key, name, active, tasks in (GEMMA, QWEN):
            speed = 1.0 if key.startswith("gemma") else 2.6
            cells = [(t, "fixed", 0) for t in tasks if self.tasks is None or t in self.tasks]
            cells += [(t, "natural", 0) for t in tasks if self.tasks is None or t in self.tasks]
            cells += [("depth", "fixed", depth) for depth in self.depths if key.startswith("qwen")]
            for task, mode, depth in cells:
                slower = 1 / (1 + depth * 98304 / active / 4)
                lines += self._cell(key, name, task, mode, depth, speed, slower, minute)
                minute += 6
        return lines

    def _cell(self, key: str, name: str, task: str, mode: str, depth: int, speed: float, slower: float, minute: float):
        cell_id = f"{key}.{task}.{mode}" + (f".d{depth}" if depth else "")
        status, reason = self.statuses.get(cell_id, ("OK", ""))
        probe = "depth" if task == "depth" else "task"
        requests = [self._request(cell_id, i, speed, slower, status, reason, mode, depth) for i in range(self.reps)]
        cell = fresh("cell")
        good = [r for r in requests if r["status"] == "OK"]
        cell.update(
            run_id=self.run_id, cell_id=cell_id, framework=self.engine, status=status, reject_reason=reason or None
        )
        cell.update(ok=len(good), measured=len(requests), statuses={status: len(requests)})
        cell["started_utc"], cell["finished_utc"] = clock(self.hours * 60 + minute), clock(self.hours * 60 + minute + 5)
        cell["model"].update(key=key, requested=name, served=f"{key}.gguf", sha256=self.weights * 64)
        cell["task"].update(id=task, mode=mode, probe=probe, context=depth, title=task.capitalize().replace("-", " "))
        cell["task"].update(kind="image" if key.startswith("gemma") and probe == "task" else "text", lang="zh")
        cell["task"]["max_tokens"] = 256 if mode == "fixed" else 4096
        shown = counted(requests)
        cell["metrics"] = (
            {n: stored(n, [r["derived"][n]["value"] for r in shown]) for n in shown[0]["derived"]} if shown else {}
        )
        cell["totals"] = totals(requests)
        cell["tokens"].update(prompt=300 + depth, completion=256)
        top = speed * self.decode * 2.4
        cell["roofline"].update(depth=depth, decode_max=top * slower, prefill_max=self.prefill * speed * 2.1 * slower)
        passed = {c: {"passed": 0 if c in self.failing else len(good), "total": len(good)} for c in self.checks}
        judged = passed if mode == "natural" else {}
        total = sum(c["total"] for c in judged.values())
        cell["checks"] = {"passed": sum(c["passed"] for c in judged.values()), "total": total, "by_id": judged}
        cell["samples_file"] = f"raw/{self.engine}/{cell_id}-1.samples.jsonl.gz"
        return [*requests, cell]

    def _request(
        self, cell_id: str, index: int, speed: float, slower: float, status: str, reason: str, mode: str, depth: int
    ):
        request = fresh("request")
        noise = 1 + self.random.uniform(-0.012, 0.012)
        pf, dc = self.prefill * speed * slower * noise, self.decode * speed * slower * noise
        values = {
            "pf_srv": pf,
            "pf_hdr": pf * 0.9996,
            "pf_cli": pf * 0.985,
            "dc_srv": dc,
            "dc_cli": dc * 0.9999,
            "dc_w": dc,
        }
        values |= {
            "ttft": (300 + depth) / pf,
            "e2e": (300 + depth) / pf + 255 / dc,
            "a_dec": 0.9999,
            "a_pf": 0.985,
            "a_hdr": 0.9996,
        }
        values |= {
            "a_tok": 1.0,
            "burst": 0.01,
            "eta_dec": 0.42,
            "eta_pf": 0.48,
            "e_dec": 190.0 / dc,
            "e_pf": 210.0 / pf,
        }
        request.update(run_id=self.run_id, cell_id=cell_id, seq=index, status=status, reject_reason=reason or None)
        request["rep"].update(index=index, order_index=index)
        none = status not in ("OK", "DISAGREE")
        request["headline"] = {"prefill": None, "decode": None} if none else {"prefill": "pf_srv", "decode": "dc_srv"}
        request["derived"] = {
            name: {
                "value": None if none else value,
                "unit": FORMULAS[name].unit,
                "formula": FORMULAS[name].id,
                "source": "made up",
                "reason": reason if none else None,
            }
            for name, value in values.items()
        }
        request["checks"] = [{"id": c, "pass": c not in self.failing, "detail": "made up"} for c in self.checks]
        request["events_file"] = None
        return request

    def write(self, folder: Path, samples: bool = False) -> Path:
        """Write the run under folder/NODE/RUN/ENGINE.jsonl and return that file's path."""
        path = folder / self.node / self.run_id / f"{self.engine}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.lines()
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        for cell in lines if samples else []:
            if cell["type"] == "cell":
                self._samples(path.parent / cell["samples_file"], hot="gemma" in cell["cell_id"])
        return path

    def _samples(self, path: Path, hot: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as stream:
            for second in range(0, 300, 4):
                warm = 1 - 2.7 ** (-second / 60)
                sample = {
                    "t": float(second),
                    "vram": int((28 + warm) * 2**30),
                    "gtt": 2**24,
                    "temp_edge": 60 + 16 * warm + self.random.random(),
                    "temp_junction": 68 + (22 if hot else 15) * warm + self.random.random(),
                    "temp_mem": 64 + 14 * warm + self.random.random(),
                    "power": (205 if hot else 150) + self.random.uniform(-12, 12) if 6 < second < 288 else 24.0,
                    "sclk": 1725 - (110 * warm if hot else 0) - self.random.randrange(8),
                    "mclk": 1000,
                    "busy": 99,
                }
                stream.write(json.dumps(sample) + "\n")


def clock(minutes: float) -> str:
    return f"2026-11-22T{int(minutes) // 60 % 24:02d}:{int(minutes) % 60:02d}:00Z"


def stored(name: str, values: list[float | None]) -> Record:
    """A metric of a cell as the node stores it."""
    seen = [value for value in values if value is not None]
    formula = FORMULAS[name]
    reason = None if seen else "no value"
    return {**summary(seen), "unit": formula.unit, "formula": formula.id, "source": "made up", "reason": reason}


FLEET = (
    MadeUp(node="node1", engine="llama.cpp", depths=(512, 32768, 122880)),
    MadeUp(
        node="node1",
        engine="vllm",
        prefill=510,
        decode=29,
        seed=2,
        depths=(512, 32768, 122880),
        statuses={
            "gemma3-27b.geometry.fixed": ("OOM", "HIP out of memory: tried to allocate 2.1 GiB"),
            "gemma3-27b.geometry.natural": ("OOM", "HIP out of memory: tried to allocate 2.1 GiB"),
            "qwen3-30b.gaokao-essay.natural": ("EMPTY_ANSWER", "thinking used all 4096 of 4096 tokens, no answer came"),
            "qwen3-30b.task-plan.fixed": (
                "DISAGREE",
                "decode by the client is 0.941 of the server's (0.97 to 1.03 is allowed)",
            ),
            "qwen3-30b.depth.fixed.d122880": ("TIMEOUT_PREFILL", "no first token within 1800 s"),
        },
        failing=("right",),
        hours=4,
    ),
    MadeUp(node="node2", engine="llama.cpp", seed=3, prefill=395, decode=23.2),
    MadeUp(
        node="node2",
        engine="lmdeploy",
        seed=4,
        statuses={
            f"gemma3-27b.{task}.{mode}": ("UNSUPPORTED", "4-bit gemma3 is not supported by this engine")
            for task in GEMMA[3]
            for mode in ("natural", "fixed")
        },
        weights="5",
        hours=4,
    ),
)


def fleet(folder: Path) -> Path:
    """Write two nodes with two engines each, some cells of which failed."""
    for run in FLEET:
        run.write(folder, samples=True)
    return folder
