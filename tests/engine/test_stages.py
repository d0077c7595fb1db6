"""Several programs in one call, and sizes that are no tokens: sources, pictures, recordings, denoising steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import speedlight
from speedlight._foundation.errors import BadInput, SpeedlightError, Unsupported
from speedlight.scenario.file import dumps, loads, scenario_hash
from speedlight.scenario.scenario import Edge, ModelRef, Program, Scenario
from speedlight.workload.workload import Workload

H100 = "h100-sxm-80gb"
PICTURE = {"phase": "generate", "height": 512, "width": 512}


def ask(model: str = "pixart-sigma", **options: Any) -> Any:
    return speedlight.explain(model, H100, **options)


def by_step(answer: Any, value: str = "time") -> dict[str, float]:
    sums: dict[str, float] = {}
    for row in answer.ops:
        sums[row.step] = sums.get(row.step, 0.0) + getattr(row, value)
    return sums


def test_a_pipeline_is_its_stages_in_sequence() -> None:
    answer = ask(**PICTURE, steps=4)
    parts = by_step(answer)
    assert list(parts) == ["text_encoder", "denoise", "vae"]
    assert sum(parts.values()) == pytest.approx(answer.time, rel=1e-9)
    assert answer.phase == "generate"
    assert all(row.path.startswith(f"{row.step}.") for row in answer.ops)
    assert answer.limit <= answer.low <= answer.time <= answer.high
    alone = speedlight.explain("sdxl-vae", H100, height=512, width=512)
    assert parts["vae"] < alone.time  # which encodes as well


def test_each_stage_costs_what_it_costs_alone() -> None:
    answer = ask(**PICTURE, steps=4, guidance="off")
    step = ask(phase="forward", height=512, width=512)
    assert by_step(answer)["denoise"] == pytest.approx(4 * step.time, rel=1e-9)


def test_steps_repeat_the_denoiser_and_nothing_else() -> None:
    few, many = by_step(ask(**PICTURE, steps=2)), by_step(ask(**PICTURE, steps=20))
    assert many["denoise"] == pytest.approx(10 * few["denoise"], rel=1e-9)
    assert many["vae"] == few["vae"]
    assert many["text_encoder"] == few["text_encoder"]


def test_guidance_doubles_the_denoiser_and_the_text() -> None:
    on, off = (by_step(ask(**PICTURE, steps=2, guidance=g), "flops") for g in ("on", "off"))
    assert on["denoise"] == pytest.approx(2 * off["denoise"], rel=1e-12)
    assert on["text_encoder"] == pytest.approx(2 * off["text_encoder"], rel=1e-12)
    assert on["vae"] == off["vae"]


def test_all_weights_stay_and_the_neediest_stage_decides_the_rest() -> None:
    answer = ask(**PICTURE, steps=2)
    parts = answer.model["parts"]
    assert (
        answer.memory.by_class["weights"]
        == sum(p["weight_bytes"] for p in parts.values())
        == answer.model["weight_bytes"]
    )
    assert parts["text_encoder"]["params"] == 4_762_310_656
    larger = ask(**PICTURE, steps=2, batch=4)
    assert larger.memory.by_class["weights"] == answer.memory.by_class["weights"]
    assert larger.memory.by_class["activations"] > 2 * answer.memory.by_class["activations"]


def test_fit_finds_the_largest_batch_of_all_stages() -> None:
    found = speedlight.fit("sd-1.5", "rtx-4090", phase="generate")
    most = found["largest_batch"]
    assert found["fits"]
    assert speedlight.explain("sd-1.5", "rtx-4090", phase="generate", steps=1, batch=most).fits
    assert not speedlight.explain("sd-1.5", "rtx-4090", phase="generate", steps=1, batch=most + 1).fits


def test_a_sweep_of_steps_and_batches_equals_its_points() -> None:
    steps, batch = np.array([1, 5, 30]), np.array([[1], [3]])
    swept = ask(**PICTURE, steps=steps, batch=batch)
    assert swept.time.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            one = ask(**PICTURE, steps=int(steps[j]), batch=int(batch[i, 0]))
            assert swept.time[i, j] == pytest.approx(one.time, rel=1e-9)


def test_a_pipeline_replays_from_its_file(tmp_path: Path) -> None:
    asked = speedlight.make_scenario("pixart-sigma", H100, **PICTURE, steps=3)
    again = loads(dumps(asked))
    assert scenario_hash(again) == scenario_hash(asked)
    assert speedlight.explain(again).time == speedlight.explain(asked).time


def test_any_programs_in_sequence() -> None:
    """Encode, then rerank: two models that nobody made a pipeline of."""
    encode = Program(ModelRef("bert-base"), Workload("forward", batch=8, isl=64), name="encode")
    rerank = Program(ModelRef("deberta-v3-base"), Workload("forward", batch=50, isl=128), name="rerank", repeats=2)
    both = speedlight.explain(Scenario((encode, rerank), H100))
    each = [speedlight.explain(Scenario((p,), H100)).time for p in (encode, rerank)]
    assert both.time == pytest.approx(each[0] + 2 * each[1], rel=1e-9)
    assert both.model["id"] == "bert-base"


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (Scenario((), H100), "no program"),
        (Scenario((Program(ModelRef("gpt2")),) * 2, H100), "two programs"),
        (Scenario((Program(ModelRef("gpt2")), Program(ModelRef("gpt2"), name="b")), H100, main="c"), "'c'"),
        (Scenario((Program(ModelRef("gpt2")),), H100, edges=(Edge("a", "b"),)), "joins no two programs"),
        (Scenario((Program(ModelRef("gpt2"), repeats=0),), H100), "repeats"),
    ],
)
def test_chains_that_make_no_sense(scenario: Scenario, message: str) -> None:
    with pytest.raises((BadInput, Unsupported), match=message):
        speedlight.explain(scenario)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("llama-3.1-8b", {"steps": 3}), ("sd-1.5", {"steps": 3}), ("sd-1.5", {"phase": "generate", "steps": 0}),
        ("sd-1.5", {"phase": "generate", "guidance": "perhaps"}), ("t5-small", {"seconds": 3}), ("t5-small", {"isl": 0}),
        ("sd-1.5", {"height": -8}), ("flux.1-dev", {"frames": 3}), ("whisper-tiny", {"seconds": float("nan")}),
        ("whisper-tiny", {"seconds": "long"}),
    ],
)  # fmt: skip
def test_sizes_a_model_does_not_have(model: str, options: dict[str, Any]) -> None:
    with pytest.raises(SpeedlightError):
        ask(model, **options)


def test_later_steps_of_an_encoder_decoder_do_not_read_the_source_again() -> None:
    """Ten more tokens cost ten steps; a longer source costs them only the keys and values it left."""
    short, long = (ask("t5-small", isl=n, osl=20, batch=32) for n in (128, 1024))
    assert long.ttft > short.ttft
    assert long.tpot - short.tpot < 0.1 * (long.ttft - short.ttft)
    steps = by_step(short)
    assert short.time == pytest.approx(steps["prefill"] + steps["decode"], rel=1e-9)
    encoder = [row for row in short.ops if "encoder." in row.path and "decoder" not in row.path and row.kind != "gap"]
    assert {row.step for row in encoder} == {"prefill"}


def test_a_training_step_reads_source_and_target() -> None:
    answer = ask("t5-small", phase="train", isl=64, osl=32, batch=4)
    forward = ask("t5-small", phase="forward", isl=64, osl=32, batch=4)
    assert answer.flops == pytest.approx(3 * forward.flops, rel=0.01)


def test_recordings_come_in_windows() -> None:
    """45 seconds are two windows of 30, the second padded."""
    one, two = (ask("whisper-tiny", seconds=s, phase="prefill") for s in (30, 45))
    assert two.flops == pytest.approx(2 * one.flops, rel=1e-12)
    assert ask("whisper-tiny", seconds=5, phase="prefill").flops == one.flops


def test_pictures_join_the_prompt() -> None:
    text = ask("llava-1.5-7b", phase="prefill", isl=100, images=0)
    seen = ask("llava-1.5-7b", phase="prefill", isl=100, images=1)
    longer = ask("llava-1.5-7b", phase="prefill", isl=676, images=0)
    assert seen.scenario.program.workload.isl == 676
    tower = sum(row.flops for row in seen.ops if row.path.startswith("vision") or "encoder.layers" in row.path)
    assert text.flops < longer.flops
    assert seen.flops == pytest.approx(longer.flops + tower, rel=1e-9)


def test_a_clip_has_a_token_for_every_patch_of_its_latent_pictures() -> None:
    asked = speedlight.make_scenario("wan2.1-t2v-1.3b", H100, phase="generate", height=480, width=832, frames=81)
    assert asked.program.workload.isl == 21 * 30 * 52
    assert asked.program.repeats == 50
