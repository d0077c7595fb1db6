"""Denoisers and autoencoders: as many parameters and matrix FLOPs as diffusers' modules of the same configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from speedlight.graph import stats

from .helpers import graph_of

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from .references import diffusers_model, flops, our_flops, parameters, zeros as z  # noqa: E402, I001

TEXT = {"text": 7}
HEADS = {"attention_head_dim": 16, "num_attention_heads": 4}
SD3 = {"_class_name": "SD3Transformer2DModel", **HEADS, "sample_size": 16, "num_layers": 4, "joint_attention_dim": 40,
       "caption_projection_dim": 64, "pooled_projection_dim": 24, "pos_embed_max_size": 16}  # fmt: skip
PIXART = {"_class_name": "PixArtTransformer2DModel", "num_layers": 3, "attention_head_dim": 12, "num_attention_heads": 4,
          "out_channels": 8, "cross_attention_dim": 48, "caption_channels": 40}  # fmt: skip
COG = {"_class_name": "CogVideoXTransformer3DModel", **HEADS, "num_layers": 3, "text_embed_dim": 40, "time_embed_dim": 32,
       "max_text_seq_length": 7, "sample_width": 8, "sample_height": 8, "sample_frames": 9}  # fmt: skip
VAE = {"_class_name": "AutoencoderKL", "block_out_channels": (32, 64, 64), "down_block_types": ("DownEncoderBlock2D",) * 3,
       "up_block_types": ("UpDecoderBlock2D",) * 3, "layers_per_block": 2, "norm_num_groups": 8}  # fmt: skip
PICTURE = {"height": 128, "width": 128}


def _sd3(m: Any) -> Any:
    return m(
        hidden_states=z(2, 16, 12, 12), encoder_hidden_states=z(2, 7, 40), pooled_projections=z(2, 24), timestep=z(2)
    )


def _pixart(m: Any) -> Any:
    sizes = {"resolution": z(2, 2), "aspect_ratio": z(2, 1)}
    return m(z(2, 4, 16, 16), timestep=z(2), encoder_hidden_states=z(2, 7, 40), added_cond_kwargs=sizes)


# name → (configuration, a call of two sequences, latent tokens of each, other sizes)
CASES: dict[str, tuple[dict[str, Any], Callable[[Any], Any] | None, int, dict[str, float]]] = {
    "flux": ({"_class_name": "FluxTransformer2DModel", **HEADS, "num_layers": 2, "num_single_layers": 3, "joint_attention_dim": 40,
              "pooled_projection_dim": 24, "guidance_embeds": True, "axes_dims_rope": (4, 6, 6)},
             lambda m: m(hidden_states=z(2, 30, 64), encoder_hidden_states=z(2, 7, 40), pooled_projections=z(2, 24),
                         timestep=z(2), img_ids=z(30, 3), txt_ids=z(7, 3), guidance=z(2)), 30, TEXT),
    "sd3": (SD3, _sd3, 36, TEXT),
    "sd3.5-medium-like": ({**SD3, "dual_attention_layers": (0, 1), "qk_norm": "rms_norm"}, _sd3, 36, TEXT),
    "hunyuan-video": ({"_class_name": "HunyuanVideoTransformer3DModel", **HEADS, "num_layers": 2, "num_single_layers": 2,
                       "text_embed_dim": 40, "pooled_projection_dim": 24, "rope_axes_dim": (4, 6, 6)},
                      lambda m: m(hidden_states=z(2, 16, 3, 8, 8), timestep=z(2), encoder_hidden_states=z(2, 7, 40),
                                  encoder_attention_mask=z(2, 7).bool(), pooled_projections=z(2, 24), guidance=z(2)), 48, TEXT),
    # Mochi casts to a precision that the meta device has not: parameters only.
    "mochi": ({"_class_name": "MochiTransformer3DModel", **HEADS, "num_layers": 3, "text_embed_dim": 40,
               "pooled_projection_dim": 32, "time_embed_dim": 256}, None, 0, {}),
    "dit": ({"_class_name": "DiTTransformer2DModel", **HEADS, "num_layers": 3, "sample_size": 16, "out_channels": 8},
            lambda m: m(z(2, 4, 16, 16), timestep=z(2), class_labels=z(2).long()), 64, {}),
    "pixart": ({**PIXART, "sample_size": 128}, _pixart, 64, TEXT),
    "pixart-small": ({**PIXART, "sample_size": 64}, _pixart, 64, TEXT),
    "wan": ({"_class_name": "WanTransformer3DModel", "num_layers": 3, "attention_head_dim": 12, "num_attention_heads": 4,
             "text_dim": 40, "ffn_dim": 100, "freq_dim": 64},
            lambda m: m(z(2, 16, 3, 8, 8), timestep=z(2), encoder_hidden_states=z(2, 7, 40)), 48, TEXT),
    "ltx": ({"_class_name": "LTXVideoTransformer3DModel", "num_layers": 3, "attention_head_dim": 12, "num_attention_heads": 4,
             "cross_attention_dim": 48, "caption_channels": 40, "in_channels": 16, "out_channels": 16},
            lambda m: m(z(2, 48, 16), encoder_hidden_states=z(2, 7, 40), timestep=z(2),
                        encoder_attention_mask=z(2, 7).bool(), num_frames=3, height=4, width=4), 48, TEXT),
    "cogvideox": (COG, lambda m: m(z(2, 3, 16, 8, 8), encoder_hidden_states=z(2, 7, 40), timestep=z(2)), 48, TEXT),
    "cogvideox-1.5": ({**COG, "patch_size_t": 2, "patch_bias": False, "use_rotary_positional_embeddings": True},
                      lambda m: m(z(2, 4, 16, 8, 8), encoder_hidden_states=z(2, 7, 40), timestep=z(2),
                                  image_rotary_emb=(z(32, 16), z(32, 16))), 32, TEXT),
    "unet-sd-1.5-like": ({"_class_name": "UNet2DConditionModel", "sample_size": 16, "block_out_channels": (32, 64, 64),
                          "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                          "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
                          "cross_attention_dim": 40, "attention_head_dim": 4, "norm_num_groups": 8},
                         lambda m: m(z(2, 4, 16, 16), z(2), z(2, 7, 40)), 1, {**TEXT, **PICTURE}),
    "unet-sdxl-like": ({"_class_name": "UNet2DConditionModel", "sample_size": 16, "block_out_channels": (32, 64, 128),
                        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 40,
                        "attention_head_dim": (2, 4, 8), "norm_num_groups": 8, "transformer_layers_per_block": (1, 2, 3),
                        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
                        "projection_class_embeddings_input_dim": 72},
                       lambda m: m(z(2, 4, 16, 16), z(2), z(2, 7, 40),
                                   added_cond_kwargs={"text_embeds": z(2, 24), "time_ids": z(2, 6)}), 1, {**TEXT, **PICTURE}),
    "vae": (VAE, lambda m: m(z(2, 3, 64, 64)), 1, {"height": 64, "width": 64}),
    "vae-decoder": ({**VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False},
                    lambda m: m.decode(z(2, 16, 16, 16)), 1, {"height": 64, "width": 64, "encode": 0}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parameters_and_flops_are_those_of_the_module(name: str) -> None:
    config, call, tokens, sizes = CASES[name]
    model, graph = diffusers_model(config), graph_of(config)
    assert stats.parameters(graph) == parameters(model)
    if call is not None:
        assert our_flops(graph, 2, tokens, **sizes) == flops(model, call)


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][1] is not None])
def test_work_is_linear_in_the_batch(name: str) -> None:
    config, _, tokens, sizes = CASES[name]
    graph = graph_of(config)
    assert our_flops(graph, 6, tokens, **sizes) == pytest.approx(6 * our_flops(graph, 1, tokens, **sizes), rel=1e-12)
