"""Measured tables → columns of NumPy arrays: Parquet, CSV, gzipped CSV; a user's own file works like ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._foundation.errors import BadFile, MissingDependency
from .schema import text_columns


class Texts(np.ndarray):
    """An array of strings (or None) that remembers its dictionary, so that nobody need look for distinct values again.

    Attributes:
        values: distinct values; some may be of no row.
        codes: which of them each row has; None once anything but :func:`rows_of` made another array of it.
    """

    values: tuple[object, ...]
    codes: np.ndarray | None

    def __new__(cls, values: Sequence[object], codes: np.ndarray) -> Texts:
        distinct = np.empty(len(values), dtype=object)
        distinct[:] = values
        made: Texts = distinct[codes].view(cls)
        made.values, made.codes = tuple(values), codes
        return made

    def __array_finalize__(self, source: object) -> None:
        self.values, self.codes = (), None


def rows_of(column: np.ndarray, some: slice) -> np.ndarray:
    """Some rows of a column; texts keep their dictionary."""
    if isinstance(column, Texts) and column.codes is not None:
        return Texts(column.values, column.codes[some])
    return column[some]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, all of ``rows`` entries; text columns hold Python strings or None.

    Attributes:
        path, rows, columns: of the file.
        types: what each column holds: text, integer, number, boolean, null (no value at all) or other.
        handle: the arrow table, for writing every input column back as it was.
    """

    path: str
    rows: int
    columns: Mapping[str, np.ndarray]
    types: Mapping[str, str] = field(default_factory=dict)
    handle: Any = None

    def __contains__(self, name: str) -> bool:
        return name in self.columns


def base_name(path: str | Path) -> str:
    """The file's name up to the first dot: what a suite is recognised by."""
    return Path(path).name.partition(".")[0]


def fingerprint(path: str | Path) -> str:
    """A hash of the file's content: tells whether a table was fitted on."""
    digest = hashlib.blake2b(digest_size=12)
    with Path(path).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_table(path: str | Path) -> Table:
    """Read a measured table.

    Raises:
        BadFile: if it is missing, of another format, or damaged.
        MissingDependency: without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingDependency("pyarrow", "data", "reading measured tables") from None
    path = Path(path)
    if not path.is_file():
        raise BadFile(f"{path} does not exist" if not path.exists() else f"{path} is no file", expected="a table")
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            # Not `read_table`: that takes a folder's name like `device=x` for a column.
            with parquet.ParquetFile(path) as file:
                table = file.read()
        elif name.endswith((".csv", ".csv.gz")):
            table = _read_csv(path)
        else:
            raise BadFile(f"{path} is of an unknown format", expected=".parquet, .csv or .csv.gz")
    except (pa.ArrowInvalid, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadFile(f"cannot read {path}: {str(error).splitlines()[0]}", expected="an intact table") from None
    if len(set(table.column_names)) != table.num_columns:
        raise BadFile(f"{path} has two columns of one name")
    columns = {n: _array(table.column(n)) for n in table.column_names}
    types = {n: _type(table.column(n)) for n in table.column_names}
    return Table(str(path), table.num_rows, columns, types, table)


def _read_csv(path: Path) -> Any:
    """Columns that are text in every schema stay text: the version ``0.20`` is no number."""
    import pyarrow as pa
    import pyarrow.csv as csv

    if path.stat().st_size == 0:
        raise BadFile(f"{path} is empty", expected="a header line and rows")
    texts = dict.fromkeys(text_columns(), pa.string())
    return csv.read_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=texts, strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )


def _type(column: Any) -> str:
    import pyarrow.types as types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_null(kind) or column.null_count == len(column):
        return "null"
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        return "integer"
    return "number" if types.is_floating(kind) or types.is_decimal(kind) else "other"


def _array(column: Any) -> np.ndarray:
    import pyarrow.types as types

    kind = column.type
    if types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind):
        return np.asarray(column.to_numpy())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        # Dictionary codes first: 1.9 million equal strings become one Python object each.
        encoded = column.combine_chunks()
        if not types.is_dictionary(kind):
            encoded = encoded.dictionary_encode()
        elif hasattr(encoded, "chunks"):
            encoded = encoded.unify_dictionaries().combine_chunks()
        values = [*encoded.dictionary.to_pylist(), None]
        codes = encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
        return Texts(values, codes.astype(np.int64))
    # Dates, decimals, lists …: as text, which a numeric column may still read as a number.
    return np.asarray([None if v is None else str(v) for v in column.to_pylist()], dtype=object)


def codes_of(column: np.ndarray) -> tuple[list[object], np.ndarray]:
    """Distinct values of a column (some may be of no row) and which of them each row has."""
    if isinstance(column, Texts) and column.codes is not None:
        return list(column.values), column.codes
    if column.dtype == object:
        known: dict[object, int] = {}
        codes = np.fromiter((known.setdefault(v, len(known)) for v in column.tolist()), np.int64, count=len(column))
        return list(known), codes
    values, codes = np.unique(column, return_inverse=True)
    return values.tolist(), codes


def group_codes(columns: Mapping[str, np.ndarray], names: Iterable[str], rows: int) -> np.ndarray:
    """A code for each row: rows with equal values in all the named columns share one; absent columns are equal."""
    code = np.zeros(rows, dtype=np.int64)
    for name in names:
        if name in columns:
            values, own = codes_of(columns[name])
            code = code * len(values) + own
            if code.size and code.max() > 2**40:  # keep products of many columns within 64 bits
                _, code = np.unique(code, return_inverse=True)
    return np.unique(code, return_inverse=True)[1]


def write_predictions(table: Table, added: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Every input column as it was plus the added ones, as Parquet; written beside the target and renamed.

    Raises:
        BadFile: if the folder cannot be written.
    """
    import os

    import pyarrow as pa
    import pyarrow.parquet as parquet

    result = table.handle
    for name, values in added.items():
        if values.dtype == object:
            column = pa.array(values.tolist(), type=pa.string())
        else:
            column = pa.array(values, type=pa.float64(), from_pandas=True)  # NaN becomes null
        if name in result.column_names:
            result = result.set_column(result.column_names.index(name), name, column)
        else:
            result = result.append_column(name, column)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        parquet.write_table(result, temporary)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadFile(
            f"cannot write {target}: {error.strerror or error}", hint="check the folder and its rights"
        ) from None
