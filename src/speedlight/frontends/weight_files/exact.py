"""A graph whose every weight has the number format and the bytes that a file's tensor table states.

The graph says what is computed, the table what is stored. A weight may be one tensor of the file, a part of one (fused
q, k and v) or several (experts stored one by one, possibly in several formats). Law: the graph's weight bytes are the
table's sum, to the byte. Tensors that no operator reads are kept all the same, and the assumptions say which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from ..._foundation.errors import BadFile, Unsupported
from ..._foundation.expr import compile_tape, const
from ..._foundation.formats import multiply_format
from ...graph.ir import Block, Graph, Op, Operand, Persistent, Tensor, Work
from ...graph.stats import unsharded
from ..formats import Rule
from .table import Stored, Table

# (weight's name in its block, layer index or None) → the tensors of the file it is stored in; empty where it has none.
Sources = Callable[[str, int | None], Sequence[str]]
MOST_KINDS = 256
Split = tuple[tuple[str, int], ...]  # (format, elements) of each part of a weight


def with_stored(graph: Graph, table: Table, sources: Sources, where: str) -> tuple[Graph, list[Stored]]:
    """The graph with the table's formats, and the tensors of the file that no operator reads.

    Args:
        graph: built so that layers whose tensors differ in format are not folded together.
        table: the file's tensors by name.
        sources: see :data:`Sources`.
        where: the file, for messages.

    Raises:
        BadFile: for a weight the file lacks, and sizes that differ from those the architecture needs.
    """
    weights = _weights(graph)
    sizes = _sizes(graph, weights)
    found: dict[tuple[int, str, int | None], tuple[Stored, ...]] = {}
    readers: dict[str, int] = {}  # elements that weights claim of each tensor of the file
    for position, tensor, layer in weights:
        names = sources(tensor.name, layer)
        missing = [n for n in names if n not in table]
        if not names or missing:
            raise BadFile(
                f"{where}: the architecture has a weight {_told(tensor.name, layer)}, the file no tensor for it",
                expected=" + ".join(missing[:3]) or "a tensor table as llama.cpp writes it",
            )
        parts = found[position, tensor.name, layer] = tuple(table[n] for n in names)
        if len(parts) == 1:
            readers[names[0]] = readers.get(names[0], 0) + sizes[position, tensor.name]
        else:
            if sum(p.elements for p in parts) != sizes[position, tensor.name]:
                raise _mismatch(where, tensor.name, layer, sizes[position, tensor.name], sum(p.elements for p in parts))
            readers.update({p.name: p.elements for p in parts})
    for (_, name, layer), parts in found.items():
        if readers[parts[0].name] != parts[0].elements:
            raise _mismatch(where, name, layer, readers[parts[0].name], parts[0].elements)
    splits: dict[tuple[int, str], Split] = {}
    for position, tensor, layer in weights:
        split = _split(found[position, tensor.name, layer], sizes[position, tensor.name])
        if splits.setdefault((position, tensor.name), split) != split:
            raise AssertionError(f"layers of different formats were folded at {tensor.name}")
    blocks = tuple(_retyped(b, i, splits, graph) for i, b in enumerate(graph.blocks))
    shared = _tensors(graph.shared, -1, splits)
    rest = [t for n, t in table.items() if n not in readers]
    for number in dict.fromkeys(t.format for t in rest):
        name = f"file.{number}"
        shared[name] = _kept(name, number, sum(t.elements for t in rest if t.format == number))
    said = [*graph.attrs["assumptions"]]
    if rest:
        names = ", ".join(t.name[:60] for t in rest[:3]) + (" …" if len(rest) > 3 else "")
        said.append(("tensors of no operator", f"{len(rest)} of {sum(t.bytes for t in rest):,} bytes: {names}"))
    return graph.replace(blocks=blocks, shared=shared, attrs={**graph.attrs, "assumptions": tuple(said)}), rest


def layer_rules(layers: Sequence[Mapping[str, Stored]], where: str) -> tuple[Rule, ...]:
    """One rule a layer, equal for layers whose tensors have equal formats, so that only such layers fold.

    Raises:
        Unsupported: for more kinds of layers than any model has.
    """
    kinds: dict[tuple[tuple[str, str], ...], int] = {}
    rules = []
    for index, layer in enumerate(layers):
        kind = kinds.setdefault(tuple(sorted((n, t.format) for n, t in layer.items())), len(kinds))
        rules.append(Rule(f"stored.formats.{kind}", index))
    if len(kinds) > MOST_KINDS:
        raise Unsupported(f"{where} has {len(kinds)} kinds of layers", expected=f"at most {MOST_KINDS}")
    return tuple(rules)


def _told(name: str, layer: int | None) -> str:
    return name if layer is None else f"{name} in layer {layer}"


def _mismatch(where: str, name: str, layer: int | None, needed: int, there: int) -> BadFile:
    return BadFile(
        f"{where}: the tensors of {_told(name, layer)} hold {there:,} elements",
        expected=f"{needed:,}, as the metadata's sizes say",
    )


def _weights(graph: Graph) -> list[tuple[int, Tensor, int | None]]:
    """(block's position, −1 for shared; weight; layer index) of every weight, each layer of a folded block apart."""
    found: list[tuple[int, Tensor, int | None]] = []
    for position, block in enumerate(graph.blocks):
        layers: Sequence[int | None] = block.layers or (None,)
        found += [(position, t, i) for t in block.tensors.values() if t.cls == "weight" for i in layers]
    return found + [(-1, t, None) for t in graph.shared.values() if t.cls == "weight"]


def _sizes(graph: Graph, weights: Sequence[tuple[int, Tensor, int | None]]) -> dict[tuple[int, str], int]:
    distinct = {(position, t.name): t for position, t, _ in weights}
    values = compile_tape([t.elements for t in distinct.values()]).run(unsharded(graph))
    return {key: round(float(value)) for key, value in zip(distinct, values, strict=True)}


def _split(parts: Sequence[Stored], elements: int) -> Split:
    if len(parts) == 1:
        return ((parts[0].format, elements),)
    by_format: dict[str, int] = {}
    for part in parts:
        by_format[part.format] = by_format.get(part.format, 0) + part.elements
    return tuple(by_format.items())


def _kept(name: str, number: str, elements: int) -> Tensor:
    return Tensor(name, const(elements), number, "weight", Persistent(const(elements)), needs_grad=False)


def _part_name(name: str, index: int) -> str:
    return name if index == 0 else f"{name}.part{index}"


def _tensors(
    tensors: Mapping[str, Tensor], position: int, splits: Mapping[tuple[int, str], Split]
) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        split = splits.get((position, name))
        if split is None:
            result[name] = tensor
            continue
        whole = sum(n for _, n in split)
        for index, (number, elements) in enumerate(split):
            size = tensor.elements if elements == whole else tensor.elements * elements / whole
            part = _part_name(name, index)
            kept = dataclasses.replace(tensor.persistent, kept=size) if tensor.persistent else None
            result[part] = dataclasses.replace(tensor, name=part, dtype=number, elements=size, persistent=kept)
    return result


def _retyped(block: Block, position: int, splits: Mapping[tuple[int, str], Split], graph: Graph) -> Block:
    own = {name for at, name in splits if at == position}

    def split_of(name: str) -> Split | None:
        at = position if name in own else -1
        return splits.get((at, name)) if name in own or name not in block.tensors else None

    def operands(operand: Operand) -> list[Operand]:
        split = split_of(operand.tensor)
        if split is None or len(split) == 1:
            return [operand]
        whole = sum(n for _, n in split)
        return [
            dataclasses.replace(
                operand, tensor=_part_name(operand.tensor, i),
                elements=None if operand.elements is None else operand.elements * n / whole,
            )
            for i, (_, n) in enumerate(split)
        ]  # fmt: skip

    def retyped(op: Op) -> Op:
        reads = tuple(part for r in op.reads for part in operands(r))
        stored = next((s for r in op.reads if (s := split_of(r.tensor)) is not None), None)
        attrs, work = op.attrs, op.work
        if stored is not None and "weights" in attrs and "activations" in attrs:
            main = max(stored, key=lambda part: part[1])[0]
            attrs = {**attrs, "weights": main}
            number = multiply_format(main, str(attrs["activations"]))
            work = tuple(_in(w, number) for w in work)
        return dataclasses.replace(op, reads=reads, attrs=attrs, work=work)

    return dataclasses.replace(
        block, ops=tuple(retyped(op) for op in block.ops), tensors=_tensors(block.tensors, position, splits)
    )


def _in(work: Work, number: str) -> Work:
    return dataclasses.replace(work, format=number) if work.unit == "matmul" else work
