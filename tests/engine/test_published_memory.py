"""Memory that papers computed, to the byte."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from speedlight._foundation.expr import evaluate
from speedlight.api import make_scenario
from speedlight.engine.questions.resolve import planned, resolve
from speedlight.engine.training.step import _holdings, step_of
from speedlight.placement.stages import deal
from speedlight.schedule.families import in_flight

ROWS = [
    f"seqsel-fig1-{model}-{mode}-{what}"
    for model in ("megatron-22B", "gpt3-175B", "turing-530B") for mode in ("none", "seqsel")
    for what in ("activations", "parameters")
]  # fmt: skip


def config(row: dict[str, str]) -> dict[str, object]:
    """A GPT-2-like configuration of the row's sizes."""
    return {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": int(row["layers"]), "n_embd": int(row["hidden"]),
        "n_head": int(row["heads"]), "n_inner": int(row["ffn"]), "vocab_size": int(row["vocab"]), "n_positions": int(row["seq_len"]),
        "torch_dtype": "float16",
    }  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("case", ROWS)
def test_figure_one_of_reducing_activation_recomputation(case: str, data_dir: Path, tmp_path: Path) -> None:
    """arXiv 2205.05198 Figure 1 is its formulas: what the first pipeline stage's layers keep, and 18 bytes (fp16 weights, fp32
    gradients, Adam's 12) of every weight of their matrix products."""
    with (data_dir / "published" / "training.csv").open(newline="", encoding="utf-8") as file:
        row = next(r for r in csv.DictReader(file) if r["case_id"] == case)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(row)))
    micro = int(row["micro_batch"])
    scenario = make_scenario(
        str(path), "a100-sxm-80gb", phase="train", isl=int(row["seq_len"]), batch=int(row["global_batch"]), micro_batch=micro,
        tp=int(row["tp"]), pp=int(row["pp"]), sp=int(row["sequence_parallel"] == "yes"), recompute=row["recompute"],
        schedule=f"interleaved:{row['vpp']}" if row["vpp"] != "1" else "1f1b", gradients="fp32", stack="megatron@2022.05",
    )  # fmt: skip
    resolved = resolve(scenario)
    made, dims = planned(resolved)
    program = scenario.program
    training, parallel = program.workload.training, program.parallel
    step = step_of(program.workload, parallel)
    holdings, cut = _holdings(made, step, dims, {}), deal(made.graph, parallel, training.virtual)
    layers = holdings.blocks["layers"]
    held = float(row["layers"]) * cut.rank(0)["layers"]
    published = float(row["memory_bytes_per_gpu"])
    if case.endswith("activations"):
        flying = in_flight(training.schedule, parallel.pp, step.repeats, training.virtual, 0)
        assert held * layers.saved * flying == pytest.approx(published, rel=1e-12)
        return
    block = next(b for b in made.graph.blocks if b.name == "layers")
    products = [o.reads[1].tensor for o in block.ops if o.fn == "linear"]
    weights = sum(float(evaluate(block.tensors[name].elements, dims)) for name in products)
    each = (layers.weights[0] + layers.gradients[0]) / layers.parameters[0] + holdings.states[0]
    assert each == pytest.approx(18.0)
    assert held * weights * each == pytest.approx(published, rel=1e-12)
