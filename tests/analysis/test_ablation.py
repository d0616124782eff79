"""The study tells what is known of made-up problems, and leaves everything as it was."""

import json
import logging
import random
import re
import sys

import numpy as np
import pytest
import torch
from interference import CircuitReader, interference_problem
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from quiet_trainer import quiet
from small_studies import SMALL, Break, make_data, small_model, study
from third_party import Plain
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional import r2_score

from hybridlit import (
    ArrayDataModule,
    Experiment,
    HybridModule,
    ParallelBankHybrid,
    ParallelHybrid,
    QuantumLayer,
    ResidualHybrid,
    SequentialHybrid,
    mark_photonic,
)
from hybridlit.analysis.ablation import arms
from hybridlit.analysis.ablation.retraining import seeded

PHOTONIC = {
    SequentialHybrid: "quantum_layer",
    ParallelHybrid: "quantum_path",
    ResidualHybrid: "quantum_residual",
    ParallelBankHybrid: "quantum_layers",
}


class Foreign(SequentialHybrid):
    def __init__(self, **arguments):
        super().__init__(input_dim=5, quantum_dim=3, output_dim=3, **arguments)

    def build_quantum(self):
        return mark_photonic(Plain(self.hparams.quantum_dim))


class Muted(ParallelHybrid):
    def run_quantum(self, run, x):
        return 0.0 * super().run_quantum(run, x)


def make(cls, **changes):
    return Foreign(**changes) if cls is Foreign else small_model(cls, **changes)


def verdicts(found):
    retrained = {arm.name: arm.verdict for arm in found.retrained if arm.verdict}
    return retrained | {arm.replacement: arm.verdict for arm in found.posthoc}


# --- what it must show ----------------------------------------------------------------------------


def muted_is_neutral(seed):
    """A photonic output that is multiplied by 0 makes no difference."""
    torch.manual_seed(seed)
    model = make(Muted, classical_lr=0.03, quantum_lr=0.03, dropout=0.0)
    data = make_data(seed, rows=300, batch_size=60)
    quiet(max_epochs=15).fit(model, data)
    again = dict(retrained=["linear", "mlp", "untrained"], max_epochs=15)
    found = study(model, data, **again)
    return {arm.verdict for arm in found.retrained[1:]} == {"neutral"} and {
        arm.verdict for arm in found.posthoc
    } == {"does not rely on"}


def interference_helps(seed):
    """A target of interference alone: only the circuit that made it can learn it."""
    x, y, circuit = interference_problem(seed)
    split = dict(val_fraction=0.1, test_fraction=0.3)
    data = ArrayDataModule(x, y, scaling=None, batch_size=600, seed=seed, **split)
    torch.manual_seed(seed)
    model = CircuitReader(circuit, classical_lr=0.2)
    quiet(max_epochs=40).fit(model, data)
    again = dict(retrained=["linear", "distinguishable"], seeds=3, max_epochs=40, draws=1)
    found = study(model, data, **again)
    words = verdicts(found)
    return {words[name] for name in ("linear", "distinguishable")} == {"helps"} and {
        words[name] for name in ("mean", "permutation")
    } == {"relies on"}


def linear_is_enough(seed):
    """Two classes with a plane between them: a linear layer does as well as a photonic one."""
    generator = torch.Generator().manual_seed(seed)
    x, direction = torch.randn(1500, 4, generator=generator), torch.randn(4, generator=generator)
    side = x @ direction / direction.norm()
    apart = side.abs() > 0.3
    x, y = x[apart][:800], (side[apart][:800] > 0).long()
    data = ArrayDataModule(x, y, batch_size=400, seed=seed, val_fraction=0.1, test_fraction=0.5)
    torch.manual_seed(seed)
    # with the few ReLUs of the default widths, one initialisation in ten stays at chance
    options = dict(dropout=0.0, hidden_dim=16, head_dim=16, classical_lr=0.03, quantum_lr=0.03)
    model = SequentialHybrid(4, 2, 2, **SMALL, **options)
    again = dict(posthoc=False, retrained=["linear"], seeds=3, max_epochs=25, margin=0.02)
    return study(model, data, **again).arm("linear").verdict == "neutral"


CASES = [muted_is_neutral, interference_helps, linear_is_enough]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_known_is_found_in_four_of_five_seeds(case):
    """More of them, and more kinds, are in `python tests/verdicts.py`."""
    assert sum(case(seed) for seed in range(5)) >= 4


# --- nothing is left behind -----------------------------------------------------------------------


def snapshot(model, x):
    torch.manual_seed(7)
    with torch.no_grad():
        outputs = model(x)
    return [
        *(value.clone() for value in model.state_dict().values()),
        *(p.grad.clone() for p in model.parameters() if p.grad is not None),
        torch.tensor([p.requires_grad for p in model.parameters()]),
        torch.tensor([module.training for module in model.modules()]),
        torch.tensor([len(module._forward_hooks) for module in model.modules()]),
        outputs,
    ]


def random_states():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


class Interrupt(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        raise KeyboardInterrupt


def breaking(outputs, targets):
    raise OSError("no score")


@pytest.mark.slow
@pytest.mark.parametrize("cls", [*PHOTONIC, Foreign])
def test_the_model_is_left_as_it_was(cls):
    model, data = make(cls), make_data()
    trainer = quiet()
    trainer.fit(model, data)
    x = torch.randn(9, 5)
    model.train()
    model.loss(model(x), torch.zeros(9, dtype=torch.long)).backward()
    modules = dict(model.named_modules())
    model.eval()
    before, states = snapshot(model, x), random_states()
    arms = ["linear", "untrained", "distinguishable"]
    for changes, error in [
        ({}, None),
        (dict(score=breaking), OSError),
        (dict(posthoc=False, trainer_options=dict(callbacks=[Break()])), RuntimeError),
        (dict(posthoc=False, trainer_options=dict(callbacks=[Interrupt()])), KeyboardInterrupt),
    ]:
        if error is None:
            study(model, data, retrained=arms)
        else:
            with pytest.raises(error):
                study(model, data, retrained=arms, **changes)
        assert random_states() == states, error
        after = snapshot(model, x)
        assert len(after) == len(before) and all(map(torch.equal, after, before)), error
        assert dict(model.named_modules()) == modules
        assert model._trainer is trainer and data.trainer is trainer


# --- arms after training --------------------------------------------------------------------------


def fitted(cls, data, epochs=8, **changes):
    torch.manual_seed(0)
    model = make(cls, **changes)
    quiet(max_epochs=epochs).fit(model, data)
    return model


def test_zero_and_mean_by_hand():
    data = make_data()
    model = fitted(ParallelHybrid, data, fusion="sum").eval()
    found = study(model, data, retrained=False)
    x, y = data.test
    with torch.no_grad():
        hidden = model.classical_path(x)
        train = model.quantum_path(model.normalization(model.projection(data.train[0])))
        quantum = {"zero": torch.zeros(len(x), 16), "mean": train.mean(0).expand(len(x), -1)}
        own = (model(x).argmax(1) == y).double()
        for arm in found.posthoc[:2]:
            right = (model.fusion([hidden, quantum[arm.replacement]]).argmax(1) == y).double()
            assert arm.score == pytest.approx(float(right.mean()))
            assert arm.difference.mean == pytest.approx(float((own - right).mean()))
            assert (arm.part, arm.draws) == ("quantum_path", 1)
    assert found.score == pytest.approx(float(own.mean())) and found.test_rows == len(x)


def test_a_part_that_carries_everything_fails_when_permuted_or_drawn_anew():
    data = make_data(rows=400, batch_size=64)
    model = fitted(SequentialHybrid, data, 30, dropout=0.0, classical_lr=0.02)
    found = study(model, data, retrained=False, permutations=60, components=["quantum_layer"])
    assert set(verdicts(found).values()) == {"relies on"}  # which says nothing of its worth
    permuted = found.posthoc[2]
    assert permuted.permutation_p_value == pytest.approx(1 / 61) and permuted.draws == 60
    chance = torch.bincount(data.test[1]).double().square().sum() / len(data.test[1]) ** 2
    assert permuted.score == pytest.approx(float(chance), abs=0.1)
    assert all(arm.permutation_p_value is None for arm in found.posthoc if arm != permuted)


def test_the_permutation_p_value_of_noise_is_not_small():
    data = make_data(rows=300)
    torch.manual_seed(0)
    model = make(SequentialHybrid)  # not trained: its outputs say nothing about the classes
    found = study(model, data, retrained=False, permutations=60)
    assert found.posthoc[2].permutation_p_value > 0.02


def test_any_part_can_be_replaced():
    data = make_data()
    model = fitted(ParallelHybrid, data)
    found = study(model, data, retrained=False, components=["classical_path", "fusion"])
    assert [arm.part for arm in found.posthoc] == ["classical_path"] * 4 + ["fusion"] * 4
    again = study(model, data, retrained=False, components=["fusion"])
    assert [arm.score for arm in again.posthoc[:2]] == [arm.score for arm in found.posthoc[4:6]]


class Odd(SequentialHybrid):
    """Calls one part twice, another one never, and holds a third that cannot draw parameters."""

    def __init__(self, **arguments):
        super().__init__(input_dim=5, quantum_dim=2, output_dim=3, **arguments)
        self.twice, self.never = nn.Linear(5, 5), nn.Linear(5, 5)
        self.fixed = Plain(5)
        self.back = nn.Linear(4, 5)

    def forward(self, x):
        return super().forward(self.back(self.fixed(self.twice(self.twice(x)))))


def test_parts_that_cannot_be_replaced_are_left_out_with_a_reason():
    names = ["twice", "never", "fixed", "quantum_layer"]
    found = study(Odd(**SMALL), make_data(), retrained=False, components=names)
    assert found.left_out == {
        "twice": "it is called 2 times for each batch",
        "never": "it is not called in the forward pass",
        "fixed: reinitialised": "Plain has parameters and no reset_parameters() to draw them",
    }
    assert len(found.posthoc) == 3 + 4


def test_only_the_photonic_parameters_are_drawn_anew():
    model = make(SequentialHybrid)
    seen = []
    handle = model.quantum_layer.register_forward_hook(
        lambda layer, _, __: seen.append((layer.phases.clone(), layer.readout.weight.clone()))
    )
    study(model, make_data(batch_size=60), retrained=False, draws=2)
    handle.remove()
    (one, same), (other, again) = seen[-2:]
    assert not torch.allclose(one, other) and not torch.allclose(one, model.quantum_layer.phases)
    assert torch.equal(same, again) and torch.equal(same, model.quantum_layer.readout.weight)


def test_the_score_of_regression_is_r2():
    x = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    data = ArrayDataModule(x, x[:, :2] * x[:, 2:4], batch_size=30)
    torch.manual_seed(0)
    model = make(ParallelHybrid, output_dim=2, task="regression")
    found = study(model, data, retrained=["linear"])
    with torch.no_grad():
        wanted = r2_score(model.eval()(data.test[0]), data.test[1])
    assert found.metric == "r2" and found.score == pytest.approx(float(wanted), abs=1e-5)
    zero = found.posthoc[0].difference
    assert zero.low < zero.mean < zero.high


# --- arms trained again ---------------------------------------------------------------------------


def likelihood(outputs, targets):
    return outputs.log_softmax(-1).gather(1, targets[:, None])[:, 0]


def test_a_run_is_what_a_trainer_does(tmp_path):
    """Same seed, same epochs, and the checkpoint of the lowest validation loss."""
    data = make_data()
    rates = dict(classical_lr=0.1, quantum_lr=0.1, dropout=0.0)
    again = dict(seeds=[3, 4], max_epochs=10, posthoc=False, retrained=["linear"])
    found = study(make(SequentialHybrid, **rates), data, score=likelihood, **again)
    chosen = []
    for seed, score in zip((3, 4), found.arm("hybrid").scores, strict=True):
        seeded(seed)
        own = make(SequentialHybrid, **rates)
        seeded(seed)
        best = ModelCheckpoint(tmp_path / str(seed), monitor="val/loss")
        quiet(max_epochs=10, enable_checkpointing=True, callbacks=[best]).fit(own, data)
        kept = torch.load(best.best_model_path, weights_only=True)
        own.load_state_dict(kept["state_dict"])
        chosen.append(kept["epoch"])
        with torch.no_grad():
            wanted = likelihood(own.eval()(data.test[0]), data.test[1]).mean()
        assert score == pytest.approx(float(wanted), abs=1e-6)
    assert min(chosen) < 9  # so that the last weights would not have done


GROUPS = ("classical", "photonic")


@pytest.fixture
def trained_as(monkeypatch):
    """Optimizer settings of what stood in for the photonic layer, of every training in turn."""
    seen = []

    class Watched(SequentialHybrid):
        def on_train_end(self):
            own = {id(p) for p in self.quantum_layer.parameters()}
            for group in self.trainer.optimizers[0].param_groups:
                if own & {id(p) for p in group["params"]}:
                    seen.append((group["name"], group["lr"]))

    return Watched, seen


@pytest.mark.slow
def test_every_arm_has_the_settings_to_choose_from(trained_as):
    """The model's own, those of its classical parameters for all, those of its photonic ones."""
    cls, seen = trained_as
    slow, fast = 1e-6, 0.05
    rates = dict(classical_lr=slow, quantum_lr=fast, quantum_dim=2, dropout=0.0)
    data = make_data(rows=400, batch_size=32)
    arms = ["linear", "mlp", "random_features", "untrained"]
    found = study(make(cls, **rates), data, posthoc=False, retrained=arms, max_epochs=3)
    for arm in found.retrained:
        assert arm.rates == ("photonic", "photonic")
        assert len(arm.best_epochs) == 2 and all(1 <= epoch <= 3 for epoch in arm.best_epochs)
        assert (arm.photonic_parameters > 0) == (arm.name == "hybrid")
    pairs = [(slow, fast), (slow, slow), (fast, fast)]  # of the readout and of the phases
    hybrid = [(name, lr) for pair in pairs for name, lr in zip(GROUPS, pair, strict=True)]
    stand_in = [("photonic", fast), ("photonic", slow), ("photonic", fast)]
    readout = [("classical", slow), ("classical", fast)]
    assert seen == (hybrid + 3 * stand_in + readout) * 2
    assert "validation chose: hybrid photonic (2 of 2), linear" in found.to_markdown()


@pytest.mark.slow
def test_what_goes_around_the_photonic_layers_is_trained_at_both_rates():
    """What its small rate alone would keep from learning is no proof for the photons."""
    data = make_data(rows=400, batch_size=64)
    model = make(ParallelHybrid, classical_lr=1e-6, quantum_lr=0.03, dropout=0.0)
    again = dict(posthoc=False, retrained=["classical_only"], seeds=3, max_epochs=20)
    arm = study(model, data, **again).arm("classical_only")
    assert arm.rates == ("photonic",) * 3 and min(arm.scores) > 0.8
    assert arm.verdict != "helps"


@pytest.mark.slow
def test_a_rate_at_which_a_training_diverges_is_no_candidate():
    data = make_data()
    rates = dict(classical_lr=0.01, quantum_lr=1e29)
    again = dict(posthoc=False, retrained=["linear"], max_epochs=3)
    with pytest.warns(UserWarning, match="'hybrid' with the settings of own and photonic failed"):
        found = study(make(SequentialHybrid, head_dim=6, **rates), data, **again)
    assert {rate for arm in found.retrained for rate in arm.rates} == {"classical"}
    both = dict(classical_lr=1e29, quantum_lr=1e28)
    with pytest.raises(RuntimeError, match="arm 'hybrid' failed with seed 0: ValueError"):
        study(make(SequentialHybrid, **both), data, **again)


@pytest.mark.slow
def test_the_rate_is_chosen_by_validation_and_not_by_the_test():
    """By test labels that are all wrong, what has learned the training data is the worse."""
    data = make_data(rows=300, batch_size=32)
    data.setup("fit")
    x, y = data.test
    data.test = (x, (y + 1) % 3)
    data.setup = lambda stage=None: None
    again = dict(posthoc=False, retrained=["linear"], max_epochs=6, score=likelihood)
    rates = dict(classical_lr=1e-6, dropout=0.0)
    chosen = study(make(SequentialHybrid, quantum_lr=0.05, **rates), data, **again).arm("linear")
    slow = study(make(SequentialHybrid, quantum_lr=1e-6, **rates), data, **again).arm("linear")
    assert chosen.rates == ("photonic", "photonic")
    assert all(map(float.__lt__, chosen.scores, slow.scores))


def test_stand_ins_are_trained_once_where_there_is_nothing_to_choose(trained_as):
    cls, seen = trained_as
    again = dict(posthoc=False, retrained=["linear"])
    same = make(cls, quantum_dim=2, classical_lr=0.02, quantum_lr=0.02)
    found = study(same, make_data(), **again)
    assert found.arm("linear").rates == () and ("photonic", 0.02) in seen
    assert seen.count(("classical", 0.02)) == 4  # two readouts, two linear layers
    seen.clear()
    data = make_data(val_fraction=0.0)
    model = make(cls, quantum_dim=2, classical_lr=0.02, quantum_lr=0.03)
    found = study(model, data, **again)
    assert found.arm("linear").rates == ("classical", "classical")
    assert found.arm("linear").best_epochs == found.arm("linear").improving == ()
    assert seen == 2 * [("classical", 0.02), ("photonic", 0.03), ("photonic", 0.02)]
    assert "Without validations to choose" in found.conclusion


@pytest.mark.slow
def test_the_epoch_of_the_best_validation_is_told():
    """At a small rate, the validation loss falls to the end."""
    data = make_data(rows=200)
    again = dict(posthoc=False, retrained=["linear"], max_epochs=4)
    model = make(SequentialHybrid, classical_lr=1e-4, quantum_lr=1e-4, dropout=0.0)
    slow = study(model, data, **again)
    assert slow.arm("hybrid").best_epochs == (4, 4)
    assert "4 of 4 runs the last epoch was the best" in slow.conclusion
    assert "2 seeds, 4 epochs" in slow.to_markdown()


@pytest.mark.slow
@pytest.mark.parametrize("cls", PHOTONIC)
def test_the_arms_of_every_template(cls):
    found = study(make(cls), make_data(), posthoc=False)
    around = cls in (ParallelHybrid, ResidualHybrid)
    assert found.left_out == (
        {} if around else {"classical_only": "nothing goes around the photonic layers"}
    )
    arms = {arm.name: arm for arm in found.retrained}
    assert list(arms) == [
        "hybrid",
        *(["classical_only"] if around else []),
        "linear",
        "mlp",
        "random_features",
        "untrained",
        "distinguishable",
        "single_photon",
    ]
    full = arms["hybrid"]
    for name in ("classical_only", "linear", "mlp", "random_features", "untrained"):
        if name in arms:
            assert arms[name].photonic_parameters == 0 < full.photonic_parameters
    assert arms["untrained"].parameters == full.parameters - full.photonic_parameters
    assert arms["random_features"].parameters == arms["untrained"].parameters
    assert arms["distinguishable"].parameters == full.parameters
    assert arms["single_photon"].photonic_parameters == full.photonic_parameters
    assert arms["mlp"].parameters == pytest.approx(full.parameters, rel=0.03)
    assert all(
        arm.epochs == 1 and arm.seconds > 0 and len(arm.scores) == 2 for arm in arms.values()
    )


@pytest.mark.slow
def test_a_layer_of_another_library():
    found = study(make(Foreign), make_data())
    assert [arm.name for arm in found.retrained] == [
        "hybrid",
        "linear",
        "mlp",
        "random_features",
        "untrained",
    ]
    fixed = "Plain has parameters and no reset_parameters() to draw them"
    unknown = "what quantum_layer, a Plain, simulates is not known"
    assert found.left_out == {
        "classical_only": "nothing goes around the photonic layers",
        "distinguishable": unknown,
        "single_photon": unknown,
        "quantum_layer: reinitialised": fixed,
    }


@pytest.mark.slow
def test_seeds_may_have_splits_of_their_own():
    made = []

    def data_of(seed):
        made.append(seed)
        return make_data(seed)

    found = study(make(ParallelHybrid), data_of, retrained=["linear"], seeds=[5, 6, 7])
    assert found.splits_vary and set(made) == {5, 6, 7} and made[0] == 5
    assert "other splits" in found.conclusion
    one = study(make(ParallelHybrid), make_data(), retrained=["linear"], seeds=[5, 6, 7])
    assert not one.splits_vary and "not other training rows" in one.conclusion


@pytest.mark.slow
def test_intervals_over_splits_are_corrected_for_shared_rows():
    from hybridlit.analysis.statistics import interval

    found = study(make(SequentialHybrid), make_data, retrained=["linear"], posthoc=False, seeds=4)
    pairs = zip(found.arm("hybrid").scores, found.arm("linear").scores, strict=True)
    differences = [ours - theirs for ours, theirs in pairs]
    wanted = interval(differences, 12 / 36, 1 / (4 * 12 + 2))
    assert found.arm("linear").difference == wanted


@pytest.mark.slow
def test_a_stage_for_photonic_parameters_trains_what_stands_in_for_them():
    model = make(SequentialHybrid, stages=[["classical", 1], ["photonic", 1]])
    found = study(model, make_data(), posthoc=False, max_epochs=2)
    reason = "the training has a photonic stage, in which this arm has nothing to train"
    assert found.left_out["untrained"] == reason
    linear = found.arm("linear")
    assert linear.parameters > 0 == linear.photonic_parameters and len(linear.rates) == 2


class Own(LightningModule):
    """No template: everything that the study must know is an argument."""

    def __init__(self, circuit=None):
        super().__init__()
        experiment = Experiment("series", n_modes=4, n_photons=2)
        self.circuit = circuit or QuantumLayer(5, 3, experiment=experiment)

    def forward(self, x):
        return self.circuit(torch.sigmoid(x))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def test_any_lightning_module():
    arguments = dict(
        build=Own,
        score=likelihood,
        forward=lambda model, batch: (model(batch[0]), batch[1]),
        monitor=None,
    )
    found = study(Own(), make_data(), retrained=["mlp", "distinguishable"], **arguments)
    assert found.metric == "likelihood" and len(found.retrained) == 3 and len(found.posthoc) == 4
    for missing in ("build", "score", "forward"):
        with pytest.raises(TypeError, match=f"give {missing}="):
            study(Own(), make_data(), **{k: v for k, v in arguments.items() if k != missing})
    with pytest.raises(RuntimeError, match=r"'val/loss' never had a finite value"):
        study(Own(), make_data(), **(arguments | dict(monitor="val/loss")))


# --- what a sceptic asks --------------------------------------------------------------------------


def chance(seed=0, rows=200, **options):
    """Nine in ten rows are of one class, whatever the inputs are."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(rows, 5, generator=generator)
    y = (torch.rand(rows, generator=generator) < 0.1).long()
    return ArrayDataModule(x, y, **(dict(batch_size=100, seed=seed) | options))


@pytest.mark.slow
def test_models_that_learned_nothing_are_not_called_neutral():
    data = chance(rows=2000, test_fraction=0.6)
    model = make(ParallelHybrid, output_dim=2, classical_lr=0.01, quantum_lr=0.01)
    quiet(max_epochs=4).fit(model, data)
    found = study(model, data, retrained=["linear", "mlp"], max_epochs=4)
    share = float((data.test[1] == 0).double().mean())
    assert found.constant == pytest.approx(share)
    assert all(arm.scores == pytest.approx((share, share)) for arm in found.retrained)
    for arm in found.retrained[1:]:  # the difference is surely 0, and says nothing
        assert (arm.verdict, arm.reason) == ("inconclusive", "no better than a constant")
    assert {arm.verdict for arm in found.posthoc} == {"inconclusive"}
    assert found.conclusion.startswith("- No arm is surely better than a")
    assert f"constant answer  {share:.3f}" in str(found)
    assert "No need for" not in found.conclusion


def test_the_constant_answer_of_each_task():
    x = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    data = ArrayDataModule(x, x[:, :2] ** 2 + 3, batch_size=30)
    model = make(ParallelHybrid, output_dim=2, task="regression")
    found = study(model, data, retrained=False)
    mean = data.train[1].mean(0).expand(len(data.test[1]), -1)
    assert found.constant == pytest.approx(float(r2_score(mean, data.test[1])), abs=1e-5)
    binary = ArrayDataModule(x, (x[:, 0] > 0.8).float(), batch_size=30)
    found = study(make(ParallelHybrid, output_dim=1, task="binary"), binary, retrained=False)
    assert found.constant == pytest.approx(float((binary.test[1] == 0).double().mean()))
    found = study(make(SequentialHybrid), make_data(), retrained=False, score=likelihood)
    counts = (torch.bincount(make_data().train[1]) + 1.0).log().log_softmax(0)
    assert found.constant == pytest.approx(float(counts[make_data().test[1]].mean()), abs=1e-6)


@pytest.mark.slow
def test_an_arm_that_was_still_improving_is_not_beaten(monkeypatch):
    """What stands in for the circuit gives small outputs at first, and has yet to grow."""

    class Slow(nn.Linear):
        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.output_size = outputs

        def forward(self, x):
            return 0.02 * super().forward(x)

    monkeypatch.setattr(arms, "_Linear", Slow)
    data = make_data(rows=1000, batch_size=50)
    rates = dict(classical_lr=0.03, quantum_lr=0.03, dropout=0.0)
    again = dict(posthoc=False, retrained=["linear"], seeds=5, max_epochs=10)
    found = study(make(SequentialHybrid, head_dim=6, **rates), data, **again)
    arm = found.arm("linear")
    assert arm.difference.low > 0 and arm.p_value < 0.05 and all(arm.improving)
    assert (arm.verdict, arm.reason) == ("inconclusive", "was still improving")
    assert found.conclusion.startswith("- linear was still improving when its training ended, in 5")
    assert "inconclusive: was still improving" in str(found)


def test_rows_in_two_splits_are_warned_of():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    train, held = (x[:40], y[:40]), (x[40:], y[40:])
    options = dict(posthoc=True, retrained=False)
    same = ArrayDataModule(*train, val=held, test=held, batch_size=20)
    with pytest.warns(UserWarning, match="20 of 20 rows of the test data are in the validation"):
        found = study(make(SequentialHybrid), same, **options)
    assert found.conclusion.startswith("- Beware: 20 of 20 rows of the test data")
    inside = ArrayDataModule(*train, val=held, test=(x[35:50], y[35:50]), batch_size=20)
    with pytest.warns(UserWarning) as warned:
        study(make(SequentialHybrid), inside, **options)
    assert [str(each.message).partition(" data too")[0] for each in warned.list] == [
        "5 of 15 rows of the test data are in the training",
        "10 of 15 rows of the test data are in the validation",
    ]
    apart = ArrayDataModule(*train, val=(x[40:50], y[40:50]), test=(x[50:], y[50:]), batch_size=9)
    assert study(make(SequentialHybrid), apart, **options).shared_rows == ()


def test_one_test_row_is_refused():
    x = torch.randn(20, 5)
    data = ArrayDataModule(x, torch.arange(20) % 3, test=(x[:1], torch.tensor([0])), batch_size=9)
    with pytest.raises(ValueError, match="one test row tells nothing: give at least 2"):
        study(make(SequentialHybrid), data)


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (dict(margin=0.0), ValueError, "margin must be above 0"),
        (dict(permutations=29), ValueError, "permutations must be at least 30, got 29"),
        (dict(draws=0), ValueError, "draws must be at least 1"),
        (dict(seeds=1), ValueError, r"seeds must be 2 or more different ones, got \[0\]"),
        (dict(seeds=[3, 3]), ValueError, r"different ones, got \[3, 3\]"),
        (dict(max_epochs=0), ValueError, "max_epochs must be at least 1, got 0"),
        (dict(max_epochs=None), ValueError, "max_epochs must be given"),
        (dict(retrained=["svm"]), ValueError, "each entry of retrained must be one of .*'mlp'"),
        (dict(retrained="mlp"), TypeError, "a list of strings, got str 'mlp'"),
        (dict(components=["head"]), ValueError, "parts must be some of .* got 'head'"),
        (dict(components="fusion"), TypeError, "components must be .* got str 'fusion'"),
        (dict(components=[]), ValueError, "parts must name at least one of .*got an empty list"),
        (dict(trainer_options=dict(max_epochs=3)), ValueError, "must not set max_epochs"),
        (dict(build=lambda: None), TypeError, "must return a LightningModule, got NoneType"),
        (
            dict(build=lambda: make(SequentialHybrid)),
            ValueError,
            "makes another network: classical",
        ),
    ],
)
def test_bad_arguments(changes, kind, message):
    with pytest.raises(kind, match=message):
        study(make(ParallelHybrid), make_data(), **changes)


def test_bad_models_and_data():
    twin = make(ParallelHybrid, quantum="mlp")
    with pytest.raises(ValueError, match="no photonic layer, so there is nothing to replace") as no:
        study(twin, make_data())
    assert str(no.value).endswith("or give retrained=False and components=[...]")
    found = study(twin, make_data(), retrained=False, components=["classical_path"])
    assert len(found.posthoc) == 4
    with pytest.raises(ValueError, match="has no part to replace: it holds no photonic layer"):
        study(twin, make_data(), retrained=False)
    with pytest.raises(TypeError, match="datamodule must be a LightningDataModule or a function"):
        study(make(ParallelHybrid), [1, 2])
    with pytest.raises(TypeError, match="or a function from a seed to one, got list"):
        study(make(ParallelHybrid), lambda seed: [])
    with pytest.raises(TypeError, match="model must be a LightningModule, got Linear"):
        study(nn.Linear(5, 3), make_data())
    with pytest.raises(ValueError, match="has no test data: scores are taken on test rows"):
        study(make(ParallelHybrid), make_data(test_fraction=0.0))
    diverged = make(ParallelHybrid)
    nn.init.constant_(diverged.fusion.layers[2].bias, torch.nan)
    with pytest.raises(ValueError, match="outputs on the test data are not finite"):
        study(diverged, make_data(), retrained=False)


def frozen():
    model = make(ParallelHybrid)
    for parameter in model.quantum_path.parameters(recurse=False):
        parameter.requires_grad_(False)
    return model


def test_a_model_that_was_changed_by_hand_needs_build():
    with pytest.raises(ValueError, match=r"quantum_path.phases is .* \(frozen\) in the model"):
        study(frozen(), make_data())
    found = study(frozen(), make_data(), build=frozen, posthoc=False, retrained=["untrained"])
    reason = "no photonic parameter of quantum_path is trained in the model either"
    assert found.left_out == {"untrained": reason}


def test_fresh_models_must_not_share_anything_with_the_model():
    model = Own()
    arguments = dict(score=likelihood, forward=lambda m, batch: (m(batch[0]), batch[1]))
    with pytest.raises(ValueError, match=r"shares \['circuit.phases'.* copy.deepcopy"):
        study(model, make_data(), build=lambda: Own(model.circuit), **arguments)
    with pytest.raises(ValueError, match="must make a model of its own"):
        study(model, make_data(), build=lambda: model, **arguments)


def test_a_split_without_a_seed_is_the_same_for_every_run():
    seen = []

    class Drawn(LightningDataModule):
        def setup(self, stage):
            if stage == "fit":
                self.rows = torch.randperm(40)

        def train_dataloader(self):
            return DataLoader(TensorDataset(*self.of(self.rows[:20])), 10)

        def test_dataloader(self):
            seen.append(tuple(self.rows[20:].tolist()))
            return DataLoader(TensorDataset(*self.of(self.rows[20:])), 10)

        def of(self, rows):
            x = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
            return x[rows], (x[rows, 0] > 0).long()

    study(make(SequentialHybrid), Drawn(), retrained=["linear"], posthoc=False)
    assert len(seen) >= 4 and len(set(seen)) == 1


@pytest.mark.slow
def test_other_processes_give_the_same_numbers():
    model, lines = make(SequentialHybrid), []
    quiet().fit(model, make_data())  # they know nothing of this Trainer
    options = dict(retrained=["linear"], posthoc=False, baselines=True)
    one, two = (
        study(model, make_data, jobs=jobs, progress=lines.append, **options).to_dict()
        for jobs in (1, 2)
    )
    for each in [*one["retrained"], *one["baselines"], *two["retrained"], *two["baselines"]]:
        del each["seconds"]
    assert one == two
    assert len(lines) == 12 and lines[0].startswith("1 of 6  seed 0  hybrid: acc 0.")
    data = make_data()
    quiet().fit(model, data)
    assert study(model, data, jobs=2, **options).seeds == (0, 1) and data.trainer is not None
    first = r"arm '\w+' failed with seed 0: OSError: disk full"  # two arms are on their way
    with pytest.raises(RuntimeError, match=first):
        broken = dict(accelerator="cpu", callbacks=[Break()])
        study(model, data, jobs=2, posthoc=False, trainer_options=broken)
    with pytest.raises(TypeError, match="or jobs=1"):
        study(model, lambda seed: data, jobs=2, posthoc=False)


def test_an_error_in_a_run_names_it():
    with pytest.raises(RuntimeError, match="arm 'hybrid' failed with seed 0: OSError: disk full"):
        options = dict(accelerator="cpu", callbacks=[Break()])
        study(make(ParallelHybrid), make_data(), posthoc=False, trainer_options=options)


# --- what it says ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    return study(make(SequentialHybrid), make_data(), retrained=["linear", "untrained"])


@pytest.mark.slow
def test_text_and_markdown(found):
    text, markdown = str(found), found.to_markdown()
    for name in ("hybrid", "linear", "untrained", "permutation (30 draws, p ", "Conclusion"):
        assert name in text and name in markdown
    assert "linear: photonic layers replaced by linear ones; untrained: photonic parameters" in text
    assert "zero: output replaced by zero; mean: output replaced by its mean over the" in markdown
    assert found.conclusion in text and max(map(len, text.split("\n\n")[1].splitlines())) < 140
    assert found.conclusion not in found.to_markdown(conclusion=False)
    assert found.to_markdown(conclusion=False) in markdown + "\n"
    assert "trained again, 2 seeds, 1 epoch (one split)" in text and "-0.000" not in text
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables[:5]} == {8} and markdown.endswith("\n")


def test_plain_values(found):
    values = found.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["retrained"][1]["difference"]["low"] == found.arm("linear").difference.low
    assert values["conclusion"] == found.conclusion


def test_an_arm_by_name(found):
    assert found.arm("linear").name == "linear"
    with pytest.raises(KeyError, match="no retrained arm 'mlp': not asked for"):
        found.arm("mlp")


def test_a_figure(found, tmp_path):
    pytest.importorskip("matplotlib", reason="analysis extra")
    figure = found.figure()
    figure.savefig(tmp_path / "ablation.png")
    assert (tmp_path / "ablation.png").stat().st_size > 5000
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    parts = [f"quantum_layer: {arm.replacement}" for arm in found.posthoc]
    assert names == [["linear", "untrained"], parts]
    means = [
        float(line.get_xdata()[0]) for line in figure.axes[0].lines if line.get_marker() == "o"
    ]
    assert means == [found.arm(name).difference.mean for name in ("linear", "untrained")]


def test_a_figure_without_matplotlib(found, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"hybridlit\[plot\]"):
        found.figure()


@pytest.mark.slow
def test_lightning_is_quiet_and_what_runs_is_told(capsys, caplog, monkeypatch):
    with caplog.at_level(logging.INFO):
        study(make(SequentialHybrid), make_data(), retrained=["linear"], progress=True)
    assert not caplog.records
    captured = capsys.readouterr()
    assert not captured.out and "\r" not in captured.err
    assert captured.err.startswith("as trained: acc 0.")
    assert re.search(r"^4 of 4  seed 1  linear: acc 0\.\d+, \d+\.\d s$", captured.err, re.M)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    study(make(SequentialHybrid), make_data(), retrained=["linear"], progress=True)
    bar = capsys.readouterr().err
    assert "as trained  quantum_layer: permutation" in bar and "100%" in bar
    assert "3 of 4  seed 1  hybrid  75%" in bar and "linear: acc" not in bar


@pytest.mark.slow
def test_epochs_of_the_attached_trainer_are_the_default():
    model, data = make(SequentialHybrid), make_data()
    quiet(max_epochs=2).fit(model, data)
    found = study(model, data, retrained=["linear"], posthoc=False, max_epochs=None)
    assert found.arm("linear").epochs == 2


def test_a_study_of_nothing_says_so():
    found = study(make(SequentialHybrid), make_data(), posthoc=False, retrained=False)
    assert found.conclusion == "Nothing was compared." and isinstance(str(found), str)
    assert issubclass(SequentialHybrid, HybridModule)
