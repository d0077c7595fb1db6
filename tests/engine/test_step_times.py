"""Step times of an engine: tables against direct pricing on random steps, and laws of what a step may cost."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from speedlight._foundation.errors import BadInput
from speedlight.engine.questions.resolve import resolve
from speedlight.engine.serving.step_parts import sent
from speedlight.engine.serving.step_times import EngineSteps
from speedlight.placement.serving import Layout
from speedlight.scenario.scenario import ModelRef, Program, Scenario
from speedlight.serving.steps import StepShape, prefill_pairs
from speedlight.workload.workload import Workload


def engine(model: str, layout: Layout, machine: str = "dgx-h100", stack: str = "vllm") -> EngineSteps:
    workload = Workload("decode", 1, context=1024)
    return EngineSteps(resolve(Scenario((Program(ModelRef(model), workload, stack=stack),), machine)), layout)


def random_steps(count: int) -> StepShape:
    """Mixed steps: some decode only, some prompts only, contexts to 32 thousand tokens, pieces of up to 8192."""
    random = np.random.default_rng(3)
    decodes = np.floor(np.exp(random.uniform(0, np.log(256), count))) * (random.random(count) > 0.1)
    context = np.floor(np.exp(random.uniform(np.log(32), np.log(32768), count)))
    new = np.floor(np.exp(random.uniform(np.log(16), np.log(8192), count))) * (
        (random.random(count) > 0.5) | (decodes == 0)
    )
    cached = np.floor(new * random.integers(0, 4, count))
    return StepShape(
        decodes + new, decodes, decodes * context, context, prefill_pairs(new, cached), 0, (new > 0) * 1.0, new
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "layout"), [("llama-3.1-8b", Layout()), ("qwen3-30b-a3b", Layout(1, 4, 1, 4))], ids=["dense", "experts"]
)
def test_tables_agree_with_direct_pricing(model: str, layout: Layout) -> None:
    steps = engine(model, layout)
    shape = random_steps(10_000)
    direct, tabulated = steps.step_time(shape), steps.tables().step_time(shape)
    off = np.abs(tabulated / direct - 1)
    assert np.median(off) <= 0.01
    assert off.max() <= 0.03


def test_more_work_takes_no_less_time() -> None:
    steps = engine("llama-3.1-8b", Layout(2, 1, 2, 1))
    context = np.array([128.0, 1024.0, 8192.0, 65536.0])
    assert np.all(np.diff(steps.step_time(StepShape.decode(32, context))) > 0)
    assert np.all(np.diff(steps.step_time(StepShape.prefill(1, np.array([512.0, 1024.0, 4096.0])))) > 0)
    assert np.all(steps.step_time(StepShape.prefill(1, 1024.0, np.array([0.0, 4096.0]))) > 0)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v3"])
def test_a_step_that_verifies_drafts_is_priced_with_all_its_queries(model: str) -> None:
    """Not less than one query a sequence, not more than so many steps; many heads on one latent cache are bound by their products,
    so that queries show, where a few heads a key leave room."""
    layout = Layout(1, 8, 1, 8) if model == "deepseek-v3" else Layout()
    plain = engine(model, layout)
    drafting = dataclasses.replace(plain, drafted=3)
    shapes = [StepShape.decode(np.array([1.0, 16.0, 128.0]), 8192.0, drafted=k) for k in (0, 3)]
    one, four = plain.step_time(shapes[0]), drafting.step_time(shapes[1])
    assert np.all((one * 0.999 <= four) & (four <= 4.001 * one))
    assert drafting.tables().step_time(shapes[1]) == pytest.approx(four, rel=0.03)
    grown = drafting.of_decoding(128.0, 8192.0) / plain.of_decoding(128.0, 8192.0)
    assert (grown > 1.5) if model == "deepseek-v3" else (1.0 <= grown < 1.5)


def test_sglang_reads_prompts_onto_an_fp8_cache_with_its_own_engine_s_kernels() -> None:
    """FlashAttention 3 with queries in the cache's format is no slower than in bf16; the table's Triton kernel takes 4.6 times as long."""
    prompts = []
    for kv in ("fp8", None):
        program = Program(ModelRef("qwen3-32b-fp8", kv=kv), Workload("decode", 1, context=1024), stack="sglang")
        prompts.append(float(EngineSteps(resolve(Scenario((program,), "dgx-h100"))).of_prompts(4000.0, 2000.5)))
    assert 0.5 < prompts[0] / prompts[1] < 1.1


def test_pieces_of_a_prompt_cost_what_the_whole_costs_and_their_launches() -> None:
    steps = engine("llama-3.1-8b", Layout())
    pieces = sum(steps.of_prompts(np.array(1024.0), np.array(1024.0 * i + 512.5)) for i in range(4))
    launch = steps.of_prompts(np.array(1.0), np.array(1.0))
    assert pieces == pytest.approx(steps.of_prompts(np.array(4096.0), np.array(2048.5)) + 3 * launch)


def test_layouts_that_do_not_fill_their_ranks_are_refused() -> None:
    with pytest.raises(BadInput):
        engine("llama-3.1-8b", Layout(2, 1, 1, 1))


def test_a_wide_pool_sends_tokens_only_where_their_experts_are() -> None:
    assert sent(8, 8.0) == 1.0  # as many groups as picks: gathered everywhere
    share = sent(np.array([9.0, 32.0, 72.0, 4096.0]), 8.0)
    assert np.all(np.diff(share) < 0)
    assert share[-1] == pytest.approx(8 / 4096, rel=0.01)
