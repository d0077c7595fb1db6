"""Speech encoders on raw samples: wav2vec 2.0 and HuBERT."""

from __future__ import annotations

from ..arch import Arch, Attention, Convolution, Layer, Mlp, Sound
from ..config import Config
from .common import activation, head_sizes, hidden_size, registry

FAMILIES, family = registry()


@family("wav2vec2", "hubert")
def wav2vec2(c: Config) -> Arch:
    """wav2vec 2.0 (arXiv 2006.11477 §2) and HuBERT (arXiv 2106.07447 §II): seven convolutions to 50 positions a second.

    The larger models norm before each part (``do_stable_layer_norm``), the smaller after. An ``architectures`` entry that
    ends in ``ForCTC`` adds a decoder over letters.
    """
    hidden = hidden_size(c)
    if c.flag("conv_pos_batch_norm"):
        raise c.bad("conv_pos_batch_norm", "false: positions by a convolution of normed weight")
    if c.model_type == "hubert" and not c.flag("feat_proj_layer_norm", default=True):
        raise c.bad("feat_proj_layer_norm", "true")
    n, g, d = head_sizes(c, kv=("",), dim=("",))
    layer = Layer(
        Attention(n, g, d, q_bias=True, kv_bias=True, out_bias=True, rope=0.0, causal=False),
        Mlp(c.integer("intermediate_size", default=3072), activation(c, "hidden_act", default="gelu"), False, True),
        "layer_norm", True, placement="pre" if c.flag("do_stable_layer_norm") else "post",
    )  # fmt: skip
    sound = Sound(
        1, _convolutions(c), padded=False, act=activation(c, "feat_extract_activation", default="gelu"), projected=True,
        position_kernel=c.integer("num_conv_pos_embeddings", default=128),
        position_groups=c.integer("num_conv_pos_embedding_groups", default=16),
    )  # fmt: skip
    names = c.get("architectures")
    letters = isinstance(names, list) and any(isinstance(x, str) and x.endswith("ForCTC") for x in names)
    masks = c.number("mask_time_prob", 0.05) > 0 or c.number("mask_feature_prob", 0.0) > 0
    stable = c.flag("do_stable_layer_norm")
    return Arch(
        name=c.model_type, family="speech", vocab=c.integer("vocab_size", default=32) if letters else 0, hidden=hidden,
        layers=(layer,) * c.layers(default=12), sound=sound, norm="layer_norm", norm_bias=True, embed_norm=not stable,
        final_norm=stable, head="lm" if letters else "none", head_bias=True, causal=False, samples_per_second=16_000,
        layer_prefix="encoder.layers.*", extra=(("masked_spec_embed", hidden),) if masks else (),
        assumptions=(("audio", "16,000 samples a second"),),
    )  # fmt: skip


def _convolutions(c: Config) -> tuple[Convolution, ...]:
    """The feature encoder; group norm after its first layer, or layer norm after each."""
    sizes = []
    for name, usual in (
        ("conv_dim", [512] * 7),
        ("conv_kernel", [10, 3, 3, 3, 3, 2, 2]),
        ("conv_stride", [5, 2, 2, 2, 2, 2, 2]),
    ):
        value = c.get(name, usual)
        if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= 64:
            raise c.bad(name, "a list with one entry a layer")
        sizes.append([Config({name: v}, c.where).integer(name, most=10**5) for v in value])
    if len({len(s) for s in sizes}) != 1:
        raise c.bad("conv_kernel", f"{len(sizes[0])} entries, as many as conv_dim")
    everywhere = c.word("feat_extract_norm", default="group") == "layer"
    bias = c.flag("conv_bias")
    return tuple(
        Convolution(channels, kernel, stride, bias, "layer" if everywhere else "group" if index == 0 else "none")
        for index, (channels, kernel, stride) in enumerate(zip(*sizes, strict=True))
    )
