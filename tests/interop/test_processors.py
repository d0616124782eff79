"""Models and layers on processors: the same numbers, no row twice, clear refusals."""

import copy

import numpy as np
import pytest
import torch

import hybridlit as ML

pcvl = pytest.importorskip("perceval")

from fake_platform import FakeHandler, fake_computer, lost_answer, refused  # noqa: E402
from perceval.providers.quandela.rpc_handler import RPCHandler  # noqa: E402

from hybridlit.interop.perceval import evaluate, on_processor  # noqa: E402
from hybridlit.interop.processors import patience  # noqa: E402

DOUBLE = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waits = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    return waits


def layer_of(features=2, outputs=None, **circuit):
    torch.manual_seed(0)
    given = {"n_modes": 3, "n_photons": 2, **circuit}
    if "circuit" in circuit:
        given.pop("n_modes")
    return ML.QuantumLayer(features, outputs, **given, **DOUBLE)


def components():
    """Tied, scaled and data angles, a splitter that data turn, a constant in between."""
    circuit = ML.Circuit(3).add(ML.BeamSplitter(ML.Trainable("a")), 0)
    circuit.add(ML.PhaseShifter(ML.Data(0, scale=1.5, offset=0.3)), 1)
    circuit.add(ML.BeamSplitter(ML.Trainable("a", scale=0.5, offset=0.2)), 1)
    circuit.add(ML.BeamSplitter(ML.Data([0.5, 1.0])), 0).add(ML.Permutation([2, 0, 1]))
    return circuit.add(ML.Interferometer(3))


CIRCUITS = {
    "series": {},
    "unbunched": {"computation_space": "unbunched"},
    "rule": {"postselect": "[0]<2 & [2]<2"},
    "bandwidth": {"circuit_type": "parallel", "use_bandwidth_tuning": True},
    "components": {"circuit": components()},
    "superposition": {"input_state": {(1, 1, 0): 1, (0, 1, 1): 1j}, "n_photons": None},
    "expectations": {"outputs": 3, "output_mapping_strategy": "mode_expectations"},
}


def made(name):
    given = dict(CIRCUITS[name])
    strategy = given.pop("output_mapping_strategy", None)
    if strategy is None:
        return layer_of(**given)
    outputs, given = given.pop("outputs"), {"n_modes": 3, "n_photons": 2, **given}
    return ML.QuantumLayer(2, outputs, output_mapping_strategy=strategy, **given, **DOUBLE)


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_local_processor_gives_what_the_layer_gives(name):
    layer, x = made(name), torch.rand(4, 2, **DOUBLE) * 3
    if layer.bandwidth is not None:
        with torch.no_grad():
            layer.bandwidth.mul_(1.3)
    found = evaluate(layer, x, "SLOS", progress=False)
    torch.testing.assert_close(found.outputs, layer(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.counts[""], layer.probabilities(x), rtol=0, atol=1e-9)
    assert (found.estimate.rows, found.estimate.jobs, found.estimate.events) == (4, 1, None)


def test_given_interferometers_are_those_of_the_processor():
    layer = layer_of(input_state={(1, 1, 0): 1, (0, 1, 1): 1j}, n_photons=None)
    unitary = torch.linalg.qr(torch.randn(3, 3, dtype=torch.complex128))[0]
    layer.set_unitary(0, unitary, trainable=False)
    x = torch.rand(2, 2, **DOUBLE)
    found = evaluate(layer, x, "SLOS", progress=False)
    torch.testing.assert_close(found.outputs, layer(x), rtol=0, atol=1e-9)
    hardware = ML.HardwareLayer.from_layer(layer)
    assert evaluate(hardware, x, "SLOS", progress=False).estimate.rows == 2
    hardware(x[:1])[0, 0].backward()
    assert not hardware.phases.grad[0].any() and hardware.phases.grad[1].any()


def test_a_model_runs_its_layers_there_and_the_rest_here():
    sizes = {"input_dim": 4, "quantum_dim": 2, "output_dim": 2, "n_modes": 3, "n_photons": 2}
    model = ML.SequentialHybrid(**sizes).double()
    model.train()
    x = torch.rand(3, 4, **DOUBLE)
    found = evaluate(model, x, "SLOS", progress=False)
    assert model.training and list(found.counts) == ["quantum_layer"]
    torch.testing.assert_close(found.outputs, model.eval()(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(model(x), model(x))  # measures no more
    handle = on_processor(model, "SLOS", progress=False)
    with handle.measured():
        table = model.predict(x)
    assert table.columns["target"] == model.predict(x).columns["target"]


def test_each_circuit_of_a_stack_runs():
    stack = ML.QuantumLayerStack(2, 2, 3, n_modes=3, n_photons=2, **DOUBLE)
    x = torch.rand(2, 2, **DOUBLE)
    found = evaluate(stack, x, "SLOS", progress=False)
    torch.testing.assert_close(found.outputs, stack(x), rtol=0, atol=1e-9)
    assert found.counts[""].shape == (2, 2, 6) and found.estimate.rows == 4
    for index, layer in enumerate(stack.layers()):
        expected = layer.probabilities(x)
        torch.testing.assert_close(found.counts[""][:, index], expected, rtol=0, atol=1e-9)


def test_shots_are_those_of_torchs_seed():
    layer, x = layer_of(), torch.rand(2, 2, **DOUBLE)

    def counts(seed):
        torch.manual_seed(seed)
        return evaluate(layer, x, "SLOS", 500, progress=False).counts[""]

    first = counts(1)
    assert torch.equal(first, counts(1)) and not torch.equal(first, counts(2))
    assert first.sum(1).tolist() == [500, 500]
    expected = 500 * layer.probabilities(x)
    assert (((first - expected) ** 2 / expected).sum(1) < 25).all()  # chi-square of 5


def test_noise_of_the_processor_counts_before_that_of_the_layer():
    layer, x = layer_of(), torch.rand(1, 2, **DOUBLE)
    computer = pcvl.SimulatedComputer("SLOS")
    computer.noise = pcvl.NoiseModel(indistinguishability=0)
    found = evaluate(layer, x, computer, progress=False)
    apart = ML.DistinguishableLayer.from_layer(layer)
    torch.testing.assert_close(found.outputs, apart(x), rtol=0, atol=1e-9)
    here = evaluate(apart, x, "SLOS", progress=False)
    torch.testing.assert_close(here.outputs, apart(x), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="photons interfere in SLOS: a DistinguishableLayer"):
        evaluate(apart, x, computer, progress=False)


def test_results_that_are_kept_are_those_of_one_noise_and_one_state(tmp_path):
    learned = {"indistinguishability": 0.5, "trainable": ["indistinguishability"]}
    layer, x = layer_of(noise=learned), torch.rand(1, 2, **DOUBLE)

    def outputs(layer, processor="SLOS"):
        return evaluate(layer, x, processor, folder=tmp_path, progress=False).outputs

    first = outputs(layer)
    computer = pcvl.SimulatedComputer("SLOS")
    computer.noise = pcvl.NoiseModel(indistinguishability=0.2)
    assert (outputs(layer, computer) - first).abs().max() > 1e-3
    with torch.no_grad():
        layer.noise.learned["indistinguishability"].add_(1)
    torch.testing.assert_close(outputs(layer), layer(x), rtol=0, atol=1e-9)
    assert (layer(x) - first).abs().max() > 1e-3
    for amplitude in (1.0, 1.0000001):  # the same to as many digits as are shown
        state = {(1, 1, 0): amplitude, (0, 1, 1): 1j}
        layer = layer_of(input_state=state, n_photons=None)
        torch.testing.assert_close(outputs(layer), layer(x), rtol=0, atol=1e-12)


def test_no_rows_are_no_jobs():
    found = evaluate(layer_of(outputs=2), torch.zeros(0, 2, **DOUBLE), "SLOS", progress=False)
    assert found.outputs.shape == (0, 2) and found.estimate.jobs == 0


# --- remote -----------------------------------------------------------------------------------


def remote(handler, layer=None, **others):
    layer = layer_of() if layer is None else layer
    x = torch.linspace(0, 1, 10, **DOUBLE).view(5, 2)
    given = {"shots": 2000, "rows_per_job": 2, "progress": False, **others}
    return evaluate(layer, x, fake_computer(handler), **given), layer.probabilities(x)


def test_jobs_are_estimated_before_they_are_sent(no_waiting):
    handler, told = FakeHandler(), []
    found, expected = remote(handler, told=lambda e: told.append((str(e), len(handler.jobs))))
    words = "sim:fake: 5 rows, in 3 jobs; 10,000 kept events from at most 20,000 shots"
    assert told == [(words, 0)] and len(handler.jobs) == 3 and len(handler.sent) == 5
    frequencies = found.counts[""] / 2000
    assert (frequencies - expected).abs().max() < 0.06

    def enough(estimate):
        if estimate.max_shots > 10_000:
            raise ValueError("too dear")

    with pytest.raises(ValueError, match="too dear"):
        remote(handler, told=enough)
    assert len(handler.jobs) == 3


class KilledError(BaseException):
    """Ends a process."""


@pytest.mark.parametrize(
    "where, nth",
    [("get_job_status", 1), ("get_job_status", 4), ("get_job_results", 1), ("create_job", 2)],
)
def test_a_killed_evaluation_sends_no_row_twice(tmp_path, where, nth):
    handler = FakeHandler(room=2)
    handler.troubles[where] = [*[None] * (nth - 1), KilledError()]
    with pytest.raises(KilledError):
        remote(handler, folder=tmp_path)
    before = len(handler.sent)
    assert before < 5 or where == "get_job_results"
    for path in tmp_path.glob("job-*.json"):  # one that was about to be sent, and was not
        if '"job": null' in path.read_text():
            path.unlink()
    found, expected = remote(handler, folder=tmp_path)
    assert len(handler.sent) == len(set(handler.sent)) == 5
    assert (found.counts[""] / 2000 - expected).abs().max() < 0.06
    again, _ = remote(handler, folder=tmp_path)
    assert len(handler.sent) == 5 and again.estimate.jobs == 0
    assert torch.equal(again.counts[""], found.counts[""])


def test_a_job_that_may_have_been_sent_is_not_sent_again(tmp_path):
    handler = FakeHandler()
    handler.troubles["created"] = [KilledError()]
    with pytest.raises(KilledError):
        remote(handler, folder=tmp_path)
    with pytest.raises(ValueError, match=r"2 rows may have been sent or not.*remove .*job-.*json"):
        remote(handler, folder=tmp_path)
    handler = FakeHandler()
    handler.troubles["created"] = [lost_answer()]
    with pytest.raises(ConnectionError, match=r"did not answer to a job.*may have arrived"):
        remote(handler, folder=tmp_path / "other")
    assert len(handler.jobs) == 1


def test_a_lost_connection_is_tried_again_and_then_told_in_a_line(tmp_path, no_waiting):
    handler = FakeHandler()
    handler.troubles["create_job"] = [refused(), refused()]
    remote(handler, folder=tmp_path / "good")
    assert no_waiting[:2] == [1, 2] and len(handler.sent) == 5
    handler = FakeHandler()
    handler.troubles["get_job_results"] = [None, *[refused()] * 3]
    with pytest.raises(ConnectionError) as caught:
        remote(handler, folder=tmp_path / "bad", retries=2)
    line = str(caught.value)
    assert "\n" not in line and "the connection to sim:fake is lost after 3 tries" in line
    assert f"2 of 5 rows are kept in {tmp_path / 'bad'}: run the same again" in line
    remote(handler, folder=tmp_path / "bad")
    assert len(handler.sent) == len(set(handler.sent)) == 5


def test_a_job_that_fails_is_sent_again_by_the_next_run(tmp_path):
    handler = FakeHandler()
    handler.status["job1"] = "error"
    with pytest.raises(OSError, match="job job1 of sim:fake ended as error: broken; run the same"):
        remote(handler, folder=tmp_path)
    found, expected = remote(handler, folder=tmp_path)
    assert (found.counts[""] / 2000 - expected).abs().max() < 0.06
    assert len(set(handler.sent)) == 5 and len(handler.sent) == 7


def test_no_token_and_a_platform_that_does_not_answer_are_one_line(monkeypatch):
    monkeypatch.setattr(pcvl.RemoteConfig, "get_token", lambda self: "")
    with pytest.raises(ConnectionError, match="needs a token: set the environment variable PCVL"):
        on_processor(layer_of(), "sim:slos", 100)

    def fails(self):
        raise refused()

    monkeypatch.setattr(RPCHandler, "fetch_platform_details", fails)
    with pytest.raises(ConnectionError, match=r"'sim:slos' does not answer .no route"):
        on_processor(layer_of(), "sim:slos", 100, token="a")


LIMITS = [
    ({"max_mode_count": 2}, r"at most 2 modes \(max_mode_count\), the layer has 3"),
    ({"min_mode_count": 8}, r"at least 8 modes \(min_mode_count\), the layer has 3"),
    ({"max_photon_count": 1}, r"at most 1 photons \(max_photon_count\), the layer has 2"),
    ({"max_sample_count": 10}, r"at most 10 events of a row \(max_sample_count\), got shots=2000"),
]


@pytest.mark.parametrize("limits, words", LIMITS)
def test_a_circuit_beyond_the_constraints_is_refused_by_name(limits, words):
    handler = FakeHandler(limits)
    with pytest.raises(ValueError, match=f"sim:fake .*{words}"):
        remote(handler)
    assert not handler.sent


def test_hardware_that_cannot_do_it_is_refused_by_name():
    chip = pcvl.Experiment(3)
    chip.with_input(pcvl.BasicState([1, 1, 0]))
    for mode in range(3):
        chip.add(mode, pcvl.Detector.threshold())
    with pytest.raises(ValueError, match=r"photons to modes \[0, 1\], the layer .* modes \[2\]"):
        remote(FakeHandler(architecture=chip))
    layer = layer_of(input_state=(1, 1, 0))
    with pytest.raises(ValueError, match="cannot tell photons of a mode apart, which the 6 outco"):
        remote(FakeHandler(architecture=chip), layer)
    many = layer_of(input_state=(2, 0, 0))
    with pytest.raises(ValueError, match="sim:fake does not take this circuit: Input state"):
        remote(FakeHandler({"support_multi_photon": False}), many)


MISTAKES = [
    ({"processor": "SLOSS"}, ValueError, "a local simulator, one of .*SLOS.*got 'SLOSS'"),
    ({"processor": 3}, TypeError, "processor must be a name.*got int 3"),
    ({"shots": 0}, ValueError, "shots must be at least 1, got 0"),
    ({"shots": 10, "max_shots": 5}, ValueError, "max_shots must be at least shots=10.*got 5"),
    ({"processor": "CliffordClifford2017"}, ValueError, "shots must be a number for Cliff"),
]


@pytest.mark.parametrize("given, error, words", MISTAKES)
def test_mistakes_are_told(given, error, words):
    with pytest.raises(error, match=words):
        evaluate(layer_of(), torch.rand(1, 2, **DOUBLE), progress=False, **given)


def test_models_without_circuits_for_a_processor_are_refused():
    with pytest.raises(ValueError, match="Linear has none"):
        on_processor(torch.nn.Linear(2, 2))
    kernel = ML.FidelityKernel(ML.QuantumLayer(2, n_modes=3, n_photons=2))
    with pytest.raises(ValueError, match="FidelityKernel runs in simulation alone"):
        on_processor(kernel)
    layer = layer_of()
    state = torch.ones(6, **DOUBLE) / np.sqrt(6)
    handle = on_processor(layer)
    with handle.measured(), pytest.raises(ValueError, match="state must be left out"):
        layer(torch.rand(1, 2, **DOUBLE), state=state)
    (layer.forward(torch.rand(1, 2, **DOUBLE), state=state))  # simulated again


# --- training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["series", "rule", "bandwidth", "components", "expectations"])
def test_the_shift_rule_gives_the_gradient_of_the_layer(name):
    layer = made(name)
    hardware = ML.HardwareLayer.from_layer(layer)
    assert list(hardware.state_dict()) == list(layer.state_dict())
    weights = torch.rand(layer.output_size, **DOUBLE)
    found = []
    for each in (layer, hardware):
        x = torch.full((1, 2), 0.4, **DOUBLE, requires_grad=True)
        (each(x) @ weights).sum().backward()
        found.append([x.grad, *(p.grad for p in each.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-9)


def test_the_shift_rule_knows_of_second_photons_and_of_what_is_dropped_here():
    computer = pcvl.SimulatedComputer("SLOS")
    computer.noise = pcvl.NoiseModel(g2=0.2)
    hardware = ML.HardwareLayer.from_layer(
        layer_of(1, computation_space="unbunched"), processor=computer
    )
    # it counts clicks of up to four photons, of which those of two modes are kept
    seen = {"noise": {"g2": 0.2}, "detectors": "threshold", "postselect": "[0,1,2]==2"}
    layer = layer_of(1, **seen)
    x, weights = torch.full((1, 1), 0.4, **DOUBLE), torch.rand(3, **DOUBLE)
    for each in (layer, hardware):
        (each(x) @ weights).sum().backward()
    torch.testing.assert_close(hardware(x), layer(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(hardware.phases.grad, layer.phases.grad, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="noise is that of SLOS, whatever the layer has"):
        hardware.with_noise("demo")


def test_a_layer_on_a_processor_goes_under_noise_but_does_not_learn_it():
    layer, x = layer_of(), torch.rand(1, 2, **DOUBLE)
    hardware = ML.HardwareLayer.from_layer(layer).with_noise("demo")
    expected = layer.with_noise("demo")(x)
    torch.testing.assert_close(hardware(x), expected, rtol=0, atol=1e-9)
    hardware.noise.learn("g2")
    with pytest.raises(ValueError, match="noise must not be learned with shot_gradient='shift'"):
        hardware(x)


def test_the_gradient_of_few_shots_is_not_drawn_with_them():
    """Of f squared it is 2 f times an estimate that knows nothing of f."""
    layer = ML.HardwareLayer.from_layer(
        layer_of(1, computation_space="unbunched"), shots=1, processor="SLOS"
    )
    asked = []
    seen = layer._measuring.seen
    layer._measuring.seen = lambda *given: asked.append(seen(*given)) or asked[-1]
    layer(torch.rand(2, 1, **DOUBLE)).square().sum().backward()
    assert [len(each.counts) for each in asked] == [2, 2 * 4 * layer.phases.numel(), 2]


def test_a_template_trains_on_a_processor():
    class OnChip(ML.SequentialHybrid):
        def build_quantum(self):
            return ML.HardwareLayer.from_layer(super().build_quantum(), shots=2000)

    sizes = {"input_dim": 2, "quantum_dim": 1, "output_dim": 2, "n_modes": 2, "n_photons": 1}
    torch.manual_seed(0)
    simulated = ML.SequentialHybrid(**sizes).eval()  # without dropout
    model = OnChip(**sizes).eval()
    model.load_state_dict(simulated.state_dict())
    x, y = torch.rand(2, 2), torch.tensor([0, 1])
    grads = []
    for each in (simulated, model):
        torch.nn.functional.cross_entropy(each(x), y).backward()
        grads.append(each.quantum_layer.phases.grad)
    assert "shots=2,000, shot_gradient=shift" in repr(model) and "processor='SLOS'" in repr(model)
    torch.testing.assert_close(grads[1], grads[0], rtol=0, atol=0.05)
    torch.manual_seed(1)
    first = model(x)
    torch.manual_seed(1)
    assert torch.equal(copy.deepcopy(model)(x), first)
    model.quantum_layer.shots = None
    torch.testing.assert_close(model(x), simulated(x), rtol=0, atol=1e-5)
    assert list(ML.components.photonic_modules(model)) == ["quantum_layer"]


def test_layers_that_no_processor_has_are_refused():
    stack = ML.QuantumLayerStack(2, 2, 3, n_modes=3, n_photons=2)
    with pytest.raises(TypeError, match="layer must be a QuantumLayer, got QuantumLayerStack"):
        ML.HardwareLayer.from_layer(stack)
    with pytest.raises(ValueError, match="at most 2 modes"):
        ML.HardwareLayer.from_layer(
            layer_of(), processor=fake_computer(FakeHandler({"max_mode_count": 2})), shots=10
        )


@pytest.mark.slow
def test_a_trained_digits_model_gives_its_probabilities_on_a_processor():
    """Twenty rows; what is trained in float32 computes in float64 for the comparison."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(images).float() / 16, torch.from_numpy(labels)
    torch.manual_seed(0)
    sizes = {"input_dim": 64, "quantum_dim": 4, "output_dim": 10, "n_modes": 6, "n_photons": 3}
    model = ML.SequentialHybrid(**sizes, task="multiclass")
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(300):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    model = model.eval().double()
    rows = x[:20].double()
    found = evaluate(model, rows, "SLOS", progress=False)
    seen = []
    layer = model.quantum_layer
    layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    torch.testing.assert_close(found.outputs, model(rows), rtol=0, atol=1e-9)
    expected = layer.probabilities(seen[0])
    torch.testing.assert_close(found.counts["quantum_layer"], expected, rtol=0, atol=1e-9)
    assert (model(x.double()).argmax(1) == y).double().mean() > 0.8
