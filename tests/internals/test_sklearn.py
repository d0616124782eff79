"""Tables that scikit-learn ships are read as it reads them."""

import numpy as np
import pytest

from hybridlit.data.scikit import DATASETS
from hybridlit.internals.sklearn import shipped_table

datasets = pytest.importorskip("sklearn.datasets", reason="recipes extra")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_shipped_table(name):
    found = shipped_table(name)
    if name == "diabetes":  # which scikit-learn scales
        assert found is None
        return
    expected = getattr(datasets, DATASETS[name])(return_X_y=True)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_another_table_is_left_to_scikit_learn(monkeypatch):
    monkeypatch.setattr(np, "loadtxt", lambda *_, **__: np.zeros((3, 2)))
    assert shipped_table("digits") is None
