"""A state dict says of which circuit it is; that of another one is refused."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from hybridlit.photonics import (
    BeamSplitter,
    Circuit,
    Data,
    DistinguishableLayer,
    Experiment,
    Interferometer,
    Permutation,
    PhaseShifter,
    QuantumLayer,
    QuantumLayerStack,
    Trainable,
)
from hybridlit.templates import ParallelBankHybrid, SequentialHybrid

HARMONICS = [[[1.0], [2.0], [0.0]]]  # what "series" makes of one feature in three modes


def layer(mapping="none", features=1, **changes):
    if "encoding" not in changes:
        changes.setdefault("circuit_type", "series")
    changes = dict(n_modes=3, n_photons=2) | changes
    outputs = 2 if mapping.endswith("grouping") else None
    return QuantumLayer(
        features, outputs, experiment=Experiment(**changes), output_mapping_strategy=mapping
    )


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


OTHERS = {
    "input_state": (dict(), dict(input_state=(1, 1, 0))),
    "computation_space": (dict(), dict(computation_space="unbunched")),
    "encoding": (dict(), dict(encoding=[[[1.0], [-2.0], [0.0]]])),
    "circuit_type": (dict(), dict(circuit_type="parallel_columns")),
    "output_mapping_strategy": (dict(mapping="lexgrouping"), dict(mapping="modgrouping")),
}


@pytest.mark.parametrize("kept", [lambda s: s, copy.deepcopy, through_a_file, copy.copy])
@pytest.mark.parametrize("what", OTHERS)
def test_another_circuit_is_refused_with_both(what, kept):
    first, second = (layer(**changes) for changes in OTHERS[what])
    assert {k: v.shape for k, v in first.state_dict().items()} == {
        k: v.shape for k, v in second.state_dict().items()
    }
    before = second.phases.clone()
    state = kept(first.state_dict())
    for options in (dict(), dict(strict=False), dict(assign=True)):
        with pytest.raises(ValueError, match=rf"another circuit.*saved with .*{what}=.* loaded"):
            second.load_state_dict(state, **options)
    assert torch.equal(second.phases, before)
    first.load_state_dict(state)


@pytest.mark.parametrize(
    "first,second",
    [
        (dict(), dict(encoding=HARMONICS)),
        (dict(), dict(state_pattern="spaced", input_state=(1, 0, 1))),
        (dict(mapping="grouping"), dict(mapping="lexgrouping")),
        (dict(reservoir_mode=True), dict()),
    ],
)
def test_the_same_circuit_in_other_words_is_taken(first, second):
    first, second = layer(**first), layer(**second)
    second.load_state_dict(through_a_file(first.state_dict()))
    x = torch.rand(4, 1)
    assert torch.equal(first(x), second(x))


def test_a_state_that_does_not_say_is_taken():
    first, second = layer(), layer(input_state=(1, 1, 0))
    old = through_a_file(dict(first.state_dict()))
    second.load_state_dict(old)
    assert torch.equal(second.phases, first.phases)
    other = nn.Linear(2, 3)
    other.load_state_dict(through_a_file(other.state_dict()))


def test_copies_keep_the_check_and_prefixes_name_the_module():
    first = nn.ModuleDict({"inner": nn.Sequential(layer(), nn.ReLU())})
    second = nn.ModuleDict({"inner": nn.Sequential(layer(input_state=(1, 1, 0)), nn.ReLU())})
    for clone in (copy.deepcopy(second), pickle.loads(pickle.dumps(second))):
        with pytest.raises(ValueError, match=r"than inner\.0: saved with input_state=\(1, 0, 1\),"):
            clone.load_state_dict(first.state_dict())
        clone.load_state_dict(second.state_dict())


def test_stacks_and_distinguishable_photons():
    def stack(**changes):
        experiment = Experiment("series", 3, 2, **changes)
        return QuantumLayerStack(2, 1, 4, experiment=experiment)

    stack().load_state_dict(stack().state_dict())
    with pytest.raises(ValueError, match="another circuit"):
        stack(input_state=(1, 1, 0)).load_state_dict(stack().state_dict())
    assert [type(made) for made in stack().layers()] == [QuantumLayer] * 2
    DistinguishableLayer.from_layer(layer())


@pytest.mark.parametrize("template", [SequentialHybrid, ParallelBankHybrid])
def test_checkpoints_of_another_circuit_are_refused(
    make_model, make_trainer, data, tmp_path, template
):
    trainer = make_trainer()
    trainer.fit(make_model(template), data)
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    template.load_from_checkpoint(path)
    with pytest.raises(ValueError, match=r"input_state=\(1, 0, 1, 0\), .*\(1, 1, 0, 0\)"):
        template.load_from_checkpoint(path, state_pattern="sequential")
    with pytest.raises(ValueError, match="another circuit than quantum_layer"):
        make_trainer(max_epochs=2).fit(
            make_model(template, state_pattern="sequential"), data, ckpt_path=path
        )


# --- circuits of components -----------------------------------------------------------------------


def components(*added, state=(1, 1, 0), modes=3):
    circuit = Circuit(modes)
    for component, place in added:
        circuit.add(component, place)
    experiment = Experiment(circuit=circuit, input_state=state)
    return QuantumLayer(
        circuit.input_size, experiment=experiment, output_mapping_strategy="none"
    ).double()


FIRST = [(BeamSplitter("t"), 0), (PhaseShifter(Data(0)), 1), (BeamSplitter("u"), 0)]
DIFFERENT = {
    "a convention": [(BeamSplitter("t", "ry"), 0), *FIRST[1:]],
    "a corner": [(BeamSplitter("t", phi_tl=0.1), 0), *FIRST[1:]],
    "a factor": [(BeamSplitter(Trainable("t", scale=2.0)), 0), *FIRST[1:]],
    "an offset": [(BeamSplitter(Trainable("t", offset=2.0)), 0), *FIRST[1:]],
    "one parameter for two": [*FIRST[:2], (BeamSplitter("t"), 0)],
    "an angle of data": [FIRST[0], (PhaseShifter(Data(0, scale=2.0)), 1), FIRST[2]],
    "the mode of data": [FIRST[0], (PhaseShifter(Data(0)), 0), FIRST[2]],
    "a permutation": [*FIRST, (Permutation([1, 0]), 0)],
}
SAME = {
    "names": [(BeamSplitter("a"), 0), FIRST[1], (BeamSplitter("b"), 0)],
    "what it began with": [(BeamSplitter(Trainable("t", init=0.3)), 0), *FIRST[1:]],
    "nesting": [(Circuit(2).add(BeamSplitter("t")), 0), *FIRST[1:]],
    "what does nothing": [*FIRST, (Permutation([0, 1]), 0), (PhaseShifter(0.0), 1)],
    "the last digit": [(BeamSplitter(Trainable("t", offset=1e-15)), 0), *FIRST[1:]],
}


@pytest.mark.parametrize("kept", [lambda s: s, copy.deepcopy, through_a_file, copy.copy])
@pytest.mark.parametrize("what", DIFFERENT)
def test_another_list_of_components_is_refused(what, kept):
    state = kept(components(*DIFFERENT[what]).state_dict())
    with pytest.raises(ValueError, match=r"state dict is that of another circuit.* (circuit|enc)"):
        components(*FIRST).load_state_dict(state)


@pytest.mark.parametrize("what", SAME)
def test_one_that_computes_the_same_is_taken(what):
    source, layer = components(*SAME[what]), components(*FIRST)
    layer.load_state_dict(source.state_dict())
    x = torch.rand(4, 1, dtype=torch.float64)
    torch.testing.assert_close(layer(x), source(x))


def test_components_are_no_meshes():
    mesh = QuantumLayer(1, experiment=Experiment("series", 3, 2), output_mapping_strategy="none")
    part = Interferometer(2)
    layer = components((Interferometer(), None), (PhaseShifter(Data(0)), 0), (part, 0))
    with pytest.raises(ValueError, match=r"another circuit.*circuit="):
        mesh.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match=r"another circuit.*circuit="):
        layer.load_state_dict(mesh.state_dict())
