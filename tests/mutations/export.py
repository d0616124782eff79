"""Mutations of exported models: whoever gets such a file has nothing to compare it with."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "export/slots.py",
        "export/test_real_circuit.py::test_probabilities_are_those_of_permanents",
        [
            (
                "np.sqrt((lower.states[before, mode] + 1) / share)",
                "np.sqrt(lower.states[before, mode] + 1)",
                "photons of one input mode are counted twice",
            ),
        ],
    ),
    *mutations_of(
        "export/real_circuit.py",
        "export/test_real_circuit.py",
        [
            (
                "torch.float64 if outcomes.selected else self.stored",
                "self.stored",
                "rare outcomes are rounding errors",
                "::test_outcomes_too_rare_for_float32_are_computed_as_the_layer_does",
            ),
            (
                "mass.masked_fill(mass <= self.least, math.nan)",
                "mass",
                "outcomes that never happen have probabilities",
                "::test_outcomes_too_rare_for_float64_are_nan_in_their_row_alone",
            ),
        ],
    ),
    *mutations_of(
        "export/handover.py",
        "export/test_export_model.py",
        [
            (
                "if excess > 1:",
                "if excess > 1e9:",
                "a file that predicts otherwise is kept",
                "::test_a_subclass_of_a_layer_that_computes_something_else",
            ),
        ],
    ),
    *mutations_of(
        "export/raw.py",
        "export/test_export_model.py::test_examples_run_as_they_stand",
        [
            ('about["unknown"] = -1', 'about["unknown"] = 0', "unknown categories are the first"),
        ],
    ),
]
