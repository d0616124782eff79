"""The examples of what needs Perceval, which the doctests of the package skip."""

import doctest
import importlib

import pytest

pytest.importorskip("perceval", reason="the extra perceval has it")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["perceval", "processors.evaluation", "processors.hardware"])
def test_examples_run_beside_perceval(module):
    tests = doctest.DocTestFinder().find(importlib.import_module(f"hybridlit.interop.{module}"))
    skipped = [
        example.options.pop(doctest.SKIP)
        for test in tests
        for example in test.examples
        if doctest.SKIP in example.options
    ]
    assert skipped
    for test in tests:
        failed, _ = doctest.DocTestRunner().run(test)
        assert failed == 0
