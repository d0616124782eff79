"""Faults of the data modules."""

from mutations import mutations_of

__all__ = ["MUTATIONS"]

MUTATIONS = [
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
            ("255 - (counts[::-1] > 0)", "256 - (counts[::-1] > 0)", "the largest pixel is not 1"),
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
            ("stratify=True", "stratify=False", "classes lose their shares"),
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
