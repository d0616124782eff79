"""Mutations of recipes in Python, and of what calls functions in several processes."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "workers.py",
        "test_workers.py",
        [
            (
                "torch.set_default_dtype(dtype)",
                "pass",
                "another process computes in another precision",
                "::test_the_same_numbers_in_one_process_and_in_two",
            ),
            (
                "raise answer.error from _InWorker(answer.trace)",
                "raise answer.error",
                "where an error comes from is not told",
                "::test_an_error_is_raised_here_with_its_traceback",
            ),
        ],
    ),
    *mutations_of(
        "recipe/comparison.py",
        "recipe/test_comparison.py",
        [
            (
                "return data if same else partial(build_data, settings)",
                "return partial(build_data, settings)",
                "intervals are said to cover splits where there is one",
                "::test_test_rows_of_their_own_are_the_same_for_every_seed",
            ),
            (
                "trainer_options=options",
                'trainer_options={"accelerator": "cpu"}',
                "callbacks of the recipe do not train its arms",
                "::test_callbacks_of_the_recipe_are_those_of_every_arm",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/runs.py",
        "analysis/test_ablation.py",
        [
            (
                "seeded(seed)  # for a split",
                "pass  # for a split",
                "arms that share one split are tested on different rows",
                "::test_a_split_without_a_seed_is_the_same_for_every_run",
            ),
        ],
    ),
    *mutations_of(
        "search/finals.py",
        "search/test_finals.py",
        [
            (
                "seed if given is None else given",
                "seed",
                "a final tests on rows that trials were trained on",
                "::test_whether_test_rows_are_those_of_the_trials_is_seen_and_not_supposed",
            ),
        ],
    ),
    *mutations_of(
        "search/conclusion.py",
        "search/test_conclusion.py",
        [
            (
                "decided or rivals",
                "rivals",
                "a lucky baseline hides one that surely does as well",
                "::test_a_hybrid_that_a_baseline_matches_has_not_won",
            ),
        ],
    ),
]
