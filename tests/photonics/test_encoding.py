import math

import numpy as np
import pytest

from hybridlit.photonics import CircuitType
from hybridlit.photonics.circuit import builders as encoding


def test_series_takes_single_features_then_means_of_subsets():
    third = 1 / 3
    np.testing.assert_array_equal(
        encoding.series(3, 8)[0],
        [
            [1, 0, 0],
            [0, 1, 0],
            [0, 0, 1],
            [0.5, 0.5, 0],
            [0.5, 0, 0.5],
            [0, 0.5, 0.5],
            [third, third, third],
            [0, 0, 0],
        ],
    )


def test_series_encodes_one_feature_at_all_harmonics():
    np.testing.assert_array_equal(encoding.series(1, 5)[0, :, 0], [1, 2, 3, 4, 0])


def test_series_leaves_modes_free_when_subsets_run_out():
    assert encoding.series(2, 9)[0].any(axis=1).sum() == 3


@pytest.mark.parametrize("features", [4, 5, 6, 7, 64])
@pytest.mark.parametrize("modes", [2, 3, 4, 5, 6])
def test_series_spreads_features_over_as_few_columns_as_hold_them(features, modes):
    encoded = encoding.series(features, modes)
    assert encoded.shape == (math.ceil(features / (modes - 1)), modes, features)
    alone = [row for row in encoded.reshape(-1, features) if np.count_nonzero(row) == 1]
    assert sorted(int(np.flatnonzero(row)[0]) for row in alone) == list(range(features))
    assert not encoded[:, -1].any()


def test_parallel_is_one_shifter_a_feature():
    encoded = encoding.parallel(3, 4)
    assert encoded.shape == (3, 4, 3)
    np.testing.assert_array_equal(encoded[:, 0], np.eye(3))
    assert not encoded[:, 1:].any()


def test_parallel_uploads_one_feature_again_and_again():
    np.testing.assert_array_equal(encoding.parallel(1, 4)[:, 0, 0], [1, 1, 1])


def test_parallel_columns_shift_every_mode_differently():
    encoded = encoding.parallel_columns(2, 3)
    np.testing.assert_array_equal(encoded[0], [[1, 0], [2, 0], [3, 0]])
    np.testing.assert_array_equal(encoded[1], [[0, 1], [0, 2], [0, 3]])


@pytest.mark.parametrize("rule", [kind.row for kind in CircuitType])
@pytest.mark.parametrize("features", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("modes", [2, 3, 4, 7])
def test_no_rule_leaves_a_feature_out(rule, features, modes):
    encoded = rule(features, modes)
    assert encoded.shape[1:] == (modes, features)
    encoding.explicit(encoded, modes)  # refuses features that change only a global phase


@pytest.mark.parametrize(
    "value,message",
    [
        ([[[1], [0, 1]]], "rows of equal length"),
        ("series", "nested list of numbers"),
        ([[1, 0]], r"shape \(columns, modes=2, features\), got \(1, 2\)"),
        ([[[1.0]] * 3], r"got \(1, 3, 1\)"),
        ([[[float("nan")], [0.0]]], "must be finite"),
        ([[[1.0, 1.0], [1.0, 0.0]]], r"feature\(s\) \[0\]"),
    ],
)
def test_explicit_encodings_are_checked(value, message):
    with pytest.raises(ValueError, match=message):
        encoding.explicit(value, 2)
