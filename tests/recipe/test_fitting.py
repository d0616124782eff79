"""The circuit of a recipe within a budget: the largest of its line, and nothing else changed."""

import pytest
import torch
from small_layers import COMPONENTS

from hybridlit import Budget, ParallelBankHybrid
from hybridlit.photonics.speed import Speed, assume_speed
from hybridlit.recipe import changed, cost_of_model
from hybridlit.recipe.fitting import fitted
from hybridlit.templates.sizes import Sizes

IRIS = Sizes((4,), 1, 3, "iris")
TEMPLATES = {
    "SequentialHybrid": dict(quantum_dim=3),
    "ParallelHybrid": dict(quantum_dim=3),
    "ResidualHybrid": dict(quantum_dim=3),
    "ParallelBankHybrid": dict(n_layers=2),
}


LAST = "ParallelHybrid", True


@pytest.fixture(autouse=True)
def known_speed():
    for dtype in ("float32", "float64"):
        assume_speed(Speed(dtype, 1e-4, (10**4, 10**8), (5e-10, 1e-9), 5e-10, 5e-6, 2e-11, 2e-10))
    yield
    assume_speed(None)


def recipe(kind="SequentialHybrid", **arguments):
    given = dict(input_dim="auto", output_dim="auto") | TEMPLATES[kind] | arguments
    iris = {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris", "batch_size": 32}}
    return {"model": {"class_path": kind, "init_args": given}, "data": iris, "trainer": {}}


@pytest.mark.slow
@pytest.mark.parametrize("kind,whole", [*((kind, False) for kind in TEMPLATES), LAST])
def test_every_template_gets_the_largest_circuit_of_its_kind(kind, whole):
    """Twice as many modes as photons, in arguments of their own or in an experiment."""
    circuit = dict(n_modes=6, n_photons=3)
    if whole:
        circuit = {"experiment": circuit | {"circuit_type": "series"}}
    given = recipe(kind, **circuit)
    limit = Budget(parameters=2 * cost_of_model(given["model"], IRIS, 32).parameters)
    found = fitted(given, limit)
    modes, photons = found.n_modes, found.n_photons
    assert modes > 6
    assert photons == modes // 2
    where = "model.experiment." if whole else "model."
    numbers = {f"{where}n_modes": modes, f"{where}n_photons": photons}
    assert found.settings == changed(given, numbers)
    assert found.cost == cost_of_model(found.settings["model"], IRIS, 32)
    assert limit.refusal(found.cost) is None
    larger = {f"{where}n_modes": modes + 1, f"{where}n_photons": (modes + 1) // 2}
    assert limit.refusal(cost_of_model(changed(given, larger)["model"], IRIS, 32))


@pytest.mark.slow
def test_a_circuit_that_is_too_large_becomes_smaller_and_the_line_says_so():
    """One that would never fit into this machine."""
    found = fitted(recipe(n_modes=40, n_photons=10), Budget(memory=2**20, parameters=4000))
    assert found.n_photons == found.n_modes // 4
    assert found.line.startswith(
        f"Budget of 1 MiB, 4000 parameters: {found.n_modes} modes and {found.n_photons} photons, "
        "instead of 40 and 10; "
    )
    assert found.line.endswith("for a training step of 32 rows.")
    assert f" {found.cost.states:,} states" in found.line


def test_the_circuit_of_a_template_by_default_is_known():
    """5 modes and 2 photons."""
    found = fitted(recipe("ParallelHybrid"), "6000 parameters")
    assert "instead of 5 and 2" in found.line
    assert (found.n_modes, found.n_photons) == (8, 3)
    again = fitted(found.settings, "6000 parameters")
    assert "as before" in again.line
    assert again.settings == found.settings


@pytest.mark.slow
def test_a_device_limits_modes_and_photons():
    given = recipe(n_modes=4, n_photons=2, computation_space="unbunched")
    assert fitted(given, "ascella")[1:3] == (12, 6)
    assert fitted(recipe(n_modes=8, n_photons=6), "ascella")[1:3] == (9, 6)


@pytest.mark.slow
def test_double_precision_is_that_of_the_trainer():
    given = recipe(n_modes=6, n_photons=3)
    memory = cost_of_model(given["model"], IRIS, 32).peak_bytes
    for name, modes in (("32-true", 6), ("64-true", 5)):
        found = fitted(given | {"trainer": {"precision": name}}, Budget(memory=memory))
        assert found.n_modes <= modes
        assert ("as before" in found.line) == (modes == 6)


@pytest.mark.parametrize(
    "arguments,message",
    [
        (dict(quantum="mlp"), "SequentialHybrid has quantum='mlp' instead of a photonic layer"),
        (
            dict(experiment=dict(circuit_type="series", n_modes=4, input_state=[1, 1, 0, 0])),
            r"4 modes and 2 photons take .* over the 1 KiB allowed; input_state says how many",
        ),
        (
            dict(experiment=dict(n_modes=2, n_photons=1, encoding=[[[1.0] * 3, [0.0] * 3]])),
            "over the 1 KiB allowed; encoding says how many modes there are",
        ),
        (
            dict(experiment=dict(n_modes=4, n_photons=2, circuit=COMPONENTS)),
            "over the 1 KiB allowed; circuit says how many modes there are",
        ),
        (dict(n_mode=3), "n_mode"),
    ],
)
def test_what_a_budget_cannot_change_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted(recipe(**arguments), "1 KiB")


def test_a_fixed_input_is_taken_as_it_is_if_it_fits():
    circuit = dict(circuit_type="series", n_modes=4, input_state=[1, 1, 0, 0])
    given = recipe(experiment=circuit)
    found = fitted(given, "300 KiB")
    assert found.settings == given
    assert "as before" in found.line


@pytest.mark.slow
def test_too_few_states_for_the_outputs_are_passed_over():
    """Groups of outcomes must be no more than outcomes: 2 and 3 modes have too few."""
    given = recipe(output_mapping_strategy="lexgrouping", quantum_output_dim=10)
    assert fitted(given, "500 parameters").cost.states >= 10


def test_the_model_is_the_one_that_is_built():
    found = fitted(recipe("ParallelBankHybrid", n_modes=4, n_photons=2), "9000 parameters")
    model = ParallelBankHybrid(4, 3, n_layers=2, n_modes=found.n_modes, n_photons=found.n_photons)
    assert model.cost(32) == found.cost
    assert model(torch.rand(2, 4)).shape == (2, 3)
