"""Exported models predict in a process that has no hybridlit, and nothing else is ever written."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

import hybridlit.export.formats as formats
import hybridlit.export.program as program
from hybridlit import (
    ArrayDataModule,
    ImageFolderDataModule,
    ParallelHybrid,
    QuantumLayer,
    ResidualHybrid,
    SequenceDataModule,
    SequentialHybrid,
    TableDataModule,
    export_model,
    mark_photonic,
)
from hybridlit.data.preprocessing import INPUTS
from hybridlit.export.raw import RAW

pandas = pytest.importorskip("pandas", reason="recipes extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="export extra")

ALONE = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hybridlit", "lightning", "torchmetrics"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refused())
import json
import numpy as np
"""
RUN = """
import onnxruntime, torch
extra = {"hybridlit.json": ""}
graph = torch.export.load("model.pt2", extra_files=extra).module()
session = onnxruntime.InferenceSession("model.onnx")
for batch in (1, 7, 1000):
    rows = np.load(f"rows{batch}.npy")
    np.save(f"pt2{batch}.npy", graph(torch.from_numpy(rows)).detach().numpy())
    np.save(f"onnx{batch}.npy", session.run(None, {"rows": rows})[0])
about = session.get_modelmeta().custom_metadata_map["hybridlit"]
texts = [extra["hybridlit.json"], about]
assert [json.loads(text)["task"] for text in texts] == ["regression"] * 2
"""


def alone(code, folder):
    """Run code in a process that refuses to import hybridlit and Lightning."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE + code], cwd=folder, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def trained(model, data, epochs=1):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    return model


@pytest.fixture(scope="module")
def houses():
    """A regression whose targets are some hundred thousand, of features of very different sizes."""
    torch.manual_seed(0)
    features = torch.randn(200, 5).double() * torch.tensor([1e-3, 1, 10, 1e4, 1e6]) + 5.0
    targets = 3e5 + 5e4 * (features[:, 1] + features[:, 2] / 10)
    data = ArrayDataModule(features, targets, batch_size=32)
    return trained(ResidualHybrid(5, 1, task="regression", n_modes=4, n_photons=2), data), features


def test_both_graphs_predict_alone_at_any_batch_size(houses, tmp_path):
    model, features = houses
    for name in ("pt2", "onnx"):
        path = tmp_path / f"model.{name}"
        assert export_model(model, path, name) == [path, path.with_name(f"{path.name}.json")]
    generator = np.random.default_rng(0)
    for batch in (1, 7, 1000):
        rows = generator.choice(features.numpy(), batch)
        np.save(tmp_path / f"rows{batch}.npy", rows)
    alone(RUN, tmp_path)
    model.eval()
    for batch in (1, 7, 1000):
        rows = torch.from_numpy(np.load(tmp_path / f"rows{batch}.npy"))
        with torch.no_grad():
            prepared = model.preprocessing(rows)
            wanted = model.in_units(model.predictions(model(prepared))).numpy()
        assert wanted.std() > 0 if batch > 1 else wanted.mean() > 1e5
        for name in ("pt2", "onnx"):
            found = np.load(tmp_path / f"{name}{batch}.npy")
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["pt2", "onnx"])
def test_a_file_tells_nothing_of_the_machine_that_made_it(name, tmp_path):
    model = SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2)
    path, _ = export_model(model, tmp_path / f"model.{name}", name)
    assert os.path.dirname(torch.__file__).encode() not in path.read_bytes()
    assert os.path.dirname(program.__file__).encode() not in path.read_bytes()


def test_the_model_stays_as_it_is(houses, tmp_path):
    model, _ = houses
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modules, trainer = [type(m) for m in model.modules()], model.trainer
    drawn = torch.random.get_rng_state()
    export_model(model, tmp_path / "model.pt2")
    assert not ResidualHybrid.__subclasses__()  # of the same name, so that recipes would be unclear
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert model.training
    assert model.trainer is trainer
    assert [type(module) for module in model.modules()] == modules
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_state_is_plain_and_says_what_it_is(houses, tmp_path):
    model, _ = houses
    export_model(model, tmp_path / "model.pt", "state")
    found = torch.load(tmp_path / "model.pt", weights_only=True)
    assert found["state_dict"].keys() == model.state_dict().keys()
    assert json.loads(found["hybridlit"])["output"]["columns"] == ["target"]
    assert "optimizer_states" not in found
    again = ResidualHybrid.load_from_checkpoint(tmp_path / "model.pt").eval()
    x = torch.randn(5, 5)
    assert torch.equal(again(x), model.eval()(x))
    assert again.preprocessing.same_as(model.preprocessing)
    code = 'import torch; print(*torch.load("model.pt", weights_only=True)["state_dict"])'
    assert alone(code, tmp_path).split() == list(model.state_dict())


def columns(folder):
    """A table without names of classes, whose new rows have their columns in another order."""
    table = pandas.DataFrame(torch.randn(60, 3).numpy(), columns=["wide", "long", "deep"])
    table[["deep", "wide", "long"]].head(4).to_csv(folder / "new.csv", index=False)
    data = ArrayDataModule(table, np.where(table["wide"] > 0, "big", "small"))
    return data, table.head(4), dict(input_dim=3)


def table(folder):
    """Columns of every kind with gaps, and new rows with a category that is unknown."""
    generator = np.random.default_rng(0)
    rows = pandas.DataFrame(
        {
            "name": [f"row {index}" for index in range(80)],
            "size": np.where(generator.random(80) < 0.2, np.nan, generator.normal(1e4, 1e3, 80)),
            "colour": generator.choice(["red", "light blue", "green", None], 80),
            "grade": generator.choice([1, 2, 5], 80),
            "code": generator.choice(["1", "2", "x"], 80),
            "old": generator.choice(["yes", "No", None], 80),
            "new": generator.choice([True, False], 80),
            "price": generator.normal(3e5, 1e4, 80),
        }
    )
    train, new = rows.head(60), rows.tail(20).copy()
    new.loc[new.index[:4], "colour"] = [" red ", "purple", "light blue", "  "]
    new.loc[new.index[:4], "old"] = ["nO", "YES", "TRUE", "False"]
    new["code"] = new["code"].replace("x", "1")  # which a file then holds as numbers
    new["grade"] = new["grade"].where(new["grade"] < 5)  # and these as 1.0 and 2.0
    new[["new", "old", "grade", "colour", "size", "code"]].to_csv(folder / "new.csv", index=False)
    data = TableDataModule(
        train, "price", id="name", categorical=["grade", "code"], missing="impute", batch_size=20
    )
    return data, new, dict(input_dim=data.num_features, output_dim=1, task="regression")


def images(folder):
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "all" / name).mkdir(parents=True)
        for index in range(10):
            pixels = generator.integers(256, size=(6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "all" / name / f"{index}.png")
    new = folder / "new.png"
    Image.fromarray(generator.integers(256, size=(9, 11, 4), dtype=np.uint8)).save(new)
    data = ImageFolderDataModule(folder / "all", size=[4, 5])
    return data, new, dict(input_dim=None, input_shape=[3, 4, 5])


def sequences(folder):
    rows = [torch.randn(steps, 2) for steps in range(3, 13)] * 4
    data = SequenceDataModule(rows, torch.arange(40) % 2)
    raw = data.preprocessing.inputs.read(rows[:5]).values
    np.save(folder / "new.npy", raw.numpy())
    return data, rows[:5], dict(input_dim=None, input_shape=[12, 2])


@pytest.mark.parametrize(
    "kinds",
    [[table, images], pytest.param([columns, sequences], marks=pytest.mark.slow)],
)
def test_examples_run_as_they_stand(kinds, tmp_path):
    """What a stranger does with a table, an image or sequences of his own."""
    torch.manual_seed(0)
    code, wanted = "import os\n", {}
    for make in kinds:
        folder = tmp_path / make.__name__
        folder.mkdir()
        data, new, sizes = make(folder)
        sizes = dict(quantum_dim=2, output_dim=2, n_modes=4, n_photons=2) | sizes
        model = SequentialHybrid(**sizes)
        trained(model, data).eval()
        _, about = export_model(model, folder / "model.pt2")
        described, targets = json.loads(about.read_text()), data.preprocessing.targets
        assert described["output"]["columns"] == (targets.classes or targets.names)
        code += f"os.chdir({str(folder)!r})\n{described['example']}\n"
        code += "np.save('found.npy', outputs)\n"
        predictions = model.predict(new)
        names = [f"probability_{label}" for label in targets.classes or []] or targets.names
        wanted[folder] = np.stack([predictions[name] for name in names], 1)
    alone(code, tmp_path)
    for folder, values in wanted.items():
        np.testing.assert_allclose(np.load(folder / "found.npy"), values, rtol=1e-5, atol=1e-5)


def test_what_other_runtimes_lack_most(tmp_path):
    """Attention and a recurrent unit; `test_templates.py` has all there is, and is slow."""
    given = dict(input_shape=[4, 2], front="gru", fusion="attention", quantum_dim=3)
    model = ParallelHybrid(None, 3, n_modes=4, n_photons=2, **given).eval()
    path, _ = export_model(model, tmp_path / "model.onnx", "onnx")
    x = torch.randn(1, 4, 2)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"rows": x.numpy()})
    np.testing.assert_allclose(found, model.predictions(model(x)).detach(), rtol=0, atol=1e-5)


def test_rows_that_are_not_finite_are_nan_alone(tmp_path):
    """No ReLU of any runtime makes a number of them."""
    model, x = small(), torch.randn(5, 3)
    x[1, 0], x[3, 2] = torch.nan, torch.inf
    path, _ = export_model(model, tmp_path / "model.onnx", "onnx")
    (found,) = onnxruntime.InferenceSession(path).run(None, {"rows": x.numpy()})
    assert np.isnan(found).all(1).tolist() == [False, True, False, True, False]
    assert np.isfinite(found[[0, 2, 4]]).all()


def test_every_kind_of_data_is_explained():
    assert INPUTS.keys() == RAW.keys()


# --- refusals: nothing is written -----------------------------------------------------------------


def small(cls=SequentialHybrid, **options):
    return cls(3, 2, 2, n_modes=4, n_photons=2, **options)


def refused(model, tmp_path, match, error=ValueError, form="pt2"):
    with pytest.raises(error, match=match):
        export_model(model, tmp_path / "model", form)
    assert os.listdir(tmp_path) == []


def test_too_many_outcomes(tmp_path):
    model = SequentialHybrid(3, 2, 2, n_modes=24, n_photons=12, computation_space="unbunched",
                             output_mapping_strategy="lexgrouping")  # fmt: skip
    refused(model, tmp_path, r"too large.*2,704,156 outcomes.*GiB of constants.*format='state'")


def test_too_many_columns(tmp_path):
    model = SequentialHybrid(3, 150, 2, n_modes=3, n_photons=1, circuit_type="parallel")
    refused(model, tmp_path, r"too deep.*151 columns.*at most 128.*circuit_type='series'")


@pytest.mark.parametrize("name", ["model.pt", "last.ckpt", "model.onnx", ""])
def test_a_name_that_says_another_format(tmp_path, name):
    with pytest.raises(ValueError, match=r"path must end in \.pt2 for format='pt2'"):
        export_model(small(), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_runtime_that_refuses_the_file(tmp_path, monkeypatch):
    """As that of ONNX does bfloat16 with float32."""

    def run(data, rows):
        raise RuntimeError("Type Error: bound to different types")

    monkeypatch.setitem(formats.FORMATS, "pt2", formats.FORMATS["pt2"]._replace(run=run))
    refused(small(), tmp_path, "SequentialHybrid cannot be made pt2: Type Error")


class Louder(QuantumLayer):
    def forward(self, x):
        return 2 * super().forward(x)


class Other(SequentialHybrid):
    def build_quantum(self):
        return Louder(2, 4, n_modes=4, n_photons=2)


def test_a_subclass_of_a_layer_that_computes_something_else(tmp_path):
    refused(small(Other), tmp_path, r"would differ from the model by .* on random rows")


class Foreign(torch.nn.Module):
    output_size = 4

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 4)

    def forward(self, x):
        outputs = self.layer(x)
        return outputs * 2 if outputs.sum() > 0 else outputs


class WithForeign(SequentialHybrid):
    def build_quantum(self):
        return mark_photonic(Foreign())


def test_layers_of_other_libraries_are_named(tmp_path):
    refused(small(WithForeign), tmp_path, r"cannot take WithForeign.*quantum_layer \(Foreign\)")


class Custom(SequentialHybrid):
    def forward(self, x):
        columns = torch.complex(x, x).T[:, None]
        extra = torch.ops.hybridlit.fock_amplitudes(columns, [0], "fock").real
        return super().forward(x) + extra.sum(1, keepdim=True)


def test_operators_of_other_libraries_are_named(tmp_path):
    refused(small(Custom), tmp_path, "operators that a process .* hybridlit.fock_amplitudes")


def test_a_missing_package_is_a_command(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    refused(
        small(), tmp_path, r"onnxruntime: pip install 'hybridlit\[export\]'", ImportError, "onnx"
    )


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "model.pt2").write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export_model(small(), tmp_path / "model.pt2")
    assert os.listdir(tmp_path) == ["model.pt2"]
    assert (tmp_path / "model.pt2").read_text() == "before"


def test_limits_are_those_of_what_was_measured():
    assert program.MOST_BYTES == 512 * 2**20
