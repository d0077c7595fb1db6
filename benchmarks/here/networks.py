"""Images a second of timm's networks as timm's own benchmark measures them: mixed precision, channels last, large batches.

Usage: python benchmarks/here/networks.py --device cuda --out networks.json [--train] [--batch 256] [--seconds 60]

Networks are taken in turn by kind, so that whatever time there is covers all of them; a run that was interrupted goes on. As
timm's benchmark does it: random weights and pictures, cuDNN searches its kernels, autocast to fp16 without a scaler, SGD, half the
batch where memory does not suffice. Medians of steps, not means, are kept.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

import torch

from speedlight.frontends.torch_export.timm_models import timm
from speedlight.measurement.bench.accelerator import waiting
from speedlight.measurement.bench.context import circumstances
from speedlight.measurement.bench.timing import median_interval

STEPS, WARM = 12, 6
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


def measured(name: str, batch: int, device: str, train: bool) -> dict[str, Any]:
    """Seconds of a step, at the largest half of the batch that fits."""
    with torch.device(device):  # initial weights are drawn faster there
        model = timm().create_model(name, pretrained=False)
    size = model.default_cfg["input_size"]
    classes = int(model.num_classes)
    model = model.to(device=device, memory_format=torch.channels_last).train(train)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9) if train else None
    wait, kind = waiting(device), torch.device(device).type
    while True:
        try:
            pictures = torch.randn(batch, *size, device=device).contiguous(memory_format=torch.channels_last)
            target = torch.randint(0, classes, (batch,), device=device)

            def step(pictures: torch.Tensor = pictures, target: torch.Tensor = target) -> None:
                if optimizer is None:
                    with torch.inference_mode(), torch.autocast(kind, dtype=torch.float16):
                        model(pictures)
                    return
                optimizer.zero_grad()
                with torch.autocast(kind, dtype=torch.float16):
                    out = model(pictures)
                out = out[0] if isinstance(out, (tuple, list)) else out
                torch.nn.functional.cross_entropy(out.float(), target).backward()
                optimizer.step()

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
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=3600.0, help="none is begun after so long")
    given = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    kept = (
        json.loads(given.out.read_text())
        if given.out.exists()
        else {"context": circumstances(given.device), "rows": {}}
    )
    begun = time.perf_counter()
    for name in NETWORKS:
        key = name + ("/train" if given.train else "")
        if key in kept["rows"] or time.perf_counter() - begun > given.seconds:
            continue
        start = time.perf_counter()
        try:
            kept["rows"][key] = measured(name, given.batch, given.device, given.train)
            found = kept["rows"][key]
            said = f"{found['batch'] / found['median']:.0f} images/s at {found['batch']}"
        except Exception as error:
            kept["rows"][key] = {"failed": f"{type(error).__name__}: {error}"[:300]}
            said = kept["rows"][key]["failed"]
        given.out.write_text(json.dumps(kept))
        print(f"{key:44} {said}  ({time.perf_counter() - start:.1f} s)", flush=True)
        gc.collect()
        if given.device != "cpu":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
