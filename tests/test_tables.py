"""Each vocabulary is written once: a table, from which annotations, checks and messages follow."""

import ast
import inspect
from pathlib import Path
from typing import get_args

import pytest
import torch
from syntax import tree_of
from torch import nn

import hybridlit
from hybridlit.argument_types import _parameters
from hybridlit.blocks import fronts, fusion, heaters, normalization, residual_gate
from hybridlit.data import mnist, scaling, scikit
from hybridlit.photonics import chip_layer
from hybridlit.photonics.noise import shots
from hybridlit.precisions import CORES, PRECISIONS, CoreName
from hybridlit.templates import metrics, quantum, tasks
from hybridlit.templates.chip import likelihoods, meshes
from hybridlit.templates.training import schedule, stages

TABLES = {
    "task": (tasks.TASKS, tasks.TaskName),
    "schedule": (schedule.SCHEDULES, schedule.ScheduleName),
    "quantum": (quantum.TWINS, quantum.QuantumName),
    "fusion": (fusion.FUSIONS, fusion.FusionName),
    "front": (fronts.FRONTS, fronts.FrontName),
    "gate": (residual_gate.GATES, residual_gate.GateName),
    "normalization": (normalization.NORMALIZATIONS, normalization.NormalizationName),
    "scaling": (scaling.SCALINGS, scaling.ScalingName),
    "dataset": (scikit.DATASETS, scikit.DatasetName),
    "shape": (mnist.SHAPES, mnist.ShapeName),
    "component": (stages.STAGES, stages.Component),
    "core": (CORES, CoreName),
    "mesh": (meshes.MESHES, meshes.MeshName),
    "measured": (chip_layer.MEASURED, chip_layer.MeasuredName),
    "crosstalk": (heaters.CROSSTALK, heaters.CrosstalkName),
    "likelihood": (likelihoods.LIKELIHOODS, likelihoods.LikelihoodName),
    "shot_gradient": (shots.SHOT_GRADIENTS, shots.ShotGradientName),
}
SOURCES = sorted(Path(hybridlit.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("name", TABLES)
def test_an_annotation_has_the_words_of_its_table(name):
    table, annotation = TABLES[name]
    assert get_args(annotation) == tuple(table) and len(table) > 1


def literals(path):
    """The words of each `Literal` in a file."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", None) == "Literal":
            yield {each.value for each in ast.walk(node.slice) if isinstance(each, ast.Constant)}


def test_no_annotation_repeats_words_of_a_table():
    looked_at = 0
    for path in SOURCES:
        for words in literals(path):
            looked_at += 1
            if words == {"quantum_dim"}:
                continue  # the default of a former name
            for name, (table, _) in TABLES.items():
                assert not words or not words <= set(table), f"{path}: {name} {words}"
    assert looked_at > len(TABLES) / 2


def constructors():
    for name in hybridlit.__all__:
        found = getattr(hybridlit, name)
        function = found.__init__ if inspect.isclass(found) else found
        if inspect.isfunction(function):
            yield function


def test_defaults_are_words_of_the_tables():
    seen = set()
    for function in constructors():
        for annotation, default in _parameters(function).values():
            for name, (table, words) in TABLES.items():
                if annotation == words or words in get_args(annotation):
                    others = [word for each in get_args(annotation) for word in get_args(each)]
                    allowed = (*table, *others, None, inspect.Parameter.empty)
                    assert default in allowed, (function, default)
                    seen.add(name)
    assert seen >= set(TABLES) - {"component"}, "each word list is an argument of something public"


# --- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", tasks.TASKS)
def test_a_task_has_all_columns(task):
    row = tasks.TASKS[task]
    assert row.name == task and isinstance(row.classifies, bool)
    made = row(2 if task == "multiclass" else 1)
    outputs = torch.randn(6, made.output_dim)
    targets = made.prepare(outputs, torch.tensor([0, 1, 0, 1, 1, 1]))
    assert torch.isfinite(made.loss(outputs, targets))
    predictions = made.predictions(outputs)
    assert made.row_scores(predictions, targets).shape == (6,)
    assert made.score in metrics.make_metrics(made)
    best, other = (made.constant(targets), made.constant(targets) + torch.randn(made.output_dim))
    losses = [made.loss(each.float().expand(6, -1), targets) for each in (best, other)]
    assert best.shape == (made.output_dim,)
    if not made.classifies:  # with a row more of each class a frequency is not quite the best
        assert losses[0] <= losses[1]
    assert made.name in f"task={task}"


@pytest.mark.parametrize("name", schedule.SCHEDULES)
def test_a_schedule_has_all_columns(name):
    rule = schedule.SCHEDULES[name]
    assert rule.factor(0.0) == 1.0 and 0 <= rule.factor(1.0) <= 1
    assert rule.needs_end == (rule.factor(1.0) != 1.0)
    assert schedule.Schedule(name, 0).changes == (rule.needs_end or rule.on_plateau)


@pytest.mark.parametrize("name", normalization.NORMALIZATIONS)
def test_a_normalization_has_all_columns(name):
    row = normalization.NORMALIZATIONS[name]
    layer = normalization.NormalizationLayer(name, num_features=max(row.fewest, 4))
    assert layer.fitted != row.has_statistics
    assert bool(row.why) == (row.fewest > 1)
    if row.has_statistics:
        layer.fit(torch.randn(20, 4))
    assert layer(torch.randn(5, 4)).shape == (5, 4)


def test_classes_of_blocks_are_public():
    for table in (fusion.FUSIONS, fronts.FRONTS, residual_gate.GATES):
        for row in table.values():
            assert issubclass(row, nn.Module) and getattr(hybridlit, row.__name__) is row


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_precision_has_all_columns(name):
    from lightning.fabric.connector import _PRECISION_INPUT_STR

    row = PRECISIONS[name]
    assert name in get_args(_PRECISION_INPUT_STR)
    assert row.stored.is_floating_point and row.effect.startswith("classical parts are stored")


@pytest.mark.parametrize("name", scikit.DATASETS)
def test_a_data_set_is_in_the_table_of_the_documentation(name):
    assert f"| `{name}` |" in scikit.SklearnDataModule.__doc__


@pytest.mark.parametrize(
    ("table", "owner"),
    [
        ("task", "HybridModule"),
        ("schedule", "HybridModule"),
        ("quantum", "HybridNetwork"),
        ("front", "HybridNetwork"),
        ("fusion", "ParallelHybrid"),
        ("gate", "ResidualHybrid"),
        ("normalization", "NormalizationLayer"),
        ("scaling", "ArrayDataModule"),
        ("shape", "MnistDataModule"),
        ("component", "StagedTraining"),
        ("core", "MixedPrecision"),
    ],
)
def test_every_word_is_documented_where_it_is_an_argument(table, owner):
    text = getattr(hybridlit, owner).__doc__
    for word in TABLES[table][0]:
        assert f'"{word}"' in text, word


def test_a_row_is_all_it_takes(monkeypatch):
    class Mean(fusion.Fusion):
        def build(self):
            self.output = nn.Linear(self.widths[0], self.output_dim)

        def fuse(self, components):
            return self.output(torch.stack(list(components)).mean(0))

    monkeypatch.setitem(fusion.FUSIONS, "mean", Mean)
    assert fusion.make_fusion("mean", [3, 3], 2)([torch.rand(4, 3)] * 2).shape == (4, 2)
