"""Networks that we measured ourselves stand behind a table's rows, and are asked as they ran."""

import csv

import numpy as np

from speedlight.validation.image_models.ours import DATA, LONG_S, PLAIN, STREAMS, alone, with_networks
from speedlight.validation.image_models.questions import questions


def test_our_networks_stand_behind_the_tables_rows():
    texts = {
        "model": "resnet18",
        "mode": "infer",
        "precision": "amp",
        "layout": "nhwc",
        "torch": "240",
        "device": "rtx4090",
    }
    columns = {name: np.array([text] * 2, dtype=object) for name, text in texts.items()}
    columns |= {
        "compiled": np.array([False, True]),
        "image_size": np.array([224, 224]),
        "batch_size": np.array([8.0, 256.0]),
    }
    columns |= {"latency": np.array([1.0, 2.0]), "gmacs": np.array([1.8, 1.8])}
    found, count = with_networks(columns, 2)
    assert all(column.size == count for column in found.values())
    assert found["latency"][:2].tolist() == [1.0, 2.0]
    assert (found["latency"][2:] > 0).all()
    assert np.isnan(found["gmacs"][2:]).all()
    with (DATA / "networks.csv").open(encoding="utf-8", newline="") as stream:
        noted = list(csv.DictReader(stream))
    unsteady = [r for r in noted if float(r["high_s"]) > 1.05 * float(r["low_s"])]
    assert 0 < len(unsteady) == len(noted) - (count - 2)
    assert not set(found["latency"][2:]) & {float(r["median_s"]) for r in unsteady}
    asked = list(questions(found, count))
    ours = [q for q, rows in asked if rows.min() >= 2]
    assert {q.device for q in ours} == {r["device"] for r in noted}
    assert sum(rows.size for _, rows in asked) == count
    # timm's benchmark runs fast norms and, of late, merged branches; we ran networks as they are
    assert {q.harness for q in ours} == {PLAIN}
    assert {q.rewrites() for q in ours} == {()}
    assert all(q.rewrites() for q, rows in asked if rows.max() < 2)
    assert {(q.stack, q.compiled) for q in ours} == {("torch-eager@2.11", False), ("torch-compile@2.11", True)}
    assert {(q.mode, q.layout, q.precision) for q in ours} == {(r["mode"], r["layout"], r["precision"]) for r in noted}


def test_kernels_alone_are_products_and_streams():
    """Of either card; a stream's analytic time is what its bytes take, not its launch."""
    found = alone(10)
    assert found.seconds.size == len(found.sort) == len(found.device) == found.seen.rows.size
    assert found.seen.rows[0] == 10
    assert (found.seconds >= LONG_S).all()
    assert len(set(found.device)) == 2
    streams = np.flatnonzero(np.array(found.sort) == "streams")
    assert 0 < streams.size < found.seconds.size
    columns = found.seen.tables["stream"].columns
    moving, starting = (
        np.bincount(columns["row"], columns["count"] * sum(columns[name] for name in names), found.seconds.size)
        for names in (("t:memory", "t:cache"), ("t:launch",))
    )
    assert set(np.flatnonzero(moving)) == set(streams)
    assert (moving[streams] > starting[streams]).all()
    with (DATA / "kernels.csv").open(encoding="utf-8", newline="") as stream:
        assert set(STREAMS) <= {row["op"] for row in csv.DictReader(stream)}
