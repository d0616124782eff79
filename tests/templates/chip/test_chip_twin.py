"""A twin finds the chip that was measured, says so, goes on where it was, and predicts raw rows."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import ChipDataModule, ChipTwin, SimulatedChip, load, split_parameters
from hybridlit.blocks import MatchedMLP
from hybridlit.callbacks import ExactResume, HybridCheckpoint
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.components import is_photonic, model_parts
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.course import Course
from hybridlit.templates.chip.likelihoods import LIKELIHOODS

CHIP = {"modes": 3, "seed": 1}
FIT = dict(find_epochs=30)


def fitted(make_trainer, callbacks=(), ckpt_path=None, max_epochs=60, **options):
    torch.manual_seed(0)
    data = ChipDataModule(simulated=CHIP, rows=250, batch_size=32)
    twin = ChipTwin(3, **FIT | options)
    trainer = make_trainer(list(callbacks), max_epochs=max_epochs, enable_checkpointing=True)
    trainer.fit(twin, data, ckpt_path=ckpt_path)
    return twin, data, trainer


def test_it_finds_the_chip_and_ends_by_itself(make_trainer, tmp_path):
    twin, data, trainer = fitted(make_trainer, [HybridCheckpoint(dirpath=tmp_path)])
    assert 30 < trainer.current_epoch < 60 and twin.course.converged
    assert trainer.callback_metrics["twin/misfit"] < 1.2
    settings, light = data.chip.settings(200, torch.Generator().manual_seed(5))
    exact = data.chip.measure(settings, light, noise=0.0)
    found = twin(torch.cat([settings, light], 1).float()).double()
    assert (found - exact).square().mean().sqrt() < 5e-4  # half of the noise of a measurement
    scores = trainer.test(twin, data, verbose=False)[0]
    assert scores["test/amplitude_fidelity"] > 0.9995 and scores["test/total_variation"] < 0.005
    reflected = {n: p for n, p in twin.named_parameters() if n == "quantum_layer.phases"}
    true = data.chip.true["quantum_layer.phases"]
    assert (reflected["quantum_layer.phases"] - true).abs().max() < 0.1
    # from the checkpoint alone, raw rows of a table
    again = load(next(tmp_path.glob("*.ckpt")))
    table = data.chip.table(5, 0.0, torch.Generator().manual_seed(6))
    rows = {n: column for n, column in table.items() if not n.startswith("out")}
    predicted = again.predict(rows)
    assert list(predicted.columns) == ["out0", "out1", "out2"]
    assert np.allclose(predicted.columns["out1"], table["out1"], atol=2e-3)


@pytest.mark.parametrize(
    ("measured", "seed"),
    [
        ("intensities", 0),
        pytest.param("coincidences", 1, marks=pytest.mark.slow),
        pytest.param("full_counts", 1, marks=pytest.mark.slow),
    ],
)
def test_it_finds_a_chip_by_counts(measured, seed, make_trainer):
    """The search goes by squares, the steps by what counts spread by; of two photons, too."""
    torch.manual_seed(seed)
    chip = {"modes": 3, "seed": seed, "measured": measured, "indistinguishability": 0.92}
    data = ChipDataModule(simulated=chip, rows=250, photons=1e4)
    twin = ChipTwin(3, measured=measured, likelihood="poisson", starts=1, **FIT)
    make_trainer(max_epochs=60).fit(twin, data)
    assert 0.8 < float(twin.course.misfit) < 1.2
    if measured != "intensities":
        assert float(twin.quantum_layer.overlap) == pytest.approx(0.92, abs=0.01)


def test_powers_are_no_counts(make_trainer):
    """With a variance of 1 at least, any model would fit powers: they are refused."""
    data = ChipDataModule(simulated=CHIP, rows=40)
    with pytest.raises(ValueError, match=r"must be counts .* got others in 72 of 72 numbers"):
        make_trainer(max_epochs=1).fit(ChipTwin(3, likelihood="poisson"), data)


def test_weights_of_rows_are_refused(make_trainer):
    inputs, light = ChipDataModule(simulated=CHIP, rows=40).train
    rows = TensorDataset(inputs, light, torch.ones(len(inputs)))
    with pytest.raises(ValueError, match="batches with weights: leave these out"):
        make_trainer(max_epochs=1).fit(ChipTwin(3), DataLoader(rows, 8))


class StopAfter(Callback):
    """Ends a run after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop |= trainer.current_epoch == self.epoch


@pytest.mark.parametrize("epoch", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_it_goes_on_where_it_was(epoch, make_trainer, tmp_path):
    """Amid a search and between two steps, bit for bit."""
    short = dict(find_epochs=3, starts=1, max_epochs=7)
    whole, *_ = fitted(make_trainer, [ExactResume()], **short)
    folder = HybridCheckpoint(dirpath=tmp_path, save_last=True)
    fitted(make_trainer, [ExactResume(), folder, StopAfter(epoch)], **short)
    resumed, *_ = fitted(make_trainer, [ExactResume()], ckpt_path=tmp_path / "last.ckpt", **short)
    for (name, one), other in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_it_says_that_it_has_not_converged(make_trainer):
    with pytest.warns(UserWarning, match="has not converged: a search takes 30 epochs"):
        fitted(make_trainer, max_epochs=1)


def test_a_search_in_vain_is_begun_anew():
    course = Course(10, 2, near_first=True)
    assert course.finding(9) and not course.finding(10)
    for _ in range(3):
        assert course.by_distance and not course.lost
        course.stepped(60.0, 0.3, 1e-3)
    assert course.lost and not course.by_distance
    course.begin(13)
    assert course.finding(22) and not course.lost and int(course.steps) == 0
    for _ in range(3):
        course.stepped(60.0, 0.3, 1e-3)
    assert not course.lost  # it was the last
    course.stepped(1.1, 1e-3, 1e-3)
    assert not course.settled and course.converged
    course.stepped(1.095, 1e-3, 1e-3)
    assert course.settled


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_missing_detector_does_not_count(name):
    loss = LIKELIHOODS[name].loss
    outputs = torch.tensor([[3.0, 5.0], [2.0, 4.0]], dtype=torch.float64, requires_grad=True)
    measured = torch.tensor([[4.0, torch.nan], [2.5, 3.0]], dtype=torch.float64)
    losses = [
        loss(outputs[r, c][None, None], measured[r, c][None, None])
        for r, c in ((0, 0), (1, 0), (1, 1))
    ]
    total = loss(outputs, measured)
    assert torch.allclose(total, torch.stack(losses).mean())
    total.backward()
    assert outputs.grad.isfinite().all() and outputs.grad[0, 1] == 0
    weighted = loss(outputs, measured, torch.tensor([0.0, 2.0]))
    assert torch.allclose(weighted, torch.stack(losses[1:]).mean())


def test_poissons_deviance_is_twice_the_log_likelihood_ratio():
    outputs, counts = torch.tensor([[3.0, 0.5]]), torch.tensor([[5.0, 0.0]])
    ratio = torch.distributions.Poisson(counts.clamp_min(1e-30)).log_prob(counts)
    ratio = ratio - torch.distributions.Poisson(outputs).log_prob(counts)
    assert torch.allclose(LIKELIHOODS["poisson"].losses(outputs, counts), 2 * ratio, atol=1e-5)


def test_the_chip_is_photonic_and_can_be_replaced():
    twin = ChipTwin(3)
    assert list(model_parts(twin)) == ["classical_pre", "quantum_layer"]
    assert is_photonic(twin.quantum_layer) and isinstance(twin.quantum_layer, ChipLayer)
    groups = split_parameters(twin)
    assert {n.partition(".")[0] for n in groups["photonic"]} == {"quantum_layer"}
    other = ChipTwin(3, quantum="mlp")
    assert isinstance(other.quantum_layer, MatchedMLP) and not split_parameters(other)["photonic"]
    assert other(torch.rand(2, 9)).shape == (2, 3)


def test_without_a_chip_it_trains_as_others_do(make_trainer):
    torch.manual_seed(0)
    data = ChipDataModule(simulated=CHIP, rows=60)
    other = ChipTwin(3, quantum="mlp", classical_lr=0.01)
    trainer = make_trainer(max_epochs=2)
    before = other.quantum_layer.output.weight.detach().clone()
    trainer.fit(other, data)
    assert not torch.equal(before, other.quantum_layer.output.weight)
    assert "train/amplitude_fidelity" in trainer.callback_metrics


def test_data_of_another_chip_are_refused(make_trainer):
    with pytest.raises(ValueError, match=r"4 modes and 12 heaters, and the data have 3 modes"):
        make_trainer().fit(ChipTwin(4), ChipDataModule(simulated=CHIP, rows=30))


def test_callbacks_that_train_components_in_turn_are_refused(make_trainer):
    trainer = make_trainer(callbacks=[AlternatingTraining()])
    with pytest.raises(ValueError, match=r"ChipTwin decides itself .* got AlternatingTraining"):
        trainer.fit(ChipTwin(3), ChipDataModule(simulated=CHIP, rows=30))


def test_a_chip_draws_what_its_seed_says():
    one, same, other = (SimulatedChip(4, seed=seed).true for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["classical_pre.offset"], other["classical_pre.offset"])
    assert set(one) == {name for name, _ in ChipTwin(4).named_parameters()}
    chip = SimulatedChip(4, seed=3)
    settings, light = chip.settings(4000, torch.Generator().manual_seed(0))
    noise = chip.measure(settings, light, 0.01) - chip.measure(settings, light, 0.0)
    assert noise.std().item() == pytest.approx(0.01, rel=0.05)
    counts = chip.measure(settings, 100 * light, counts=True)
    exact = chip.measure(settings, 100 * light, 0.0)
    assert ((counts - exact).square() / exact).mean().item() == pytest.approx(1.0, abs=0.05)


def test_it_is_programmed_within_its_limits():
    chip = SimulatedChip(3, seed=2)
    twin = ChipTwin(3, limits=[0.1, 1.2]).double()
    state = {name: value for name, value in chip.true.items() if name in twin.state_dict()}
    twin.load_state_dict(twin.state_dict() | state)
    unitary = torch.linalg.qr(torch.randn(3, 3, dtype=torch.complex128))[0]
    voltages, fidelity = twin.program(unitary)
    assert voltages.shape == (1, 6) and 0.1 <= voltages.min() and voltages.max() <= 1.2
    assert fidelity > 0.9999
    with pytest.raises(ValueError, match=r"limits must be .*got \[-1, 1\]"):
        ChipTwin(3, limits=[-1, 1])
    with pytest.raises(ValueError, match="needs its chip to be programmed, got quantum='mlp'"):
        ChipTwin(3, quantum="mlp").program(unitary)
    with pytest.raises(ValueError, match=r"each of the 6 phases, got shape \(1, 2\)"):
        ChipTwin(3, positions=[[0, 0]])
