import io

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from hybridlit import ImageFolderDataModule, SequentialHybrid
from hybridlit.data.image_inputs import ImageInputs
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.scaling import SCALINGS, Scaler, Scaling
from hybridlit.data.splits import SPLIT_WORDS


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def fill(folder, classes=("cat", "dog"), each=10, shape=(6, 5), seed=0):
    """Write images whose mean tells the class."""
    generator = np.random.default_rng(seed)
    for index, label in enumerate(classes):
        for number in range(each):
            pixels = generator.integers(0, 100, shape) + 100 * index
            save(folder / label / f"{number:02}.png", pixels)
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "pets")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_folder_a_class_becomes_stratified_splits(folder, seed):
    data = ImageFolderDataModule(folder, seed=seed)
    assert [part[0].shape for part in (data.train, data.val, data.test)] == [
        (12, 1, 6, 5),
        (4, 1, 6, 5),
        (4, 1, 6, 5),
    ]
    assert [part[1].bincount().tolist() for part in (data.train, data.val, data.test)] == [
        [6, 6],
        [2, 2],
        [2, 2],
    ]
    assert data.preprocessing.targets.classes == ["cat", "dog"]
    assert data.input_shape == (1, 6, 5) and data.num_classes == data.output_dim("multiclass") == 2
    files = [file for each in data.files.values() for file in each]
    assert sorted(files) == sorted(f"{c}/{i:02}.png" for c in ("cat", "dog") for i in range(10))
    for name, part in (("train", data.train), ("val", data.val), ("test", data.test)):
        for file, image, label in zip(data.files[name], *part, strict=True):
            np.testing.assert_array_equal(image[0], Image.open(folder / file))
            assert file.startswith(["cat", "dog"][label])
    assert data.preprocessing.facts["rows"] == {"train": 12, "val": 4, "test": 4}
    assert data.hparams.path == str(folder)


def test_batches_are_scaled_by_the_training_pixels_alone(tmp_path):
    fill(tmp_path, shape=(6, 5, 3))
    data = ImageFolderDataModule(tmp_path, batch_size=5)
    assert data.train[0].dtype == torch.uint8 and data.input_shape == (3, 6, 5)
    x = torch.cat([batch[0] for batch in data.train_dataloader()])
    assert x.dtype == torch.float32
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    mean = data.train[0].double().mean((0, 2, 3))[:, None, None]
    std = data.train[0].double().std((0, 2, 3), correction=0)[:, None, None]
    (first, labels), *_ = data.test_dataloader()
    assert torch.equal(labels, data.test[1][:5])
    assert torch.allclose(first.double(), (data.test[0][:5] - mean) / std, atol=1e-6)
    one = data.val_dataloader().dataset[1]
    assert torch.equal(one[0], data.preprocessing(data.val[0])[1]) and one[1] == data.val[1][1]


@pytest.mark.parametrize("scaling", [*SCALINGS, None])
@pytest.mark.parametrize("constant", [False, True])
def test_counting_pixels_is_scaling_them(scaling, constant):
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(3, 250, (7, 3, 4, 5), dtype=np.uint8))
    images[:, 1] = 40 if constant else images[:, 1]
    inputs = ImageInputs.fit(images, "RGB", False, scaling)
    rows = images.double().movedim(1, -1).reshape(-1, 3)
    expected = Scaler.fit(rows, scaling)(rows).reshape(7, 4, 5, 3).movedim(-1, 1)
    torch.testing.assert_close(inputs(images), expected.float())


def test_a_scaling_of_the_table_is_one_of_images(monkeypatch):
    images = torch.arange(24, dtype=torch.uint8).reshape(2, 1, 3, 4)
    middle = Scaling(
        lambda rows: (rows[0], rows[1]), lambda levels, share: (share[3], share[4] * 2)
    )
    monkeypatch.setitem(SCALINGS, "middle", middle)
    scaler = ImageInputs.fit(images, "L", False, "middle").scaler
    assert scaler.offset.tolist() == [[[1 / 24]]] and scaler.scale.tolist() == [[[1 / 12]]]


def test_folders_of_splits_are_the_splits(tmp_path):
    fill(tmp_path / "train", each=10)
    fill(tmp_path / "test", each=3, seed=1)
    data = ImageFolderDataModule(tmp_path, test_fraction=0.9)
    assert data.preprocessing.facts["rows"] == {"train": 16, "val": 4, "test": 6}
    assert data.files["test"][0] == "test/cat/00.png"
    fill(tmp_path / "validation", each=2, seed=2)
    data = ImageFolderDataModule(tmp_path)
    assert data.preprocessing.facts["rows"] == {"train": 20, "val": 4, "test": 6}
    alone = ImageFolderDataModule(tmp_path / "train", val_fraction=0, test_fraction=0)
    assert data.preprocessing.same_as(alone.preprocessing)


@pytest.mark.parametrize("word", SPLIT_WORDS)
@pytest.mark.parametrize("written", [str.lower, str.title, str.upper])
def test_a_folder_of_a_split_may_have_any_of_the_words_of_tables(tmp_path, word, written):
    split = SPLIT_WORDS[word]
    for name, each in {"train": 10, "val": 2, "test": 3}.items():
        fill(tmp_path / (written(word) if name == split else name), each=each)
    data = ImageFolderDataModule(tmp_path)
    assert data.rows_by_split() == {"train": 20, "val": 4, "test": 6}
    assert data.preprocessing.targets.classes == ["cat", "dog"]


@pytest.mark.parametrize("other", ["labels", "plane"])
def test_folders_of_splits_beside_others_are_refused(tmp_path, other):
    fill(tmp_path, (other, "Valid", "train"))
    words = f"got both in .*: 'Valid' and 'train' beside '{other}'; move the latter .* call the"
    with pytest.raises(ValueError, match=words):
        ImageFolderDataModule(tmp_path)


def test_an_unknown_class_is_said_with_its_folder(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "Valid", ("cat", "eel"))
    with pytest.raises(ValueError, match=r"got \['eel'\] besides in .*Valid$"):
        ImageFolderDataModule(tmp_path)


def test_it_trains_and_the_checkpoint_reads_files_as_the_training_did(folder, tmp_path):
    data = ImageFolderDataModule(folder, size=[4, 4], batch_size=4)
    model = SequentialHybrid(
        input_shape=[1, 4, 4], quantum_dim=2, output_dim=2, n_modes=4, n_photons=2, input_dim=None
    )
    trainer = Trainer(
        max_epochs=1, default_root_dir=tmp_path, logger=False, enable_progress_bar=False
    )
    trainer.fit(model, data)
    state = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
    again = Preprocessing.from_state(state["hybridlit_preprocessing"])
    assert again.same_as(data.preprocessing)
    read = again.inputs.read([folder / file for file in data.files["test"]])
    assert torch.equal(read.values, data.test[0])
    assert read.ids == {"file": [str(folder / file) for file in data.files["test"]]}
    assert read.flags == [""] * 4
    assert torch.equal(again(read.values), next(iter(data.test_dataloader()))[0])


@pytest.fixture
def inputs(folder):
    return ImageFolderDataModule(folder, val_fraction=0, test_fraction=0).preprocessing.inputs


def test_raw_rows_may_be_files(inputs, folder):
    everything = inputs.read(folder)
    assert everything.values.shape == (20, 1, 6, 5) and everything.values.dtype == torch.uint8
    assert everything.ids["file"][10] == "dog/00.png"
    flat = inputs.read(str(folder / "dog"))
    assert torch.equal(flat.values, everything.values[10:]) and flat.ids["file"][0] == "00.png"
    one = inputs.read(folder / "dog" / "03.png")
    assert torch.equal(one.values, everything.values[13:14])
    some = inputs.read(str(folder / "*" / "03.png"))
    assert torch.equal(some.values, everything.values[[3, 13]])
    pictures = [Image.open(file) for file in some.ids["file"]]
    assert torch.equal(inputs.read(pictures).values, some.values)
    assert inputs.read(pictures[0]).ids == {}


def test_raw_rows_may_be_pixels(inputs, folder):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 5), dtype=np.uint8)
    for given in (pixels, pixels[:, None], torch.from_numpy(pixels), pixels.astype(int).tolist()):
        assert torch.equal(inputs.read(given).values, torch.from_numpy(pixels)[:, None])
    with pytest.warns(UserWarning, match=r"\(3, 6, 5, 1\) are taken as .images, height, width, ch"):
        assert torch.equal(inputs.read(pixels[..., None]).values, torch.from_numpy(pixels)[:, None])
    colour = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), dtype=np.uint8)
    grey = torch.stack(
        [torch.from_numpy(np.array(Image.fromarray(x).convert("L"))) for x in colour]
    )
    with pytest.warns(UserWarning, match="are taken as"):
        assert torch.equal(inputs.read(colour).values, grey[:, None])
    assert torch.equal(inputs.read(colour.transpose(0, 3, 1, 2)).values, grey[:, None])


def test_images_of_another_brightness_are_flagged(inputs):
    pixels = np.stack([np.full((6, 5), grey, np.uint8) for grey in (0, 50, 150, 255)])
    low, high = inputs.low.item(), inputs.high.item()
    assert 40 < low < high < 160
    assert inputs.read(pixels).flags == [""] * 4  # the range of the training is wide
    inputs.low, inputs.high = inputs.low + 0, inputs.low + 10
    assert inputs.read(pixels).flags[::3] == [
        "brightness far below the training rows",
        "brightness far above the training rows",
    ]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.zeros((2, 6, 5)), TypeError, "uint8 from 0 to 255, got float64; multiply"),
        (np.full((2, 6, 5), 256), TypeError, "got int64"),
        (np.zeros((6, 5), int), ValueError, r"got \(6, 5\); one image x is x\[None\]"),
        (np.zeros((6, 5, 3), int), ValueError, r"got \(6, 5, 3\); one image x is x\[None\]"),
        (np.zeros((2, 6, 5, 2), int), ValueError, r"got \(2, 6, 5, 2\)"),
        (np.zeros((2, 5, 5), int), ValueError, r"one size.*6 x 5 \(training\), 5 x 5 \(image 0\)"),
        ([], ValueError, "at least one image"),
        (["nowhere.png"], FileNotFoundError, "nowhere.png"),
        ("nowhere/*.png", FileNotFoundError, r"nowhere/\*.png"),
        (".", ValueError, r"must hold PNG or JPEG images, got none"),
    ],
)
def test_raw_rows_that_are_no_images_are_refused(
    inputs, tmp_path, monkeypatch, rows, error, message
):
    (tmp_path / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(error, match=message):
        inputs.read(rows)


def test_images_are_resized_as_in_the_training(folder):
    inputs = ImageFolderDataModule(folder, size=[3, 2], color="rgb").preprocessing.inputs
    assert inputs.shape == (3, 3, 2)
    assert inputs.read(folder).values.shape == (20, 3, 3, 2)
    assert inputs.read(np.zeros((2, 9, 9), np.uint8)).values.shape == (2, 3, 3, 2)


def break_file(folder):
    (folder / "dog" / "03.png").write_bytes(b"nothing")


def other_size(folder):
    save(folder / "dog" / "03.png", np.zeros((9, 9)))


def empty_class(folder):
    (folder / "eel").mkdir()


def loose(folder):
    save(folder / "03.png", np.zeros((6, 5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (break_file, r"03\.png: no PNG or JPEG"),
        (other_size, r"one size, or resized by size=.*6 x 5 \(cat/00.png\), 9 x 9 \(dog/03.png\)"),
        (empty_class, r"must have images of every class, got none in .*eel"),
        (loose, r"got 1 in .*pets itself, the first 03\.png"),
    ],
)
def test_a_broken_folder_is_refused(folder, change, message):
    change(folder)
    with pytest.raises(ValueError, match=message):
        ImageFolderDataModule(folder, val_fraction=0, test_fraction=0)


def test_folders_that_hold_no_classes_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere, which is missing"):
        ImageFolderDataModule(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must hold PNG or JPEG images, a folder for each class"):
        ImageFolderDataModule(tmp_path)
    save(tmp_path / "a.png", np.zeros((6, 5)))
    with pytest.raises(NotADirectoryError, match=r"got the file .*a\.png"):
        ImageFolderDataModule(tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least two classes, a folder each, got none"):
        ImageFolderDataModule(tmp_path)
    (tmp_path / "a.png").unlink()
    fill(tmp_path, ["cat"])
    with pytest.raises(ValueError, match=r"at least two classes, a folder each, got \['cat'\]"):
        ImageFolderDataModule(tmp_path)


def test_folders_of_splits_must_fit_together(tmp_path):
    fill(tmp_path / "test")
    with pytest.raises(ValueError, match=r"must hold train, .* got \['test'\]"):
        ImageFolderDataModule(tmp_path)
    fill(tmp_path / "train", ("cat", "eel"))
    with pytest.raises(ValueError, match=r"of train, \['cat', 'eel'\], .* got \['dog'\] besides"):
        ImageFolderDataModule(tmp_path)
    fill(tmp_path / "val")
    fill(tmp_path / "validation")
    with pytest.raises(ValueError, match=r"must hold train, .* got \['test', 'train', 'val', 'v"):
        ImageFolderDataModule(tmp_path)


def test_other_files_are_told(folder):
    (folder / "dog" / "notes.txt").write_text("")
    with pytest.warns(UserWarning, match=r"left out: \.txt \(1\)"):
        ImageFolderDataModule(folder)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(size=[3]), ValueError, r"size must be \[height, width\], got \[3\]"),
        (dict(size=[3, 0]), ValueError, "each entry of size must be at least 1, got 0"),
        (dict(color="pink"), ValueError, "color must be one of .*'auto', 'grey', 'rgb'"),
        (dict(val_fraction=0.7, test_fraction=0.4), ValueError, "must be below 1, got 0.7"),
        (dict(batch_size=13, drop_last=True), ValueError, "leaves nothing of 12 training rows"),
    ],
)
def test_bad_arguments(folder, options, error, message):
    with pytest.raises(error, match=message):
        ImageFolderDataModule(folder, **options)


def test_it_exports_with_any_number_of_images(inputs):
    pixels = torch.randint(0, 256, (4, 1, 6, 5), dtype=torch.uint8)
    batch = torch.export.Dim("batch")
    program = torch.export.export(inputs, (pixels,), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for rows in (pixels[:2], pixels.repeat(2, 1, 1, 1)):
        assert torch.equal(loaded(rows), inputs(rows))
