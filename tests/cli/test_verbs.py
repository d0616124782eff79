"""Every verb is listed at once, and none is guessed."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hybridlit
from hybridlit.cli import VERBS, main

HEAVY = ("torch", "lightning", "numpy", "jsonargparse", "yaml")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], [], ["--version"], ["fiit"]])
def test_nothing_heavy_is_imported_for_help(words):
    code = (
        "import sys; from hybridlit.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        f"assert not set({HEAVY}) & set(sys.modules), sorted(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("words", [["--help"], ["help"], []])
def test_help_lists_every_verb_with_a_line(words, capsys):
    main(words)
    lines = capsys.readouterr().out.splitlines()
    for name, verb in VERBS.items():
        assert any(line.split()[:1] == [name] and line.endswith(verb.line) for line in lines)
        assert len(verb.line) < 80 and not verb.line.endswith(".")


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"hybridlit {hybridlit.__version__}\n"


@pytest.mark.parametrize("verb", [name for name in VERBS if not VERBS[name].lightning])
def test_a_verb_is_a_module_with_a_function_of_its_name(verb):
    name = verb.replace("-", "_")
    function = getattr(importlib.import_module(f"hybridlit.cli.{name}"), name)
    assert inspect.getdoc(function).partition("\n")[0].endswith(".")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("help_first", [False, True])
def test_every_verb_has_help(verb, help_first, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["help", verb] if help_first else [verb, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: hybridlit") and "Traceback" not in shown


def test_an_unknown_verb_is_told_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["analyse", "--ckpt", "x"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no verb 'analyse' (did you mean 'analyze'?)" in said


def test_an_option_that_lightning_does_not_know_belongs_to_the_verb_here(capsys):
    for words in (["--help"], ["--inptu=rows.csv"]):
        with pytest.raises(SystemExit):
            main(["predict", *words])
    shown = capsys.readouterr()
    assert "--input" in shown.out and "--trainer" not in shown.out
    assert "there is no option --inptu (did you mean '--input'?)" in shown.err


@pytest.mark.slow
def test_a_fit_imports_no_package_that_it_does_not_need(tmp_path):
    """Each of these takes a second or more to import, and a step of a recipe half a second."""
    heavy = ["numba", "onnx", "onnxruntime", "optuna", "perceval", "sympy"]
    heavy += ["matplotlib.pyplot", "torch._dynamo", "torch._inductor", "torch.onnx"]
    recipe = Path(__file__).parents[2] / "recipes" / "iris_sequential.yaml"
    code = f"""
import sys
import lightning.pytorch
before = set(sys.modules)
from hybridlit.cli import main
main(["fit", "--config={recipe}", "--trainer.max_steps=1"])
print("too much:", [name for name in {heavy} if name in sys.modules and name not in before])
"""
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "too much: []"
