import subprocess
import sys

import kill_and_resume
import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(kill_and_resume.os, "fork"), reason="needs os.fork")
def test_a_killed_run_goes_on_as_if_nothing_had_happened():
    # in a process of its own, since only one without threads can fork safely
    command = [sys.executable, kill_and_resume.__file__, "--kills", "8", "--seed", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "8 kills" in run.stdout and "equal to the uninterrupted run bit for bit" in run.stdout


def test_the_comparison_sees_a_single_bit():
    one = {"a": [kill_and_resume.torch.zeros(3)], "b": (1.0, "x")}
    other = {"a": [kill_and_resume.torch.tensor([0.0, -0.0, 0.0])], "b": (1.0, "x")}
    assert kill_and_resume.differences(one, one) == []
    assert kill_and_resume.differences(one, other) == ["/a/0"]
    assert kill_and_resume.differences(one, one | {"b": (1.5, "x")}) == ["/b/0: 1.0 and 1.5"]
    assert kill_and_resume.differences(one, {"a": one["a"]}) == ["/b: in one only"]
