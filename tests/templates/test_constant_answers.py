"""What is said of a model that gives every row the same answer, and of which nothing is said."""

import warnings

import pytest
import torch
from lightning.pytorch import LightningModule

from hybridlit import ResidualHybrid, SequentialHybrid
from hybridlit.templates.constant_answers import Answers


@pytest.fixture
def make_dead(make_model):
    """A model whose last hidden units are all dead, and so stay."""

    def make(**changes):
        model = make_model(**changes)
        with torch.no_grad():
            model.classical_post[0].weight.zero_()
            model.classical_post[0].bias.fill_(-1.0)
        return model

    return make


def said(run, *arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(*arguments)
    return [str(w.message) for w in caught if "the same answer" in str(w.message)]


def test_a_constant_answer_is_said_once(make_dead, data, make_trainer):
    model, trainer = make_dead(classical_lr=0.02), make_trainer(max_epochs=3)
    (text,) = said(trainer.fit, model, data)
    assert text.startswith(
        "SequentialHybrid gives every validation row the same answer: most likel"
    )
    assert "more units (hidden_dim, head_dim), a lower classical_lr than 0.02 or another" in text
    assert not said(trainer.test, model, data)
    (text,) = said(make_trainer().test, make_dead(), data)
    assert "gives every test row the same answer" in text


def test_nothing_is_said_of_others(make_model, make_dead, data, make_trainer):
    assert not said(make_trainer().validate, make_dead(), data)  # not trained: it may be so
    for model in (make_model(), make_model(ResidualHybrid)):
        trainer = make_trainer(max_epochs=2)
        assert not said(trainer.fit, model, data) and not said(trainer.test, model, data)
    model, trainer = make_model(), make_trainer()
    trainer.fit(model, data)
    with model.without("quantum_layer"):
        outputs = model.eval()(data.val[0])
        assert torch.equal(outputs, outputs[:1].expand_as(outputs))
        assert not said(trainer.test, model, data)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_which_answers_are_the_same(dtype):
    row = torch.tensor([1e-3, -1e6], dtype=torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    step = 1 + 2 * torch.finfo(wide).eps * torch.tensor([1.0, -1.0], dtype=torch.float64)

    def same(*batches):
        answers = Answers()
        for batch in batches:
            answers.add(batch.to(dtype))
        return answers.same

    batch = row.expand(3, 2)
    assert same(batch, batch[:1]) and same(batch, batch * step) and same(row[None], row[None])
    assert not same(batch[:1]) and not same() and not same(batch[:0])
    assert not same(batch, batch * torch.tensor([1.01, 1.0]))  # each output by itself
    assert not same(batch, batch * torch.nan)
    assert not same(batch, torch.ones(3, 4, 2))  # as of a model of the user that has them


def test_hooks_of_a_mixin_behind_it_are_called(make_trainer, data):
    called = []

    class Mixin(LightningModule):
        def on_validation_epoch_start(self):
            called.append("validation start")

        def on_validation_epoch_end(self):
            called.append("validation end")

        def on_test_epoch_start(self):
            called.append("test start")

        def on_test_epoch_end(self):
            called.append("test end")

    class Mixed(SequentialHybrid, Mixin):
        pass

    model, trainer = Mixed(5, 2, 3, n_modes=4, n_photons=2), make_trainer()
    trainer.validate(model, data, verbose=False)
    trainer.test(model, data, verbose=False)
    assert called == [
        f"{stage} {at}" for stage in ("validation", "test") for at in ("start", "end")
    ]
