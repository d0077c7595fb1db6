"""Which kernel a stack runs where no tree saw the format on the device."""

from __future__ import annotations

import pytest

from speedlight.costs.calibration.choice import LEAF, Choice, Tree
from speedlight.costs.families import moe
from speedlight.hardware.catalogue import load_machine


def leaf(kernel: str) -> Tree:
    return Tree((LEAF,), (0.0,), (LEAF,), (LEAF,), (kernel,))


HOPPER, AMPERE = "h100-sxm-80gb", "a100-sxm-80gb"
CHOICE = Choice(
    ("m",),
    {
        ("sglang", "1", HOPPER, "bfloat16"): leaf("sglang_fused_moe_triton"),
        ("sglang", "1", HOPPER): leaf("sglang_fused_moe_triton"),
        ("sglang", "1", AMPERE, "int4_wo"): leaf("sglang_marlin_moe"),
        ("sglang", "1", AMPERE, "a_format"): leaf("sglang_marlin_of_another"),
        ("another stack", "1", AMPERE, "int4_wo"): leaf("its_marlin"),
    },
)


@pytest.mark.parametrize(
    ("framework", "number_format", "code", "kernel"),
    [
        # The device's own trees never saw the format, and name another code: the format's, elsewhere, names it.
        ("sglang", "int4_wo", "marlin", "sglang_marlin_moe"),
        # Another format's, where the format was measured nowhere.
        ("sglang", "w4a16_mxfp4", "marlin", "sglang_marlin_of_another"),
        # The device's tree names the code, or the format is its own, or nothing is known of the code.
        ("sglang", "int4_wo", "triton", "sglang_fused_moe_triton"),
        ("sglang", "bfloat16", "marlin", "sglang_fused_moe_triton"),
        ("sglang", "int4_wo", "", "sglang_fused_moe_triton"),
        # No tree of the framework names the code.
        ("sglang", "int4_wo", "cutlass", "sglang_fused_moe_triton"),
    ],
)
def test_a_tree_that_never_saw_a_format_names_the_code_that_runs_it_or_is_not_asked(
    framework: str, number_format: str, code: str, kernel: str
) -> None:
    key = {"framework": framework, "version": "1", "device": HOPPER, "format": number_format, "code": code}
    tree = CHOICE.tree(key)
    assert tree is not None
    assert tree.kernel == (kernel,)


@pytest.mark.parametrize(
    ("machine", "framework", "number_format", "code"),
    [
        ("h100-sxm-80gb", "sglang", "int4_wo", "marlin"),
        ("b200-sxm-180gb", "sglang", "int4_wo", "trtllm-gen"),
        ("b200-sxm-180gb", "vllm", "int4_wo", "marlin"),
        ("h100-sxm-80gb", "sglang", "bfloat16", "triton"),
        ("h100-sxm-80gb", "trtllm", "int4_wo", ""),
    ],
)
def test_rows_of_experts_say_which_code_runs_their_format(
    machine: str, framework: str, number_format: str, code: str
) -> None:
    cls = {"framework": framework, "moe_dtype": number_format}
    assert moe.key(cls, load_machine(machine))["code"] == code
