"""Published claims as data: one file a paper in ``papers/``, its setting as published, each claim with its sort and form.

A claim's verdict is never written here: :mod:`speedlight.validation.ledger` derives it.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from .._foundation.errors import BadFile, UnknownName
from .._foundation.files import parse_yaml

Sort = Literal["performance", "memory", "work", "setting", "quality", "prose"]
Form = Literal["value", "at_least", "at_most", "up_to", "law", "order"]
ROLES = ("technique", "machine", "model", "stack", "schedule", "suite", "claims-only")
CHECKED = ("performance", "memory", "work")


class Claim(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One figure a paper states.

    Attributes:
        id: as the literature file numbers it.
        metric: what is measured, with its unit.
        sort: performance, memory and work get a verdict; quality is quoted; setting and prose are context.
        form: ``value``; ``at_least``, ``at_most``; ``up_to``: the most over the settings tried; ``law``: the figure is a log-log
            slope; ``order``: only which is more (the figure is 1 where the first is).
        claimed: the figure, or its range [low, high]; None where it is kept apart.
        better: whether ``more`` or ``less`` of it is; ``none`` of plain amounts.
        baseline, context: as published, shortened.
        outside: why nothing of ours can derive it (gate counts, a study with people …); empty for what has a derivation.
    """

    id: str
    metric: str
    sort: Sort
    form: Form = "value"
    claimed: float | tuple[float, float] | None = None
    better: Literal["more", "less", "none"] = "more"
    baseline: str = ""
    context: str = ""
    outside: str = ""

    @property
    def ends(self) -> tuple[float, float] | None:
        """The figure as a range."""
        if self.claimed is None:
            return None
        return self.claimed if isinstance(self.claimed, tuple) else (self.claimed, self.claimed)


class Paper(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One paper.

    Attributes:
        role: what it is in Speedlight; ``covers`` names it: techniques, machines, models, stacks, schedules, suites.
        reason: of ``claims-only``, why it is nothing else; of a paper without a computed claim, why not.
        checkable: physics and public specs can reproduce at least one claim, as far as the abstract tells.
        withheld: the figures of its claims are kept apart.
        setting: what the source states of its setting, in the words of the command line; ``unstated`` is what it leaves open.
    """

    schema: int
    id: str
    title: str
    kind: str
    relevance: int
    role: Literal["technique", "machine", "model", "stack", "schedule", "suite", "claims-only"]
    covers: tuple[str, ...] = ()
    reason: str = ""
    checkable: bool = False
    withheld: bool = False
    setting: dict[str, Any] = {}
    unstated: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


@lru_cache(maxsize=1)
def paper_ids() -> tuple[str, ...]:
    """Ids of all papers, in alphabetical order."""
    folder = files(__package__) / "papers"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


@lru_cache(maxsize=512)
def paper(name: str) -> Paper:
    """One paper by id.

    Raises:
        UnknownName: suggesting the nearest ids.
    """
    file = files(__package__) / "papers" / f"{name}.yaml"
    if name not in paper_ids():
        raise UnknownName("paper", name, paper_ids(), "speedlight claims")
    try:
        found = msgspec.convert(parse_yaml(file.read_text(encoding="utf-8"), f"{name}.yaml", trusted=True), Paper)
    except msgspec.ValidationError as error:
        raise BadFile(f"evidence/papers/{name}.yaml: {error}", expected="a paper's file") from None
    if found.schema != 1 or found.id != name:
        raise BadFile(
            f"evidence/papers/{name}.yaml says it is {found.id}, schema {found.schema}", expected=f"{name}, 1"
        )
    return found


def papers() -> tuple[Paper, ...]:
    """All papers."""
    return tuple(paper(name) for name in paper_ids())
