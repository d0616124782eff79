"""Clients whose photons are under noise of their own."""

import pytest
import torch
from small_federations import recipe, run

from hybridlit import load
from hybridlit.analysis.noisy import under_noise
from hybridlit.federated import client as client_module
from hybridlit.photonics import Noise


@pytest.mark.slow
def test_each_client_trains_and_is_scored_under_its_own_noise(monkeypatch):
    seen = []
    fit, scored = client_module.fit_to_the_best, client_module.scores

    def noise_of(built):
        layer = built.model.quantum_layer
        return layer.experiment.noise, layer.outcomes.size

    def noted(trainer, model, data):
        seen.append(
            ("fit", model.quantum_layer.experiment.noise, model.quantum_layer.outcomes.size)
        )
        return fit(trainer, model, data)

    def noted_scores(built, test):
        seen.append(("score", *noise_of(built)))
        return scored(built, test)

    monkeypatch.setattr(client_module, "fit_to_the_best", noted)
    monkeypatch.setattr(client_module, "scores", noted_scores)
    noise = {0: {"indistinguishability": 0.5}, 2: "ascella"}
    found = run(recipe(federated={"rounds": 1, "noise": noise}))
    own = [Noise(indistinguishability=0.5), None, Noise.preset("ascella")]
    assert len(seen) == 6  # clients take part in any order
    assert all((what, each, 10) in seen for what in ("fit", "score") for each in own)
    assert found.model.quantum_layer.experiment.noise is None


def test_noise_of_a_client_changes_what_it_sends():
    short = {"rounds": 1, "clients": 2, "shares": [2, 1]}
    ideal = run(recipe(federated=short))
    noisy = run(recipe(federated={**short, "noise": {1: {"indistinguishability": 0.0}}}))
    assert not torch.equal(
        ideal.shared["quantum_layer.phases"], noisy.shared["quantum_layer.phases"]
    )


@pytest.mark.slow
def test_what_a_noisy_client_keeps_is_a_model_of_the_recipe(tmp_path):
    federated = {"rounds": 1, "clients": 2, "shares": [2, 1], "local": "photonic"}
    run(recipe(federated={**federated, "noise": {0: "ascella"}}), folder=tmp_path)
    model = load(tmp_path / "client_0" / "model.ckpt")
    assert model.quantum_layer.experiment.noise is None
    with under_noise(model, "ascella") as layers:
        assert [layer.outcomes.size for layer in layers.values()] == [10]
