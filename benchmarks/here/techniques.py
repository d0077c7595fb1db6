"""Techniques applied for real to three models each, beside their predictions; a run that was interrupted goes on.

Usage: python benchmarks/here/techniques.py --on here-calibrated.yaml --out techniques.json [--only NAME] [--seconds S]
       python benchmarks/here/techniques.py --on here-calibrated.yaml --against techniques.json   # predict again what was measured
"""

from __future__ import annotations

import argparse
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
from speedlight.techniques.verify import direction, verify
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
TRAINED = ("activation-checkpointing", "frozen-layers", "gradient-accumulation", "large-batch", "lean-optimizer")


def cases(only: str) -> Iterator[tuple[str, str, str, Any]]:
    """(name, technique, model, options of the question)."""
    for technique, models in CASES.items():
        train = technique.partition(":")[0] in TRAINED
        for model, inputs in models:
            if only in f"{technique}/{model}":
                options = {"phase": "train" if train else "forward", "inputs": inputs, "stack": "torch-eager"}
                yield f"{technique}/{model}", technique, source(model), options


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
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    path = given.against or given.out
    kept: dict[str, Any] = json.loads(path.read_text()) if path is not None and path.exists() else {}
    rows = []
    for name, technique, model, options in cases(given.only):
        if given.against:
            if name in kept:
                rows.append((name, again(kept[name], given.on, technique, model, options)))
            continue
        if name not in kept:
            kept[name] = verify(make_scenario(model, given.on, **options), technique, given.seconds)
            gc.collect()
            if given.out:
                given.out.write_text(json.dumps(kept))
            print(
                f"{name}: × {kept[name]['measured']['speedup']:.2f}, predicted × {kept[name]['predicted']['speedup']:.2f}",
                flush=True,
            )
        rows.append((name, kept[name]))
    report(rows)


if __name__ == "__main__":
    main()
