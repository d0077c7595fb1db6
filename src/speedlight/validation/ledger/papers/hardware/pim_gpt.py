"""PIM-GPT: matrix-vector products in the banks of eight GDDR6 channels.

The banks read 4.1 TB/s where the bus has a half; a GPU at one request waits for its launches and its memory. Against the GPU's own
bandwidth the gain is the ratio of the two: what is claimed beyond it is the baseline's software.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("pim-gpt#1")
def over_gpu(bench: Bench) -> Finding:
    bench.stated(batch=1, phase="decode")
    spans = []
    for model in bench.unstated("model", ("gpt2", "gpt2-xl", "gpt3-xl")):
        for card in bench.unstated("machine", ("t4", "v100-sxm2-16gb")):
            before = bench.ask(model, card, phase="decode", batch=1, context=512, stack="transformers")
            after = bench.ask(model, "gddr6-aim-8ch", phase="decode", batch=1, context=512)
            spans.append(bench.speedup(before, after))
    return over(
        spans,
        "an eager GPU at one request against the banks; launches of 20 kernels a layer are the GPU's most of small models",
    )


@derives("pim-gpt#2")
def over_cpu(bench: Bench) -> Finding:
    bench.stated(batch=1, phase="decode")
    spans = []
    for model in bench.unstated("model", ("gpt2", "gpt2-xl", "gpt3-xl")):
        before = bench.ask(
            model, "xeon-platinum-8280", phase="decode", batch=1, context=512, dtype="fp32", stack="torch-eager"
        )
        after = bench.ask(model, "gddr6-aim-8ch", phase="decode", batch=1, context=512)
        spans.append(bench.speedup(before, after))
    return over(spans, "a server's cores in fp32 against the banks")
