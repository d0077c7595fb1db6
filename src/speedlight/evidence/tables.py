"""Measured tables → columns of NumPy arrays: Parquet, CSV, gzipped CSV; a user's own file works like ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._foundation.errors import BadFile, MissingDependency


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, all of ``rows`` entries; text columns hold Python strings or None."""

    path: str
    rows: int
    columns: Mapping[str, np.ndarray]
    handle: Any = None  # the arrow table, for writing every input column back as it was

    def __contains__(self, name: str) -> bool:
        return name in self.columns


def base_name(path: str | Path) -> str:
    """The file's name up to the first dot: what a suite is recognised by."""
    return Path(path).name.partition(".")[0]


def read_table(path: str | Path) -> Table:
    """Read a measured table.

    Raises:
        BadFile: if it is missing, of another format, or damaged.
        MissingDependency: without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.csv as csv
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingDependency("pyarrow", "data", "reading measured tables") from None
    path = Path(path)
    if not path.is_file():
        raise BadFile(f"{path} does not exist" if not path.exists() else f"{path} is no file", expected="a table")
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            table = parquet.read_table(path)
        elif name.endswith((".csv", ".csv.gz")):
            if path.stat().st_size == 0:
                raise BadFile(f"{path} is empty", expected="a header line and rows")
            table = csv.read_csv(path)
        else:
            raise BadFile(f"{path} is of an unknown format", expected=".parquet, .csv or .csv.gz")
    except (pa.ArrowInvalid, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadFile(f"cannot read {path}: {str(error).splitlines()[0]}", expected="an intact table") from None
    if len(set(table.column_names)) != table.num_columns:
        raise BadFile(f"{path} has two columns of one name")
    columns = {n: _array(table.column(n)) for n in table.column_names}
    return Table(str(path), table.num_rows, columns, table)


def _array(column: Any) -> np.ndarray:
    import pyarrow.types as types

    kind = column.type
    if types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind):
        return np.asarray(column.to_numpy())
    if types.is_string(kind) or types.is_large_string(kind):
        # Dictionary codes first: 1.9 million equal strings become one Python object each.
        encoded = column.combine_chunks().dictionary_encode()
        values = np.asarray([*encoded.dictionary.to_pylist(), None], dtype=object)
        codes = encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
        return np.asarray(values[codes])
    return np.asarray(column.to_pylist(), dtype=object)


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
