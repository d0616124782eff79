"""What the smaller files of `hybridlit/internals` take for granted: of numpy, numba and others."""

import ctypes
import io
import os
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from llvmlite import ir
from numba.core.registry import cpu_target
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torchmetrics import MeanMetric
from torchmetrics.regression import R2Score

from hybridlit.internals.lightning import CLASS_PATH, INSTANTIATES, INSTANTIATOR
from hybridlit.internals.numba import (
    INNER,
    AbstractTemplate,
    infer_global,
    insert_function,
    object_code,
    signature,
)
from hybridlit.internals.numpy import global_generator_is_at
from hybridlit.internals.openmp import parallel_regions
from hybridlit.internals.tensorboard import add_hyperparameters, add_png, read_log
from hybridlit.internals.torchmetrics import R2Sums, r2_sums, set_update_count


def test_the_memory_of_numpys_generator_is_its_state():
    before = np.random.get_state()
    try:
        np.random.seed(3)
        for _ in range(700):  # past the end of its 624 words
            state = np.random.get_state()
            assert global_generator_is_at(state)
            np.random.random_sample()
            assert not global_generator_is_at(state)
    finally:
        np.random.set_state(before)


def test_a_normal_number_that_waits_is_not_told_by_the_memory():
    before = np.random.get_state()
    try:
        np.random.seed(3)
        np.random.standard_normal()
        assert not global_generator_is_at(np.random.get_state())
    finally:
        np.random.set_state(before)


def test_a_metric_with_a_count_computes_what_its_state_says():
    metric = MeanMetric()
    metric.mean_value, metric.weight = torch.tensor(6.0), torch.tensor(2.0)
    set_update_count(metric, 2)
    assert metric.update_count == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metric.compute().item() == 3.0


@pytest.mark.parametrize("shape", [(7,), (7, 2)])
def test_the_sums_of_a_coefficient_of_determination_are_those_of_all_rows(shape):
    predictions, targets = torch.randn(2, *shape).double()
    metric = R2Score().set_dtype(torch.float64)
    for rows in (slice(3), slice(3, 7)):
        metric.update(predictions[rows], targets[rows])
    found = r2_sums(metric)
    torch.testing.assert_close(found.squares, targets.square().sum(0))
    torch.testing.assert_close(found.sums, targets.sum(0))
    torch.testing.assert_close(found.residual, (predictions - targets).square().sum(0))
    assert found.total == 7 and isinstance(found, R2Sums)


def test_a_png_arrives_as_it_is(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    board = TensorBoardLogger(tmp_path, name="", version="")
    add_png(board, "picture", file.getvalue(), (3, 2), 5)
    board.finalize("success")
    events = EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Images("picture")
    assert (event.step, event.width, event.height) == (5, 3, 2)
    assert event.encoded_image_string == file.getvalue()


def test_a_line_of_the_table_of_runs_leaves_the_columns_to_tensorboard(tmp_path):
    board = TensorBoardLogger(tmp_path, name="", version="")
    add_hyperparameters(board, {"a": 1, "b": "text"})
    board.finalize("success")
    content = EventAccumulator(str(tmp_path)).Reload().PluginTagToContent("hparams")
    assert set(content) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    values = start.session_start_info.hparams
    assert (values["a"].number_value, values["b"].string_value) == (1.0, "text")


class Model(LightningModule):
    def __init__(self, width: int = 2):
        super().__init__()
        self.save_hyperparameters()


def test_the_command_line_notes_the_class_of_a_model(tmp_path):
    cli = LightningCLI(
        Model, subclass_mode_model=True, run=False, save_config_callback=None,
        args={"model": {"class_path": f"{__name__}.Model", "init_args": {"width": 3}}},
    )  # fmt: skip
    assert cli.model.hparams[CLASS_PATH] == f"{__name__}.Model"
    assert cli.model.hparams[INSTANTIATOR] == INSTANTIATES
    assert dict(Model(3).hparams) == {"width": 3}


def added(first, second):
    return first + second


def scaled(like, first):
    return int(first * like)


def refused(first):
    print(first)


def run(code, symbol, *numbers):
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
    memory = (ctypes.c_int64 * len(numbers))(*numbers)
    return function(engine.get_function_address(symbol))(ctypes.addressof(memory))


def test_object_code_runs_without_numba():
    from numba import types

    count, code = object_code(added, (types.float64, 0.0), "added_here")
    assert count == 2
    assert run(code, "added_here", 3, 4) == 7
    count, code = object_code(scaled, (types.float64, 2.5), "scaled_here")
    assert count == 1
    assert run(code, "scaled_here", 4) == 10


def test_inner_functions_have_no_way_in_from_python():
    from numba import njit, types

    inner = njit(**INNER)(lambda number: number + 1)

    def outer(number):
        return inner(inner(number))

    count, code = object_code(outer, (types.float64, 0.0), "outer_here")
    assert run(code, "outer_here", 3) == 5 and count == 1
    (made,) = inner.overloads.values()
    assert made.fndesc.llvm_cpython_wrapper_name not in made.library.get_llvm_str()
    assert made.fndesc.llvm_cfunc_wrapper_name not in made.library.get_llvm_str()


def test_object_code_refuses_what_needs_the_interpreter():
    from numba import types

    with pytest.raises(RuntimeError, match="the machine code of refused needs"):
        object_code(refused, (types.float64, 0.0), "refused_here")


def twice(value): ...


def test_an_operator_has_the_types_that_a_template_gives_it():
    from numba import types

    @infer_global(twice)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            return signature(args[0], *args)

    kinds = cpu_target.typing_context
    kinds.refresh()
    found = kinds.resolve_function_type(twice, (types.float64,), {})
    assert found == signature(types.float64, types.float64)


def test_a_function_is_declared_once():
    module = ir.Module()
    kind = ir.FunctionType(ir.IntType(64), [])
    first = insert_function(module, kind, "f")
    assert insert_function(module, kind, "f") is first
    assert str(module).count("declare") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads of Python do the same")
def test_the_threads_of_torch_call_a_function():
    parallel, seen = parallel_regions(), []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def function(given):
        seen.append((given, threading.get_native_id()))

    def running():
        return set(map(int, os.listdir("/proc/self/task")))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.ones(1 << 20).sum()  # on two threads, of which the second one stays
        expected = running()
        parallel(ctypes.cast(function, ctypes.c_void_p).value, 12345, 2, 0)
    finally:
        torch.set_num_threads(before)
    assert [given for given, _ in seen] == [12345] * 2
    assert len({thread for _, thread in seen}) == 2
    assert running() <= expected


def test_a_log_is_read_as_it_was_written(tmp_path):
    assert read_log(tmp_path) == ({}, {})
    board = TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False)
    for step, value in ((0, 1.0), (5, 0.5)):
        board.log_metrics({"val/loss": value}, step)
    board.experiment.add_text("found", "what *is* found", 5)
    board.experiment.add_image("picture", np.zeros((3, 2, 2)), 5)
    board.experiment.flush()
    assert read_log(tmp_path) == (
        {"val/loss": [(0, 1.0), (5, 0.5)]},
        {"found": ["what *is* found"]},
    )
    resumed = TensorBoardLogger(
        tmp_path, name="", version="", default_hp_metric=False, purge_step=3
    )
    resumed.log_metrics({"val/loss": 0.25}, 4)
    resumed.experiment.flush()
    assert read_log(tmp_path)[0] == {"val/loss": [(0, 1.0), (4, 0.25)]}
