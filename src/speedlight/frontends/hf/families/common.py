"""Reading the fields that most configurations share, with their contradictions refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...._foundation.errors import BadInput
from ..arch import Arch, Moe
from ..config import Config

Family = Callable[[Config], Arch]

# Names in configurations → functions of the graph builder. Variants of one cost share a name.
_ACTIVATIONS = {
    "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_tanh", "swish": "silu", "swiglu": "silu", "swigluoai": "silu", "situ": "silu",
    "relu_squared": "relu2", "relu2_squared": "relu2", "gelu_10": "gelu", "gegelu": "gelu", "bloom-gelu": "gelu_tanh",
}  # fmt: skip


def registry() -> tuple[dict[str, Family], Callable[..., Callable[[Family], Family]]]:
    """A module's table of families and the decorator ``@family("model_type", …)`` that fills it."""
    families: dict[str, Family] = {}

    def family(*model_types: str) -> Callable[[Family], Family]:
        def keep(function: Family) -> Family:
            families.update(dict.fromkeys(model_types, function))
            return function

        return keep

    return families, family


def activation(c: Config, *names: str, default: str) -> str:
    """The feed-forward's activation by the builder's name."""
    stated = c.word(*names, default=default)
    return _ACTIVATIONS.get(stated, stated)


def hidden_size(c: Config) -> int:
    return c.integer("hidden_size", "n_embd", "d_model", "dim", most=10**6)


def head_sizes(
    c: Config,
    heads: tuple[str, ...] = ("num_attention_heads", "n_head", "n_heads"),
    kv: tuple[str, ...] = ("num_key_value_heads",),
    dim: tuple[str, ...] = ("head_dim",),
    default_kv: int | None = None,
    default_dim: int | None = None,
    hidden: int | None = None,
) -> tuple[int, int, int]:
    """(query heads, key-value heads, head dimension).

    Args:
        heads, kv, dim: field names, the first that is set counts.
        default_kv: key-value heads where no field says; all of them by default.
        default_dim: head dimension where no field says; hidden/heads by default.

    Raises:
        BadInput: where hidden does not divide by heads without a stated head dimension, or heads by key-value heads.
    """
    n = c.integer(*heads, most=10**5)
    g = c.integer(*kv, default=default_kv or n, most=10**5)
    name = c.stated(*kv) or kv[0]
    if g > n:
        raise BadInput(f"{c.where}: {name} is {g}", expected=f"at most the {n} query heads ({c.stated(*heads)})")
    if n % g:
        raise BadInput(f"{c.where}: {name} is {g}", expected=f"a divisor of the {n} query heads ({c.stated(*heads)})")
    if c.stated(*dim):
        return n, g, c.integer(*dim, most=10**5)
    if default_dim is not None:
        return n, g, default_dim
    width = hidden or hidden_size(c)
    if width % n:
        raise BadInput(
            f"{c.where}: hidden size {width} does not divide by {c.stated(*heads)} {n}",
            expected="a divisor, or the field head_dim",
        )
    return n, g, width // n


def rotary_share(c: Config, *names: str, default: float = 1.0) -> float:
    """Share of a head's dimensions that is rotated: a factor, stated outside or inside ``rope_parameters``."""
    names = names or ("partial_rotary_factor", "rotary_pct", "rope_pct")
    name = c.stated(*names)
    if name is not None:
        share = c.number(name, default)
    else:
        rope = c.get("rope_parameters")
        share = Config(rope, c.where).number("partial_rotary_factor", default) if isinstance(rope, dict) else default
    if not 0 <= share <= 1:
        raise BadInput(f"{c.where}: {name or 'partial_rotary_factor'} is {share}", expected="a share between 0 and 1")
    return share


def window_of(c: Config, name: str = "sliding_window", *, most: int = 10**9) -> int | None:
    """A sliding window in tokens, None where there is none."""
    return None if c.get(name) is None else c.integer(name, most=most)


def layer_kinds(
    c: Config,
    count: int,
    allowed: Sequence[str],
    pattern: Callable[[int], str],
    name: str = "layer_types",
    spare: int = 0,
) -> list[str]:
    """The kind of each layer: as listed, or by the family's pattern."""
    stated = c.per_layer(name, count, allowed, spare)
    return stated if stated is not None else [pattern(i) for i in range(count)]


def expert_counts(
    c: Config,
    items: tuple[str, ...] = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    picks: tuple[str, ...] = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "top_k_experts"),
    default_items: int | None = None,
    default_picks: int | None = None,
) -> tuple[int, int]:
    """(experts, picks per token); more picks than experts is refused."""
    n = c.integer(*items, default=default_items, most=10**5)
    k = c.integer(*picks, default=default_picks, most=10**5)
    if k > n:
        raise BadInput(
            f"{c.where}: {c.stated(*picks) or picks[0]} is {k}",
            expected=f"at most the {n} experts ({c.stated(*items)})",
        )
    return n, k


def deepseek_moe(c: Config, *, balance_bias: bool = True, shared: str = "n_shared_experts", act: str = "silu") -> Moe:
    """Fine-grained routed experts with shared ones of the same width (DeepSeekMoE, arXiv 2401.06066 §3)."""
    n, k = expert_counts(c, ("n_routed_experts", "num_local_experts", "num_experts"))
    width = c.integer("moe_intermediate_size")
    count = c.integer(shared, "num_shared_experts", default=0, least=0, most=1000)
    return Moe(n, k, width, act, balance_bias=balance_bias, shared_width=count * width)


def first_dense(c: Config, count: int, default: int = 0) -> list[bool]:
    """For each layer whether it has experts: from ``mlp_layer_types``, ``moe_layer_freq`` (a list or a period) or
    ``first_k_dense_replace``."""
    stated = c.per_layer("mlp_layer_types", count, ("dense", "sparse", "moe", "hash_moe"), spare=16)
    if stated is not None:
        return [kind != "dense" for kind in stated]
    dense = c.integer("first_k_dense_replace", "moe_first_k_dense", default=default, least=0)
    every = c.get("moe_layer_freq")
    if isinstance(every, (list, tuple)):
        flags = c.per_layer("moe_layer_freq", count, (0, 1, True, False), spare=16)
        return [bool(f) for f in flags or ()]
    step = c.integer("moe_layer_freq", default=1)
    return [i >= dense and i % step == 0 for i in range(count)]


_MTP = ("num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers", "num_mtp_layers")


def mtp_modules(c: Config) -> int:
    """How many multi-token prediction modules a checkpoint has."""
    name = c.stated(*_MTP)
    return c.integer(name, least=0, most=64) if name else 0


def mtp_note(c: Config) -> tuple[tuple[str, str], ...]:
    """An assumption where multi-token prediction modules exist: they are not part of a plain step."""
    count = mtp_modules(c)
    if not count:
        return ()
    said = f"{count} layers ({c.stated(*_MTP)}) are left out: a plain step does not run them; --mtp {count} does"
    return (("multi-token prediction", said),)
