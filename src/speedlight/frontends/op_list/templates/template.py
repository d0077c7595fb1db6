"""Templates: named operations that expand into ops with work, span and operands.

A template is a function over a :class:`~..site.Site` and its arguments, registered with what each argument means. Its
docstring states the formula and where it comes from; sizes it needs and nobody can guess are required, data statistics that
have a sensible range are left open (:mod:`speedlight.graph.statistics`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...._foundation.registry import Registry

Size = int | float | str


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a template.

    Attributes:
        about: what it is, in a few words.
        sort: ``size`` (an expression), ``format`` (a number format), ``tensor`` (a name) or ``word`` (one of ``words``).
        default: where it is left out; a size's may be an expression over the arguments before it. None: see below.
        low, high: range of a data statistic, over the arguments before it.
        least, most: values that make sense.
        words: what a word may be.
        source: of the range, with its grade.

    A size without default and range must be given; a format without default is the file's ``dtype``; a tensor without
    default is made for the op.
    """

    about: str
    sort: str = "size"
    default: Size | None = None
    low: Size | None = None
    high: Size | None = None
    least: float = 0.0
    most: float = 1e15
    words: tuple[str, ...] = ()
    source: str = ""

    @property
    def required(self) -> bool:
        return self.sort == "size" and self.default is None and self.low is None


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its name, the group it is listed under, its arguments and the function that lays down its ops."""

    name: str
    group: str
    arguments: Mapping[str, Argument]
    expand: Callable[..., None]

    @property
    def summary(self) -> str:
        return (self.expand.__doc__ or "").strip().splitlines()[0]


TEMPLATES: Registry[Template] = Registry("template", "speedlight.templates")


def size(about: str, default: Size | None = None, **fields: Any) -> Argument:
    return Argument(about, "size", default, **fields)


def statistic(about: str, low: Size, high: Size, source: str, **fields: Any) -> Argument:
    """A number of the data: open over a range unless stated."""
    return Argument(about, "size", None, low, high, source=source, **fields)


def number_format(about: str, default: str | None = None) -> Argument:
    return Argument(about, "format", default)


def tensor(about: str) -> Argument:
    return Argument(about, "tensor")


def word(about: str, *words: str) -> Argument:
    """One of some words; the first by default."""
    return Argument(about, "word", words[0], words=words)


def template(group: str, **arguments: Argument) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function of a :class:`..site.Site` and these arguments under its own name."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        every = {**arguments, "out": tensor("name of the result")}
        name = function.__name__
        TEMPLATES.register(name)(Template(name, group, every, function))
        return function

    return register
