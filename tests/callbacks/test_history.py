"""What a run has logged, told in words and pictures: each on numbers whose story is known."""

import pytest

from hybridlit.callbacks.measuring.history import HISTORY_PICTURES, History

pytest.importorskip("matplotlib", reason="analysis extra")


def logged(**changes):
    """Three epochs of ten steps."""
    ends = (9, 19, 29)
    scalars = {
        "epoch": [(4, 0), *zip(ends, (0, 1, 2), strict=True)],
        "train/loss": [*zip(ends, (1.0, 0.5, 0.25), strict=True)],
        "val/loss": [*zip(ends, (1.0, 0.5, 0.75), strict=True)],
        "val/acc": [*zip(ends, (0.5, 0.75, 0.625), strict=True)],
    }
    return scalars | changes


WATCHED = {
    "grad/ratio": [(4, 2.0), (24, 8.0)],
    "grad/ratio_smooth": [(4, 2.0), (24, 4.0)],
    "update/classical": [(24, 0.01)],
    "update/photonic": [(24, 0.002)],
    "overfit/val": [(29, 0.75)],
    "overfit/ratio": [(19, 1.5), (29, 3.0)],
    "overfit/alarm": [(19, 0.0), (29, 1.0)],
    "overfit/classical_path_val": [(19, -0.1), (29, 0.25)],
    "overfit/quantum_path_val": [(19, 0.3), (29, -0.5)],
    "overfit/quantum_path_val_low": [(29, 9.0)],
}


def test_the_best_epoch_is_that_of_the_lowest_validation_loss():
    history = History(logged(), {}, ["acc"])
    assert (history.best_epoch, history.epochs, history.risen) == (2, 3, 1.5)
    assert history.words() == [
        "acc was 0.625 on the validation rows at the end.",
        "The validation loss was lowest, 0.5, after epoch 2 of 3, and 0.75 at the end.",
    ]
    assert list(history.pictures()) == ["curves", "loss"]
    falling = History({"val/loss": [(9, 1.0)], "epoch": [(9, 0)]}, {}, ["acc"])
    assert falling.words()[0].endswith("after epoch 1 of 1: it may not have ended falling.")


def test_steps_between_the_ends_of_epochs_are_parts_of_epochs():
    figure = History(logged(**WATCHED), {}, ["acc"]).pictures()["gradients"]()
    measured = figure.axes[0].lines[0]
    assert measured.get_xdata() == pytest.approx([0.5, 2.5])
    assert list(measured.get_ydata()) == [2.0, 8.0]


def test_gradients_and_parts_are_told_in_words():
    texts = {"overfit": ["It is guilty.", "It is guilty."]}
    scores = {"Score/acc_constant": [(9, 0.4), (29, 0.4)]}
    told = History(logged(**WATCHED, **scores), texts, ["acc"]).words()
    score, _, gradients, overfitting, said = told
    assert score.endswith("at the end; a constant answer scores 0.400.")
    assert "were 4 times those of the classical ones at the end" in gradients
    assert "2 to 4 in the run" in gradients and "0.01 of their size" in gradients
    assert "3 times the training loss" in overfitting
    assert "classical_path raised the validation loss most, by 0.25" in overfitting
    assert "1 of 2 measurements were alarms" in overfitting
    assert said == "It is guilty."


def test_every_picture_says_what_it_shows():
    scores = {"Score/acc_constant": [(9, 0.4), (29, 0.4)], "Score/acc_test": [(29, 0.7)]}
    drawn = History(logged(**WATCHED, **scores), {}, ["f1", "acc"]).pictures()
    assert drawn.keys() == HISTORY_PICTURES.keys()
    titles = {name: draw().axes[0].get_title("left") for name, draw in drawn.items()}
    assert titles == {
        "curves": "acc 0.625 on validation rows at the end",
        "loss": "lowest validation loss after epoch 2",
        "gradients": "gradients: photonic 4 x classical",
        "overfitting": "classical_path raised the validation loss most",
    }
    axes = drawn["curves"]().axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["validation", "a constant answer 0.400", "test rows 0.700"]
    parts = [line.get_label() for line in drawn["overfitting"]().axes[0].lines]
    assert parts == ["classical_path", "quantum_path", "none"]


def test_of_nothing_there_is_nothing_to_tell(tmp_path):
    history = History.read(tmp_path, ["acc"])
    assert history.words() == [] and history.pictures() == {} and history.best_epoch is None


def test_a_loss_that_is_no_number_is_not_the_lowest():
    nan = float("nan")
    history = History(logged(**{"val/loss": [(9, nan), (19, 0.5), (29, nan)]}), {}, ["acc"])
    assert history.best_epoch == 2
    assert History(logged(**{"val/loss": [(9, nan)]}), {}, ["acc"]).best_epoch is None
