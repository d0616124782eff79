"""Images in folders: a folder a class, read as uint8 and scaled when a batch is fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from hybridlit.checks import integer
from hybridlit.data.image_files import ColorName, find_images, mode_of, read_images
from hybridlit.data.image_inputs import ImageInputs
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.rows import Part, RowsDataModule
from hybridlit.data.scaling import ScalingName
from hybridlit.data.splits import split_named
from hybridlit.data.targets import Targets
from hybridlit.words import quoted

__all__ = ["ImageFolderDataModule"]


class ImageFolderDataModule(RowsDataModule):
    """PNG and JPEG images in folders, one for each class: `path/cat/1.png`, `path/dog/2.jpg`.

    Folders `train`, `val` and `test` that hold the classes' folders are the splits, by any of
    `SPLIT_WORDS` (`valid`, `Validation`, `dev`, ...), which no class may be called; what is missing
    of the last two is split off the training images, stratified by class.
    Folders within a class's folder are looked into, names that begin with a dot are not, and files
    of other kinds are told. The orientation that a camera has noted is applied, what is transparent
    becomes white, and 16 bits become 8.

    Images stay in memory as uint8, a byte for each pixel and channel, and are scaled when a batch
    is fetched: 50,000 of 3 x 32 x 32 take 154 MB.

    Args:
        path: The folder.
        size: Height and width that images are resized to, each at least 1, whatever the ratio of
            their sides; None: they have one size.
        color: `"grey"`, `"rgb"`, or `"auto"`: grey if no file has colours.
        val_fraction: Share of the images to split off for validation, in [0, 1); 0: none. Not used
            where a folder holds them.
        test_fraction: The same for the test images.
        calibration_fraction: The same for images that neither training nor the choice of a
            checkpoint sees: see `calibrate`.
        scaling: `"standard"` (mean 0, standard deviation 1 of the training pixels of each channel),
            `"minmax"` (0 to 1), or None for pixels from 0 to 255.
        batch_size: As for `ArrayDataModule`, and so are all others.

    Attributes:
        train: Training images as uint8 of shape (images, channels, height, width), and indices of
            their classes.
        val: The same for validation, or None.
        test: The same for the test, or None.
        calibration: The same for `calibrate`, or None.
        files: Paths below `path` of the images of each split, in order.

    Raises:
        FileNotFoundError: If there is no such folder.
        NotADirectoryError: If it is a file.
        TypeError: If an argument has the wrong type.
        ValueError: If there are no images or fewer than two classes, a folder is empty, folders of
            splits stand beside others, an image cannot be read or has another size, or a split
            would be empty.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     for kind in ("cat", "dog"):
        ...         Path(folder, kind).mkdir()
        ...         for n in range(5):
        ...             Image.new("RGB", (8, 6), (n, 0, 99)).save(f"{folder}/{kind}/{n}.png")
        ...     data = ImageFolderDataModule(folder)
        >>> data.input_shape, data.num_classes, len(data.files["train"])
        ((3, 6, 8), 2, 6)
    """

    _prepares_batches = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: list[int] | None = None,
        color: ColorName = "auto",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        calibration_fraction: float = 0.0,
        scaling: ScalingName | None = "standard",
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        test_seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            test_seed=test_seed,
            num_workers=num_workers,
        )
        if size is not None:
            if len(size) != 2:
                raise ValueError(f"size must be [height, width], got {size!r}")
            size = [integer(side, "each entry of size", 1) for side in size]
        folder = Path(path)
        folders = _split_folders(folder)
        parts = {name: _images(each) for name, each in folders.items()}
        classes = _class_names(parts, folders)
        whole = parts["train"]
        labels = torch.tensor([classes.index(label) for label, _ in whole])
        rows = self.split_off(
            labels, parts, val_fraction, test_fraction, True, calibration_fraction
        )
        parts |= {name: [whole[row] for row in chosen.tolist()] for name, chosen in rows.items()}
        files = [file for pairs in parts.values() for _, file in pairs]
        names = [file.relative_to(folder).as_posix() for file in files]
        mode = mode_of(color, files)
        images = torch.from_numpy(read_images(files, names, mode, size))
        read: dict[str, Part] = {}
        self.files: dict[str, list[str]] = {}
        for name, pairs in parts.items():
            indices = torch.tensor([classes.index(label) for label, _ in pairs])
            read[name], images = (images[: len(pairs)], indices), images[len(pairs) :]
            self.files[name], names = names[: len(pairs)], names[len(pairs) :]
        self.train, self.val, self.test = read["train"], read.get("val"), read.get("test")
        self.calibration = read.get("calibration")
        self.preprocessing = Preprocessing(
            ImageInputs.fit(self.train[0], mode, size is not None, scaling),
            Targets(["class"], classes),
            {
                "source": folder.name or str(folder),
                "rows": self.rows_by_split(),
                "data_module": type(self).__name__,
            },
        )
        self.keep_arguments()


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the splits that there are; the whole folder if they are classes."""
    if not folder.exists():
        raise FileNotFoundError(f"path must be a folder of images, got {folder}, which is missing")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"path must be a folder with a folder for each class, got the file {folder}"
        )
    splits, others, every = dict[str, Path](), list[str](), _folders(folder)
    for each in every:
        split = split_named(each.name)
        if split is None:
            others.append(each.name)
        else:
            splits[split] = each
    if len(others) == len(every):
        return {"train": folder}
    names = [each.name for each in every]
    if others:
        named = [name for name in names if name not in others]
        raise ValueError(
            f"path must hold folders of splits or folders of classes, got both in {folder}: "
            f"{quoted(named)} beside {quoted(others)}; move the latter elsewhere, or, if all are "
            "classes, call the former otherwise"
        )
    if "train" not in splits or len(splits) < len(every):
        raise ValueError(
            f"path must hold train, and val and test if there are any, or folders of classes, got "
            f"{names} in {folder}: give each split one folder"
        )
    return splits


def _folders(folder: Path) -> list[Path]:
    folders = (each for each in folder.iterdir() if each.is_dir())
    return sorted(each for each in folders if not each.name.startswith("."))


def _images(folder: Path) -> list[tuple[str, Path]]:
    """Return class and file of each image."""
    classes = [each.name for each in _folders(folder)]
    found = [(path.relative_to(folder).parts[0], path) for path in find_images(folder)]
    loose = [path for label, path in found if path.parent == folder]
    if loose and classes:
        raise ValueError(
            f"path must have every image in the folder of its class, got {len(loose)} in {folder} "
            f"itself, the first {loose[0].name}"
        )
    if not found:
        raise ValueError(
            f"path must hold PNG or JPEG images, a folder for each class, got none in {folder}"
        )
    if len(classes) < 2:
        raise ValueError(
            f"path must have at least two classes, a folder each, got {classes or 'none'} in "
            f"{folder}"
        )
    empty = sorted({*classes} - {label for label, _ in found})
    if empty:
        raise ValueError(f"path must have images of every class, got none in {folder / empty[0]}")
    return found


def _class_names(
    parts: Mapping[str, list[tuple[str, Path]]], folders: Mapping[str, Path]
) -> list[str]:
    classes = sorted({label for label, _ in parts["train"]})
    for split, pairs in parts.items():
        unknown = sorted({label for label, _ in pairs} - {*classes})
        if unknown:
            raise ValueError(
                f"path must have the classes of train, {classes}, in every split, got {unknown} "
                f"besides in {folders[split]}"
            )
    return classes
