"""`hybridlit run-on`: predictions whose circuits run on a processor."""

from __future__ import annotations

import sys
from pathlib import Path

from hybridlit.cli.checkpoints import checkpoint_path, folder_for
from hybridlit.cli.loading import load_model
from hybridlit.cli.predict import scores_in_words
from hybridlit.interop.processors import on_processor
from hybridlit.templates.predictions.predicting import labelled, predicted, read_labelled
from hybridlit.templates.predictions.table import WRITERS
from hybridlit.words import plural

__all__ = ["run_on"]


def run_on(
    ckpt: str,
    input: str,
    processor: str = "SLOS",
    shots: int | None = None,
    output: str | None = None,
    folder: str | None = None,
    max_shots: int | None = None,
    rows_per_job: int = 100,
    retries: int = 5,
    batch_size: int = 1024,
    template: str | None = None,
    estimate: bool = False,
) -> list[Path]:
    """Predict rows of a file with the photonic layers of a model run on a processor.

    The token of a platform is that of Perceval: the environment variable PCVL_CLOUD_TOKEN, or its
    configuration. Whatever ends the command, the same again sends no row twice.

    Args:
        ckpt: Checkpoint: a file, last or best.
        input: Rows as the training had them: a table, a folder of images, an array (.npy),
            sequences (.npz).
        processor: A local simulator such as SLOS, or a platform such as sim:slos or qpu:belenos.
        shots: Kept events of each row and circuit. Without it exact probabilities, of local
            simulators.
        output: Table to write, .csv, .tsv, .parquet or .npz. Without it, one named after the
            processor in the folder of the run.
        folder: Where results are kept as they come. Without it, one named after the processor in
            the folder of the run.
        max_shots: The most that a remote processor spends on a row and circuit, kept or not.
            Without it twice what Perceval estimates.
        rows_per_job: Rows of a job, at least 1.
        retries: How often a call is tried again where the connection fails.
        batch_size: Rows that the rest of the model computes at once, at least 1.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.
        estimate: Say what it would take, and send nothing.

    Returns:
        The counts of each outcome of each photonic layer.
    """
    checkpoint = checkpoint_path(ckpt)
    name = f"on-{processor.replace(':', '-')}"
    path = folder_for(checkpoint) / f"{name}.csv" if output is None else Path(output)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"output must end in one of {', '.join(WRITERS)}, got {path.name!r}")
    if path.exists() and Path(input).exists() and path.samefile(input):
        raise ValueError(f"output must be another file than input, got {path} for both")
    model = load_model(checkpoint, template)
    if model.preprocessing is None:
        raise ValueError(
            f"{ckpt} does not hold how its rows were prepared, since it was trained on other data "
            "than those of hybridlit: prepare rows as then, and call "
            "hybridlit.interop.perceval.evaluate in Python"
        )
    kept = folder_for(checkpoint) / name if folder is None else Path(folder)
    handle = on_processor(
        model, processor, shots, folder=kept, rows_per_job=rows_per_job, max_shots=max_shots,
        retries=retries,
    )  # fmt: skip
    raw, targets = read_labelled(model, input)
    print(handle.estimate(lambda: predicted(model, raw, batch_size)), file=sys.stderr)
    if estimate:
        return []
    predictions = predicted(model, raw, batch_size, handle.measured)
    written = labelled(model, raw, predictions).write(path)
    print(f"Predictions for {plural(len(raw.values), 'row')} on {processor}: {written}")
    told = scores_in_words(model, predictions, targets, "run-on")
    if told:
        print(told)
    return [handle.write(kept / "counts.npz")]
