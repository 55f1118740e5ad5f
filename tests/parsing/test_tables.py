"""Tables of scores from other programs: what is read, and one message for everything that cannot be."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ganeval.errors import InputError
from ganeval.parsing.tables import read_rows


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv(tmp_path: Path) -> None:
    table = read_rows(
        write(tmp_path, "a.csv", '\ufefffile,hit,hps\n"a, b.png",true,0.25\n\nc.png,False,-1e-3\n'), "scores"
    )
    assert len(table) == 2
    assert table.ids("file") == ["a, b.png", "c.png"]
    assert table.numbers("hit") == [1.0, 0.0]
    assert table.numbers("hps") == [0.25, -0.001]
    assert [name for name in table.columns if table.has_numbers(name)] == ["hit", "hps"]


def test_jsonl(tmp_path: Path) -> None:
    table = read_rows(
        write(tmp_path, "a.jsonl", '{"id": 7, "x": 1, "ok": true}\n\n{"id": 8, "x": 2.5, "ok": false}'), "scores"
    )
    assert table.ids("id") == ["7", "8"]
    assert table.numbers("x") == [1.0, 2.5]
    assert table.numbers("ok") == [1.0, 0.0]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"id": ["a", "b"], "x": [1.5, None]}), path)
    table = read_rows(path, "scores")
    assert table.ids("id") == ["a", "b"]
    with pytest.raises(InputError, match="row 2: column 'x' has nothing"):
        table.numbers("x")
    write(tmp_path, "b.parquet", "no such thing")
    with pytest.raises(InputError, match="not a valid Parquet file"):
        read_rows(tmp_path / "b.parquet", "scores")


def test_decimals_of_parquet_are_numbers(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"x": [Decimal("1.5"), Decimal("-2.25")]}), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet", "scores").numbers("x") == [1.5, -2.25]


def test_names_of_columns_are_stripped_and_may_be_years(tmp_path: Path) -> None:
    table = read_rows(write(tmp_path, "a.csv", " model , 2024\na,1\n"), "scores")
    assert (list(table.columns), table.numbers("2024")) == (["model", "2024"], [1.0])


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match="needs pyarrow, which is not installed"):
        read_rows(write(tmp_path, "a.parquet", ""), "scores")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "x\n1\n", r"expected a file that ends in \.csv, \.jsonl, \.parquet"),
        ("a.csv", "", "has no rows"),
        ("a.csv", "x,y\n", "has no rows"),
        ("a.csv", "x,y\n1\n", "line 2: found 1 cell; expected 2"),
        ("a.csv", "x,x\n1,2\n", "has the column 'x' twice"),
        ("a.csv", "name;x\na;0,5\n", "columns separated by semicolons; expected commas, and points in numbers"),
        ("a.csv", "name\tx\na\t1\n", "columns separated by tabs"),
        ("a.csv", "1,2\n3,4\n", "has the value '1' in its first line; expected a heading"),
        ("a.csv", "a.png,0.5\nb.png,0.7\n", "has the value '0.5' in its first line"),
        ("a.csv", 'x,y\n1,"abc\n2,d\n', "is not a valid CSV file: .*quote that is not closed"),
        ("a.jsonl", '{"x": 1, "x": 2}\n', "line 1 is not JSON: a name is in it twice"),
        ("a.jsonl", '{"x": 1}\n{"x": \n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not an object"),
    ],
)
def test_file_iv(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(write(tmp_path, name, text), "scores")


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-Infinity", "", "good", "1_000", "1e60", "0x10"])
def test_number_iv(tmp_path: Path, cell: str) -> None:
    table = read_rows(write(tmp_path, "a.csv", f"x,y\n1,a\n{cell},b\n"), "scores")
    with pytest.raises(InputError, match="line 3: column 'x' has .*; expected a finite number"):
        table.numbers("x")


@pytest.mark.parametrize("cell", ["null", '"text"', "[1]", "{}", "NaN", "Infinity", "1" + "0" * 400, "9" * 5000])
def test_number_in_jsonl_iv(tmp_path: Path, cell: str) -> None:
    table = read_rows(write(tmp_path, "a.jsonl", '{"x": 1}\n{"x": ' + cell + "}\n"), "scores")
    with pytest.raises(InputError, match="line 2: column 'x' has"):
        table.numbers("x")


def test_column_iv(tmp_path: Path) -> None:
    table = read_rows(write(tmp_path, "a.csv", "hps,file,group\n1,a,\n2,a,b\n"), "scores")
    with pytest.raises(InputError, match=r"no column 'hpss'\. Did you mean 'hps'\? Available: hps, file, group"):
        table.numbers("hpss")
    with pytest.raises(InputError, match="the id 'a' of column 'file' is in line 2 and in line 3"):
        table.ids("file")
    with pytest.raises(InputError, match="line 2: column 'group' is empty"):
        table.texts("group")


def test_missing_files_and_bytes_iv(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_rows(tmp_path / "none.csv", "scores")
    (tmp_path / "bad.csv").write_bytes(b"x\n\xff\xfe\n")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_rows(tmp_path / "bad.csv", "scores")
