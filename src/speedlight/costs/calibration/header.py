"""The header of a fit file: what a fitted efficiency rests on, before any is fitted (DESIGN decisions 3 and 4).

A fit is a small data file with this header and coefficients beside it. The header answers what every calibrated prediction
must say: fitted how, when, to what, with which error on data left out. The fingerprint of each table lets ``validate`` tell
whether a table was fitted on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..._foundation.errors import BadFile

SCHEMA_VERSION = 1


class FittedTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A table a fit saw: its name, rows used, and a hash of its content."""

    name: str
    rows: int
    fingerprint: str


class CrossValidation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Error on data left out: ``leave`` is ``group`` or ``device``; errors are fractions."""

    leave: str
    median_ape: float
    mape: float
    coverage_80: float | None = None


class FitHeader(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """See the module docstring.

    Attributes:
        family: the cost family it belongs to (``gemm``, ``attention_decode`` …).
        procedure: the command that reproduces it.
        features: names of the hardware-normalised features, in the order of the coefficients.
        layered_on: the fit this one corrects locally (a user's calibration), or None.
    """

    schema: int
    id: str
    family: str
    date: str
    procedure: str
    features: tuple[str, ...]
    tables: tuple[FittedTable, ...]
    cross_validation: tuple[CrossValidation, ...]
    layered_on: str | None = None


def read_header(data: Any, where: str) -> FitHeader:
    """Validate a fit file's header.

    Raises:
        BadFile: naming the offending field, or a schema this version does not read.
    """
    try:
        header = msgspec.convert(data, FitHeader)
    except msgspec.ValidationError as error:
        raise BadFile(f"{where}: {error}", expected="the header of a fit file") from None
    if header.schema != SCHEMA_VERSION:
        raise BadFile(f"{where}: schema is {header.schema}", expected=f"schema: {SCHEMA_VERSION}")
    return header
