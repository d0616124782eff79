import numpy as np
import pytest
from torch import nn

from hybridlit import CircuitType
from hybridlit.constructors import plain
from hybridlit.templates import HybridModule, SequentialHybrid


def test_every_argument_is_kept_before_the_network_is_built():
    seen = {}

    class Spy(SequentialHybrid):
        def __init__(self, *args, extra="default", **kwargs):
            super().__init__(*args, n_photons=2, **kwargs)

        def build_classical_pre(self):
            seen.update(self.hparams)
            return super().build_classical_pre()

    Spy(6, 2, output_dim=3, dropout=0.5)
    assert seen["extra"] == "default" and seen["dropout"] == 0.5
    assert (seen["input_dim"], seen["quantum_dim"], seen["output_dim"]) == (6, 2, 3)
    assert seen["n_photons"] == 2 and seen["n_modes"] == 6  # fixed, default
    assert seen["classical_lr"] == HybridModule(output_dim=2).hparams.classical_lr
    assert "self" not in seen and "kwargs" not in seen and "training" not in seen


def test_values_become_plain():
    model = SequentialHybrid(
        np.int64(6), 2, int(np.int64(3)), circuit_type=CircuitType.SERIES, dropout=np.float64(0.25)
    )
    assert type(model.hparams.input_dim) is int
    assert type(model.hparams.circuit_type) is str and model.hparams.circuit_type == "series"
    assert type(model.hparams.dropout) is float
    assert plain([1]) == [1] and plain(None) is None


def test_a_model_built_inside_another_keeps_its_own_arguments():
    class Pair(HybridModule):
        def __init__(self, width=6):
            super().__init__(output_dim=3)
            self.parts = nn.ModuleList([SequentialHybrid(width, 2, 3, n_modes=4)])

    model = Pair(width=5)
    assert "width" not in model.parts[0].hparams
    assert model.parts[0].hparams.n_modes == 4
    assert set(model.hparams) == {"width", *HybridModule(output_dim=3).hparams}


@pytest.mark.parametrize("arguments", [dict(width=7), dict()])
def test_a_checkpoint_holds_what_the_constructor_takes(arguments):
    class Own(HybridModule):
        def __init__(self, width=6, **kwargs):
            super().__init__(output_dim=3, task="regression", **kwargs)

    model = Own(classical_lr=0.5, **arguments)
    checkpoint = {"hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(checkpoint)
    kept = checkpoint["hyper_parameters"]
    assert kept == {"width": arguments.get("width", 6), "classical_lr": 0.5}
    assert dict(Own(**kept).hparams) == dict(model.hparams)
