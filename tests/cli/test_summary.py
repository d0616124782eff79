"""The table that `hybridlit fit` begins with."""

from hybridlit.cli.summary import ShortSummary


def test_modules_and_their_parameters_and_nothing_of_flops(data, make_model, make_trainer, capsys):
    model = make_model()
    model.classical_pre.requires_grad_(False)
    make_trainer([ShortSummary()], limit_train_batches=1, limit_val_batches=0).fit(model, data)
    table, _, sums = capsys.readouterr().out.rstrip().rpartition("\n")
    assert table.splitlines()[0].split() == ["Name", "Type", "Params"]
    (row,) = [line.split() for line in table.splitlines() if "quantum_layer" in line]
    photonic = sum(p.numel() for p in model.quantum_layer.parameters())
    assert row[1:] == ["quantum_layer", "QuantumLayer", str(photonic)]
    sizes = [sum(p.numel() for p in m.parameters()) for m in (model, model.classical_pre)]
    assert sums == f"{sizes[0]} parameters, {sizes[1]} of them fixed"
