"""What a user can get wrong: one clear line, exit code 2, no cell printed, nothing left behind."""

import logging
import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hybridlit.cli import main

pandas = pytest.importorskip("pandas", reason="data extra")
pytest.importorskip("pyarrow", reason="data extra")

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")

SECRET = "SECRET-123"
"""In cells that no message may show."""

COLORS = [f"{SECRET}-red", f"{SECRET}-blue", f"{SECRET}-green"]
ROWS = 60


def columns():
    """A table of every kind: name of the row, numbers, categories, yes or no, classes."""
    draw = random.Random(0)
    return {
        "name": [f"{SECRET}-{row}" for row in range(ROWS)],
        "size": [round(draw.uniform(1, 9), 3) for _ in range(ROWS)],
        "width": [round(draw.uniform(1, 9), 3) for _ in range(ROWS)],
        "color": [draw.choice(COLORS) for _ in range(ROWS)],
        "old": [draw.choice(["yes", "no"]) for _ in range(ROWS)],
        "species": [["setosa", "versicolor", "virginica"][row % 3] for row in range(ROWS)],
    }


def text(table, separator=",", end="\n"):
    rows = zip(*table.values(), strict=True)
    lines = [separator.join(table), *(separator.join(map(str, row)) for row in rows)]
    return end.join(lines) + end


def recipe(**data):
    """A recipe of one epoch; what is None is left out, and `model` and `trainer` go there."""
    model = dict(
        class_path="ResidualHybrid",
        init_args=dict(input_dim="auto", output_dim="auto", task="multiclass", hidden_dims=[4])
        | dict(n_modes=3, n_photons=1, quantum_dim=2)
        | data.pop("model", {}),
    )
    kind = data.pop("kind", "TableDataModule")
    given = dict(path="data.csv", target="species", id="name") | data
    trainer = dict(
        max_epochs=1, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu"
    )
    arguments = {name: value for name, value in given.items() if value is not None}
    content = dict(trainer=trainer, model=model, data=dict(class_path=kind, init_args=arguments))
    Path("recipe.yaml").write_text(yaml.safe_dump(content))


def images(count=4, side=8):
    for label in ("cat", "dog"):
        for index in range(count):
            place = Path("pictures", label, f"{index}.png")
            place.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 255, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(place)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Where a model was trained for an epoch: its checkpoint."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(place)
        Path("data.csv").write_text(text(columns()))
        recipe()
        main(["fit", "--config=recipe.yaml", "--trainer.logger=false"])
    return next(place.rglob("last.ckpt"))


# --- what is broken: a function that writes files, and returns words that must be in the line -----

TABLES = {}
"""Broken tables, for `fit` and, where the target is not what is broken, for `init`."""


def table(function):
    TABLES[function.__name__] = function
    return function


def changed(**changes):
    given = columns()
    for name, change in changes.items():
        given[name] = change(given[name]) if callable(change) else change
    Path("data.csv").write_text(text(given), encoding="utf-8")


def first(value):
    return lambda cells: [value, *cells[1:]]


@table
def a_wrong_target():
    changed()
    recipe(target="speces")
    return "target", "speces", "species"


@table
def a_wrong_id():
    changed()
    recipe(id="nam")
    return "id", "nam", "'name'"


@table
def a_wrong_name_to_drop():
    changed()
    recipe(drop=["sizes"])
    return "drop", "sizes", "'size'"


@table
def a_wrong_category():
    changed()
    recipe(categorical=["colour"])
    return "categorical", "colour", "'color'"


@table
def text_in_numbers():
    changed(size=first(SECRET))
    recipe()
    return "'size'", "1 of 60 rows"


@table
def infinite_numbers():
    changed(size=first("inf"))
    recipe()
    return "'size'", "infinite"


@table
def missing_numbers():
    changed(size=first(""))
    recipe()
    return "missing", "'size'", "impute"


@table
def a_missing_target():
    changed(species=first(""))
    recipe()
    return "missing", "'species'", "drop"


@table
def an_empty_file():
    Path("data.csv").touch()
    recipe()
    return "data.csv", "empty"


@table
def a_header_only():
    Path("data.csv").write_text(",".join(columns()) + "\n")
    recipe()
    return "rows", "none"


@table
def one_row():
    Path("data.csv").write_text(text({name: cells[:1] for name, cells in columns().items()}))
    recipe()
    return ("1 row",)


@table
def one_class():
    changed(species=[SECRET] * ROWS)
    recipe()
    return "'species'", "at least 2 classes", "1"


@table
def columns_of_the_same_name():
    Path("data.csv").write_text(text(columns()).replace("width", "size", 1))
    recipe()
    return "'size'", "data.csv"


@table
def a_column_without_a_name():
    Path("data.csv").write_text(text(columns()).replace("width", "", 1))
    recipe()
    return "name", "column 3"


@table
def more_cells_in_a_line():
    Path("data.csv").write_text(text(columns()) + f"{SECRET},1,2,{SECRET},yes,setosa,7\n")
    recipe()
    return "data.csv", "more in a line"


@table
def a_file_without_names():
    Path("data.csv").write_text("1.5,2.5,0\n3.5,4.5,1\n" * 20)
    recipe(target="0", id=None)
    return "names", "data.csv"


@table
def commas_that_may_be_anything():
    changed(size=[f'"{row + 1},{row + 100}"' for row in range(ROWS)])
    recipe()
    return "'size'", "thousands"


@table
def another_encoding():
    Path("data.csv").write_bytes(text(columns()).replace("red", "grün").encode("latin1"))
    recipe()
    return "UTF-8", "data.csv"


@table
def another_width_of_letters():
    Path("data.csv").write_bytes(text(columns()).encode("utf-16"))
    recipe()
    return "UTF-16", "data.csv"


@table
def a_binary_file():
    Path("data.csv").write_bytes(bytes(range(256)) * 10 + SECRET.encode())
    recipe()
    return "data.csv", "no text"


@table
def a_suffix_that_nobody_knows():
    Path("data.xlsx").write_text(text(columns()))
    recipe(path="data.xlsx")
    return "data.xlsx", ".parquet"


@table
def a_missing_file():
    recipe(path="dta.csv")
    return "dta.csv", "not there"


@table
def a_link_to_nowhere():
    Path("data.csv").symlink_to("gone.csv")
    recipe()
    return "data.csv", "not there"


@table
def a_pipe():
    os.mkfifo("data.csv")
    recipe()
    return ("data.csv",)


@table
def a_truncated_parquet():
    pandas.DataFrame(columns()).to_parquet("whole.parquet")
    data = Path("whole.parquet").read_bytes()
    Path("data.parquet").write_bytes(data[: len(data) // 2])
    recipe(path="data.parquet")
    return "data.parquet", "Parquet"


@table
def text_that_is_called_parquet():
    Path("data.parquet").write_text(text(columns()))
    recipe(path="data.parquet")
    return "data.parquet", "Parquet"


@table
def nested_cells():
    table = columns()
    table["size"] = [[1.5, row / 2] for row in range(ROWS)]
    pandas.DataFrame(table).to_parquet("data.parquet")
    recipe(path="data.parquet")
    return ("'size'",)


@table
def arrays_without_the_target():
    np.savez("data.npz", x=np.zeros((ROWS, 3)), y=np.arange(ROWS) % 3)
    recipe(path="data.npz", id=None)
    return "target", "species", "'y'"


@table
def arrays_of_objects():
    np.savez("data.npz", x=np.array([SECRET, None] * 30, dtype=object), species=np.arange(60) % 3)
    recipe(path="data.npz", id=None)
    return ("data.npz",)


@table
def arrays_of_other_lengths():
    np.savez("data.npz", x=np.zeros(50), species=np.arange(60) % 3)
    recipe(path="data.npz", id=None)
    return ("one length",)


@table
def a_damaged_archive():
    Path("data.npz").write_bytes(b"PK\x03\x04" + SECRET.encode() * 9)
    recipe(path="data.npz", id=None)
    return ("data.npz",)


@table
def dates():
    changed(size=[f"2024-01-{row % 28 + 1:02d}" for row in range(ROWS)])
    recipe()
    return "'size'", "dates"


@table
def names_of_rows_as_a_feature():
    changed()
    recipe(id=None)
    return "'name'", "id or drop"


@table
def nothing_in_a_column():
    changed(size=[""] * ROWS)
    recipe()
    return "'size'", "drop"


@table
def negative_weights():
    changed(width=first(-1))
    recipe(weight="width")
    return "weight", "'width'", "1 of 60 rows"


@table
def weights_that_are_none():
    changed(width=first(""))
    recipe(weight="width", missing="impute")
    return ("'width'",)


@table
def weights_of_zero():
    changed(width=[0] * ROWS)
    recipe(weight="width")
    return "weight", "'width'"


@table
def splits_of_unknown_words():
    changed(old=["train"] * (ROWS - 1) + [SECRET])
    recipe(split="old")
    return "'old'", "train, val, test or calibration"


@table
def one_group_for_all_rows():
    changed(old=[SECRET] * ROWS)
    recipe(group="old")
    return "group", "'old'", "at least 3 groups"


@table
def a_value_that_does_not_vary():
    changed(species=[7.5] * ROWS)
    recipe(model={"task": "regression"})
    return "'species'", "vary"


@table
def several_targets_that_are_classes():
    changed()
    recipe(target=["species", "old"])
    return "targets", "classes"


@table
def a_task_for_values_and_a_target_of_classes():
    changed()
    recipe(model={"task": "regression"})
    return "task", "multiclass"


@table
def a_task_for_two_classes_and_three_of_them():
    changed()
    recipe(model={"task": "binary"})
    return "task", "3 classes", "multiclass"


@table
def a_column_that_plays_two_parts():
    changed()
    recipe(id=["name", "species"])
    return ("species",)


@table
def an_argument_of_another_name():
    changed()
    recipe(targt="species")
    return "targt", "target"


@table
def an_argument_of_a_wrong_type():
    changed()
    recipe(batch_size="many")
    return ("batch_size",)


@table
def a_model_that_cannot_be():
    changed()
    recipe(model={"n_photons": 0})
    return "n_photons", "0"


@table
def a_class_that_is_not_there():
    changed()
    recipe(kind="TabelDataModule")
    return "TabelDataModule", "TableDataModule"


@table
def no_images():
    Path("pictures/cat").mkdir(parents=True)
    Path("pictures/dog").mkdir()
    recipe(kind="ImageFolderDataModule", path="pictures", target=None, id=None)
    return "pictures", "PNG"


@table
def one_folder_of_images():
    images()
    for file in Path("pictures/dog").iterdir():
        file.unlink()
    Path("pictures/dog").rmdir()
    recipe(kind="ImageFolderDataModule", path="pictures", target=None, id=None)
    return "pictures", "two classes"


@table
def an_image_that_is_damaged():
    images()
    file = Path("pictures/cat/1.png")
    file.write_bytes(file.read_bytes()[:40])
    recipe(kind="ImageFolderDataModule", path="pictures", target=None, id=None)
    return ("1.png",)


@table
def an_image_that_is_none():
    images()
    Path("pictures/cat/1.png").write_text(SECRET)
    recipe(kind="ImageFolderDataModule", path="pictures", target=None, id=None)
    return ("1.png",)


@table
def images_of_several_sizes():
    images()
    Image.new("L", (9, 7)).save("pictures/cat/odd.png")
    recipe(kind="ImageFolderDataModule", path="pictures", target=None, id=None)
    return "size", "7 x 9"


@table
def a_folder_of_images_that_is_missing():
    recipe(kind="ImageFolderDataModule", path="picture", target=None, id=None)
    return ("picture",)


@table
def a_table_where_a_folder_is_wanted():
    changed()
    recipe(kind="ImageFolderDataModule", path="data.csv", target=None, id=None)
    return "data.csv", "folder"


@table
def a_folder_where_a_table_is_wanted():
    images()
    recipe(path="pictures")
    return "pictures", "folder"


# --- the tests ------------------------------------------------------------------------------------


def tree():
    """Every file here with its content."""
    found = {}
    for path in sorted(Path().rglob("*")):
        regular = path.is_file() and not path.is_symlink()
        found[str(path)] = path.read_bytes() if regular else b""
    return found


def refused(arguments, words, capfd):
    """Run a command that must be refused as a whole and in one line."""
    before = tree()
    capfd.readouterr()
    with pytest.raises(SystemExit) as refusal, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.INFO)  # notes, such as of the seed
        try:
            main([str(word) for word in arguments])
        finally:
            logging.disable(logging.NOTSET)
    out, err = capfd.readouterr()
    assert refusal.value.code == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith(f"hybridlit {arguments[0]}: "), err
    for word in words:
        assert word in lines[0], f"{word!r} is not in: {lines[0]}"
    assert SECRET not in out + err, out + err
    assert not out.strip(), out
    assert tree() == before
    return lines[0]


OFTEN_TRIED = [
    "a_wrong_target",
    "text_in_numbers",
    "a_missing_target",
    "one_row",
    "columns_of_the_same_name",
    "a_suffix_that_nobody_knows",
    "a_link_to_nowhere",
    "a_truncated_parquet",
    "arrays_without_the_target",
    "weights_that_are_none",
    "splits_of_unknown_words",
    "one_group_for_all_rows",
    "a_value_that_does_not_vary",
    "a_task_for_two_classes_and_three_of_them",
    "an_argument_of_another_name",
    "an_argument_of_a_wrong_type",
    "a_model_that_cannot_be",
    "a_class_that_is_not_there",
    "images_of_several_sizes",
    "a_folder_where_a_table_is_wanted",
]
"""Those that `fit` refuses in places of their own; a refusal takes half a second."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in OFTEN_TRIED)) for name in TABLES],
)
def test_a_broken_table_is_refused_by_fit(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = TABLES[name]()
    refused(["fit", "--config=recipe.yaml"], words, capfd)


INIT = [
    "an_empty_file",
    "a_header_only",
    "one_row",
    "one_class",
    "columns_of_the_same_name",
    "another_encoding",
    "a_binary_file",
    "a_missing_file",
    "a_pipe",
    "a_truncated_parquet",
    "arrays_of_objects",
    "infinite_numbers",
    "no_images",
    "one_folder_of_images",
    "an_image_that_is_damaged",
]


@pytest.mark.parametrize("name", INIT)
def test_a_broken_table_is_refused_by_init(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = TABLES[name]()
    arguments = yaml.safe_load(Path("recipe.yaml").read_text())["data"]["init_args"]
    target = [f"--target={arguments['target']}"] if "target" in arguments else []
    refused(["init", arguments["path"], "--out=new.yaml", *target], words, capfd)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ("--target", "'species'")),
        (["--target=speces"], ("speces", "'species'")),
        (["--target=name"], ("'name'",)),
        (["--target=species", "--out=recipe.txt"], ("out", "recipe.txt")),
        (["--target=species", "--out=data.csv/recipe.yaml"], ("data.csv",)),
        (["--target=species", "--out=recipe.yaml"], ("recipe.yaml", "--force")),
        (["--target=species", "--frce"], ("--frce",)),
        (["--target=[size,species]"], ("species",)),
    ],
)
def test_a_recipe_that_cannot_be_made(options, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    changed()
    if "--out=recipe.yaml" in options:
        recipe()
    refused(["init", "data.csv", *options], words, capfd)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "--config=recipe.yml"], ("recipe.yml",)),
        (["fit", "--config=recipe.yaml", "--trainer.max_epoch=3"], ("max_epoch", "max_epochs")),
        (["fit", "--config=recipe.yaml", "--trainr.max_epochs=3"], ("trainr",)),
        (["fit", "--config=recipe.yaml", "--data.target=speces"], ("speces", "'species'")),
        (["fit", "--config=data.csv"], ("--config", "no recipe")),
        (["fit", "--config=recipe.yaml", "--ckpt=last"], ("runs",)),
        (["test", "--config=recipe.yaml", "--ckpt=no.ckpt"], ("no.ckpt",)),
    ],
)
def test_a_command_that_is_misspelt(arguments, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    changed()
    recipe()
    refused(arguments, words, capfd)


def without(name):
    def write():
        given = columns()
        del given[name]
        Path("new.csv").write_text(text(given))

    return write


def new(**changes):
    def write():
        changed(**changes)
        Path("data.csv").rename("new.csv")

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "options", "words"),
    [
        (without("width"), [], ("'width'", "columns")),
        (new(size=first(SECRET)), [], ("'size'", "1 of 60 rows")),
        (new(size=first("-inf")), [], ("'size'", "infinite")),
        (new(size=first("")), [], ("'size'", "missing")),
        (lambda: Path("new.csv").touch(), [], ("new.csv", "empty")),
        (lambda: None, [], ("new.csv",)),
        (new(), ["--output=out.doc"], ("out.doc", ".csv")),
        (new(), ["--output=new.csv/out.csv"], ("new.csv",)),
        (new(), ["--output=."], ("output",)),
        (new(), ["--batch_size=0"], ("batch_size",)),
        (
            lambda: Path("new.csv").write_text(text(columns()).replace("width", "size", 1)),
            [],
            ("'size'",),
        ),
    ],
)
def test_rows_that_cannot_be_predicted(
    write, options, words, trained, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    write()
    output = [] if any(word.startswith("--output") for word in options) else ["--output=out.csv"]
    refused(["predict", f"--ckpt={trained}", "--input=new.csv", *output, *options], words, capfd)


@pytest.fixture(scope="module")
def trained_on_images(tmp_path_factory):
    """A checkpoint of a model of images of 8 x 8 pixels."""
    place = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(place)
        images(count=8)
        model = dict(front="cnn", front_dim=4)
        recipe(kind="ImageFolderDataModule", path="pictures", target=None, id=None, model=model)
        main(["fit", "--config=recipe.yaml", "--trainer.logger=false"])
    return next(place.rglob("last.ckpt"))


def image(pixels):
    def write():
        Path("new").mkdir()
        Image.fromarray(pixels).save("new/a.png")

    return write


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda: Path("new").mkdir(), ("new",)),
        (lambda: None, ("new",)),
        (image(np.zeros((9, 7), np.uint8)), ("9 x 7", "8 x 8")),
        (lambda: (Path("new").mkdir(), Path("new/a.png").write_text(SECRET)), ("a.png",)),
        (lambda: Path("new").write_text(SECRET), ("new",)),
    ],
)
def test_images_that_cannot_be_predicted(
    write, words, trained_on_images, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    write()
    command = ["predict", f"--ckpt={trained_on_images}", "--input=new", "--output=out.csv"]
    refused(command, words, capfd)


def damaged(whole):
    Path("x.ckpt").write_bytes(whole.read_bytes()[:5000])


CHECKPOINTS = {
    "a_damaged_one": (damaged, "x.ckpt"),
    "text": (lambda _: Path("x.ckpt").write_text(SECRET), "x.ckpt"),
    "empty": (lambda _: Path("x.ckpt").touch(), "x.ckpt"),
    "of_something_else": (lambda _: torch.save({"weights": torch.ones(2)}, "x.ckpt"), "x.ckpt"),
    "objects": (lambda _: torch.save({"state_dict": {}, "x": Path("a")}, "x.ckpt"), "x.ckpt"),
    "missing": (lambda _: None, "x.ckpt"),
    "a_folder": (lambda _: Path("x.ckpt").mkdir(), "x.ckpt"),
}
VERBS = {
    "predict": ["--input=new.csv", "--output=out.csv"],
    "card": ["--out=card.md"],
    "export": ["--format=state", "--out=model.pt"],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_is_none(name, verb, trained, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    new()()
    write, word = CHECKPOINTS[name]
    write(trained)
    refused([verb, "--ckpt=x.ckpt", *VERBS[verb]], [word], capfd)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["card", "--out=card.pdf"], ("card.pdf", ".html")),
        (["card", "--out=folder.md"], ("folder.md",)),
        (["export", "--format=pt3", "--out=x.pt2"], ("pt3",)),
        (["export", "--format=state", "--out=file/x.pt"], ("file",)),
    ],
)
def test_an_output_that_cannot_be_written(arguments, words, trained, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("folder.md").mkdir()
    Path("file").touch()
    refused([arguments[0], f"--ckpt={trained}", *arguments[1:]], words, capfd)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a byte order mark", text(columns()).encode("utf-8-sig")),
        ("semicolons", text(columns(), ";").encode()),
        ("tabs", text(columns(), "\t").encode()),
        ("lines of another system", text(columns(), end="\r\n").encode()),
        ("decimal commas", text(columns(), ";").replace(".", ",").encode()),
        ("no last line break", text(columns()).strip().encode()),
    ],
)
def test_a_table_that_is_only_unusual_works(name, content, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_bytes(content)
    main(["init", "data.csv", "--target=species"])
    out, err = capfd.readouterr()
    assert "2 of numbers, 1 of categories, 1 of yes or no" in out and SECRET not in out + err
    assert (
        "species" in Path("recipe.yaml").read_text()
        and SECRET not in Path("recipe.yaml").read_text()
    )


def test_names_of_rows_may_repeat(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    changed(name=[f"{SECRET}-{row // 2}" for row in range(ROWS)])
    data = Path("data.csv")
    data.write_text(data.read_text().replace("name", "plant_id", 1))
    main(["init", "data.csv", "--target=species"])
    said = capfd.readouterr().out
    assert "names rows  'plant_id'" in said and "'plant_id' repeats" in said and "group" in said
    assert yaml.safe_load(Path("recipe.yaml").read_text())["data"]["init_args"]["id"] == [
        "plant_id"
    ]


def test_a_verb_that_is_misspelt(capfd):
    with pytest.raises(SystemExit) as refusal:
        main(["predct"])
    assert refusal.value.code == 2 and "did you mean 'predict'" in capfd.readouterr().err
