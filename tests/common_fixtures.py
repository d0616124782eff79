"""A tiny problem that every model can be trained on in a second, and what a logger kept of it."""

import signal
import sys

import numpy as np
import pytest
import torch
from process_group import LeaveGroup
from quiet_trainer import quiet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hybridlit.data import ArrayDataModule
from hybridlit.photonics import speed
from hybridlit.templates import SequentialHybrid

MEASURED = speed._measured


def known(name, dtype):
    """A machine as fast as many."""
    return speed.Speed(name, 1e-4, (10**4, 10**8), (5e-10, 1e-9), 5e-10, 5e-6, 2e-11, 2e-10)


@pytest.fixture(scope="session", autouse=True)
def machine_is_known():
    """To measure how fast this one is takes seconds, after each test that has it forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "_measured", known)
        yield


@pytest.fixture
def machine_is_measured(monkeypatch):
    monkeypatch.setattr(speed, "_measured", MEASURED)
    speed.assume_speed(None)
    yield
    speed.assume_speed(None)


@pytest.fixture(autouse=True)
def seeded():
    # not of all devices: for those that are not there `torch.manual_seed` notes who has called it
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)


@pytest.fixture(autouse=True)
def graphs_of_its_own():
    """Of each function torch.compile keeps eight graphs: a test's are not the next one's."""
    yield
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()


@pytest.fixture(scope="module")
def blank_pictures():
    """Pictures are made and logged, but not drawn, which takes half of a short run."""
    blank = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("evaluation_pictures", "photonic_inspector", "tensorboard_layout"):
            patch.setattr(f"hybridlit.callbacks.{module}.pixels", lambda figure: blank)
        yield


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def data():
    """60 rows of 5 features, 3 classes; 36 rows for training: three full batches and one of 6."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 5, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return ArrayDataModule(x, y, batch_size=10)


@pytest.fixture
def make_model():
    def make(cls=SequentialHybrid, **changes):
        arguments = dict(input_dim=5, output_dim=3, n_modes=4, n_photons=2)
        if issubclass(cls, SequentialHybrid):
            arguments["quantum_dim"] = 2
        return cls(**(arguments | changes))

    return make


@pytest.fixture
def make_trainer(tmp_path):
    def make(callbacks=(), **changes):
        leave = [LeaveGroup()] if "strategy" in changes else []
        options = dict(callbacks=[*callbacks, *leave], default_root_dir=tmp_path)
        return quiet(**(options | changes))

    return make


@pytest.fixture
def scalars():
    """Read an event file: {tag: [(step, value), ...]} of what `TensorBoardLogger` wrote."""

    def read(log_dir):
        events = EventAccumulator(str(log_dir), size_guidance={"scalars": 0})
        events.Reload()
        return {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }

    return read


@pytest.fixture
def signals_kept():
    """Signals are handled as before, whatever a run has made of them."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in handlers.items():  # Lightning leaves Ctrl-C ignored
        signal.signal(number, handler)
