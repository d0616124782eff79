"""Budgets: their grammar, what they refuse, and the largest circuit that they allow."""

import re

import pytest
import torch

from hybridlit.photonics import DEVICES, Budget, Experiment, budget as budgets
from hybridlit.photonics.budget import shapes
from hybridlit.photonics.cost import Cost, estimate
from hybridlit.photonics.speed import Speed, assume_speed

SPEED = Speed("float32", 1e-4, (10**4, 10**8), (5e-10, 1e-9), 5e-10, 5e-6, 2e-11, 2e-10)


@pytest.fixture(autouse=True)
def known_speed():
    assume_speed(SPEED)
    yield
    assume_speed(None)


@pytest.mark.parametrize(
    "text,limits",
    [
        ("2GiB", dict(memory=2**31)),
        ("1.5 MB", dict(memory=1_500_000)),
        ("512b", dict(memory=512)),
        ("20ms", dict(seconds=0.02)),
        ("1.5 s", dict(seconds=1.5)),
        ("250us,2min", None),
        ("5000 parameters", dict(parameters=5000)),
        ("1 parameter", dict(parameters=1)),
        ("Ascella", dict(device="ascella")),
        (
            " ascella , 5000parameters,20 ms,2GiB ",
            dict(memory=2**31, seconds=0.02, parameters=5000, device="ascella"),
        ),
    ],
)
def test_words_are_limits(text, limits):
    if limits is None:
        with pytest.raises(ValueError, match=f"'{text}' says twice what seconds may be"):
            Budget.parse(text)
    else:
        found = Budget.parse(text)
        assert found == Budget(**limits)
        if found.memory != 1_500_000:  # which is told in three digits
            assert Budget.parse(str(found)) == found


@pytest.mark.parametrize(
    "text,word",
    [
        ("", ""),
        ("2GiB,", ""),
        ("2", "2"),
        ("2G", "2G"),
        ("-2GiB", "-2GiB"),
        ("20 MS", "20 MS"),
        ("1.5 parameters", "1.5 parameters"),
        ("2GiB 20ms", "2GiB 20ms"),
        ("0GiB", "0GiB"),
    ],
)
def test_other_words_are_named_with_what_is_allowed(text, word):
    allowed = r".*memory such as 2GiB.*time such as 20ms.*5000 parameters.*ascella or belenos"
    with pytest.raises(ValueError, match=re.escape(f"the word {word!r}, which is") + allowed):
        Budget.parse(text)


def test_the_nearest_device_is_named():
    with pytest.raises(ValueError, match=r"'2GiB,ascela'.*did you mean 'ascella'"):
        Budget.parse("2GiB,ascela")


@pytest.mark.parametrize(
    "limits,error,message",
    [
        ({}, ValueError, "a budget must have a limit"),
        (dict(memory=0), ValueError, "memory must be at least 1"),
        (dict(seconds=0), ValueError, "seconds must be above 0"),
        (dict(parameters=1.5), TypeError, "parameters must be an integer"),
        (dict(device="altair"), ValueError, "device must be one of"),
    ],
)
def test_bad_limits(limits, error, message):
    with pytest.raises(error, match=message):
        Budget(**limits)


def test_the_machine_is_its_free_memory_less_the_error(monkeypatch):
    monkeypatch.setattr(budgets, "available_memory", lambda: 1200)
    assert Budget.parse("machine,1s") == Budget(memory=1000, seconds=1.0)


def cost(**numbers):
    given = dict(states=1, multiply_adds=1, kernel="compiled", parameters=10, peak_bytes=2**20)
    return Cost(**(given | dict(seconds=0.01) | numbers))


@pytest.mark.parametrize(
    "limits,numbers,over",
    [
        (dict(memory=2**20), {}, None),
        (dict(memory=2**19), {}, "1 MiB of memory, 512 KiB over the 512 KiB allowed"),
        (dict(seconds=0.01), {}, None),
        (dict(seconds=0.004), {}, "10 ms a step, 6 ms over the 4 ms allowed"),
        (dict(seconds=0.004), dict(seconds=None), "a time that cannot be told, where 4 ms are"),
        (dict(memory=2**20), dict(seconds=None), None),
        (dict(parameters=10), {}, None),
        (dict(parameters=9), {}, "10 parameters, 1 over the 9 allowed"),
        (
            dict(memory=2**19, parameters=9),
            {},
            "over the 512 KiB allowed; 10 parameters, 1 over the 9 allowed",
        ),
    ],
)
def test_what_is_over_is_told_with_by_how_much(limits, numbers, over):
    found = Budget(**limits).refusal(cost(**numbers))
    assert found is None if over is None else over in found


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_takes_its_nominal_circuit_and_no_larger_one(name):
    device = DEVICES[name]
    own = Budget(device=name)
    assert own.refusal(cost(), Experiment("series", device.modes, device.photons)) is None
    assert own.refusal(cost()) is None
    larger = Experiment("series", device.modes + 2, device.photons + 1)
    assert own.refusal(cost(), larger) == (
        f"{device.modes + 2} modes, 2 more than {name} has; "
        f"{device.photons + 1} photons, 1 more than {name} has"
    )
    bunched = Experiment(n_modes=3, circuit_type="series", input_state=[2, 0, 0])
    assert own.refusal(cost(), bunched) == f"2 photons in a mode, 1 more than {name} has"
    assert "(20" in device.source or "Perceval" in device.source


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize(
    "text", ["300 KiB", "6MiB", "1GiB", "0.3ms", "20ms", "1GiB,5ms", "900 parameters", "ascella"]
)
def test_the_largest_is_the_last_of_all_that_fit(text, space):
    """Compared with every circuit of the line up to 40 modes, fitting or not."""
    limits = Budget.parse(text)

    def fits(modes):
        made = Experiment("series", modes, max(1, modes // 2), computation_space=space)
        over = limits.refusal(estimate(made, modes - 1, 32), made)
        return over is None

    modes = max(modes for modes in range(2, 41) if fits(modes))
    expected = Experiment("series", modes, max(1, modes // 2), computation_space=space)
    assert Experiment.largest(text, batch_size=32, computation_space=space) == expected


def test_what_is_given_stays():
    given = dict(batch_size=16, input_size=3, circuit_type="parallel", state_pattern="sequential")
    limit = Budget(memory=2**20)
    for numbers in (dict(n_modes=9), dict(n_photons=3), dict(n_modes=9, n_photons=2)):
        found = Experiment.largest(limit, **numbers, **given)
        assert all(getattr(found, name) == value for name, value in numbers.items())
        assert (found.circuit_name, found.occupation[0]) == ("parallel", 1)
        if len(numbers) == 1:
            [(name, _)] = numbers.items()
            other = {"n_modes": "n_photons", "n_photons": "n_modes"}[name]
            next_one = numbers | {other: getattr(found, other) + 1}
            with pytest.raises(ValueError, match=r"no circuit is within the budget 1 MiB.*over"):
                Experiment.largest(limit, **next_one, **given)


def test_photons_of_a_number_of_modes_end_where_states_are_most():
    assert Experiment.largest("1TiB", n_modes=6).n_photons == 6
    assert Experiment.largest("1TiB", n_modes=7, computation_space="unbunched").n_photons == 3


def test_states_grow_along_every_line():
    for unbunched in (False, True):
        space = "unbunched" if unbunched else "fock"
        for numbers in ((12, None), (None, 3), (None, None)):
            line = shapes(*numbers, unbunched)
            found = [next(line) for _ in range(6)]
            sizes = [
                Experiment("series", *each, computation_space=space).fock_space.size
                for each in found
            ]
            assert sizes == sorted(set(sizes)), found


def test_double_precision_takes_more():
    single, double = (
        Experiment.largest("1MiB", n_photons=3, dtype=dtype).n_modes
        for dtype in (torch.float32, torch.float64)
    )
    assert double < single


@pytest.mark.parametrize(
    "arguments,error,message",
    [
        (dict(budget="1KiB"), ValueError, "within the budget 1 KiB: 2 modes and 1 photon take"),
        (dict(budget=3), TypeError, "budget must be a Budget or a string, got int"),
        (dict(budget="1MiB", n_modes=1), ValueError, "n_modes must be at least 2"),
        (dict(budget="1MiB", n_photons=0), ValueError, "n_photons must be at least 1"),
        (dict(budget="1MiB", batch_size=0), ValueError, "batch_size must be at least 1"),
        (dict(budget="1MiB", circuit_type="parallell"), ValueError, "did you mean 'parallel'"),
        (dict(budget="1MiB", input_state=[1, 0]), ValueError, "input_state is of a given number"),
        (dict(budget="1MiB", circuit=[]), ValueError, "circuit is of a given number of modes"),
        (dict(budget="1MiB", n_mode=3), TypeError, "n_mode"),
        (
            dict(budget="1GiB", n_photons=3, postselect="dual_rail"),
            ValueError,
            "n_photons=3 leaves nothing to choose: leave both out",
        ),
        (
            dict(budget="1TiB", n_photons=40, noise={"indistinguishability": 0.9}),
            ValueError,
            "no circuit is within the budget 1 TiB: 40 photons that are partly alike in 41 modes",
        ),
        (
            dict(budget="9 parameters", reservoir_mode=True),
            ValueError,
            "does not limit this circuit",
        ),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Experiment.largest(**arguments)


def test_what_not_even_the_plan_of_its_light_fits_is_too_large(monkeypatch):
    """Of noise, not of the budget: the last circuit before it."""
    monkeypatch.setattr("hybridlit.photonics.noise.program._MOST_SETS", 100)
    noise = {"indistinguishability": 0.9}
    found = Experiment.largest("1TiB", n_modes=12, input_size=2, noise=noise)
    assert found.n_photons == 6  # of which 2**6 sets are partly alike
    assert Experiment.largest("1TiB", postselect="dual_rail", n_modes=8, n_photons=4).rule


def test_a_circuit_that_no_longer_keeps_its_states_may_fit_where_a_smaller_one_does_not():
    """The kernel keeps up to 5 MiB, and from then on nothing: 45 modes take half of 44."""
    given = dict(input_size=3, batch_size=512)

    def taken(modes):
        return estimate(Experiment("series", modes, 2), 3, 512, calibrate=False).peak_bytes

    assert taken(45) < 0.6 * taken(44)
    limit = Budget(memory=int(1.1 * taken(45)))
    found = Experiment.largest(limit, n_photons=2, **given).n_modes
    assert found >= 45
    assert taken(found) <= limit.memory < min(map(taken, range(found + 1, found + 30)))
