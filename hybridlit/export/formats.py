"""The formats of an exported model: how each is made of a graph, and run to be checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hybridlit.export.perceval_file import circuits_file
from hybridlit.export.program import quiet

__all__ = ["FORMATS", "Format", "FormatName"]

KEY = "hybridlit"
"""Name under which a file holds its own description, as JSON."""


class Format(NamedTuple):
    """A format of files.

    `needs` are packages beside torch that it is made with, of the extra `extra`; `example` is code
    that runs `{path}` on an array `rows`, to an array `outputs`. `make` goes from a graph and a
    description to the bytes of a file, None if it holds no graph, and `run` from these to the
    outputs of raw rows. `of_model` goes from a model and a description to the bytes of a file.
    """

    suffix: str
    words: str
    example: str
    needs: tuple[str, ...] = ()
    make: Callable[[ExportedProgram, str], bytes] | None = None
    run: Callable[[bytes, Tensor], Tensor] | None = None
    extra: str = "export"
    of_model: Callable[[nn.Module, str], bytes] | None = None

    def require(self) -> None:
        """Raise an ImportError with the command if a package is missing."""
        missing = [name for name in self.needs if find_spec(name) is None]
        if missing:
            raise ImportError(
                f"this format needs {', '.join(missing)}: pip install 'hybridlit[{self.extra}]'"
            )


def _make_pt2(program: ExportedProgram, about: str) -> bytes:
    file = BytesIO()
    with quiet():
        torch.export.save(program, file, extra_files={f"{KEY}.json": about})
    return file.getvalue()


def _run_pt2(data: bytes, rows: Tensor) -> Tensor:
    outputs: Tensor = torch.export.load(BytesIO(data)).module()(rows)
    return outputs


def _make_onnx(program: ExportedProgram, about: str) -> bytes:
    names = json.loads(about)
    with quiet():
        made: Any = torch.onnx.export(
            program,
            (),
            dynamo=True,
            verbose=False,
            input_names=[names["input"]["name"]],
            output_names=[names["output"]["name"]],
        )
    made.model.metadata_props[KEY] = about
    data: bytes = made.model_proto.SerializeToString()
    return data


def _run_onnx(data: bytes, rows: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return torch.from_numpy(session.run(None, {given.name: rows.numpy()})[0])


FORMATS: dict[str, Format] = {
    "pt2": Format(
        ".pt2",
        "a graph for torch alone, from Python or C++",
        """import torch
program = torch.export.load({path!r}).module()
outputs = program(torch.from_numpy(rows)).numpy()""",
        make=_make_pt2,
        run=_run_pt2,
    ),
    "onnx": Format(
        ".onnx",
        "a graph for ONNX runtimes, in many languages",
        """import onnxruntime
session = onnxruntime.InferenceSession({path!r})
(outputs,) = session.run(None, {{"rows": rows}})""",
        needs=("onnx", "onnxscript", "onnxruntime"),
        make=_make_onnx,
        run=_run_onnx,
    ),
    "state": Format(
        ".pt",
        "weights, preprocessing and settings without a graph, to rebuild the model from; "
        "hybridlit.load reads it like a checkpoint",
        """import torch
state = torch.load({path!r}, weights_only=True)
print(*state["state_dict"], sep="\\n")""",
    ),
    "perceval": Format(
        ".pcvl",
        "the circuits of the photonic layers as Perceval's experiments, with features as symbols",
        """import json
from perceval.serialization import deserialize
texts = json.load(open({path!r}))["circuits"]
circuits = {{name: deserialize(text) for name, text in texts.items()}}
for name, experiment in circuits.items():
    print(name, experiment.input_state, *experiment.get_circuit_parameters())""",
        needs=("perceval",),
        extra="perceval",
        of_model=circuits_file,
    ),
}
"""Formats by name."""

if TYPE_CHECKING:
    FormatName: TypeAlias = str
else:
    FormatName = Literal[tuple(FORMATS)]
