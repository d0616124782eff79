import pytest
import torch
from torch import nn

from hybridlit import ParallelHybrid, SequentialHybrid, mark_photonic
from hybridlit.callbacks.warm_start import WarmStart, export_component, warm_start
from hybridlit.components import split_parameters
from hybridlit.resume.checkpoint import HybridCheckpoint


def changed(model, before):
    return sorted(n for n, v in model.state_dict().items() if not torch.equal(v, before[n]))


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("component", ["photonic", "classical", "quantum_layer", "classical_pre"])
def test_one_component_moves_and_nothing_else(tmp_path, make_model, component):
    source, target = make_model(), make_model()
    path = tmp_path / "a.pt"
    saved = export_component(source, component, path)
    before = copied(target)
    assert warm_start(target, path) == saved
    assert changed(target, before) == sorted(
        n for n in saved if not torch.equal(source.state_dict()[n], before[n])
    )
    for name in saved:
        assert torch.equal(target.state_dict()[name], source.state_dict()[name])
    if component in ("photonic", "classical"):
        assert set(split_parameters(source)[component]) <= set(saved)
    else:
        assert all(name.startswith(f"{component}.") for name in saved)


def test_the_components_share_nothing_and_miss_nothing(tmp_path, make_model):
    model = make_model(reservoir_mode=True, quantum_dim=3)
    parts = [export_component(model, c, tmp_path / c) for c in ("photonic", "classical")]
    means = [f"paths.{name}" for name in model.paths.state_dict()]  # of outputs, taken anew
    assert sorted([*parts[0], *parts[1], *means]) == sorted(model.state_dict())
    assert "quantum_layer.phases" in parts[0]  # a buffer


def test_other_components_may_have_other_widths(tmp_path, make_model):
    source = make_model(input_dim=5, output_dim=3)
    target = make_model(input_dim=7, hidden_dim=11, head_dim=5, output_dim=3)
    export_component(source, "photonic", tmp_path / "a.pt")
    warm_start(target, tmp_path / "a.pt")
    for name, value in split_parameters(target)["photonic"].items():
        assert torch.equal(value, split_parameters(source)["photonic"][name])


def test_a_part_fits_into_one_of_another_name(tmp_path, make_model):
    source = make_model(ParallelHybrid, quantum_dim=2, quantum_output_dim=4, circuit_type="series")
    target = make_model(quantum_output_dim=4)
    export_component(source, "quantum_path", tmp_path / "a.pt")
    warm_start(target, tmp_path / "a.pt", "quantum_layer")
    for name, value in target.quantum_layer.state_dict().items():
        assert torch.equal(value, source.quantum_path.state_dict()[name])
    with pytest.raises(ValueError, match=r"component must be one of .* got 'quantum_path'"):
        warm_start(target, tmp_path / "a.pt")


@pytest.mark.parametrize("component", ["photonic", "classical", "quantum_layer"])
def test_from_a_checkpoint(tmp_path, data, make_model, make_trainer, component):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    trainer = make_trainer([kept], enable_checkpointing=True)
    trainer.fit(make_model(), data)
    path = tmp_path / "c" / "last.ckpt"
    target = make_model()
    names = warm_start(target, path, component)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert names and all(torch.equal(target.state_dict()[n], state[n]) for n in names)
    if component == "quantum_layer":
        assert export_component(path, component, tmp_path / "a.pt") == names
        other = make_model()
        assert warm_start(other, tmp_path / "a.pt") == names
    else:
        with pytest.raises(ValueError, match=f"does not tell what is {component}: give the model"):
            export_component(path, component, tmp_path / "a.pt")


def test_marked_modules_and_their_buffers_are_photonic(tmp_path):
    model = nn.Sequential(nn.BatchNorm1d(2), mark_photonic(nn.Sequential(nn.BatchNorm1d(2))))
    names = export_component(model, "photonic", tmp_path / "a.pt")
    assert len(names) == 5 and all(name.startswith("1.0.") for name in names)


def test_what_does_not_fit_is_named_and_the_model_unchanged(tmp_path, make_model):
    export_component(make_model(n_modes=5), "photonic", tmp_path / "a.pt")
    target = make_model()
    before = copied(target)
    with pytest.raises(ValueError, match=r"quantum_layer.phases has shape .* in the model and"):
        warm_start(target, tmp_path / "a.pt")
    export_component(make_model(use_bandwidth_tuning=False), "photonic", tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"bandwidth\S* is not in the file"):
        warm_start(target, tmp_path / "b.pt")
    export_component(make_model(), "photonic", tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"bandwidth\S* is not in the model"):
        warm_start(make_model(use_bandwidth_tuning=False), tmp_path / "c.pt")
    with pytest.raises(ValueError, match="holds the component 'photonic', not 'classical'"):
        warm_start(target, tmp_path / "c.pt", "classical")
    with pytest.raises(ValueError, match="holds the component 'photonic', not 'quantum_layer'"):
        warm_start(target, tmp_path / "c.pt", "quantum_layer")
    assert changed(target, before) == []


def test_the_statistics_of_a_normalization_come_along(tmp_path, data, make_model, make_trainer):
    source = make_model(ParallelHybrid, normalization="standard")
    make_trainer().fit(source, data)
    target = make_model(ParallelHybrid, normalization="standard")
    export_component(source, "classical", tmp_path / "a.pt")
    warm_start(target, tmp_path / "a.pt")
    assert target.normalization.fitted


def test_bad_files_and_names(tmp_path, make_model):
    model = make_model()
    with pytest.raises(FileNotFoundError):
        warm_start(model, tmp_path / "none.pt", "photonic")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "whole.pt")
    with pytest.raises(ValueError, match="say which component"):
        warm_start(model, tmp_path / "whole.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="neither a checkpoint nor"):
        warm_start(model, tmp_path / "list.pt")
    export_component(model, "photonic", tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be used: its checksum differs"):
        warm_start(model, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"one of \['classical', 'photonic', 'classical_pre'"):
        export_component(model, "quantum", tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"component must be one of .* got 'quantum'"):
        export_component(tmp_path / "whole.pt", "quantum", tmp_path / "b.pt")
    with pytest.raises(ValueError, match="no photonic parameters"):
        export_component(nn.Linear(1, 1), "photonic", tmp_path / "b.pt")


def test_the_callback_loads_once_and_not_on_resume(tmp_path, data, make_model, make_trainer):
    source = make_model()
    export_component(source, "photonic", tmp_path / "a.pt")
    warm = WarmStart({"photonic": str(tmp_path / "a.pt")})
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    model = make_model(quantum_lr=1e-12)
    trainer = make_trainer([warm, kept], enable_checkpointing=True)
    trainer.fit(model, data)
    phases = source.quantum_layer.phases
    assert torch.allclose(model.quantum_layer.phases, phases, atol=1e-6)
    with torch.no_grad():
        model.quantum_layer.phases += 1
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, data)
    assert torch.allclose(model.quantum_layer.phases, phases + 1, atol=1e-6)
    again = make_model(quantum_lr=1e-12)
    last = tmp_path / "c" / "last.ckpt"
    make_trainer([warm], max_epochs=3).fit(again, data, ckpt_path=last)
    assert torch.allclose(again.quantum_layer.phases, phases + 1, atol=1e-6)


@pytest.mark.parametrize(
    ("components", "error"),
    [({}, ValueError), (["a.pt"], TypeError), ({"photonic": 1}, TypeError), (None, TypeError)],
)
def test_bad_arguments(components, error):
    with pytest.raises(error, match=r"^components(\['photonic'\])? must"):
        WarmStart(components)


def test_subclasses_of_templates_too(tmp_path, make_model):
    class Mine(SequentialHybrid):
        pass

    export_component(make_model(Mine), "photonic", tmp_path / "a.pt")
    assert warm_start(make_model(), tmp_path / "a.pt")


@pytest.mark.parametrize("component", ["photonic", "quantum_layer"])
@pytest.mark.parametrize("whole", [False, True])
def test_another_circuit_does_not_fit(tmp_path, make_model, component, whole):
    source, target = make_model(), make_model(state_pattern="sequential")
    path = tmp_path / "a.pt"
    if whole:
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        export_component(source, component, path)
    before = copied(target)
    with pytest.raises(ValueError, match=r"is another circuit, saved with input_state=\(1, 0, 1"):
        warm_start(target, path, component)
    assert changed(target, before) == []
    warm_start(make_model(), path, component)


def test_a_file_that_says_nothing_of_circuits_fits(tmp_path, make_model):
    source, target = make_model(), make_model(state_pattern="sequential")
    path = tmp_path / "a.pt"
    export_component(source, "quantum_layer", path)
    content = torch.load(path, weights_only=True)
    del content["circuits"]
    torch.save(content, path)
    warm_start(target, path)
    assert torch.equal(target.quantum_layer.phases, source.quantum_layer.phases)
