"""Post-selection by rule: against Perceval, plain Python, permanents and closed forms."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning import Trainer
from permanents import all_amplitudes, all_states
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import (
    Circuit,
    DistinguishableLayer,
    Experiment,
    FixedUnitary,
    QuantumLayer,
    QuantumLayerStack,
    use_kernel,
)
from hybridlit.analysis.pictures.circuit_text import describe_circuit, summarize_circuit
from hybridlit.analysis.pictures.layer_pictures import layer_pictures, photon_statistics
from hybridlit.analysis.pictures.samples import group_samples
from hybridlit.cli import main
from hybridlit.export.real_circuit import RealCircuit
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.postselection import parsed
from hybridlit.photonics.speed import Speed
from hybridlit.templates import SequentialHybrid

SPEED = Speed("float32", 1e-4, (10**4, 10**8), (5e-10, 1e-9), 5e-10, 5e-6, 2e-11, 2e-10)
RULE = "[0,1]==1 & [4]<2"
RULES = [RULE, "[0]==0 | [1]==0", "!([2]==1) ^ [3,4]>=1", "[0]<=1"]


def make(rule=RULE, space="fock", mapping="none", size=None, kind=QuantumLayer, **others):
    given = dict(computation_space=space, postselect=rule)
    experiment = Experiment("series", 5, 3, **given)
    return kind(
        4, size, experiment=experiment, output_mapping_strategy=mapping, dtype=torch.float64,
        **others,
    )  # fmt: skip


def rows(count=4):
    return torch.rand(count, 4, dtype=torch.float64)


# --- outcomes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_outcomes_are_a_sequence_of_what_is_kept(space):
    outcomes = make(space=space).outcomes
    states = all_states(5, 3, space == "unbunched")
    expected = [s for s in states if s[0] + s[1] == 1 and s[4] < 2]
    assert list(outcomes) == expected and len(outcomes) == outcomes.size == len(expected)
    assert [outcomes[index] for index in range(len(outcomes))] == expected
    assert [outcomes.index(state) for state in expected] == list(range(len(expected)))
    np.testing.assert_array_equal(outcomes.states, expected)
    assert list(pickle.loads(pickle.dumps(outcomes))) == expected
    with pytest.raises(ValueError, match=r"one that .* keeps, got"):
        outcomes.index(next(state for state in states if state not in expected))
    with pytest.raises(ValueError, match="state must be one of"):
        outcomes.index((4, 0, 0, 0, 0))
    with pytest.raises(IndexError):
        outcomes[len(expected)]


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("rule", RULES)
def test_probabilities_are_those_of_permanents(rule, space, kernel):
    layer, x = make(rule, space), rows()
    states = all_states(5, 3, space == "unbunched")
    kept = parsed(rule).keeps(np.array(states))
    raw = np.array([
        np.abs(all_amplitudes(unitary, layer.input_state, space == "unbunched")) ** 2
        for unitary in layer.unitary(x).detach().numpy()
    ])[:, kept]  # fmt: skip
    with use_kernel(kernel):
        np.testing.assert_allclose(
            layer.probabilities(x).detach(), raw / raw.sum(1, keepdims=True), atol=1e-12
        )
        np.testing.assert_allclose(layer.success_probability(x).detach(), raw.sum(1), atol=1e-12)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_gradients_of_both_kernels_and_of_differences(space):
    layer, x = make(space=space), rows(2).requires_grad_()

    def both(x):
        return layer.probabilities(x), layer.success_probability(x)

    assert torch.autograd.gradcheck(both, x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x[:1]), x)
    weights = torch.randn(2, layer.output_size, dtype=torch.float64)
    found = []
    for kernel in ("compiled", "torch"):
        layer.zero_grad()
        with use_kernel(kernel):
            probabilities, kept = both(x)
            ((probabilities * weights).sum() + kept.sum()).backward()
        found.append(layer.phases.grad.clone())
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("space", [pytest.param("fock", marks=pytest.mark.slow), "unbunched"])
def test_transforms_and_graphs_compute_the_same(space):
    layer, x = make(space=space, mapping="linear", size=3), rows()
    expected = layer(x)
    torch.testing.assert_close(torch.func.vmap(layer)(x), expected)
    slope = torch.autograd.functional.jacobian(layer, x[0])
    torch.testing.assert_close(torch.func.jacrev(layer)(x[0]), slope)
    torch.testing.assert_close(torch.func.jacfwd(layer)(x[0]), slope)
    graph = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(graph(x), expected)
    if space == "unbunched":
        exported = torch.export.export(layer, (x,)).module()
        torch.testing.assert_close(exported(x), expected)
    assert copy.deepcopy(layer).to("meta")(x.to("meta")).shape == expected.shape


def test_stacks_and_distinguishable_photons():
    stack = make(kind=lambda *given, **named: QuantumLayerStack(2, *given, **named))
    x = rows()
    for index, layer in enumerate(stack.layers()):
        torch.testing.assert_close(layer(x), stack(x)[:, index])
        torch.testing.assert_close(
            layer.success_probability(x),
            stack._read(x, lambda r: stack._probabilities(r)[1])[:, index],
        )
    everything = make("[0]<=9", "fock", kind=DistinguishableLayer)
    some = make(kind=DistinguishableLayer)
    some.load_state_dict(dict(everything.state_dict()))
    chosen = [everything.outcomes.index(state) for state in some.outcomes]
    weights = everything.probabilities(x)[:, chosen]
    torch.testing.assert_close(some(x), weights / weights.sum(1, keepdim=True))
    torch.testing.assert_close(some.success_probability(x), weights.sum(1))


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_amplitudes_and_superpositions_are_kept_alike(space):
    layer, x = make(space=space), rows()
    found = layer.amplitudes(x)
    torch.testing.assert_close(found.abs().square(), layer.probabilities(x))
    experiment = replace(
        layer.experiment, input_state={(1, 1, 1, 0, 0): 1, (1, 0, 0, 1, 1): 1j}, n_photons=3
    )
    mixed = QuantumLayer(
        4, experiment=experiment, output_mapping_strategy="mode_expectations", dtype=torch.float64
    )
    mixed.load_state_dict(dict(layer.state_dict()))
    whole = QuantumLayer(
        4, experiment=replace(experiment, postselect=None, computation_space="fock"),
        output_mapping_strategy="none", dtype=torch.float64,
    )  # fmt: skip
    whole.load_state_dict(dict(layer.state_dict()))
    chosen = [whole.outcomes.index(state) for state in mixed.outcomes]
    weights = whole(x)[:, chosen]
    torch.testing.assert_close(mixed.success_probability(x), weights.sum(1))
    kept = weights / weights.sum(1, keepdim=True)
    torch.testing.assert_close(mixed.probabilities(x), kept)
    states = torch.tensor(mixed.outcomes.states, dtype=torch.float64)
    torch.testing.assert_close(mixed(x), kept @ states)


# --- readouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "space"), [(None, "unbunched"), (RULE, "unbunched"), (RULE, "fock")]
)
def test_expectations_are_means_over_the_outcomes(rule, space):
    clicks = make(rule, space, "mode_expectations")
    pairs = make(rule, space, "pair_correlations")
    pairs.load_state_dict(clicks.state_dict() | {}, strict=False)
    x, states = rows(), torch.tensor(clicks.outcomes.states, dtype=torch.float64)
    probabilities = clicks.probabilities(x)
    torch.testing.assert_close(clicks(x), probabilities @ states)
    torch.testing.assert_close(clicks(x).sum(1), torch.full((4,), 3.0, dtype=torch.float64))
    products = states[:, :, None] * (states[:, None] - torch.eye(5, dtype=torch.float64))
    first, second = torch.triu_indices(5, 5)
    expected = pairs.probabilities(x) @ products[:, first, second]
    torch.testing.assert_close(pairs(x), expected)


def test_the_states_of_a_postselected_gate():
    """A controlled not of success probability 1/9: Ralph et al., Phys. Rev. A 65, 062324 (2002)."""
    a, b, h = np.sqrt(1 / 3), np.sqrt(2 / 3), np.sqrt(1 / 2)
    splitters = np.eye(6)
    for upper, lower in ((0, 1), (2, 3), (4, 5)):
        sign = -1 if lower == 3 else 1
        splitters[np.ix_((upper, lower), (upper, lower))] = sign * np.array([[-a, b], [b, a]])
    mix = np.eye(6)
    mix[np.ix_((3, 4), (3, 4))] = [[h, h], [h, -h]]
    gate = mix @ splitters @ mix
    truth = {(0, 0): (0, 0), (0, 1): (0, 1), (1, 0): (1, 1), (1, 1): (1, 0)}
    rails = {bits: [0, *((0, 1) if bits[0] else (1, 0)), *((0, 1) if bits[1] else (1, 0)), 0]
             for bits in truth}  # fmt: skip
    for bits, result in truth.items():
        circuit = Circuit(6).add(FixedUnitary(gate), range(6))
        experiment = Experiment(
            circuit=circuit, input_state=rails[bits], postselect="[1,2]==1 & [3,4]==1"
        )
        layer = QuantumLayer(
            0, experiment=experiment, output_mapping_strategy="none", dtype=torch.float64
        )
        assert layer.success_probability(1).item() == pytest.approx(1 / 9, abs=1e-12)
        wanted = layer.outcomes.index(rails[result])
        assert layer(1)[0, wanted].item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("state", "rule", "mapping", "size"),
    [
        ((1, 1), "[0]!=1", "none", None),
        ((1, 1), "[0]!=1", "linear", 3),
        ((2, 2), "[0]!=2", "lexgrouping", 2),
        ((1, 1, 1), "!([0]==1 & [1]==1)", "mode_expectations", None),
        ((1, 1, 1), "[0,1,2]==3", "mode_expectations", None),
    ],
)
def test_what_no_circuit_changes_is_refused(state, rule, mapping, size):
    """Two modes with a photon each give (2, 0) as often as (0, 2), and <n> is what enters."""
    experiment = Experiment("parallel", n_modes=len(state), input_state=state, postselect=rule)
    random_numbers = torch.get_rng_state()
    with pytest.raises(ValueError, match="no feature reaches the output"):
        QuantumLayer(1, size, experiment=experiment, output_mapping_strategy=mapping)
    assert torch.equal(random_numbers, torch.get_rng_state())
    if len(state) == 3:
        QuantumLayer(1, experiment=experiment, output_mapping_strategy="pair_correlations")
    if state == (2, 2):
        QuantumLayer(1, experiment=experiment, output_mapping_strategy="none")


def test_a_rule_that_drops_nothing_selects_nothing():
    layer, whole = make("[0]>=0"), make(None)
    whole.load_state_dict(dict(layer.state_dict()))
    x = rows()
    torch.testing.assert_close(layer(x), whole(x), rtol=0, atol=0)
    assert torch.equal(layer.success_probability(x), torch.ones(4, dtype=torch.float64))


# --- what is rare ---------------------------------------------------------------------------------


def bright(below_pi=0.0, dtype=torch.float32):
    """Meshes of the identity: photons stay where they are, but for a little."""
    experiment = Experiment("series", 3, 2, input_state=(2, 0, 0), postselect="[0]<2")
    layer = QuantumLayer(2, experiment=experiment, output_mapping_strategy="none", dtype=dtype)
    with torch.no_grad():
        layer.phases[..., 0] = torch.pi - below_pi
    return layer


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_rare_outcomes_are_computed_in_double(kernel):
    layer, x = bright(), torch.rand(5, 2)
    exact = copy.deepcopy(layer).double()
    with use_kernel(kernel):
        kept = layer.success_probability(x)
        assert 0 < kept.max() < 1e-11
        torch.testing.assert_close(kept, exact.success_probability(x.double()).float())
        torch.testing.assert_close(layer(x), exact(x.double()).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_impossible_outcomes_are_refused_by_row(kernel):
    layer = bright(dtype=torch.float64)
    with torch.no_grad():
        layer.phases.zero_()
        layer.phases[..., 0] = torch.pi
        layer.phases[:, :, 0] = np.pi
    with (
        use_kernel(kernel),
        pytest.raises(
            ValueError,
            match=r"post-selected outcomes of row\(s\) \[0, 1\] of x .*another postselect",
        ),
    ):
        layer(torch.zeros(2, 2, dtype=torch.float64))


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_where_nothing_looks_too_rare_rows_become_nan(monkeypatch, space):
    monkeypatch.setattr("hybridlit.photonics.outcomes.can_look_at", lambda tensor: False)
    outcomes = Outcomes(FockSpace(3, 2, space), "[0]==1")
    some = torch.full((2, outcomes.space.size), 0.1, dtype=torch.float64)
    some[1, outcomes.chosen(torch.arange(outcomes.space.size))] = 0
    found, kept = outcomes.conditional(some, torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert found[1].isnan().all() and kept.tolist() == [pytest.approx(0.1), 0]
    torch.testing.assert_close(found[0], torch.full((2,), 0.5, dtype=torch.float64))


# --- around the layer -----------------------------------------------------------------------------


def test_a_state_dict_says_which_outcomes_were_kept():
    layer, other = make(mapping="linear", size=2), make("[2,3]<3 & [1]<2", mapping="linear", size=2)
    same = make("NOT (!([1,0]==1 AND [4] < 2))", mapping="linear", size=2)
    with pytest.raises(ValueError, match=r"another circuit .* saved with .*postselect=\[0,1\]==1"):
        other.load_state_dict(layer.state_dict())
    plain = QuantumLayer(4, 2, n_modes=5, n_photons=3)
    with pytest.raises(ValueError, match=r"postselect=None, loaded into one with .*postselect="):
        layer.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match=r"with postselect=None"):
        plain.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match="another circuit"):  # written differently
        same.load_state_dict(layer.state_dict())
    same.load_state_dict(dict(layer.state_dict()))
    x = rows()
    torch.testing.assert_close(same(x), layer(x))


@pytest.mark.parametrize("mapping", ["linear", "mode_expectations"])
@pytest.mark.parametrize("kind", [QuantumLayer, DistinguishableLayer])
def test_the_exported_form_keeps_the_same(mapping, kind):
    layer, x = make(mapping=mapping, size=2 if mapping == "linear" else None, kind=kind), rows()
    torch.testing.assert_close(RealCircuit(layer)(x), layer(x), rtol=0, atol=1e-12)


def test_pictures_and_words_are_of_what_is_kept():
    layer, x = make(mapping="linear", size=2), rows()
    assert f"{len(layer.outcomes)} of 35 Fock states kept by {RULE}" in describe_circuit(layer)
    assert f"post-selection | {RULE} keeps {len(layer.outcomes)}" in summarize_circuit(layer, 8)
    assert f"states=35, kept={len(layer.outcomes)}," in repr(layer)
    found = photon_statistics(layer, x, group_samples(torch.arange(4) % 2))
    expected = layer.probabilities(x).detach().view(2, 2, -1).mean(0)
    torch.testing.assert_close(found.outcomes.double(), expected)
    names = [name for name, _ in layer_pictures(layer, None, None, "a layer", "no samples")]
    assert "readout" in names


def test_a_template_keeps_the_rule_in_its_checkpoint(tmp_path):
    rule, path = "[0,1]==1 & [2,3]==1", tmp_path / "model.ckpt"
    experiment = dict(circuit_type="series", n_modes=4, n_photons=2, postselect=rule)
    model = SequentialHybrid(input_dim=3, quantum_dim=2, output_dim=2, experiment=experiment)
    x = torch.rand(8, 3)
    loader = DataLoader(TensorDataset(x, torch.arange(8) % 2), batch_size=4)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, loader)
    trainer.save_checkpoint(path)
    again = SequentialHybrid.load_from_checkpoint(path)
    assert again.quantum_layer.experiment.postselect == rule
    assert len(again.quantum_layer.outcomes) == 4
    torch.testing.assert_close(again.eval()(x), model.eval()(x))


def test_memory_and_time_beforehand(capsys, monkeypatch):
    monkeypatch.setattr("hybridlit.photonics.cost.speed", lambda dtype: SPEED)
    main(["plan", "--modes", "6", "--photons", "3", "--postselect", "dual_rail"])
    assert "kept               8 by [0,1]==1 & [2,3]==1 & [4,5]==1" in capsys.readouterr().out
    kept, everything = (
        estimate(Experiment("series", 6, 3, postselect=rule), 5, 64, calibrate=False)
        for rule in ("dual_rail", None)
    )
    assert kept.states == everything.states == 56
    assert kept.peak_bytes - everything.peak_bytes == 4 * 64 * 8 * 4
