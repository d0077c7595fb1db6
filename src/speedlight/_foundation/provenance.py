"""Where a number comes from: its grade, its source, and the assumptions an answer lists.

Grades, strongest first (DESIGN decision 12):

``measured`` ran on the thing itself · ``datasheet`` the vendor's own document · ``published`` a paper, page or
project that measured or collected it · ``derived`` arithmetic on graded figures · ``fitted`` a fit to
measurements · ``assumed`` nobody's source: a convention or a guess, and answers say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Grade = Literal["measured", "datasheet", "published", "derived", "fitted", "assumed"]
GRADES: tuple[str, ...] = get_args(Grade)


@dataclass(frozen=True, slots=True)
class Fact:
    """A number's pedigree. ``value`` stands beside it so that a listing needs no second look-up."""

    value: Any
    grade: Grade
    source: str = ""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One thing an answer rests on that the question did not state, or that no source backs."""

    what: str
    value: Any
    grade: Grade = "assumed"
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "value": self.value, "grade": self.grade, "source": self.source}


def weakest(grades: list[str]) -> str:
    """The weakest grade of a chain: what is derived from several figures is as good as the worst one."""
    return max(grades, key=GRADES.index) if grades else "assumed"
