"""Names of a space: no trial may die of an argument that its class does not have."""

import pytest
from fake_trials import recipe

from hybridlit import ParallelHybrid
from hybridlit.constructors import taken_arguments
from hybridlit.search.names import applied, bound_to_constructors, left_out
from hybridlit.search.space import read_space


def bound(space, **changes):
    return bound_to_constructors(read_space(space), recipe() | changes)


@pytest.mark.parametrize(
    ("space", "kind", "words"),
    [
        ({"model.n_mode": [4]}, TypeError, "SequentialHybrid has no argument 'n_mode'.*'n_modes'"),
        ({"model.gate_epochs": [4]}, TypeError, "SequentialHybrid has no argument 'gate_epochs'"),
        ({"data.batchsize": [4]}, TypeError, "SklearnDataModule has no .*'batch_size'"),
        ({"trainer.max_epoch": [4]}, TypeError, "Trainer has no .*'max_epochs'"),
        ({"modal.n_modes": [4]}, ValueError, "did you mean 'model'"),
        ({"model.quantum": ["mlp"]}, ValueError, "compares both anyway"),
        ({"model.quantum_input_dim": [4]}, ValueError, "is called model.quantum_dim now"),
        ({"data.seed": [1, 2]}, ValueError, "judged on the same rows"),
        ({"data.val_fraction": [0.1]}, ValueError, "judged on the same rows"),
        ({"data.class_path": ["MnistDataModule"]}, ValueError, "judged on the same rows"),
        ({"data.dataset": ["iris", "wine"]}, ValueError, "judged on the same rows"),
        ({"model.class_path": ["SequentialHibrid"]}, ValueError, "'SequentialHybrid'"),
        ({"model.class_path": {"low": 1, "high": 2}}, ValueError, "names of classes"),
        ({"model.experiment.n_modez": [4]}, TypeError, "Experiment has no .*'n_modes'"),
        ({"model.experiment.n_modes": [4]}, ValueError, "name model.n_modes"),
        ({"model.n_modes": [4, 4.5]}, TypeError, "space has model.n_modes: .*integer.*4.5"),
        ({"model.n_modes": {"low": 3.0, "high": 4}}, TypeError, "must be an integer, got float"),
        ({"model.circuit_type": ["serial"]}, ValueError, "must be one of .*'series'.*serial"),
        ({"trainer.max_epochs": ["many"]}, TypeError, "max_epochs must be"),
        (
            {
                "model.class_path": ["SequentialHybrid", "ResidualHybrid"],
                "model.gate": {
                    "choices": ["input"],
                    "when": {"model.class_path": "SequentialHybrid"},
                },
            },
            TypeError,
            "for SequentialHybrid: SequentialHybrid has no argument 'gate'",
        ),
    ],
)
def test_what_is_wrong_is_named_with_class_argument_and_nearest_name(space, kind, words):
    with pytest.raises(kind, match=words):
        bound(space)


def test_a_circuit_is_named_where_the_recipe_has_it():
    settings = recipe()
    settings["model"]["init_args"]["experiment"] = {"circuit_type": "series", "n_modes": 4}
    del settings["model"]["init_args"]["n_photons"]
    with pytest.raises(ValueError, match=r"name model\.experiment\.n_modes"):
        bound_to_constructors(read_space({"model.n_modes": [4]}), settings)
    bound_to_constructors(read_space({"model.experiment.n_modes": [4]}), settings)


def test_an_argument_of_some_classes_is_drawn_for_these():
    space = bound(
        {
            "model.fusion": ["concat", "sum"],
            "model.class_path": ["SequentialHybrid", "ParallelHybrid"],
            "model.n_modes": [4, 5],
        }
    )
    by_name = {each.name: each for each in space.dimensions}
    assert by_name["model.fusion"].when == {"model.class_path": ("ParallelHybrid",)}
    assert by_name["model.n_modes"].when == {}


def test_a_range_of_whole_numbers_is_of_numbers_where_the_argument_is_one():
    [rate, modes] = bound(
        {"model.dropout": {"low": 0, "high": 1}, "model.n_modes": {"low": 3, "high": 5}}
    ).dimensions
    assert not rate.is_of_integers and modes.is_of_integers
    [step] = bound({"model.weight_decay": {"low": 0, "high": 4, "step": 1}}).dimensions
    assert step.is_of_integers


def test_another_class_has_no_arguments_of_the_first():
    settings = recipe()
    settings["model"]["init_args"]["head_dim"] = 8
    assert "head_dim" not in taken_arguments(ParallelHybrid)
    assert left_out(settings, "ParallelHybrid") == ["head_dim"]
    found = applied(settings, {"model.class_path": "ParallelHybrid", "model.fusion": "sum"})
    assert found["model"] == {
        "class_path": "ParallelHybrid",
        "init_args": {
            "input_dim": 4,
            "quantum_dim": 2,
            "output_dim": 3,
            "n_photons": 1,
            "fusion": "sum",
        },
    }
    assert settings["model"]["init_args"]["head_dim"] == 8
