"""Features in amplitudes inside one's own module: it trains, and its photonic part is found."""

import torch

from hybridlit import AmplitudeEncoding, Circuit, HybridModule, Interferometer, QuantumLayer
from hybridlit.components import photonic_modules, split_parameters
from hybridlit.data import SklearnDataModule


class Encoded(HybridModule):
    def __init__(self, output_dim=3):
        super().__init__(output_dim=output_dim)
        circuit = Circuit(4).add(Interferometer())
        layer = QuantumLayer(0, output_dim, circuit=circuit, n_photons=2)
        self.quantum = AmplitudeEncoding(4, layer)

    def forward(self, x):
        return self.quantum(x)


def test_a_module_with_features_in_amplitudes_trains(make_trainer):
    torch.manual_seed(0)
    model = Encoded()
    assert list(photonic_modules(model)) == ["quantum.layer"]
    before = model.quantum.layer.phases.clone()
    make_trainer(max_epochs=1).fit(model, SklearnDataModule("iris"))
    assert not torch.equal(model.quantum.layer.phases, before)
    assert "quantum.layer.phases" in split_parameters(model)["photonic"]
