"""Impossible layouts: each ends with exit code 2 and a message that names the fix, or is an answer that does not fit."""

from __future__ import annotations

import json

import pytest

from speedlight.cli.main import main

BASE = ["explain", "llama-3.2-1b", "--on", "dgx-h100", "--phase", "train", "--batch", "16", "--isl", "512"]
LONE = ["explain", "llama-3.2-1b", "--on", "h100-sxm-80gb", "--phase", "train", "--batch", "16", "--isl", "512"]
MOE = ["explain", "qwen3-30b-a3b", "--on", "dgx-h100", "--phase", "train", "--batch", "16", "--isl", "512"]

IMPOSSIBLE = [
    # heads, widths, experts and what degrees must divide
    (BASE, "--tp 3", "divide"), (BASE, "--tp 7", "nearest"), (BASE, "--tp 6 --sp 1", "divide"), (BASE, "--tp 0", "at least 1"),
    (BASE, "--tp -2", "at least 1"), (MOE, "--ep 3 --dp 3", "batch"), (MOE, "--ep 5 --tp 5", "divide"), (MOE, "--ep 16", "ep"),
    (MOE, "--ep 8 --dp 4", "--dp"), (MOE, "--ep 3 --dp 6 --batch 18", "experts"), (MOE, "--etp 5 --dp 5 --batch 10", "etp 5"),
    (MOE, "--ep 8 --etp 4 --dp 8", "etp"), (BASE, "--cp 3", "512"), (BASE, "--cp 2 --cp-kind star", "ring"),
    (BASE, "--cp 5 --isl 510 --cp-kind ulysses", "ring"), (BASE, "--cp 0", "at least 1"),
    # more ranks than devices
    (BASE, "--dp 16", "devices"), (BASE, "--tp 8 --pp 2", "devices"), (BASE, "--pp 4 --dp 4", "devices"), (BASE, "--tp 2 --cp 2 --dp 4", "devices"),
    # stages
    (LONE, "--pp 17", "16 layers"), (BASE, "--pp 8 --schedule interleaved:3", "16 layers"), (BASE, "--pp 0", "at least 1"),
    (BASE, "--pp 4 --first 14 --last 2", "layer for each stage"), (BASE, "--first 2", "--pp"), (BASE, "--pp 2 --first 16", "layer"),
    (BASE, "--pp 2 --first 0", "at least 1"), (BASE, "--pp 2 --schedule zigzag", "1f1b"),
    (BASE, "--pp 2 --schedule interleaved:0", "interleaved"), (BASE, "--pp 2 --schedule interleaved:x", "interleaved"),
    (BASE, "--pp 2 --schedule gpipe:2", "gpipe"), (BASE, "--pp 3 --schedule chimera --batch 12", "even"),
    # batches and micro-batches
    (BASE, "--dp 3", "dp"), (BASE, "--dp 8 --batch 12", "--batch"), (BASE, "--micro-batch 0", "at least 1"), (BASE, "--micro-batch 3", "--micro-batch"),
    (BASE, "--dp 8 --micro-batch 4", "micro"), (BASE, "--batch 0", "at least 1"), (BASE, "--micro-batch -1", "at least 1"),
    # sharding, recomputation, precision, offload
    (BASE, "--zero 4", "0 to 3"), (BASE, "--zero -1", "0 to 3"), (BASE, "--dp 8 --zero 3 --shard 3", "divisor"), (BASE, "--sp 2", "0 to 1"),
    (BASE, "--recompute some", "selective"), (BASE, "--recompute -1", "number of layers"), (BASE, "--optimizer magic", "adamw"),
    (BASE, "--states fp13", "fp13"), (BASE, "--gradients fp13", "fp13"), (BASE, "--offload everything:host", "optimizer"),
    (BASE, "--offload optimizer:moon", "host"), (BASE, "--offload optimizer", "CLASS:TIER"),
    (BASE, "--offload optimizer:host --offload optimizer:disk", "twice"),
    # axes that the phase does not have
    (["explain", "llama-3.2-1b", "--on", "dgx-h100", "--phase", "decode"], "--cp 2", "train"),
    (["explain", "llama-3.2-1b", "--on", "dgx-h100", "--phase", "prefill"], "--zero 3", "train"),
    (["explain", "llama-3.2-1b", "--on", "dgx-h100", "--phase", "decode"], "--schedule gpipe", "train"),
    (["explain", "llama-3.2-1b", "--on", "dgx-h100", "--phase", "prefill"], "--pp 32", "devices"),
    (["explain", "resnet50", "--on", "dgx-h100", "--phase", "train"], "--tp 2", "--tp 1"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "layout", "says"), IMPOSSIBLE, ids=[f"{w[1]} {x}" for w, x, _ in IMPOSSIBLE])
def test_impossible_layouts(words: list[str], layout: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = layout.split()
    kept = list(words)
    for option in ("--batch", "--isl"):
        if option in given and option in kept:
            at = kept.index(option)
            kept = kept[:at] + kept[at + 2 :]
    code = main([*kept, *given])
    out, err = capsys.readouterr()
    assert code == 2, (out, err)
    assert "Traceback" not in out + err
    assert says.lower() in err.lower(), err
    assert len(err.splitlines()) <= 4


@pytest.mark.parametrize(
    ("layout", "lever"),
    [
        (["--batch", "8", "--dp", "8", "--isl", "2048"], "--zero 1"), (["--batch", "8", "--tp", "8", "--isl", "131072"], "--recompute full"),
        (["--batch", "8", "--pp", "2", "--micro-batch", "1", "--isl", "4096"], "--tp"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_answer_with_levers(
    layout: list[str], lever: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", "llama-3.1-8b", "--on", "dgx-h100", "--phase", "train", "--json", "-", *layout]
    assert main(words) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["memory"]["fits"]
    assert any(found["change"].startswith(lever) for found in answer["levers"])
    assert answer["time"] > 0
