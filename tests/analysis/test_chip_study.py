"""What a twin says of its chip is what is so: against the chip itself, whose numbers are known."""

import json
import math

import numpy as np
import pandas
import pytest
import torch

from hybridlit import (
    ChipDataModule,
    ChipTwin,
    SimulatedChip,
    calibrate,
    chip_study,
    describe_circuit,
    draw_circuit,
    model_card,
)
from hybridlit.analysis.chip_numbers import chip_numbers
from hybridlit.analysis.chip_result import CHIP_PICTURES
from hybridlit.analysis.pictures.chip_circuit import places_of_splitters
from hybridlit.analysis.pictures.regression import predicted_figure
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.intervals import unseen_offsets
from hybridlit.templates.chip.meshes import MESHES, chip_circuit

CHIP = {"modes": 3, "seed": 1}


def twin_of(chip, **options):
    """A twin that knows all of a chip."""
    torch.manual_seed(0)
    twin = ChipTwin(chip.layer.modes, measured=chip.layer.measured, **options)
    twin.load_state_dict(twin.state_dict() | {n: t.float() for n, t in chip.true.items()})
    return twin


def test_a_twin_that_knows_its_chip_says_so():
    data = ChipDataModule(simulated=CHIP, rows=200)
    study = chip_study(twin_of(data.chip), data, unitaries=3)
    assert study.compared_with == "truth" and study.rows == {"training": 120, "test": 40}
    assert study.misfit["training"] == pytest.approx(1.0, abs=0.1)
    # of three modes: two phases behind the last splitters, but for one of all light
    assert study.gauges == 2 and study.blind == [5]
    assert study.expected == pytest.approx(study.delivered, abs=1e-5) and len(study.expected) == 3
    for name, each in study.numbers.items():
        known = np.isfinite(each.reference)
        assert known.any() and np.abs(each.learned - each.reference)[known].max() < 1e-5, name
        inside, of = each.covered
        assert inside == of == np.isfinite(each.error).sum() > 0, name
    reflected = study.numbers["phases"]
    true = (data.chip.true["quantum_layer.phases"] / 2).sin().square()
    assert np.allclose(reflected.reference, true)
    assert 1e-4 < np.median(reflected.error) < 1e-2
    assert np.isnan(np.diag(study.numbers["leak"].learned)).all()  # a heater's own phase
    # the words, the table and all that is written
    assert "5 of 5" in str(study) and "| reflectivities of splitters | 6 |" in study.to_markdown()
    assert "No light tells the phases 5." in str(study)
    assert json.dumps(study.to_dict(), allow_nan=False)


def test_what_is_programmed_is_tried_on_the_chip():
    """A twin of another chip promises what its own would do."""
    data = ChipDataModule(simulated=CHIP, rows=60)
    study = chip_study(twin_of(SimulatedChip(3, seed=2)), data, unitaries=2)
    assert min(study.expected) > 0.999 and max(study.delivered) < 0.99
    assert "the simulated chip itself comes to" in study.conclusion


@pytest.mark.parametrize("mesh", MESHES)
def test_offsets_are_compared_without_what_no_light_tells(mesh):
    """Nor by whole turns: a chip turned along all gauges is the same chip."""
    chip = SimulatedChip(4, seed=2, mesh=mesh)
    settings, light = chip.settings(200, torch.Generator().manual_seed(0))
    parts = chip.heaters.requires_grad_(True), chip.layer.requires_grad_(True)
    unseen = unseen_offsets(*parts, settings, light)
    same = SimulatedChip(4, seed=2, mesh=mesh)
    with torch.no_grad():
        drawn = torch.Generator().manual_seed(1)
        same.heaters.offset += unseen @ (9 * torch.randn(unseen.shape[1], generator=drawn).double())
        same.heaters.offset += 2 * math.pi * torch.randint(-2, 3, (len(unseen),)).double()
        same.heaters.offset[0] += 0.01
    told = same.measure(settings, light, noise=0.0) - chip.measure(settings, light, noise=0.0)
    assert 1e-4 < told.abs().max() < 0.02
    found = chip_numbers(same.heaters, same.layer, None, parts, unseen)["offset"]
    away = torch.zeros(len(unseen)).double()
    away[0] = 0.01
    expected = away - unseen @ (unseen.mT @ away)
    assert np.allclose(found.learned - found.reference, expected.detach(), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        dict(crosstalk="distance", heaters=[0, 2, 3]),
        dict(crosstalk="none", mesh="bell_walmsley"),
        dict(measured="coincidences", positions=[[p, p % 2] for p in range(6)]),
    ],
)
def test_every_kind_of_chip_has_its_pictures(options):
    pytest.importorskip("matplotlib", reason="plot extra")
    torch.manual_seed(0)
    study = chip_study(ChipTwin(3, **options), unitaries=0)
    assert study.compared_with == "design" and not study.misfit and "not converged" in str(study)
    figures = study.figures()
    missing = {"crosstalk"} if options.get("crosstalk") == "none" else set()
    assert set(figures) == set(CHIP_PICTURES) - missing
    assert ("overlap" in study.numbers) == ("measured" in options)
    heaters = figures["heaters"]()
    squares, rings = heaters.axes[1].collections[1], heaters.axes[1].collections[0]
    homes = options.get("heaters", range(len(study.places.phases)))
    assert np.allclose(squares.get_offsets(), study.places.phases[list(homes)])
    assert len(rings.get_offsets()) == len(study.places.phases) - len(homes)
    assert np.allclose(squares.get_array(), 1.0)  # as designed: a whole turn
    assert heaters.axes[1].get_xlabel() == ("x" if "positions" in options else "column of the chip")
    drawn = [draw() for draw in figures.values()]
    if options.get("measured"):
        for figure in drawn:
            figure.canvas.draw()  # which lays it out


@pytest.mark.parametrize("mesh", MESHES)
def test_splitters_are_where_the_circuit_has_them(mesh):
    """The light of one mode reaches those splitters only that are in its cone."""
    layer = ChipLayer(chip_circuit(4, mesh), dtype=torch.float64)
    places = places_of_splitters(layer)
    assert len(places) == layer.phases.numel()
    first = places[:, 0] == 0
    # at no phase, with all but the first column set to pass, light stays beside its splitters
    assert (places[first, 1] % 1 == 0.5).all() and places[:, 1].max() == 2.5
    for parameter in np.flatnonzero(first):
        with torch.no_grad():
            layer.phases.zero_()
            layer.phases[parameter] = math.pi / 2
            moved = layer.matrices(torch.zeros(1, layer.turned).double())[0].abs().square()
        lit = set(np.flatnonzero(np.diag(moved.numpy()) < 0.9).tolist())
        middle = places[parameter, 1]
        assert lit == {int(middle - 0.5), int(middle + 0.5)}


def test_a_chip_is_drawn_with_its_reflectivities():
    chip = SimulatedChip(3, seed=1)
    twin = twin_of(chip)
    told = describe_circuit(twin, max_columns=20)
    reflected = (chip.layer.phases / 2).sin().square()
    assert all(f"BS {each:.3f}" in told for each in reflected.tolist())
    assert told.count("[x") == 6 and "|P> ○" in told and "intensities -> 3 outputs" in told
    pytest.importorskip("matplotlib", reason="plot extra")
    words = [text.get_text() for text in draw_circuit(twin).axes[0].texts]
    assert sum(f"{each:.3f}" in words for each in reflected.tolist()) == 6
    assert any("light in one mode a row" in each for each in words)


def test_a_card_tells_of_the_chip():
    data = ChipDataModule(simulated=CHIP, rows=60)
    card = str(model_card(twin_of(data.chip), data))
    assert "## The chip" in card and "truth within 95 %" in card
    assert "Heaters and couplings drift" in card and "simulated, ideal" not in card


def test_a_missing_detector_counts_nowhere():
    pytest.importorskip("matplotlib", reason="plot extra")
    chip = SimulatedChip(**CHIP)
    table = pandas.DataFrame(chip.table(150, 1e-3, torch.Generator().manual_seed(0)))
    table.loc[:40, "out1"] = np.nan
    data = ChipDataModule(table, calibration_fraction=0.2)
    twin = twin_of(chip)
    study = chip_study(twin, data, unitaries=0)
    assert study.misfit["training"] == pytest.approx(1.0, abs=0.15)
    inputs, measured = data.calibration
    whole = ~measured.isnan().any(1)
    found = calibrate(twin, data).scores
    with torch.no_grad():
        off = (twin(inputs) - measured).abs()[whole].sort(0).values
    assert 0 < len(found) == int(whole.sum()) < len(whole)
    assert torch.allclose(found.float(), off, atol=1e-6)
    figure = predicted_figure(twin(inputs).detach(), measured, ["a", "b", "c"], "rows")
    assert len(figure.axes[1].collections[0].get_offsets()) == int((~measured[:, 1].isnan()).sum())


def test_what_is_no_chip_is_refused():
    with pytest.raises(ValueError, match="needs one, got a model with quantum='mlp'"):
        chip_study(ChipTwin(3, quantum="mlp"))
    with pytest.raises(ValueError, match="unitaries"):
        chip_study(ChipTwin(3), unitaries=-1)
