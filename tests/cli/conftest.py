"""Runs of the command line draw nothing: pictures have tests of their own."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_drawing(blank_pictures):
    pass
