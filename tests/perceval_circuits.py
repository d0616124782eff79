"""Random circuits, made of this package's components and of Perceval's, and Perceval's answers."""

import numpy as np

import hybridlit as ML

KINDS = ("shifter", "splitter", "permutation", "unitary", "mesh", "nested")


def random_unitary(random, modes):
    matrix = random.normal(size=(modes, modes)) + 1j * random.normal(size=(modes, modes))
    return np.linalg.qr(matrix)[0]


def random_angle(random, features):
    """Any kind, the numbers of fixed ones within a turn, as Perceval keeps them."""
    kind = random.integers(6)
    if kind == 0:
        return ML.Fixed(random.uniform(0, 6))
    if kind == 1:
        return ML.Trainable(f"theta{random.integers(3)}")
    if kind == 2:
        return ML.Trainable(scale=random.uniform(-2, 2), offset=random.uniform(-5, 5))
    if kind == 3:
        return ML.Data(int(random.integers(features)))
    if kind == 4:
        number, scale = int(random.integers(features)), random.uniform(0.2, 2)
        return ML.Data(number, scale, random.uniform(-5, 5))
    return ML.Data(random.uniform(-2, 2, features), scale=random.uniform(0.2, 2))


def random_circuit(random, modes, features, length, kinds=KINDS):
    circuit = ML.Circuit(modes)
    for _ in range(length):
        kind = str(random.choice(kinds))
        width = (
            1 if kind == "shifter" else 2 if kind == "splitter" else random.integers(2, modes + 1)
        )
        places = random.permutation(modes)[:width].tolist()
        if random.integers(2):
            places = (np.arange(width) + random.integers(modes - width + 1)).tolist()
        circuit.add(random_component(random, kind, len(places), features), places)
    return circuit


def random_component(random, kind, width, features):
    def angle():
        return random_angle(random, features)

    if kind == "shifter":
        return ML.PhaseShifter(angle())
    if kind == "splitter":
        corners = ("phi_tl", "phi_bl", "phi_tr", "phi_br")
        chosen = {name: angle() for name in corners if random.integers(2)}
        return ML.BeamSplitter(angle(), str(random.choice(["rx", "ry", "h"])), **chosen)
    if kind == "permutation":
        return ML.Permutation(random.permutation(width).tolist())
    if kind == "unitary":
        return ML.FixedUnitary(random_unitary(random, width))
    if kind == "nested":
        return random_circuit(random, width, features, 3, KINDS[:-2])
    cells = width * (width - 1) // 2
    shape = str(random.choice(["rectangular", "triangular"]))
    side = str(random.choice(["output", "input"]))
    given = [{}, {"angles": [[angle(), angle()] for _ in range(cells)]}]
    given.append({"splitters": [[angle(), angle()] for _ in range(cells)]})
    given.append(
        {
            "mask": random.integers(2, size=(cells, 2)) > 0,
            "angles": random.uniform(0, 6, (cells, 2)),
        }
    )
    return ML.Interferometer(width, shape, side, **given[random.integers(len(given))])


def between(random, circuit):
    """The circuit between interferometers, so that all of it matters."""
    modes = circuit.n_modes
    whole = ML.Circuit(modes).add(ML.FixedUnitary(random_unitary(random, modes)))
    whole.add(circuit)
    return whole.add(ML.Interferometer(phases="input"))


def random_expression(random, symbols):
    """A linear function of one or several of Perceval's parameters, or a number."""
    import perceval as pcvl

    kind = random.integers(5)
    first, second = (symbols[i] for i in random.permutation(len(symbols))[:2])
    if kind == 0:
        return float(random.uniform(-10, 10))
    if kind == 1:
        return first
    if kind == 2:
        return first * float(random.uniform(-2, 2)) + 0.5
    if kind == 3:
        return first * -1.0 + float(random.uniform(0, 1))  # a name of its own
    name = f"{first.name}/3 - {random.uniform(-2, 2)}*{second.name} + pi/7"
    return pcvl.Expression(name, {first, second})


def random_perceval_circuit(random, modes, symbols, length):
    import perceval as pcvl

    circuit = pcvl.Circuit(modes)
    for _ in range(length):
        kind = random.integers(6)
        width = 1 if kind == 0 else 2 if kind == 1 else int(random.integers(2, modes + 1))
        first = int(random.integers(modes - width + 1))
        angles = [random_expression(random, symbols) for _ in range(5)]
        if kind == 0:
            found = pcvl.PS(angles[0])
        elif kind == 1:
            convention = list(pcvl.BSConvention)[random.integers(3)]
            found = pcvl.BS(*angles, convention=convention)
        elif kind == 2:
            found = pcvl.PERM(random.permutation(width).tolist())
        elif kind == 3:
            found = pcvl.Unitary(pcvl.Matrix(random_unitary(random, width)))
        elif kind == 4:
            found = pcvl.Barrier(width)
        else:
            found = random_perceval_circuit(random, width, symbols, 2)
        circuit.add(first, found, merge=bool(random.integers(2)))
    return circuit


def perceval_probabilities(unitary, occupation, space):
    """By its own simulator, in the order of the outcomes, renormalised; and what was kept."""
    import perceval as pcvl

    backend = pcvl.SLOSBackend()
    backend.set_circuit(pcvl.Unitary(pcvl.Matrix(unitary)))
    backend.set_input_state(pcvl.BasicState(list(occupation)))
    found = np.array([backend.probability(pcvl.BasicState(list(state))) for state in space])
    return found / found.sum(), found.sum()


def assign(circuit, values):
    for parameter in circuit.get_parameters():
        parameter.set_value(values[parameter.name])


def run(experiment, space):
    """Perceval's own answer: probabilities of outcomes in our order, and what was kept."""
    import perceval as pcvl

    answer = pcvl.SimulatedComputer("SLOS").probs(experiment, precision=1e-15)
    heralds, found = experiment.heralds, {}
    for state, probability in answer["results"].items():
        rest = iter(state)
        whole = [heralds[m] if m in heralds else next(rest) for m in range(experiment.circuit_size)]
        found[tuple(whole)] = probability
    kept = np.array([found.pop(tuple(state), 0.0) for state in space])
    assert not found  # every outcome of Perceval's is one of ours
    return kept, answer["global_perf"]
