"""A named registry with entry points: built-ins register by the same call as plug-ins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from .errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Members of one family by name.

    Args:
        what: the family's name in messages (``stack``, ``frontend`` …).
        group: the entry-point group third parties use; read on the first miss, never at import.
    """

    def __init__(self, what: str, group: str) -> None:
        self.what = what
        self.group = group
        self._members: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        def keep(member: T) -> T:
            if name in self._members:
                raise ValueError(f"{self.what} {name!r} is registered twice")
            self._members[name] = member
            return member

        return keep

    def get(self, name: str) -> T:
        if name not in self._members:
            self._load_plugins()
        try:
            return self._members[name]
        except KeyError:
            raise UnknownName(self.what, name, self._members) from None

    def find(self, name: str) -> T | None:
        """A member, or None where there is none."""
        if name not in self._members:
            self._load_plugins()
        return self._members.get(name)

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(sorted(self._members))

    def _load_plugins(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        if f"[{self.group}]" not in _stated(tuple(sys.path)):
            return
        from importlib.metadata import entry_points

        for point in entry_points(group=self.group):
            if point.name not in self._members:
                self._members[point.name] = point.load()


@lru_cache(maxsize=4)
def _stated(path: tuple[str, ...]) -> str:
    """The entry points that installed packages on the path state for us, as their files say it.

    Read as text, so that who has no plug-in does not wait for importlib.metadata, which imports sockets and mail.
    """
    found = []
    for folder in path:
        for kind in ("*.dist-info", "*.egg-info"):
            for file in Path(folder or ".").glob(f"{kind}/entry_points.txt"):
                with suppress(OSError):
                    found.append(file.read_text("utf-8", "replace"))
    return "\n".join(text for text in found if "[speedlight." in text)
