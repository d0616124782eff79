"""Federations in this process, compared with training in one place."""

import math

import numpy as np
import pytest
import torch
from small_federations import Wire, dying, recipe, run

import hybridlit
from hybridlit.analysis.trainings import fit_to_the_best
from hybridlit.callbacks.warm_start import export_component, warm_start
from hybridlit.federated import simulation
from hybridlit.federated.averaging import averaged
from hybridlit.federated.grid import InProcessGrid
from hybridlit.federated.proximal import ProximalTerm
from hybridlit.internals.flower import ArrayRecord
from hybridlit.recipe import Parsed, build, changed

STEP = {
    "optimizer": {"class_path": "torch.optim.SGD"},
    "quantum_optimizer": {"class_path": "torch.optim.SGD"},
    "classical_lr": 0.5,
    "quantum_lr": 0.5,
}


def whole_batches(template, **federated):
    """Each round is one plain step of gradient descent of all rows of a client."""
    model = dict(STEP)
    if template == "SequentialHybrid":  # statistics of batches differ between clients
        model |= {"normalization": "standard", "batch_norm": False, "dropout": 0.0}
    settings = recipe(template, {"rounds": 3, **federated}, model, {"batch_size": 1000})
    return changed(settings, {"trainer.max_epochs": settings["federated"]["rounds"]})


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("ParallelHybrid", "ResidualHybrid")]


@pytest.mark.slow
@pytest.mark.parametrize("template", ["SequentialHybrid", "ParallelBankHybrid", *SLOW])
def test_rounds_of_one_plain_step_are_training_in_one_place(template):
    settings = whole_batches(template)
    together = run(settings)
    central = build(settings, num_sanity_val_steps=0, limit_val_batches=0)
    first = {name: value.clone() for name, value in central.model.state_dict().items()}
    central.trainer.fit(central.model, central.data)
    moved = 0.0
    for name, value in central.model.state_dict().items():
        if value.is_floating_point():
            assert (together.shared[name] - value).abs().max() < 1e-5, name
            moved = max(moved, (value - first[name]).abs().max().item())
    assert moved > 0.1
    phases = [name for name in first if name.endswith(".phases")]
    least = 0 if template == "ResidualHybrid" else 1e-3  # whose correction starts at nothing
    assert all((together.shared[name] - first[name]).abs().max() > least for name in phases)


@pytest.mark.slow
def test_the_same_settings_give_the_same_weights_and_leave_the_generators_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    short = recipe(federated={"rounds": 1, "clients": 2, "shares": [2, 1]})
    one, two, other = run(short), run(short), run(short, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, two.shared[name]) for name, value in one.shared.items())
    assert not all(torch.equal(value, other.shared[name]) for name, value in one.shared.items())


@pytest.mark.slow
def test_clients_and_centre_agree_on_the_same_weights():
    """All clients together have all validation rows, so that their mean is the centre's score."""
    last = run(recipe()).rounds[-1]
    rows = sum(each.rows for each in last.evaluated)
    assert rows == 30
    for name in ("val/loss", "val/acc"):
        mean = sum(each.rows * each.metrics[name] for each in last.evaluated) / rows
        assert mean == pytest.approx(last.centre[name], abs=1e-5)


def test_a_client_that_dies_mid_round_is_done_without(monkeypatch):
    seen = {}

    def when(app, message, context, place):
        if place == (1, 2):
            raise RuntimeError("out of power")
        reply = app(message, context)
        if message.metadata.message_type == "train":
            (arrays,) = reply.content.array_records.values()
            rows = reply.content.metric_records["metrics"]["num-examples"]
            seen[place] = arrays.to_torch_state_dict(), rows
        return reply

    dying(monkeypatch, when)
    found = run(recipe(federated={"rounds": 3}))
    assert [len(each.trained) for each in found.rounds] == [0, 3, 2, 3]
    assert found.rounds[2].lost == ("client_1 failed: RuntimeError: out of power",) * 2
    assert not found.rounds[3].lost
    states, rows = zip(seen[0, 3], seen[1, 3], seen[2, 3], strict=True)
    assert rows == (45, 27, 18)
    before = seen[0, 2][0]
    wanted = averaged(states, rows, {"quantum_layer.phases": torch.tensor(2 * math.pi)}, before)
    assert all(torch.allclose(found.shared[n], wanted[n], atol=1e-6) for n in wanted)


@pytest.mark.slow
def test_who_is_too_late_or_sends_no_numbers_is_done_without(monkeypatch):
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr("hybridlit.federated.grid.time.monotonic", lambda: 0.0)

    def when(app, message, context, place):
        reply = app(message, context)
        if place == (2, 1):
            late = next(clock) + 100.0
            monkeypatch.setattr("hybridlit.federated.grid.time.monotonic", lambda: late)
        if place == (0, 2) and message.metadata.message_type == "train":
            (key,) = reply.content.array_records
            state = reply.content[key].to_torch_state_dict()
            state["quantum_layer.phases"][0, 0, 0] = math.nan
            reply.content[key] = ArrayRecord(state)
        return reply

    dying(monkeypatch, when)
    found = run(recipe(federated={"timeout": 60}))
    assert [each.client for each in found.rounds[1].trained] == ["client_0", "client_1"]
    assert "node 2 did not reply in time" in found.rounds[1].lost
    assert [each.client for each in found.rounds[2].trained] == ["client_1", "client_2"]
    assert found.rounds[2].lost == (
        "client_0 sent values of quantum_layer.phases that are not finite",
    )


def test_with_too_few_the_weights_stay(monkeypatch):
    def when(app, message, context, place):
        if place[1] == 2 and place[0] > 0:
            raise RuntimeError("gone")
        return app(message, context)

    dying(monkeypatch, when)
    found = run(recipe())
    assert found.rounds[2].centre == found.rounds[1].centre != found.rounds[0].centre
    assert "the weights stay, since a round needs 2 replies" in found.rounds[2].lost


def test_if_no_client_ever_works_the_reason_is_said(monkeypatch):
    def when(app, message, context, place):
        raise RuntimeError("no such file")

    dying(monkeypatch, when)
    with pytest.raises(ValueError, match=r"no client could train: .*no such file"):
        run(recipe())


def test_fedprox_adds_its_gradient_and_nothing_at_first():
    """Plain steps w1 = w0 - lr g(w0), then w2 = w1 - lr (g(w1) + mu (w1 - w0))."""
    mu, parsed = 0.3, {e: Parsed(whole_batches("SequentialHybrid"), max_epochs=e) for e in (1, 2)}

    def trained(epochs, names=()):
        model, data, trainer = parsed[epochs].build(0, [ProximalTerm(mu, names)] if names else [])
        start = {name: value.clone() for name, value in model.state_dict().items()}
        fit_to_the_best(trainer, model, data)
        return start, model.state_dict()

    start, one = trained(1)
    _, two = trained(2)
    names = [name for name in one if name.startswith(("classical_post", "quantum_layer"))]
    _, pulled = trained(2, names)
    for name in names:
        wanted = two[name] - STEP["classical_lr"] * mu * (one[name] - start[name])
        assert torch.allclose(pulled[name], wanted, atol=1e-6), name
    assert torch.equal(trained(1, names)[1][names[0]], one[names[0]])


@pytest.mark.slow
def test_the_factor_of_fedprox_reaches_the_clients():
    short = recipe(federated={"rounds": 1, "clients": 2, "shares": None})
    free = run(short)
    held = run(short, strategy="fedprox", proximal_mu=1e3)
    assert any(not torch.equal(value, held.shared[name]) for name, value in free.shared.items())
    start = build(short).model.state_dict()
    moved = [
        sum((found.shared[name] - start[name]).abs().sum() for name in start if "weight" in name)
        for found in (free, held)
    ]
    assert moved[1] < 0.5 * moved[0]


def arrays_of(messages):
    return [
        (message, name, array)
        for message in messages
        if message.has_content()
        for record in message.content.array_records.values()
        for name, array in record.items()
    ]


def test_classical_parts_never_leave_a_client(monkeypatch, tmp_path):
    wire = Wire(monkeypatch)
    found = run(recipe(federated={"local": "classical"}), folder=tmp_path)
    photonic = {"quantum_layer.phases", "quantum_layer.bandwidth"}
    assert {name for _, name, _ in arrays_of(wire.messages)} == photonic
    assert set(found.shared) == photonic and found.model is None
    models = [hybridlit.load(tmp_path / f"client_{i}" / "model.ckpt") for i in range(3)]
    everything = b"".join(wire.sent)
    for name, value in models[0].state_dict().items():
        same = [torch.equal(value, model.state_dict()[name]) for model in models[1:]]
        if name in photonic:
            assert all(same) and torch.equal(value, found.shared[name])
        elif value.numel() > 3 and value.is_floating_point():
            assert not any(same), name
        for model in models:
            kept = model.state_dict()[name].numpy().tobytes()
            if name not in photonic and len(kept) >= 16:
                assert kept not in everything, name
    assert found.shared["quantum_layer.phases"].numpy().tobytes() in everything
    assert not found.rounds[-1].centre and found.scores["test/acc"] >= 0
    other = build(recipe(model={"output_dim": 2, "hidden_dim": 9})).model
    assert set(warm_start(other, tmp_path / "shared.pt")) == photonic


@pytest.mark.slow
def test_clients_have_circuits_of_their_own_where_photons_stay_local(monkeypatch, tmp_path):
    wire = Wire(monkeypatch)
    changes = {
        1: {"model.n_photons": 1, "model.n_modes": 6},
        2: {"model.quantum": "mlp"},  # a client without photons
    }
    found = run(recipe(federated={"local": "photonic", "changes": changes}), folder=tmp_path)
    assert not any(name.startswith("quantum_layer") for name in found.shared)
    assert {name for _, name, _ in arrays_of(wire.messages)} == set(found.shared)
    assert all(len(each.trained) == 3 and not each.lost for each in found.rounds[1:])
    models = [hybridlit.load(tmp_path / f"client_{i}" / "model.ckpt") for i in range(3)]
    assert [model.hparams.n_modes for model in models] == [4, 6, 4]
    assert [model.hparams.quantum for model in models] == ["photonic", "photonic", "mlp"]
    for name, value in found.shared.items():
        assert all(torch.equal(value, model.state_dict()[name]) for model in models), name


@pytest.mark.parametrize(
    ("federated", "said"),
    [
        (
            {"local": "photonic", "changes": {1: {"model.quantum_dim": 3}}},
            r"client_1: what the server shares does not fit .* has shape \(6, 4\) here",
        ),
        (
            {"local": "classical", "changes": {2: {"model.n_photons": 1}}},
            "client_2: quantum_layer is another circuit than the server's, saved with input_state",
        ),
        (
            {"local": "photonic", "changes": {1: {"model.n_photon": 1}}},
            "n_photon",
        ),
        ({"shares": [100, 100, 1]}, "client_2: client 2 gets none of 90 training rows"),
    ],
)
def test_what_does_not_fit_a_client_is_said_before_the_first_round(federated, said):
    with pytest.raises(ValueError, match=said):
        run(recipe(federated=federated))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "trainer", "said"),
    [
        ({"gate_epochs": [0, 3]}, {}, r"gate_epochs=\[0.0, 3.0\] needs 3 epochs of a fit"),
        ({"stages": [["classical", 2], ["both", 1]]}, {}, "the last of the stages needs 3 epochs"),
        (
            {},
            {
                "callbacks": [
                    {
                        "class_path": "hybridlit.StagedTraining",
                        "init_args": {"stages": [["classical", 2], ["photonic", 9]]},
                    }
                ]
            },
            "the last of the stages needs 3 epochs",
        ),
    ],
)
def test_what_no_round_would_come_to_is_refused(model, trainer, said):
    settings = recipe("ResidualHybrid", {"local_epochs": 2, "rounds": 9}, model, None, trainer)
    with pytest.raises(ValueError, match=f"client_0: {said}.*local_epochs=2"):
        run(settings)
    longer = recipe("ResidualHybrid", {"local_epochs": 3, "rounds": 1}, model, None, trainer)
    assert len(run(longer).rounds[-1].trained) == 3


@pytest.mark.slow
@pytest.mark.parametrize("local", [None, "photonic"])
def test_a_warm_start_is_of_the_first_weights_and_of_no_later_round(tmp_path, monkeypatch, local):
    path = tmp_path / "photonic.pt"
    export_component(build(recipe(), 7).model, "photonic", path)
    warm = {"class_path": "WarmStart", "init_args": {"components": {"photonic": str(path)}}}
    began = []

    def fit(trainer, model, data):
        assert not any(type(each).__name__ == "WarmStart" for each in trainer.callbacks)
        began.append(model.state_dict()["quantum_layer.phases"].clone())
        fit_to_the_best(trainer, model, data)

    monkeypatch.setattr("hybridlit.federated.client.fit_to_the_best", fit)
    settings = recipe(federated={"local": local}, trainer={"callbacks": [warm]})
    run(settings, folder=tmp_path)
    saved = torch.load(path, weights_only=True)["state_dict"]["quantum_layer.phases"]
    assert all(torch.equal(each, saved) for each in began[:3])
    assert not any(torch.equal(each, saved) for each in began[3:]) and len(began) == 6


def test_arrays_go_as_plain_numbers(monkeypatch):
    wire = Wire(monkeypatch)
    run(recipe(federated={"rounds": 1}))
    sent = arrays_of(wire.messages)
    assert len({message.metadata.message_type for message, _, _ in sent}) == 2
    for _, _, array in sent:
        assert array.stype == "numpy.ndarray" and array.data.startswith(b"\x93NUMPY")
        assert np.dtype(array.dtype).kind in "fi"


def test_the_checkpoint_predicts_raw_rows(tmp_path):
    rates = {"classical_lr": 0.02, "quantum_lr": 0.03}
    federated = {"rounds": 1, "local_epochs": 12, "clients": 2, "shares": None}
    settings = recipe("ParallelHybrid", federated, rates)
    found = run(settings, folder=tmp_path)
    assert found.checkpoint == tmp_path / "checkpoints" / "last.ckpt"
    model = hybridlit.load(found.checkpoint)
    data = build(settings).data
    rows = data.preprocessing.inputs.scaler.inverse(data.test[0].double())
    labels = torch.tensor(model.predict(rows)["target"])
    assert (labels == data.test[1]).float().mean() == pytest.approx(found.scores["test/acc"])
    assert found.scores["test/acc"] > 0.8
    assert str(found).startswith("2 clients, 1 round of 12 epochs, fedavg. Scores of the averaged")


def test_clients_that_never_come_are_waited_for_no_longer_than_the_timeout(monkeypatch):
    monkeypatch.setattr("hybridlit.federated.strategies.time.sleep", lambda seconds: None)
    monkeypatch.setattr(
        simulation, "InProcessGrid", lambda app, contexts: InProcessGrid(app, {0: contexts[0]})
    )
    lines = []
    with pytest.raises(ValueError, match="1 client there of 3 that are needed"):
        simulation.run_federation(recipe(federated={"timeout": 0.2}), say=lines.append)
    assert lines[0].startswith("Waiting for clients: 1 of 3")


def test_weights_that_cannot_be_sent_are_refused():
    with pytest.raises(ValueError, match=r"choose trainer\.precision='bf16-mixed'"):
        run(recipe(trainer={"precision": "bf16-true"}))
