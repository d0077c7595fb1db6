"""Low-rank adapters train beside frozen weights, which may be kept in four bits."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, training, transformer
from ...edits import with_model, with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _adapters(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "lora", rank=settings["rank"])


def _four_bits(subject: Subject, settings: Settings) -> Scenario:
    return with_model(subject, weights="int4_g64")


RANK = Parameter("rank", 16, "rank of the adapters", low=1, high=4096, trials=(64,))

LORA = register(Technique(
    name="lora",
    title="LoRA",
    family="training",
    mechanism="weights stay as they are; beside each linear layer two thin ones train, so gradients and states are those of a few per cent",
    papers=("mixlora",),
    citation="Hu et al., arXiv 2106.09685 §4.1",
    parameters=(RANK,),
    edits=(Edit("graph", "trainable", _adapters),),
    refuse=every(training, transformer),
))  # fmt: skip

QLORA = register(Technique(
    name="qlora",
    title="QLoRA",
    family="training",
    mechanism="as LoRA, and the frozen weights are kept and read in 4 bits, widened for each product",
    citation="Dettmers et al., arXiv 2305.14314",
    parameters=(RANK,),
    edits=(Edit("graph", "trainable", _adapters), Edit("graph", "weights", _four_bits)),
    refuse=every(training, transformer),
    quality=(Quote("MMLU of LLaMA-65B fine-tuned on Alpaca, BF16 LoRA → NF4 with double quantisation", "62.5 → 62.9", "QLoRA, arXiv 2305.14314, Table 4"),),
))  # fmt: skip
