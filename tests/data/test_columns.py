"""What columns hold, and how raw rows of a table become what a model takes."""

import datetime
from decimal import Decimal

import numpy as np
import pytest
import torch

pd = pytest.importorskip("pandas", reason="data extra")

from hybridlit.data.columns import KINDS, Column, ColumnFacts, describe_table, kind_of  # noqa: E402
from hybridlit.data.files import read_table  # noqa: E402
from hybridlit.data.preprocessing import Preprocessing  # noqa: E402
from hybridlit.data.scaling import Scaler  # noqa: E402
from hybridlit.data.table_inputs import TableInputs  # noqa: E402
from hybridlit.data.targets import Targets  # noqa: E402

MANY = [f"n{i}" for i in range(40)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, 2, None] * 10, "number"),
        ([1, 2, 1] * 10, "number"),
        (["1", " 2 ", "3.5e2"] * 10, "number"),
        ([Decimal("1.5"), Decimal(2)] * 10, "number"),
        (pd.array([1, None] * 10, dtype="Int64"), "number"),
        ([True, False] * 10, "boolean"),
        ([True, None, False] * 10, "boolean"),
        (pd.array([True, None] * 10, dtype="boolean"), "boolean"),
        (["Yes", "no ", None] * 10, "boolean"),
        (["TRUE", "False"] * 10, "boolean"),
        (["yes", "true"] * 10, "category"),
        (["a", "b", ""] * 10, "category"),
        (["1", "b", "c"] * 10, "category"),
        (pd.Categorical([1, 2] * 10), "category"),
        (pd.array(["a", None] * 10, dtype="string"), "category"),
        (["a", "b", "c", "d", "e"], "category"),
        (["1", "2", "c"] * 10, "mixed"),
        ([1, 2, "c"] * 10, "mixed"),
        (MANY, "text"),
        (pd.Categorical([f"n{i}" for i in range(300)] * 2), "text"),
        (pd.date_range("2020", periods=20), "date"),
        (["2020-01-02", "2021-02-03"] * 10, "date"),
        (["3.4.2020", "13.4.2021"] * 10, "date"),
        ([datetime.date(2020, 1, 2)] * 10, "date"),
        ([None, np.nan] * 10, "empty"),
        ([" ", ""] * 10, "empty"),
        ([[1], [2]] * 10, "other"),
        ([1j, 2.0] * 10, "other"),
        ([object(), 1] * 10, "other"),
    ],
)
def test_kinds(values, kind):
    assert kind_of(pd.Series(values))[0] == kind


def test_named_categories():
    assert kind_of(pd.Series([1, 2, 3] * 10), categorical=True)[0] == "category"
    assert kind_of(pd.Series(MANY), categorical=True)[0] == "category"
    assert kind_of(pd.Series(range(300)), categorical=True)[0] == "text"
    usable = {name for name, kind in KINDS.items() if kind.remedy is None}
    assert usable == {"number", "boolean", "category"}


def test_a_table_is_described_by_names_and_counts():
    frame = pd.DataFrame({"x": [1.0, None, 2.0], "list": [[1], [2], None], "t": ["a", " a", ""]})
    assert describe_table(frame) == [
        ColumnFacts("x", "number", 1, 2),
        ColumnFacts("list", "other", 1, 3),
        ColumnFacts("t", "category", 1, 1),
    ]


# --- fitted on training rows ----------------------------------------------------------------------

FRAME = pd.DataFrame(
    {
        "size": [1.0, 2.0, 3.0, None, 100.0],
        "town": ["b", "a", None, "b", "new"],
        "open": [True, False, True, None, True],
        "stars": [1, 2, 1, 1, 5],
    }
)
KINDS_OF = {"size": "number", "town": "category", "open": "boolean", "stars": "category"}


def fitted(missing="impute", scaling="standard", **options):
    options = {"ids": ["name"], "known": ["name", "target"], **options}
    return TableInputs.fit(FRAME[:4], np.arange(4), KINDS_OF, scaling, missing=missing, **options)


def test_what_columns_become():
    """By hand: the median 2 in the gap, mean 2, standard deviation 1 / sqrt(2)."""
    inputs = fitted()
    assert inputs.shape == (6,) and inputs.raw_names == list(FRAME.columns)
    raw = inputs.read(FRAME)
    assert raw.values.dtype == torch.float64
    expected = torch.tensor(
        [
            [-(2**0.5), 0, 1, 1, 1, 0],
            [0, 1, 0, 0, 0, 1],
            [2**0.5, 0, 1, 1, 1, 0],
            [0, 0, 1, 1, 1, 0],
            [98 * 2**0.5, 0, 0, 1, 0, 0],
        ]
    )
    torch.testing.assert_close(inputs(raw.values), expected)
    assert raw.values[4].tolist() == [100, -1, 1, -1] and raw.values[3, [0, 2]].isnan().all()
    assert raw.flags[:4] == [""] * 4
    assert raw.flags[4] == (
        "size far above the training rows; town of an unknown category; "
        "stars of an unknown category"
    )


@pytest.mark.parametrize("scaling", ["standard", "minmax", None])
def test_scaling_is_that_of_arrays(scaling):
    inputs = fitted(scaling=scaling)
    rows = torch.tensor([[1.0], [2.0], [3.0], [2.0]]).double()
    expected = Scaler.fit(rows, scaling)(rows).float()
    torch.testing.assert_close(inputs(inputs.read(FRAME[:4]).values)[:, :1], expected)


@pytest.mark.parametrize(
    "rows",
    [
        FRAME[["open", "stars", "town", "size"]],
        FRAME.to_dict("list"),
        FRAME.to_dict("records"),
        FRAME.to_numpy(),
        FRAME.astype({"town": "category", "stars": float, "size": object}),
        FRAME.astype({"town": "string", "stars": "string", "size": "string", "open": "boolean"}),
        FRAME.assign(open=["yes", "No", 1, None, "TRUE"], stars=["1", "2", 1.0, 1, "5"]),
        FRAME.convert_dtypes(),
    ],
    ids=range(8),
)
def test_the_same_rows_in_other_forms(rows):
    torch.testing.assert_close(
        fitted().read(rows).values, fitted().read(FRAME).values, equal_nan=True
    )


def test_arrow_strings_and_files(tmp_path):
    pytest.importorskip("pyarrow", reason="data extra")
    inputs = fitted()
    for end in ("csv", "parquet"):
        path = tmp_path / f"rows.{end}"
        FRAME.to_csv(path, index=False) if end == "csv" else FRAME.to_parquet(path)
        torch.testing.assert_close(
            inputs.read(path).values, inputs.read(FRAME).values, equal_nan=True
        )
    arrow = pd.read_parquet(path, dtype_backend="pyarrow")
    torch.testing.assert_close(inputs.read(arrow).values, inputs.read(FRAME).values, equal_nan=True)


def test_further_columns_are_left_out_and_told(recwarn):
    rows = FRAME.assign(name=MANY[:5], target=1)
    assert fitted().read(rows).ids == {"name": MANY[:5]}
    assert not recwarn
    with pytest.warns(UserWarning, match="no column of the training table: 'more' and 'other'"):
        assert fitted().read(FRAME.assign(more=1, other=2)).ids == {}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (FRAME.drop(columns=["town", "open"]), "got none of the name 'town' and 'open': add"),
        (FRAME.assign(size=["Zebra", 1, 2, 3, 4]), r"'size' must hold numbers, .* in 1 of 5 rows"),
        (FRAME.assign(size=1j), "'size' must hold numbers, got others in 5 of 5 rows"),
        (FRAME.assign(size=[[1]] * 5), "'size' must hold numbers, got others in 5 of 5 rows"),
        (FRAME.assign(open=["Zebra"] * 5), "'open' must hold yes or no, got others in 5 of 5"),
        (FRAME.assign(open=[2, 1, 0, 1, 3]), "'open' must hold yes or no, got others in 2 of 5"),
        (FRAME.assign(size=[np.inf, 1, 2, 3, -np.inf]), "infinite ones, 2 in 'size' of 5 rows"),
    ],
)
def test_what_is_no_row_like_the_training_rows(rows, words):
    with pytest.raises(ValueError, match=words) as refusal:
        fitted().read(rows)
    assert "Zebra" not in str(refusal.value)


def test_gaps_are_filled_only_if_that_was_asked_for():
    rows = FRAME[["size", "town", "open", "stars"]].assign(stars=[1, None, None, 1, 2])
    assert fitted().read(rows).flags[1] == "stars missing, as in no training row"
    with pytest.raises(ValueError, match="1 in 'size', 1 in 'town', 1 in 'open' and 2 in 'stars'"):
        fitted("error").read(rows)
    values = torch.tensor([[2.0, np.nan, 1.0, 0.0], [np.nan, 0.0, 1.0, 0.0]]).double()
    prepared = fitted("error")(values)
    assert prepared.isnan().tolist() == [[False, True, True, *[False] * 3], [True, *[False] * 5]]


def test_a_description_and_buffers_make_it_again(tmp_path):
    given = Preprocessing(fitted(), Targets(["y"], ["no", "yes"]))
    torch.save(given.state(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = Preprocessing.from_state(state)
    assert again.same_as(given) and given.same_as(again)
    raw = again.inputs.read(FRAME)
    assert torch.equal(again(raw.values), given(raw.values))
    assert raw.flags == given.inputs.read(FRAME).flags
    assert not Preprocessing(fitted(scaling="minmax"), given.targets).same_as(given)


def test_values_missing_everywhere_in_training():
    with pytest.raises(ValueError, match="'size' must have values in the training rows, got none"):
        TableInputs.fit(FRAME, np.array([3]), KINDS_OF, None, missing="impute")


@pytest.mark.parametrize("missing", ["impute", "error"])
def test_torch_export_follows_it(missing):
    inputs, batch = fitted(missing), torch.export.Dim("batch")
    values = fitted().read(FRAME).values.nan_to_num(1.0)
    values = inputs.read(FRAME).values if missing == "impute" else values
    program = torch.export.export(inputs, (values[:3],), dynamic_shapes=({0: batch},))
    assert torch.equal(program.module()(values), inputs(values))


@pytest.mark.slow
def test_onnx_follows_it(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    inputs = fitted().eval()
    values = inputs.read(FRAME).values
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        inputs,
        (values[:3],),
        tmp_path / "inputs.onnx",
        dynamo=True,
        dynamic_shapes=({0: batch},),
        opset_version=18,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "inputs.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: values.numpy()})
    np.testing.assert_allclose(found, inputs(values), rtol=1e-6)


def test_categories_are_known_where_a_file_makes_numbers_or_truths_of_them(tmp_path):
    # beside other words they are text, alone they are not
    column = Column("a", "category", ["007", "1.10", "FALSE", "other", "true"])
    (tmp_path / "new.csv").write_text("a,b,c\n7,TRUE,1.1\n7,false,7\n")
    frame = read_table(tmp_path / "new.csv")
    assert [column.numbers(frame[name])[0].tolist() for name in "abc"] == [[0, 0], [4, 2], [1, 0]]
    assert column.numbers(pd.Series(["1.10", "Other", "1.2"]))[0].tolist() == [1, -1, -1]
    both = Column("a", "category", ["1.1", "1.10"])  # as they stand before what they share
    assert both.numbers(pd.Series(["1.1", "1.10"]))[0].tolist() == [0, 1]
