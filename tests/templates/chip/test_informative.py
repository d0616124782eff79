"""Settings that tell most, judged by the exact information about all parameters."""

import pytest
import torch

from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.fitted import Fitted
from hybridlit.templates.chip.informative import most_informative
from hybridlit.templates.chip.linearized import Linearized
from hybridlit.templates.chip.priors import Prior, prior_vectors, priors_of


@pytest.fixture
def twin():
    torch.manual_seed(0)
    model = ChipTwin(3).double()
    with torch.no_grad():
        model.classical_pre.leak.normal_(0, 0.02)
    return model.classical_pre, model.quantum_layer


def rows(count, seed):
    generator = torch.Generator().manual_seed(seed)
    voltages = torch.rand(count, 6, generator=generator, dtype=torch.float64)
    light = torch.eye(3, dtype=torch.float64)[torch.randint(3, (count,), generator=generator)]
    return voltages, light


def information(twin, voltages, light, sigma):
    """Log of the determinant of the whole normal matrix."""
    weights = torch.full((len(voltages), 3), 1 / sigma, dtype=torch.float64)
    linear = Linearized(*twin, voltages, light, weights, torch.float64)
    fitted = Fitted(*twin)
    every = torch.eye(fitted.size, dtype=torch.float64)
    normal = linear.backward(linear.forward(every))
    priors = {**priors_of(*twin), "offset": Prior(0.0, 1.8)}
    return torch.logdet(normal + torch.diag(prior_vectors(fitted, priors)[1])).item()


@pytest.mark.parametrize("measured", [4, 40])
def test_what_is_chosen_tells_more_than_what_is_drawn(twin, measured):
    voltages, light = rows(measured, 1)
    others, lit = rows(200, 2)
    chosen = most_informative(
        *twin, voltages, light, others, lit, 8, sigma=0.01,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert len({*chosen.tolist()}) == 8

    def after(picked):
        both = torch.cat([voltages, others[picked]]), torch.cat([light, lit[picked]])
        return information(twin, *both, 0.01)

    drawn = [after(torch.randperm(200)[:8]) for _ in range(50)]
    assert after(chosen) > max(drawn)


@pytest.mark.slow
def test_the_first_choice_is_nearly_the_best_of_all(twin):
    voltages, light = rows(30, 1)
    others, lit = rows(60, 2)
    before = information(twin, voltages, light, 0.01)
    gains = torch.tensor(
        [
            information(
                twin, torch.cat([voltages, others[k : k + 1]]), torch.cat([light, lit[k : k + 1]]),
                0.01,
            )
            - before
            for k in range(60)
        ]
    )  # fmt: skip
    (first,) = most_informative(
        *twin, voltages, light, others, lit, 1, sigma=0.01, samples=1000,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert gains[first] > 0.95 * gains.max()


def test_wrong_numbers_are_refused(twin):
    voltages, light = rows(3, 1)
    with pytest.raises(ValueError, match="count must be"):
        most_informative(*twin, voltages, light, voltages, light, 4)
