"""Capture every model that timm lists and pack the graphs that the package carries.

    python scripts/carry_timm.py FOLDER                 # capture into FOLDER (again: only what is missing), then pack
    python scripts/carry_timm.py FOLDER --pack-only     # pack what is there
    python scripts/carry_timm.py FOLDER --share 0/4     # one of four processes' share of the capturing; packs nothing

FOLDER takes one file a capture (name, size, outputs, layout) and may be deleted afterwards. About 3,700 captures of half
a second each on one core.
"""

from __future__ import annotations

import argparse
import gc
import json
import lzma
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from speedlight._foundation.errors import SpeedlightError
from speedlight.frontends import carried
from speedlight.frontends.carried.archive import write_archive

LAYOUTS = {"nchw": None, "nhwc": "channels_last"}
CHUNK = 24  # graphs compressed together: half the size of one by one, and 20 ms to read


def jobs() -> Iterator[tuple[Any, str]]:
    """Every variant at every layout, defaults first."""
    from speedlight.frontends.torch_export import timm_models

    all_of = {name: list(timm_models.variants(name)) for name in timm_models.names()}
    for layout in LAYOUTS:
        for rank in range(max(map(len, all_of.values()))):
            for variants in all_of.values():
                if rank < len(variants):
                    yield variants[rank], layout


def file_of(folder: Path, variant: Any, layout: str) -> Path:
    return folder / f"{variant.name}-{'x'.join(map(str, variant.size))}-{variant.classes}-{layout}.json.xz"


def capture_all(folder: Path, share: tuple[int, int]) -> None:
    import torch

    from speedlight.frontends.torch_export.timm_models import capture_timm
    from speedlight.graph.plain import to_plain

    torch.set_num_threads(1)
    gc.disable()  # PyTorch's modules are many objects; collecting now and then is enough
    for number, (variant, layout) in enumerate(jobs()):
        path = file_of(folder, variant, layout)
        if number % share[1] != share[0] or path.exists():
            continue
        started = time.process_time()
        try:
            graph = capture_timm(variant, channels_last=LAYOUTS[layout] is not None)
        except SpeedlightError as error:
            print(f"{path.name}: {error}", flush=True)
            path.with_suffix(".error").write_text(str(error))
            continue
        seconds = time.process_time() - started
        record = {"seconds": seconds, "graph": to_plain(graph)}
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(lzma.compress(json.dumps(record, separators=(",", ":")).encode(), preset=1))
        part.replace(path)
        if number % 25 == 0:
            gc.collect()
            print(f"{number}: {path.name} {seconds:.2f} s", flush=True)


def facts() -> dict[str, Any]:
    """What the index says beside the graphs: versions, tags, former names, which modules timm's switches concern."""
    import torch

    from speedlight.frontends.torch_export import timm_models
    from speedlight.frontends.torch_export.source import build

    package = timm_models.timm()
    models, lists, of = {}, [], {}
    for name in timm_models.names():
        concerned = timm_models.fast_norms(build(partial(package.create_model, name), name))
        if concerned:
            if concerned not in lists:
                lists.append(concerned)
            of[name] = lists.index(concerned)
        tags = {
            tag: [*timm_models.sizes(config)[0], int(config.num_classes)]
            for tag, config in timm_models.tags(name).items()
        }
        models[name] = {"module": timm_models.module_of(name), "tags": tags}
    return {
        "timm": package.__version__, "torch": torch.__version__.partition("+")[0], "models": models,
        "renamed": timm_models.deprecated(), "switches": {timm_models.SWITCH: {"paths": lists, "of": of}},
    }  # fmt: skip


def pack(folder: Path) -> None:
    """Graphs in the order of modules and names, so that those of a chunk resemble one another."""
    about = facts()
    found: dict[str, Path] = {}
    for variant, layout in jobs():
        path = file_of(folder, variant, layout)
        if path.exists():
            found[carried.key(variant.name, variant.size, variant.classes, LAYOUTS[layout])] = path

    def place(key: str) -> tuple[str, str]:
        return about["models"][key.split()[0]]["module"], key

    order = sorted(found, key=place)
    groups = [
        {key: json.loads(lzma.decompress(found[key].read_bytes()))["graph"] for key in order[start : start + CHUNK]}
        for start in range(0, len(order), CHUNK)
    ]
    size = write_archive(carried.FILE, groups, about)
    print(f"{len(found)} graphs of {len(about['models'])} models, {size / 1e6:.2f} MB: {carried.FILE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pack-only", action="store_true")
    parser.add_argument("--share", default=None, metavar="I/N")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if not given.pack_only:
        first, _, count = (given.share or "0/1").partition("/")
        capture_all(given.folder, (int(first), int(count)))
    if given.share is None:
        pack(given.folder)
