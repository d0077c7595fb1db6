"""Writes docs/regimes.md: which resource binds at which batch, length and machine, by the engine.

python scripts/regimes_page.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speedlight.evidence.literature import paper
from speedlight.validation.regimes import CLASSES, Point, regimes

BATCHES = (1, 8, 32, 128, 512)
LENGTHS = (512, 4096, 32768, 262144)
MAPS = (
    ("decode", "llama-3.1-8b", "h100-sxm-80gb", {}),
    ("decode", "llama-3.1-70b", "dgx-h100", {"tp": 8}),
    ("decode", "llama-3.1-8b", "rtx-4090", {}),
    ("decode", "mixtral-8x7b", "dgx-h100", {"tp": 8}),
    ("prefill", "llama-3.1-8b", "h100-sxm-80gb", {}),
    ("prefill", "llama-3.1-70b", "dgx-a100-80gb", {"tp": 8}),
    ("forward", "bert-base", "h100-sxm-80gb", {"dtype": "bf16", "stack": "torch-eager"}),
    ("forward", "bert-base", "rtx-3090", {"dtype": "fp32", "stack": "torch-eager"}),
    ("train", "llama-3.1-8b", "dgx-h100", {"dp": 8, "zero": 3, "nodes": 1, "micro_batch": 1, "recompute": "full"}),
    ("train", "bert-large", "rtx-4090", {"dp": 8, "dtype": "amp", "micro_batch": 8}),
)
# What papers of the ledger say binds, by the class it amounts to.
STATEMENTS = (
    ("Decoding reads weights, whatever it computes", "weights", ("marlin", "ai-and-memory-wall", "folding-attention")),
    ("Large-batch decoding stays bound by the KV cache", "kv", ("mind-the-memory-gap",)),
    (
        "Few bits help while memory binds, fast formats when products do",
        "weights, then products",
        ("give-me-bf16-or-give-me-death-accuracy-performance-trade-off", "flattenquant"),
    ),
    ("Attention's quadratic work dominates", "scores", ("minference-1-0",)),
    ("Training is bound by passes over memory", "passes", ("data-movement-is-all-you-need", "flashattention")),
    (
        "Decoding waits for launches",
        "launch",
        (
            "characterizing-and-efficiently-accelerating-multimodal-gener",
            "characterizing-and-optimizing-llm-inference-workloads-on-cpu",
        ),
    ),
    ("Compute, memory and network bind in turns within a step", "all", ("nanoflow",)),
    (
        "Links bind: their latency between weak devices, their bandwidth in clusters",
        "links",
        ("tpi-llm", "l-greco", "1-bit-adam"),
    ),
)


def cell(point: Point) -> str:
    return "does not fit" if point.most is None else f"{point.most} {point.shares[point.most]:.0%}"


def table(phase: str, model: str, machine: str, options: dict[str, Any]) -> list[str]:
    lengths = {"forward": (128, 512), "train": (512, 4096, 16384)}.get(phase, LENGTHS)
    if model == "bert-large":
        lengths = (128, 512)
    batches = tuple(b for b in BATCHES if phase != "train" or b >= 8 * int(options.get("micro_batch", 1)))
    points = regimes(model, machine, phase, batches, lengths, **options)
    layout = "".join(f", {k} {v}" for k, v in options.items() if k not in ("nodes", "micro_batch"))
    what = {"decode": "cached tokens", "prefill": "prompt tokens"}.get(phase, "tokens a sequence")
    lines = [f"### {phase.capitalize()}: {model} on {machine}{layout}", ""]
    lines += [f"| {what} | " + " | ".join(f"batch {b}" for b in batches) + " |", "|---:|" + "---|" * len(batches)]
    for length in lengths:
        row = [cell(p) for b in batches for p in points if (p.batch, p.length) == (b, length)]
        lines.append(f"| {length:,} | " + " | ".join(row) + " |")
    return [*lines, ""]


def main() -> None:
    known = [(say, cls, [paper(i).title for i in ids if _there(i)]) for say, cls, ids in STATEMENTS]
    lines = [
        "# Which bottleneck, where", "",
        "Papers name different bottlenecks, and most are right: for their batch, length and machine. Each cell is the class of work",
        "that takes most of the time there, with its share, as the engine predicts it (`scripts/regimes_page.py` writes this page).", "",
        "| class | what it means |", "|---|---|", *(f"| {k} | {v} |" for k, v in CLASSES.items()), "",
        "## What papers say, and the class it amounts to", "", "| statement | class | for example |", "|---|---|---|",
        *(f"| {say} | {cls} | {'; '.join(titles)} |" for say, cls, titles in known), "", "## Maps", "",
    ]  # fmt: skip
    for phase, model, machine, options in MAPS:
        lines += table(phase, model, machine, options)
    lines += [
        "Reading them: in decoding, weights bind until the batch is large or the context long; then keys and values do. In prefill,",
        "products bind until attention's own quadratic work overtakes them; on several devices links take a share that grows with tp.",
        "",
    ]  # fmt: skip
    Path("docs/regimes.md").write_text("\n".join(lines), encoding="utf-8")


def _there(name: str) -> bool:
    from speedlight.evidence.literature import paper_ids

    return name in paper_ids()


if __name__ == "__main__":
    main()
