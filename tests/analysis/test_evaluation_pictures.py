"""Pictures of how well a model predicts: what they show is what others compute."""

import sys

import pytest
import torch
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from hybridlit import ArrayDataModule, SequentialHybrid, SklearnDataModule, model_card
from hybridlit.analysis.pictures.classification import (
    confusion_figure,
    label_figure,
    reliability,
    reliability_figure,
    roc_figure,
)
from hybridlit.analysis.pictures.evaluation_pictures import (
    EVALUATION_PICTURES,
    add_evaluation,
    evaluation_pictures,
)
from hybridlit.analysis.pictures.regression import predicted_figure
from hybridlit.analysis.pictures.style import colours, pixels, shortened
from hybridlit.analysis.report import Report
from hybridlit.analysis.uncertain_rows import expected_calibration_error
from hybridlit.templates.predictions.calibration import Calibration

pytest.importorskip("matplotlib", reason="plot extra")
metrics = pytest.importorskip("sklearn.metrics", reason="recipes extra")


def predicted(classes, rows=300):
    targets = torch.randint(classes, (rows,))
    logits = torch.randn(rows, classes)
    logits[torch.arange(rows), targets] += 1
    return logits.softmax(1), targets


def cells(figure):
    """Words in the cells, by row and column."""
    texts = {text.get_position()[::-1]: text.get_text() for text in figure.axes[0].texts}
    return {place: texts[place] for place in sorted(texts)}


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def legend(figure):
    shown = figure.axes[0].get_legend()
    return [text.get_text() for text in shown.texts]


@pytest.mark.parametrize("classes", [2, 10, 30])
def test_confusions_are_those_of_scikit_learn(classes):
    probabilities, targets = predicted(classes)
    labels = [f"class {index}" for index in range(classes)]
    figure = confusion_figure(probabilities, targets, labels, "300 rows")
    expected = metrics.confusion_matrix(targets, probabilities.argmax(1), labels=range(classes))
    found = cells(figure)
    assert {place: int(words.split()[0]) for place, words in found.items()} == {
        (i, j): expected[i, j] for i in range(classes) for j in range(classes) if expected[i, j]
    }
    axes = figure.axes[0]
    assert names(axes.xaxis) == names(axes.yaxis) == labels
    assert torch.allclose(
        torch.as_tensor(axes.images[0].get_array().data),
        torch.from_numpy(expected / expected.sum(1, keepdims=True)).float(),
    )
    if classes == 2:
        assert found[0, 1].split()[1] == f"{expected[0, 1] / expected[0].sum():.0%}"


def test_of_many_classes_the_worst_are_shown_and_the_rest_is_counted():
    targets = torch.arange(40).repeat(5)
    probabilities = torch.eye(40)[targets]
    probabilities[targets >= 38] = torch.eye(40)[torch.tensor([0])]  # 38 and 39 look like 0
    figure = confusion_figure(probabilities, targets, range(40), "200 rows")
    assert figure.axes[0].get_title("left") == (
        "200 rows (30 of 40 classes, those with most errors)"
    )
    assert {"0", "38", "39"} <= set(names(figure.axes[0].xaxis))
    assert "30 of 40 classes" in roc_figure(probabilities, targets, range(40), "").axes[
        0
    ].get_title("left")


def test_a_class_without_rows_has_an_empty_row_of_cells_and_no_curve():
    probabilities, targets = predicted(3)
    there = targets != 1
    figure = confusion_figure(probabilities[there], targets[there], "abc", "")
    assert all(row != 1 for row, _ in cells(figure))
    curves = legend(roc_figure(probabilities[there], targets[there], "abc", ""))
    assert [words[0] for words in sorted(curves)] == ["a", "c"]


@pytest.mark.parametrize("classes", [3, 12])
def test_areas_and_curves_are_those_of_scikit_learn(classes):
    probabilities, targets = predicted(classes)
    figure = roc_figure(probabilities, targets, [f"c{index}" for index in range(classes)], "")
    areas = [
        metrics.roc_auc_score(targets == index, probabilities[:, index]) for index in range(classes)
    ]
    order = sorted(range(classes), key=lambda index: -areas[index])
    assert legend(figure) == [f"c{index}  {areas[index]:.3f}" for index in order]
    _, first, *_ = figure.axes[0].lines
    alarms, found, _ = metrics.roc_curve(
        targets == order[0], probabilities[:, order[0]], drop_intermediate=False
    )
    assert torch.allclose(torch.as_tensor(first.get_xdata()), torch.from_numpy(alarms).float())
    assert torch.allclose(torch.as_tensor(first.get_ydata()), torch.from_numpy(found).float())


@pytest.mark.parametrize("labels", ["ab", range(10), range(20), ["a long name", "b", "c"]])
def test_the_curves_have_room_for_their_legend(labels):
    """TensorBoard shows a figure as large as it is, and cuts what hangs over."""
    figure = roc_figure(*predicted(len(labels)), labels, "300 rows")
    pixels(figure)
    [axes] = figure.axes
    for part in (axes.get_legend(), axes.yaxis.label):
        ends = part.get_window_extent()
        assert 0 <= ends.x0 and ends.x1 <= figure.bbox.x1


def test_two_classes_have_one_curve_of_the_second():
    figure = roc_figure(*predicted(2), ["benign", "malignant"], "")
    (name,) = legend(figure)
    assert name.startswith("malignant  0.")


def test_without_any_curve_there_is_no_legend():
    figure = roc_figure(torch.full((4, 2), 0.5), torch.zeros(4).long(), "ab", "")
    assert figure.axes[0].get_legend() is None
    assert "no curve of 2 of 2 classes (none or all" in figure.axes[0].get_title("left")


def test_classes_without_a_curve_are_counted():
    probabilities, targets = predicted(5)
    figure = roc_figure(probabilities, targets.clamp(max=3), "abcde", "300 rows")
    assert len(legend(figure)) == 4
    assert figure.axes[0].get_title("left").startswith("300 rows, no curve of 1 of 5 classes (")


def test_calibration_errors_are_those_of_torchmetrics():
    probabilities, targets = predicted(4, 1000)
    many = reliability(probabilities, targets)
    expected = multiclass_calibration_error(probabilities, targets, 4)
    assert many.error == pytest.approx(float(expected), abs=1e-6)
    pair, truth = predicted(2, 1000)
    two = reliability(pair, truth)
    assert two.error == pytest.approx(float(multiclass_calibration_error(pair, truth, 2)), abs=1e-6)
    one = reliability(pair[:, 1:], truth[:, None].float())
    assert one.error == pytest.approx(float(binary_calibration_error(pair[:, 1], truth)), abs=1e-6)
    labels = (torch.rand(1000, 3) < 0.3).float()
    given = torch.rand(1000, 3)
    several = reliability(given, labels)
    expected = binary_calibration_error(given.flatten(), labels.flatten().long())
    assert several.error == pytest.approx(float(expected), abs=1e-6)
    assert many.counts.sum() == two.counts.sum() == 1000 and several.counts.sum() == 3000


def test_a_bin_shows_how_often_it_came_true():
    """Of ten rows at 0.9 nine are right, of four at 0.6 one is."""
    probabilities = torch.tensor([[0.9]] * 10 + [[0.6]] * 4)
    targets = torch.tensor([1.0] * 9 + [0.0] + [1.0, 0.0, 0.0, 0.0])[:, None]
    figure = reliability_figure(probabilities, targets, "ab", "14 rows")
    above, below = figure.axes
    heights = [bar.get_height() for bar in above.patches]
    assert heights[13] == pytest.approx(0.9) and heights[9] == pytest.approx(0.25)
    assert [bar.get_height() for bar in below.patches][13] == 10
    assert f"{4 / 14 * 0.35:.3f}" in above.get_title("left")


def test_what_was_before_a_calibration_stands_beside_it():
    probabilities, targets = predicted(3)
    sharp = (8 * probabilities.log()).softmax(1)
    figure = reliability_figure(probabilities, targets, "abc", "", sharp)
    was = multiclass_calibration_error(sharp, targets, 3)
    assert f"{was:.3f} before calibration" in figure.axes[0].get_title("left")
    line = figure.axes[0].lines[-1]
    there = reliability(sharp, targets).counts > 0
    assert len(line.get_xdata()) == int(there.sum()) and legend(figure) == ["before calibration"]


def test_labels_are_counted_one_by_one():
    """Four rows with the label, one of them found; three without, one of them called it."""
    said = torch.tensor([[0.9], [0.2], [0.4], [0.3], [0.8], [0.1], [0.3]])
    true = torch.tensor([[1.0], [1.0], [1.0], [1.0], [0.0], [0.0], [0.0]])
    figure = label_figure(said, true, ["rain"], "")
    assert list(cells(figure).values()) == ["1\n25%", "3\n75%", "1\n33%", "2\n67%"]
    assert names(figure.axes[0].yaxis) == ["rain"]


def test_values_are_drawn_against_true_ones():
    targets = torch.tensor([[1.0, 30.0], [2.0, 10.0], [4.0, 20.0]])
    figure = predicted_figure(targets + 0.5, targets, ["width", "weight"], "3 rows")
    for index, axes in enumerate(figure.axes):
        points = torch.as_tensor(axes.collections[0].get_offsets())
        expected = torch.stack([targets[:, index], targets[:, index] + 0.5], 1).double()
        assert torch.equal(points, expected)
    assert figure.axes[1].get_xlabel() == "true weight"
    assert figure.axes[1].get_title("left") == "RMSE 0.5"
    twelve = predicted_figure(torch.rand(5, 12), torch.rand(5, 12), range(12), "5 rows")
    assert "(the first 9 of 12 targets)" in twelve.get_suptitle()


def test_colours_are_told_apart():
    for count in (3, 10, 30):
        assert len({tuple(map(float, colour)) for colour in colours(count)}) == count


def test_labels_are_words_not_mathematics():
    assert shortened("a long name of a class") == "a long name of ..."
    assert shortened("$x$\nand y") == r"\$x\$ and y"
    figure = confusion_figure(*predicted(2), ["$x^$", "two\nlines"], "")
    assert pixels(figure).shape[2] == 3


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("multiclass", ["confusion", "roc", "reliability"]),
        ("binary", ["confusion", "roc", "reliability"]),
        ("multilabel", ["confusion", "roc", "reliability"]),
        ("regression", ["predicted"]),
    ],
)
def test_each_task_has_its_pictures(task, expected):
    outputs = {"multiclass": 3, "binary": 1, "multilabel": 3, "regression": 2}[task]
    model = SequentialHybrid(4, 2, outputs, n_modes=3, task=task)
    predictions = torch.rand(20, outputs)
    if task == "multiclass":
        predictions, targets = predictions / predictions.sum(1, keepdim=True), torch.arange(20) % 3
    else:
        targets = (torch.rand(20, outputs) > 0.5).float()
    predictions[3] = torch.nan
    found = evaluation_pictures(model, predictions, targets, "test rows")
    assert [picture.name for picture in found] == expected
    assert set(expected) <= set(EVALUATION_PICTURES)
    for picture in found:
        figure = picture.draw()
        title = figure.get_suptitle() or figure.axes[0].get_title("left")
        assert title.startswith("19 test rows, 1 more without a prediction")
    with pytest.raises(ValueError, match="at least one row with a prediction, got none"):
        evaluation_pictures(model, predictions[3:4], targets[3:4], "test rows")


def test_one_output_is_the_probability_of_the_second_class():
    model = SequentialHybrid(4, 2, 1, n_modes=3, task="binary")
    predictions = torch.tensor([[0.9], [0.8], [0.1], [0.7]])
    targets = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    confusion, *_ = evaluation_pictures(model, predictions, targets, "rows")
    assert {place: words.split()[0] for place, words in cells(confusion.draw()).items()} == {
        (0, 0): "1",
        (0, 1): "1",
        (1, 1): "2",
    }


@pytest.mark.parametrize(("task", "outputs"), [("multiclass", 2), ("binary", 1), ("multilabel", 3)])
def test_the_calibration_error_is_that_of_the_text(task, outputs):
    model = SequentialHybrid(4, 2, outputs, n_modes=3, task=task)
    if task == "multiclass":
        predictions, targets = predicted(2)
    else:
        predictions, targets = torch.rand(300, outputs), (torch.rand(300, outputs) > 0.5).float()
    error = expected_calibration_error(model, predictions, targets)
    figure = evaluation_pictures(model, predictions, targets, "rows")[2].draw()
    assert figure.axes[0].get_title("left").endswith(f"expected calibration error {error:.3f}")


def test_classes_have_their_names(make_trainer, generator):
    x = generator.normal(size=(60, 4))
    data = ArrayDataModule(x, ["low" if value < 0 else "high" for value in x[:, 0]])
    model = SequentialHybrid(4, 2, 2, n_modes=3)
    make_trainer().fit(model, data)
    confusion, roc, _ = evaluation_pictures(model, torch.rand(9, 2), torch.arange(9) % 2, "rows")
    assert names(confusion.draw().axes[0].xaxis) == ["high", "low"]
    assert legend(roc.draw())[0].startswith("low")


def test_a_card_shows_them(tmp_path, monkeypatch, data, make_model, make_trainer):
    model = make_model()
    make_trainer().fit(model, data)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    card = model_card(model, data)
    files = card.write(tmp_path / "card.md")
    assert [file.name for file in files] == ["card.md", "card-1.png", "card-2.png", "card-3.png"]
    assert "![Rows of each class" in files[0].read_text()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match="Not drawn"):
        assert "(`figures need matplotlib: " in str(model_card(model, data))


def test_a_card_shows_probabilities_as_they_are_predicted(data, make_model, make_trainer):
    model = make_model()
    make_trainer().fit(model, data)
    plain = evaluation_pictures(model, *_on_test(model, data), "")[2].draw()
    model.calibration = Calibration(temperature=0.05)
    report = Report("")
    drawn = []
    report.figure = lambda draw, caption: drawn.append(draw())
    add_evaluation(report, model, list(data.test_dataloader()), "")
    assert "before calibration" in drawn[2].axes[0].get_title("left")
    error = plain.axes[0].get_title("left").split()[-1]
    assert f"{error} before calibration" in drawn[2].axes[0].get_title("left")


def _on_test(model, data):
    x, y = data.test
    return model.eval()(x).softmax(-1).detach(), y


def test_a_card_of_a_regression_is_in_units(make_trainer):
    data = SklearnDataModule("diabetes", batch_size=64)
    model = SequentialHybrid(10, 3, 1, n_modes=4, task="regression")
    make_trainer().fit(model, data)
    assert "*Predicted values against true ones.*" in str(model_card(model, data))


@pytest.mark.parametrize("kind", ["confusion", "labels", "roc", "reliability", "values"])
def test_long_titles_are_shown_whole(kind):
    probabilities, targets = predicted(40)
    names = [f"target_{index}" for index in range(40)]
    rows = "10,000 of 60,000 validation rows, epoch 123, 1,234 more without a prediction"
    many, yes = (probabilities, targets, names, rows), (probabilities > 0.05).int()
    figure = {
        "confusion": lambda: confusion_figure(*many),
        "labels": lambda: label_figure(probabilities, yes, names, rows),
        "roc": lambda: roc_figure(*many),
        "reliability": lambda: reliability_figure(*many),
        "values": lambda: predicted_figure(probabilities, probabilities, names, rows),
    }[kind]()
    height, width, _ = pixels(figure).shape
    (shown,) = figure.findobj(lambda each: getattr(each, "get_text", str)().startswith(rows))
    box = shown.get_window_extent(figure.canvas.get_renderer())
    assert 0 <= box.x0 and box.x1 <= width and box.y1 <= height + 1
