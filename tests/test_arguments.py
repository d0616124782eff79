"""Every argument of everything public: a wrong type is an error that names the argument."""

import enum
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_searches import a_search
from torch import nn
from torch.utils.data import SequentialSampler

import hybridlit
from hybridlit import ArrayDataModule, ChipTwin, Experiment, Noise, QuantumLayer, SequentialHybrid
from hybridlit.photonics import AnsatzFactory


@pytest.fixture(autouse=True)
def small_mnist(monkeypatch):
    """Reading 5,000 images takes a second, for each of the data module's arguments."""
    images = np.zeros((50, 784), np.float32), np.arange(50) % 10
    monkeypatch.setattr("hybridlit.data.mnist._load", lambda: images)


EXPERIMENT = Experiment("series", n_modes=4, n_photons=2)
NOTHING = object()


def model():
    torch.manual_seed(0)
    return SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2)


def data():
    return ArrayDataModule(torch.randn(40, 3), torch.arange(40) % 2)


def images():
    """Write images into the working folder, which each test has for itself."""
    for label in ("cat", "dog"):
        for number in range(5):
            path = Path("images", label, f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (2, 2), number * 9).save(path)
    return "images"


def ansatz():
    return AnsatzFactory.create(EXPERIMENT, 3, 4)


VALID = {
    "ActivationCheckpointing": dict,
    "AlternatingTraining": dict,
    "AmplitudeEncoding": lambda: {
        "features": 3,
        "layer": QuantumLayer(3, 4, experiment=EXPERIMENT),
    },
    "Ansatz": lambda: {"experiment": EXPERIMENT, "input_size": 3, "output_size": 4},
    "ArrayDataModule": lambda: {"inputs": torch.randn(40, 3), "targets": torch.arange(40) % 2},
    "AttentionFusion": lambda: {"widths": [2, 3], "output_dim": 2},
    "BeamSplitter": dict,
    "Budget": lambda: {"memory": 2**20},
    "Circuit": lambda: {"n_modes": 3},
    "CNNFront": lambda: {"shape": [1, 8, 8], "output_size": 4},
    "ComponentProfiler": dict,
    "ConcatFusion": lambda: {"widths": [2, 3], "output_dim": 2},
    "Conv1dFront": lambda: {"shape": [2, 8], "output_size": 4},
    "Data": lambda: {"feature": 0},
    "DistinguishableLayer": lambda: {
        "input_size": 3,
        "output_size": 4,
        "experiment": EXPERIMENT,
    },
    "DistinguishableLayerStack": lambda: {
        "count": 2,
        "input_size": 3,
        "output_size": 4,
        "experiment": EXPERIMENT,
    },
    "EpochSeeded": lambda: {"sampler": SequentialSampler(range(6)), "seed": 1},
    "Ensemble": lambda: {"models": [model(), model()]},
    "Experiment": lambda: {"circuit_type": "series", "n_modes": 4, "n_photons": 2},
    "FederatedSettings": dict,
    "FeedForward": lambda: {
        "layer": QuantumLayer(3, experiment=EXPERIMENT, output_mapping_strategy="none"),
        "modes": [0],
        "then": lambda found: None,
        "output_size": 4,
    },
    "FidelityKernel": lambda: {"layer": QuantumLayer(3, 4, experiment=EXPERIMENT)},
    "FockSpace": lambda: {"modes": 3, "photons": 2},
    "Fusion": lambda: {"widths": [2, 3], "output_dim": 2},
    "GRUFront": lambda: {"shape": [2, 8], "output_size": 4},
    "GainGate": lambda: {"width": 3},
    "GatedFusion": lambda: {"widths": [2, 3], "output_dim": 2},
    "GradientImbalanceMonitor": dict,
    "GradientScaledQuantumLayer": lambda: {
        "quantum_layer": QuantumLayer(3, 4, experiment=EXPERIMENT)
    },
    "EvaluationPictures": dict,
    "GradualGate": lambda: {"gate": nn.Bilinear(2, 2, 2), "gate_epochs": [1, 3]},
    "HybridCheckpoint": dict,
    "HybridModule": lambda: {"output_dim": 2},
    "HybridNetwork": lambda: {"input_dim": 3, "output_dim": 2},
    "ImageFolderDataModule": lambda: {"path": images()},
    "Fixed": lambda: {"value": 0.5},
    "FixedUnitary": lambda: {"matrix": np.eye(3)},
    "Interferometer": lambda: {"n_modes": 3},
    "InputGate": lambda: {"width": 3},
    "ChipDataModule": lambda: {"simulated": {"modes": 3}, "rows": 30},
    "ChipTwin": lambda: {"modes": 3},
    "SimulatedChip": lambda: {"modes": 3},
    "MatchedMLP": lambda: {"input_size": 3, "output_size": 2, "parameters": 30},
    "MixedPrecision": dict,
    "MnistDataModule": dict,
    "ModuleStack": lambda: {"layers": [nn.Linear(2, 3), nn.Linear(2, 3)]},
    "MultiModalDataModule": lambda: {
        "arrays": {"a": torch.randn(20, 2), "b": torch.randn(20, 3), "y": torch.arange(20) % 2},
        "target": "y",
    },
    "MultiScale": lambda: {"shape": [8], "scales": [1, 2]},
    "NormalizationLayer": lambda: {"method": "standard", "num_features": 3},
    "OverfittingDetector": dict,
    "Paths": lambda: {"widths": {"classical": 2, "photonic": 3}},
    "ParallelBankHybrid": lambda: {"input_dim": 3, "output_dim": 2},
    "ParallelHybrid": lambda: {"input_dim": 3, "output_dim": 2},
    "Permutation": lambda: {"permutation": [1, 0]},
    "PhaseShifter": dict,
    "PartialMeasurement": lambda: {
        "layer": QuantumLayer(3, 4, experiment=EXPERIMENT),
        "modes": [0],
    },
    "PhotonicCircuit": lambda: {"ansatz": ansatz(), "count": None},
    "PhotonicInspector": dict,
    "HardwareLayer": lambda: {
        "input_size": 3,
        "output_size": 4,
        "experiment": EXPERIMENT,
        "processor": pytest.importorskip("perceval").SimulatedComputer("SLOS"),
    },
    "QuantumLayer": lambda: {"input_size": 3, "output_size": 4, "experiment": EXPERIMENT},
    "QuantumLayerStack": lambda: {
        "count": 2,
        "input_size": 3,
        "output_size": 4,
        "experiment": EXPERIMENT,
    },
    "RealCircuit": lambda: {"layer": QuantumLayer(3, 4, experiment=EXPERIMENT)},
    "RandomFeatures": lambda: {"input_size": 3, "output_size": 2},
    "Report": lambda: {"title": "Digits"},
    "ResidualHybrid": lambda: {"input_dim": 3, "output_dim": 2},
    "ResumableLoader": lambda: {"dataset": range(6)},
    "RowSafeBatchNorm1d": lambda: {"num_features": 3},
    "SequenceDataModule": lambda: {
        "inputs": torch.randn(40, 3, 2),
        "targets": torch.arange(40) % 2,
    },
    "SequentialHybrid": lambda: {"input_dim": 3, "quantum_dim": 2, "output_dim": 2},
    "SklearnDataModule": lambda: {"dataset": "iris"},
    "StagedTraining": lambda: {"stages": [["both", 1]]},
    "SumFusion": lambda: {"widths": [2, 3], "output_dim": 2},
    "TableDataModule": lambda: {
        "path": {"x": [*range(20)], "kind": ["a", "b"] * 10, "y": [0, 1] * 10},
        "target": "y",
    },
    "Noise": dict,
    "NoiseValues": lambda: {"noise": Noise(transmittance=0.5)},
    "Trainable": dict,
    "WarmStart": lambda: {"components": {"photonic": "photonic.pt"}},
    "ablation_study": lambda: {"model": model(), "datamodule": data()},
    "Superposition": lambda: {"terms": (((1, 0), 1.0), ((0, 1), 1j))},
    "amplitudes": lambda: {
        "unitary": torch.eye(3, dtype=torch.complex128),
        "input_state": [1, 1, 0],
    },
    "create_hybrid_optimizer": lambda: {"model": model()},
    "chip_study": lambda: {"model": ChipTwin(3), "unitaries": 1},
    "describe_circuit": lambda: {"source": QuantumLayer(3, 4, experiment=EXPERIMENT)},
    "calibrate": lambda: {"model": model(), "datamodule": data()},
    "run_federation": lambda: {"recipe": {"model": {}, "data": {}}},
    "run_search": lambda: {"recipe": {"model": {}, "data": {}}},
    "summarize_search": lambda: {"search": a_search(2)},
    "to_perceval": lambda: {"layer": QuantumLayer(3, 4, experiment=EXPERIMENT)},
    "uncertainty": lambda: {"model": model(), "datamodule": data()},
    "noise_study": lambda: {"model": model(), "datamodule": data()},
    "under_noise": lambda: {"model": model(), "noise": "ascella"},
    "draw_circuit": lambda: {"source": QuantumLayer(3, 4, experiment=EXPERIMENT)},
    "export_model": lambda: {"model": model(), "path": "model.pt2"},
    "export_component": lambda: {
        "source": model(),
        "component": "photonic",
        "path": "photonic.pt",
    },
    "find_batch_size": lambda: {"model": model(), "sample": torch.randn(4, 3)},
    "from_perceval": lambda: {"circuit": pytest.importorskip("perceval").BS()},
    "find_learning_rates": lambda: {"model": model(), "datamodule": data(), "steps": 1},
    "is_photonic": lambda: {"module": nn.Linear(2, 2)},
    "load": lambda: {"path": "model.ckpt"},
    "mark_photonic": lambda: {"module": nn.Linear(2, 2)},
    "model_card": lambda: {"model": model()},
    "model_parts": lambda: {"model": model()},
    "newest_checkpoint": lambda: {"folder": "."},
    "part_parameters": lambda: {"model": model()},
    "phases_from_unitary": lambda: {"unitary": np.eye(3)},
    "photonic_modules": lambda: {"model": model()},
    "predict_memory": lambda: {"model": model(), "sample": torch.randn(4, 3)},
    "robustness": lambda: {"model": model(), "datamodule": data()},
    "profile_components": lambda: {"model": model(), "loader": [torch.randn(4, 3)]},
    "shapley_values": lambda: {"model": model(), "datamodule": data()},
    "split_parameters": lambda: {"model": model()},
    "use_kernel": lambda: {"name": "torch"},
    "warm_start": lambda: {"model": model(), "path": "photonic.pt"},
}
"""Arguments with which each public name works, or gets beyond the checks of types."""

WRONG = {
    "bool": ["false", "no", 0, 1, 1.5, NOTHING, np.True_],
    "int": ["3", 1.5, True, NOTHING, np.float32(2.0)],
    "float": ["0.1", True, NOTHING, 1j],
    "str": [3, NOTHING, []],
    "Literal": ["nonsense", 3, [], {}, NOTHING],
    "Sequence": [3, NOTHING],
    "Sequence[int]": [3, NOTHING, [1.5], ["2"], "23"],
    "list[int]": [3, NOTHING, [1.5], ["2"], "23"],
    "tuple": [3, NOTHING, [], (1,)],
    "dict": [3, NOTHING, "photonic.pt", {3: 3}],
    "Mapping[int, float]": [NOTHING, {"first": 1.0}, {-1: 1.0}, {0: "1"}, {}, [True]],
    "angle": [NOTHING, True, 1j, {}, {"trained": None}, {"fixed": "1"}],
    "angles": [NOTHING, True, [0.5], [[0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5], [0.5, True]]],
    "Iterable": [3, NOTHING],
    "Module": [3, NOTHING, "model"],
    "Callable": [3, "mean"],
    "Enum": [3, NOTHING, [], "nonsense"],
    "None": [],
}


def kinds(annotation):
    """Return what stands between the bars of an annotation, literals and brackets kept whole."""
    parts, depth, part = [], 0, ""
    for letter in annotation:
        depth += (letter in "[(") - (letter in "])")
        if letter == "|" and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += letter
    return [*parts, part.strip()]


def kind_of(text):
    for pattern, kind in [
        (r"Literal|[A-Z]\w*Name$|EncodingUnit$|Action$|By$|OnDrift$", "Literal"),
        (r"Sequence\[int\]$|list\[int\]$", "Sequence[int]"),
        (r"Mapping\[int, float\]$", "Mapping[int, float]"),
        (r"Mapping\[", "dict"),
        (r"AngleLike$", "angle"),
        (r"AnglesLike$", "angles"),
        (r"Sequence\[|list\[", "Sequence"),
        (r"tuple\[", "tuple"),
        (r"dict\[", "dict"),
        (r"Iterable\[", "Iterable"),
        (
            r"nn\.Module$|(Hybrid)?Module$|HybridNetwork$|ChipTwin$|LightningModule$|LightningDataModule$|Ansatz$|Experiment$|Circuit$|Tensor$|PhotonicCircuit$|QuantumLayer$|Superposition$|Noise$"
            r"|Data$|Search$|os\.PathLike|CircuitSource$|torch\.device$|torch\.dtype$|npt",
            "Module",
        ),
        (r"Build$|RowScore$|Forward$|LossFunction$|OptimizerFactory$|Callable\[", "Callable"),
        (r"CircuitType$|StatePattern$|ComputationSpace$|OutputMappingStrategy$", "Enum"),
        (r"AutoInt$", "int"),
        (r"bool$|int$|float$|str$|None$", None),
    ]:
        if re.match(pattern, text):
            return kind or text
    raise NotImplementedError(text)


def fits(value, kind):
    """Say whether a wrong value of one alternative is a right one of another."""
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    return {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": number,
        "str": isinstance(value, str),
        "Sequence": isinstance(value, (list, tuple)),
        "Module": False,
    }.get(kind, False)


SKIPPED = {
    ("ArrayDataModule", "inputs"),  # anything that numpy takes; see tests/data/test_arrays.py
    ("ArrayDataModule", "targets"),
    ("ArrayDataModule", "weights"),
    ("ChipDataModule", "path"),  # anything that is a table; see tests/data/test_files.py
    ("TableDataModule", "path"),  # anything that is a table; see tests/data/test_files.py
    ("MultiModalDataModule", "arrays"),  # arrays by name, each of them anything that numpy takes
    ("MultiModalDataModule", "val"),
    ("MultiModalDataModule", "test"),
    ("SequenceDataModule", "inputs"),
    ("SequenceDataModule", "targets"),
    ("SequenceDataModule", "weights"),
    ("ResumableLoader", "dataset"),  # anything with items by index
    ("ResumableLoader", "sampler"),
    ("EpochSeeded", "sampler"),
    ("calibrate", "rows"),  # anything that `predict` takes
    ("find_batch_size", "sample"),
    ("HardwareLayer", "processor"),  # anything of Perceval's; see tests/interop
    ("from_perceval", "circuit"),  # anything of Perceval's; see tests/interop
    ("predict_memory", "sample"),
}
INSTEAD = {
    ("DistinguishableLayer", "ansatz"): "experiment",
    ("DistinguishableLayerStack", "ansatz"): "experiment",
    ("Experiment", "circuit"): "circuit_type",
    ("Experiment", "encoding"): "circuit_type",
    ("HardwareLayer", "ansatz"): "experiment",
    ("QuantumLayer", "ansatz"): "experiment",
    ("QuantumLayerStack", "ansatz"): "experiment",
}
"""Arguments that stand in the place of another one."""

RESULTS = {
    "AblationStudy",
    "BatchSize",
    "Branches",
    "Calibration",
    "ChipStudy",
    "ComponentProfile",
    "Federation",
    "LearningRates",
    "ModelCost",
    "NoiseStudy",
    "Predictions",
    "Robustness",
    "Search",
    "SearchSummary",
    "Shapley",
    "Uncertainty",
}
"""What functions return; nobody makes one by hand."""

CALLED = {("use_kernel", "name"): "kernel"}
"""Arguments that messages call by a better name."""


def cases(name):
    """Each argument of a public name, and values of wrong types for it."""
    if name == "RowSafeBatchNorm1d":
        return  # torch's own constructor
    for parameter in inspect.signature(getattr(hybridlit, name)).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or (name, parameter.name) in SKIPPED:
            continue
        alternatives = [kind_of(text) for text in kinds(str(parameter.annotation).strip("'"))]
        wrong = [
            value
            for kind in alternatives
            for value in WRONG[kind]
            if not any(fits(value, other) for other in alternatives)
        ]
        yield parameter.name, wrong


def test_every_public_name_that_takes_arguments_is_looked_at():
    taking = {
        name
        for name in hybridlit.__all__
        if not (
            isinstance(getattr(hybridlit, name), type)
            and issubclass(getattr(hybridlit, name), enum.Enum)
        )
        and name not in RESULTS
        and inspect.signature(getattr(hybridlit, name)).parameters
    }
    assert taking == set(VALID)


@pytest.mark.parametrize("public", sorted(VALID))
def test_a_wrong_type_is_refused_by_name(public, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argument, wrong in cases(public):
        is_refused(public, argument, wrong)


def is_refused(name, argument, wrong):
    function, arguments = getattr(hybridlit, name), VALID[name]()
    arguments.pop(INSTEAD.get((name, argument)), None)
    assert wrong
    for value in wrong:
        with pytest.raises((TypeError, ValueError)) as refusal:
            result = function(**arguments | {argument: value})
            if name == "use_kernel":
                with result:
                    pass
            pytest.fail(f"{argument}={value!r} is accepted")
        said = str(refusal.value)
        named = CALLED.get((name, argument), argument)
        assert re.search(rf"\b{named}\b.* must .*got ", said), (value, said)
