"""Exported models predict in a process that has no hybridlit, and nothing else is ever written."""

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from quiet_trainer import quiet

import hybridlit.export.formats as formats
import hybridlit.export.program as program
from hybridlit import (
    ArrayDataModule,
    ImageFolderDataModule,
    MultiModalDataModule,
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
from hybridlit.export import RealCircuit
from hybridlit.export.description import describe, example
from hybridlit.export.raw import RAW, raw_of
from hybridlit.export.slots import slots_bytes
from hybridlit.photonics.fock import FockSpace

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
    quiet(max_epochs=epochs).fit(model, data)
    return model


@pytest.fixture(scope="module")
def houses():
    """A regression whose targets are some hundred thousand, of features of very different sizes."""
    torch.manual_seed(0)
    features = torch.randn(200, 5).double() * torch.tensor([1e-3, 1, 10, 1e4, 1e6]) + 5.0
    targets = 3e5 + 5e4 * (features[:, 1] + features[:, 2] / 10)
    data = ArrayDataModule(features, targets, batch_size=32)
    return trained(ResidualHybrid(5, 1, task="regression", n_modes=4, n_photons=2), data), features


@pytest.mark.slow
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
            # in terms of the spread of the targets, of which their mean would hide six
            np.testing.assert_allclose(found / 5e4, wanted / 5e4, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pt2", "onnx"])
def test_a_file_tells_nothing_of_the_machine_that_made_it(name, tmp_path):
    model = SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2)
    path, _ = export_model(model, tmp_path / f"model.{name}", name)
    assert os.path.dirname(torch.__file__).encode() not in path.read_bytes()
    assert os.path.dirname(program.__file__).encode() not in path.read_bytes()


@pytest.mark.slow
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


def named(folder):
    """An image and a table, either of which a row may lack."""
    arrays = {"image": np.random.default_rng(0).normal(size=(40, 1, 3, 2))}
    arrays |= {"table": np.random.default_rng(1).normal(size=(40, 4)), "y": np.arange(40) % 2}
    arrays["table"][::4], arrays["image"][1::4] = np.nan, np.nan
    new = {name: array[:6] for name, array in arrays.items()}
    np.savez(folder / "new.npz", **new)
    sizes = dict(input_dim=None, inputs={"image": [1, 3, 2], "table": 4}, front={"image": "cnn"})
    return MultiModalDataModule(arrays, target="y"), new, sizes


@pytest.mark.slow
def test_examples_run_as_they_stand(tmp_path):
    """What a stranger does with a table, an image or sequences of his own."""
    torch.manual_seed(0)
    code, wanted = "import os\n", {}
    for make in (table, images, columns, sequences, named):
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


TRAINING = """\
code,grade,word,paid,size,other
00123,1,None,yes,1.5,a
123,2,red,no,None,None
7,5,NA,NA,3,
0045,,blue,Yes,#N/A,a
"""
NEW = [
    TRAINING,
    # what are words there, are numbers here, and the other way round
    "other,size,paid,word,grade,code\na,00123,no,red,1,00123\n,None,,NAN,None,123\n",
    "other,size,paid,word,grade,code\na,1,no,None,1.0,7\n,2,,n/a,NULL,45\n",
    "other,size,paid,word,grade,code\nNone,NA,no,None,x,7.0\nb,2,nan,red,02,1_0\n",
]


def read_by_the_example(model, content, folder):
    """The rows of `new.csv` as the example reads them, without a model that predicts."""
    (folder / "new.csv").write_text(content)
    about = describe(model, raw_of(model), "pt2")
    (folder / "model.pt2.json").write_text(json.dumps(about))
    names = {}
    exec(example(about, folder / "model.pt2").partition("\nprogram = ")[0], names)
    return names["rows"]


@pytest.mark.parametrize("content", NEW)
def test_the_example_reads_a_file_as_hybridlit_does(content, tmp_path, monkeypatch):
    """Leading zeros, and words that are missing values in some columns and not in others."""
    monkeypatch.chdir(tmp_path)
    training = pandas.read_csv(io.StringIO(TRAINING), dtype=str, keep_default_na=False)
    training["y"] = np.arange(len(training))
    pandas.concat([training] * 5).to_csv("training.csv", index=False)
    data = TableDataModule(
        "training.csv", "y", target_kind="value", categorical=["grade", "code"], missing="impute"
    )
    kinds = [column.kind for column in data.preprocessing.inputs.columns]
    assert kinds == ["category", "category", "category", "boolean", "number", "category"]
    model = SequentialHybrid(data.num_features, 2, 1, task="regression", n_modes=4)
    model.build(data)
    found = read_by_the_example(model, content, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = model.preprocessing.inputs.read("new.csv").values
    np.testing.assert_array_equal(found, wanted)


def test_the_example_keeps_the_blank_lines_of_one_column(tmp_path, monkeypatch):
    """Which are rows whose value is missing."""
    monkeypatch.chdir(tmp_path)
    rows = pandas.DataFrame({"size": [1.0, 2.5, None, 4.0] * 5, "y": np.arange(20) / 7})
    data = TableDataModule(rows, "y", missing="impute")
    model = SequentialHybrid(1, 2, 1, task="regression", n_modes=4)
    model.build(data)
    found = read_by_the_example(model, "size\n1.5\n\n3\n", tmp_path)
    np.testing.assert_array_equal(found, [[1.5], [np.nan], [3.0]])
    np.testing.assert_array_equal(found, model.preprocessing.inputs.read("new.csv").values)


@pytest.mark.slow
def test_what_other_runtimes_lack_most(tmp_path):
    """Attention and a recurrent unit; `test_templates.py` has all there is, and is slow."""
    given = dict(input_shape=[4, 2], front="gru", fusion="attention", quantum_dim=3)
    model = ParallelHybrid(None, 3, n_modes=4, n_photons=2, **given).eval()
    path, _ = export_model(model, tmp_path / "model.onnx", "onnx")
    x = torch.randn(1, 4, 2)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"rows": x.numpy()})
    np.testing.assert_allclose(found, model.predictions(model(x)).detach(), rtol=0, atol=1e-5)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_subclass_of_a_layer_that_computes_something_else(tmp_path):
    refused(small(Other), tmp_path, r"would differ from the model by .* on random rows")


class Slightly(QuantumLayer):
    """Off by a share of its outputs."""

    def forward(self, x):
        return super().forward(x) * 1.001


class Off(SequentialHybrid):
    size = 1.0

    def build_quantum(self):
        return Slightly(2, 4, n_modes=4, n_photons=2)

    def forward(self, x):
        return self.size * self.quantum_layer(x[:, :2])[:, :1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mean", "spread", "scaling"), [(1e6, 1.0, "auto"), (1e6, 1e-3, "auto"), (0.0, 1e-4, None)]
)
def test_neither_a_large_mean_nor_a_small_value_hides_a_difference(mean, spread, scaling, tmp_path):
    targets = mean + spread * torch.randn(40).double()
    model = Off(3, 2, 1, task="regression", n_modes=4, n_photons=2)
    model.build(ArrayDataModule(torch.randn(40, 3), targets, target_scaling=scaling))
    model.size = 1.0 if scaling else spread
    refused(model, tmp_path, "would differ from the model by .* times what is allowed")


class Rare(SequentialHybrid):
    """A class whose probability is about 1e-5, and another one in the file."""

    def build_quantum(self):
        return Louder(2, 4, n_modes=4, n_photons=2)

    def forward(self, x):
        first = self.quantum_layer(x[:, :2])[:, :1].sigmoid()
        return torch.cat([0 * first, first - 12.0], 1)


@pytest.mark.slow
def test_a_small_probability_that_is_wrong_is_refused(tmp_path):
    refused(small(Rare), tmp_path, "would differ from the model by .* times what is allowed")


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


@pytest.mark.slow
def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "model.pt2").write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export_model(small(), tmp_path / "model.pt2")
    assert os.listdir(tmp_path) == ["model.pt2"]
    assert (tmp_path / "model.pt2").read_text() == "before"


def test_the_limit_of_tables_is_the_last_that_is_taken(monkeypatch):
    model = small()
    size = slots_bytes(model.quantum_layer.fock_space, 8)
    monkeypatch.setattr(program, "MOST_BYTES", size)
    program.require_size(model)
    monkeypatch.setattr(program, "MOST_BYTES", size - 1)
    with pytest.raises(ValueError, match="too large to export"):
        program.require_size(model)


def test_the_limit_of_steps_is_the_last_that_is_taken(monkeypatch):
    model = small()
    layer = model.quantum_layer
    monkeypatch.setattr(program, "MOST_STEPS", layer.columns + 2)
    program.require_size(model)
    monkeypatch.setattr(program, "MOST_STEPS", layer.columns + 1)
    with pytest.raises(ValueError, match="too deep to export"):
        program.require_size(model)


def test_numbers_of_the_readme():
    """The limits, and the tables of the circuit that it tells of."""
    text = (Path(program.__file__).parent / "README.md").read_text(encoding="utf-8")
    text = " ".join(text.split())
    space = FockSpace(14, 8)
    size = slots_bytes(space, 8)
    assert f"14 modes with 8 photons, {space.size:,} outcomes, have {size / 2**20:.0f} MiB" in text
    assert f"Refused above {program.MOST_BYTES / 2**20:.0f} MiB of tables" in text
    assert f"and above {program.MOST_STEPS} columns of data phases and photons" in text
    assert size < program.MOST_BYTES


def operations(photons, columns):
    layer = QuantumLayer(columns, 4, n_modes=6, n_photons=photons, circuit_type="parallel").double()
    rows, shapes = torch.randn(3, columns).double(), ({0: torch.export.Dim("batch")},)
    graph = torch.export.export(RealCircuit(layer), (rows,), dynamic_shapes=shapes, strict=False)
    return sum(node.op == "call_function" for node in graph.graph.nodes)


@pytest.mark.slow
def test_a_graph_grows_by_some_operations_a_photon_and_a_column():
    """By 19 and 16 in torch 2.13, however many outcomes there are."""
    base = operations(2, 2)
    assert operations(3, 2) - base == operations(4, 2) - operations(3, 2) <= 25
    assert operations(2, 3) - base == operations(2, 4) - operations(2, 3) <= 20
