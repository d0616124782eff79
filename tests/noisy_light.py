"""Light of noisy sources by brute force: every history of every photon, one after the other.

Written from the definitions, with permanents, and sharing nothing with the package but `fixed`,
which makes the layer that it is compared with.
"""

import itertools
import math
from collections import defaultdict

import numpy as np
import torch
from permanents import all_states, amplitude, haar, modes_of

import hybridlit as ML


def chance_of_two(brightness, g2):
    """The smaller p2 of g2 = 2 p2 / (p1 + 2 p2)^2 with p1 + p2 = brightness."""
    if not (g2 and brightness):
        return 0.0
    roots = np.roots([g2, 2 * g2 * brightness - 2, g2 * brightness**2])
    return min(roots.real)


def emissions(noise):
    """[(probability, alike photons, photons unlike all others)] of one photon asked for."""
    brightness = noise.get("brightness", 1.0)
    good = math.sqrt(noise.get("indistinguishability", 1.0))
    two = chance_of_two(brightness, noise.get("g2", 0.0))
    second = (0, 1) if noise.get("g2_distinguishable", True) else (1, 0)
    return [
        (1 - brightness, 0, 0),
        ((brightness - two) * good, 1, 0),
        ((brightness - two) * (1 - good), 0, 1),
        (two * good, 1 + second[0], second[1]),
        (two * (1 - good), second[0], 1 + second[1]),
    ]


def behind(unitary, alike, unlike):
    """Probabilities of states by occupation, for the input modes of photons of both kinds."""
    modes = len(unitary)
    occupation = [alike.count(mode) for mode in range(modes)]
    found = {
        state: abs(amplitude(unitary, occupation, state)) ** 2
        for state in all_states(modes, len(alike))
    }
    for mode in unlike:
        more = defaultdict(float)
        for state, chance in found.items():
            for place in range(modes):
                added = tuple(n + (place == k) for k, n in enumerate(state))
                more[added] += chance * abs(unitary[place][mode]) ** 2
        found = more
    return found


def light(unitary, state, noise):
    """Probabilities of what arrives at the detectors, by occupation."""
    sources, kinds = modes_of(state), defaultdict(float)
    for history in itertools.product(emissions(noise), repeat=len(sources)):
        chance = math.prod(each[0] for each in history)
        alike = tuple(m for m, each in zip(sources, history, strict=True) for _ in range(each[1]))
        unlike = tuple(m for m, each in zip(sources, history, strict=True) for _ in range(each[2]))
        kinds[alike, unlike] += chance
    total = defaultdict(float)
    for (alike, unlike), chance in kinds.items():
        if chance:
            for left, part in behind(unitary, alike, unlike).items():
                total[left] += chance * part
    return lossy(total, noise.get("transmittance", 1.0))


def lossy(light, transmittance):
    """Each photon of each mode arrives or does not."""
    arrived = defaultdict(float)
    for state, chance in light.items():
        by_mode = np.broadcast_to(transmittance, len(state))
        for kept in itertools.product(*(range(n + 1) for n in state)):
            ways = math.prod(
                math.comb(n, k) * t**k * (1 - t) ** (n - k)
                for n, k, t in zip(state, kept, by_mode, strict=True)
            )
            arrived[kept] += chance * ways
    return arrived


def clicks(photons, detector):
    """Probabilities of what one detector shows, by every way of photons into its wires."""
    if detector == "pnr":
        return {photons: 1.0}
    wires = 1 if detector == "threshold" else int(detector.removeprefix("ppnr:"))
    shown = defaultdict(float)
    for ways in itertools.product(range(wires), repeat=photons):
        shown[len(set(ways))] += wires**-photons
    return shown


def seen(light, detectors):
    """What detectors show of light, by outcome."""
    total = defaultdict(float)
    for state, chance in light.items():
        each = [clicks(n, name).items() for n, name in zip(state, detectors, strict=True)]
        for shown in itertools.product(*each):
            total[tuple(c for c, _ in shown)] += chance * math.prod(p for _, p in shown)
    return total


def kept(shown, keep):
    """Probabilities given that an outcome is kept, and the chance of that."""
    found = {outcome: chance for outcome, chance in shown.items() if keep(outcome)}
    whole = sum(found.values())
    return {outcome: chance / whole for outcome, chance in found.items()}, whole


def truth(unitary, state, noise=None, detectors=None, least=0, unbunched=False, rule=None):
    """Conditional probabilities by outcome, and the success probability."""
    noise, modes = noise or {}, len(state)
    names = [detectors or "pnr"] * modes if not isinstance(detectors, list) else detectors
    shown = seen(light(unitary, state, noise), names)

    def keep(outcome):
        few = not unbunched or max(outcome) <= 1
        return few and sum(outcome) >= least and (rule is None or rule(outcome))

    return kept(shown, keep)


def in_order(found, outcomes):
    """The same as an array in the order of outcomes, which must be all that can be."""
    rest = dict(found)
    values = np.array([rest.pop(tuple(outcome), 0.0) for outcome in outcomes])
    assert not any(rest.values()), rest
    return values


def unitary_of(seed, modes):
    return haar(modes, np.random.default_rng(seed))


def fixed(unitary, state, strategy="none", output_size=None, **others):
    """A layer of a given unitary, without data."""
    circuit = ML.Circuit(len(state)).add(ML.FixedUnitary(unitary))
    experiment = ML.Experiment(circuit=circuit, input_state=state, **others)
    return ML.QuantumLayer(
        0,
        output_size,
        experiment=experiment,
        output_mapping_strategy=strategy,
        dtype=torch.float64,
    )
