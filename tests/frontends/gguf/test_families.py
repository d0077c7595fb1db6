"""A GGUF file gives the graph that the same model's Hugging Face configuration gives: operators, FLOPs, parameters."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from speedlight._foundation.expr import compile_tape, evaluate
from speedlight.frontends.gguf_file import load_gguf
from speedlight.frontends.hf.config import Config
from speedlight.frontends.hf.load import load_hf
from speedlight.graph.ir import Graph
from speedlight.graph.stats import forward_flops, kept, step_symbols, unsharded

from .writing import F32, Q4_K, Tensors, attention, ends, experts, gated, layer, llama, stored_bytes, write

D, H, G, HD, F, V, N = 512, 4, 2, 128, 1536, 1024, 4
RMS = {"attention.layer_norm_rms_epsilon": 1e-5}
LN = {"attention.layer_norm_epsilon": 1e-5}
META = {"block_count": N, "embedding_length": D, "attention.head_count": H, "attention.head_count_kv": G,
        "feed_forward_length": F, "context_length": 4096}  # fmt: skip
HF = {"hidden_size": D, "num_hidden_layers": N, "num_attention_heads": H, "num_key_value_heads": G,
      "intermediate_size": F, "vocab_size": V, "max_position_embeddings": 4096}  # fmt: skip


def stack(parts: Tensors, *, tied: bool = False, more: Tensors | None = None, count: int = N) -> Tensors:
    found = ends(D, V, tied=tied) | (more or {})
    for i in range(count):
        found |= layer(i, parts)
    return found


def norm(name: str, *, bias: bool = False) -> Tensors:
    return {f"{name}.{kind}": ((D,), F32) for kind in (("weight", "bias") if bias else ("weight",))}


def without(parts: Tensors, *names: str) -> Tensors:
    return {k: v for k, v in parts.items() if k not in names}


def two_layer(bias: bool = True) -> Tensors:
    found: Tensors = {"ffn_up.weight": ((F, D), Q4_K), "ffn_down.weight": ((D, F), Q4_K)}
    return found | ({"ffn_up.bias": ((F,), F32), "ffn_down.bias": ((D,), F32)} if bias else {})


def fused(kv: int = G, *, bias: bool = False) -> Tensors:
    rows = (H + 2 * kv) * HD
    found: Tensors = {"attn_qkv.weight": ((rows, D), Q4_K), "attn_output.weight": ((D, H * HD), Q4_K)}
    return found | ({"attn_qkv.bias": ((rows,), F32), "attn_output.bias": ((D,), F32)} if bias else {})


def mistral() -> tuple[Any, ...]:
    arch, meta, tensors = llama()
    return arch, meta, tensors, {**HF, "model_type": "mistral", "sliding_window": None}


def qwen2() -> tuple[Any, ...]:
    parts = attention(D, H, G, HD, bias=("q", "k", "v")) | gated(D, F)
    return "qwen2", META | RMS, stack(parts, tied=True), {**HF, "model_type": "qwen2", "tie_word_embeddings": True}


def qwen3() -> tuple[Any, ...]:
    parts = attention(D, H, G, 64, norm=64) | gated(D, F)
    meta = META | RMS | {"attention.key_length": 64, "attention.value_length": 64}
    return "qwen3", meta, stack(parts), {**HF, "model_type": "qwen3", "head_dim": 64}


def qwen3moe() -> tuple[Any, ...]:
    parts = attention(D, H, G, HD, norm=HD) | experts(D, 256, 8)
    meta = META | RMS | {"expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": 256}
    config = {**HF, "model_type": "qwen3_moe", "head_dim": HD, "num_experts": 8, "num_experts_per_tok": 2,
              "moe_intermediate_size": 256}  # fmt: skip
    return "qwen3moe", meta, stack(parts), config


def qwen2moe() -> tuple[Any, ...]:
    parts = attention(D, H, G, HD, bias=("q", "k", "v")) | experts(D, 256, 8, shared=512)
    parts["ffn_gate_inp_shexp.weight"] = ((D,), F32)
    meta = META | RMS | {"expert_count": 8, "expert_used_count": 2}
    config = {**HF, "model_type": "qwen2_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 256,
              "shared_expert_intermediate_size": 512}  # fmt: skip
    return "qwen2moe", meta, stack(parts), config


def mixtral() -> tuple[Any, ...]:
    parts = attention(D, H, G, HD) | experts(D, F, 8)
    meta = META | RMS | {"expert_count": 8, "expert_used_count": 2}
    return (
        "llama",
        meta,
        stack(parts),
        {**HF, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
    )


def gemma2() -> tuple[Any, ...]:
    parts = attention(D, H, G, HD) | gated(D, F) | norm("post_attention_norm") | norm("post_ffw_norm")
    meta = META | RMS | {"attention.key_length": HD, "attention.sliding_window": 1024}
    config = {**HF, "model_type": "gemma2", "head_dim": HD, "sliding_window": 1024}
    return "gemma2", meta, stack(parts, tied=True), config


def gemma3() -> tuple[Any, ...]:
    parts = attention(D, H, G, HD, norm=HD) | gated(D, F) | norm("post_attention_norm") | norm("post_ffw_norm")
    meta = META | RMS | {"block_count": 10, "attention.key_length": HD, "attention.sliding_window": 512}
    config = {**HF, "model_type": "gemma3_text", "num_hidden_layers": 10, "head_dim": HD, "sliding_window": 512}
    return "gemma3", meta, stack(parts, tied=True, count=10), config


def phi2() -> tuple[Any, ...]:
    parts = norm("attn_norm", bias=True) | fused(H, bias=True) | two_layer()
    meta = META | LN | {"attention.head_count_kv": H, "rope.dimension_count": 64}
    more = norm("output_norm", bias=True) | {"output.bias": ((V,), F32)}
    config = {**HF, "model_type": "phi", "num_key_value_heads": H, "hidden_act": "gelu_new"}
    return "phi2", meta, stack(parts, more=more), config


def phi3() -> tuple[Any, ...]:
    up: Tensors = {
        "ffn_norm.weight": ((D,), F32),
        "ffn_up.weight": ((2 * F, D), Q4_K),
        "ffn_down.weight": ((D, F), Q4_K),
    }
    return "phi3", META | RMS, stack(norm("attn_norm") | fused() | up), {**HF, "model_type": "phi3"}


def deepseek2() -> tuple[Any, ...]:
    nope, rope, v, q_rank, rank = 128, 64, 128, 256, 256
    mla: Tensors = {
        "attn_norm.weight": ((D,), F32), "attn_q_a.weight": ((q_rank, D), Q4_K), "attn_q_a_norm.weight": ((q_rank,), F32),
        "attn_q_b.weight": ((H * (nope + rope), q_rank), Q4_K), "attn_kv_a_mqa.weight": ((rank + rope, D), Q4_K),
        "attn_kv_a_norm.weight": ((rank,), F32), "attn_k_b.weight": ((H, rank, nope), F32),
        "attn_v_b.weight": ((H, v, rank), Q4_K), "attn_output.weight": ((D, H * v), Q4_K),
    }  # fmt: skip
    sparse = mla | experts(D, 256, 8, shared=256) | {"exp_probs_b.bias": ((8,), F32)}
    tensors = ends(D, V) | layer(0, mla | gated(D, F))
    for i in range(1, N):
        tensors |= layer(i, sparse)
    meta = META | RMS | {
        "attention.head_count_kv": 1, "attention.q_lora_rank": q_rank, "attention.kv_lora_rank": rank,
        "attention.key_length": rank + rope, "attention.key_length_mla": nope + rope, "attention.value_length": rank,
        "attention.value_length_mla": v, "rope.dimension_count": rope, "expert_count": 8, "expert_used_count": 2,
        "leading_dense_block_count": 1,
    }  # fmt: skip
    config = {
        **HF, "model_type": "deepseek_v3", "q_lora_rank": q_rank, "kv_lora_rank": rank, "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope, "v_head_dim": v, "n_routed_experts": 8, "num_experts_per_tok": 2,
        "moe_intermediate_size": 256, "n_shared_experts": 1, "first_k_dense_replace": 1,
    }  # fmt: skip
    return "deepseek2", meta, tensors, config


def gpt2() -> tuple[Any, ...]:
    parts = norm("attn_norm", bias=True) | fused(H, bias=True) | norm("ffn_norm", bias=True) | two_layer()
    more = norm("output_norm", bias=True) | {"position_embd.weight": ((1024, D), F32)}
    meta = META | LN | {"attention.head_count_kv": H}
    config = {
        "model_type": "gpt2",
        "n_embd": D,
        "n_layer": N,
        "n_head": H,
        "n_inner": F,
        "vocab_size": V,
        "n_positions": 1024,
    }
    return "gpt2", meta, stack(parts, tied=True, more=more), config


def falcon() -> tuple[Any, ...]:
    parts = norm("attn_norm", bias=True) | fused(1) | two_layer(bias=False)
    meta = META | LN | {"attention.head_count_kv": 1}
    config = {**HF, "model_type": "falcon", "multi_query": True, "ffn_hidden_size": F, "bias": False}
    return "falcon", meta, stack(parts, tied=True, more=norm("output_norm", bias=True)), config


def gpt_neox() -> tuple[Any, ...]:
    parts = norm("attn_norm", bias=True) | fused(H, bias=True) | norm("ffn_norm", bias=True) | two_layer()
    meta = META | LN | {"attention.head_count_kv": H, "rope.dimension_count": 32, "use_parallel_residual": True}
    return "gptneox", meta, stack(parts, more=norm("output_norm", bias=True)), {**HF, "model_type": "gpt_neox",
                                                                                "num_key_value_heads": H}  # fmt: skip


def gpt_oss() -> tuple[Any, ...]:
    parts = attention(D, H, G, 64, bias=("q", "k", "v", "output"))
    parts |= without(experts(D, 256, 8), "ffn_norm.weight") | norm("post_attention_norm")
    parts |= {"attn_sinks.weight": ((H,), F32), "ffn_gate_inp.bias": ((8,), F32), "ffn_gate_exps.bias": ((8, 256), F32),
              "ffn_up_exps.bias": ((8, 256), F32), "ffn_down_exps.bias": ((8, D), F32)}  # fmt: skip
    meta = META | RMS | {"attention.key_length": 64, "attention.value_length": 64, "attention.sliding_window": 128,
                         "expert_count": 8, "expert_used_count": 2, "rope.dimension_count": 64}  # fmt: skip
    config = {**HF, "model_type": "gpt_oss", "head_dim": 64, "intermediate_size": 256, "num_local_experts": 8,
              "num_experts_per_tok": 2, "sliding_window": 128}  # fmt: skip
    return "gpt-oss", meta, stack(parts), config


def bert() -> tuple[Any, ...]:
    parts = without(attention(D, H, H, HD, bias=("q", "k", "v", "output")), "attn_norm.weight")
    parts |= norm("attn_output_norm", bias=True) | norm("layer_output_norm", bias=True) | two_layer()
    more = norm("token_embd_norm", bias=True) | {
        "position_embd.weight": ((512, D), F32),
        "token_types.weight": ((2, D), F32),
    }
    tensors = without(stack(parts, tied=True, more=more), "output_norm.weight")
    meta = META | LN | {"attention.head_count_kv": H, "attention.causal": False}
    config = {**HF, "model_type": "bert", "max_position_embeddings": 512, "architectures": ["BertModel"]}
    return "bert", meta, tensors, config


def mamba() -> tuple[Any, ...]:
    inner, state, conv, rank = 2 * D, 16, 4, 32
    parts: Tensors = {
        "attn_norm.weight": ((D,), F32), "ssm_in.weight": ((2 * inner, D), Q4_K), "ssm_conv1d.weight": ((inner, conv), F32),
        "ssm_conv1d.bias": ((inner,), F32), "ssm_x.weight": ((rank + 2 * state, inner), Q4_K),
        "ssm_dt.weight": ((inner, rank), F32), "ssm_dt.bias": ((inner,), F32), "ssm_a": ((inner, state), F32),
        "ssm_d": ((inner,), F32), "ssm_out.weight": ((D, inner), Q4_K),
    }  # fmt: skip
    meta = {"block_count": N, "embedding_length": D, "context_length": 4096, "feed_forward_length": 0,
            "attention.head_count": 0, "ssm.inner_size": inner, "ssm.state_size": state, "ssm.conv_kernel": conv,
            "ssm.time_step_rank": rank, **RMS}  # fmt: skip
    config = {"model_type": "mamba", "hidden_size": D, "num_hidden_layers": N, "vocab_size": V, "state_size": state,
              "time_step_rank": rank, "intermediate_size": inner}  # fmt: skip
    return "mamba", meta, stack(parts, tied=True), config


def olmo2() -> tuple[Any, ...]:
    parts = without(attention(D, H, G, HD) | gated(D, F), "attn_norm.weight", "ffn_norm.weight")
    parts |= norm("post_attention_norm") | norm("post_ffw_norm")
    parts |= {"attn_q_norm.weight": ((H * HD,), F32), "attn_k_norm.weight": ((G * HD,), F32)}
    return "olmo2", META | RMS, stack(parts), {**HF, "model_type": "olmo2"}


def glm4() -> tuple[Any, ...]:
    up: Tensors = {
        "ffn_norm.weight": ((D,), F32),
        "ffn_up.weight": ((2 * F, D), Q4_K),
        "ffn_down.weight": ((D, F), Q4_K),
    }
    parts = attention(D, H, G, HD, bias=("q", "k", "v")) | up | norm("post_attention_norm") | norm("post_ffw_norm")
    meta = META | RMS | {"rope.dimension_count": 64}
    return "glm4", meta, stack(parts), {**HF, "model_type": "glm4"}


CASES = [mistral, qwen2, qwen3, qwen3moe, qwen2moe, mixtral, gemma2, gemma3, phi2, phi3, deepseek2, gpt2, falcon, gpt_neox,
         gpt_oss, bert, mamba, olmo2, glm4]  # fmt: skip


def numbers(graph: Graph, new: int, cached: int) -> dict[tuple[str, str], float]:
    """(operator, figure) → FLOPs and instances over all layers, in one step of three sequences."""
    env = {**unsharded(graph), **step_symbols(3, new, cached), "caching": 1, "training": 0}
    found: Counter[tuple[str, str]] = Counter()
    for block, op in graph.ops():
        values = compile_tape([block.count * op.count, *[w.flops * block.count * op.count for w in op.work]]).run(
            env, [{"count": 3, "new": new, "cached": cached}]
        )
        found[op.name, f"{op.kind} {op.fn}"] += float(values[0])
        for work, value in zip(op.work, values[1:], strict=True):
            found[op.name, work.unit] += float(value)
    return dict(found)


@pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)
def test_the_graph_is_the_configurations(case: Any, tmp_path: Path) -> None:
    arch, meta, tensors, config = case()
    ours = load_gguf(str(write(tmp_path / "x.gguf", arch, meta, tensors, tokens=50)))
    theirs = load_hf(Config(config, "config"))[2]
    assert float(evaluate(kept(ours, "weight"), unsharded(ours))) == stored_bytes(tensors)
    causal = ours.attrs["causal"]
    assert causal == theirs.attrs["causal"]
    for new, cached in ((2000, 0), (1, 3000)) if causal else ((200, 0),):
        mine, expected = numbers(ours, new, cached), numbers(theirs, new, cached)
        if not causal:  # GGUF encoders end in the last hidden state
            ends_ = ("pool", "pooler.dense", "pooler.tanh")
            expected = {k: v for k, v in expected.items() if k[0] not in ends_}
        assert mine == pytest.approx(expected)
    rest = sum(t.elements.constant for n, t in ours.shared.items() if n.startswith("file."))
    weights = [float(evaluate(kept(g, "weight", of_bytes=False), unsharded(g))) for g in (ours, theirs)]
    assert weights[0] - rest == weights[1] - (D * D + D if arch == "bert" else 0)
    assert float(evaluate(forward_flops(ours), {**unsharded(ours), **step_symbols(1, 1, 0)}, [
        {"count": 1, "new": 1, "cached": 0}])) > 0  # fmt: skip


def test_an_unknown_architecture_is_read_by_its_tensors_and_says_so(tmp_path: Path) -> None:
    _, meta, tensors = llama()
    graph = load_gguf(str(write(tmp_path / "x.gguf", "nextbigthing", meta, tensors)))
    assert any("nextbigthing" in str(value) for _, value in graph.attrs["assumptions"])
    assert numbers(graph, 1, 100) == numbers(load_gguf(str(write(tmp_path / "y.gguf", *llama()))), 1, 100)
