"""Techniques applied for real to three models each, beside their predictions; a run that was interrupted goes on.

Usage: python benchmarks/here/techniques.py --on here-calibrated.yaml --out techniques.json [--only NAME] [--seconds S]
       python benchmarks/here/techniques.py --on here-calibrated.yaml --against techniques.json   # predict again what was measured
       python benchmarks/here/techniques.py --on h100-sxm-80gb --device cuda --out techniques-cuda.json   # measure alone, on a GPU
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cases import MODELS

from speedlight.api import make_scenario
from speedlight.measurement.applied.beside import beside
from speedlight.measurement.modules.subject import recipe
from speedlight.techniques.compose import parsed, settled
from speedlight.techniques.verify import applicable, direction, verify
from speedlight.techniques.whatif import whatif

PICTURES, WORDS = ("4x3x224x224",), ("4x128:int64",)
CASES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "torch-compile": (("mobilenetv2_100", PICTURES), ("bert_small", WORDS), ("convnext_atto", PICTURES)),
    "written-out-attention:by=sdpa-math": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("clip_vision", PICTURES)),
    "channels-last": (("resnet18", PICTURES), ("mobilenetv2_100", PICTURES), ("convnext_atto", PICTURES)),
    "reparameterized": (("resnet18", PICTURES), ("repvgg_a0", PICTURES), ("mobilenetv2_100", PICTURES)),
    "mixed-precision:format=bf16": (("resnet18", ("1x3x224x224",)), ("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS)),
    "weight-only-int:bits=8": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("llama_stories", ("1x8:int64",))),
    "dynamic-int8": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("llama_stories", ("1x64:int64",))),
    "masked-pruning": (("resnet18", PICTURES), ("bert_small", WORDS), ("mobilenetv2_100", PICTURES)),
    "layer-dropping:share=0.5": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("gpt2_mini", WORDS)),
    "token-merging": (("vit_tiny_patch16_224", PICTURES), ("deit_tiny_distilled_patch16_224", PICTURES), ("clip_vision", PICTURES)),
    "batching:times=8": (("resnet18", ("1x3x224x224",)), ("bert_small", ("1x16:int64",)), ("mobilenetv3_large_100", ("1x3x224x224",))),
    "activation-checkpointing": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("llama_stories", WORDS)),
    "frozen-layers": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("llama_stories", WORDS)),
    "gradient-accumulation": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("llama_stories", WORDS)),
    "large-batch:times=4": (("vit_tiny_patch16_224", ("2x3x224x224",)), ("bert_small", ("1x64:int64",)), ("classic", ("8x784",))),
    "lean-optimizer:name=sgd": (("vit_tiny_patch16_224", PICTURES), ("bert_small", WORDS), ("classic", ("8x784",))),
}  # fmt: skip
# On a GPU: pictures and words enough to fill it, and what only GPUs have kernels for.
MANY_PICTURES, MANY_WORDS = ("64x3x224x224",), ("32x128:int64",)
ON_DEVICE: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "cuda-graphs": (("mobilenetv2_100", PICTURES), ("bert_small", WORDS), ("resnet18", MANY_PICTURES)),
    "mixed-precision:format=bf16": (("resnet50", MANY_PICTURES), ("vit_small_patch16_224", MANY_PICTURES), ("bert_base", MANY_WORDS)),
    "channels-last": (("resnet50", MANY_PICTURES), ("mobilenetv2_100", MANY_PICTURES), ("convnext_tiny", MANY_PICTURES)),
    "sparsity-2-4": (("bert_base", MANY_WORDS), ("vit_small_patch16_224", MANY_PICTURES), ("clip_vision", MANY_PICTURES)),
    "written-out-attention:by=sdpa-math": (("vit_small_patch16_224", MANY_PICTURES), ("bert_base", MANY_WORDS), ("clip_vision", MANY_PICTURES)),
    "reparameterized": (("resnet50", MANY_PICTURES), ("repvgg_a0", MANY_PICTURES), ("mobilenetv2_100", MANY_PICTURES)),
    "layer-dropping:share=0.5": (("vit_small_patch16_224", MANY_PICTURES), ("bert_base", MANY_WORDS), ("gpt2_mini", WORDS)),
    "token-merging": (("vit_small_patch16_224", MANY_PICTURES), ("deit_tiny_distilled_patch16_224", MANY_PICTURES), ("clip_vision", MANY_PICTURES)),
    "batching:times=8": (("resnet18", ("1x3x224x224",)), ("bert_base", ("4x128:int64",)), ("resnet50", ("32x3x224x224",))),
    "activation-checkpointing": (("vit_small_patch16_224", MANY_PICTURES), ("bert_base", MANY_WORDS), ("llama_stories", WORDS)),
    "gradient-accumulation": (("vit_small_patch16_224", MANY_PICTURES), ("bert_base", MANY_WORDS), ("llama_stories", WORDS)),
    "frozen-layers": (("vit_small_patch16_224", MANY_PICTURES), ("bert_base", MANY_WORDS), ("llama_stories", WORDS)),
    "lean-optimizer:name=sgd": (("vit_small_patch16_224", PICTURES), ("bert_base", WORDS), ("classic", ("8x784",))),
    "large-batch:times=4": (("vit_small_patch16_224", PICTURES), ("bert_base", ("8x64:int64",)), ("classic", ("8x784",))),
    "weight-only-int:bits=8": (("bert_base", ("1x16:int64",)), ("vit_small_patch16_224", PICTURES), ("llama_stories", ("1x8:int64",))),
    "masked-pruning": (("resnet50", MANY_PICTURES), ("bert_base", MANY_WORDS), ("mobilenetv2_100", PICTURES)),
    "torch-compile": (("resnet50", MANY_PICTURES), ("bert_base", MANY_WORDS), ("convnext_tiny", MANY_PICTURES)),
}  # fmt: skip
HALF = ("sparsity-2-4",)  # of networks in 16 bits: what their kernels take
TRAINED = ("activation-checkpointing", "frozen-layers", "gradient-accumulation", "large-batch", "lean-optimizer")


def cases(only: str, device: str) -> Iterator[tuple[str, str, str, Any]]:
    """(name, technique, model, options of the question)."""
    for technique, models in (CASES if device == "cpu" else ON_DEVICE).items():
        train = technique.partition(":")[0] in TRAINED
        for model, inputs in models:
            if only in f"{technique}/{model}":
                options = {"phase": "train" if train else "forward", "inputs": inputs, "stack": "torch-eager"}
                if technique in HALF:
                    options["dtype"] = "fp16"
                yield f"{technique}/{model}", technique, source(model), options


def alone(technique: str, model: str, options: Any, seconds: float, device: str) -> dict[str, Any]:
    """What a technique does here, without a prediction: for machines whose time is dear."""
    use = settled((parsed(technique),))[0]
    method = applicable(use)
    given = recipe(
        model, options["inputs"], train=options["phase"] == "train", dtype=options.get("dtype"), device=device
    )
    why = method.why_not(given, use.settings)
    if why:
        return {"refused": why}
    work = method.work(use.settings)
    found = beside(given, method.apply(given, use.settings), seconds, compare=work == 1)
    measured = {
        "before": found.before, "after": found.after, "speedup": found.speedup * work, "low": found.low * work, "high": found.high * work,
        "memory": found.peak_before / found.peak_after, "peak_before": found.peak_before, "peak_after": found.peak_after,
    }  # fmt: skip
    difference = None if found.difference is None else dataclasses.asdict(found.difference)
    return {"measured": measured, "difference": difference, "exact": method.exact, "how": method.how}


def source(model: str) -> str:
    from speedlight.frontends.carried import find

    return model if find(model) is not None else f"{MODELS}:{model}"


def again(found: dict[str, Any], machine: str, technique: str, model: str, options: Any) -> dict[str, Any]:
    """What was measured, with today's prediction."""
    outcome = whatif(make_scenario(model, machine, **options), names=(technique,)).singles[0]
    gain = outcome.gain
    predicted = {
        "speedup": float(gain.speedup),
        "low": float(gain.low),
        "high": float(gain.high),
        "memory": float(gain.memory),
    }
    measured = found["measured"]["speedup"]
    return {
        **found, "predicted": predicted, "ratio": predicted["speedup"] / measured,
        "direction": direction(measured, predicted["speedup"], predicted["low"], predicted["high"]),
    }  # fmt: skip


def report(rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for name, row in rows:
        m, p, d = row["measured"], row["predicted"], row["difference"]
        results = (
            ""
            if d is None or d["largest"] is None
            else f"{d['of']} {d['largest']:.0e}"
            + ("" if not row["exact"] else " exact" if d["close"] else " NOT EXACT")
        )
        print(
            f"{name:56} gain × {m['speedup']:5.2f} ({m['low']:.2f} … {m['high']:.2f})  predicted × {p['speedup']:5.2f} "
            f"{'' if row['direction']['right'] else 'WRONG WAY '} memory × {m['memory']:.2f} predicted × {p['memory']:.2f}  {results}"
        )
    ratio = np.array([row["ratio"] for _, row in rows])
    memory = np.array([row["predicted"]["memory"] / row["measured"]["memory"] for _, row in rows])
    right = [row["direction"]["right"] for _, row in rows]
    exact = [row["difference"]["close"] for _, row in rows if row["exact"] and row["difference"]]
    print(
        f"{len({n.partition('/')[0] for n, _ in rows})} techniques, {len(rows)} cases: direction right {np.mean(right):.1%}; predicted over measured gain "
        f"off by {np.median(abs(ratio - 1)):.1%} (median), {np.quantile(abs(ratio - 1), 0.9):.1%} (p90); memory {np.median(abs(memory - 1)):.1%}; "
        f"exact ones close {np.mean(exact):.0%} of {len(exact)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", default="here")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--only", default="", help="cases whose name (technique/model) holds this")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each case, beside its warm-up")
    parser.add_argument(
        "--device", default="cpu", help="other than the processor: measure alone; predict with --against"
    )
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    path = given.against or given.out
    kept: dict[str, Any] = json.loads(path.read_text()) if path is not None and path.exists() else {}
    rows = []
    for name, technique, model, options in cases(given.only, given.device):
        if given.against:
            if "measured" in kept.get(name, {}):
                rows.append((name, again(kept[name], given.on, technique, model, options)))
            continue
        if name not in kept:
            if given.device != "cpu":
                try:
                    kept[name] = alone(technique, model, options, given.seconds, given.device)
                except Exception as error:
                    kept[name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
                print(name, kept[name].get("measured", kept[name]), flush=True)
            else:
                kept[name] = verify(make_scenario(model, given.on, **options), technique, given.seconds)
            gc.collect()
            if given.out:
                given.out.write_text(json.dumps(kept))
            if given.device != "cpu":
                continue
            print(
                f"{name}: × {kept[name]['measured']['speedup']:.2f}, predicted × {kept[name]['predicted']['speedup']:.2f}",
                flush=True,
            )
        rows.append((name, kept[name]))
    if rows:
        report(rows)


if __name__ == "__main__":
    main()
