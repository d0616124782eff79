"""Heat maps, groups of samples, photon statistics and the pictures made of them."""

import numpy as np
import pytest
import torch
from small_layers import COMPONENTS

from hybridlit import Experiment, QuantumLayer, QuantumLayerStack
from hybridlit.analysis.pictures import layer_pictures as statistics, panels as pictures
from hybridlit.analysis.pictures.heat_map import heat_map, side_by_side
from hybridlit.analysis.pictures.layer_pictures import layer_pictures, photon_statistics
from hybridlit.analysis.pictures.samples import group_samples, rows_of_calls
from hybridlit.analysis.recording import Call, copied, recorded
from hybridlit.photonics.interferometer import unitaries


def layer(modes=5, photons=2, outputs=6, mapping="linear", kind="series", **options):
    experiment = Experiment(kind, modes, photons, **options)
    return QuantumLayer(3, outputs, experiment=experiment, output_mapping_strategy=mapping).double()


@pytest.fixture
def x():
    return torch.rand(40, 3, dtype=torch.float64)


@pytest.fixture
def groups():
    return group_samples(torch.arange(40) % 3)


# --- heat maps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["gj|", "\u03c0\u00b2", "a b"])
def test_a_label_of_two_lines_is_drawn_whole(label):
    def ink(words):  # white adds nothing
        return int((255 - heat_map([[1.0]], "", [words], ["c"]).astype(int)).sum())

    assert ink(label) > ink("")
    assert ink(f"{label}\n{label}") - ink("") == 2 * (ink(label) - ink(""))


def test_cells_have_the_colours_of_their_values():
    picture = heat_map([[-1.0, 0.0], [1.0, np.nan]], "", ["a", "b"], ["c", "d"], scale="diverging")
    # cells of 28 x 40 pixels; the first one starts where the first colour of the map appears
    down, left = np.argwhere((picture == [0x21, 0x66, 0xAC]).all(-1))[0]
    centres = [[tuple(picture[down + r, left + c].tolist()) for c in (20, 60)] for r in (14, 42)]
    assert centres == [
        [(0x21, 0x66, 0xAC), (0xF7, 0xF7, 0xF7)],
        [(0xB2, 0x18, 0x2B), (215, 215, 215)],
    ]


def test_a_cyclic_scale_ends_as_it_begins():
    ends = heat_map([[0.0, 2.0]], "", ["a"], ["b", "c"], scale="cyclic", low=0.0, high=2.0)
    down, left = np.argwhere((ends == [0xCD, 0x4B, 0x50]).all(-1))[0]
    assert (ends[down + 14, left : left + 80] == [0xCD, 0x4B, 0x50]).all()


@pytest.mark.parametrize(
    "values", [[[3.0]], [[np.nan, np.inf]], np.zeros((2, 3)), np.ones((99, 9))]
)
def test_any_matrix_can_be_drawn(values):
    rows, columns = np.shape(values)
    for scale in ("sequential", "diverging", "cyclic"):
        labels = [str(i) for i in range(rows)], [str(i) for i in range(columns)]
        picture = heat_map(values, "title", *labels, scale=scale)
        assert picture.dtype == np.uint8 and picture.shape[2] == 3


def test_long_labels_are_turned_upright_and_narrow_cells_stay_on_the_picture():
    short = heat_map(np.eye(3), "", list("abc"), list("abc"))
    long = heat_map(np.eye(3), "", list("abc"), ["a long label"] * 3)
    assert long.shape[0] > short.shape[0] and long.shape[1] == short.shape[1]
    wide = heat_map(np.zeros((1, 500)), "", ["a"], [str(i) for i in range(500)])
    assert wide.shape[1] > 4 * 500


def test_matrices_and_labels_must_fit():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got 1 and 2 labels"):
        heat_map(np.eye(2), "", ["a"], ["b", "c"])
    with pytest.raises(ValueError, match=r"matrix with cells, got shape \(0, 2\)"):
        heat_map(np.zeros((0, 2)), "", [], ["b", "c"])
    with pytest.raises(ValueError, match="scale must be one of"):
        heat_map(np.eye(1), "", ["a"], ["b"], scale="rainbow")


def test_pictures_stand_in_rows():
    black = np.zeros((10, 300, 3), dtype=np.uint8)
    both = side_by_side([black, black, black], 2)
    assert both.shape == (20, 600, 3)
    assert (both[:10] == 0).all() and (both[10:, 300:] == 255).all()


# --- groups ---------------------------------------------------------------------------------------


def test_classes_are_groups():
    found = group_samples(torch.tensor([5, 2, 5, 9]))
    assert found.names == ["2", "5", "9"] and found.of_sample.tolist() == [1, 0, 1, 2]
    assert found.kind == "class"
    assert group_samples(torch.tensor([[0.0], [1.0], [1.0]])).names == ["0", "1"]
    assert group_samples(torch.tensor([True, False])).of_sample.tolist() == [1, 0]


def test_more_classes_than_fit_are_said():
    found = group_samples(torch.arange(30).repeat(2), most=20)
    assert found.kind == "class (20 of 30)" and len(found.names) == 20
    assert (found.of_sample >= 0).sum() == 40 and found.counts().tolist() == [2] * 20
    means = found.means(torch.arange(60.0)[:, None])
    assert means[:, 0].tolist() == [15.0 + k for k in range(20)]


def test_real_targets_fall_into_bins_of_equal_size():
    found = group_samples(torch.randn(100))
    assert found.kind == "target" and found.counts().tolist() == [20] * 5
    assert group_samples(torch.full((4,), 2.5)).names == ["2.5"]
    two = group_samples(torch.tensor([0.5] * 9 + [7.0]))
    assert two.counts().sum() == 10 and 0 not in two.counts()[two.counts() > 0]


def test_a_bin_holds_its_lower_edge_and_the_last_one_both():
    found = group_samples(torch.tensor([6.0, 0.0, 4.0, 3.0, 1.0, 2.0, 5.0]), bins=3)
    assert found.names == ["0 to 2", "2 to 4", "4 to 6"]
    assert found.of_sample.tolist() == [2, 0, 2, 1, 0, 1, 2]
    assert found.means(torch.tensor([[6.0, 0.0, 4.0, 3.0, 1.0, 2.0, 5.0]]).mT).tolist() == [
        [0.5],
        [2.5],
        [5.0],
    ]


@pytest.mark.parametrize(
    ("targets", "message"),
    [(torch.tensor([1.5, torch.nan]), "must be finite"), (torch.zeros(0), "at least one")],
)
def test_targets_that_group_nothing_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        group_samples(targets)


# --- statistics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_means_are_those_of_the_probabilities(space, x, groups):
    made = layer(computation_space=space)
    found = photon_statistics(made, x, groups)
    probabilities = made.probabilities(x).detach()
    for group in range(3):
        expected = probabilities[groups.of_sample == group].mean(0)
        torch.testing.assert_close(found.outcomes[group], expected)
    photons = torch.full((3,), 2.0, dtype=torch.float64)
    torch.testing.assert_close(found.modes.sum(1), photons)
    states = torch.tensor(np.array(made.fock_space.states), dtype=torch.float64)
    torch.testing.assert_close(found.modes, found.outcomes @ states)
    assert found.missing == ""


def test_parts_of_the_samples_add_up(x, groups, monkeypatch):
    made = layer()
    whole = photon_statistics(made, x, groups)
    monkeypatch.setattr(statistics, "_ROWS", 7 * made.fock_space.size)
    parts = photon_statistics(made, x, groups)
    torch.testing.assert_close(parts.outcomes, whole.outcomes)


def test_too_many_outcomes_leave_the_modes(x, groups, monkeypatch):
    made = layer()
    whole = photon_statistics(made, x, groups)
    monkeypatch.setattr(statistics, "_LARGEST", 10)
    found = photon_statistics(made, x, groups)
    assert found.outcomes is None and found.missing == "15 outcomes are too many to show"
    torch.testing.assert_close(found.modes, whole.modes)
    none = photon_statistics(layer(computation_space="unbunched"), x, groups)
    assert none.outcomes is None and none.modes is None and "unbunched" in none.missing


def test_photons_of_a_superposition_are_counted_without_outcomes(x, groups, monkeypatch):
    state = {(1, 0, 1, 0, 0): 1, (0, 1, 0, 1, 0): 1j, (0, 0, 0, 0, 2): -2}
    made = layer(photons=None, input_state=state)
    wanted = photon_statistics(made, x, groups)
    monkeypatch.setattr(statistics, "_LARGEST", 10)
    torch.testing.assert_close(photon_statistics(made, x, groups).modes, wanted.modes)


def test_expectations_need_no_outcomes(x, groups):
    made = layer(outputs=None, mapping="mode_expectations")
    found = photon_statistics(made, x, groups)
    assert found.outcomes is None and "without outcomes" in found.missing
    torch.testing.assert_close(found.modes, groups.means(made(x).detach()))


# --- calls ----------------------------------------------------------------------------------------


def test_rows_of_calls_keep_to_their_samples(groups):
    made = layer()
    x = torch.rand(40, 2, 3, dtype=torch.float64)  # two steps a sample
    with recorded({"layer": made}, copied) as calls:
        made(x[:30])
        made(x=x[30:])
    rows = rows_of_calls(made, calls["layer"], groups)
    assert torch.equal(rows.features, x.flatten(0, 1))
    assert torch.equal(rows.groups.of_sample, groups.of_sample.repeat_interleave(2))
    assert rows.outputs.shape == (80, 6)
    made(x)
    assert len(calls["layer"]) == 2  # the hooks are gone


@pytest.mark.parametrize("each", [False, True])
def test_circuits_of_a_stack_have_rows_of_their_own(each, x, groups):
    stack = QuantumLayerStack(2, 3, 4, experiment=Experiment("series", 4, 2)).double()
    given = torch.stack([x, 1 - x], 1) if each else x
    with recorded({"": stack}, copied) as calls, torch.no_grad():
        stack(given, each)
    rows = rows_of_calls(stack, calls[""], groups)
    second, of_second = stack.layers()[1], rows.of_circuit(1)
    torch.testing.assert_close(second(of_second.features), of_second.outputs)


def test_calls_that_do_not_tell_samples_apart_have_no_rows(groups, x):
    made = layer()
    outputs = made(x)
    for calls in (
        [],
        [(x[:30], outputs[:30])],
        [(None, outputs)],
        [(x, (outputs,))],
        [(x, outputs + 0j)],
        [(x, outputs[:30])],
        [(x[0], outputs[0])],
    ):
        found = [Call((given,), {}, output) for given, output in calls]
        assert rows_of_calls(made, found, groups) is None


# --- pictures -------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """Keep what is drawn as a heat map."""
    kept = []

    def keep(values, title, rows, columns, **options):
        kept.append((torch.as_tensor(values), title, rows, columns, options))
        return heat_map(values, title, rows, columns, **options)

    monkeypatch.setattr(pictures, "heat_map", keep)
    return kept


def test_outcomes_that_differ_most_are_shown_under_their_class(drawn, groups):
    space = layer().fock_space
    outcomes = torch.full((3, 15), 0.02)
    for group, outcome in enumerate((7, 0, 3)):
        outcomes[group, outcome] = 0.72
    pictures.outcome_picture(outcomes, groups, space, "title", most=4)
    values, _, rows, columns, options = drawn[0]
    wanted = ["".join(map(str, space[outcome])) for outcome in (7, 0, 3)]
    # the fourth differs as little as all others, the first of them, at class 0
    assert [c.strip("|>") for c in columns if c.strip("|>") in wanted] == wanted
    assert len(columns) == 4 and rows == ["0", "1", "2"]
    assert "4 of 15 outcomes" in options["column_title"]
    assert "the others hold 22 to 22 %" in options["column_title"]
    assert values.max().item() == pytest.approx(0.72**0.5)


def test_outcomes_that_all_classes_share_are_left_out_however_likely(drawn, groups):
    space = layer().fock_space
    outcomes = torch.full((3, 15), 0.01)
    outcomes[:, 4] = 0.8  # the same for all
    outcomes[:, 9] = torch.tensor([0.03, 0.0, 0.0])
    outcomes[:, 12] = torch.tensor([0.0, 0.06, 0.0])
    pictures.outcome_picture(outcomes, groups, space, "title", most=2)
    names = ["|" + "".join(map(str, space[outcome])) + ">" for outcome in (9, 12)]
    values, _, _, columns, _ = drawn[0]
    assert columns == names
    torch.testing.assert_close(values.square().float(), outcomes[:, [9, 12]])


def test_all_outcomes_are_shown_where_they_fit(drawn, groups):
    pictures.outcome_picture(torch.full((3, 15), 1 / 15), groups, layer().fock_space, "title")
    assert drawn[0][0].shape == (3, 15) and drawn[0][4]["column_title"] == "all 15 outcomes"


def test_phases_stand_where_their_cells_are(drawn):
    made = layer(modes=3)
    made.phases.data[0, :, 0] = torch.tensor([0.5, 1.0, 2.5]) * torch.pi
    pictures.phase_picture(made.phases, "title")
    grid = drawn[0][0]
    assert drawn[0][1] == "U_0: a" and drawn[1][1] == "U_0: b"
    expected = torch.tensor([[0.5, torch.nan, 0.5], [torch.nan, 1.0, torch.nan]])
    torch.testing.assert_close(grid.float(), expected, equal_nan=True)


def test_every_cell_of_a_larger_mesh_has_its_place(drawn):
    phases = torch.arange(12, dtype=torch.float64).view(1, 6, 2) * 0.1 * torch.pi
    pictures.phase_picture(phases, "title")
    empty = torch.nan
    for kind, (values, *_) in enumerate(drawn):
        expected = torch.tensor(
            [[0, empty, 6, empty], [empty, 4, empty, 10], [2, empty, 8, empty]], dtype=torch.float64
        )
        torch.testing.assert_close(values, 0.1 * (expected + kind), equal_nan=True)


def test_angles_of_components_have_their_names_and_periods(drawn):
    """Of 4 pi for a beam splitter, whose angle comes in halves."""
    experiment = Experiment(n_modes=4, n_photons=2, circuit=COMPONENTS)
    made = QuantumLayer(3, 2, experiment=experiment)
    names = [str(parameter) for parameter in made.lowering.parameters]
    place = names.index("t")
    assert names[:2] == ["a0 of 0", "b0 of 0"] and "phi of 4.1" in names
    with torch.no_grad():
        made.phases.fill_(0.2 * torch.pi)
    pictures.angle_picture(made.phases, made, "title")
    values, _, _, columns, _ = drawn[0]
    assert columns == names
    expected = np.full(len(names), 0.1)
    expected[place] = 0.05
    np.testing.assert_allclose(values[0], expected, atol=1e-6)
    pictures.angle_picture(made.phases, made, "title", most=4)
    assert drawn[1][3] == [*names[:2], *names[-2:]]
    assert drawn[1][4]["column_title"] == f"angle ({len(names) - 4} in the middle left out)"


def test_magnitudes_have_outputs_down_and_inputs_across(drawn):
    """Swap modes 0 and 1, then 1 and 2: light from 0 leaves at 2, from 1 at 0, from 2 at 1."""
    phases = torch.zeros(1, 3, 2, dtype=torch.float64)
    phases[0, 2, 0] = torch.pi  # the third cell, on modes 0 and 1 again, lets light go straight on
    pictures.interferometer_picture(unitaries(phases), "title")
    magnitudes, title, _, _, options = drawn[0]
    assert (title, options["row_title"], options["column_title"]) == ("|U_0|", "out", "in")
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for start, end in enumerate((2, 0, 1)):
        expected[end, start] = 1.0
    torch.testing.assert_close(magnitudes, expected)


def test_many_interferometers_are_counted():
    title = []
    made = QuantumLayer(9, 2, experiment=Experiment("parallel", 3, 1))

    def keep(panels, across, words=""):
        title.append((len(panels), words))
        return side_by_side(panels, across, words)

    original, pictures.side_by_side = pictures.side_by_side, keep
    try:
        pictures.interferometer_picture(made.interferometers(), "U")
        pictures.phase_picture(made.phases, "phases")
    finally:
        pictures.side_by_side = original
    assert title == [
        (6, "U (4 interferometers in the middle left out)"),
        (12, "phases (4 interferometers in the middle left out)"),
    ]


def test_large_readouts_show_their_largest_weights(drawn):
    made = layer(modes=8, photons=3)
    made.readout.weight.data[:, 100] = 9.0
    made.readout.weight.data[:, 50] = -8.0
    pictures.readout_picture(made.readout.weight, made.fock_space, "title", most=10)
    values, _, _, columns, options = drawn[0]
    assert values.shape == (6, 10) and len(columns) == 10
    assert "10 of 120 outcomes" in options["column_title"]
    assert (values == 9).any() and (values == -8).any()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(), {"outcomes", "modes", "readout"}),
        (dict(mapping="modgrouping"), {"outcomes", "modes"}),
        (dict(outputs=None, mapping="pair_correlations"), {"output", "modes"}),
        (dict(computation_space="unbunched"), {"outcomes", "modes", "readout"}),
        (dict(kind=None, modes=4, circuit=COMPONENTS), {"outcomes", "modes", "readout"}),
    ],
)
def test_a_layer_has_the_pictures_that_exist(options, expected, x, groups):
    made = layer(**options)
    with recorded({"": made}, copied) as calls:
        made(x)
    rows = rows_of_calls(made, calls[""], groups)
    found = dict(layer_pictures(made, rows, None, "title", "40 samples"))
    assert set(found) == expected | {"interferometers", "phases"}
    # more than a white sheet
    assert all(len(np.unique(picture)) > 50 for picture in found.values())
    without = dict(layer_pictures(made, None, torch.ones_like(made.phases), "title", ""))
    assert set(without) - {"readout"} == {"interferometers", "phases", "phase_gradients"}
