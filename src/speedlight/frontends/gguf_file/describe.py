"""Metadata and tensor names of a GGUF file → :class:`~..hf.arch.Arch`, the record Hugging Face models are built from.

Which parts a layer has follows from the tensors it has (a bias, a norm, experts, a latent), their sizes from the metadata
and the shapes; only what neither shows is kept by architecture name: the activation, which layers are windowed, where
rotary positions are absent. An architecture nobody knows is read the same way, which the assumptions say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._foundation.errors import BadFile, Unsupported
from ..hf.arch import Arch, Attention, Layer, Mamba1, Mamba2, Mla, Mlp, Moe
from ..hf.config import Config
from ..weight_files.table import Stored

Tensors = Mapping[str, Stored]  # of one layer, without ``blk.N.``

# What neither metadata nor tensors say. Sources: llama.cpp's graph builders (src/llama-model.cpp, 2025) and the models' papers.
_ACT = {
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma-embedding", "gpt2", "starcoder", "starcoder2", "bloom", "phi2",
                     "codeshell", "gptj"), "gelu_tanh"),
    **dict.fromkeys(("falcon", "mpt", "gptneox", "bert", "grok", "refact", "nomic-bert"), "gelu"),
    **dict.fromkeys(("nemotron", "arcee"), "relu2"),
}  # fmt: skip
_SILU_NAMES = (
    "llama mistral mistral3 llama4 deci baichuan qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe phi3 phimoe "
    "plamo orion internlm2 minicpm minicpm3 xverse command-r cohere2 olmo olmo2 olmoe openelm deepseek deepseek2 chatglm "
    "glm4 glm4moe exaone exaone4 granite granitemoe smollm3 gpt-oss seed_oss ernie4_5 ernie4_5-moe hunyuan-dense "
    "hunyuan-moe bailingmoe bailingmoe2 dots1 mamba mamba2 jamba stablelm minimax-m2 dream llada llada-moe"
)
_SILU = frozenset(_SILU_NAMES.split())
_WITHOUT_POSITIONS = frozenset({"gpt2", "starcoder", "bert", "bloom", "mpt", "refact", "jamba", "jais"})
_ENCODERS = frozenset({"bert", "nomic-bert", "nomic-bert-moe", "modern-bert", "neo-bert", "jina-bert-v2", "jina-bert-v3",
                       "eurobert", "gemma-embedding"})  # fmt: skip
_NOT_DECODERS = {"clip": "an image tower (mmproj)", "t5": "an encoder–decoder", "t5encoder": "a T5 encoder",
                 "wavtokenizer-dec": "an audio decoder"}  # fmt: skip
# Delta rules, RWKV and short convolutions: parts our graphs have or will have, but not by these tensors.
_UNKNOWN_MIXERS = (
    "ssm_ba",
    "ssm_beta",
    "ssm_alpha",
    "ssm_g_",
    "ssm_f_",
    "ssm_conv1d_",
    "time_mix",
    "shortconv",
    "indexer",
)
_EVERY = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4, "exaone4": 4, "olmo3": 4}  # one full layer in so many
_CHUNKED = {"llama4": 4}


def describe(meta: Config, layers: Sequence[Tensors], outer: Tensors, name: str) -> Arch:
    """The architecture.

    Args:
        meta: the metadata of the file's architecture, without its prefix; ``model_type`` is the architecture.
        layers: tensors of each layer by name.
        outer: tensors outside of layers.
        name: what answers call the model.

    Raises:
        BadFile: where metadata and tensors contradict each other.
        Unsupported: for parts that our graphs do not describe, naming them.
    """
    kind = meta.model_type
    if kind in _NOT_DECODERS:
        raise Unsupported(f"{meta.where} is {_NOT_DECODERS[kind]}", expected="a language model's GGUF file")
    table = outer.get("token_embd.weight")
    if table is None or not layers:
        raise BadFile(f"{meta.where} has no token_embd.weight or no layers", expected="a language model's GGUF file")
    notes: list[tuple[str, Any]] = []
    if kind not in _ACT and kind not in _SILU:
        notes.append(("architecture", f"{kind!r} is not known: read by its tensors, activations taken to be silu"))
    hidden = meta.integer("embedding_length", most=10**6)
    causal = meta.flag("attention.causal", default=kind not in _ENCODERS)
    windows, chunks = _windows(meta, len(layers), notes)
    found = tuple(_layer(meta, t, i, hidden, causal, windows[i], chunks[i]) for i, t in enumerate(layers))
    norm = _norm(meta)
    final = "output_norm.weight" in outer
    plain = not final and kind == "olmo"  # norms without learned scale
    return Arch(
        name=name, family=kind, vocab=table.rows, hidden=hidden, layers=found, tied="output.weight" not in outer,
        positions=outer["position_embd.weight"].rows if "position_embd.weight" in outer else 0,
        segments=outer["token_types.weight"].rows if "token_types.weight" in outer else 0,
        embed_norm="token_embd_norm.weight" in outer, final_norm=final or plain, norm=norm, norm_weight=final,
        norm_bias="output_norm.bias" in outer or "token_embd_norm.bias" in outer, head="lm" if causal else "none",
        head_bias="output.bias" in outer, causal=causal,
        max_context=meta.integer("context_length", default=2048, most=10**9), assumptions=tuple(notes),
    )  # fmt: skip


def _norm(meta: Config) -> str:
    return "rms_norm" if meta.stated("attention.layer_norm_rms_epsilon") else "layer_norm"


def _windows(meta: Config, count: int, notes: list[tuple[str, Any]]) -> tuple[list[int | None], list[int | None]]:
    """(sliding window, attention chunk) of each layer; None for none."""
    none: list[int | None] = [None] * count
    if meta.stated("attention.sliding_window", "attention.chunk_size") is None:
        return none, none
    kind = meta.model_type
    if kind in _CHUNKED:
        chunk = meta.integer("attention.chunk_size", "attention.sliding_window", default=8192)
        return none, [None if (i + 1) % _CHUNKED[kind] == 0 else chunk for i in range(count)]
    window = meta.integer("attention.sliding_window", default=0, least=0, most=10**9)
    pattern = meta.get("attention.sliding_window_pattern")
    if not window:
        return none, none
    if isinstance(pattern, list) and len(pattern) >= count:
        return [window if p else None for p in pattern[:count]], none
    every = pattern if isinstance(pattern, int) and pattern > 0 else _EVERY.get(kind)
    if every is None or isinstance(every, bool):
        notes.append(
            ("sliding window", f"{window} tokens are stated; full attention is assumed, as llama.cpp runs {kind}")
        )
        return none, none
    return [window if (i + 1) % every else None for i in range(count)], none


def _layer(meta: Config, there: Tensors, index: int, hidden: int, causal: bool, window: int | None,
           chunk: int | None) -> Layer:  # fmt: skip
    strange = next((n for n in sorted(there) if n.startswith(_UNKNOWN_MIXERS)), None)
    if strange is not None:
        raise Unsupported(
            f"{meta.where}: layer {index} of architecture {meta.model_type!r} mixes tokens by {strange!r}",
            expected="attention, latent attention or Mamba", hint="give the model's config.json",
        )  # fmt: skip
    recurrent, attends = "ssm_in.weight" in there, "attn_output.weight" in there
    if recurrent and attends:
        raise Unsupported(
            f"{meta.where}: layer {index} has attention and a state space side by side", expected="one of them a layer"
        )
    mixer: Any = None
    if recurrent:
        mixer = _state_space(meta, there)
    elif "attn_kv_a_mqa.weight" in there:
        mixer = _latent(meta, there)
    elif attends:
        mixer = _attention(meta, there, index, hidden, causal, window, chunk)
    ffn: Any = None
    if "ffn_gate_inp.weight" in there:
        ffn = _experts(meta, there)
    elif "ffn_down.weight" in there:
        ffn = _mlp(meta, there)
    if mixer is None and ffn is None:
        names = ", ".join(sorted(there)[:4])
        raise Unsupported(
            f"{meta.where}: layer {index} of architecture {meta.model_type!r} has no part this version describes ({names})",
            expected="attention, latent attention, Mamba, feed-forwards or experts",
        )
    placement = placement_of(there, parallel=bool(meta.get("use_parallel_residual")))
    first = "attn_output_norm" if placement == "post" else "attn_norm"
    weighted = any(n.endswith("norm.weight") or n == "attn_norm_2.weight" for n in there)
    return Layer(mixer, ffn, _norm(meta), f"{first}.bias" in there, weighted, placement)


def placement_of(there: Mapping[str, object], *, parallel: bool = False) -> str:
    """Where a layer's norms stand, from which of them there are."""
    has = {n.removesuffix(".weight") for n in there}
    if "attn_output_norm" in has:
        return "post"
    if "attn_norm" not in has:
        return "branch" if "post_attention_norm" in has else "pre"
    if {"ffn_norm", "post_attention_norm", "post_ffw_norm"} <= has:
        return "sandwich"
    if "attn_norm_2" in has or (parallel and "ffn_norm" in has):
        return "parallel2"
    feeds = "ffn_down" in has or "ffn_gate_inp" in has
    return "pre" if not feeds or has & {"ffn_norm", "post_attention_norm"} else "parallel"


def _per_layer(meta: Config, field: str, index: int, default: int | None = None) -> int:
    """A number that may be a list with one entry a layer."""
    value = meta.get(field)
    if isinstance(value, list):
        if (
            index >= len(value)
            or isinstance(value[index], bool)
            or not isinstance(value[index], int)
            or value[index] < 0
        ):
            raise meta.bad(field, "a number for each layer")
        return int(value[index])
    return meta.integer(field, default=default, least=0, most=10**5)


def _attention(meta: Config, there: Tensors, index: int, hidden: int, causal: bool, window: int | None,
               chunk: int | None) -> Attention:  # fmt: skip
    heads = _per_layer(meta, "attention.head_count", index)
    kv_heads = _per_layer(meta, "attention.head_count_kv", index, heads)
    if heads < 1 or kv_heads < 1 or heads % kv_heads:
        raise BadFile(
            f"{meta.where}: layer {index} has {heads} heads and {kv_heads} key-value heads",
            expected="heads that key-value heads divide",
        )
    dim = meta.integer("attention.key_length", default=hidden // heads or 1)
    value = meta.integer("attention.value_length", default=dim)
    rotated = meta.integer("rope.dimension_count", default=dim, least=0)
    norm = there.get("attn_q_norm.weight")
    normed = "none"
    if norm is not None:
        wide = norm.elements != dim
        normed = ("heads" if len(norm.shape) > 1 else "full") if wide else "head"
    fused = "attn_qkv.bias" in there
    positioned = meta.model_type not in _WITHOUT_POSITIONS
    return Attention(
        heads, kv_heads, dim, value if value != dim else None, window, chunk, "attn_q.bias" in there or fused,
        "attn_k.bias" in there or fused, "attn_output.bias" in there, normed, _norm(meta), "attn_q_norm.bias" in there,
        rope=min(1.0, rotated / dim) if positioned else 0.0, causal=causal,
        sinks="attn_sinks.weight" in there or "attn_sinks" in there,
        k_eq_v="attn_v.weight" not in there and "attn_qkv.weight" not in there,
    )  # fmt: skip


def _latent(meta: Config, there: Tensors) -> Mla:
    if any(n.startswith("indexer") for n in there):
        raise Unsupported(
            f"{meta.where}: sparse attention indexers are not read from GGUF", hint="give the config.json"
        )
    rope = meta.integer("rope.dimension_count", least=0)
    width = meta.integer("attention.key_length_mla", "attention.key_length")
    if width < rope:
        raise BadFile(f"{meta.where}: keys of {width} with {rope} rotated", expected="at least as wide")
    return Mla(
        meta.integer("attention.head_count", most=10**5),
        meta.integer("attention.q_lora_rank") if "attn_q_a.weight" in there else None,
        meta.integer("attention.kv_lora_rank"), width - rope, rope,
        meta.integer("attention.value_length_mla", "attention.value_length"),
    )  # fmt: skip


def _state_space(meta: Config, there: Tensors) -> Mamba1 | Mamba2:
    inner, state = meta.integer("ssm.inner_size"), meta.integer("ssm.state_size")
    conv, rank = meta.integer("ssm.conv_kernel"), meta.integer("ssm.time_step_rank")
    bias, conv_bias = "ssm_in.bias" in there, "ssm_conv1d.bias" in there
    if "ssm_x.weight" in there:
        norms = "learned" if "ssm_dt_norm.weight" in there else "plain" if meta.get("ssm.dt_b_c_rms") else "none"
        return Mamba1(inner, state, conv, rank, bias, conv_bias, norms, "fp32")
    groups = meta.integer("ssm.group_count", default=1)
    if "ssm_dt.bias" not in there or inner % rank or rank % groups:
        raise Unsupported(
            f"{meta.where}: recurrent layers of architecture {meta.model_type!r}", expected="Mamba or Mamba-2 layers"
        )
    return Mamba2(rank, inner // rank, groups, state, conv, 256, bias, conv_bias, "ssm_norm.weight" in there, "fp32")


def _act(meta: Config) -> str:
    return _ACT.get(meta.model_type, "silu")


def _mlp(meta: Config, there: Tensors) -> Mlp:
    width, up = there["ffn_down.weight"].columns, there.get("ffn_up.weight")
    gated = "ffn_gate.weight" in there or (up is not None and up.rows == 2 * width)
    return Mlp(width, _act(meta), gated, "ffn_up.bias" in there)


def _experts(meta: Config, there: Tensors) -> Moe:
    experts, picks = meta.integer("expert_count", most=10**5), meta.integer("expert_used_count", most=10**5)
    if picks > experts:
        raise BadFile(f"{meta.where}: {picks} experts a token of {experts}", expected="at most all of them")
    down = there.get("ffn_down_exps.weight") or there.get("ffn_down.0.weight")
    if down is None:
        raise BadFile(f"{meta.where}: a router without experts", expected="ffn_down_exps.weight")
    shared = there.get("ffn_down_shexp.weight")
    gated = any(n in there for n in ("ffn_gate_exps.weight", "ffn_gate_up_exps.weight", "ffn_gate.0.weight"))
    return Moe(
        experts, picks, down.columns, _act(meta), gated, "ffn_up_exps.bias" in there, "ffn_gate_inp.bias" in there,
        "exp_probs_b.bias" in there, shared.columns if shared is not None else 0, "ffn_gate_inp_shexp.weight" in there,
    )  # fmt: skip


def layers_of(tensors: Mapping[str, Stored], count: int) -> tuple[list[dict[str, Stored]], dict[str, Stored]]:
    """(tensors of each layer without ``blk.N.``, the others)."""
    layers: list[dict[str, Stored]] = [{} for _ in range(count)]
    outer: dict[str, Stored] = {}
    for name, tensor in tensors.items():
        head, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if head == "blk" and number.isascii() and number.isdigit() and int(number) < count and len(number) < 6:
            layers[int(number)][inner] = tensor
        else:
            outer[name] = tensor
    return layers, outer


__all__ = ["describe", "layers_of", "placement_of"]
