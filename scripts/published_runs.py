"""Published training runs explained: what share of each is computation, computing again, exposed messages and bubble.

    python scripts/published_runs.py

Layouts that a paper does not state are taken from memory of it or chosen, and said so here.
"""

from __future__ import annotations

import json

from speedlight._foundation.errors import SpeedlightError
from speedlight.engine.predict import predict
from speedlight.scenario.scenario import ModelRef, Parallel, Program, Scenario
from speedlight.validation.training.flops import step_flops
from speedlight.validation.training.sources import source_of
from speedlight.workload.workload import Training, Workload


def gpt(layers: int, hidden: int, heads: int, seq: int, vocab: int = 51200) -> str:
    return json.dumps(
        {"model_type": "gpt2", "n_embd": hidden, "n_head": heads, "n_layer": layers, "n_inner": 4 * hidden,
         "vocab_size": vocab, "n_positions": seq, "tie_word_embeddings": True}, sort_keys=True,
    )  # fmt: skip


def ask(model: str, machine: str, stack: str, batch: int, seq: int, parallel: Parallel, training: Training) -> Scenario:
    work = Workload("train", batch, seq, training=training)
    return Scenario((Program(ModelRef(model, dtype="bf16"), work, parallel, stack),), machine)


def show(name: str, scenario: Scenario, published: str) -> float:
    try:
        answer = predict(scenario)
    except SpeedlightError as error:
        print(f"{name}: {error}")
        return float("nan")
    parts = ", ".join(
        f"{part} {share:.1%}" for part, share in sorted(answer.attrs["shares"].items(), key=lambda p: -p[1])
    )
    work = scenario.program.workload
    flops = step_flops(source_of("sc21-"), scenario.program.model.source, work.isl, work.batch)
    rate = flops / float(answer.time)
    print(
        f"{name}: {float(answer.time):.2f} s ({float(answer.low):.2f}–{float(answer.high):.2f}), MFU {float(answer.mfu):.1%}, "
        f"{rate / 1e15:.1f} PFLOP/s with recomputation by arXiv 2104.04473 equation 3; published {published}\n    {parts}; memory "
        f"{float(answer.memory.total) / 1e9:.0f} of {float(answer.memory.capacity) / 1e9:.0f} GB"
    )
    return float(answer.time)


def interleaving(name: str, model: str, nodes: int, batch: int, layout: Parallel, micro: int, published: str) -> None:
    """One stage a rank, then two: what interleaving gains by itself. Gradients are reduced in fp16, as Megatron-LM did by default."""
    times = []
    for virtual in (1, 2):
        schedule = "interleaved" if virtual > 1 else "1f1b"
        plan = Training(recompute="full", micro_batch=micro, schedule=schedule, virtual=virtual)
        scenario = ask(model, f"dgx-a100-80gb x {nodes}", "megatron@2021.04", batch, 2048, layout, plan)
        times.append(show(f"{name}, {virtual} stage(s) a rank", scenario, published))
    print(f"    interleaving: {times[0] / times[1] - 1:.1%} (published: about 10 %)")


def main() -> None:
    trillion = gpt(128, 25600, 160, 2048)
    for micro in (1, 2):
        interleaving(f"1T on 3,072 A100, micro-batch {micro}", trillion, 384, 3072, Parallel(tp=8, pp=64, dp=6), micro,
                     "502 PFLOP/s")  # fmt: skip
    # The paper's own comparison of schedules (section 5.3.2) is of 175B on 96 GPUs; its batches, 12 to 60, are read from memory.
    for batch in (24, 36, 48, 60):
        interleaving(f"175B on 96 A100, batch {batch}", gpt(96, 12288, 96, 2048), 12, batch, Parallel(tp=8, pp=12), 1,
                     "a gain that falls with the batch")  # fmt: skip
    plan = Training(recompute="none", micro_batch=1, schedule="interleaved", virtual=6, gradients="fp32")
    show(
        "MegaScale 175B on 12,288 A100 (tp 8, pp 8, 6 stages a rank, batch 6,144)",
        ask(gpt(96, 12288, 96, 2048, 64000), "dgx-a100-80gb x 1536", "megatron@2024.03", 6144, 2048,
            Parallel(tp=8, pp=8, dp=192, sp=1, zero=1), plan), "55.2 % MFU",
    )  # fmt: skip
    for name, model, nodes, batch, layout, published in (
        ("22B", gpt(48, 6144, 48, 2048), 8, 128, Parallel(tp=2, pp=8, dp=4, zero=1), "38.4 %"),
        ("175B", gpt(96, 12288, 96, 2048), 128, 10240, Parallel(tp=4, pp=16, dp=16, zero=1), "36.1 %"),
        ("1T", gpt(128, 25600, 128, 2048), 384, 9600, Parallel(tp=8, pp=64, dp=6, zero=1), "32.0 %"),
    ):
        plan = Training(recompute="full", micro_batch=1, gradients="fp32")
        show(f"Frontier {name} (layout assumed)", ask(model, f"frontier-node x {nodes}", "megatron@2024.03", batch, 2048, layout, plan),
             f"{published} of the peak of a GCD")  # fmt: skip
    for micro in (1, 2, 4, 8):
        plan = Training(
            recompute="full", micro_batch=micro, gradients="fp32", offload=(("optimizer", "host"), ("weights", "host"))
        )
        show(
            f"ZeRO-Infinity 1T on 512 V100, micro-batch {micro} (batch assumed; states kept by the host, whose disks its file does not state)",
            ask(gpt(128, 25600, 256, 1024), "dgx-2 x 32", "deepspeed", 1024, 1024, Parallel(dp=128, tp=4, zero=3), plan), "25 PFLOP/s",
        )  # fmt: skip


if __name__ == "__main__":
    main()
