"""Groups of options that several verbs share; each group is one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _group(*options: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


group = _group  # for verbs whose options are their own

json_to = click.option("--json", "json_to", metavar="FILE|-", help="Write JSON to a file, or to stdout with '-'.")

machine = click.option(
    "--on", "--system", "on", metavar="MACHINE", help="Machine id (speedlight devices), your own .yaml, or 'here'."
)

sizes = _group(
    click.option("--phase", help="forward | prefill | decode | generate | train"),
    click.option("--batch", "--bs", "--batch-size", type=int, help="Sequences or images per replica; global batch for train."),
    click.option("--isl", type=int, help="Prompt tokens per sequence."),
    click.option("--osl", type=int, help="Output tokens per sequence."),
    click.option("--context", type=int, help="Tokens already cached per sequence (decode)."),
    click.option("--steps", type=int, help="Denoising steps (--phase generate of a diffusion model)."),
    click.option("--guidance", help="on | off: run each step with and without the prompt."),
    click.option("--height", type=int, help="Pixels of a picture."),
    click.option("--width", type=int, help="Pixels of a picture."),
    click.option("--frames", type=int, help="Pictures of a clip."),
    click.option("--images", type=int, help="Pictures in each prompt."),
    click.option("--seconds", type=float, help="Audio in each recording."),
    click.option("--input", "inputs", multiple=True, metavar="SHAPE", help="Input of a module, e.g. 1x3x224x224[:fp16]; repeatable."),
    click.option("--set", "symbols", multiple=True, metavar="NAME=N", help="A symbol of an ops file or a free dimension of a module; repeatable."),
)  # fmt: skip

formats = _group(
    click.option(
        "--dtype", help="Everything in this number format (bf16, fp16, fp32, fp8 …); amp for --autocast fp16."
    ),
    click.option("--autocast", metavar="FMT", help="Mixed precision of PyTorch: fp16 or bf16 where autocast casts."),
    click.option("--layout", metavar="NAME", help="How a module's images lie: nchw (default) or nhwc = channels_last."),
    click.option(
        "--tf32", metavar="on|off", help="fp32 products and convolutions in TF32, or neither; else as the stack does."
    ),
    click.option("--weights", help="Format of linear layers' weights (fp8, int4, nvfp4 …)."),
    click.option("--activations", help="Format linear layers multiply in."),
    click.option("--kv", help="Format of the KV cache."),
    click.option(
        "--mtp", type=int, default=0, help="Draft passes of the model's multi-token prediction modules a step."
    ),
)

layout = _group(
    click.option("--tp", type=int, default=1, show_default=True, help="Tensor-parallel degree."),
    click.option("--ep", type=int, default=1, help="Expert-parallel degree."),
    click.option("--etp", type=int, help="Ranks that divide an expert's width; by default tp / ep, at least 1."),
    click.option("--dp", type=int, default=1, help="Replicas of the model."),
    click.option("--pp", type=int, default=1, help="Pipeline stages."),
    click.option("--first", type=int, help="Layers of the first pipeline stage."),
    click.option("--last", type=int, help="Layers of the last pipeline stage."),
    click.option("--cp", type=int, default=1, help="Context-parallel degree."),
    click.option("--cp-kind", "context_kind", default="ring", help="ring | ulysses | gather"),
    click.option("--sp", type=int, default=0, help="1: sequence parallelism beside tensor parallelism."),
    click.option("--zero", type=int, default=0, help="ZeRO stage: 1 optimizer, 2 gradients too, 3 weights too (FSDP)."),
    click.option("--shard", type=int, help="Ranks a ZeRO shard spreads over (hybrid sharding); by default dp · cp."),
    click.option(
        "--moe-load",
        default="balanced",
        help="balanced | uniform | power:a, each with ,capacity:c to drop what is over",
    ),
)

scale = click.option("--nodes", type=int, default=1, help="So many boxes of MACHINE, joined by their network ports.")

software = _group(
    click.option("--stack", metavar="NAME", help="ideal, torch-eager, vllm, llama.cpp, name@version or a .yaml."),
    click.option("--power", type=float, metavar="W", help="Power limit in watts per device."),
)

training = _group(
    click.option("--optimizer", default="adamw", help="adamw | adam | sgd | sgd_momentum | lion"),
    click.option("--recompute", default="none", help="none | selective | full | N layers of each stage"),
    click.option("--micro-batch", type=int, help="Sequences per forward and backward pass."),
    click.option(
        "--schedule",
        help="gpipe | 1f1b | interleaved:v | zero-bubble (zb-h1) | zb-h2 | zb-v | vocabulary | chimera | pipedream",
    ),
    click.option("--master", help="Format of the optimizer's copy of the weights: fp32 | none."),
    click.option("--gradients", help="Format gradients are kept and reduced in."),
    click.option("--states", help="Format of the optimizer's states."),
    click.option("--lora", type=int, metavar="RANK", help="Train low-rank adapters beside frozen weights."),
    click.option(
        "--offload",
        multiple=True,
        metavar="CLASS:TIER",
        help="optimizer:host (training), weights:host:0.5, kv:host:1:computed …; repeatable.",
    ),
)

run = _group(
    click.option("--tokens", type=float, metavar="N", help="A whole run of so many tokens: days, device-hours, dollars, goodput."),
    click.option("--device-hours", type=float, metavar="H", help="Hours between failures of one device; 0 for never."),
    click.option("--restart", type=float, metavar="S", help="Seconds from a failure noticed to computing again."),
    click.option("--store", metavar="RATE", help="At which the job writes its checkpoints (200 GB/s)."),
)  # fmt: skip

cut = _group(
    click.option(
        "--before", multiple=True, metavar="MACHINE", help="What has the beginning of the network, MACHINE its end; repeatable."
    ),
    click.option(
        "--link", "links", multiple=True, metavar="RATE", help="From each --before to the next: '100 Mbit/s + 5 ms'; repeatable."
    ),
    click.option("--back", metavar="RATE", help="The way of the results to whoever asked; where they stay if not given."),
    click.option("--cut", "aim", metavar="AIM", help="Cut for the least latency (default) or the highest rate."),
)  # fmt: skip

# Everything that says what runs, except the machine.
question = _group(scale, sizes, formats, layout, software, training)

folders = _group(
    click.option("--models", "models_dir", metavar="DIR", help="Folder of further model configurations."),
    click.option("--machines", "machines_dir", metavar="DIR", help="Folder of your own machine files."),
)

later = _group(
    click.option("--technique", multiple=True, metavar="NAME[:k=v,…]", help="Repeatable."),
)

# What an option has when nobody gave it; a saved scenario refuses anything else beside it.
NEUTRAL = {
    "nodes": 1, "tp": 1, "pp": 1, "dp": 1, "ep": 1, "cp": 1, "zero": 0, "sp": 0, "context_kind": "ring", "optimizer": "adamw",
    "recompute": "none", "moe_load": "balanced", "mtp": 0, "inputs": (), "symbols": (), "offload": (), "technique": (),
}  # fmt: skip
