"""Cases of the data modules: arrays of any kind, split, scaled and batched."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fuzzing.judging import Case
from fuzzing.oracles import check_close, check_finite, require
from fuzzing.values import Values, drawn, one_of, or_none, real, several, whole
from hybridlit import (
    ArrayDataModule,
    ImageFolderDataModule,
    MultiModalDataModule,
    ResumableLoader,
    SequenceDataModule,
    SklearnDataModule,
)

try:
    import pandas
except ImportError:
    pandas = None

__all__ = ["KINDS"]

FRACTION = real(0.0, 0.4, (1.0, -0.1, 1.5))
SPLIT = {
    "val_fraction": FRACTION,
    "test_fraction": FRACTION,
    "calibration_fraction": real(0.0, 0.15, (1.0, -0.1, 1.5)),
    "scaling": or_none(one_of("standard", "minmax")),
    "target_scaling": or_none(one_of("standard", "minmax")),
    "batch_size": whole(1, 50),
    "seed": whole(0, 2**31, (2**62,)),
    "test_seed": or_none(whole(0, 2**31, (2**62,))),
    "num_workers": Values(lambda rng: 0, (-1, 1.5, "2", True)),
}


def arrays(rng: Random) -> tuple[Any, Any, str | None]:
    """Draw inputs and targets, and say what is wrong with them, if anything is."""
    generator = np.random.default_rng(rng.randrange(2**32))
    rows, size = rng.choice([10, 25, 60]), rng.randint(1, 4)
    scale = rng.choice([1.0, 1.0, 1.0, 1e-8, 1e6, 1e30])
    inputs: Any = generator.normal(size=(rows, size)) * scale
    targets: Any = rng.choice(
        [
            generator.integers(0, 3, rows),
            generator.normal(size=rows),
            generator.normal(size=(rows, 2)) * scale,
            generator.integers(0, 2, rows).astype(bool),
        ]
    )
    kind = rng.choice(["float64", "float32", "integers", "big-endian", "tensor", "frame", "image"])
    if kind == "float32":
        inputs = inputs.astype(np.float32)
    elif kind == "integers":
        inputs = generator.integers(-5, 200, inputs.shape).astype(rng.choice(["i8", "u1", "i2"]))
    elif kind == "big-endian":
        inputs = inputs.astype(rng.choice([">f8", ">f4", ">i4"])) if scale == 1.0 else inputs
        targets = targets.astype(targets.dtype.newbyteorder(">"))
    elif kind == "tensor":
        inputs, targets = torch.from_numpy(inputs), torch.from_numpy(targets)
    elif kind == "frame" and pandas is not None:
        inputs = pandas.DataFrame(inputs, columns=list("dbca")[:size])
        targets = pandas.DataFrame(targets) if targets.ndim == 2 else pandas.Series(targets)
    elif kind == "image":
        inputs = generator.normal(size=(rows, 1, 3, 3))
    if rng.random() < 0.75:
        return inputs, targets, None
    what = rng.choice(["nan", "inf", "huge", "spread", "empty", "rows", "text", "complex", "flat"])
    inputs = generator.normal(size=(rows, size))
    if what in ("nan", "inf"):
        inputs[rng.randrange(rows), rng.randrange(size)] = float(what)
    elif what == "huge":  # finite in float64, and not in float32
        inputs[:, 0] = 1e40 * generator.choice([-1, 1], rows)
        return inputs, targets, None
    elif what == "spread":
        inputs[:, 0] = 1.7e308 * np.sign(generator.normal(size=rows))
        return inputs, targets, None
    elif what == "empty":
        inputs = inputs[:0] if rng.random() < 0.5 else inputs[:, :0]
    elif what == "rows":
        inputs = inputs[:-1]
    elif what == "text":
        inputs = inputs.astype(str)
    elif what == "complex":
        inputs = inputs * 1j
    else:
        inputs = inputs[:, 0]
    return inputs, targets, f"{what} in the inputs"


def array_data(rng: Random) -> Case:
    """A data module over arrays."""
    inputs, targets, fault = arrays(rng)
    given, wrong = drawn(rng, SPLIT, (), 0.2)

    def check(data: ArrayDataModule) -> None:
        parts = [data.train, data.val, data.test, data.calibration]
        more = [arguments[part] for part in ("val", "test") if part in arguments]
        every_input = torch.cat([as_rows(part[0]) for part in ((inputs, targets), *more)])
        every_target = torch.cat([as_rows(part[1]) for part in ((inputs, targets), *more)])
        require(sum(len(part[0]) for part in parts if part) == len(every_input), "number of rows")
        for part in parts:
            if part is not None:
                check_finite(part[0], "scaled inputs")
                require(part[0].dtype == torch.get_default_dtype(), "dtype of the inputs")
                if part[1].is_floating_point():
                    check_finite(part[1], "scaled targets")
        seen = torch.cat([batch[0] for batch in data.train_dataloader()])
        require(bool(torch.equal(sorted_rows(seen), sorted_rows(data.train[0]))), "rows of batches")
        every = torch.cat([part[0] for part in parts if part is not None])
        again = data.scale(every_input if more else inputs)
        require(bool(torch.equal(sorted_rows(again), sorted_rows(every))), "scale()")
        check_scaling(data, given)
        check_targets(data, every_target)

    arguments = {"inputs": inputs, "targets": targets, **given}
    parameters = (*SPLIT, "val", "test")
    if fault is None and rng.random() < 0.15:
        part = rng.choice(["val", "test"])
        arguments[part] = (inputs[:3], targets[:3])
        wrong = None if wrong == f"{part}_fraction" else wrong  # it is not used then
        if rng.random() < 0.4:
            fault = f"{part} of another kind"
            other = np.ones((3, 7), dtype=np.float32)
            arguments[part] = rng.choice([(other, targets[:3]), (other,), other, (inputs[:3], 1)])

    def call() -> ArrayDataModule:
        return ArrayDataModule(**arguments)

    return Case("ArrayDataModule", arguments, parameters, call, check, wrong or fault)


def as_rows(array: Any) -> Tensor:
    """Turn any array into a tensor in float64."""
    return torch.tensor(np.asarray(array).astype(np.float64))


def check_scaling(data: ArrayDataModule, given: dict[str, Any]) -> None:
    """Check mean and spread, or range, of the training inputs."""
    rows, method = data.train[0].double(), given.get("scaling", "standard")
    if method == "standard":
        spread = rows.std(0, correction=0)
        require(bool(((spread - 1).abs().min(spread) < 1e-4).all()), "spreads that are not 1 or 0")
        check_close(rows.mean(0), torch.zeros_like(rows[0]), 1e-4, "means and 0")
    elif method == "minmax":
        require(bool((rows.amin(0).abs() < 1e-6).all()), "a smallest value that is not 0")
        high = rows.amax(0)
        require(bool(((high - 1).abs().min(high) < 1e-6).all()), "a largest one not 1 or 0")


def check_targets(data: ArrayDataModule, targets: Tensor) -> None:
    """Check that targets come back in their own units, or as they were."""
    parts = [
        part[1] for part in (data.train, data.val, data.test, data.calibration) if part is not None
    ]
    found = torch.cat(parts).double()
    if parts[0].is_floating_point():
        found = data.unscale_targets(found)
    own = targets.double()
    scale = float(own.abs().max()) or 1.0
    check_close(sorted_rows(found) / scale, sorted_rows(own) / scale, 1e-5, "unscaled targets")


def sorted_rows(rows: Tensor) -> Tensor:
    """Sort rows, so that sets of them can be compared."""
    flat = rows.reshape(len(rows), -1)
    order = np.lexsort(flat.numpy().T[::-1])
    return flat[torch.from_numpy(order)]


def sklearn_data(rng: Random) -> Case:
    """A data set of scikit-learn."""
    values = SPLIT | {"dataset": one_of("iris", "wine", "diabetes")}
    given, wrong = drawn(rng, values, ("dataset",))
    if given["dataset"] != "diabetes":
        given.pop("target_scaling", None)
        wrong = None if wrong == "target_scaling" else wrong

    def check(data: SklearnDataModule) -> None:
        rows = {"iris": 150, "wine": 178, "diabetes": 442}[given["dataset"]]
        parts = [
            part for part in (data.train, data.val, data.test, data.calibration) if part is not None
        ]
        require(sum(len(part[0]) for part in parts) == rows, "number of rows")
        check_scaling(data, given)

    return Case(
        "SklearnDataModule", given, values, lambda: SklearnDataModule(**given), check, wrong
    )


def resumable(rng: Random) -> Case:
    """A loader that is left and resumed in the middle of an epoch."""
    values = {
        "dataset": Values(lambda rng: range(rng.randint(1, 20)), (None, 3, iter(range(3)))),
        "batch_size": whole(1, 8),
        "shuffle": Values(lambda rng: rng.choice([None, True, False]), ("no", [2], 2)),
        "seed": whole(0, 2**31, (2**62,)),
    }
    given, wrong = drawn(rng, values, ("dataset",), 0.3, 0.7)
    epoch, share = rng.randint(0, 5), rng.random()

    def check(loader: ResumableLoader) -> None:
        loader.sampler.set_epoch(epoch)
        whole_epoch = [batch.tolist() for batch in loader]
        rows = sorted(row for batch in whole_epoch for row in batch)
        require(rows == list(given["dataset"]), "an epoch is not every row once")
        again, left = ResumableLoader(**given), int(share * len(whole_epoch))
        again.sampler.set_epoch(epoch)
        again.load_state_dict({"position": left})
        rest = [batch.tolist() for batch in again]
        require(rest == whole_epoch[left:], "the rest of an epoch is another one")

    return Case("ResumableLoader", given, values, lambda: ResumableLoader(**given), check, wrong)


def sequence_data(rng: Random) -> Case:
    """A data module over sequences of any length."""
    generator = np.random.default_rng(rng.randrange(2**32))
    rows, size, longest = rng.choice([15, 40]), rng.randint(1, 3), rng.randint(1, 6)
    lengths = [longest, *generator.integers(1, longest + 1, rows - 1)]
    sequences: Any = [generator.normal(7, 3, (length, size)) for length in lengths]
    targets = rng.choice([np.arange(rows) % 3, np.array(["x", "y", "z"])[np.arange(rows) % 3]])
    given, wrong = drawn(rng, {k: SPLIT[k] for k in SPLIT if k != "target_scaling"}, (), 0.2)
    bad = {
        "a gap": np.full((1, size), np.nan),
        "another width": np.ones((1, size + 1)),
        "no steps": np.ones((0, size)),
        "no steps and features": np.ones(size),
        "text": np.full((1, size), "a"),
    }
    fault = rng.choice(list(bad)) if rng.random() < 0.2 else None
    if fault is not None:
        sequences[rng.randrange(rows)] = bad[fault]
        fault = None if fault == "another width" and rows == 1 else fault
    elif rng.random() < 0.2:
        sequences = dict(enumerate(sequences))

    def check(data: SequenceDataModule) -> None:
        parts = [
            part for part in (data.train, data.val, data.test, data.calibration) if part is not None
        ]
        require(sum(len(part[0]) for part in parts) == rows, "number of rows")
        read = data.preprocessing.inputs.read(sequences)
        there = ~read.values.isnan().any(-1)
        require(there.sum(1).tolist() == [len(each) for each in as_list], "lengths")
        require(bool(there[:, -1].all()), "a sequence that does not end at the last step")
        every = torch.cat([part[0] for part in parts])
        require(
            bool(torch.equal(sorted_rows(data.scale(sequences)), sorted_rows(every))), "scale()"
        )
        require(bool((data.scale(sequences)[~there] == 0).all()), "padding that is not 0")

    as_list = list(sequences.values()) if isinstance(sequences, dict) else sequences
    arguments = {"inputs": sequences, "targets": targets, **given}
    return Case(
        "SequenceDataModule",
        arguments,
        (*SPLIT, "val", "test"),
        lambda: SequenceDataModule(**arguments),
        check,
        wrong or fault,
    )


def image_data(rng: Random) -> Case:
    """A folder of images, read, and read again as new ones."""
    generator = np.random.default_rng(rng.randrange(2**32))
    shape = (rng.randint(1, 6), rng.randint(1, 6), *rng.choice([(), (3,), (4,)]))
    each, labels = rng.randint(5, 12), rng.sample(["b", "a", "10", "9"], rng.randint(2, 4))
    values = {k: SPLIT[k] for k in SPLIT if k != "target_scaling"} | {
        "size": or_none(several(whole(1, 7), 2, 2)),
        "color": one_of("auto", "grey", "rgb"),
    }
    given, wrong = drawn(rng, values, (), 0.2)
    suffix = rng.choice(["png", "png", "jpg"]) if len(shape) < 3 or shape[2] == 3 else "png"
    fault = rng.choice(["damage", "size", "empty"]) if rng.random() < 0.2 else None
    pictures = generator.integers(0, 256, (len(labels), each, *shape), dtype=np.uint8)

    def call() -> tuple[ImageFolderDataModule, Any]:
        with TemporaryDirectory() as folder:
            for label, some in zip(labels, pictures, strict=True):
                Path(folder, label).mkdir()
                for number, pixels in enumerate(some):
                    Image.fromarray(pixels).save(Path(folder, label, f"{number:02}.{suffix}"))
            first = Path(folder, labels[0], f"00.{suffix}")
            if fault == "damage":
                first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
            elif fault == "size":
                Image.new("RGB", (9, 9)).save(first)
            elif fault == "empty":
                Path(folder, "c").mkdir()
            data = ImageFolderDataModule(folder, **given)
            return data, data.preprocessing.inputs.read(folder)

    def check(result: tuple[ImageFolderDataModule, Any]) -> None:
        data, read = result
        parts = [
            part for part in (data.train, data.val, data.test, data.calibration) if part is not None
        ]
        every = torch.cat([part[0] for part in parts])
        require(len(every) == len(labels) * each, "number of images")
        require(bool(torch.equal(sorted_rows(read.values), sorted_rows(every))), "read()")
        require(data.preprocessing.targets.classes == sorted(labels), "names of classes")
        x = torch.cat([batch[0] for batch in data.train_dataloader()])
        check_finite(x, "scaled images")
        if given.get("scaling", "standard") == "standard":
            check_close(x.mean((0, 2, 3)), torch.zeros(x.shape[1]), 1e-3, "means and 0")
        elif given["scaling"] == "minmax":
            require(bool(x.min() == 0 and x.max() <= 1), "pixels that are not from 0 to 1")

    refused = None if fault == "size" and given.get("size") is not None else fault
    arguments = {"path": f"{len(labels)} x {each} images {shape}, {fault}", **given}
    return Case("ImageFolderDataModule", arguments, values, call, check, wrong or refused)


def multimodal_data(rng: Random) -> Case:
    """A data module of an image and a table, either of which may be missing in a row."""
    generator = np.random.default_rng(rng.randrange(2**32))
    rows = rng.choice([12, 40])
    arrays: Any = {
        "table": generator.normal(size=(rows, rng.randint(2, 4))) * rng.choice([1.0, 1e-8, 1e6]),
        "image": generator.normal(size=(rows, 1, 2, 2)),
        "y": generator.normal(size=rows),
    }
    gone = generator.permutation(rows)[: rows // 3]
    arrays[rng.choice(["table", "image"])][gone] = np.nan
    given, wrong = drawn(rng, SPLIT, (), 0.2)
    fault = None
    if rng.random() < 0.2:
        fault = rng.choice(["partly", "nothing", "rows", "text"])
        table = arrays["table"]
        if fault == "partly":
            arrays["image"][:], table[0] = 0.0, 0.0
            table[0, 0] = rng.choice([np.nan, np.inf])
        elif fault == "nothing":
            arrays["image"][0], table[0] = np.nan, np.nan
        else:
            arrays["table"] = table[:-1] if fault == "rows" else table.astype(str)

    def call() -> MultiModalDataModule:
        return MultiModalDataModule(arrays, target="y", **given)

    def check(data: MultiModalDataModule) -> None:
        parts = [data.train, data.val, data.test, data.calibration]
        every = torch.cat([part[0] for part in parts if part is not None])
        require(len(every) == rows, "number of rows")
        raw = np.concatenate([arrays["table"], arrays["image"].reshape(rows, 4)], 1)
        require(int(every.isnan().sum()) == int(np.isnan(raw).sum()), "gaps that stay gaps")
        again = data.scale(arrays).nan_to_num(99.0)
        require(bool(torch.equal(sorted_rows(again), sorted_rows(every.nan_to_num(99.0)))), "scale")
        for inputs, _ in data.train_dataloader():
            flat = torch.cat([each.flatten(1) for each in inputs.values()], 1)
            require([*inputs] == ["table", "image"] and flat.shape[1] == raw.shape[1], "batches")
        if given.get("scaling", "standard") == "standard":
            scaled = data.train[0].double()
            check_close(scaled.nanmean(0), torch.zeros_like(scaled[0]), 1e-4, "means and 0")

    arguments = {"arrays": arrays, **given}
    return Case("MultiModalDataModule", arguments, (*SPLIT,), call, check, wrong or fault)


KINDS = {
    multimodal_data: 4,
    array_data: 10,
    sklearn_data: 2,
    resumable: 2,
    sequence_data: 4,
    image_data: 3,
}
