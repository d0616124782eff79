"""What is built of circuits under noise: state dicts, stacks, kernels, measurements, states."""

import copy

import pytest
import torch

from hybridlit import (
    AmplitudeEncoding,
    DistinguishableLayer,
    Experiment,
    FeedForward,
    FidelityKernel,
    Noise,
    PartialMeasurement,
    QuantumLayer,
    QuantumLayerStack,
    create_hybrid_optimizer,
    split_parameters,
)
from hybridlit.blocks.component_names import names_by_component
from hybridlit.photonics.circuit.builders import CircuitType
from hybridlit.photonics.distinguishable import DistinguishableLayerStack

NOISE = Noise(transmittance=0.7, indistinguishability=0.9, trainable=["transmittance"])


def layer(outputs=3, kind=QuantumLayer, **fields):
    torch.manual_seed(0)
    made = {"n_modes": 4, "n_photons": 2, "noise": NOISE} | fields
    return kind(3, outputs, experiment=Experiment(CircuitType.SERIES, **made))


def x():
    torch.manual_seed(1)
    return torch.rand(5, 3)


def test_a_readout_of_ideal_light_goes_on_under_noise():
    ideal = layer(noise=None)
    noisy = layer(noise=Noise(transmittance=0.5), min_detected_photons=2)
    assert noisy.load_state_dict(ideal.state_dict()).missing_keys == []
    torch.testing.assert_close(noisy(x()), ideal(x()))  # of all photons none was lost
    assert ideal.load_state_dict(noisy.state_dict()).missing_keys == []


def test_a_state_dict_of_other_detectors_is_refused():
    saved = layer(noise=None, detectors="threshold").state_dict()
    with pytest.raises(ValueError, match="saved with detectors=threshold, loaded into one with d"):
        layer(noise=None).load_state_dict(saved)
    fewer = layer(min_detected_photons=1)
    with pytest.raises(ValueError, match="min_detected_photons=1"):
        layer().load_state_dict(fewer.state_dict())


def test_the_same_outcomes_need_not_be_told_apart():
    """Of two photons that both show in a threshold detector each was alone."""
    seen = layer(
        noise=None, detectors="threshold", min_detected_photons=2, computation_space="unbunched"
    )
    counted = layer(noise=None, computation_space="unbunched")
    counted.load_state_dict(seen.state_dict())
    torch.testing.assert_close(counted(x()), seen(x()))


def test_what_is_learned_of_noise_is_photonic():
    made = layer()
    assert set(split_parameters(made)["photonic"]) == {"phases", "noise.learned.transmittance"}
    assert "noise.learned.transmittance" in names_by_component(made)["photonic"]
    photonic = create_hybrid_optimizer(made)[1].param_groups[0]["params"]
    assert any(made.noise.learned["transmittance"] is parameter for parameter in photonic)


@pytest.mark.parametrize("kind", [QuantumLayer, DistinguishableLayer])
def test_a_stack_shares_the_noise_of_its_device(kind):
    layers = [layer(kind=kind) for _ in range(2)]
    layers[1].reset_parameters()
    stack_kind = QuantumLayerStack if kind is QuantumLayer else DistinguishableLayerStack
    stack = stack_kind.from_layers(layers)
    assert stack.noise.learned["transmittance"].shape == ()
    for index, one in enumerate(layers):
        torch.testing.assert_close(stack(x())[:, index], one(x()))
    for one, again in zip(layers, stack.layers(), strict=True):
        torch.testing.assert_close(again(x()), one(x()))
    with torch.no_grad():
        layers[1].noise.learned["transmittance"].add_(1)
    with pytest.raises(ValueError, match="one device to share its noise"):
        stack_kind.from_layers(layers)


def test_what_is_learned_later_is_copied_as_well():
    first = layer()
    first.noise.learn("indistinguishability")
    with torch.no_grad():
        first.noise.learned["indistinguishability"].add_(1)
    copies = [QuantumLayerStack.from_layers([first]).layers()[0], copy.deepcopy(first)]
    for made in copies:
        assert made.noise.present == first.noise.present
    torch.testing.assert_close(copies[0](x()), first(x()))


def test_without_interference_nothing_is_learned_of_it():
    """Each parameter has a gradient; a state that has another one is taken all the same."""
    both = Noise(
        transmittance=0.7,
        indistinguishability=0.9,
        trainable=["transmittance", "indistinguishability"],
    )
    first = layer(noise=both)
    with torch.no_grad():
        first.noise.learned["transmittance"].add_(1)
    first.noise.learned["transmittance"].requires_grad_(False)
    stack = QuantumLayerStack.from_layers([first, copy.deepcopy(first)])
    for made in (
        layer(noise=both, kind=DistinguishableLayer),
        DistinguishableLayer.from_layer(first),
        DistinguishableLayerStack.from_stack(stack),
    ):
        assert [name for name, _ in made.noise.named_parameters()] == ["learned.transmittance"]
        made.requires_grad_(True)
        made(x()).square().sum().backward()
        assert all(value.grad.abs().sum() > 0 for value in made.parameters())
        with pytest.raises(ValueError, match="indistinguishability must not be learned where ph"):
            made.noise.learn("indistinguishability")
    apart = DistinguishableLayer.from_layer(first)
    assert torch.equal(apart.noise.transmittance, first.noise.transmittance)
    assert not apart.noise.learned["transmittance"].requires_grad
    apart.load_state_dict(first.state_dict())
    with pytest.raises(RuntimeError, match=r"noise\.learned\.indist"):
        first.load_state_dict(apart.state_dict())


def test_of_superpositions_it_is_learned_what_is_lost():
    state = {(1, 1, 0, 0): 0.6, (0, 1, 0, 1): 0.8j}
    fields = {"n_photons": None, "input_state": state}
    given = Noise(0.9, 0.7, trainable=["brightness", "transmittance"])
    made, later = layer(noise=given, **fields), layer(noise=Noise(0.9, 0.7), **fields)
    later.noise.learn("brightness", "transmittance")
    assert torch.equal(later(x()), made(x()))
    made, rows = made.double(), x().double()
    names = [name for name, _ in made.noise.named_parameters()]
    assert names == [name for name, _ in later.noise.named_parameters()] and len(names) == 2
    start = [value.detach().clone().requires_grad_() for value in made.noise.parameters()]

    def outputs(*values):
        now = {f"noise.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(made, now, (rows,))

    assert torch.autograd.gradcheck(outputs, start, atol=1e-7, rtol=1e-6)
    for name in ("indistinguishability", "g2"):
        with pytest.raises(ValueError, match=f"{name} must lie between 0 and"):
            later.noise.learn(name)


def test_without_interference_loss_and_detectors_stay():
    noisy = layer(None, detectors="threshold")
    apart = DistinguishableLayer.from_layer(noisy)
    assert apart.outcomes == noisy.outcomes
    all_lost = (0, 0, 0, 0)
    place = noisy.outcomes.index(all_lost)
    torch.testing.assert_close(apart.probabilities(x())[:, place], torch.full((5,), 0.3**2))
    assert not torch.allclose(apart.probabilities(x()), noisy.probabilities(x()))


def test_amplitudes_are_refused_where_light_is_lost():
    lossy = layer(noise=Noise(transmittance=0.5))
    match = "layer must have ideal photons, all of which are counted, got one with transmittance=0"
    for made in (
        lambda: FidelityKernel(lossy),
        lambda: PartialMeasurement(lossy, [0]),
        lambda: FeedForward(lossy, [0], lambda found: None, 3),
    ):
        with pytest.raises(ValueError, match=match):
            made()
    with pytest.raises(ValueError, match="detectors=threshold"):
        FidelityKernel(layer(noise=None, detectors="threshold"))
    assert FidelityKernel(layer(noise=Noise()))(x()).shape == (5, 5)  # there is none


def test_states_that_enter_may_lose_photons_but_have_no_source():
    lossy = AmplitudeEncoding(4, layer(noise=Noise(transmittance=0.5)))
    torch.manual_seed(0)
    assert lossy(torch.rand(5, 7)).shape == (5, 3)
    with pytest.raises(ValueError, match="noise of a source needs photons in each mode"):
        AmplitudeEncoding(4, layer())


@pytest.mark.parametrize("noise", [None, Noise(transmittance=0.5)])
def test_states_that_enter_may_be_counted(noise):
    counted = AmplitudeEncoding(4, layer(noise=noise))
    rows = torch.rand(5, 7, requires_grad=True)
    exact = counted(rows)
    counted.layer.shots, counted.layer.shot_gradient = 10**6, "score"
    found = counted(rows)
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02)
    found.square().sum().backward()
    assert rows.grad.abs().sum() > 0
    counted.layer.shot_gradient = "shift"
    with pytest.raises(ValueError, match="layer must not have shot_gradient='shift'"):
        AmplitudeEncoding(4, counted.layer)


def test_a_layer_says_what_is_imperfect():
    said = repr(layer(noise=Noise(transmittance=[0.5, 0.6, 0.7, 0.8]), detectors="threshold"))
    assert "transmittance=[0.5, 0.6, 0.7, 0.8], detectors=threshold" in said
