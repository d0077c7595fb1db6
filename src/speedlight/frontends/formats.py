"""Which number format each part of a model is stored and multiplied in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache

from .._foundation.formats import number_format

# Number formats whose multiplications engines run at their own rate once weights come in them; the rest is weight-only.
_WITH_ACTIVATIONS = ("fp8", "fp8_block", "mxfp8", "fp8_2of4")


@dataclass(frozen=True, slots=True)
class Rule:
    """Formats of the linear layers whose path matches a pattern.

    Attributes:
        pattern: glob over dotted components (``self_attn.q_proj``, ``*shared_experts*``); a plain name matches whole
            components and everything below them.
        layer: index of the one layer it speaks of, or None for all.
        weights, activations: formats; None for the model's ``dtype`` (the layer is left unquantised).
    """

    pattern: str
    layer: int | None = None
    weights: str | None = None
    activations: str | None = None


@dataclass(frozen=True, slots=True)
class Formats:
    """A model's number formats.

    Attributes:
        dtype: activations between ops, and every weight that is not quantised.
        weights: linear layers' weights.
        activations: what linear layers multiply their inputs in; quantised on the fly where narrower than ``dtype``.
        kv: the KV cache.
        experts: expert weights, where they differ from ``weights``.
        keep: module path patterns (``*lm_head*``) whose weights stay in ``dtype``.
        rules: exceptions by path and layer; the first that matches decides.
        notes: what had to be assumed to read them, as (what, value).
    """

    dtype: str = "bf16"
    weights: str | None = None
    activations: str | None = None
    kv: str | None = None
    experts: str | None = None
    keep: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    def weight(self, path: str, *, expert: bool = False) -> str:
        """Storage format of the weight of a linear layer at ``path``."""
        rule = self._rule(path)
        if rule is not None:
            return rule.weights or self.dtype
        return (self.experts if expert else None) or self.weights or self.dtype

    def activation(self, path: str) -> str:
        """Format a linear layer at ``path`` multiplies its input in."""
        rule = self._rule(path)
        if rule is not None:
            return rule.activations or self.dtype
        return self.activations or self.dtype

    def _rule(self, path: str) -> Rule | None:
        for rule in self.rules:
            if matches(path, rule.pattern):
                return rule
        return _KEEP if any(matches(path, p) for p in self.keep) else None

    @property
    def head(self) -> str:
        """Storage format of an untied head: recipes leave it alone unless they name it."""
        named = [r for r in self.rules if r.weights and r.pattern.strip("*") and matches("lm_head", r.pattern)]
        return (named[0].weights if named else None) or self.dtype

    @property
    def cache(self) -> str:
        return self.kv or self.dtype

    def by_layer(self, count: int) -> list[Formats]:
        """For each of ``count`` layers the same with only the rules that speak of it; equal results may be folded."""
        if all(rule.layer is None for rule in self.rules):
            return [self] * count
        general = [r for r in self.rules if r.layer is None]
        special: dict[int, list[Rule]] = {}
        for rule in self.rules:
            if rule.layer is not None:
                special.setdefault(rule.layer, []).append(rule)
        made: dict[frozenset[tuple[str, str | None, str | None]], Formats] = {}
        result = []
        for index in range(count):
            named = frozenset((r.pattern, r.weights, r.activations) for r in special.get(index, ()))
            if named not in made:
                rules = [Rule(p, None, w, a) for p, w, a in sorted(named, key=str)]
                made[named] = replace(self, rules=(*rules, *general))
            result.append(made[named])
        return result


_KEEP = Rule("*")


@lru_cache(maxsize=4096)
def matches(path: str, pattern: str) -> bool:
    """Whether a module path matches: the pattern stands for whole dotted components, anywhere in the path.

    ``gate`` matches ``mlp.gate`` and what lies below it, not ``mlp.gate_proj``; ``*self_attn*`` matches as a glob.
    """
    return any(
        fnmatchcase(path, form) for form in (pattern, f"*.{pattern}", f"{pattern}.*", f"*.{pattern}.*")
    )  # fmt: skip


def override(
    formats: Formats,
    dtype: str | None = None,
    weights: str | None = None,
    activations: str | None = None,
    kv: str | None = None,
) -> Formats:
    """The formats a user asks for instead of those the configuration states.

    ``dtype`` means *everything* in that format: weights, activations and cache, so it also undoes a quantisation
    (DeepSeek-V3, published in fp8, weighs 1.34 TB with ``dtype="bf16"``). ``weights`` is for all linear layers but the
    head: fp8 formats bring fp8 multiplications with them unless ``activations`` says otherwise; int8, int4, nvfp4 and
    mxfp4 are weight-only, so inputs stay in ``dtype`` (W4A16), unless ``activations`` is given too. ``kv`` is the cache.

    Raises:
        UnknownName: for a format nobody knows.
    """
    result = formats
    if dtype is not None:
        result = Formats(number_format(dtype).name)
    if weights is not None:
        name = number_format(weights).name
        plain = name == result.dtype
        with_it = "fp8" if name in _WITH_ACTIVATIONS else None
        result = Formats(result.dtype, None if plain else name, with_it, result.kv)
    if activations is not None:
        name = number_format(activations).name
        result = replace(
            result,
            activations=None if name == result.dtype else name,
            rules=tuple(replace(r, activations=name) if r.activations else r for r in result.rules),
        )
    if kv is not None:
        result = replace(result, kv=number_format(kv).name)
    return result


# Names other projects give to what our graphs call ``self_attn``, ``mlp`` and ``mlp.shared_experts``.
_COMPONENTS = {"attn": "self_attn", "ffn": "mlp", "feed_forward": "mlp", "block_sparse_moe": "mlp", "moe": "mlp",
               "shared_expert": "shared_experts"}  # fmt: skip
_PREFIXES = ("model.language_model.", "language_model.model.", "language_model.", "backbone.", "transformer.", "model.")
_MIXER_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "k", "v")
_MIXER_FFN = ("gate", "experts", "shared_experts", "up_proj", "down_proj", "fc1_latent_proj", "fc2_latent_proj")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)(?:[.*]|$)")


def rules_of(pattern: str, weights: str | None = None, activations: str | None = None) -> list[Rule]:
    """A checkpoint's module pattern as rules over our paths.

    ``re:.*mlp\\.(up|down)_proj.*`` becomes two globs, ``model.layers.3.block_sparse_moe.gate`` becomes ``mlp.gate`` in
    layer 3, ``model.layers.0*`` the whole of layer 0.
    """
    return [rule for text in _globs(pattern) for rule in _rule_of(text, weights, activations)]


def _globs(pattern: str) -> list[str]:
    if not pattern.startswith("re:"):
        return [pattern]
    text = pattern.removeprefix("re:").removeprefix("^").removesuffix("$").replace("\\.", ".").replace(".*", "*")
    forms = [text]
    while match := re.search(r"\(([^()]*)\)", forms[0]):
        head, tail = forms[0][: match.start()], forms[0][match.end() :]
        rest = forms[1:]
        forms = [head + option + tail for option in match[1].removeprefix("?:").split("|")] + rest
        if len(forms) > 64:
            break
        forms.sort(key=lambda f: "(" not in f)
    return forms


def _rule_of(text: str, weights: str | None, activations: str | None) -> Iterable[Rule]:
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    layer: int | None = None
    if found := _LAYER.search(text):
        layer = int(found[1])
        text = text[found.end() :].lstrip(".") if found[0].endswith(".") else ""
    text = text.removeprefix("layers.*.").removeprefix("layers.*")
    parts = [_COMPONENTS.get(p, p) for p in text.split(".") if p]
    if parts and parts[0] == "mixer" and len(parts) > 1:
        if parts[1] in _MIXER_ATTENTION:
            parts[0] = "self_attn"
        elif parts[1] in _MIXER_FFN:
            parts[0] = "mlp"
    return [Rule(".".join(parts) or "*", layer, weights, activations)]
