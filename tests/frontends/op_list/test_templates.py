"""Templates against their formulas worked by hand, and all of them against the graph's grammar."""

from __future__ import annotations

import math
from typing import Any

import pytest

from speedlight._foundation.expr import evaluate
from speedlight.frontends.op_list import parse_op_list
from speedlight.frontends.op_list.templates import TEMPLATES
from speedlight.graph.ir import Graph, Operand
from speedlight.graph.statistics import complete


def one(template: str, **arguments: Any) -> Graph:
    """A file of a single op."""
    import json

    op = {"name": "o", "template": template, "with": arguments}
    return parse_op_list(json.dumps({"schema": 1, "name": template, "ops": [op]}))


def flops(graph: Graph, unit: str | None = None) -> float:
    values = complete(graph, {})
    return float(sum(evaluate(op.flops(unit) * op.count, values) for _, op in graph.ops()))


def moved(graph: Graph, tensor: str, *, write: bool = False) -> float:
    """Elements of a tensor that all ops read (or write)."""
    values = complete(graph, {})
    found = 0.0
    for block, op in graph.ops():
        for operand in op.writes if write else op.reads:
            if operand.tensor == tensor:
                elements = graph.tensor(block, tensor).elements if operand.elements is None else operand.elements
                found += evaluate(elements * operand.reuse, values)
    return found


def operand(graph: Graph, tensor: str) -> Operand:
    return next(o for _, op in graph.ops() for o in op.reads if o.tensor == tensor)


def test_products_count_two_flops_a_multiply_add() -> None:
    assert flops(one("gemm", m=3, n=5, k=7)) == 2 * 3 * 5 * 7
    assert flops(one("gemm", m=3, n=5, k=7, batch=4)) == 4 * 2 * 3 * 5 * 7


def test_resnets_first_convolution_has_118_million_products() -> None:
    """7 × 7 over 3 channels at stride 2 from 224 to 112 pixels, 64 filters: 112² · 64 · 147 multiply-adds."""
    graph = one("conv2d", batch=1, height=224, width=224, channels=3, filters=64, kernel_h=7, stride_h=2, pad_h=3)
    assert flops(graph) == 2 * 118_013_952
    assert moved(graph, "o.weight") == 64 * 147


def test_causal_attention_sees_half_the_pairs_and_all_those_cached() -> None:
    """4 queries on 4 keys: 10 pairs; one query on 1,000 keys: all of them; 2 on 5: 4 + 5."""
    shape = {"seqs": 1, "heads": 2, "head_dim": 8, "causal": "yes"}
    assert flops(one("attention", queries=4, **shape), "matmul") == 4 * 2 * 8 * 10
    assert flops(one("attention", queries=1, keys=1000, **shape), "matmul") == 4 * 2 * 8 * 1000
    assert flops(one("attention", queries=2, keys=5, **shape), "matmul") == 4 * 2 * 8 * 9


def test_an_lstm_takes_a_step_for_each_element_of_the_sequence() -> None:
    graph = one("rnn", hidden=16, batch=2, steps=25)
    assert flops(graph, "matmul") == 2 * (2 * 25 * 2 * 4 * 16 * 16)  # inputs and state, four gates each
    assert [op.span.constant for _, op in graph.ops()] == [1, 25]


def test_a_radix_sort_of_32_bits_moves_the_keys_nine_times() -> None:
    """One read to count digits, four passes of a read and a write: 2n a pass, Onesweep's count."""
    graph = one("radix_sort", n=1000)
    assert moved(graph, "o.keys") + moved(graph, "o.between") == 5000
    assert moved(graph, "o.out", write=True) + moved(graph, "o.between", write=True) == 4000


def test_a_payload_travels_with_its_key() -> None:
    graph = one("radix_sort", n=1000, payload=4)
    assert moved(graph, "o.out", write=True) + moved(graph, "o.between", write=True) == 4000 * 2


def test_a_merge_sort_compares_n_log_n_times_and_merges_by_runs() -> None:
    graph = one("comparison_sort", n=2**20, tile=2**12, ways=16)
    assert flops(graph) == 2**20 * 20
    assert moved(graph, "o.keys") + moved(graph, "o.between") == 2**20 * 3  # tiles, then 2^8 runs in two merges of 16
    assert moved(one("comparison_sort", n=100), "o.between") == 0


def test_a_scan_reads_and_writes_once() -> None:
    graph = one("prefix_scan", n=77)
    assert (moved(graph, "o.x"), moved(graph, "o.out", write=True)) == (77, 77)


def test_a_histogram_that_is_shared_touches_a_counter_an_element() -> None:
    assert moved(one("histogram", n=1000, bins=16), "o.out", write=True) == 16
    assert moved(one("histogram", n=1000, bins=16, private="no"), "o.out", write=True) == 1000


def test_a_fourier_transform_is_five_n_log_n() -> None:
    assert flops(one("fft", n=1024)) == 5 * 1024 * 10
    assert flops(one("fft", n=1024, batch=3, real="yes")) == 3 * 5 * 1024 * 10 / 2
    assert moved(one("fft", n=2**20), "o.x") == 2 * 2**20  # 2^20 points in tiles of 2^12: twice through memory
    whole = one("fft2d", rows=512, columns=256)
    assert flops(whole) == 5 * 2**17 * 17
    assert moved(whole, "o.x") == 2 * 2**17
    assert moved(one("fft2d", rows=64, columns=64), "o.x") == 2**12


def test_a_stencil_moves_its_grid_once_for_the_steps_done_together() -> None:
    graph = one("stencil", points=1000, neighbours=7, steps=8, together=4)
    assert flops(graph) == 1000 * 8 * 13
    assert moved(graph, "o.x") == 2000


def test_sparse_products_do_two_flops_a_non_zero() -> None:
    assert flops(one("spmv", m=10, k=20, nnz=50)) == 100
    graph = one("spmm", m=10, k=20, n=32, nnz=50)
    assert flops(graph) == 2 * 50 * 32
    assert operand(graph, "o.x").granule == 32
    assert moved(graph, "o.x") == 50 * 32
    assert flops(one("sddmm", m=10, k=64, n=20, nnz=50)) == 2 * 50 * 64


def test_a_sparse_square_is_open_between_even_rows_and_skewed_ones() -> None:
    graph = one("spgemm", m=1000, k=1000, n=1000, nnz_a=4000, nnz_b=4000)
    products, nnz = graph.attrs["statistics"]
    assert (products.name, nnz.name) == ("o.products", "o.nnz")
    assert (products.low.constant, products.high.constant) == (16_000, 256_000)  # 4000²/1000; 16 times that
    assert evaluate(nnz.high, {"o.products": 1e9}) == 1e6  # no more entries than the matrix has
    stated = one("spgemm", m=1000, k=1000, n=1000, nnz_a=4000, nnz_b=4000, products=20_000, nnz=18_000)
    assert not stated.attrs["statistics"]
    assert flops(stated) == 20_000 * (2 + 4)


def test_a_sparse_convolution_multiplies_pairs() -> None:
    graph = one("sparse_conv", sites=1000, channels=16, filters=32, neighbours=9)
    assert flops(graph) == 2 * 9000 * 16 * 32
    (left,) = one("sparse_conv", sites=1000, channels=16, filters=32).attrs["statistics"]
    assert (left.low.constant, left.high.constant) == (27 / 8, 27)


def test_messages_that_do_not_stay_on_the_chip_are_written_and_read() -> None:
    fused = one("message_passing", nodes=10, edges=40, width=8)
    apart = one("message_passing", nodes=10, edges=40, width=8, fused="no")
    assert flops(fused) == flops(apart) == 40 * 8
    assert moved(apart, "o.messages") == moved(apart, "o.messages", write=True) == 40 * 8


def test_linear_probing_looks_at_knuths_numbers_of_slots() -> None:
    """At three quarters full: 2.5 slots for a hit, 8.5 for a miss (TAOCP 3, §6.4, table 4), 2.5 to fill so far."""
    slots = {"key": "int64", "payload": 0}
    assert moved(one("hash_probe", n=100, entries=1000, load=0.75, hit=1, **slots), "o.table") == pytest.approx(250)
    assert moved(one("hash_probe", n=100, entries=1000, load=0.75, hit=0, **slots), "o.table") == pytest.approx(850)
    assert moved(one("hash_build", n=100, load=0.75, **slots), "o.out") == pytest.approx(250)


def test_a_flat_search_is_one_product() -> None:
    graph = one("search_flat", queries=4, vectors=1000, dim=16)
    assert flops(graph, "matmul") == 2 * 4 * 1000 * 16
    index = next(t for b in graph.blocks for t in b.tensors.values() if t.cls == "index")
    assert index.persistent is not None
    assert index.elements == 16_000


def test_inverted_lists_scan_a_share_of_the_vectors() -> None:
    """10 of 100 lists of 10,000 vectors: 1,000 candidates, twice that where the lists probed are twice the mean."""
    graph = one("search_ivf", queries=4, vectors=10_000, dim=16, lists=100, probes=10, balance=2)
    assert flops(graph, "matmul") == 2 * 4 * 100 * 16
    assert moved(graph, "o.index") == 4 * 2000 * 16
    assert operand(graph, "o.index").granule == 100 * 16


def test_codes_of_a_product_quantiser_weigh_their_bits() -> None:
    graph = one("search_ivf_pq", queries=4, vectors=10_000, dim=64, lists=100, probes=10, parts=8, bits=4, balance=1)
    codes = next(t for b in graph.blocks for t in b.tensors.values() if t.name == "o.codes")
    assert codes.elements == 10_000 * 8 * 4 / 8
    tables = next(op for _, op in graph.ops() if op.fn == "pq_tables")
    assert tables.flops().constant == 2 * 4 * 10 * 64 * 16


def test_a_graph_walk_is_a_chain_of_dependent_reads() -> None:
    graph = one("search_hnsw", queries=4, vectors=10_000, dim=64, degree=16, ef=32, visited=200)
    (op,) = [op for _, op in graph.ops()]
    assert op.span.constant == 64
    assert flops(graph) == 2 * 4 * 200 * 64
    (left,) = one("search_hnsw", queries=4, vectors=10_000, dim=64, degree=16, ef=32).attrs["statistics"]
    assert (left.low.constant, left.high.constant) == (32, 512)


def test_look_ups_that_hit_are_not_read() -> None:
    shape = {"rows": 100, "pooling": 20, "width": 64, "entries": 1e6}
    assert moved(one("embedding_bag", hit=0.25, **shape), "o.table") == pytest.approx(0.75 * 100 * 20 * 64)
    (left,) = one("embedding_bag", **shape).attrs["statistics"]
    assert (left.low.constant, left.high.constant) == (0, 0.9)


def test_an_image_shrinks_by_its_density() -> None:
    graph = one("jpeg_decode", images=2, height=10, width=8, density=2)
    assert moved(graph, "o.x") == 2 * 80 * 2 / 8
    assert flops(graph, "codec") == 2 * 80 * 2 * 8
    assert flops(one("resize", images=1, in_h=8, in_w=8, out_h=4)) == 2 * 4 * 4 * 4 * 3


def test_every_template_is_documented_and_takes_its_own_words() -> None:
    for name in TEMPLATES:
        template = TEMPLATES.get(name)
        doc = template.expand.__doc__ or ""
        assert any(year in doc for year in ("19", "20", "arXiv", "McCalpin", "§", "TAOCP")), f"{name} names no source"
        for argument in template.arguments.values():
            assert argument.sort in ("size", "format", "tensor", "word")
            assert argument.low is None or argument.source, f"{name}: a range without a source"
        required = {k: 64 for k, a in template.arguments.items() if a.required}
        for argument_name, argument in template.arguments.items():
            for word in argument.words:
                graph = one(name, **required, **{argument_name: word})
                values = complete(graph, {})
                for _, op in graph.ops():
                    assert all(math.isfinite(float(evaluate(w.flops, values))) for w in op.work)


def test_work_and_traffic_grow_with_every_required_size() -> None:
    """Doubling a size never takes work or bytes away."""
    for name in TEMPLATES:
        arguments = TEMPLATES.get(name).arguments
        required = {k: 64 for k, a in arguments.items() if a.required}
        whole = _amount(one(name, **required))
        for larger in required:
            if larger in ("lists", "kernel_h", "k"):  # more lists: shorter ones; a larger kernel: fewer positions
                continue
            assert _amount(one(name, **{**required, larger: 128})) >= whole, f"{name}: {larger}"


def _amount(graph: Graph) -> float:
    values = complete(graph, {})
    found = flops(graph)
    for block, op in graph.ops():
        for used in (*op.reads, *op.writes):
            elements = graph.tensor(block, used.tensor).elements if used.elements is None else used.elements
            found += evaluate(elements, values)
        if op.message is not None:
            found += evaluate(op.message.bytes, values)
    return found


def test_a_stride_skips_what_no_filter_covers() -> None:
    """1 × 1 at stride 2 from 56 to 28 pixels reads a quarter (measured faster than the whole could be read: T4, fp16)."""
    shape = {"batch": 1, "height": 56, "width": 56, "channels": 8, "filters": 8}
    assert moved(one("conv2d", kernel_h=1, stride_h=2, **shape), "o.x") == 8 * 28 * 28
    assert moved(one("conv2d", kernel_h=3, stride_h=2, pad_h=1, **shape), "o.x") == 8 * 56 * 56


def test_the_page_lists_every_template_as_it_is() -> None:
    """Generated by ``python scripts/ops_page.py``."""
    import importlib.util
    from pathlib import Path

    script = Path(__file__).resolve().parents[3] / "scripts" / "ops_page.py"
    spec = importlib.util.spec_from_file_location("ops_page", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.PAGE.read_text("utf-8")
    assert module.page(text) == text
    assert all(f"**{name}**" in text for name in TEMPLATES)


def test_the_pages_own_file_is_one() -> None:
    import re
    from pathlib import Path

    text = (Path(__file__).resolve().parents[3] / "docs" / "ops-files.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    graph = parse_op_list(example)
    assert [op.name for _, op in graph.ops()] == ["search", "fetch"]
    assert graph.shared["documents"].persistent is not None
