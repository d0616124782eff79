"""A recipe to search in, and a training that is a formula: for tests of what is around it."""

import math
from types import SimpleNamespace

from hybridlit import SequentialHybrid
from hybridlit.analysis.trainings import Training
from hybridlit.recipe import Trained


class Demanding(SequentialHybrid):
    """A model of a user's own, with an argument that it needs."""

    def __init__(self, *, wish: str, **others):
        super().__init__(**others)


SPACE = {
    "model.n_modes": {"low": 3, "high": 6},
    "model.classical_lr": {"low": 1e-3, "high": 1e-1, "log": True},
    "model.circuit_type": ["series", "parallel"],
}


def recipe(**section):
    return {
        "seed_everything": 0,
        "trainer": {"accelerator": "cpu", "max_epochs": 4},
        "model": {
            "class_path": "SequentialHybrid",
            "init_args": {"input_dim": 4, "quantum_dim": 2, "output_dim": 3, "n_photons": 1},
        },
        "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
        "search": {"space": SPACE, "trials": 6, "sampler": "random", **section},
    }


def score_of(settings):
    """Return the score of a fake training: a smooth function of what is searched for."""
    given = settings["model"]["init_args"]
    rate = math.log10(given.get("classical_lr", 1e-3))
    return 0.9 - 0.05 * (rate + 2) ** 2 - 0.01 * given.get("n_modes", 6)


def fake_train(settings, seed, *, callbacks, test, max_epochs):
    """Stand in for `train`: the score rises with each epoch to `score_of`."""
    assert not test, "no trial may look at test rows"
    final = score_of(settings)
    model = SimpleNamespace(task=SimpleNamespace(score="acc"))
    history = []
    for epoch in range(max_epochs):
        reached = final * (epoch + 1) / max_epochs
        history.append(1 - reached)
        watched = SimpleNamespace(
            sanity_checking=False,
            callback_metrics={"val/acc": reached},
            current_epoch=epoch,
            max_epochs=max_epochs,
            should_stop=False,
        )
        for each in callbacks:
            each.on_validation_end(watched, model)
        if watched.should_stop:
            break
    training = Training(0.0, len(history), len(history), min(history), tuple(history))
    return Trained(model, None, training, "acc", 1 - min(history), None, 10, 5, 0.0)
