"""Progress of long work on stderr: a bar for a person, nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any


@contextmanager
def counted(what: str) -> Iterator[Callable[..., None]]:
    """A function to call with (number done, of how many, what is being done, …)."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)

        def tell(number: int, total: int, item: Any, *_: Any) -> None:
            name = str(getattr(item, "name", item))
            progress.update(task, completed=number, total=total, description=f"{what} {name[:50]}")

        yield tell


@contextmanager
def ticking(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A function to call after each of ``total`` things; no bar for a single one."""
    if total < 2:
        yield lambda: None
        return
    done = count(1)
    with counted(what) as tell:
        yield lambda: tell(next(done), total, "")
