"""The schemas of measured tables, the files in the data folder against them, and reading of a user's own files."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from speedlight._foundation.errors import UnknownName
from speedlight.evidence.check import Differences, differences
from speedlight.evidence.schema import KINDS, schema_of, schemas, text_columns
from speedlight.evidence.tables import Table, Texts, codes_of, fingerprint, group_codes, read_table, rows_of

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
import pyarrow.parquet as pq  # noqa: E402


def compared(path: Path) -> tuple[Table, Differences]:
    """A file, and how it differs from the schema its name says."""
    table = read_table(path)
    return table, differences(table, schema_of(path.stem))


GEMM = {"device": ["NVIDIA H200"], "gemm_dtype": ["fp8"], "m": [1], "n": [2], "k": [3], "latency": [1e-6]}


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_schema_says_what_a_reader_must_know(name: str) -> None:
    schema = schema_of(name)
    assert schema.kind in KINDS
    assert schema.rows
    assert schema.provenance
    assert schema.licence
    assert schema.conditions
    assert schema.grade in ("measured", "published")
    assert set(schema.group) <= set(schema.columns)
    assert not set(schema.group) & set(schema.of("measured"))
    for column in schema.columns.values():
        assert column.means
    if schema.kind == "kernels":
        assert schema.of("measured")
        assert all(c.unit for c in schema.columns.values() if c.type in ("integer", "number"))


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(UnknownName, match="gem"):
        schema_of("gem")


def test_differences_are_reported_not_repaired(tmp_path: Path) -> None:
    path = tmp_path / "gemm.parquet"
    pq.write_table(pa.table({**GEMM, "m": ["wide"], "mine": [1], "version": pa.array([None], pa.float64())}), path)
    table, found = compared(path)
    assert found.extra == ("mine",)
    assert set(found.missing) == {"system", "framework", "kernel_source"}
    assert found.mistyped == {"m": "text"}  # a column without any value holds nothing wrong
    assert table.columns["m"][0] == "wide"
    assert bool(found)
    assert not Differences()


def test_blanks_make_floats_of_integers(tmp_path: Path) -> None:
    path = tmp_path / "gemm.parquet"
    pq.write_table(pa.table({**GEMM, "m": [1.0]}), path)
    assert not compared(path)[1].mistyped


@pytest.mark.data
def test_every_table_of_the_data_folder_is_as_its_schema_says(data_dir: Path) -> None:
    files = [p for p in sorted(data_dir.rglob("*")) if p.suffix in (".parquet", ".csv")]
    assert {p.stem for p in files} == set(schemas())
    for path in files:
        table, found = compared(path)
        assert not found, (path.name, found)
        schema = schema_of(path.stem)
        assert path.parent.name == schema.kind
        for name in schema.of("input"):
            if not schema.columns[name].blank and schema.kind == "kernels":
                assert table.handle[name].null_count == 0, (path.name, name)


def test_a_version_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "gemm.csv"
    path.write_text("version,gemm_dtype,m,note\n0.20,fp8,8,0.20\n,,9,\n")
    table = read_table(path)
    assert "version" in text_columns()
    assert list(table.columns["version"]) == ["0.20", None]
    assert table.columns["note"][0] == 0.2
    assert table.types == {"version": "text", "gemm_dtype": "text", "m": "integer", "note": "number"}


def test_columns_of_any_type_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gemm.parquet"
    columns = {
        "when": [datetime.date(2026, 1, 1), None],
        "lists": [[1, 2], [3, 4]],
        "coded": pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]),
        "flag": [True, None],
        "nothing": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), path)
    table = read_table(path)
    assert all(c.shape == (2,) for c in table.columns.values())
    assert list(table.columns["when"]) == ["2026-01-01", None]
    assert list(table.columns["coded"]) == ["a", "b"]
    assert table.types["nothing"] == "null"


def test_a_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one, other, third = (tmp_path / n for n in ("a", "b", "c"))
    one.write_bytes(b"x" * 3_000_000)
    other.write_bytes(b"x" * 3_000_000)
    third.write_bytes(b"x" * 2_999_999 + b"y")
    assert fingerprint(one) == fingerprint(other) != fingerprint(third)


def test_groups_are_equal_values_in_all_columns() -> None:
    columns = {
        "a": np.array([1, 1, 2, 2, 1]),
        "b": np.array(["x", "y", "x", "x", None], dtype=object),
        "c": np.array([np.nan, np.nan, np.nan, np.nan, 1.0]),
    }
    codes = group_codes(columns, ("a", "b", "c", "absent"), 5)
    assert codes[2] == codes[3]
    assert len(set(codes.tolist())) == 4
    assert set(group_codes({}, ("a",), 3).tolist()) == {0}
    rows = np.arange(2048)
    many = {"first": rows // 2, **{str(i): rows % 1024 for i in range(8)}}
    assert len(set(group_codes(many, many, 2048).tolist())) == 2048  # no overflow of the product of many columns
    values, own = codes_of(columns["b"])
    assert [values[i] for i in own] == ["x", "y", "x", "x", None]


def test_texts_remember_their_dictionary_as_long_as_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "gemm.parquet"
    pq.write_table(pa.table({"gemm_dtype": ["fp8", None, "nvfp4", "fp8"]}), path)
    column = read_table(path).columns["gemm_dtype"]
    assert isinstance(column, Texts)
    assert column.tolist() == ["fp8", None, "nvfp4", "fp8"]
    for part in (
        column,
        rows_of(column, slice(1, 3)),
        column[1:3],
        column[::-1],
        column[column == "fp8"],
        column.copy(),
    ):
        values, own = codes_of(part)
        assert [values[i] for i in own] == part.tolist()
    assert rows_of(column, slice(1, 3)).tolist() == [None, "nvfp4"]
    assert rows_of(np.arange(4), slice(1, 3)).tolist() == [1, 2]
