"""Capture the networks of :mod:`networks` and pack their graphs: ``python scripts/carry_networks.py``."""

from __future__ import annotations

import warnings

import torch
from networks import NETWORKS

from speedlight.frontends.carried import networks
from speedlight.frontends.carried.archive import write_archive
from speedlight.frontends.torch_export import capture
from speedlight.graph.plain import to_plain

if __name__ == "__main__":
    torch.set_num_threads(1)
    graphs = {}
    for name, (make, shape) in NETWORKS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = capture(make, ["x".join(map(str, (1, *shape)))], quick=True)
        source = f"scripts/networks, torch {torch.__version__.partition('+')[0]}"
        graphs[name] = to_plain(graph.replace(name=name, attrs={**graph.attrs, "source": source}))
        print(name, shape, flush=True)
    size = write_archive(networks.FILE, [graphs], {"torch": torch.__version__.partition("+")[0]})
    print(f"{len(graphs)} networks, {size / 1e6:.2f} MB: {networks.FILE}")
