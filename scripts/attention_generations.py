"""Attention kernels of four generations as techniques, beside their published rates (``published/kernels.csv``).

    python scripts/attention_generations.py ../shared/data/published

Forward rows are set beside forward predictions; rows of forward and backward together are too, as shares of the peak: the backward
pass of these kernels is the slower one, which no record here says.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from speedlight.engine.questions.question import make_scenario
from speedlight.techniques.compose import ask, parsed
from speedlight.validation.ledger.kernels import attention

MACHINES = {"A100-SXM4-80GB": "a100-sxm-80gb", "H100-SXM5-80GB": "h100-sxm-80gb", "H100 SXM5": "h100-sxm-80gb"}
# (stack, technique) of each implementation; generations that a GPU's instructions do not have are left out.
KERNELS = {
    "PyTorch": ("torch-eager", "written-out-attention"), "Standard attention": ("torch-eager", "written-out-attention"),
    "FlashAttention-1": ("ideal", "flash-attention-1-kernel"), "FlashAttention-2": ("ideal", "flash-attention-2"),
    "FlashAttention-3": ("ideal", "flash-attention-3"),
}  # fmt: skip


def predicted(row: dict[str, str], machine: str) -> float:
    """FLOP/s of the forward pass, as the rows count them: 4 · tokens² · width a head, half of it where a causal mask is."""
    stack, technique = KERNELS[row["op"]]
    sizes = {
        n: int(float(row[c]))
        for n, c in (("seqs", "batch"), ("queries", "seq_len"), ("heads", "heads"), ("head_dim", "head_dim"))
    }
    source = attention(**sizes, causal=row["causal"] == "yes")
    answer = ask(make_scenario(source, machine, stack=stack).replace(techniques=(parsed(technique),)), details=False)
    pairs = sizes["seqs"] * sizes["heads"] * sizes["queries"] ** 2 * (0.5 if row["causal"] == "yes" else 1.0)
    return 4 * pairs * sizes["head_dim"] / float(answer.time)


def main(folder: str) -> None:
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    shares: dict[tuple[str, ...], list[float]] = defaultdict(list)
    with (Path(folder) / "kernels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            machine = MACHINES.get(row["gpu"])
            if row["kind"] != "attention" or machine is None or row["op"] not in KERNELS or not row["flops_per_s"]:
                continue
            key = (row["gpu"], row["direction"], row["op"], row["head_dim"])
            ratios[key].append(predicted(row, machine) / float(row["flops_per_s"]))
            shares[key].append(float(row["flops_per_s"]) / 1e12)
    print(
        f"{'gpu':16s} {'pass':8s} {'kernel':20s} head  rows  measured TFLOP/s   predicted/measured: least, median, most"
    )
    for key, found in sorted(ratios.items()):
        least, most = min(shares[key]), max(shares[key])
        print(f"{key[0]:16s} {key[1]:8s} {key[2]:20s} {float(key[3]):4.0f} {len(found):5d}  {least:6.0f} to {most:4.0f}   "
              f"{min(found):5.2f} {median(found):5.2f} {max(found):5.2f}")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/published")
