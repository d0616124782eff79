"""Images in folders: a folder a class, read as uint8 and scaled when a batch is fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from hybridlit.checks import integer
from hybridlit.constructors import plain
from hybridlit.data.batches import batches
from hybridlit.data.image_files import ColorName, find_images, mode_of, read_images
from hybridlit.data.image_inputs import ImageInputs
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.rows import Part, RowsDataModule
from hybridlit.data.scaling import ScalingName
from hybridlit.data.splits import check_fractions, split_rows
from hybridlit.data.targets import Targets

__all__ = ["SPLIT_FOLDERS", "ImageFolderDataModule"]

SPLIT_FOLDERS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
"""Splits by the name of a folder that holds one."""


class ImageFolderDataModule(RowsDataModule):
    """PNG and JPEG images in folders, one for each class: `path/cat/1.png`, `path/dog/2.jpg`.

    Folders `train`, `val` (or `validation`) and `test` that hold the classes' folders are the
    splits; what is missing of the last two is split off the training images, stratified by class.
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
        scaling: `"standard"` (mean 0, standard deviation 1 of the training pixels of each channel),
            `"minmax"` (0 to 1), or None for pixels from 0 to 255.
        batch_size: Images in a batch, at least 1; the last batch may be smaller.
        drop_last: Leave out the last training batch of an epoch if it is smaller.
        seed: Seed of the split and of the order of the training batches, from 0 to 2**32 - 1.
        num_workers: Number of loading processes, at least 0; 0 is fastest for data in memory.

    Attributes:
        train: Training images as uint8 of shape (images, channels, height, width), and indices of
            their classes.
        val: The same for validation, or None.
        test: The same for the test, or None.
        files: Paths below `path` of the images of each split, in order.

    Raises:
        FileNotFoundError: If there is no such folder.
        NotADirectoryError: If it is a file.
        TypeError: If an argument has the wrong type.
        ValueError: If there are no images or fewer than two classes, a folder is empty, an image
            cannot be read or has another size, or a split would be empty.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: list[int] | None = None,
        color: ColorName = "auto",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        scaling: ScalingName | None = "standard",
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size, drop_last=drop_last, seed=seed, num_workers=num_workers
        )
        if size is not None:
            if len(size) != 2:
                raise ValueError(f"size must be [height, width], got {size!r}")
            size = [integer(side, "each entry of size", 1) for side in size]
        folder = Path(path)
        found = {name: _classes(each) for name, each in _split_folders(folder).items()}
        classes = _class_names(found, folder)
        val_fraction = 0.0 if "val" in found else val_fraction
        test_fraction = 0.0 if "test" in found else test_fraction
        check_fractions(val_fraction, test_fraction)
        files = {
            name: [file for each in of.values() for file in each] for name, of in found.items()
        }
        labels = {
            name: torch.tensor([classes.index(label) for label in of for _ in of[label]])
            for name, of in found.items()
        }
        rows = split_rows(
            labels["train"], (val_fraction, test_fraction), stratify=True, seed=self.seed
        )
        parts = {name: (files[name], labels[name]) for name in files}
        whole = parts["train"]
        for name, chosen in zip(("train", "val", "test"), rows, strict=True):
            if len(chosen):
                parts[name] = ([whole[0][row] for row in chosen.tolist()], whole[1][chosen])
        self.check_drop_last(len(parts["train"][1]))
        mode = mode_of(color, (file for each in files.values() for file in each))
        everything = [file for name in parts for file in parts[name][0]]
        names = [file.relative_to(folder).as_posix() for file in everything]
        images = torch.from_numpy(read_images(everything, names, mode, size))
        read: dict[str, Part] = {}
        self.files: dict[str, list[str]] = {}
        for name, (part, of) in parts.items():
            read[name], images = (images[: len(part)], of), images[len(part) :]
            self.files[name], names = names[: len(part)], names[len(part) :]
        self.train, self.val, self.test = read["train"], read.get("val"), read.get("test")
        self.preprocessing = Preprocessing(
            ImageInputs.fit(self.train[0], mode, size is not None, scaling),
            Targets(["class"], classes),
            {
                "source": folder.name or str(folder),
                "rows": self.rows_by_split(),
                "data_module": type(self).__name__,
            },
        )
        # kept in checkpoints, but not logged: a logger refuses a model argument of the same name
        self.save_hyperparameters(logger=False)
        self.hparams.update(plain(dict(self.hparams)), path=str(path))

    def _batches(self, part: Part, seed: int | None, drop_last: bool = False) -> DataLoader[Part]:
        return batches(
            *part,
            batch_size=self.batch_size,
            seed=seed,
            num_workers=self.num_workers,
            drop_last=drop_last,
            prepare=self.preprocessing.inputs,
        )


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the splits that there are; the whole folder if they are classes."""
    if not folder.exists():
        raise FileNotFoundError(f"path must be a folder of images, got {folder}, which is missing")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"path must be a folder with a folder for each class, got the file {folder}"
        )
    names = {each.name: each for each in _folders(folder)}
    if not names or not names.keys() <= SPLIT_FOLDERS.keys():
        return {"train": folder}
    if "train" not in names or len({SPLIT_FOLDERS[name] for name in names}) < len(names):
        raise ValueError(
            f"path must hold train, and val and test if there are any, or folders of classes, got "
            f"{sorted(names)} in {folder}"
        )
    return {SPLIT_FOLDERS[name]: each for name, each in names.items()}


def _folders(folder: Path) -> list[Path]:
    folders = (each for each in folder.iterdir() if each.is_dir())
    return sorted(each for each in folders if not each.name.startswith("."))


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the images of each class by its name."""
    found = find_images(folder)
    classes: dict[str, list[Path]] = {each.name: [] for each in _folders(folder)}
    loose: list[Path] = []
    for path in found:
        label = path.relative_to(folder).parts[0]
        (classes[label] if label in classes else loose).append(path)
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
            f"path must have at least two classes, a folder each, got {list(classes) or 'none'} in "
            f"{folder}"
        )
    empty = [label for label, paths in classes.items() if not paths]
    if empty:
        raise ValueError(f"path must have images of every class, got none in {folder / empty[0]}")
    return classes


def _class_names(found: Mapping[str, Mapping[str, Any]], folder: Path) -> list[str]:
    classes = list(found["train"])
    for split, labels in found.items():
        unknown = [label for label in labels if label not in classes]
        if unknown:
            raise ValueError(
                f"the classes of {folder / split} must be among those of train, {classes}, got "
                f"{unknown} besides"
            )
    return classes
