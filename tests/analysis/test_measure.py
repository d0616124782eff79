"""The score of each row, by hand, and outputs that are exchanged between rows."""

import pytest
import torch

from hybridlit import ArrayDataModule, SequentialHybrid
from hybridlit.analysis.ablation.measure import Bench, Measure
from hybridlit.analysis.ablation.parts import part_means
from hybridlit.analysis.ablation.posthoc import Trained, _permutation


def rows_of(task, outputs, targets):
    model = SequentialHybrid(
        input_dim=3, quantum_dim=2, output_dim=len(outputs[0]), task=task, n_modes=4, n_photons=1
    )
    return Measure(model).rows(model, torch.tensor(outputs), torch.tensor(targets)).tolist()


def test_the_largest_output_names_the_class():
    outputs = [[0.1, 3.0, -1.0], [2.0, 1.0, 0.0], [-3.0, -2.0, -1.0]]
    assert rows_of("multiclass", outputs, [1, 1, 2]) == [1.0, 0.0, 1.0]


def test_a_label_is_yes_from_a_logit_of_zero_on():
    outputs = [[0.2], [-0.2], [3.0], [-3.0]]
    assert rows_of("binary", outputs, [[1.0], [0.0], [0.0], [1.0]]) == [1.0, 1.0, 0.0, 0.0]


def test_each_output_is_explained_relative_to_its_own_variance():
    targets = [[0.0, 100.0], [2.0, 300.0]]  # variances 1 and 10,000, around means far apart
    outputs = [[0.5, 100.0], [2.0, 200.0]]
    assert rows_of("regression", outputs, targets) == pytest.approx(
        [(1 - 0.5**2 / 1 + 1) / 2, (1 + 1 - 100.0**2 / 100.0**2) / 2]
    )


def test_outputs_are_exchanged_over_all_batches():
    model = SequentialHybrid(input_dim=3, quantum_dim=2, output_dim=3, n_modes=4, n_photons=1)
    measure, x = Measure(model), torch.randn(10, 3)
    batches = [(x[i : i + 4], torch.zeros(len(x[i : i + 4])).long()) for i in (0, 4, 8)]
    own, _ = measure.outputs(model, batches)
    trained = Trained(model, Bench(measure, None, batches, 0), permutations=5, draws=1)
    runs = _permutation(trained, model.classical_post, torch.zeros(3))
    drawn = [run.outputs.tolist() for run in runs]
    assert all(sorted(rows) == sorted(own.tolist()) for rows in drawn)  # each row's output once
    assert len({str(rows) for rows in drawn}) == 5


def test_mean_outputs_are_means_over_rows():
    """15 training rows in batches of 4, the last one of 3."""
    model = SequentialHybrid(input_dim=3, quantum_dim=2, output_dim=3, n_modes=4, n_photons=1)
    data = ArrayDataModule(torch.randn(25, 3), torch.arange(25) % 3, batch_size=4)
    assert len(data.train[0]) == 15
    part = model.quantum_layer
    means, reasons = part_means(model, Bench(Measure(model), data, (), 0), {"quantum_layer": part})
    with torch.no_grad():
        expected = part(model.eval().classical_pre(data.train[0])).mean(0)
    assert reasons == {}
    torch.testing.assert_close(means["quantum_layer"].float(), expected)
