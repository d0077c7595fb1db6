"""Bad input ends in one clear message and exit code 2, never a traceback.

Each case names what the message must say; all of them run through the same door as the shell.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speedlight.cli.main import main

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2,
    "intermediate_size": 512, "vocab_size": 1000, "torch_dtype": "bfloat16",
}  # fmt: skip
MOE: dict[str, Any] = {
    **LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2,
}  # fmt: skip
MACHINE: dict[str, Any] = {
    "schema": 1, "sort": "device", "id": "mine", "name": "Mine", "vendor": "me", "kind": "gpu",
    "engines": [{"name": "sm", "kind": "simt", "units": 10, "clock": "1 GHz", "peaks": [
        {"unit": "matmul", "format": "bf16", "flops": "10 TFLOP/s"}, {"unit": "vector", "format": "fp32", "flops": "1 TFLOP/s"}]}],
    "tiers": [{"name": "dram", "role": "main", "capacity": "80 GB", "bandwidth": "1 TB/s"}],
}  # fmt: skip
ON = ["--on", "h100-sxm-80gb"]


def without(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != name}


# (words after `explain`, with {config} for a file written from `content`; content; what the message says)
CONFIGS: list[tuple[str, Any, str]] = [
    ("truncated JSON", '{"model_type": "llama", ', "JSON"),
    ("empty file", "", "JSON"),
    ("a list", "[1, 2]", "list"),
    ("a number", "7", "int"),
    ("deep nesting", "[" * 100_000, "nested"),
    ("huge integer", '{"hidden_size": ' + "9" * 6000 + "}", "JSON"),
    ("no fields", {}, "model_type"),
    ("no model_type, no fields", {"model_type": "mystery"}, "mystery"),
    ("layers missing", without(LLAMA, "num_hidden_layers"), "num_hidden_layers"),
    ("hidden missing", without(LLAMA, "hidden_size"), "hidden_size"),
    ("heads missing", without(LLAMA, "num_attention_heads"), "num_attention_heads"),
    ("width missing", without(LLAMA, "intermediate_size"), "intermediate_size"),
    ("vocabulary missing", without(LLAMA, "vocab_size"), "vocab_size"),
    ("negative hidden", {**LLAMA, "hidden_size": -256}, "hidden_size"),
    ("zero layers", {**LLAMA, "num_hidden_layers": 0}, "num_hidden_layers"),
    ("text for a number", {**LLAMA, "hidden_size": "wide"}, "hidden_size"),
    ("a fraction of a head", {**LLAMA, "num_attention_heads": 7.5}, "num_attention_heads"),
    ("true for a number", {**LLAMA, "num_hidden_layers": True}, "num_hidden_layers"),
    ("null", {**LLAMA, "vocab_size": None}, "vocab_size"),
    ("a list for a number", {**LLAMA, "intermediate_size": [1]}, "intermediate_size"),
    ("absurd size", {**LLAMA, "hidden_size": 10**15}, "hidden_size"),
    ("infinite", json.dumps(LLAMA).replace('"hidden_size": 256', '"hidden_size": Infinity'), "hidden_size"),
    ("heads do not divide", {**LLAMA, "num_attention_heads": 7}, "7"),
    ("more KV heads than heads", {**LLAMA, "num_key_value_heads": 16}, "num_key_value_heads"),
    ("KV heads do not divide", {**LLAMA, "num_key_value_heads": 3}, "num_key_value_heads"),
    ("more picks than experts", {**MOE, "num_experts_per_tok": 9}, "num_experts_per_tok"),
    ("no experts", {**MOE, "num_local_experts": 0}, "num_local_experts"),
    ("unknown dtype", {**LLAMA, "torch_dtype": "float13"}, "float13"),
    ("unknown quantiser", {**LLAMA, "quantization_config": {"quant_method": "magic"}}, "magic"),
    ("quantiser bits", {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 13}}, "13"),
    (
        "quantiser without groups",
        {**LLAMA, "quantization_config": {"quant_method": "compressed-tensors"}},
        "config_groups",
    ),
    ("model_type is a number", {**LLAMA, "model_type": 5}, "model_type"),
]

MACHINES: list[tuple[str, Any, str]] = [
    ("empty machine file", "", "nothing"),
    ("broken YAML", "id: [", "YAML"),
    ("no schema", without(MACHINE, "schema"), "schema"),
    ("future schema", {**MACHINE, "schema": 99}, "schema"),
    ("no engines", {**MACHINE, "engines": []}, "engine"),
    ("no main memory", {**MACHINE, "tiers": []}, "main"),
    ("negative bandwidth", {**MACHINE, "tiers": [{**MACHINE["tiers"][0], "bandwidth": -1}]}, "bandwidth"),
    ("wrong unit", {**MACHINE, "tiers": [{**MACHINE["tiers"][0], "bandwidth": "80 GB"}]}, "bandwidth"),
    ("infinite capacity", {**MACHINE, "tiers": [{**MACHINE["tiers"][0], "capacity": "inf"}]}, "capacity"),
    ("unknown field", {**MACHINE, "colour": "red"}, "colour"),
    ("code in derive", {**MACHINE, "engines": [{**MACHINE["engines"][0], "peaks": [
        {"unit": "matmul", "format": "bf16", "flops": 1e12, "derive": "__import__('os')"}]}]}, "expression"),
    ("no vector unit", {**MACHINE, "engines": [{**MACHINE["engines"][0], "peaks": [
        {"unit": "matmul", "format": "bf16", "flops": 1e12}]}]}, "vector"),
]  # fmt: skip

WORDS: list[tuple[list[str], str]] = [
    (["explain", "llama-3.1-8b"], "--on"),
    (["explain", "llama-3.1-8b", "--on", "h100"], "variants"),
    (["explain", "llama-3.1-8b", "--on", "h100-sxm-80g"], "h100-sxm-80gb"),
    (["explain", "llama-3.1-8b", "--on", "nosuch.yaml"], "nosuch.yaml"),
    (["explain", "lama-3.1-8b", *ON], "llama-3.1-8b"),
    (["explain", "nosuch.json", *ON], "nosuch.json"),
    (["explain", "", *ON], "source"),
    (["explain", "x" * 5000, *ON], "source"),
    (["explain", "llama-3.1-8b", *ON, "--batch", "0"], "batch"),
    (["explain", "llama-3.1-8b", *ON, "--batch", "-4"], "batch"),
    (["explain", "llama-3.1-8b", *ON, "--batch", "many"], "many"),
    (["explain", "llama-3.1-8b", *ON, "--batch", "99999999999999999999"], "batch"),
    (["explain", "llama-3.1-8b", *ON, "--isl", "0"], "isl"),
    (["explain", "llama-3.1-8b", *ON, "--osl", "-1"], "osl"),
    (["explain", "llama-3.1-8b", *ON, "--phase", "decode", "--context", "-1"], "context"),
    (["explain", "llama-3.1-8b", *ON, "--phase", "dance"], "dance"),
    (["explain", "bert-large", *ON, "--phase", "decode"], "decode"),
    (["explain", "llama-3.1-8b", *ON, "--tp", "3"], "divide"),
    (["explain", "llama-3.1-8b", *ON, "--tp", "0"], "tp"),
    (["explain", "llama-3.1-8b", "--on", "dgx-h100", "--tp", "16"], "16"),
    (["explain", "llama-3.1-8b", *ON, "--ep", "2"], "ep"),
    (["explain", "llama-3.1-8b", *ON, "--pp", "64"], "pp"),
    (["explain", "llama-3.1-8b", *ON, "--zero", "3"], "zero"),
    (["explain", "llama-3.1-8b", *ON, "--dtype", "float13"], "float13"),
    (["explain", "llama-3.1-8b", *ON, "--weights", "int17"], "int17"),
    (["explain", "llama-3.1-8b", *ON, "--stack", "vlm"], "vllm"),
    (["explain", "llama-3.1-8b", *ON, "--stack", "none.yaml"], "none.yaml"),
    (["explain", "llama-3.1-8b", *ON, "--power", "-5"], "power"),
    (["explain", "llama-3.1-8b", *ON, "--technique", "magic"], "magic"),
    (["explain", "llama-3.1-8b", *ON, "--schedule", "zero-bubble"], "zero-bubble"),
    (["explain", "llama-3.1-8b", *ON, "--offload", "optimizer:host"], "offload"),
    (["explain", "llama-3.1-8b", *ON, "--offload", "kv:host:2"], "share"),
    (["explain", "llama-3.1-8b", *ON, "--offload", "kv:host", "--pp", "2"], "pipeline"),
    (["explain", "llama-3.1-8b", *ON, "--offload", "experts:host"], "no experts"),
    (["explain", "qwen3-30b-a3b", *ON, "--moe-load", "power:much"], "much"),
    (["explain", "llama-3.1-8b", *ON, "--by", "colour"], "colour"),
    (["explain", "llama-3.1-8b", *ON, "--input", "1x3"], "--input"),
    (["explain", "llama-3.1-8b", *ON, "--phase", "train", "--optimizer", "magic"], "magic"),
    (["explain", "llama-3.1-8b", *ON, "--phase", "train", "--recompute", "some"], "some"),
    (["explain", "llama-3.1-8b", *ON, "--phase", "train", "--batch", "8", "--micro-batch", "3"], "micro-batch"),
    (["explain", "llama-3.1-8b", *ON, "--nosuchflag"], "nosuchflag"),
    (["explain", "nosuch.yaml"], "nosuch.yaml"),
    (["explain"], "MODEL"),
    (["dance"], "dance"),
    (["fit", "llama-3.1-8b"], "--on"),
    (["fit", "llama-3.1-8b", *ON, "--context", "-3", "--phase", "decode"], "context"),
    (["compare", "llama-3.1-8b"], "--on"),
    (["compare", "llama-3.1-8b", "--on", "h100-sxm-80gb", "--on", "nosuch"], "nosuch"),
    (["devices", "zzzz"], "zzzz"),
    (["models", "zzzz"], "zzzz"),
    (["validate", "nosuch.parquet"], "nosuch.parquet"),
    (["validate"], "TABLE"),
    (["validate", "nosuch.parquet", "--cv", "rows"], "rows"),
    (["validate", "nosuch.parquet", "--cv", "group", "--leave", "h200"], "--leave"),
    (["validate", "nosuch.parquet", "--leave", "h200"], "--leave"),
    (["validate", "nosuch.parquet", "--data", "."], "--all"),
    (["validate", "nosuch.parquet", "--all"], "--all"),
    (["validate", "--all", "--data", "no/such/folder"], "no/such/folder"),
    (["validate", "--all", "--suite", "gemm"], "--suite"),
    (["validate", "--all", "--bar", "latency:mape=1"], "--bar"),
    (["explain", "llama-3.1-8b", *ON, "--save", "no/such/folder/s.yaml"], "no/such/folder"),
    (["explain", "llama-3.1-8b", *ON, "--json", "no/such/folder/a.json"], "no/such/folder"),
]


def check(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(words)
    out, err = capsys.readouterr()
    assert code == 2, (words, out, err)
    assert "Traceback" not in out + err
    assert says.lower() in err.lower(), err
    assert err.startswith("speedlight: ")
    assert len(err.splitlines()) <= 4


@pytest.mark.parametrize(("name", "content", "says"), CONFIGS, ids=[c[0] for c in CONFIGS])
def test_bad_configurations(
    name: str, content: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    check(["explain", str(path), *ON], says, capsys)


@pytest.mark.parametrize(("name", "content", "says"), MACHINES, ids=[c[0] for c in MACHINES])
def test_bad_machine_files(
    name: str, content: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    check(["explain", "llama-3.1-8b", "--on", str(path)], says, capsys)


@pytest.mark.parametrize(("words", "says"), WORDS, ids=[" ".join(w)[:60] for w, _ in WORDS])
def test_bad_words(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(words, says, capsys)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.write_bytes(b"\x00\xff\xfe binary"),
        lambda p: p.mkdir(),
        lambda p: p.write_text("schema: 1\nprograms: 5\nmachine: x"),
    ],
)
def test_bad_scenario_files(make: Callable[[Path], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.yaml"
    make(path)
    check(["explain", str(path)], "s.yaml", capsys)


def test_the_error_is_one_json_object_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "lama", *ON, "--json", "-"]) == 2
    out, _ = capsys.readouterr()
    error = json.loads(out)["error"]
    assert set(error) == {"type", "message", "expected", "hint"}
    assert error["type"] == "UnknownName"


def test_the_good_configuration_of_these_cases_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cases above fail for their one defect, not for the rest."""
    for number, config in enumerate((LLAMA, MOE)):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(config))
        machine = tmp_path / "mine.yaml"
        machine.write_text(json.dumps(MACHINE))
        assert main(["explain", str(path), "--on", str(machine), "--json", "-"]) == 0
        capsys.readouterr()


def test_there_are_enough_of_them() -> None:
    assert len(CONFIGS) + len(MACHINES) + len(WORDS) >= 60
