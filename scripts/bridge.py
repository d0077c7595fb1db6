"""The bridge study: whole attention modules predicted from fits of single kernels, without any fit to a module's row.

A row of ``module_mla_decode`` (or ``_prefill``) is the sum of its products (``gemm`` fit), its batched products (``mla_bmm``),
its attention kernel (``mla_decode``/``mla_prefill``) and its passes over activations (bytes over bandwidth). What is left
is split by least squares with signs, for each device, stack and format, into what rows can tell apart:

* ``host``: a constant a module, of either sign: launches only the module pays, or (negative) launches each kernel's
  benchmark pays from Python while the module replays a graph;
* ``cold``: seconds of streaming the weights that a kernel benchmark found warm in the last cache;
* ``clock``: a share of the kernels' time, only where measured power is over 90 % of the limit;
* ``waits``: a share of the kernels' time everywhere else, of either sign: gaps between kernels, or kernels that overlap
  their neighbour's end.

A row of ``module_dsa_decode`` attends to at most 2,048 tokens (``mla_decode`` at that context) and has an indexer: its products
by the ``gemm`` fit, its scores as bytes and FLOPs, since no kernel table has them.

    python scripts/bridge.py ../shared/data/kernels [--table module_mla_decode] [--rows 4000]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

import speedlight.costs.families  # noqa: F401  (registers the tables)
from speedlight.costs.calibration.model import Fit
from speedlight.costs.calibration.predict import forecast
from speedlight.costs.calibration.samples import TABLES, as_floats, assemble, machine_of
from speedlight.costs.calibration.store import shipped
from speedlight.costs.families.latent import flops_peak
from speedlight.costs.families.module_terms import GEMMS, LATENTS, Latent
from speedlight.costs.families.modules_dense import launches, passes
from speedlight.costs.families.modules_sparse import INDEX_KERNELS, index_scores
from speedlight.costs.refit.train import train, training
from speedlight.evidence.tables import read_table

Columns = Mapping[str, np.ndarray]
PARTS = ("host", "cold", "clock", "waits")
TABLES_OF = ("module_mla_decode", "module_mla_prefill", "module_dsa_decode")
MOST = 60_000  # rows a kernel fit is trained on where none is shipped


def fit_of(name: str, folder: Path) -> Fit:
    """The shipped fit of one kernel table, or one trained here."""
    found = shipped(name)
    if found is not None:
        return found
    rules, path = TABLES.get(name), folder / f"{name}.parquet"
    table = read_table(path)
    chosen = np.unique(np.linspace(0, table.rows - 1, MOST).astype(int))
    columns = {k: np.asarray(v)[chosen] for k, v in table.columns.items()}
    target = rules.targets[0]
    samples = assemble(rules, target, {k: v for k, v in columns.items() if k not in rules.measured}, chosen.size)
    seen = training(samples, as_floats(columns[target.column]), np.zeros(chosen.size, dtype=np.int64))
    return Fit(name, {}, target.family.partition, train(target.family, seen.data))


def kernel(name: str, fit: Fit, columns: Columns, rows: int) -> np.ndarray:
    """Seconds of one kernel of every module."""
    rules = TABLES.get(name)
    family = rules.targets[0].family
    return forecast(family, assemble(rules, rules.targets[0], columns, rows), fit).seconds


def parts(rows: Columns, count: int, fits: Mapping[str, Fit], decode: bool, sizes: Latent) -> dict[str, np.ndarray]:
    """Seconds of each kernel of a latent-attention layer; with an indexer where ``sizes`` have one."""
    heads, batch, new = (as_floats(rows[n]) for n in ("num_heads", "batch_size", "isl"))
    tokens = batch * new
    base = {"device": rows["device"], "system": rows["system"], "framework": rows["framework"]}
    blank = np.full(count, "", dtype=object)

    def gemm(n: np.ndarray | float, k: np.ndarray | float) -> np.ndarray:
        shape = {"m": tokens, "n": n + 0 * tokens, "k": k + 0 * tokens, "gemm_dtype": rows["gemm_type"]}
        return kernel("gemm", fits["gemm"], {**base, **shape, "version": blank, "kernel_source": blank}, count)

    def bmm(op: str) -> np.ndarray:
        shape = {"num_tokens": tokens, "num_heads": heads, "bmm_dtype": np.full(count, "bfloat16", dtype=object)}
        named = {"op_name": np.full(count, op, dtype=object), "version": blank, "kernel_source": blank}
        return kernel("mla_bmm", fits["mla_bmm"], {**base, **shape, **named}, count)

    attend = "mla_decode" if decode else "mla_prefill"
    shape = {n: as_floats(rows[n]) for n in ("num_heads", "batch_size", "isl", "step")}
    if sizes.index_heads:
        shape["step"] = np.minimum(shape["step"], sizes.topk - 1.0)
    shape |= {"kv_cache_dtype": rows["kv_cache_dtype"], "version": blank, "kernel_source": blank}
    result = {
        "down": gemm(sizes.q_rank + sizes.latent, sizes.hidden),
        "query": gemm(heads * (sizes.nope + sizes.rope), sizes.q_rank),
        "attend": kernel(attend, fits[attend], {**base, **shape}, count),
        "out": gemm(sizes.hidden, heads * sizes.v_dim),
    }
    if decode:
        result |= {"absorb": bmm("mla_gen_pre") + bmm("mla_gen_post")}
    else:
        result |= {"expand": gemm(heads * (sizes.nope + sizes.v_dim), sizes.kv_rank)}
    if sizes.index_heads:
        result |= {
            "index_products": gemm(sizes.index_heads * sizes.index_dim, sizes.q_rank)
            + gemm(sizes.index_dim, sizes.hidden)
        }
    stream, warm, scores = np.zeros(count), np.zeros(count), np.zeros(count)
    for name in set(rows["device"].tolist()):
        own = rows["device"] == name
        machine = machine_of(TABLES.get("gemm"), {"device": str(name), "system": ""})
        cache = machine.last_cache.capacity_bytes if machine.last_cache is not None else 0.0
        if sizes.index_heads:
            fp8 = flops_peak(machine, "fp8")
            at = (batch[own], new[own], as_floats(rows["step"])[own], sizes.index_heads, sizes.index_dim, 1.0, 1.0)
            scores[own] = index_scores(*at, fp8, machine) + INDEX_KERNELS / 2.0 * machine.engine.launch_latency_s
        for gemm_type in GEMMS:
            at = own & (rows["gemm_type"] == gemm_type)
            latency = (launches(gemm_type) - 6.0) * machine.engine.launch_latency_s
            stream[at] = passes(sizes, tokens[at], heads[at], gemm_type) / machine.main.bandwidth + latency
            width = {"bfloat16": 2.0, "fp8_block": 1.0, "nvfp4": 0.5625}[gemm_type]
            for elements in (
                (sizes.q_rank + sizes.latent) * sizes.hidden + 0 * heads[at],
                heads[at] * (sizes.nope + sizes.rope) * sizes.q_rank,
                heads[at] * sizes.v_dim * sizes.hidden,
            ):
                warm[at] += np.minimum(elements * width, cache) / machine.main.bandwidth
    if sizes.index_heads:
        result |= {"scores": scores}
    return {**result, "stream": stream, "_warm": warm}


def split(left: np.ndarray, busy: np.ndarray, warm: np.ndarray, limited: np.ndarray) -> np.ndarray:
    """Amounts of each of :data:`PARTS`, in relative least squares; columns sum to the explained residual."""
    one = np.ones_like(busy)
    features = np.stack([one, -one, warm, busy * limited, busy * ~limited, -busy * ~limited], 1)
    weight = 1.0 / (busy + 1e-5)
    amounts, _ = nnls(features * weight[:, None], left * weight)
    explained = features * amounts
    return np.stack([explained[:, 0] + explained[:, 1], explained[:, 2], explained[:, 3], explained[:, 4:].sum(1)], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", default="module_mla_decode", choices=TABLES_OF)
    parser.add_argument("--rows", type=int, default=4000)
    args = parser.parse_args()
    table = read_table(args.folder / f"{args.table}.parquet")
    model = "DeepseekV32ForCausalLM" if "dsa" in args.table else "DeepseekV3ForCausalLM"
    usable = np.flatnonzero(np.asarray(table.columns["architecture"]) == model)
    if "dsa" in args.table:  # layers that reuse another's indices have no indexer
        names = np.asarray(table.columns["op_name"])[usable]
        usable = usable[[not str(n).endswith("skip_indexer") for n in names]]
    chosen = usable[np.unique(np.linspace(0, usable.size - 1, args.rows).astype(int))]
    rows = {k: np.asarray(v)[chosen] for k, v in table.columns.items()}
    decode = args.table.endswith("decode")
    fits = {n: fit_of(n, args.folder) for n in ("gemm", "mla_bmm", "mla_decode" if decode else "mla_prefill")}
    found = parts(rows, chosen.size, fits, decode, LATENTS[model])
    warm = found.pop("_warm")
    busy = np.sum(list(found.values()), axis=0)
    measured = as_floats(rows["latency"])
    hot = as_floats(rows["power"]) > 0.9 * as_floats(rows["power_limit"])
    print(
        f"{'class':55s} {'n':>5s} {'med':>6s} {'mean':>6s} {'bias':>6s}  left  " + " ".join(f"{p:>6s}" for p in PARTS)
    )
    label = np.array(
        [f"{d}|{f}|{g}" for d, f, g in zip(rows["device"], rows["framework"], rows["gemm_type"], strict=True)]
    )
    totals = []
    for name in sorted(set(label)):
        own = (label == name) & np.isfinite(busy)
        if own.sum() < 10:
            continue
        ratio = busy[own] / measured[own] - 1.0
        left = measured[own] - busy[own]
        shares = split(left, busy[own], warm[own], hot[own]) / measured[own][:, None]
        error = (np.median(np.abs(ratio)), np.mean(np.abs(ratio)), np.median(ratio))
        totals.append(error)
        text = " ".join(f"{v:6.3f}" for v in shares.mean(0))
        print(
            f"{name:55s} {own.sum():5d} "
            + " ".join(f"{v:6.3f}" for v in error)
            + f" {np.mean(left / measured[own]):6.3f} {text}"
        )
    print("average over classes: median {:.3f} mean {:.3f} bias {:.3f}".format(*np.mean(totals, 0)))
    print("share of predicted time:", {n: round(float(np.nanmean(v / busy)), 3) for n, v in found.items()})


if __name__ == "__main__":
    main()
