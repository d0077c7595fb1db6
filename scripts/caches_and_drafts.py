"""Gains of cache and decoding techniques along batch and context, as the study of them prints: `python scripts/caches_and_drafts.py`."""

from __future__ import annotations

import numpy as np

from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.techniques.compose import ask, parsed

MODEL, MACHINE = "llama-3.1-8b", "h100-sxm-80gb"
BATCHES = np.array([1.0, 8, 32, 128, 512])
CONTEXTS = np.array([1024.0, 8192, 32768, 131072])
DRAFTS = ("speculative-decoding:draft=llama-3.2-1b", "eagle", "medusa-heads", "prompt-lookup", "lookahead-decoding",
          "self-speculative-decoding", "quantized-self-speculation")  # fmt: skip
CACHES = ("kv-quantization", "kv-eviction", "kv-page-selection", "kv-layer-sharing", "mla-conversion", "mqa-conversion",
          "kv-window-sinks", "kv-retrieval-offload", "shadow-kv", "hierarchical-speculation")  # fmt: skip


def gains(label: str, **sizes: object) -> np.ndarray:
    """Tokens a second and device, after over before."""
    question = make_scenario(MODEL, MACHINE, phase="decode", **sizes)  # type: ignore[arg-type]
    before = predict(question, details=False)
    after = ask(question.replace(techniques=(parsed(label),)), details=False)
    return np.asarray(after.throughput["per_device"] / before.throughput["per_device"])


def main() -> None:
    for context in (1024, 32768):
        print(f"context {context}: batch", *(f"{b:g}" for b in BATCHES))
        for label in DRAFTS:
            print(f"  {label}", *(f"{g:.2f}" for g in gains(label, batch=BATCHES, context=context)))
    for batch in (1, 16):
        print(f"batch {batch}: context", *(f"{c:g}" for c in CONTEXTS))
        for label in CACHES:
            print(f"  {label}", *(f"{g:.2f}" for g in gains(label, batch=batch, context=CONTEXTS)))


if __name__ == "__main__":
    main()
