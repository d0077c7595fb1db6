"""Which models are run, at which batches and in which phases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).with_name("models.py")
VISION = (
    "resnet18", "resnet50", "resnext50_32x4d", "regnety_004", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0",
    "mnasnet_100", "densenet121", "vgg11", "convnext_atto", "convnext_tiny", "vit_tiny_patch16_224", "vit_small_patch16_224",
    "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224", "resmlp_12_224", "ghostnet_100",
    "inception_v3", "dla34", "repvgg_a0", "mobilevit_s", "poolformer_s12", "pvt_v2_b0", "levit_128", "res2net50_26w_4s",
    "rexnet_100", "lcnet_100", "edgenext_small", "seresnet50", "hrnet_w18_small", "coat_lite_tiny", "ecaresnet26t",
)  # fmt: skip
OTHERS: dict[str, tuple[str, ...]] = {
    "bert_base": ("{b}x128:int64",), "bert_small": ("{b}x128:int64",), "distilbert": ("{b}x64:int64",),
    "roberta_mini": ("{b}x128:int64",), "albert": ("{b}x64:int64",), "electra_small": ("{b}x128:int64",),
    "gpt2": ("{b}x64:int64",), "gpt2_mini": ("{b}x128:int64",), "opt_125m": ("{b}x64:int64",), "pythia_70m": ("{b}x128:int64",),
    "qwen2_half": ("{b}x24:int64",), "qwen3_small": ("{b}x64:int64",), "llama_stories": ("{b}x128:int64",),
    "t5_encoder": ("{b}x128:int64",), "clip_vision": ("{b}x3x224x224",), "mamba": ("{b}x32:int64",),
    "whisper_encoder": ("{b}x80x3000",), "unet": ("{b}x3x32x32",), "unet_text": ("{b}x4x32x32", "{b}x16x256"),
    "vae_decoder": ("{b}x4x16x16",), "lstm": ("{b}x64:int64",), "bilstm": ("{b}x64:int64",), "gru": ("{b}x64:int64",),
    "ranking": ("{b}x64", "{b}x8:int64"), "classic": ("{b}x784",),
}  # fmt: skip
TRAINED = (
    "resnet18", "mobilenetv2_100", "efficientnet_b0", "convnext_atto", "vit_tiny_patch16_224", "bert_small", "gpt2_mini",
    "llama_stories", "lstm", "unet", "classic", "densenet121",
)  # fmt: skip
BATCHES = (1, 8)


@dataclass(frozen=True, slots=True)
class Case:
    """One run.

    Attributes:
        model: its name here.
        source: as ``speedlight measure`` takes it.
        inputs: as ``--input``.
        batch: of every input.
        train: a training step, else inference.
    """

    model: str
    source: str
    inputs: tuple[str, ...]
    batch: int
    train: bool

    @property
    def name(self) -> str:
        return f"{self.model}/{self.batch}" + ("/train" if self.train else "")


def cases() -> tuple[Case, ...]:
    """Inference at both batches of all; training at 8 of some."""
    shapes = {**dict.fromkeys(VISION, ()), **OTHERS}
    found = []
    for name, inputs in shapes.items():
        source = name if not inputs else f"{MODELS}:{name}"
        plan = [(b, False) for b in BATCHES] + ([(8, True)] if name in TRAINED else [])
        found += [Case(name, source, tuple(i.format(b=b) for i in inputs) or _picture(name, b), b, t) for b, t in plan]
    return tuple(found)


def _picture(name: str, batch: int) -> tuple[str, ...]:
    from speedlight.frontends.carried import find

    known = find(name)
    size = known.size if known else (3, 224, 224)
    return ("x".join(map(str, (batch, *size))),)
