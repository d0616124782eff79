"""What is used of Perceval that is not documented."""

import pytest

pcvl = pytest.importorskip("perceval")

from fake_platform import FakeHandler, FakePlatform  # noqa: E402

from hybridlit.internals.perceval import communication_layer  # noqa: E402


def test_a_remote_computer_has_what_it_sends_its_jobs_through():
    layer = FakePlatform(FakeHandler())
    assert communication_layer(pcvl.RemoteComputer(layer)) is layer
