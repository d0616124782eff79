"""What stands in for photonic layers fits in their place, and starts from the same weights."""

import pytest
import torch
from torch import nn

from hybridlit import (
    Experiment,
    MatchedMLP,
    ParallelBankHybrid,
    QuantumLayer,
    QuantumLayerStack,
    SequentialHybrid,
    mark_photonic,
    photonic_modules,
    split_parameters,
)
from hybridlit.analysis.ablation.arms import (
    ARMS,
    DoesNotApply,
    Question,
    Widths,
    apply_arm,
    observed_widths,
)
from hybridlit.blocks.stand_ins import RandomFeatures
from hybridlit.blocks.wrappers import ModuleStack
from hybridlit.photonics.distinguishable import DistinguishableLayer, DistinguishableLayerStack

REPLACING = [arm for arm in ARMS if arm not in ("hybrid", "untrained")]
KINDS = {
    "linear": nn.Linear,
    "mlp": MatchedMLP,
    "random_features": RandomFeatures,
    "single_photon": QuantumLayer,
    "distinguishable": DistinguishableLayer,
}


def layer(mapping="linear", outputs=3, photons=2, count=None, **options):
    circuit = Experiment("series", 4, photons, use_bandwidth_tuning=True, **options)
    given = dict(experiment=circuit, output_mapping_strategy=mapping)
    if count is None:
        return QuantumLayer(2, outputs, **given)
    return QuantumLayerStack(count, 2, outputs, **given)


def model_of(module):
    return nn.Sequential(nn.Linear(5, 2), nn.Sigmoid(), module)


def applied(module, arm, **options):
    model = model_of(module)
    apply_arm(model, arm, observed_widths(model, lambda: model(torch.rand(3, 5))), **options)
    return model


@pytest.mark.parametrize("arm", REPLACING)
@pytest.mark.parametrize("mapping", ["linear", "modgrouping"])
def test_what_stands_in_fits(arm, mapping):
    model = applied(layer(mapping), arm)
    assert model(torch.rand(6, 5)).shape == (6, 3) and model[2].output_size == 3
    if arm in KINDS:
        assert type(model[2]) is KINDS[arm] or isinstance(model[2], nn.Linear)


@pytest.mark.parametrize("arm", REPLACING)
def test_a_stack_is_called_in_both_ways(arm):
    stack = applied(layer(count=2), arm)[2]
    assert stack(torch.rand(6, 2)).shape == stack.each(torch.rand(6, 2, 2)).shape == (6, 2, 3)
    if arm == "distinguishable":
        assert type(stack) is DistinguishableLayerStack


def test_counts_of_parameters():
    original = layer()
    size = sum(p.numel() for p in original.parameters())
    matched = sum(p.numel() for p in applied(layer(), "mlp")[2].parameters())
    assert abs(matched - size) <= (2 + 3 + 1) / 2
    features = applied(layer(), "random_features")[2]
    assert len(features.frequencies) == original.fock_space.size == 10
    assert features.readout.weight.shape == original.readout.weight.shape
    assert isinstance(applied(layer("none", 10), "random_features")[2].readout, nn.Identity)
    stack = applied(layer(count=3), "mlp")[2]
    own = [sum(p.numel() for p in each.parameters()) for each in stack.layers]
    assert len(own) == 3 and abs(own[0] - size) <= 3


@pytest.mark.parametrize("count", [None, 2])
def test_the_circuit_and_its_phases_are_kept(count):
    original = layer(count=count)
    original.shots, original.shot_gradient = 50, "score"
    other = applied(original, "distinguishable")[2]
    assert torch.equal(other.phases, original.phases)
    assert torch.equal(other.readout.weight, original.readout.weight)
    single = applied(original, "single_photon")[2]
    assert single.input_state == (1, 0, 0, 0) and original.input_state == (1, 0, 1, 0)
    assert torch.equal(single.phases, original.phases)
    for each in (other, single):  # seen as often
        assert (each.shots, each.shot_gradient) == (50, "score")
    x = torch.rand(4, 2)
    if count is None:
        assert torch.equal(single.unitary(x), original.unitary(x))


def test_untrained_parameters_are_the_photonic_ones():
    model = applied(layer(), "untrained")
    assert {n for n, p in model[2].named_parameters() if p.requires_grad} == {
        "readout.weight",
        "readout.bias",
    }
    foreign = applied(mark_photonic(nn.Linear(2, 3)), "untrained")
    assert not any(p.requires_grad for p in foreign[2].parameters())
    with pytest.raises(DoesNotApply, match="no photonic parameter of 2 is trained in the model"):
        frozen = Experiment("series", 4, 2, reservoir_mode=True)
        applied(QuantumLayer(2, 3, experiment=frozen), "untrained")


def test_nothing_is_changed_in_the_hybrid():
    model = model_of(layer())
    modules, state = list(model.modules()), {k: v.clone() for k, v in model.state_dict().items()}
    apply_arm(model, "hybrid", {})
    assert list(model.modules()) == modules
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("module", "arm", "reason"),
    [
        (
            layer("mode_expectations", 4),
            "distinguishable",
            "the same with and without interference",
        ),
        (layer("mode_expectations", 4), "single_photon", "the same with and without interference"),
        (
            layer("pair_correlations", 10),
            "single_photon",
            "a single photon has no pair, so that every output is 0",
        ),
        (layer("none", 10), "single_photon", "one photon with 4 outcomes cannot give the 10"),
        (layer("lexgrouping", 7), "single_photon", "one photon with 4 outcomes cannot give the 7"),
        (layer(photons=1), "distinguishable", "2 has one photon, which has none to interfere with"),
        (layer(photons=1), "single_photon", "2 has one photon"),
        (
            layer(input_state={(1, 1, 0, 0): 1, (0, 0, 1, 1): 1}),
            "distinguishable",
            "2 gets a superposition, whose terms interfere",
        ),
        (
            layer(noise={"indistinguishability": 0}),
            "distinguishable",
            "2 has photons that do not interfere with one another anyway",
        ),
        (mark_photonic(nn.Linear(2, 3)), "distinguishable", "what 2, a Linear, simulates is not"),
        (mark_photonic(nn.Flatten(0)), "mlp", "does not map one tensor"),
    ],
)
def test_arms_that_make_no_sense_say_why(module, arm, reason):
    with pytest.raises(DoesNotApply, match=reason):
        applied(module, arm)


def test_pair_correlations_of_distinguishable_photons_are_an_arm():
    model = applied(layer("pair_correlations", 10), "distinguishable")
    assert isinstance(model[2], DistinguishableLayer) and model(torch.rand(3, 5)).shape == (3, 10)


def test_widths_of_foreign_layers_are_watched():
    model = model_of(mark_photonic(nn.Linear(2, 7)))
    found = observed_widths(model, lambda: model(torch.rand(3, 5)))
    assert found == {"2": Widths(2, 7)} and not model[2]._forward_hooks
    bank = ParallelBankHybrid(4, 3, n_layers=2)
    bank.quantum_layers = ModuleStack(mark_photonic(nn.Linear(4, 32)) for _ in range(2))
    apply_arm(bank, "linear", observed_widths(bank, lambda: bank(torch.rand(3, 4))))
    assert not photonic_modules(bank) and bank(torch.rand(3, 4)).shape == (3, 3)


def test_a_layer_under_two_names_is_replaced_under_both():
    model = model_of(layer(outputs=2))
    model.append(model[2])
    apply_arm(model, "linear", observed_widths(model, lambda: None))
    assert model[2] is model[3] and isinstance(model[2], nn.Linear)


def test_in_a_training_with_a_photonic_stage():
    model = applied(layer(), "linear", photonic_stage=True)
    assert set(split_parameters(model)["photonic"]) == {"2.weight", "2.bias"}
    for arm in ("untrained", "classical_only"):
        with pytest.raises(DoesNotApply, match="photonic stage, in which this arm has nothing"):
            applied(layer(), arm, photonic_stage=True)


def test_modes_and_devices_follow():
    model = model_of(layer()).eval()
    apply_arm(model, "mlp", observed_widths(model, lambda: None))
    assert not model[2].training


@pytest.mark.parametrize("arm", ["linear", "mlp", "random_features", "classical_only"])
def test_other_modules_start_from_the_same_weights(arm):
    def fresh(chosen):
        torch.manual_seed(5)
        model = SequentialHybrid(5, 2, 3, n_modes=4, n_photons=2)
        apply_arm(model, chosen, {"quantum_layer": Widths(2, 4)})
        return {k: v for k, v in model.state_dict().items() if not k.startswith("quantum_layer")}

    ours, theirs = fresh("hybrid"), fresh(arm)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("arm", ["single_photon", "distinguishable", "mlp"])
def test_an_experiment_given_whole_is_as_its_fields(arm):
    def fresh(**circuit):
        torch.manual_seed(5)
        model = SequentialHybrid(5, 2, 3, **circuit)
        apply_arm(model, arm, {"quantum_layer": Widths(2, 3)})
        return model

    by_fields = fresh(n_modes=4, n_photons=2, circuit_type="parallel")
    whole = fresh(experiment=Experiment("parallel", 4, 2, use_bandwidth_tuning=True))
    for one, other in zip(by_fields.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    spread = fresh(experiment=Experiment("series", 4, input_state=(0, 1, 1, 0)))
    if arm != "mlp":
        state = {"single_photon": (0, 1, 0, 0), "distinguishable": (0, 1, 1, 0)}[arm]
        assert spread.quantum_layer.input_state == state


def test_every_arm_but_the_model_asks_a_question():
    assert {arm.question for arm in ARMS.values()} == {None, *Question}
    assert [name for name, arm in ARMS.items() if arm.make is None] == ["hybrid"]
    assert all((arm.question is None) == (arm.make is None) for arm in ARMS.values())
    assert all(arm.words for arm in ARMS.values())
