"""Any recorded trace: the reader its content asks for, and sets of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..._foundation.errors import BadFile, BadInput
from .chrome import read_chrome
from .nsys import is_database, read_nsys
from .trace import Trace

_ENDINGS = (".json", ".json.gz", ".sqlite", ".pt.trace.json", ".pt.trace.json.gz")
MAX_RANKS = 64


def read_trace(path: Path) -> Trace:
    """One trace: Chrome trace-event JSON (plain or gzip) or an SQLite export of Nsight Systems, told by content.

    Raises:
        BadFile: as the readers do; for what is missing or a folder.
    """
    _check(path)
    return read_nsys(path) if is_database(path) else read_chrome(path)


def read_set(paths: Sequence[Path]) -> tuple[Trace, ...]:
    """The traces of several ranks, in the order of their ranks: files, or one folder of them.

    Raises:
        BadInput: where two traces name one rank, or there are more than this reads.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if p.name.endswith(_ENDINGS))
        else:
            files.append(path)
    if not files:
        raise BadInput(
            f"{', '.join(map(str, paths))} holds no trace", expected="files ending in " + ", ".join(_ENDINGS)
        )
    if len(files) > MAX_RANKS:
        raise BadInput(f"{len(files)} traces", expected=f"at most {MAX_RANKS}", hint="name some of the ranks")
    traces = sorted((read_trace(p) for p in files), key=lambda t: (t.rank is None, t.rank or 0, t.source))
    ranks = [t.rank for t in traces if t.rank is not None]
    twice = {r for r in ranks if ranks.count(r) > 1}
    if twice:
        raise BadInput(
            f"two traces are of rank {min(twice)}", expected="one of each rank", hint="compare two with --against"
        )
    return tuple(traces)


def _check(path: Path) -> None:
    if not path.exists():
        raise BadFile(f"{path} does not exist", expected="a trace")
    if not path.is_file():
        raise BadFile(f"{path} is no file", expected="a trace, or a folder of them")
    if not path.stat().st_size:
        raise BadFile(f"{path} is empty", expected="a trace")
