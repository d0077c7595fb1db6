"""EasySpec: layers of the draft run beside each other on devices that tensor parallelism would leave waiting.

A draft divided over eight devices is all latency: launches and messages. Undivided, four layers at once on four devices take one layer's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


def _settings(bench: Bench) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(model, draft, machine, question) of a 70B model over eight devices, a small sister drafting for it."""
    bench.given("model", "llama-3.1-70b", "assumed", "a mainstream model that has a small sister")
    for machine in bench.unstated("machine", ("dgx-a100-80gb", "dgx-h100")):
        for stack in bench.unstated("stack", ("vllm", "torch-eager")):
            for draft in bench.unstated("draft", ("llama-3.1-8b", "llama-3.2-1b"), "its small sisters"):
                question = {"phase": "decode", "batch": 1, "context": 1024, "tp": 8, "stack": stack}
                yield "llama-3.1-70b", draft, machine, question


@derives("easyspec#1")
def speedup(bench: Bench) -> Finding:
    """Against plain decoding of the model over eight devices."""
    spans = []
    for model, draft, machine, question in _settings(bench):
        before = bench.ask(model, machine, **question)
        for drafts in bench.unstated("draft length", (5, 7)):
            for acceptance in bench.unstated("acceptance", (0.8, 0.9)):
                label = f"layer-parallel-drafting:draft={draft},together=4,drafts={drafts},acceptance={acceptance}"
                spans.append(bench.speedup(before, bench.ask(model, machine, [label], **question)))
    return over(spans, "several tokens for a pass of the model, drafts a quarter as deep")


@derives("easyspec#2")
def drafting(bench: Bench) -> Finding:
    """A draft step against one divided over all devices."""
    spans = []
    for _, draft, machine, question in _settings(bench):
        divided = bench.ask(draft, machine, **question)
        alone = bench.ask(draft, machine, ["layer-skipping:keep=0.25"], **{**question, "tp": 1})
        spans.append(bench.speedup(divided, alone))
    return over(
        spans, "a quarter of the layers one after the other, undivided; the pass that puts the cache right is left out"
    )
