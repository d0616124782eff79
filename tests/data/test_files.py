"""Tables from files: what is read, and one clear sentence for what is none."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pd = pytest.importorskip("pandas", reason="data extra")

from hybridlit import TableDataModule  # noqa: E402
from hybridlit.data.files import FORMATS, as_frame, read_table  # noqa: E402

SECRET = "Zebra"  # of every broken file: no message may hold what stands in a cell


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        return path

    return write


ROWS = [["name", "size", "town"], ["a", "1.5", "Bonn, Rhein"], ["b", "2.5", 'the "old" one']]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_of_any_separator(write, separator, bom, end):
    lines = [[f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in row] for row in ROWS]
    text = "".join(separator.join(line) + end for line in lines)
    frame = read_table(write(bom + text.encode()))
    assert frame.columns.tolist() == ROWS[0]
    assert frame["size"].tolist() == [1.5, 2.5]
    assert frame["town"].tolist() == ["Bonn, Rhein", 'the "old" one']


def test_the_separator_is_the_one_that_all_lines_share(write):
    frame = read_table(write("weight (kg, dry);height\n1;2\n3;4\n"))
    assert frame.columns.tolist() == ["weight (kg, dry)", "height"]
    assert read_table(write("alone\n1\n2\n")).columns.tolist() == ["alone"]


@pytest.mark.slow
def test_more_columns_than_fit_a_screen(write):
    names = [f"a long name of column {number}" for number in range(8000)]
    frame = read_table(write(",".join(names) + "\n" + ",".join("1" * 8000) + "\n"))
    assert frame.columns.tolist() == names and (frame == 1).all(axis=None)


def test_decimal_commas_are_read_and_told(write):
    path = write("a;b;c\n1,5;1;x\n2.250;;y\n".replace("2.250", "2,250"))
    with pytest.warns(UserWarning, match="decimal commas are read in 'a' of .*table.csv"):
        frame = read_table(path)
    assert frame["a"].tolist() == [1.5, 2.25]
    with pytest.raises(ValueError, match="commas in those of 'a' that may be decimal commas or"):
        read_table(write("a;b\n1,500;1\n2,250;2\n"))


def test_none_is_missing_among_numbers_and_yes_or_no_and_else_a_word(write):
    lines = ["a,b,c,d", "1,None,True,NA", "None,NA,None,x", "3,y,False,x"]
    frame = read_table(write("\n".join(lines)))
    assert frame.isna().to_numpy().tolist() == [[0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert frame["b"][0] == "None" and frame["a"].dtype == float and frame["c"][2] is False


def test_integers_that_a_number_would_change_stay_text(write):
    path = write("zip,key,x,y\n01234 ,9007199254740993,1.05,1e-05\n90210,,0.5,-0.07\n,1,2,0\n")
    frame = read_table(path)
    assert frame["zip"].tolist()[:2] == ["01234", "90210"] and frame["zip"].isna()[2]
    assert frame["key"][0] == "9007199254740993" and frame["key"].isna()[1]
    assert (frame.dtypes[["x", "y"]] == "float64").all()
    data = TableDataModule(
        {"x": [1.0, 2, 3, 4] * 5, "n": ["07", "10", "8", "9"] * 5, "y": ["00", "01"] * 10}, "y"
    )
    assert data.preprocessing.targets.classes == ["00", "01"] and data.num_features == 2


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("above", [0, 2])
def test_blank_lines_of_one_column_are_missing_values(write, end, above):
    """As pandas and others write a column, so that predictions stand beside their rows."""
    lines = [""] * above + ["size", "1.5", "", "  ", "4.5", '""', "", "2.5"]
    frame = read_table(write(end.join(lines) + end))
    gap = np.nan
    np.testing.assert_array_equal(frame["size"], [1.5, gap, gap, 4.5, gap, gap, 2.5])
    words = read_table(write(end.join(["", "town", "a", "", "None"])))
    assert words["town"].isna().tolist() == [False, True, False]
    several = read_table(write(end.join(["", "a,b", "1,2", "", "  ", "3,", "", ""])))
    assert several["a"].tolist() == [1, 3]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_lines_of_too_few_cells_are_refused_and_counted(write, separator):
    whole = ["a,b,c", '1,"two', 'lines",3', "", "   ", "4,5,", ",,"]
    text = "\n".join(whole).replace(",", separator)
    assert read_table(write(text + "\n"))["c"].isna().tolist() == [False, True, True]
    text = "\n".join([*whole, "Zebra,1", "4,5,6", "Zebra", '""']).replace(",", separator)
    words = "names in the first, 3, got fewer in 3 lines of .*, the first of them line 8: write"
    with pytest.raises(ValueError, match=words) as refusal:
        read_table(write(text))
    assert SECRET not in str(refusal.value)
    with pytest.raises(ValueError, match=r"in 1 line of .* line 3: "):
        read_table(write(f"a{separator}b\n1{separator}2\n{separator.join('1')}"))


def test_large_cells_are_counted_like_others(write):
    lines = ["a,b", *["1,2"] * 250, "x" * 200_000 + ","]
    assert len(read_table(write("\n".join(lines)))) == 251
    with pytest.raises(ValueError, match=r"in 1 line of .* line 253: "):
        read_table(write("\n".join([*lines, "1"])))


@pytest.mark.parametrize("kind", ["parquet", "npz", "tsv"])
def test_other_files(tmp_path, kind):
    path = tmp_path / f"table.{kind.upper() if kind == 'tsv' else kind}"
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.array(["a", "b", "a"])
    frame = pd.DataFrame({"x_0": x[:, 0], "x_1": x[:, 1], "y": y})
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="data extra")
        frame.index = pd.Index([7, 8, 9], name="row")
        frame.to_parquet(path)
    elif kind == "npz":
        np.savez(path, x=x, y=y)
    else:
        frame.to_csv(path, sep="\t", index=False)
    found = read_table(path)
    if kind == "parquet":
        assert found.pop("row").tolist() == [7, 8, 9]
    assert found.columns.tolist() == ["x_0", "x_1", "y"] and found["y"].tolist() == y.tolist()
    np.testing.assert_array_equal(found[["x_0", "x_1"]], x)


def test_an_index_without_a_name_is_no_column(tmp_path):
    pytest.importorskip("pyarrow", reason="data extra")
    frame = pd.DataFrame({"x": [1, 2, 3], "x.1": [4, 5, 6]}, index=[5, 3, 1])
    frame.to_parquet(tmp_path / "table.parquet")
    found = read_table(tmp_path / "table.parquet")
    assert found.columns.tolist() == ["x", "x.1"] and found["x"].tolist() == [1, 2, 3]


BROKEN = {
    "empty": (b"", "holds? a table, got .*, which is empty|must hold a table.*empty"),
    "blank lines": (b"\n\n\n", "which is empty"),
    "only a header": (b"a,b\n", "must have rows, got none below 'a' and 'b'"),
    "no header": (b"1.5,2\n3,4\n", "must hold the names of the 2 columns, got numbers"),
    "no header with a word": (b"1,0,1,Zebra\n3,4,5,Zebra\n", "names of the 4 columns, got numbers"),
    "the same name twice": (b"a,b,a\n1,2,Zebra\n", "several of 'a'"),
    "a column without a name": (b",b\n1,Zebra\n", "got none for column 1"),
    "too many cells": (b"a,b\nZebra,1\nZebra,1,2\n", "got more in a line of"),
    "too many cells at once": (b"a,b\nZebra,1,2\nZebra,1,2\n", "got more in a line of"),
    "a quote without an end": (b'a,b\nZebra,"1\nZebra,2\n', "a quote without an end"),
    "a long quote without an end": (b'a,b\n"' + b"Zebra\n" * 40_000, "a quote without an end"),
    "a title": (b"Table of animals\na,b\nZebra,1\n", "got more in a line of"),
    "latin-1": ("a,b\nZebraß,1\n".encode("latin-1"), "UTF-8, got .* at byte 9: .*iconv"),
    "utf-16": ("a,b\nZebra,1\n".encode("utf-16"), "UTF-8, got .* in UTF-16"),
    "binary": (b"Zebra\0\1\2", "which is no text"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_table_is_said_in_one_sentence(write, case):
    content, words = BROKEN[case]
    with pytest.raises(ValueError, match=words) as refusal:
        read_table(write(content))
    assert SECRET not in str(refusal.value) and "\n" not in str(refusal.value)


def test_other_paths(tmp_path, write):
    with pytest.raises(ValueError, match="must be a file, got the folder"):
        read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv', which is not there"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match=r"must be one of \.csv, .*\.npz, got .*table\.xlsx"):
        read_table(write(b"PK", "table.xlsx"))
    for name in ("table.parquet", "table.npz"):
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow", reason="data extra")
        with pytest.raises(ValueError, match="must hold") as refusal:
            read_table(write(b"Zebra" * 100, name))
        assert SECRET not in str(refusal.value)
    np.savez(tmp_path / "images.npz", x=np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match=r"'x' of shape \(2, 3, 3\)"):
        read_table(tmp_path / "images.npz")
    np.savez(tmp_path / "uneven.npz", x=np.zeros(2), y=np.zeros(3))
    with pytest.raises(ValueError, match="columns of one length"):
        read_table(tmp_path / "uneven.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}, []], dtype=object))
    with pytest.raises(ValueError, match="holds Python objects"):
        read_table(tmp_path / "objects.npz")
    assert all(end.startswith(".") for end in FORMATS)


@pytest.mark.parametrize("names", [["x", "x_1"], ["x_1", "x"]])
def test_an_array_called_like_a_column_of_another_is_refused(tmp_path, names):
    shapes = {"x": (3, 2), "x_1": 3}
    np.savez(tmp_path / "table.npz", **{name: np.zeros(shapes[name]) for name in names})
    with pytest.raises(ValueError, match=r"x_0, x_1 and so on, must name .* several of 'x_1'"):
        read_table(tmp_path / "table.npz")


@pytest.mark.parametrize("error", [MemoryError, PermissionError])
def test_an_archive_that_does_not_fit_or_open_is_not_called_broken(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    np.savez(tmp_path / "table.npz", x=np.zeros(3))
    monkeypatch.setattr(*((np, "load") if error is MemoryError else (Path, "open")), refuse)
    with pytest.raises(error):
        read_table(tmp_path / "table.npz")


def test_what_holds_rows_in_memory():
    columns = {"a": [1, 2], "b": ["x", "y"]}
    frame = pd.DataFrame(columns)
    for rows in (frame, columns, frame.to_dict("records"), [[1, "x"], [2, "y"]]):
        found = as_frame(rows, ["a", "b"])
        assert found.columns.tolist() == ["a", "b"] and found["b"].tolist() == ["x", "y"]
    assert as_frame({"a": 1, "b": "x"}).shape == (1, 2)
    assert as_frame(torch.ones(4, 2), ["a", "b"]).shape == (4, 2)
    assert as_frame(pd.DataFrame(np.ones((2, 2)))).columns.tolist() == ["0", "1"]
    assert frame.columns.tolist() == ["a", "b"]  # what was given stays as it is


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (3, "must be a file, a pandas DataFrame or a dictionary of columns, got int"),
        (
            np.ones((2, 3)),
            r"\(rows, 2\), the columns 'a' and 'b' in this order, got \(2, 3\)",
        ),
        ({"a": [1, 2], "b": [1]}, "columns of one length"),
        ({"a": [], "b": []}, "must have rows, got none"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several of 'a'"),
        (pd.DataFrame([[1, 2]], columns=["a", " "]), "got none for column 2"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
    ],
)
def test_what_holds_none(rows, words):
    with pytest.raises((TypeError, ValueError), match=words):
        as_frame(rows, ["a", "b"])


def test_a_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r'pyarrow.*pip install "hybridlit\[data\]"'):
        read_table(tmp_path / "table.parquet")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pandas.*pip install "hybridlit\[data\]"'):
        TableDataModule({"a": [1, 2], "y": [1, 2]}, "y")
