"""Which tensor of a GGUF file each weight of our graphs is (names: llama.cpp's ``gguf-py``, ``constants.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Of a layer, without ``blk.N.``: our name → the file's, the first of which that is there counts.
_LAYER: dict[str, tuple[tuple[str, ...], ...]] = {
    "self_attn.q_norm.weight": (("attn_q_norm.weight",),), "self_attn.k_norm.weight": (("attn_k_norm.weight",),),
    "self_attn.q_norm.bias": (("attn_q_norm.bias",),), "self_attn.k_norm.bias": (("attn_k_norm.bias",),),
    "self_attn.sinks": (("attn_sinks.weight",), ("attn_sinks",)),
    "self_attn.q_a_proj.weight": (("attn_q_a.weight",),), "self_attn.q_b_proj.weight": (("attn_q_b.weight",),),
    "self_attn.q_a_layernorm.weight": (("attn_q_a_norm.weight",),),
    "self_attn.kv_a_proj_with_mqa.weight": (("attn_kv_a_mqa.weight",),),
    "self_attn.kv_a_layernorm.weight": (("attn_kv_a_norm.weight",),),
    "self_attn.kv_b_proj.weight": (("attn_kv_b.weight",), ("attn_k_b.weight", "attn_v_b.weight")),
    "mlp.gate.weight": (("ffn_gate_inp.weight",),), "mlp.gate.bias": (("ffn_gate_inp.bias",),),
    "mlp.shared_expert_gate.weight": (("ffn_gate_inp_shexp.weight",),),
    "mixer.A_log": (("ssm_a",),), "mixer.D": (("ssm_d",),), "mixer.dt_bias": (("ssm_dt.bias",),),
    "mixer.dt_layernorm.weight": (("ssm_dt_norm.weight",),), "mixer.b_layernorm.weight": (("ssm_b_norm.weight",),),
    "mixer.c_layernorm.weight": (("ssm_c_norm.weight",),), "mixer.norm.weight": (("ssm_norm.weight",),),
}  # fmt: skip
# Linear layers: our name → the file's, each with a weight and perhaps a bias.
_LINEAR: dict[str, tuple[str, ...]] = {
    "self_attn.q_proj": ("attn_q", "attn_qkv"), "self_attn.k_proj": ("attn_k", "attn_qkv"),
    "self_attn.v_proj": ("attn_v", "attn_qkv"), "self_attn.o_proj": ("attn_output",),
    "mlp.up_proj": ("ffn_up",), "mlp.gate_proj": ("ffn_gate", "ffn_up"), "mlp.down_proj": ("ffn_down",),
    "mlp.experts.up_proj": ("ffn_up_exps", "ffn_gate_up_exps"),
    "mlp.experts.gate_proj": ("ffn_gate_exps", "ffn_gate_up_exps"), "mlp.experts.down_proj": ("ffn_down_exps",),
    "mlp.shared_experts.up_proj": ("ffn_up_shexp",), "mlp.shared_experts.gate_proj": ("ffn_gate_shexp",),
    "mlp.shared_experts.down_proj": ("ffn_down_shexp",), "mixer.in_proj": ("ssm_in",), "mixer.conv1d": ("ssm_conv1d",),
    "mixer.x_proj": ("ssm_x",), "mixer.dt_proj": ("ssm_dt",), "mixer.out_proj": ("ssm_out",),
}  # fmt: skip
for _ours, _theirs in _LINEAR.items():
    for _kind in ("weight", "bias"):
        _LAYER[f"{_ours}.{_kind}"] = tuple((f"{name}.{_kind}",) for name in _theirs)

# Norms, by where they stand (:class:`~..hf.arch.Layer`, ``placement``).
_NORMS: dict[str, dict[str, tuple[str, ...]]] = {
    "pre": {"input_layernorm": ("attn_norm",), "post_attention_layernorm": ("ffn_norm", "post_attention_norm")},
    "sandwich": {
        "input_layernorm": ("attn_norm",), "post_attn_norm": ("post_attention_norm",),
        "post_attention_layernorm": ("ffn_norm",), "post_mlp_norm": ("post_ffw_norm",),
    },
    "branch": {"input_layernorm": ("post_attention_norm",), "post_attention_layernorm": ("post_ffw_norm",)},
    "post": {"input_layernorm": ("attn_output_norm",), "post_attention_layernorm": ("layer_output_norm",)},
    "parallel": {"input_layernorm": ("attn_norm",)},
    "parallel2": {"input_layernorm": ("attn_norm_2", "attn_norm"), "post_attention_layernorm": ("ffn_norm", "attn_norm")},
}  # fmt: skip

_WHOLE: dict[str, str] = {
    "embed_tokens.weight": "token_embd.weight", "embed_positions.weight": "position_embd.weight",
    "token_type_embeddings.weight": "token_types.weight", "embed_norm.weight": "token_embd_norm.weight",
    "embed_norm.bias": "token_embd_norm.bias", "model.norm.weight": "output_norm.weight",
    "model.norm.bias": "output_norm.bias", "lm_head.weight": "output.weight", "lm_head.bias": "output.bias",
}  # fmt: skip

_SINGLE = {"mlp.experts.up_proj.weight": "ffn_up", "mlp.experts.gate_proj.weight": "ffn_gate",
           "mlp.experts.down_proj.weight": "ffn_down"}  # fmt: skip


def sources_of(name: str, layer: int | None, layers: Sequence[Mapping[str, object]], placements: Sequence[str],
               experts: int) -> tuple[str, ...]:  # fmt: skip
    """The file's tensors that hold a weight of the graph.

    Args:
        name: the weight's name in its block.
        layer: its layer, None outside of layers.
        layers: for each layer the names that are there, without ``blk.N.``.
        placements: of each layer's norms.
        experts: number of experts, for old files that store each of them apart.
    """
    if layer is None:
        return (_WHOLE[name],) if name in _WHOLE else ()
    there = layers[layer]
    module, _, kind = name.rpartition(".")
    norms = _NORMS[placements[layer]].get(module)
    choices = tuple((f"{n}.{kind}",) for n in norms) if norms else _LAYER.get(name, ())
    for choice in choices:
        if all(n in there for n in choice):
            return tuple(f"blk.{layer}.{n}" for n in choice)
    if name in _SINGLE and f"{_SINGLE[name]}.0.weight" in there:
        return tuple(f"blk.{layer}.{_SINGLE[name]}.{e}.weight" for e in range(experts))
    return tuple(f"blk.{layer}.{n}" for n in choices[0]) if choices else ()
