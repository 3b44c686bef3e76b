import csv
import datetime
import gzip
import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalsuite.errors import CaseTableError, InputError
from evalsuite.testset import table
from evalsuite.testset.table import cell_text, read_table, row_list, suggest


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "cases.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_cells_stay_as_written(tmp_path):
    frame = read_table(write(tmp_path, "case_id,x,y\n001,1.0,NA\n002,, nan \n003,true,1e3\n"))
    assert frame.to_dict("list") == {
        "case_id": ["001", "002", "003"],
        "x": ["1.0", "", "true"],
        "y": ["NA", " nan ", "1e3"],
    }


def test_quotes_line_ends_byte_order_mark_and_empty_lines(tmp_path):
    frame = read_table(write(tmp_path, '\ufeffa,b\r\n"x, ""y""\nz",2\r\n\r\n3,4\r\n'))
    assert frame.to_dict("list") == {"a": ['x, "y"\nz', "3"], "b": ["2", "4"]}


def _awkward_rows(rows):
    """Rows with quotes, line ends and separators in cells, and cells longer than a small block."""
    rng = random.Random(3)
    parts = ["plain", "", " ", 'a "quoted" word', "two\nlines", "co,mma", "é√", 'middle"quote', "x" * 700]
    return [[str(i), *(rng.choice(parts[: 9 if i % 50 == 0 else 8]) for _ in range(3))] for i in range(rows)]


def test_a_table_reads_the_same_in_blocks_of_any_size(tmp_path, monkeypatch):
    rows = _awkward_rows(400)
    text = io.StringIO()
    csv.writer(text).writerows([["id", "a", "b", "c"], *rows])
    path = write(tmp_path, text.getvalue())
    for block in (40, 256, 1000, 1 << 20):
        monkeypatch.setattr(table, "_BLOCK", block)
        assert read_table(path).to_numpy().tolist() == rows
    lines = ["id,a", *(f"{i},x" for i in range(300)), "300,x,y", *(f"{i},x" for i in range(300, 400)), "z"]
    said = set()
    for block in (64, 1 << 20):
        monkeypatch.setattr(table, "_BLOCK", block)
        with pytest.raises(CaseTableError) as e:
            read_table(write(tmp_path, "\n".join(lines)))
        said.add((e.value.message, tuple(map(str, e.value.problems))))
    assert len(said) == 1
    assert "3 cells where the header has 2 @ row 302" in str(said)


def test_a_table_larger_than_one_block(tmp_path):
    n = 120_000
    frame = read_table(write(tmp_path, "a,b\n" + "".join(f"{i},text {i} {'x' * 20}\n" for i in range(n))))
    assert len(frame) == n
    assert frame["b"].iloc[-1].startswith(f"text {n - 1} ")


def test_gzip_and_wrong_extension(tmp_path):
    path = tmp_path / "cases.parquet"
    path.write_bytes(gzip.compress(b"a\n1\n"))
    assert read_table(path)["a"].tolist() == ["1"]
    path.write_bytes(gzip.compress(b"a\n1\n")[:-6])
    with pytest.raises(CaseTableError, match="gzip"):
        read_table(path)


def test_header_without_rows(tmp_path):
    frame = read_table(write(tmp_path, "a,b\n"))
    assert list(frame.columns) == ["a", "b"]
    assert len(frame) == 0


def test_ragged_rows_are_all_named_and_their_cells_are_not(tmp_path):
    with pytest.raises(CaseTableError) as error:
        read_table(write(tmp_path, "a,b\n1,2\nDOE\n4,5,JANE\n7,8\n"))
    assert [p.where for p in error.value.problems] == ["row 3", "row 4"]
    assert "DOE" not in str(error.value)
    assert "JANE" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a;b\n1;2\n", "semicolons"),
        ("a\tb\n1\t2\n", "tabs"),
        ("a,b,a\n1,2,3\n", "'a' occurs 2 times"),
        ("a,,b\n1,2,3\n", "without a name"),
        ('a,b\n"1,2\n', "header has 2"),
        ("a\0b\n", "neither CSV nor Parquet"),
    ],
)
def test_what_is_no_table(tmp_path, text, words):
    with pytest.raises(CaseTableError, match=words):
        read_table(write(tmp_path, text))


def test_other_encodings_name_the_line(tmp_path):
    with pytest.raises(CaseTableError, match=r"not UTF-8 text \(line 2\)"):
        read_table(write(tmp_path, "a\nMüller\n", encoding="latin-1"))


def test_absent_and_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.csv", error=InputError)
    with pytest.raises(CaseTableError, match="cannot be read"):
        read_table(tmp_path)


def test_parquet_cells_become_text(tmp_path):
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int64()),
            "f": pa.array([0.1, float("nan")], pa.float64()),
            "g": pa.array([0.1, None], pa.float32()),
            "b": pa.array([True, None]),
            "s": pa.array(["x", None]),
            "d": pa.array([datetime.date(2025, 3, 14), None]),
            "c": pa.array(["u", "v"]).dictionary_encode(),
            "n": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "t.csv")  # told by content
    assert read_table(tmp_path / "t.csv").to_dict("list") == {
        "i": ["1", ""],
        "f": ["0.1", ""],
        "g": ["0.1", ""],
        "b": ["true", ""],
        "s": ["x", ""],
        "d": ["2025-03-14", ""],
        "c": ["u", "v"],
        "n": ["", ""],
    }


def test_parquet_numbers_read_back_equal(tmp_path):
    values = np.random.default_rng(0).normal(size=200)
    pq.write_table(pa.table({"x": values}), tmp_path / "t.parquet")
    assert [float(x) for x in read_table(tmp_path / "t.parquet")["x"]] == values.tolist()


def test_damaged_parquet_and_columns_without_text_form(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [[1, 2]], "b": [b"x"], "c": [1]}), path)
    with pytest.raises(CaseTableError) as error:
        read_table(path)
    assert len(error.value.problems) == 2
    data = path.read_bytes()
    for cut in (4, 20, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(CaseTableError, match="damaged"):
            read_table(path)


def test_random_bytes_are_a_typed_error_or_a_table(tmp_path):
    path = tmp_path / "x"
    for seed in range(200):
        rng = random.Random(seed)
        path.write_bytes(rng.choice([b"", b"PAR1", b"a,b\n", b"\x1f\x8b"]) + rng.randbytes(rng.randrange(60)))
        try:
            read_table(path)
        except CaseTableError:
            continue


def test_small_helpers():
    assert suggest("patientid", ["patient_id", "x"]) == "did you mean 'patient_id'?"
    assert suggest("zzz", ["a"]) == ""
    assert row_list([0]) == "row 2"
    assert row_list(list(range(14))).endswith("13 and 2 more")
    assert cell_text(1e300) == "1e+300"
    assert cell_text(False) == "false"
