"""Templates, fronts, fusions and gates go through both graphs, at any batch size."""

import numpy as np
import pytest
import torch
from small_layers import COMPONENTS
from templates.test_conformance import KINDS, Case

from hybridlit import Experiment, export_model
from hybridlit.photonics import OutputMappingStrategy

onnxruntime = pytest.importorskip("onnxruntime", reason="export extra")


def check(model, inputs, folder, formats):
    """Export, and compare at other rows than those of the check before the file is kept."""
    model.eval()
    for name in formats:
        path, _ = export_model(model, folder / "model", name)
        if name == "pt2":
            run = torch.export.load(path).module()
        else:
            session = onnxruntime.InferenceSession(path)
            run = lambda x, session=session: torch.from_numpy(  # noqa: E731
                session.run(None, {"rows": x.numpy()})[0]
            )
        for rows in (1, 7, 50):
            x = inputs(rows)
            with torch.no_grad():
                wanted = model.predictions(model(x))
            np.testing.assert_allclose(run(x).detach(), wanted, rtol=0, atol=1e-5)


# torch.export of every case is in the tests of conformance
NAMES = [*KINDS, "residual-gated", "parallel-conv1d", "parallel-inputs", "sequential-foreign-front"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_templates(name, tmp_path):
    case = Case(name)
    formats = ["pt2", "onnx"] if name in KINDS[:3] else ["onnx"]
    check(case.make(), case.inputs, tmp_path, formats)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mapping,space",
    [(strategy.value, "fock") for strategy in OutputMappingStrategy] + [("linear", "unbunched")],
)
def test_readouts(mapping, space, tmp_path):
    case = Case("parallel-gated")
    options = dict(output_mapping_strategy=mapping, computation_space=space)
    if OutputMappingStrategy(mapping).readout.only_size is None:
        options["quantum_output_dim"] = 5
    model = case.make(**options, use_bandwidth_tuning=True, normalization="minmax")
    check(model, case.inputs, tmp_path, ["onnx"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "state,tuned", [((1, 0, 1, 0), True), ({(1, 0, 1, 0): 1, (0, 2, 0, 0): 1j}, False)]
)
def test_circuits_of_components(state, tuned, tmp_path):
    circuit = Experiment(
        circuit=COMPONENTS, n_modes=4, input_state=state, use_bandwidth_tuning=tuned
    )
    case = Case("parallel-gated")
    model = case.make(experiment=circuit, quantum_dim=3)
    check(model, case.inputs, tmp_path, ["pt2", "onnx"])


@pytest.mark.slow
@pytest.mark.parametrize("options", [dict(task="regression"), dict(task="binary", output_dim=1)])
def test_tasks_in_float64_and_without_photons(options, tmp_path):
    case = Case("bank-sum")
    model = case.make(**options).double()
    check(model, lambda rows: case.inputs(rows).double(), tmp_path, ["pt2", "onnx"])
    check(case.make(**options, quantum="mlp"), case.inputs, tmp_path, ["onnx"])
