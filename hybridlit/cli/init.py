"""`hybridlit init`: a first recipe for a table or a folder of images, which trains as it is."""

from __future__ import annotations

import re
import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hybridlit.cli.first_recipe import first_recipe, plain_yaml
from hybridlit.data.columns import KINDS, ColumnFacts, describe_table
from hybridlit.data.files import as_frame
from hybridlit.data.rows import RowsDataModule
from hybridlit.data.table import TableDataModule
from hybridlit.data.table_rows import roles_of_columns
from hybridlit.words import plural, quoted

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["init"]

_ID = re.compile(
    r"(?i:(.*[\W_])?(id|ids|uuid|guid|index|key|number|nr|no)|unnamed: 0)|.*[a-z]I[Dd]"
)
"""What columns are called that name rows."""

_OFTEN = 0.2
"""Distinct values for each row from which on a column that is called a name is one."""

_SIDE = 64
"""Height and width of images at most, unless a recipe says otherwise."""


def init(
    data: str,
    /,
    target: list[str] | str | None = None,
    out: str = "recipe.yaml",
    force: bool = False,
) -> None:
    """Write a recipe for a table or a folder of images that trains well as it is.

    What is found is said by names of columns and by counts; the recipe says what can be changed.

    Args:
        data: Table (.csv, .tsv, .parquet, .npz), or folder with a folder of images for each class.
        target: Column to predict; several columns of numbers, or of two labels, as '[a, b]'.
        out: The recipe, a file name that ends in .yaml.
        force: Overwrite the recipe if there is one already.
    """
    path = Path(out)
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(f"out must end in .yaml, got {path.name!r}")
    if path.exists() and not force:
        raise FileExistsError(f"{path} is there already: give --force, or another --out")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        if Path(data).is_dir():
            found, text = _of_images(Path(data), target, path)
        else:
            found, text = _of_table(data, target, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(*found, sep="\n")
    for each in told:
        print(f"note: {each.message}")
    commands = (f"  {command}" for command in _commands(path, Path(data)))
    print(f"\nWritten: {path}. Next:", *commands, sep="\n")


def _commands(recipe: Path, data: Path) -> list[str]:
    config, new = shlex.quote(str(recipe)), "new_images/" if data.is_dir() else f"new{data.suffix}"
    return [
        f"hybridlit fit --config {config}",
        f"hybridlit predict --ckpt best --input {new} --output predictions.csv",
    ]


def _head(recipe: Path, data: Path) -> list[str]:
    return [
        f"A first recipe for {data.name}, by hybridlit init. What it is for:",
        *(f"  {command}" for command in _commands(recipe, data)),
        "All of it can be changed here, or in the command: --trainer.max_epochs 100",
    ]


# --- tables ---------------------------------------------------------------------------------------


def _of_table(file: str, target: Sequence[str] | str | None, recipe: Path) -> tuple[list[str], str]:
    """What is said, and the text of the recipe."""
    frame = as_frame(file)
    if target is None:
        names = quoted(frame.columns, most=40)
        raise ValueError(f"give --target, the column to predict, of {names}")
    targets = roles_of_columns(frame, target=target)["target"]
    facts = describe_table(frame.drop(columns=targets))
    ids, dropped = _ids(frame, facts), dict[str, str]()
    for each in facts:
        if each.name not in ids and KINDS[each.kind].remedy is not None:
            dropped[each.name] = KINDS[each.kind].words
        elif each.name not in ids and each.distinct < 2 <= len(frame):
            dropped[each.name] = "the same in every row"
    used = [each for each in facts if each.name not in ids and each.name not in dropped]
    gaps = [each.name for each in used if each.missing]
    untold = any(each.missing for each in describe_table(frame[targets]))
    missing = "impute" if gaps or untold else "error"
    module = TableDataModule(frame, target, id=ids, drop=list(dropped), missing=missing)
    known, what = module.preprocessing.targets, "values"
    if known.classes or known.pairs:
        what = f"{len(known.classes)} classes" if known.classes else "labels, yes or no"
    kinds = Counter(KINDS[each.kind].words for each in used)
    features = ", ".join(f"{count} of {words}" for words, count in kinds.items())
    lines = [("predicts", f"{quoted(targets)} ({what})"), ("from", f"columns: {features}")]
    if gaps:
        lines.append(("gaps", f"in {quoted(gaps)}: filled"))
    if ids:
        lines.append(("names rows", quoted(ids)))
    lines += [("left out", f"{name!r}: {why}") for name, why in dropped.items()]
    own = [
        (f"path: {plain_yaml(file)}", "from the folder that hybridlit is called in"),
        (f"target: {plain_yaml(target)}", "what is predicted"),
        (f"id: {plain_yaml(ids)}", "names of rows, no features: kept beside predictions"),
        (f"drop: {plain_yaml(list(dropped))}", "columns that are no features"),
        ("categorical: auto", "or columns of numbers that are categories: [a, b]"),
        (f"missing: {missing}", "values: impute (fill), drop (leave rows out), error (refuse)"),
        ("target_kind: auto", "class or value, if it is not what was found"),
    ]
    head = _head(recipe, Path(file))
    rows, task = len(module.train[0]), module.task_of_target
    size = f"{plural(len(frame), 'row')}, {plural(len(frame.columns), 'column')}"
    text = first_recipe(head, rows, task, "TableDataModule", own)
    return [f"{Path(file).name}: {size}", *_aligned(lines, module)], text


def _ids(frame: DataFrame, facts: Sequence[ColumnFacts]) -> list[str]:
    """Columns of texts of which each row has another, and what is called a name and mostly is."""
    found = []
    for each in facts:
        named = _ID.fullmatch(each.name) is not None and each.distinct >= _OFTEN * len(frame)
        whole = each.kind == "number" and not (frame[each.name].dropna().astype(float) % 1).any()
        text = each.kind in ("text", "category")
        own = each.distinct == len(frame) > 1
        if not ((own and text) or (named and (whole or text))):
            continue
        found.append(each.name)
        if each.distinct + each.missing < len(frame):
            warnings.warn(
                f"{each.name!r} repeats: where its rows belong together, name it in group as well, "
                "which keeps them in one split",
                stacklevel=2,
            )
    return found


# --- images ---------------------------------------------------------------------------------------


def _of_images(
    folder: Path, target: Sequence[str] | str | None, recipe: Path
) -> tuple[list[str], str]:
    """What is said, and the text of the recipe."""
    from hybridlit.data.images import ImageFolderDataModule  # tables need no Pillow

    if target is not None:
        raise ValueError(f"leave --target out: the classes of {folder} are the folders in it")
    size = _size(folder)
    module = ImageFolderDataModule(folder, size=size)
    channels, height, width = module.input_shape
    images, what = sum(module.rows_by_split().values()), "grey" if channels == 1 else "colour"
    resized = "" if size is None else ", resized to it"
    lines = [
        ("predicts", f"the class ({module.num_classes}), which is the name of the folder"),
        ("from", f"{what} images of {height} x {width} pixels{resized}"),
    ]
    own = [
        (f"path: {plain_yaml(folder)}", "from the folder that hybridlit is called in"),
        (
            f"size: {plain_yaml(size)}",
            "[height, width] that images are resized to; null: as they are",
        ),
        ("color: auto", "grey or rgb, if it is not what was found"),
    ]
    front = [
        ("front: cnn", "convolutions before everything else"),
        ("front_dim: 32", "numbers that they give"),
    ]
    head, rows = _head(recipe, folder), len(module.train[0])
    text = first_recipe(head, rows, "multiclass", "ImageFolderDataModule", own, front)
    return [f"{folder.name}: {plural(images, 'image')}", *_aligned(lines, module)], text


def _size(folder: Path) -> list[int] | None:
    """Height and width to resize images to: the most frequent, but no larger than `_SIDE`."""
    from PIL import Image

    from hybridlit.data.image_files import find_images

    sizes: Counter[tuple[int, int]] = Counter()
    for file in find_images(folder):
        with suppress(OSError, ValueError), Image.open(file) as image:  # the data module says more
            sizes[image.height, image.width] += 1
    if not sizes or (len(sizes) == 1 and max(next(iter(sizes))) <= _SIDE):
        return None
    (height, width), _ = sizes.most_common(1)[0]
    scale = min(1.0, _SIDE / max(height, width))
    return [max(1, round(height * scale)), max(1, round(width * scale))]


def _aligned(lines: Sequence[tuple[str, str]], module: RowsDataModule) -> list[str]:
    rows = module.rows_by_split()
    shares = f"{rows['train']:,} to train, {rows['val']:,} to validate, {rows['test']:,} to test"
    return [f"  {word:<10}  {text}" for word, text in [*lines, ("rows", shares)]]
