"""Templates without one of their paths, and trained to do without any."""

import pytest
import torch
from torch import nn

from hybridlit import (
    HybridCheckpoint,
    HybridNetwork,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    mark_photonic,
    warm_start,
)
from hybridlit.analysis.replacement import replaced
from hybridlit.callbacks import ExactResume, export_component
from hybridlit.undisturbed import undisturbed

SMALL = dict(input_dim=5, output_dim=3, n_modes=4, n_photons=2)
PATHS = {
    "classical_path": (ParallelHybrid, {}),
    "quantum_path": (ParallelHybrid, {"path_dropout": 0.3}),
    "layer_1": (ParallelBankHybrid, {"n_layers": 3}),
    "quantum_residual": (ResidualHybrid, {"gate": "gated"}),
    "quantum_layer": (SequentialHybrid, {"quantum_dim": 2}),
}


def made(path, **more):
    template, arguments = PATHS[path]
    return template(**SMALL | arguments | more)


def seen(path):
    """A model in evaluation mode that has seen rows, the gate of a residual open."""
    model = made(path)
    with torch.no_grad():
        for parameter in getattr(model, "gate", nn.Identity()).parameters():
            parameter.normal_()
    model(torch.randn(40, 5))
    return model.eval()


@pytest.mark.parametrize("path", [path for path in PATHS if path != "layer_1"])
def test_a_model_without_a_path_is_one_whose_module_gives_its_mean(path):
    model, x = seen(path), torch.randn(7, 5)
    mean = model.paths.means[model.paths.names.index(path)]
    whole = model(x)
    with model.without(path):
        without = model(x)
    with replaced(model.get_submodule(path), mean):
        torch.testing.assert_close(without, model(x))
    assert not torch.allclose(without, whole)
    assert torch.equal(model(x), whole)


def test_a_layer_of_a_bank_is_lost_alone():
    model, x = seen("layer_1"), torch.randn(7, 5)
    mean = model.paths.means[1]

    def other(outputs):
        return torch.stack([outputs[:, 0], mean.expand_as(outputs[:, 1]), outputs[:, 2]], 1)

    with model.without("layer_1"):
        without = model(x)
    with replaced(model.quantum_layers, other):
        torch.testing.assert_close(without, model(x))


def test_means_are_of_the_modules_outputs_in_training():
    model, found = made("quantum_path"), []
    model.quantum_path.register_forward_hook(lambda module, given, output: found.append(output))
    for _ in range(3):
        model(torch.randn(16, 5))
    torch.testing.assert_close(model.paths.means[1], torch.cat(found).mean(0))


def test_all_paths_may_be_lost():
    model = seen("classical_path")
    with model.without("classical_path", "quantum_path"):
        outputs = model(torch.randn(4, 5))
    torch.testing.assert_close(outputs, outputs[:1].expand(4, 3))


def test_what_cannot_be_lost_is_refused():
    model = made("quantum_path")
    with pytest.raises(ValueError, match="seen no training rows"), model.without("quantum_path"):
        pass
    with (
        pytest.raises(ValueError, match=r"must be one of .*got 'quantum'"),
        model.without("quantum"),
    ):
        pass


@pytest.mark.parametrize("path", ["quantum_residual", "quantum_layer"])
def test_templates_with_one_path_take_no_path_dropout(path):
    with pytest.raises(ValueError, match=rf"path_dropout must be 0 .* {path}, got 0\.2"):
        made(path, path_dropout=0.2)


def test_a_bank_of_one_layer_takes_no_path_dropout():
    with pytest.raises(ValueError, match="path_dropout must be 0"):
        made("layer_1", n_layers=1, path_dropout=0.2)


def test_path_dropout_is_a_probability_below_1():
    for wrong in (1.0, -0.1):
        with pytest.raises(ValueError, match="path_dropout must be at least 0 and below 1"):
            made("quantum_path", path_dropout=wrong)


def test_a_network_without_paths_refuses_both(data, make_trainer):
    class Plain(HybridNetwork):
        def __init__(self, **options):
            super().__init__(**options)
            self.layer = nn.Linear(self.feature_dim, 3)

        def forward(self, x):
            return self.layer(self.front_features(x))

    model = Plain(**SMALL, path_dropout=0.1)
    with pytest.raises(ValueError, match="has no paths that it could do"):
        model.without("layer").__enter__()
    with pytest.raises(ValueError, match=r"path_dropout=0\.1 has no effect in Plain: call"):
        make_trainer(max_epochs=1).fit(model, data)


def test_a_layer_of_another_library_need_not_tell_its_width():
    class Foreign(SequentialHybrid):
        def build_quantum(self):
            return mark_photonic(nn.Linear(2, 4))

        def build_classical_post(self):
            return nn.Linear(4, 3)

    model = Foreign(5, 2, 3)
    assert model(torch.randn(4, 5)).shape == (4, 3) and model.paths is None


def test_only_training_with_path_dropout_draws_numbers():
    model, x = made("quantum_path"), torch.randn(8, 5)
    state = torch.get_rng_state()
    model.eval()(x)
    made_without = ParallelHybrid(**SMALL)
    torch.set_rng_state(state)
    made_without(x)
    assert torch.equal(torch.get_rng_state(), state)
    model.train()(x)
    assert not torch.equal(torch.get_rng_state(), state)


def test_an_old_state_dict_loads_and_a_new_one_keeps_the_means(tmp_path):
    model = seen("quantum_path")
    state = model.state_dict()
    fresh = made("quantum_path")
    fresh.load_state_dict(state)
    assert all(map(torch.equal, fresh.paths.means, model.paths.means))
    old = {name: value for name, value in state.items() if not name.startswith("paths.")}
    fresh.load_state_dict(old)
    with pytest.raises(ValueError, match="seen no training rows"), fresh.without("quantum_path"):
        pass


def test_a_component_of_another_width_is_still_taken_over(tmp_path):
    """Means are of the outputs of all components, and belong to none of them."""
    model, other = seen("quantum_path"), made("quantum_path", hidden_dims=[8, 4])
    names = export_component(model, "photonic", tmp_path / "photonic.pt")
    assert warm_start(other, tmp_path / "photonic.pt") == names
    export_component(model, "classical", tmp_path / "classical.pt")
    names = warm_start(made("quantum_path"), tmp_path / "classical.pt")
    assert names and not any(name.startswith("paths.") for name in names)


@pytest.mark.slow
def test_a_compiled_model_can_do_without_a_path():
    model, x = seen("quantum_path"), torch.randn(4, 5)
    with model.without("quantum_path"):
        expected = model(x)
    model.compile(backend="eager")
    whole = model(x)
    with model.without("quantum_path"):
        torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model(x), whole)


def test_a_resumed_run_with_path_dropout_is_the_uninterrupted_one(data, make_trainer, tmp_path):
    def run(steps, folder, path=None):
        torch.manual_seed(3)
        model = made("quantum_path", path_dropout=0.4)
        saving = HybridCheckpoint(dirpath=tmp_path / folder, every_n_steps=1)
        callbacks = [saving, ExactResume()]
        trainer = make_trainer(callbacks, max_epochs=-1, max_steps=steps, enable_checkpointing=True)
        trainer.fit(model, data, ckpt_path=path)
        return model.state_dict()

    whole = run(14, "whole")
    run(6, "part")  # four batches are an epoch
    resumed = run(14, "part", tmp_path / "part" / "last.ckpt")
    assert whole.keys() == resumed.keys() and "paths.mean" in whole
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_a_look_at_a_model_in_training_leaves_its_means_as_they_were():
    """Also once the next batch counts."""
    model = ParallelHybrid(input_dim=3, output_dim=2).train()
    with undisturbed(model, whole=True):
        model(torch.full((4, 3), 5.0))
    assert not model.paths.count.any()
    model(torch.zeros(4, 3))
    assert (model.paths.count == 1).all()


def test_an_input_is_not_called_like_a_path():
    with pytest.raises(ValueError, match=r"other names than the paths .* \['quantum_path'\]"):
        ParallelHybrid(None, 2, inputs={"quantum_path": 3, "table": 2})
