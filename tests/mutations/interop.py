"""Mutations of what goes to Perceval and comes from it: a wrong circuit looks like any other."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "interop/symbols.py",
        "interop/test_perceval_circuits.py",
        [
            (
                '(1, int(p), "") if p.isdigit() else (0, 0, p)',
                "(0, 0, p)",
                "features are taken one for another: x10 before x2",
                "::test_features_are_in_the_natural_order_of_names_prefix_by_prefix",
            ),
            (
                "max((p for p in given if name.startswith(p)), key=len",
                "min((p for p in given if name.startswith(p)), key=len",
                "a whole name among the beginnings does not count",
                "::test_features_are_in_the_natural_order_of_names_prefix_by_prefix",
            ),
            (
                "if len(forms) == 1 and min(forms)[1:] == (1, 0, 1)",
                "if min(forms)[1:] == (1, 0, 1)",
                "turns are taken off a value that another angle needs",
                "::test_one_symbol_in_angles_of_several_periods_is_kept_whole",
            ),
            (
                "if idle and given != usual and None in belongs.values():",
                "if False:",
                "a slip makes trainable angles constants",
                "::test_prefixes_that_mean_nothing_are_refused",
            ),
            (
                "formula = formula.subs(symbols.pop(variable.name), float(variable))",
                "formula = formula.subs(symbols.pop(variable.name), 0.0)",
                "symbols with a value are 0 in expressions",
                "::test_values_are_where_training_begins_or_stay",
            ),
        ],
    ),
    *mutations_of(
        "interop/circuits_in.py",
        "interop/test_perceval_circuits.py::test_sums_of_symbols_in_one_splitter_are_several",
        [
            (
                'rotation = "ry" if convention == "h" else convention',
                "rotation = convention",
                "a sum of angles in a reflection is a product of reflections",
            ),
        ],
    ),
    *mutations_of(
        "interop/circuits_out.py",
        "interop/test_perceval_circuits.py::test_random_components_are_perceval_s",
        [
            (
                "there = np.argsort([*within, *others]).tolist()",
                "there = [*within, *others]",
                "components stand on other modes",
            ),
            (
                'if mesh.phases == "input":',
                "if False:",
                "phases at the input of cells are lost",
            ),
        ],
    ),
    *mutations_of(
        "interop/layers.py",
        "interop/test_perceval_circuits.py",
        [
            (
                "scale=next(self._factors)",
                "scale=1.0",
                "bandwidths are forgotten",
                "::test_every_circuit_type_goes_there_and_back",
            ),
            (
                "scale=tuned[mode]",
                "scale=1.0",
                "bandwidths of circuits of components are forgotten",
                "::test_bandwidths_of_components_are_numbers",
            ),
            (
                "constant |= {key for key, stays in zip(values, frozen, strict=True) if stays}",
                "pass",
                "frozen interferometers are trained after a way there and back",
                "::test_what_is_not_trained_is_a_number",
            ),
            (
                "-last)",
                "last)",
                "phases behind given interferometers are turned the wrong way",
                "::test_what_is_not_trained_is_a_number",
            ),
        ],
    ),
    *mutations_of(
        "interop/experiments.py",
        "interop/test_perceval_experiments.py",
        [
            (
                "int(given.min_photons_filter) + heralded, _most",
                "int(given.min_photons_filter), _most",
                "detectors are taken to lose photons that are heralded",
                "::test_photons_that_are_heralded_count_among_those_asked_for",
            ),
            (
                "pcvl.PostSelect(text) != rule",
                "False",
                "another rule selects than the one given",
                "::test_what_is_not_simulated_is_refused_by_name",
            ),
            (
                "least = experiment.n_photons",
                "least = 0",
                "outcomes of fewer clicks than photons are kept there",
                "::test_perceval_answers_as_the_layer",
            ),
        ],
    ),
]
