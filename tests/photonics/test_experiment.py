import dataclasses
import pickle

import pytest

from hybridlit.photonics import (
    AnsatzFactory,
    CircuitType,
    Experiment,
    OutputMappingStrategy,
    StatePattern,
)


def test_members_and_strings_mean_the_same():
    with_members = Experiment(CircuitType.PARALLEL_COLUMNS, 5, 2, StatePattern.SPACED, True, False)
    with_strings = Experiment("parallel_columns", 5, 2, "spaced", True, computation_space="fock")
    assert with_members == with_strings == Experiment("PARALLEL_COLUMNS", 5, 2, "Spaced", True)
    assert hash(with_members) == hash(with_strings)


def test_experiment_is_frozen_and_plain():
    experiment = Experiment("series", 4, 2, encoding=None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.n_modes = 5
    assert pickle.loads(pickle.dumps(experiment)) == experiment
    assert dataclasses.replace(experiment, n_photons=3).n_photons == 3


@pytest.mark.parametrize(
    "pattern,modes,photons,expected",
    [
        ("periodic", 4, 3, (1, 1, 1, 0)),
        ("default", 5, 3, (1, 0, 1, 0, 1)),
        ("periodic", 6, 4, (1, 1, 1, 0, 1, 0)),
        ("periodic", 7, 3, (1, 0, 1, 0, 1, 0, 0)),
        ("periodic", 3, 5, (2, 1, 2)),
        ("spaced", 5, 3, (1, 1, 0, 1, 0)),
        ("spaced", 6, 4, (1, 1, 0, 1, 1, 0)),
        ("spaced", 4, 2, (1, 0, 1, 0)),
        ("spaced", 5, 1, (0, 0, 1, 0, 0)),
        ("sequential", 5, 3, (1, 1, 1, 0, 0)),
        ("sequential", 2, 3, (2, 1)),
    ],
)
def test_state_patterns(pattern, modes, photons, expected):
    assert Experiment("series", modes, photons, pattern).occupation == expected


def test_explicit_state_and_encoding():
    experiment = Experiment(
        n_modes=3, n_photons=3, input_state=[2, 0, 1], encoding=[[[1.0], [0.0], [0.5]]]
    )
    assert experiment.occupation == (2, 0, 1)
    assert experiment.encoding == (((1.0,), (0.0,), (0.5,)),)
    assert experiment.encoding_for(1).shape == (1, 3, 1)
    with pytest.raises(ValueError, match="input_size must be 1"):
        AnsatzFactory.create(experiment, 2, 4)


@pytest.mark.parametrize(
    "arguments,keywords,error,message",
    [
        (("series", 1, 1), {}, ValueError, "n_modes must be at least 2, got 1"),
        (("series", 4), {}, ValueError, "n_photons must be given, at least 1, or input_state"),
        (("series", 4, 0), {}, ValueError, "n_photons must be at least 1, got 0"),
        (
            ("series", 4),
            {"input_state": [0] * 4},
            ValueError,
            "n_photons must be at least 1, got 0",
        ),
        (("series", 4, 0), {"input_state": [1, 0, 0, 0]}, ValueError, "at least 1, got 0"),
        (("series",), {}, ValueError, "n_modes must be at least 2, got 0"),
        (("series", True, 1), {}, TypeError, "n_modes must be an integer, got bool True"),
        (("series", 4, 2.0), {}, TypeError, "n_photons must be an integer, got float 2.0"),
        (("serial", 4, 2), {}, ValueError, "circuit_type must be one of 'series', 'parallel'"),
        ((3, 4, 2), {}, TypeError, "circuit_type must be a CircuitType or a string, got int 3"),
        (("series", 4, 2, "random"), {}, ValueError, "state_pattern must be one of"),
        (
            ("series", 4, 2, "spaced", 1),
            {},
            TypeError,
            "use_bandwidth_tuning must be a bool",
        ),
        (
            ("series", 4, 2, "spaced", True, "no"),
            {},
            TypeError,
            "reservoir_mode must be a bool",
        ),
        (
            (None, 4, 2),
            {},
            ValueError,
            "exactly one of circuit_type, encoding and circuit, got neither",
        ),
        (
            ("series", 2, 1),
            {"encoding": [[[1], [0]]]},
            ValueError,
            "exactly one .* got circuit_type and encoding",
        ),
        (("series", 4, 2), {"computation_space": "dual_rail"}, ValueError, "computation_space"),
        (
            ("series", 4, 4),
            {"computation_space": "unbunched"},
            ValueError,
            "n_photons must be below n_modes=4 in the unbunched space, got 4",
        ),
        (("series", 4, 2), {"input_state": (1, 0, 0, 0)}, ValueError, "with 1 photons in 4 modes"),
        (("series", 4, 2), {"input_state": (1, 1, 0)}, ValueError, "2 photons in 3 modes"),
        (("series", 4, 2), {"input_state": (1, 2, -1, 0)}, ValueError, "at least 0, got -1"),
        (("series", 4, 2), {"input_state": (True, 1, 0, 0)}, TypeError, "got bool True"),
        (("series", 4, 2), {"input_state": "1100"}, TypeError, "must be a sequence of ints"),
        (("series", 4, 2), {"input_state": 2}, TypeError, "must be a sequence of ints"),
    ],
)
def test_bad_experiments(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        Experiment(*arguments, **keywords)


def test_ansatz_factory_positionally_and_by_name():
    experiment = Experiment("series", 4, 2)
    by_name = AnsatzFactory.create(
        experiment=experiment,
        input_size=3,
        output_size=5,
        output_mapping_strategy=OutputMappingStrategy.MODGROUPING,
    )
    assert by_name == AnsatzFactory.create(experiment, 3, 5, "modgrouping")
    assert AnsatzFactory.create(experiment, 3, None, "none").output_size == 10


@pytest.mark.parametrize(
    "arguments,error,message",
    [
        ((3, None), ValueError, "output_size must be given .* 'none' gives all 10 probabilities"),
        ((-1, 4), ValueError, "input_size must be at least 0, got -1"),
        ((True, 4), TypeError, "input_size must be an integer"),
        ((3, 0), ValueError, "output_size must be at least 1"),
        ((3, 4, "none"), ValueError, "output_size must be 10 or None"),
        ((3, 1, "grouping"), ValueError, "output_size must be 2 to 10"),
        ((3, 11, "modgrouping"), ValueError, "output_size must be 2 to 10"),
        ((3, 3, "mode_expectations"), ValueError, "output_size must be 4 or None"),
        ((3, 4, "pair_correlations"), ValueError, "output_size must be 10 or None"),
        ((3, 4, "sum"), ValueError, "output_mapping_strategy must be one of"),
    ],
)
def test_bad_ansatz(arguments, error, message):
    with pytest.raises(error, match=message):
        AnsatzFactory.create(Experiment("series", 4, 2), *arguments)


def test_ansatz_needs_an_experiment():
    with pytest.raises(TypeError, match="experiment must be an Experiment, got str"):
        AnsatzFactory.create("series", 3, 4)


def test_too_many_features_are_refused_by_name():
    with pytest.raises(MemoryError, match="input_size=1000000 is too large for n_modes=5"):
        Experiment("parallel", 5, 2).encoding_for(10**6)
