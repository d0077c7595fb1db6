"""Stack files → stacks (:mod:`.record`): their format, their bases, their versions.

Stacks ship as YAML under ``stacks/catalogue``; a user's own file works the same way.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec

from .._foundation.errors import BadFile, UnknownName
from .._foundation.expr_text import parse_expr
from .._foundation.files import parse_yaml, read_text
from .._foundation.provenance import Assumption
from .._foundation.quantity import parse_quantity
from .record import FuseRule, Host, KernelVariant, Loops, Reserve, RuleUse, Stack, Unfold, UnfoldStep


class _FigureFile(msgspec.Struct, forbid_unknown_fields=True):
    value: float | str
    grade: str = "assumed"
    source: str = ""


class _FuseFile(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    pattern: list[str]
    parallel: bool = False
    on_chip: bool = False


class _StepFile(msgspec.Struct, forbid_unknown_fields=True):
    fn: str
    out: str
    of: list[str]
    train: bool = False


class _UnfoldFile(msgspec.Struct, forbid_unknown_fields=True):
    fn: str
    steps: list[_StepFile]
    families: list[str] = []
    names: list[str] = []
    source: str = ""


class _VariantFile(msgspec.Struct, forbid_unknown_fields=True):
    fn: str
    launches: float | str = 1
    traffic: float | str = 1
    workspace: float | str = 0
    multiply: dict[str, str] = {}
    serial: list[str] = []
    efficiency: float | None = None
    source: str = ""
    host: float | str | None = None
    blocks: float | str | None = None
    in_flight: float | str | None = None
    rates: dict[str, float] = {}
    even: bool = False


class _RuleFile(msgspec.Struct, forbid_unknown_fields=True):
    rule: str
    where: dict[str, Any] = {}
    source: str = ""


class _LoopsFile(msgspec.Struct, forbid_unknown_fields=True):
    pointwise: list[str] = []
    reductions: list[str] = []
    closed: list[str] = []
    epilogues: dict[str, list[str]] = {}
    longest_epilogue: int = 0
    across: bool = True
    among: bool = True


class _HostFile(msgspec.Struct, forbid_unknown_fields=True):
    launch: _FigureFile | None = None
    step: _FigureFile | None = None
    graphs: list[str] = []
    inline: bool = False


class _ReserveFile(msgspec.Struct, forbid_unknown_fields=True):
    runtime: _FigureFile | None = None
    utilization: _FigureFile | None = None
    fragmentation: _FigureFile | None = None


class StackFile(msgspec.Struct, forbid_unknown_fields=True):
    """The stack file's format. ``base`` names a stack whose file this one changes (:func:`merged`)."""

    schema: int
    name: str
    version: str
    date: str
    description: str = ""
    merge_linears: bool = False
    fuse_all: bool = False
    device_latency: bool = True
    library: dict[str, str] = {}
    fuse: list[_FuseFile] = []
    unfold: list[_UnfoldFile] = []
    merged_families: list[str] = []
    variants: list[_VariantFile] = []
    host: _HostFile = msgspec.field(default_factory=_HostFile)
    reserve: _ReserveFile = msgspec.field(default_factory=_ReserveFile)
    attrs: dict[str, Any] = {}
    base: str = ""
    rewrites: list[_RuleFile] = []
    expand: list[_RuleFile] = []
    loops: _LoopsFile | None = None
    autocast: dict[str, list[str]] = {}
    on_cpu: dict[str, Any] = {}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A stack file's content with another's changes: mappings merge, variants follow each other, the rest is replaced."""
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            result[key] = merged(before, value)
        elif key == "variants" and isinstance(before, list):
            result[key] = [*before, *value]
        else:
            result[key] = value
    return result


def _whole(data: Any, where: str, seen: tuple[str, ...] = ()) -> Any:
    """The content with its bases under it."""
    if not isinstance(data, dict) or not data.get("base"):
        return data
    name = str(data["base"])
    if name in seen or len(seen) > 4:
        raise BadFile(f"{where}: its bases {' → '.join((*seen, name))} never end", expected="a stack that stands alone")
    file = _chosen(name)[0][1]
    text = (files(__package__) / "catalogue" / file).read_text(encoding="utf-8")
    under = _whole(parse_yaml(text, file, trusted=True), file, (*seen, name))
    return merged(under, {k: v for k, v in data.items() if k != "base"})


def parse_stack(data: Any, where: str) -> Stack:
    """Validate a stack file's content; raises BadFile with the offending path."""
    data = _whole(data, where)
    try:
        spec = msgspec.convert(data, StackFile)
    except msgspec.ValidationError as error:
        raise BadFile(f"{where}: {error}", expected="a stack file") from None
    if spec.schema != 1:
        raise BadFile(f"{where}: schema is {spec.schema}", expected="schema: 1")
    notes: list[Assumption] = []

    def figure(entry: _FigureFile | None, unit: str, what: str, default: float) -> float:
        if entry is None:
            return default
        value = parse_quantity(entry.value, unit)
        notes.append(Assumption(f"{spec.name} {what}", entry.value, entry.grade, entry.source))  # type: ignore[arg-type]
        return value

    host = Host(
        figure(spec.host.launch, "s", "host time per kernel launch", 0.0),
        figure(spec.host.step, "s", "host time per step", 0.0),
        tuple(spec.host.graphs),
        spec.host.inline,
    )
    reserve = Reserve(
        figure(spec.reserve.runtime, "B", "runtime memory", 0.0),
        figure(spec.reserve.utilization, "", "memory utilisation", 1.0),
        figure(spec.reserve.fragmentation, "", "allocator fragmentation", 0.0),
    )
    variants = tuple(
        KernelVariant(
            v.fn, parse_expr(v.launches), parse_expr(v.traffic), parse_expr(v.workspace), tuple(v.multiply.items()),
            tuple(v.serial), v.efficiency, v.source, None if v.host is None else parse_quantity(v.host, "s"),
            None if v.blocks is None else parse_expr(v.blocks),
            None if v.in_flight is None else parse_expr(v.in_flight), tuple(sorted(v.rates.items())), v.even,
        )
        for v in spec.variants
    )  # fmt: skip
    return Stack(
        name=spec.name, version=spec.version, date=spec.date, description=spec.description,
        merge_linears=spec.merge_linears, fuse_all=spec.fuse_all,
        fuse=tuple(FuseRule(f.name, tuple(f.pattern), f.parallel, f.on_chip) for f in spec.fuse),
        unfold=tuple(_unfold(u, where) for u in spec.unfold), merged_families=tuple(spec.merged_families),
        variants=variants, host=host,
        reserve=reserve, device_latency=spec.device_latency, library=MappingProxyType(spec.library), assumptions=tuple(notes),
        attrs=MappingProxyType(spec.attrs), rewrites=_rules(spec.rewrites), expand=_rules(spec.expand),
        loops=_loops(spec.loops), autocast=MappingProxyType({k: tuple(v) for k, v in spec.autocast.items()}),
        on_cpu=_on_cpu(data, spec, where),
    )  # fmt: skip


def _unfold(rule: _UnfoldFile, where: str) -> Unfold:
    """A rule whose steps read what exists by then, each result once."""
    known = {"x", "q", "k", "v"}
    if not rule.steps:
        raise BadFile(f"{where}: unfold of {rule.fn} has no steps", expected="at least one")
    for step in rule.steps:
        missing = [name for name in step.of if name not in known]
        if missing or step.out in known:
            raise BadFile(
                f"{where}: unfold of {rule.fn}, step {step.out}: {missing[0] if missing else step.out!r}",
                expected="reads of earlier steps' results, and a new name for its own",
            )
        known.add(step.out)
    if rule.steps[-1].train and len(rule.steps[-1].of) != 1:
        raise BadFile(f"{where}: unfold of {rule.fn} ends in training only", expected="one input to end in otherwise")
    steps = tuple(UnfoldStep(s.fn, s.out, tuple(s.of), s.train) for s in rule.steps)
    return Unfold(rule.fn, tuple(rule.families), tuple(rule.names), steps, rule.source)


def _rules(uses: list[_RuleFile]) -> tuple[RuleUse, ...]:
    return tuple(RuleUse(u.rule, MappingProxyType(u.where), u.source) for u in uses)


def _loops(spec: _LoopsFile | None) -> Loops | None:
    if spec is None:
        return None
    epilogues = MappingProxyType({kind: tuple(fns) for kind, fns in spec.epilogues.items()})
    return Loops(
        tuple(spec.pointwise), tuple(spec.reductions), tuple(spec.closed), epilogues, spec.longest_epilogue,
        spec.across,
        spec.among,
    )  # fmt: skip


def _on_cpu(data: Any, spec: StackFile, where: str) -> Stack | None:
    if not spec.on_cpu:
        return None
    return parse_stack(merged({k: v for k, v in data.items() if k != "on_cpu"}, spec.on_cpu), f"{where}, on_cpu")


@lru_cache(maxsize=1)
def stack_files() -> dict[str, list[tuple[str, str]]]:
    """``{name: [(version, file name), …]}`` of the shipped stacks, oldest version first.

    File names are ``name@version.yaml``, so that listing needs no parsing.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for entry in (files(__package__) / "catalogue").iterdir():
        match = re.fullmatch(r"(.+)@(.+)\.yaml", entry.name)
        if match:
            found.setdefault(match[1], []).append((match[2], entry.name))
    return {name: sorted(versions, key=lambda v: _order(v[0])) for name, versions in sorted(found.items())}


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(p) for p in re.findall(r"\d+", version)) or (0,)


@lru_cache(maxsize=64)
def load_stack(name: str) -> Stack:
    """A stack by ``name`` or ``name@version``, or from a YAML file.

    An unknown version maps to the nearest known one at or below it, and the stack says so among its assumptions.
    """
    if name.endswith((".yaml", ".yml")):
        return parse_stack(parse_yaml(read_text(name, "stack"), name), name)
    chosen, wanted = _chosen(name)
    text = (files(__package__) / "catalogue" / chosen[1]).read_text(encoding="utf-8")
    stack = parse_stack(parse_yaml(text, chosen[1], trusted=True), chosen[1])
    if wanted and wanted != chosen[0]:
        note = Assumption(f"{stack.name} version", chosen[0], "assumed", f"version {wanted} is not known; nearest used")
        stack = dataclasses.replace(
            stack, assumptions=(note, *stack.assumptions),
            on_cpu=stack.on_cpu and dataclasses.replace(stack.on_cpu, assumptions=(note, *stack.on_cpu.assumptions)),
        )  # fmt: skip
    return stack


# Lists that a change adds to; any other key of a stack file is merged or replaced (:func:`merged`).
ADDED = ("fuse", "rewrites", "expand", "unfold")
_FIRST = ("unfold",)  # of which the first rule that applies counts, so that a change's must come first


def changed_stack(name: str, changes: Mapping[str, Any]) -> Stack:
    """A stack with changes in a stack file's own words: kernel variants, fusions, host figures, reserves.

    Args:
        name: as :func:`load_stack` takes it.
        changes: a part of a stack file's content. Rules (``fuse``, ``rewrites``, ``expand``, ``unfold``) and ``variants`` are
            added to the stack's own and come before them where they contradict; mappings merge; anything else is replaced.

    Raises:
        BadFile: for content that no stack file has.
    """
    return _changed_stack(name, json.dumps(changes, sort_keys=True, default=_plain)) if changes else load_stack(name)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)


@lru_cache(maxsize=256)
def _changed_stack(name: str, text: str) -> Stack:
    changes = json.loads(text)
    if name.endswith((".yaml", ".yml")):
        base = parse_yaml(read_text(name, "stack"), name)
        where = name
    else:
        where = _chosen(name)[0][1]
        base = parse_yaml((files(__package__) / "catalogue" / where).read_text(encoding="utf-8"), where, trusted=True)
    base = _whole(base, where)
    for key in ADDED:
        if key in changes and isinstance(base, dict):
            own = base.get(key, [])
            changes[key] = [*changes[key], *own] if key in _FIRST else [*own, *changes[key]]
    named = load_stack(name)
    stack = parse_stack(merged(base, changes), f"changes to {where}")
    said = tuple(a for a in named.assumptions if a.what == f"{named.name} version")
    return dataclasses.replace(stack, assumptions=(*said, *stack.assumptions))


def _chosen(name: str) -> tuple[tuple[str, str], str]:
    """((version, file), version asked for) of the shipped stack nearest a name.

    Raises:
        UnknownName: no stack of that name.
    """
    base, _, wanted = name.partition("@")
    known = stack_files()
    if base not in known:
        raise UnknownName("stack", base, known)
    versions = known[base]
    below = [v for v in versions if _order(v[0]) <= _order(wanted)] if wanted else versions
    return (below[-1] if below else versions[0]), wanted


__all__ = [
    "FuseRule", "Host", "KernelVariant", "Loops", "Reserve", "RuleUse", "Stack", "StackFile", "load_stack", "merged",
    "changed_stack",
    "parse_stack", "stack_files",
]  # fmt: skip
