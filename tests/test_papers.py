"""Every paper runs, small, and says what the table of papers says it does."""

import math
import runpy
from pathlib import Path

import pytest
import torch

import hybridlit

PAPERS = Path(__file__).parents[1] / "recipes" / "papers"
SMALL = {
    "adversarial_digits": dict(epochs=1),
    "amplitude_limits": dict(sets=(1,), epochs=1),
    "data_reuploading": dict(layers=(1,), epochs=5),
    "fock_expressivity": dict(photons=(3,), epochs=5),
    "hqnn_spiral": dict(features=(5,), epochs=1, wanted=0.0),
    "nearest_centroids": dict(splits=1),
    "photonic_qcnn": dict(epochs=4),
    "qlstm": dict(hidden=2, epochs=2),
    "qorc": dict(modes=6, photons=(0, 2), test_fraction=0.9),
}
"""Arguments of each recipe's `main` with which it takes seconds."""

pytestmark = pytest.mark.filterwarnings("ignore")


def main_of(paper):
    return runpy.run_path(str(PAPERS / f"{paper}.py"))["main"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def run():
    return runpy.run_path(str(PAPERS / "run.py"))


def test_every_paper_is_tried(run):
    assert set(run["PAPERS"]) == set(SMALL)


def test_re_uploading_is_the_product_of_its_matrices(place):
    """Splitters (1, i; i, 1) / sqrt(2) and phases on mode 0, of a photon from mode 1 to 0."""
    paper = runpy.run_path(str(PAPERS / "data_reuploading.py"))
    model = paper["Reuploading"](2).double()
    x = torch.rand(7, 2, dtype=torch.float64)
    splitter = torch.tensor([[1, 1j], [1j, 1]], dtype=torch.complex128) / math.sqrt(2)
    a0, b0, a1, b1 = model.layer.phases.detach().expand(7, 4).T
    product = splitter.expand(7, 2, 2)
    for angle in (*(x * math.pi / 10).T, a0, b0, *(x * math.pi / 10).T, a1, b1):
        phase = torch.eye(2, dtype=torch.complex128).repeat(7, 1, 1)
        phase[:, 0, 0] = (1j * angle).exp()
        product = splitter @ phase @ product
    expected = product[:, 0, 1].abs().square()
    torch.testing.assert_close(model(x)[:, 0], expected, rtol=0, atol=1e-12)
    scores = paper["main"](**SMALL["data_reuploading"])
    assert 0.2 < scores["accuracy, 1 layers"] < 0.9
    assert list(place.iterdir()) == []  # nothing is written


@pytest.mark.slow
def test_three_layers_tell_circles_apart():
    scores = main_of("data_reuploading")(layers=(1, 3))
    assert scores["accuracy, 1 layers"] < 0.8 < 0.97 < scores["accuracy, 3 layers"]


@pytest.mark.slow
def test_photons_need_fewer_parameters_where_features_are_many():
    scores = main_of("hqnn_spiral")(features=(40,))
    numbers = [scores[f"{kind} parameters for 40 features"] for kind in ("photonic", "classical")]
    assert 3 * numbers[0] < numbers[1]


def test_three_photons_can_fit_a_series_of_degree_three():
    """What is beyond degree n stays as an error of n photons: 0.15 ** 2 a degree."""
    paper = runpy.run_path(str(PAPERS / "fock_expressivity.py"))
    x = torch.linspace(-math.pi, math.pi, 1001, dtype=torch.float64)[:-1, None]
    missed = [(paper["series"](x) - paper["series"](x, n)).square().mean() for n in (1, 2, 3)]
    assert [float(m) for m in missed] == pytest.approx([2 * 0.15**2, 0.15**2, 0])
    assert paper["main"](**SMALL["fock_expressivity"])["squared error, 3 photons"] < 0.05


def test_a_reservoir_adds_to_pixels():
    pytest.importorskip("mlxtend", reason="recipes extra")
    scores = main_of("qorc")(**SMALL["qorc"])
    assert 0.8 < scores["accuracy, 0 photons"] < scores["accuracy, 2 photons"] < 1


def test_an_lstm_of_interferometers_trains():
    scores = main_of("qlstm")(**SMALL["qlstm"])
    assert 0 < scores["test loss, photonic"] < 1


def test_the_smallest_models_of_spirals_are_tried_first():
    scores = main_of("hqnn_spiral")(**SMALL["hqnn_spiral"])
    # 5 factors, 2 interferometers of 3 cells with 2 phases, 3 x 3 weights and 3 biases
    assert scores["photonic parameters for 5 features"] == 5 + 2 * 3 * 2 + 9 + 3
    assert scores["classical parameters for 5 features"] == 5 * 2 + 2 + 2 * 3 + 3


def test_images_are_attacked_within_reach():
    pytest.importorskip("mlxtend", reason="recipes extra")
    paper = runpy.run_path(str(PAPERS / "adversarial_digits.py"))
    model, x, y = paper["Classifier"](4, 2, pixels=6), torch.rand(5, 1, 1, 6), torch.arange(5) % 2
    found = paper["attacked"](model, x, y, 0.1)
    assert found.min() >= 0 and found.max() <= 1 and (found - x).abs().max() <= 0.1 + 1e-6
    loss = torch.nn.functional.cross_entropy
    assert loss(model(found), y) > loss(model(x), y)
    assert set(paper["main"](**SMALL["adversarial_digits"])) >= {"accuracy, attacked"}


def test_amplitude_encoding_forgets_norm_and_sign():
    paper = runpy.run_path(str(PAPERS / "amplitude_limits.py"))
    model, x = paper["Encoded"]("amplitudes").double(), torch.randn(9, 2, dtype=torch.float64)
    torch.testing.assert_close(model(x), model(-2.5 * x), rtol=0, atol=1e-12)
    scores = paper["main"](**SMALL["amplitude_limits"])
    assert scores["loss, set 1 in amplitudes"] > math.log(2) - 0.02


def test_the_photon_comes_back_by_the_squared_cosine():
    pytest.importorskip("mlxtend", reason="recipes extra")
    paper = runpy.run_path(str(PAPERS / "nearest_centroids.py"))
    rows = torch.rand(6, 8, dtype=torch.float64)
    rows[0, 1:] = 0  # a single feature leaves angles open
    kernel = hybridlit.FidelityKernel(paper["loader"](8))(paper["angles"](rows))
    directions = torch.nn.functional.normalize(rows)
    torch.testing.assert_close(kernel, (directions @ directions.T) ** 2, rtol=0, atol=1e-12)
    scores = paper["main"](**SMALL["nearest_centroids"])
    assert len(scores) == 8 and scores["digits 0, 1, photonic"] > 0.97


def pooled(image):
    """Measure every other row, by hand: branches (..., rows / 2 + 1, rows / 2, columns)."""
    kept, found = image.unflatten(-2, (-1, 2)).unbind(-2)
    injected = torch.diag_embed(found.mT, dim1=-3, dim2=-2)  # where the photon was found
    return torch.cat([kept.unsqueeze(-3), injected], -3)


@pytest.mark.parametrize("added", [0, 2])
def test_a_photonic_convolution_pools_by_measurement(added):
    paper = runpy.run_path(str(PAPERS / "photonic_qcnn.py"))
    model = paper["PhotonicCNN"](4, added).double()
    images = torch.randn(3, 4, 4, dtype=torch.float64)
    row, column = (
        torch.block_diag(*[turn] * 2)
        for turn in (model.pool.layer.unitary(1)[0, k : k + 2, k : k + 2] for k in (0, 4))
    )
    directions = images / images.flatten(1).norm(dim=1)[:, None, None]
    branches = pooled(pooled(row @ directions.to(row) @ column.mT).mT).mT.flatten(1, 2)
    space = model.dense.input_space
    state = branches.new_zeros(*branches.shape[:2], space.size)
    state[:, :, paper["places"](space, 2)] = branches
    expected = 66 * model.dense.probabilities(state=state).sum(1) @ model.clicks.double()
    outputs = model(images)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-11)
    outputs.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in model.pool.parameters())


@pytest.mark.slow
def test_a_photonic_convolution_tells_digits_apart():
    scores = main_of("photonic_qcnn")(**SMALL["photonic_qcnn"])
    assert scores["accuracy, digits"] > 0.8 and scores["accuracy, bars and stripes"] > 0.7


def test_lines_are_counted_without_the_docstring(run, place):
    file = place / "short.py"
    file.write_text('"""Words.\n\nMore words.\n"""\n\nimport math\n\nprint(math.pi)\n')
    assert run["lines_of_code"](file) == 2


def test_the_table_has_every_recipe_and_every_paper(run):
    text = (PAPERS / "README.md").read_text()
    for paper in run["PAPERS"]:
        assert f"[`{paper}`]({paper}.py)" in text
