"""Images a second of timm's networks as timm's own benchmark measures them: mixed precision, large batches.

Usage: python benchmarks/here/networks.py --out networks.json --do infer-nhwc-amp-eager:60 --do train-nhwc-amp-eager:60 [--device cuda]

Each ``--do`` is a setting with the seconds after which no further network is begun: inference or training, pictures row by row
(``nchw``) or channels last (``nhwc``), autocast to fp16 (``amp``) or fp32 as PyTorch has it (TF32 in convolutions, not in products),
eager or compiled. Networks are taken in turn by kind, so that whatever time there is covers all of them; a run that was interrupted
goes on. As timm's benchmark does it: random weights and pictures, cuDNN searches its kernels, no scaler of gradients, SGD, half the batch
where memory does not suffice. Medians of steps, not means, are kept.

``--warm I/N`` measures nothing: it compiles every N-th network from the I-th on, so that the measuring run finds what the
compiler wrote; several of them side by side use the cores of a host that measures by one.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speedlight.frontends.torch_export.timm_models import timm
from speedlight.measurement.bench.accelerator import waiting
from speedlight.measurement.bench.context import circumstances
from speedlight.measurement.bench.timing import median_interval

STEPS, WARM = 10, 4
SETTINGS = (("infer", "train"), ("nchw", "nhwc"), ("amp", "fp32"), ("eager", "compiled"))
NETWORKS = (
    "resnet50", "vit_base_patch16_224", "efficientnet_b0", "convnext_tiny", "swin_tiny_patch4_window7_224", "mobilenetv3_large_100",
    "regnety_032", "densenet121", "resnext50_32x4d", "mixer_b16_224", "vit_small_patch16_224", "efficientnetv2_rw_s", "resnet18",
    "convnext_base", "deit3_small_patch16_224", "mobilenetv2_100", "seresnet50", "xcit_small_12_p16_224", "maxvit_tiny_tf_224",
    "poolformer_s24", "regnetx_032", "vgg16", "inception_v3", "ghostnet_100", "repvgg_b0", "coatnet_0_rw_224", "levit_256", "res2net50_26w_4s",
    "nfnet_l0", "beit_base_patch16_224", "cait_s24_224", "mobilevitv2_100", "edgenext_base", "pvt_v2_b2", "twins_svt_base", "resmlp_24_224",
    "dpn68b", "hrnet_w18", "wide_resnet50_2", "eca_nfnet_l0", "convmixer_768_32", "efficientnet_b3", "tf_efficientnetv2_s", "resnet101",
    "vit_large_patch16_224", "swinv2_tiny_window8_256", "focalnet_tiny_srf", "davit_tiny", "gcvit_tiny", "fastvit_sa12", "efficientformer_l1",
    "tinynet_a", "mnasnet_100", "lcnet_100", "rexnet_100", "cspresnet50", "cspdarknet53", "dla60", "skresnet34", "resnest50d", "selecsls60b",
    "regnety_160", "resnetv2_50", "volo_d1_224", "crossvit_15_240", "visformer_small", "convit_small", "tnt_s_patch16_224", "hardcorenas_a",
    "efficientvit_b1", "repghostnet_100", "hgnet_small", "inception_next_tiny", "caformer_s18", "convformer_s18", "tiny_vit_11m_224",
    "nest_tiny", "gmlp_s16_224", "eva02_tiny_patch14_224", "mvitv2_tiny", "sequencer2d_s", "resnet152", "convnextv2_tiny", "nasnetalarge",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """How networks are run."""

    mode: str
    layout: str
    precision: str
    how: str

    @classmethod
    def of(cls, text: str) -> Setting:
        words = text.split("-")
        if len(words) != len(SETTINGS) or any(w not in known for w, known in zip(words, SETTINGS, strict=True)):
            raise SystemExit(f"--do {text!r}: give one of each of " + ", ".join("/".join(k) for k in SETTINGS))
        return cls(*words)

    def __str__(self) -> str:
        return "-".join((self.mode, self.layout, self.precision, self.how))


def measured(name: str, setting: Setting, batch: int, device: str, once: bool = False) -> dict[str, Any]:
    """Seconds of a step, at the largest half of the batch that fits.

    Args:
        once: run one step and time none.
    """
    train = setting.mode == "train"
    layout = torch.channels_last if setting.layout == "nhwc" else torch.contiguous_format
    with torch.device(device):  # initial weights are drawn faster there
        model = timm().create_model(name, pretrained=False)
    size, classes = model.default_cfg["input_size"], int(model.num_classes)
    model = model.to(device=device, memory_format=layout).train(train)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9) if train else None
    run = torch.compile(model) if setting.how == "compiled" else model
    wait, kind = waiting(device), torch.device(device).type
    narrow = torch.autocast(kind, dtype=torch.float16, enabled=setting.precision == "amp")
    while True:
        try:
            pictures = torch.randn(batch, *size, device=device).contiguous(memory_format=layout)
            target = torch.randint(0, classes, (batch,), device=device)

            def step(pictures: torch.Tensor = pictures, target: torch.Tensor = target) -> None:
                if optimizer is None:
                    with torch.inference_mode(), narrow:
                        run(pictures)
                    return
                optimizer.zero_grad()
                with narrow:
                    out = run(pictures)
                out = out[0] if isinstance(out, (tuple, list)) else out
                torch.nn.functional.cross_entropy(out.float(), target).backward()
                optimizer.step()

            if once:
                step()
                return {}
            return {"batch": batch, "size": list(size), **_timed(step, wait)}
        except torch.OutOfMemoryError:
            gc.collect()
            torch.cuda.empty_cache()
            batch //= 2
            if batch < 1:
                raise


def _timed(step: Any, wait: Any) -> dict[str, Any]:
    for _ in range(WARM):
        step()
    if wait is not None:
        wait()
        torch.cuda.reset_peak_memory_stats()
    samples = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        if wait is not None:
            wait()
        samples.append(time.perf_counter() - start)
    low, middle, high = median_interval(samples)
    peak = int(torch.cuda.max_memory_allocated()) if wait is not None else 0
    return {"median": middle, "low": low, "high": high, "samples": samples, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--do", action="append", required=True, help="SETTING:SECONDS, may be repeated")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--search", type=int, default=10, help="kernels that cuDNN tries for a convolution")
    parser.add_argument("--warm", default="", help="I/N: compile every N-th network from the I-th on, measure nothing")
    given = parser.parse_args()
    asked = [_asked(text) for text in given.do]
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = given.search
    if given.warm:
        first, every = map(int, given.warm.split("/"))
        for setting, name in _turns(asked, NETWORKS[first::every]):
            measured(name, setting, given.batch, given.device, once=True)
            torch.cuda.empty_cache()
        return
    kept = (
        json.loads(given.out.read_text())
        if given.out.exists()
        else {"context": circumstances(given.device), "rows": {}}
    )
    for setting, name in _turns(asked, NETWORKS):
        key = f"{name}/{setting}"
        if key in kept["rows"]:
            continue
        start = time.perf_counter()
        try:
            kept["rows"][key] = found = measured(name, setting, given.batch, given.device)
            said = f"{found['batch'] / found['median']:.0f} images/s at {found['batch']}"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:300]
            kept["rows"][key] = {"failed": said}
        given.out.write_text(json.dumps(kept))
        print(f"{key:60} {said}  ({time.perf_counter() - start:.1f} s)", flush=True)
        gc.collect()
        torch._dynamo.reset()
        if given.device != "cpu":
            torch.cuda.empty_cache()


def _turns(asked: Sequence[tuple[Setting, float]], names: Sequence[str]) -> Iterator[tuple[Setting, str]]:
    """Networks of each setting in turn, none after its seconds."""
    for setting, seconds in asked:
        until = time.perf_counter() + seconds
        for name in names:
            if time.perf_counter() < until:
                yield setting, name


def _asked(text: str) -> tuple[Setting, float]:
    name, _, seconds = text.partition(":")
    return Setting.of(name), float(seconds or 3600)


if __name__ == "__main__":
    main()
