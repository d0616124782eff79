"""The script that compares verdicts with known truths, in a small version."""

import pytest
import verdicts


@pytest.mark.slow
def test_no_verdict_is_wrong(capsys):
    assert verdicts.main(["--nulls=9", "--positives=1", "--spirals=3"]) == 0
    text = capsys.readouterr().out
    assert "nulls that help: 0 of 9" in text and "positives that help: 1" in text


def test_twenty_seven_studies_are_all_kinds(monkeypatch):
    """Without any training: each problem with each model at each pair of rates, once."""
    made = []
    monkeypatch.setattr(verdicts, "study", lambda model, *_, **__: made.append(model))
    names = {verdicts.null(number)[0] for number in range(27)}
    assert len(names) == 27 and len({type(model) for model in made}) == 3
    rates = {(model.hparams["classical_lr"], model.hparams["quantum_lr"]) for model in made}
    assert rates == set(verdicts.RATES.values())
