"""Random lists of components, and what they do by a brute-force product of matrices.

Nothing of the package's arithmetic is used: matrices are written from the definitions, one after
the other on all modes.
"""

import cmath
import math

import numpy as np
from permanents import haar

from hybridlit import (
    BeamSplitter,
    Circuit,
    Data,
    Fixed,
    FixedUnitary,
    Interferometer,
    Permutation,
    PhaseShifter,
    Trainable,
)

NAMES = ("alpha", "beta", "gamma")


def pick(draw, options):
    return options[draw.integers(len(options))]


def random_angle(draw, features, data=0.3):
    """Return a number, a trainable angle, with or without a name, or one that data turn."""
    kind = draw.random()
    offset = pick(draw, [0.0, 0.0, draw.normal()])
    if features and kind < data:
        if draw.random() < 0.3:
            weights = {int(f): draw.normal() for f in draw.integers(features, size=2)}
            return Data(weights, scale=draw.normal(), offset=offset)
        scale = pick(draw, [1.0, math.pi, -0.7])
        return Data(int(draw.integers(features)), scale=scale, offset=offset)
    if kind < 0.6:
        return pick(draw, [draw.normal(), Fixed(draw.normal()), 0.0, math.pi])
    name = pick(draw, [None, None, *NAMES])
    return Trainable(name, scale=pick(draw, [1.0, 1.0, -0.5, 2.0]), offset=offset)


def random_component(draw, modes, features, depth):
    """Return a component and the modes that it goes on, neighbours or not, in any order."""
    kind = draw.integers(7 if depth else 6)
    if kind == 0:
        return PhaseShifter(random_angle(draw, features, data=0.5)), [int(draw.integers(modes))]
    if kind in (1, 2):
        corners = {
            name: random_angle(draw, features)
            for name in ("phi_tl", "phi_bl", "phi_tr", "phi_br")
            if draw.random() < 0.3
        }
        made = BeamSplitter(
            random_angle(draw, features), pick(draw, ["rx", "ry", "h", "Rx"]), **corners
        )
        width = 2
    elif kind == 3:
        width = int(draw.integers(1, modes + 1))
        made = Permutation(draw.permutation(width).tolist())
    elif kind == 4:
        width = int(draw.integers(1, modes + 1))
        made = FixedUnitary(haar(width, draw))
    elif kind == 5:
        width = int(draw.integers(2, min(modes, 5) + 1))
        cells = width * (width - 1) // 2
        options = {"shape": pick(draw, ["rectangular", "triangular"])}
        options["phases"] = pick(draw, ["output", "input"])
        way = draw.random()
        if way < 0.3:
            options["mask"] = draw.random((cells, 2)) < 0.5
            options["angles"] = draw.normal(size=(cells, 2)).tolist()
        elif way < 0.6:
            options["angles"] = [
                [random_angle(draw, features) for _ in range(2)] for _ in range(cells)
            ]
        if draw.random() < 0.3:
            options["splitters"] = [
                [random_angle(draw, features) for _ in range(2)] for _ in range(cells)
            ]
        made = Interferometer(pick(draw, [None, width]), **options)
    else:
        width = int(draw.integers(2, modes + 1))
        made = random_circuit(draw, width, features, length=3, depth=depth - 1)
    return made, draw.permutation(modes)[:width].tolist()


def random_circuit(draw, modes, features, length=None, depth=2):
    """Return a random circuit, of 3 to 12 components unless a length is given."""
    circuit = Circuit(modes)
    for _ in range(int(draw.integers(3, 13)) if length is None else length):
        circuit.add(*random_component(draw, modes, features, depth))
    return circuit


class BruteForce:
    """The unitary of a circuit for numbers of its parameters, in order of first use, and features.

    Args:
        circuit: The circuit.
        parameters: Shape (parameters,).
        x: Features of one sample.
    """

    def __init__(self, circuit, parameters, x=()):
        self.parameters, self.x = parameters, x
        self.numbers = {}
        self.unitary = np.eye(circuit.n_modes, dtype=complex)
        self._pass(circuit, range(circuit.n_modes), ())

    def _angle(self, angle, key):
        if isinstance(angle, str):
            angle = Trainable(angle)
        if isinstance(angle, (int, float)):
            return angle
        if isinstance(angle, Fixed):
            return angle.value
        if isinstance(angle, Data):
            terms = {angle.feature: 1.0} if isinstance(angle.feature, int) else dict(angle.feature)
            return angle.scale * sum(w * self.x[f] for f, w in terms.items()) + angle.offset
        number = self.numbers.setdefault(angle.name or key, len(self.numbers))
        return angle.scale * self.parameters[number] + angle.offset

    def _multiply(self, matrix, modes):
        whole = np.eye(len(self.unitary), dtype=complex)
        whole[np.ix_(modes, modes)] = matrix
        self.unitary = whole @ self.unitary

    def _pass(self, circuit, places, key):
        for number, (component, modes) in enumerate(circuit.placed):
            modes, at = [places[mode] for mode in modes], (*key, number)
            if isinstance(component, Circuit):
                self._pass(component, modes, at)
            elif isinstance(component, PhaseShifter):
                self._multiply([[cmath.exp(1j * self._angle(component.phi, at))]], modes)
            elif isinstance(component, BeamSplitter):
                self._splitter(component, modes, at)
            elif isinstance(component, Permutation):
                matrix = np.zeros((len(modes), len(modes)))
                for entrance, way_out in enumerate(component.permutation):
                    matrix[way_out, entrance] = 1
                self._multiply(matrix, modes)
            elif isinstance(component, FixedUnitary):
                self._multiply(np.array(component.matrix), modes)
            else:
                self._mesh(component, modes, at)

    def _splitter(self, component, modes, at):
        tl, bl = (self._angle(getattr(component, f"phi_{c}"), (*at, c)) for c in ("tl", "bl"))
        theta = self._angle(component.theta, (*at, "theta"))
        tr, br = (self._angle(getattr(component, f"phi_{c}"), (*at, c)) for c in ("tr", "br"))
        c, s = math.cos(theta / 2), math.sin(theta / 2)
        inner = {"rx": [[c, 1j * s], [1j * s, c]], "ry": [[c, -s], [s, c]], "h": [[c, s], [s, -c]]}
        before, behind = np.diag(np.exp([1j * tl, 1j * bl])), np.diag(np.exp([1j * tr, 1j * br]))
        self._multiply(behind @ np.array(inner[component.convention]) @ before, modes)

    def _mesh(self, mesh, modes, at):
        size = len(modes)
        if mesh.shape == "rectangular":
            places = [(c, j) for c in range(size) for j in range(size - 1) if (c - j) % 2 == 0]
        else:
            places = [
                (c, j)
                for c in range(2 * size - 3)
                for j in range(size - 1)
                if (c - j) % 2 == 0 and j <= c <= 2 * (size - 2) - j
            ]
        cells = len(places)

        def table(given, usual):
            given = usual if given is None else given
            one = isinstance(given, (int, float, str, Fixed, Trainable, Data))
            return [[given] * 2] * cells if one else given

        angles, splitters = table(mesh.angles, Trainable()), table(mesh.splitters, math.pi / 2)
        for cell, (_, upper) in enumerate(places):
            pair = modes[upper : upper + 2]
            if mesh.phases == "input":
                self._shift(angles[cell][1], pair[:1], (*at, cell, "b"))
            self._rx(splitters[cell][0], pair, (*at, cell, "first"))
            self._shift(angles[cell][0], pair[:1], (*at, cell, "a"))
            self._rx(splitters[cell][1], pair, (*at, cell, "second"))
            if mesh.phases == "output":
                self._shift(angles[cell][1], pair[:1], (*at, cell, "b"))

    def _shift(self, angle, modes, key):
        self._multiply([[cmath.exp(1j * self._angle(angle, key))]], modes)

    def _rx(self, angle, modes, key):
        theta = self._angle(angle, key)
        c, s = math.cos(theta / 2), math.sin(theta / 2)
        self._multiply([[c, 1j * s], [1j * s, c]], modes)


def brute_force(circuit, parameters, x=()):
    """Return the unitary of a circuit."""
    return BruteForce(circuit, parameters, x).unitary
