"""How a question says mixed precision, layout and TF32, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from speedlight._foundation.errors import BadInput, Unsupported
from speedlight.api import explain, make_scenario
from speedlight.scenario.file import dumps, loads
from speedlight.scenario.scenario import Rewrite, Scenario


def ask(**options: Any) -> Scenario:
    return make_scenario("bert-large", "rtx-4090", phase="forward", isl=128, **{"stack": "torch-eager", **options})


def test_amp_is_short_for_autocast() -> None:
    assert ask(dtype="amp").program.model.autocast == "fp16"
    assert ask(dtype="amp").program.model.dtype is None
    assert ask(dtype="amp-bf16").program.model.autocast == "bf16"
    assert ask(dtype="fp32", autocast="float16").program.model.autocast == "fp16"


@pytest.mark.parametrize(
    "options", [{"dtype": "amp-int8"}, {"dtype": "amp", "autocast": "bf16"}, {"layout": "chw"}, {"tf32": "maybe"}]
)
def test_what_nobody_has_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        ask(**options)


def test_a_saved_scenario_is_held_to_the_same() -> None:
    asked = ask(autocast="fp16", tf32="on")
    assert loads(dumps(asked)) == asked
    for change in ({"tf32": "maybe"}, {"layout": "chw"}, {"rewrites": (Rewrite("autocast", (("lower", 5),)),)}):
        with pytest.raises(BadInput):
            explain(asked.with_program(model=dataclasses.replace(asked.program.model, **change)))


def test_autocast_casts_the_weights_of_any_model_and_says_so() -> None:
    plain, mixed = (explain(ask(dtype="fp32", autocast=a, batch=64)) for a in (None, "fp16"))
    assert mixed.peak_used is not None
    assert (mixed.peak_used.format, plain.peak_used and plain.peak_used.format) == ("fp16", "fp32")
    assert mixed.model["weight_bytes"] == plain.model["weight_bytes"]  # they are kept in fp32
    assert any(row.name.endswith(".cast") for row in mixed.ops)
    assert mixed.time < plain.time
    plain, mixed = (explain(ask(dtype="fp32", autocast=a, batch=1)) for a in (None, "fp16"))
    assert mixed.time > plain.time  # every weight is read and written once more than it is used


def test_a_stack_without_lists_has_no_autocast() -> None:
    with pytest.raises(Unsupported):
        explain(ask(stack="vllm", autocast="fp16"))
