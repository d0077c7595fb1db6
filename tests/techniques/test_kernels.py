"""Techniques of kernels: what each takes away, where it says no, and that one undoes the other."""

from __future__ import annotations

from typing import Any

import pytest

from speedlight.engine.answers.prediction import Prediction
from speedlight.engine.questions.question import make_scenario
from speedlight.techniques.compose import Refused, ask, parsed
from speedlight.validation.ledger.kernels import attention, ops


def asked(model: str, machine: str, *labels: str, **options: Any) -> Prediction:
    scenario = make_scenario(model, machine, **options)
    return ask(scenario.replace(techniques=tuple(parsed(label) for label in labels)), details=False)


TRAIN = {"phase": "train", "batch": 8, "isl": 1024, "dtype": "fp16"}


def test_fused_attention_undoes_what_a_stack_writes_out() -> None:
    before = asked("gpt2", "a100-sxm-80gb", stack="transformers@4.35", **TRAIN)
    after = asked("gpt2", "a100-sxm-80gb", "flash-attention", stack="transformers@4.35", **TRAIN)
    assert before.time / after.time > 1.3
    assert after.memory.by_class["activations"] < 0.6 * before.memory.by_class["activations"]
    with pytest.raises(Refused, match="fuses attention already"):
        asked("gpt2", "a100-sxm-80gb", "flash-attention", stack="torch-eager", **TRAIN)


def test_written_out_attention_is_its_opposite() -> None:
    fused = asked("gpt2", "a100-sxm-80gb", stack="torch-eager", **TRAIN)
    apart = asked("gpt2", "a100-sxm-80gb", "written-out-attention", stack="torch-eager", **TRAIN)
    assert apart.time > 1.2 * fused.time
    assert apart.memory.total > fused.memory.total
    with pytest.raises(Refused, match="both change"):
        asked("gpt2", "a100-sxm-80gb", "written-out-attention", "flash-attention", stack="torch-eager", **TRAIN)
    with pytest.raises(Refused, match="share keys"):
        asked("llama-3.1-8b", "a100-sxm-80gb", "written-out-attention", phase="prefill", isl=512, stack="torch-eager")


@pytest.mark.parametrize(("machine", "gain"), [("a100-sxm-80gb", 1.0), ("h100-sxm-80gb", 1.5)])
def test_overlap_pays_where_instructions_are_asynchronous(machine: str, gain: float) -> None:
    source = attention(8, 2048, 16, 128)
    two = asked(source, machine, "flash-attention-2", stack="ideal")
    if gain == 1.0:
        with pytest.raises(Refused, match="no asynchronous"):
            asked(source, machine, "flash-attention-3", stack="ideal")
        return
    three = asked(source, machine, "flash-attention-3", stack="ideal")
    assert two.time / three.time > gain


def test_a_measured_stack_has_the_kernels_of_its_day() -> None:
    for label, phase in (("lean-attention", "decode"), ("flash-decoding", "decode"), ("flash-attention-3", "prefill")):
        with pytest.raises(Refused, match=r"already|of its kind"):
            asked("llama-3.1-8b", "h100-sxm-80gb", label, phase=phase, batch=1, context=8192, isl=8192)


def test_launches_bind_small_steps_and_graphs_take_them_away() -> None:
    common = {"phase": "decode", "batch": 1, "context": 512, "stack": "transformers@4.35"}
    before = asked("gpt2", "h100-sxm-80gb", **common)
    graph = asked("gpt2", "h100-sxm-80gb", "cuda-graphs", **common)
    one = asked("gpt2", "h100-sxm-80gb", "megakernel", **common)
    assert before.bound == "launch"
    assert before.time > 1.5 * graph.time > 1.5 * one.time
    assert before.flops == graph.flops == one.flops
    with pytest.raises(Refused, match="captures graphs"):
        asked("llama-3.1-8b", "h100-sxm-80gb", "cuda-graphs", phase="decode")


def test_fusion_moves_fewer_bytes_for_the_same_work() -> None:
    before = asked("bert-large", "v100-sxm2-16gb", stack="torch-eager@1.13", batch=8, isl=512, dtype="fp16")
    after = asked(
        "bert-large", "v100-sxm2-16gb", "operator-fusion", stack="torch-eager@1.13", batch=8, isl=512, dtype="fp16"
    )
    assert after.bytes < before.bytes
    assert after.flops == before.flops
    with pytest.raises(Refused, match="fuses operators already"):
        asked("bert-large", "v100-sxm2-16gb", "operator-fusion", stack="torch-compile")


def test_a_tiled_loss_holds_one_tile_of_logits() -> None:
    common = {"phase": "train", "batch": 8, "isl": 4096, "dtype": "bf16", "stack": "torch-eager"}
    before = asked("llama-3.2-1b", "a100-sxm-80gb", **common)
    after = asked("llama-3.2-1b", "a100-sxm-80gb", "fused-cross-entropy", **common)
    logits = 8 * 4096 * 128256 * 2
    saved = float(before.memory.total - after.memory.total)
    assert logits < saved < 2.1 * logits
    assert after.flops == before.flops


def test_a_narrow_network_fuses_whole_and_a_wide_one_does_not() -> None:
    def network(width: int) -> str:
        layer = {"m": 2**22, "n": width, "k": width}
        return ops(*[("gemm", {**layer, **({"a": f"op{i - 1}.out"} if i else {})}) for i in range(4)])

    before, after = (asked(network(64), "h100-sxm-80gb", *t, stack="torch-eager") for t in ((), ("fused-mlp",)))
    assert before.bytes / after.bytes > 3.5
    with pytest.raises(Refused, match="do not stay on the chip"):
        asked(network(1024), "h100-sxm-80gb", "fused-mlp", stack="torch-eager")


def test_a_recurrence_is_launches_or_round_trips() -> None:
    source = ops(("rnn", {"hidden": 768, "batch": 16, "steps": 512, "project": "no"}), dtype="bf16")
    apart = asked(source, "h100-sxm-80gb", "stepwise-recurrence", stack="torch-eager")
    one = asked(source, "h100-sxm-80gb", "fused-recurrence", stack="torch-eager")
    assert apart.bound == "launch"
    assert apart.time > 50 * one.time


def test_sparser_prompts_pay_more_the_longer_they_are() -> None:
    def gain(isl: int) -> float:
        before, after = (
            asked("llama-3.1-8b", "h100-sxm-80gb", *t, phase="prefill", batch=1, isl=isl)
            for t in ((), ("sparse-prefill",))
        )
        return float(before.time / after.time)

    assert 1.0 <= gain(2048) < gain(16384) < gain(131072)


def test_even_shares_of_a_product_have_no_last_wave() -> None:
    source = ops(("gemm", {"m": 128 * 109, "n": 128, "k": 4096}))  # one tile more than a wave
    before, after = (asked(source, "a100-sxm-80gb", *t, stack="ideal") for t in ((), ("stream-k",)))
    assert before.time > after.time
    assert after.time >= after.limit
