"""Number formats as a configuration states them: ``torch_dtype``, ``quantization_config``, ``hf_quant_config``.

What each method stores is documented in the transformers manual ("Quantization", one page a method); modelopt's
algorithm names are those of NVIDIA TensorRT Model Optimizer's ``hf_quant_config.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..._foundation.errors import BadInput, UnknownName
from ..._foundation.formats import FORMATS, number_format
from ..formats import Formats, Rule, rules_of
from .config import Config

# quant_algo → (weights, activations); None: left in the model's dtype.
_MODELOPT: dict[str, tuple[str | None, str | None]] = {
    "FP8": ("fp8", "fp8"), "FP8_PER_CHANNEL_PER_TOKEN": ("fp8", "fp8"), "FP8_PB_WO": ("fp8_block", "fp8"),
    "FP8_PB_REAL": ("fp8_block", "fp8"), "FP8_BLOCK_SCALES": ("fp8_block", "fp8"), "NVFP4": ("nvfp4", "nvfp4"),
    "NVFP4_AWQ": ("nvfp4", "nvfp4"), "W4A16_NVFP4": ("nvfp4", None), "W4A8_NVFP4_FP8": ("nvfp4", "fp8"),
    "W4A16_AWQ": ("int4_asym", None), "W4A8_AWQ": ("int4_asym", "fp8"), "W4A8_MXFP4_FP8": ("mxfp4", "fp8"),
    "MXFP8": ("mxfp8", "mxfp8"), "MXFP4": ("mxfp4", "mxfp4"), "W8A16": ("int8", None), "INT8_SQ": ("int8", "int8"),
    "W8A8_SQ_PER_CHANNEL": ("int8", "int8"), "": (None, None), "NONE": (None, None),
}  # fmt: skip


def formats_of(config: Config) -> Formats:
    """The formats a configuration states.

    Raises:
        BadInput: for a scheme whose formats we do not know, naming it.
    """
    text = config.text()
    base = _dtype(config, text)
    modelopt = config.get("hf_quant_config") or text.get("hf_quant_config")
    quant = config.get("quantization_config") or text.get("quantization_config")
    try:
        if isinstance(modelopt, Mapping) and isinstance(modelopt.get("quantization"), Mapping):
            outer = quant if isinstance(quant, Mapping) else {}
            return _modelopt(base, modelopt["quantization"], outer, config)
        if not isinstance(quant, Mapping):
            return Formats(base)
        return _transformers(base, quant, config)
    except (TypeError, AttributeError, KeyError) as error:  # a list where an object belongs, and the like
        raise BadInput(
            f"{config.where}: quantization_config cannot be read ({error})",
            expected="an object as transformers, modelopt or compressed-tensors write it",
            hint="state the formats yourself: --weights int4 --activations bf16",
        ) from None


def _dtype(config: Config, text: Config) -> str:
    stated = config.word("torch_dtype", "dtype") or text.word("torch_dtype", "dtype") or "bf16"
    try:
        return number_format(stated if stated != "auto" else "bf16").name
    except UnknownName as error:
        raise BadInput(
            f"{config.where}: torch_dtype is {stated!r}", expected="a number format", hint=error.hint
        ) from None


def _transformers(base: str, quant: Mapping[str, Any], config: Config) -> Formats:
    method = str(quant.get("quant_method", quant.get("quant_algo", ""))).lower()
    skipped = _Patterns(
        quant.get("modules_to_not_convert") or quant.get("ignore") or quant.get("ignored_layers"), config
    )
    bits = quant.get("bits", quant.get("weight_bits", 4))
    if method in ("fp8", "fbgemm_fp8", "finegrained_fp8"):
        weights = "fp8_block" if quant.get("weight_block_size") else "fp8"
        fp4 = "fp4" in (config.get("expert_dtype"), quant.get("expert_dtype"))
        if quant.get("quantized_layers"):  # modelopt re-quantised some layers of an fp8 checkpoint; the rest stays fp8
            rules, notes = _layers(quant["quantized_layers"], config, set(), quant.get("config_groups"))
            return Formats(base, weights, "fp8", None, None, (), tuple(rules), notes)
        return Formats(base, weights, "fp8", None, "mxfp4" if fp4 else None, (), skipped.rules, skipped.notes)
    if method == "mxfp4":
        return Formats(base, None, None, None, "mxfp4", (), skipped.rules, skipped.notes)
    if method in ("awq", "gptq", "auto-round", "autoround", "hqq", "marlin", "intel/auto-round"):
        name = {2: "int2", 3: "int3", 4: "int4_asym" if method == "awq" else "int4", 8: "int8"}.get(bits)
        if name is None:
            raise BadInput(f"{config.where}: {method} with {bits!r} bits", expected="2, 3, 4 or 8 bits")
        return Formats(base, name, None, None, None, (), skipped.rules, skipped.notes)
    if method == "bitsandbytes":
        four = bool(quant.get("load_in_4bit"))
        return Formats(base, "int4_g64" if four else "int8", None if four else "int8", None, None, (), skipped.rules)
    if method in ("modelopt", "nvfp4", "modelopt_fp4", "modelopt_mixed"):
        inner = quant.get("quantization")
        fields = inner if isinstance(inner, Mapping) else quant
        return _modelopt(base, {"quant_algo": "NVFP4", **fields}, quant, config)
    if method == "compressed-tensors":
        return _compressed_tensors(base, quant, skipped, config)
    if method in _LOWER:
        return _modelopt(base, {**quant, "quant_algo": method.upper()}, quant, config)
    raise BadInput(
        f"{config.where}: quantization method {method!r} is not known",
        expected="fp8, mxfp4, awq, gptq, bitsandbytes, modelopt or compressed-tensors",
        hint="state the formats yourself: --weights int4 --activations bf16",
    )


_LOWER = {name.lower() for name in _MODELOPT if name}


def _modelopt(base: str, fields: Mapping[str, Any], outer: Mapping[str, Any], config: Config) -> Formats:
    algorithm = str(fields.get("quant_algo") or "").upper()
    skipped = _Patterns(fields.get("exclude_modules") or fields.get("ignore"), config)
    kv = _cache(fields.get("kv_cache_quant_algo") or fields.get("kv_cache_scheme") or outer.get("kv_cache_scheme"))
    if algorithm == "MIXED_PRECISION":
        groups = fields.get("config_groups") or outer.get("config_groups")
        rules, notes = _layers(fields.get("quantized_layers") or {}, config, set(skipped.rules), groups)
        under = "fp8_block" if outer.get("quant_method") == "fp8" else None
        if under:  # an fp8 checkpoint some of whose layers were re-quantised; what is excluded from that stays fp8
            return Formats(base, under, "fp8", kv, None, (), tuple(rules), notes)
        return Formats(base, None, None, kv, None, (), (*skipped.rules, *rules), (*skipped.notes, *notes))
    weights, activations = _algorithm(algorithm, config)
    return Formats(base, weights, activations, kv, None, (), skipped.rules, skipped.notes)


def _algorithm(name: str, config: Config) -> tuple[str | None, str | None]:
    if name not in _MODELOPT:
        raise BadInput(
            f"{config.where}: quant_algo {name!r} is not known", expected="one of " + ", ".join(filter(None, _MODELOPT))
        )
    return _MODELOPT[name]


def _cache(stated: object) -> str | None:
    if isinstance(stated, Mapping):
        kind, bits = str(stated.get("type", "")), stated.get("num_bits")
        return {("float", 8): "fp8", ("float", 4): "nvfp4", ("int", 8): "int8"}.get((kind, bits))  # type: ignore[arg-type]
    return {"fp8": "fp8", "nvfp4": "nvfp4", "int8": "int8"}.get(str(stated or "").lower())


def _layers(
    stated: Mapping[str, Any], config: Config, excluded: set[Rule], groups: object = None
) -> tuple[list[Rule], tuple[tuple[str, str], ...]]:
    """Rules of a ``quantized_layers`` table.

    One cut short (``{"_dropped_dict_length": n, "_first": {…}}``, our tables' records) is read as patterns over layers,
    together with the targets of ``config_groups``; experts nobody mentions are then taken to be NVFP4, the point of
    these mixes.
    """
    if not isinstance(stated, Mapping):
        raise BadInput(
            f"{config.where}: quantized_layers is a {type(stated).__name__}", expected="an object of module paths"
        )
    cut = stated.get("_dropped_dict_length")
    rules: dict[Rule, None] = {}
    for path, entry in (stated.get("_first", {}) if cut else stated).items():
        algorithm = entry.get("quant_algo", "") if isinstance(entry, Mapping) else entry
        for rule in rules_of(str(path), *_algorithm(str(algorithm).upper(), config)):
            pattern = re.sub(r"experts\.\d+\..*", "experts", rule.pattern)  # one expert's entry says it for all
            rule = Rule(pattern, rule.layer, rule.weights, rule.activations)
            rules[_general(rule) if cut else rule] = None
    if not cut:
        return [r for r in rules if r not in excluded], ()
    for group in groups.values() if isinstance(groups, Mapping) else ():
        targets = group.get("targets")
        names = targets.get("_first", ()) if isinstance(targets, Mapping) else targets
        schemes = [group.get("weights"), group.get("input_activations")]
        weights, inputs = [_scheme(s, "", config) if isinstance(s, Mapping) else None for s in schemes]
        for name in names or ():
            for rule in rules_of(str(name), weights, inputs):
                rules.setdefault(_general(rule))
    notes: tuple[tuple[str, str], ...] = (
        ("quantization", f"{cut} per-layer formats, inferred from {len(rules)} of them"),
    )
    if config.text().stated("num_local_experts", "n_routed_experts", "num_experts") and not any(
        "experts" in r.pattern for r in rules
    ):
        rules[Rule("mlp.experts", None, "nvfp4", "nvfp4")] = None
        notes += (("quantization of experts", "nvfp4: the mix's other entries are not known"),)
    return [r for r in rules if r not in excluded], notes


def _general(rule: Rule) -> Rule:
    """The rule for every layer; one projection of a feed-forward speaks for the others."""
    pattern = re.sub(r"\.(gate|up|down|gate_up)_proj$", ".*_proj", rule.pattern)
    return Rule(pattern, None, rule.weights, rule.activations)


def _compressed_tensors(base: str, quant: Mapping[str, Any], skipped: _Patterns, config: Config) -> Formats:
    groups = quant.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise BadInput(f"{config.where}: compressed-tensors without config_groups", expected="at least one group")
    group = next(iter(groups.values()))
    weights = group.get("weights") if isinstance(group, Mapping) else None
    inputs = group.get("input_activations") if isinstance(group, Mapping) else None
    form = str(quant.get("format", ""))
    names = [_scheme(s, form, config) if isinstance(s, Mapping) else None for s in (weights, inputs)]
    return Formats(
        base, names[0], names[1], _cache(quant.get("kv_cache_scheme")), None, (), skipped.rules, skipped.notes
    )


def _scheme(scheme: Mapping[str, Any], form: str, config: Config) -> str:
    bits, kind, group = scheme.get("num_bits"), str(scheme.get("type", "int")), scheme.get("group_size")
    if kind == "float":
        four = "mxfp4" if "mxfp4" in form or group == 32 else "nvfp4"
        eight = "fp8_block" if scheme.get("strategy") == "block" or scheme.get("block_structure") else "fp8"
        found = {8: eight, 4: four}.get(bits)  # type: ignore[arg-type]
    else:
        four = "int4" if not isinstance(group, int) or group >= 128 or group < 0 else "int4_g64"
        if group == 32 and "int4_g32" in FORMATS:
            four = "int4_g32"
        found = {8: "int8", 4: four, 3: "int3", 2: "int2"}.get(bits)  # type: ignore[arg-type]
    if found is None:
        raise BadInput(f"{config.where}: {bits!r}-bit {kind} weights are not known", expected="2, 3, 4 or 8 bits")
    return found


class _Patterns:
    """Modules that stay in the model's dtype.

    Lists may come cut short as ``{"_dropped_list_length": n, "_first": […]}`` (our tables' records): what is known is then
    taken to hold for every layer, and attention as a whole is taken to be left out once a part of it is, which is what
    the published NVFP4 and fp8 recipes do.
    """

    def __init__(self, stated: object, config: Config) -> None:
        cut = isinstance(stated, Mapping)
        entries = stated.get("_first", ()) if isinstance(stated, Mapping) else stated
        names = [s for s in entries if isinstance(s, str)] if isinstance(entries, (list, tuple)) else []
        rules: dict[Rule, None] = {}
        for name in names:
            for rule in rules_of(name):
                if not cut or rule.pattern == "*" or rule.layer is None:
                    rules[rule] = None
                else:
                    whole = rule.pattern.split(".")[0].rstrip("*") in ("self_attn", "linear_attn")
                    rules[Rule(rule.pattern.split(".")[0] if whole else rule.pattern)] = None
        self.rules = tuple(rules)
        self.notes: tuple[tuple[str, str], ...] = ()
        if isinstance(stated, Mapping):
            dropped = stated.get("_dropped_list_length")
            self.notes = (
                ("unquantised modules", f"{dropped} are listed, the rest inferred from {len(names)} of them"),
            )
