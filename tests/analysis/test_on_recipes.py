"""Analyses run on the models of recipes, one of each kind, and leave nothing behind."""

from pathlib import Path

import pytest
import torch
from digits_folder import write_digits
from lightning.pytorch import Trainer

from hybridlit import ablation_study, find_batch_size, profile_components
from hybridlit.recipe.building import datamodule_of_recipe, model_of_recipe

pytest.importorskip("sklearn", reason="recipes extra")
pytest.importorskip("mlxtend", reason="recipes extra")

RECIPES = Path(__file__).parents[2] / "recipes"
KINDS = [
    "breast_cancer_residual",
    "digits_bank",
    "digits_noisy",
    "iris_circuit",
    "multilabel_digits",
    "wine_parallel",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]


def outputs(model, x):
    torch.manual_seed(1)  # some count shots
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize("name", KINDS)
def test_outputs_are_as_before(name, tmp_path, monkeypatch):
    path = RECIPES / f"{name}.yaml"
    write_digits(path, tmp_path, monkeypatch, 1797)
    torch.manual_seed(0)
    model, data = model_of_recipe(path), datamodule_of_recipe(path)
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet).fit(model, data)
    model.eval()
    x = torch.cat([model.unpack(batch)[0] for batch in data.test_dataloader()])
    before = outputs(model, x)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()

    profile = profile_components(model, data.train_dataloader(), batches=3, progress=False)
    study = ablation_study(model, data, seeds=2, max_epochs=1, progress=False)
    size = find_batch_size(
        model, next(iter(data.train_dataloader())), budget="64MiB", progress=False
    )

    assert sum(part.share for part in profile.parts) == pytest.approx(1)
    assert {"zero", "mean", "permutation"} <= {arm.replacement for arm in study.posthoc}
    assert {"hybrid", "linear", "mlp"} <= {arm.name for arm in study.retrained}
    assert size.size >= 1
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.equal(outputs(model, x), before)
