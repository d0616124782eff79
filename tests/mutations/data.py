"""Faults of the data modules."""

from mutations import mutations_of

__all__ = ["MUTATIONS"]

MUTATIONS = [
    *mutations_of(
        "data/distributed.py",
        "data/test_distributed.py",
        [
            ("rows[rank() :: world_size()]", "rows[: len(rows)]", "each process has all rows"),
            ("or not self.even else rows[:1]", "or True else rows[:1]", "a process has no row"),
            (
                "step = list(self.sampler), world_size() * self.batch_size",
                "step = list(self.sampler), self.batch_size",
                "steps are of other rows than in one process",
            ),
        ],
    ),
    *mutations_of(
        "data/image_files.py",
        "data/test_image_files.py",
        [
            (
                "ImageOps.exif_transpose(picture)",
                "picture",
                "images of a camera lie on their side",
            ),
            ("(values + 128) // 257", "values.clip(0, 255)", "16 bits are clipped"),
            ('"RGBA", image.size, "white"', '"RGBA", image.size, "black"', "glass is black"),
            ("image.resize((size[1], size[0])", "image.resize((size[0], size[1])", "sides swapped"),
            ("    if others:", "    if not others:", "other files are passed over in silence"),
            (
                "    if len(sizes) > 1:",
                "    if len(sizes) > 99:",
                "images of other sizes are empty",
            ),
        ],
    ),
    *mutations_of(
        "data/image_inputs.py",
        "data/test_images.py",
        [
            (
                "np.moveaxis(values, 1, 3)",
                "np.moveaxis(values, 2, 3)",
                "pixels of arrays are mixed",
            ),
            (
                "means.amin(0), means.amax(0)",
                "means.amin(0) * 0, means.amax(0) * 9",
                "images of another brightness are not flagged",
            ),
        ],
    ),
    *mutations_of(
        "data/images.py",
        "data/test_images.py",
        [
            (
                "ImageInputs.fit(self.train[0]",
                "ImageInputs.fit(images if len(images) else read['val'][0]",
                "scaling is fitted to other rows than the training's",
            ),
            (
                "test_fraction, True, calibration_fraction",
                "test_fraction, False, calibration_fraction",
                "classes lose their shares",
            ),
            ("    if others:", "    if not others:", "folders of splits are taken for classes"),
        ],
    ),
    *mutations_of(
        "data/scaling.py",
        "data/test_images.py",
        [
            (
                "np.where(share > 0, levels, -np.inf)",
                "np.where(share > 0, levels + 1, -np.inf)",
                "the largest pixel is not 1",
            ),
        ],
    ),
    *mutations_of(
        "data/multimodal.py",
        "data/test_multimodal.py",
        [
            (
                "return scaled.masked_fill(gone, torch.nan), targets",
                "return scaled, targets",
                "what is missing is filled in silence",
            ),
        ],
    ),
    *mutations_of(
        "data/multimodal_inputs.py",
        "data/test_multimodal.py",
        [
            (
                "there = part[~part.isnan().all(1)]",
                "there = part.nan_to_num()",
                "gaps count as zeros in the scaling",
            ),
        ],
    ),
    *mutations_of(
        "data/files.py",
        "data/test_files.py",
        [
            ("begin = reader.line_num + 1", "begin += 1", "lines of a cell are not counted"),
            ("header=blank if", "header=0 if", "a name below blank lines is a cell"),
        ],
    ),
    *mutations_of(
        "data/sequence_inputs.py",
        "data/test_sequences.py",
        [
            ("rows[row, steps - len(each) :]", "rows[row, : len(each)]", "padding comes last"),
            (
                "torch.where(values.isnan(), 0.0, super().forward(values))",
                "torch.where(values.isnan(), 1.0, super().forward(values))",
                "padding is not 0",
            ),
            (
                "there = rows[~rows[..., 0].isnan()]",
                "there = rows.nan_to_num().flatten(0, 1)",
                "scaling is fitted to padding",
            ),
            (
                "if max(lengths) > steps:",
                "if min(lengths) > steps:",
                "longer sequences are cut",
            ),
        ],
    ),
    *mutations_of(
        "data/targets.py",
        "data/test_arrays.py",
        [
            (
                "sorted(set(values.tolist()))",
                "list(dict.fromkeys(values.tolist()))",
                "classes are not in order",
            ),
            (
                "    if (indices < 0).any():",
                "    if (indices < 0).all():",
                "unknown classes are class -1",
            ),
        ],
    ),
    *mutations_of(
        "data/tensors.py",
        "data/test_arrays.py",
        [
            (
                "shape[2] in CHANNELS and min(shape[:2]) > max(CHANNELS)",
                "shape[2] in CHANNELS and min(shape[:2]) < 0",
                "channels last are not told",
            ),
        ],
    ),
]
