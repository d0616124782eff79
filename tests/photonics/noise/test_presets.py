"""Nominal noise of devices: built by name, to be seen, and to be changed."""

import pytest
import torch
import yaml

from hybridlit import Experiment, Noise, QuantumLayer
from hybridlit.photonics.noise.model import PRESETS

SMALL = {"n_modes": 4, "n_photons": 2}


@pytest.mark.parametrize("name", PRESETS)
def test_a_device_by_name(name):
    nominal = dict(PRESETS[name].values)
    assert Noise.preset(name).plain() == nominal and len(PRESETS[name].source) > 10
    layer = QuantumLayer(3, 2, noise=name, **SMALL)
    assert layer.experiment.noise == Noise(**nominal)
    assert all(f"{field}={value}" in repr(layer) for field, value in nominal.items())
    layer(torch.rand(5, 3)).sum().backward()
    assert layer.phases.grad.abs().sum() > 0
    less = layer.with_noise(Noise.preset(name, transmittance=0.5, trainable=["g2"]))
    assert less.noise.given.plain() == nominal | {"transmittance": 0.5, "trainable": ["g2"]}
    assert less.noise.g2.item() == pytest.approx(nominal["g2"])
    written = yaml.safe_load(yaml.safe_dump({"noise": name}))
    assert Experiment("series", **SMALL, **written).noise == Noise.preset(name)
    other = Noise.preset(name, indistinguishability=1, phase_error=0, g2=0, transmittance=1)
    assert other.ideal and QuantumLayer(3, 2, noise=other, **SMALL).noise.given.ideal


def test_devices_that_nobody_knows():
    for make in (Noise.preset, lambda name: Experiment("series", **SMALL, noise=name)):
        with pytest.raises(ValueError, match=r"must be one of .*ascella"):
            make("ascela")
    with pytest.raises(TypeError, match="transmission"):
        Noise.preset("demo", transmission=0.5)
