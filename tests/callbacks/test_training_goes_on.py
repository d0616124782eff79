"""A picture, a log or a report never ends a training."""

import ast
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from syntax import tree_of
from torch.utils.tensorboard import SummaryWriter

import hybridlit.callbacks
from hybridlit.analysis.profiling.component_profile import ComponentProfile
from hybridlit.callbacks import (
    component_profiler,
    evaluation_pictures,
    photonic_inspector,
    tensorboard_layout,
)
from hybridlit.callbacks.component_profiler import ComponentProfiler
from hybridlit.callbacks.evaluation_pictures import EvaluationPictures
from hybridlit.callbacks.measuring import reports
from hybridlit.callbacks.measuring.reports import training_goes_on
from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.callbacks.photonic_inspector import PhotonicInspector
from hybridlit.callbacks.tensorboard_layout import TensorBoardLayout


def fail(*_, **__):
    raise KeyError("a strategy that nobody told the pictures about")


def no_space(*_, **__):
    raise OSError("no space left on device")


def trained(make_model, make_trainer, data, tmp_path, callbacks, **changes):
    seed_everything(3, verbose=False)
    model = make_model()
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    make_trainer(callbacks, max_epochs=2, logger=logger, **changes).fit(model, data)
    return [parameter.detach().clone() for parameter in model.parameters()]


FAULTS = {
    "text": (PhotonicInspector, (photonic_inspector, "summarize_circuit", fail)),
    "pictures": (PhotonicInspector, (photonic_inspector, "layer_pictures", fail)),
    "drawing": (PhotonicInspector, (photonic_inspector, "draw_circuit", fail)),
    "groups": (PhotonicInspector, (photonic_inspector, "group_samples", fail)),
    "forward": (PhotonicInspector, (photonic_inspector, "to_device_of", fail)),
    "histogram": (PhotonicInspector, (SummaryWriter, "add_histogram", no_space)),
    "files": (lambda: PhotonicInspector(save=True), (photonic_inspector.Image, "fromarray", fail)),
    "profile": (
        lambda: ComponentProfiler(warmup=0, steps=1),
        (component_profiler, "summarize", fail),
    ),
    "trace": (
        lambda: ComponentProfiler(warmup=0, steps=1),
        (ComponentProfile, "save_trace", no_space),
    ),
    "table": (lambda: ComponentProfiler(warmup=0, steps=1), (SummaryWriter, "add_text", no_space)),
    "values": (OverfittingDetector, (reports, "log_now", no_space)),
    "charts": (TensorBoardLayout, (SummaryWriter, "add_custom_scalars", no_space)),
    "scores": (TensorBoardLayout, (tensorboard_layout, "_scores", fail)),
    "arguments": (TensorBoardLayout, (tensorboard_layout, "_arguments", fail)),
    "first": (TensorBoardLayout, (tensorboard_layout, "_show_first", fail)),
    "evaluation": (
        lambda: EvaluationPictures(1),
        (evaluation_pictures, "evaluation_pictures", fail),
    ),
    "figure": (lambda: EvaluationPictures(1), (evaluation_pictures, "pixels", fail)),
    "board": (lambda: EvaluationPictures(1), (evaluation_pictures, "show_picture", no_space)),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_is_left_out_with_a_warning(
    fault, make_model, make_trainer, data, tmp_path, monkeypatch
):
    expected = trained(make_model, make_trainer, data, tmp_path, [])
    callback, (owner, name, broken) = FAULTS[fault]
    monkeypatch.setattr(owner, name, broken)
    callbacks = [callback()]
    with pytest.warns(UserWarning, match="training goes on|measures nothing"):
        got = trained(make_model, make_trainer, data, tmp_path, callbacks)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_one_picture_less_is_not_all_less(make_model, make_trainer, data, tmp_path, monkeypatch):
    """The text fails; circuit, interferometers and the rest are drawn."""
    monkeypatch.setattr(photonic_inspector, "describe_circuit", fail)
    with pytest.warns(UserWarning, match="text of quantum_layer is left out.*KeyError"):
        trained(
            make_model, make_trainer, data, tmp_path, [PhotonicInspector(epochs=[1], save=True)]
        )
    files = {path.name for path in tmp_path.rglob("*.png")}
    assert {"quantum_layer_circuit.png", "quantum_layer_phases.png"} <= files


def test_a_way_out_stays_a_way_out():
    for way in (KeyboardInterrupt, SystemExit):
        with pytest.raises(way), training_goes_on("nothing"):
            raise way


def test_one_place_catches_errors():
    """Everywhere else in the room, an `except` names what it expects."""
    room = Path(hybridlit.callbacks.__file__).parent
    found = {
        path.name
        for path in room.rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    }
    assert found == {"reports.py"}


def test_something_else_can_be_done_with_the_error():
    found = []
    with training_goes_on(found.append):
        fail()
    assert isinstance(found[0], KeyError)
