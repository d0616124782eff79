"""The circuit of a template as one `experiment`: in Python, YAML, checkpoints and its twin."""

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from small_layers import COMPONENTS

from hybridlit import Circuit, Experiment, ablation_study, find_batch_size
from hybridlit.callbacks import ExactResume
from hybridlit.cli import main
from hybridlit.cli.loading import load_model
from hybridlit.components import photonic_modules, split_parameters
from hybridlit.data import SklearnDataModule
from hybridlit.recipe.building import model_of_recipe
from hybridlit.templates import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)

MAKERS = {
    "sequential": lambda **given: SequentialHybrid(4, 3, 2, **given),
    "parallel": lambda **given: ParallelHybrid(4, 2, quantum_dim=3, **given),
    "residual": lambda **given: ResidualHybrid(4, 2, quantum_dim=3, hidden_dims=[5], **given),
    "bank": lambda **given: ParallelBankHybrid(4, 2, quantum_dim=3, n_layers=2, **given),
}
STATE = dict(circuit_type="parallel", n_modes=4, n_photons=3, input_state=[0, 2, 0, 1])
ENCODING = [[[0.0, 0.0, 0.0], [1.0, 0.0, 0.5], [0.0, 2.0, 0.0]]]
GIVEN = {
    "state": STATE,
    "encoding": dict(n_modes=3, n_photons=2, encoding=ENCODING, use_bandwidth_tuning=True),
    "photons of the state": dict(circuit_type="series", n_modes=4, input_state=[0, 2, 0, 1]),
    "radian": dict(
        n_modes=3, n_photons=1, encoding=ENCODING, encoding_unit="radian", reservoir_mode=True
    ),
    "components": dict(n_modes=4, n_photons=2, circuit=COMPONENTS, use_bandwidth_tuning=True),
    "superposition": dict(
        circuit_type="series",
        n_modes=4,
        input_state=[
            {"state": [1, 0, 1, 0], "amplitude": 0.6},
            {"state": [0, 1, 0, 1], "amplitude": [0.0, 0.8]},
        ],
    ),
    "noise": dict(
        circuit_type="series",
        n_modes=4,
        n_photons=2,
        noise={"transmittance": 0.6, "indistinguishability": 0.9, "trainable": ["transmittance"]},
        detectors=["threshold", "pnr", "ppnr:3", "pnr"],
        min_detected_photons=1,
    ),
    "preset": dict(circuit_type="series", n_modes=4, n_photons=1, noise="demo"),
    "unbunched": dict(circuit_type="SERIES", n_modes=5, n_photons=2, computation_space="unbunched"),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture(params=GIVEN)
def given(request):
    return GIVEN[request.param]


# every circuit in one template, and every template with one circuit
every_circuit_and_template = pytest.mark.parametrize(
    ("make", "given"),
    [pytest.param(MAKERS["sequential"], GIVEN[kind], id=kind) for kind in GIVEN]
    + [pytest.param(MAKERS[name], STATE, id=name) for name in MAKERS if name != "sequential"],
)


def circuit(model):
    (found,) = photonic_modules(model).values()
    return found


def forms(given):
    yield given
    yield Experiment(**given)
    yield {"class_path": "hybridlit.Experiment", "init_args": given}
    if "encoding" in given:
        yield given | {"encoding": np.array(given["encoding"])}
        yield given | {"encoding": torch.tensor(given["encoding"])}
    if "circuit" in given:
        whole = Circuit(given["n_modes"], given["circuit"])
        without = {name: value for name, value in given.items() if name != "n_modes"}
        yield without | {"circuit": whole}
        yield without | {"circuit": whole.plain()}


@every_circuit_and_template
def test_every_form_gives_the_same_circuit(make, given):
    expected = Experiment(**given)
    for form in forms(given):
        model = make(experiment=form)
        assert circuit(model).experiment == expected
        assert model.hparams["n_modes"] == expected.n_modes
        assert model(torch.randn(6, 4)).shape == (6, 2)


@every_circuit_and_template
def test_checkpoints_hold_plain_values_and_bring_it_back(make, given, tmp_path, make_trainer):
    model = make(experiment=Experiment(**given))
    trainer = make_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    kept = torch.load(tmp_path / "model.ckpt", weights_only=True)["hyper_parameters"]
    assert type(kept["experiment"]) is dict and kept["experiment"]["n_modes"] == given["n_modes"]
    assert Experiment(**kept["experiment"]) == Experiment(**given)
    restored = type(model).load_from_checkpoint(tmp_path / "model.ckpt")
    assert dict(restored.hparams) == dict(model.hparams)
    x = torch.randn(5, 4)
    assert torch.equal(model.eval()(x), restored.eval()(x))


@pytest.mark.parametrize("kind", [pytest.param("encoding", marks=pytest.mark.slow), "components"])
def test_a_resumed_run_is_the_uninterrupted_one(kind, tmp_path, make_trainer):
    def run(path=None):
        torch.manual_seed(0)
        model = SequentialHybrid(13, 3, 3, experiment=GIVEN[kind], schedule="cosine")
        kept = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
        trainer = make_trainer(
            max_epochs=4, callbacks=[ExactResume(), kept], enable_checkpointing=True
        )
        trainer.fit(model, SklearnDataModule("wine"), ckpt_path=path)
        return model.state_dict()

    whole, resumed = run(), run(tmp_path / "epoch=1.ckpt")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@every_circuit_and_template
def test_the_twin_has_as_many_parameters(make, given):
    sizes = {}
    for quantum in ("photonic", "mlp"):
        torch.manual_seed(1)
        model = make(experiment=given, quantum=quantum)
        parts = [m for n, m in model.named_children() if n.startswith("quantum")]
        sizes[quantum] = sum(p.numel() for part in parts for p in part.parameters())
    assert split_parameters(model)["photonic"] == {}
    assert sizes["mlp"] == pytest.approx(sizes["photonic"], rel=0.2)


def test_what_contradicts_it_is_refused_with_both_names():
    with pytest.raises(ValueError, match="n_modes=5 contradicts experiment, whose n_modes is 4"):
        SequentialHybrid(4, 3, 2, n_modes=5, experiment=STATE)
    with pytest.raises(ValueError, match=r"circuit_type='parallel' .* has an encoding instead"):
        SequentialHybrid(4, 3, 2, circuit_type="parallel", experiment=GIVEN["encoding"])
    with pytest.raises(ValueError, match="use_bandwidth_tuning=True contradicts experiment"):
        ResidualHybrid(4, 2, quantum_dim=3, use_bandwidth_tuning=True, experiment=STATE)
    with pytest.raises(ValueError, match=r"circuit_type='parallel' .* has a circuit instead"):
        SequentialHybrid(4, 3, 2, circuit_type="parallel", experiment=GIVEN["components"])
    model = SequentialHybrid(4, 3, 2, n_modes=4, n_photons=3, experiment=STATE)  # agrees
    assert circuit(model).experiment == Experiment(**STATE)


def test_defaults_of_a_template_of_the_users_contradict_nothing():
    class Mine(SequentialHybrid):
        def __init__(self, *args, n_modes=9, **kwargs):
            super().__init__(*args, n_modes=n_modes, **kwargs)

    class Fixed(SequentialHybrid):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, n_modes=9, **kwargs)

    assert circuit(Mine(4, 3, 2, experiment=STATE)).experiment.n_modes == 4
    with pytest.raises(ValueError, match="n_modes=9 contradicts experiment"):
        Fixed(4, 3, 2, experiment=STATE)


class Bigger(SequentialHybrid):
    def __init__(self, *args, experiment, **kwargs):
        wider = {**experiment, "n_modes": experiment["n_modes"] + 1}
        super().__init__(*args, experiment=wider, **kwargs)


class ByName(SequentialHybrid):
    def __init__(self, *args, experiment="state", **kwargs):
        super().__init__(*args, experiment=Experiment(**GIVEN[experiment]), **kwargs)


@pytest.mark.parametrize(
    ("kind", "own"),
    [(Bigger, dict(circuit_type="series", n_modes=3, n_photons=1)), (ByName, "state")],
)
def test_a_subclass_gets_back_what_it_makes_its_experiment_of(kind, own, tmp_path, make_trainer):
    model = kind(4, 3, 2, experiment=own)
    trainer = make_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    restored = kind.load_from_checkpoint(tmp_path / "model.ckpt")
    assert circuit(restored).experiment == circuit(model).experiment
    assert restored.hparams["experiment"]["n_modes"] == 4 == restored.hparams["n_modes"]


def test_loggers_get_the_circuit_that_there_is(make):
    initial = make(experiment=GIVEN["unbunched"]).hparams_initial
    assert (initial["n_modes"], initial["n_photons"]) == (5, 2)
    assert initial["computation_space"] == "unbunched" == initial["experiment"]["computation_space"]


@pytest.mark.parametrize(
    ("experiment", "error", "message"),
    [
        (
            {"class_path": "hybridlit.Experiment", "init_arg": STATE},
            ValueError,
            "in init_args, beside class_path, got 'init_arg' beside it",
        ),
        (
            {"class_path": "hybridlit.Experiment", "init_args": [1]},
            ValueError,
            r"in init_args, .* got init_args=\[1\]",
        ),
        (STATE | {"n_mode": 3}, TypeError, r"no field 'n_mode' \(did you mean 'n_modes'\?\)"),
        (STATE | {"n_modes": 5}, ValueError, "input_state must hold"),
        ({"class_path": "torch.nn.Linear"}, ValueError, "must be hybridlit.Experiment, got 'torch"),
        (3, TypeError, "experiment must be"),
        ("series", TypeError, "experiment must be"),
    ],
)
def test_what_is_no_experiment_is_refused(experiment, error, message):
    with pytest.raises(error, match=message):
        SequentialHybrid(4, 3, 2, experiment=experiment)


def test_an_encoding_or_a_circuit_is_for_one_number_of_features():
    with pytest.raises(ValueError, match=r"of 3 features, .* gets 2: give quantum_dim=3"):
        SequentialHybrid(4, 2, 2, experiment=GIVEN["encoding"])
    with pytest.raises(ValueError, match=r"gets 4: give quantum_dim=3"):
        ParallelHybrid(4, 2, experiment=GIVEN["encoding"])
    with pytest.raises(ValueError, match=r"a circuit of 3 features, .* gets 4: give quantum_dim=3"):
        ParallelHybrid(4, 2, experiment=GIVEN["components"])
    constant = dict(n_modes=4, n_photons=1, circuit=[dict(component="interferometer")])
    with pytest.raises(ValueError, match="circuit with angles that data turn, got none"):
        SequentialHybrid(4, 3, 2, experiment=constant)


def test_a_builder_may_ask_for_another_experiment():
    class Mine(SequentialHybrid):
        def build_quantum(self):
            return self.make_quantum(3, 5, experiment=STATE)

    layer = Mine(4, 3, 2).quantum_layer
    assert layer.experiment == Experiment(**STATE) and layer.output_size == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoding", "components"])
def test_arms_and_batch_sizes_keep_to_it(kind):
    torch.manual_seed(0)
    data = SklearnDataModule("iris")
    model = SequentialHybrid(4, 3, 3, experiment=GIVEN[kind])
    study = ablation_study(
        model, data, retrained=["mlp", "single_photon"], seeds=2, max_epochs=1, baselines=False
    )
    assert {"mlp", "single_photon"} <= {arm.name for arm in study.retrained}
    found = find_batch_size(model, (torch.randn(4, 4), torch.arange(4) % 3), max_batch=64)
    assert found.size == 64


# --- YAML and the command line --------------------------------------------------------------------


def recipe(path, experiment, **given):
    content = {
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {
            "class_path": "SequentialHybrid",
            "init_args": dict(input_dim=4, quantum_dim=3, output_dim=3, **given),
        },
        "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
    }
    content["model"]["init_args"]["experiment"] = experiment
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("wrapped", [False, True])
def test_yaml(given, wrapped, tmp_path):
    form = {"class_path": "hybridlit.Experiment", "init_args": given} if wrapped else given
    model = model_of_recipe(recipe(tmp_path / "recipe.yaml", form))
    assert circuit(model).experiment == Experiment(**given)


@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*logging interval.*")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["state", "components"])
def test_the_command_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = recipe(tmp_path / "recipe.yaml", GIVEN[name])
    main(["fit", f"--config={path}", "--trainer.logger=true"])
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    model = load_model(last)
    assert circuit(model).experiment == Experiment(**GIVEN[name])
    main(["fit", f"--config={path}", "--ckpt_path=last", "--trainer.max_epochs=3"])
    main(["draw", f"--ckpt={last}"])
    main(["draw", f"--config={path}"])
    main(["analyze", f"--ckpt={last}", "--retrain=false", "--baselines=false", "--batches=1"])
    assert "3 features" in capsys.readouterr().out
    twin = ["--model.quantum=mlp", "--model.experiment.reservoir_mode=true"]
    main(["fit", f"--config={path}", *twin, "--trainer.max_epochs=1"])


@pytest.mark.slow
def test_a_field_of_it_can_be_changed_from_outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = recipe(tmp_path / "recipe.yaml", GIVEN["unbunched"])
    changes = ["--model.experiment.n_photons=1", "--trainer.max_epochs=1"]
    main(["fit", f"--config={path}", *changes])
    (last,) = (tmp_path / "runs").rglob("last.ckpt")
    assert circuit(load_model(last)).experiment.n_photons == 1
