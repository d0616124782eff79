"""Write a backbone that knows the digits 0 to 4 of MNIST, and images of the digits 5 to 9.

`python recipes/images/make_mnist.py` trains `small_cnn` on 2,500 images and writes its weights and
the images of the other digits, a folder each, beside itself, where git ignores them:
`mnist_0_to_4.pt` and `mnist_5_to_9/`. It says what a logistic regression makes of 10 of each.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn

from hybridlit import MnistDataModule

small_cnn = runpy.run_path(str(Path(__file__).parents[1] / "small_cnn.py"))["small_cnn"]


def main(folder: Path = Path(__file__).parent, count: int = 2500, epochs: int = 8) -> None:
    """Write `count` images, and a backbone that is trained on as many others."""
    pixels, digits = MnistDataModule(val_fraction=0.0, test_fraction=0.0).train
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    pixels, digits = pixels[order], digits[order]
    x, y = pixels[digits < 5][:count], digits[digits < 5][:count]
    torch.manual_seed(0)
    backbone, head = small_cnn(), nn.Linear(288, 5)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.003, weight_decay=0.05)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(head(backbone(x[rows])), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(backbone.state_dict(), folder / "mnist_0_to_4.pt")
    x, y = pixels[digits >= 5][:count], digits[digits >= 5][:count]
    for number, (image, digit) in enumerate(zip(x, y, strict=True)):
        path = folder / "mnist_5_to_9" / str(int(digit)) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy()).save(path)
    print(f"weights and {len(x)} images in {folder}")
    with torch.no_grad():
        features = {"pixels": x.flatten(1), "features": backbone.eval()(x)}
    for name, values in features.items():
        found = [linear(values, y, seed) for seed in range(5)]
        spread = f"{min(found):.3f} to {max(found):.3f}"
        print(f"logistic regression of {name}: {sum(found) / 5:.3f} ({spread})")


def linear(values: torch.Tensor, digits: torch.Tensor, seed: int) -> float:
    """Fit 10 rows of each digit, and score the others."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    few = torch.cat([order[digits[order] == digit][:10] for digit in range(5, 10)])
    others = torch.ones(len(digits), dtype=torch.bool).index_fill(0, few, False)
    machine = LogisticRegression(max_iter=2000).fit(values[few].numpy(), digits[few].numpy())
    return float(machine.score(values[others].numpy(), digits[others].numpy()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
