"""Photonic layers whose outcomes are measured: what they ask for, and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hybridlit.interop.processors.circuit import PhaseCircuit
from hybridlit.interop.processors.estimate import Estimate, Settings
from hybridlit.interop.processors.jobs import Asked, Jobs
from hybridlit.interop.processors.patience import Patience
from hybridlit.interop.processors.results import Measured, Results
from hybridlit.interop.processors.target import Target, target_of
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.readouts.row import outputs_of
from hybridlit.words import in_digits, plural

__all__ = ["Measuring", "Seen", "measured_outputs"]

_MOST_STATES = 10**5
"""Of how many outcomes the shots that a processor needs are computed rather than asked for."""


class Seen(NamedTuple):
    """What was seen of rows.

    Attributes:
        counts: Of each outcome of the layer, shape (rows, D), float64; probabilities without shots.
        frequencies: The same, each row of sum 1.
        shares: How much of the light is kept, shape (rows,), NaN where the processor does not say.
    """

    counts: Tensor
    frequencies: Tensor
    shares: Tensor


class Measuring:
    """A processor, and how rows are measured on it.

    Args:
        processor: See `target_of`.
        settings: How rows are measured.
        folder: Where results are kept as they come; None: nowhere.
        token: Of the cloud.
        generator: From which local simulators draw; None: torch's.

    Attributes:
        results: What is known.
    """

    def __init__(
        self,
        processor: Any,
        settings: Settings,
        folder: str | Path | None = None,
        token: str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.target: Target = target_of(processor, token)
        self.settings = settings
        self.results = Results(None if folder is None else Path(folder))
        self.target.command(settings.shots is None)
        most = self.target.computer.specs.constraints.get("max_sample_count")
        if most is not None and (settings.shots or 0) > most:
            raise ValueError(
                f"{self.target.name} gives at most {most} events of a row (max_sample_count), got "
                f"shots={settings.shots}"
            )
        self._generator = generator
        self._patience = Patience(self.target.name, settings.retries)
        self._asked: dict[str, Asked] = {}  # by what `_about` says

    def estimate(self, circuit: PhaseCircuit, phases: Tensor) -> Estimate:
        """Return what measuring takes.

        Args:
            circuit: Of a layer.
            phases: Shape (rows, phases).
        """
        if not len(phases):
            return Estimate(self.target.name)
        rows = self._rows(circuit, phases)
        asked = self._asks(circuit, next(iter(rows.values())))
        missing = len(self.results.missing(rows))
        return Estimate(
            self.target.name,
            len(rows),
            len(rows) - missing,
            math.ceil(missing / asked.rows_per_job),
            None if asked.shots is None else missing * asked.shots,
            None if asked.max_shots is None else missing * asked.max_shots,
        )

    def seen(self, circuit: PhaseCircuit, phases: Tensor) -> Seen:
        """Measure rows, as far as their results are not known.

        Args:
            circuit: Of a layer.
            phases: Shape (rows, phases).

        Raises:
            ConnectionError: If the connection is lost; what has come is kept.
            ValueError: If nothing was kept of a row, or the processor cannot take the circuit.
        """
        rows = self._rows(circuit, phases)
        if rows:
            asked = self._asks(circuit, next(iter(rows.values())))
            self._measure(asked, rows)
        return self._counted(circuit, [self.results.known[key] for key in rows])

    def most_photons(self, circuit: PhaseCircuit) -> int:
        """Return how many photons light may hold, as far as second ones of a source are known.

        Args:
            circuit: Of a layer.
        """
        noise = self.target.noise_for(circuit.layer)
        return circuit.layer.experiment.n_photons * (2 if noise is not None and noise.g2 else 1)

    def ask_for(self, shots: int | None) -> None:
        """Ask for another number of kept events from now on.

        Args:
            shots: Of each row; None: probabilities.
        """
        if shots != self.settings.shots:
            self.target.command(shots is None)
            self.settings = replace(self.settings, shots=shots)
            self._asked.clear()

    def forget(self) -> None:
        """Forget results that are in no folder: whoever asks again wants new ones."""
        if self.results.folder is None:
            self.results.known.clear()

    # --- inside -----------------------------------------------------------------------------------

    def _measure(self, asked: Asked, rows: dict[str, dict[str, float]]) -> None:
        known = sum(key in self.results.known for key in rows)
        silent = not self.settings.progress
        with tqdm(
            total=len(rows), initial=known, desc=self.target.name, unit="row", disable=silent,
            leave=False, delay=2,
        ) as bar:  # fmt: skip
            try:
                jobs = Jobs(self.target, asked, rows, self.results, self._patience, bar.update)
                jobs.run(self._generator)
            except OSError as error:
                folder = self.results.folder
                there = sum(key in self.results.known for key in rows)
                kept = "give a folder, and results are kept"
                if folder is not None:
                    kept = f"{there} of {len(rows)} rows are kept in {folder}: run the same again"
                raise type(error)(f"{error}; {kept}") from None

    def _asks(self, circuit: PhaseCircuit, first: dict[str, float]) -> Asked:
        """What is asked, the same for all rows of a circuit, looked up once."""
        key, given = self._about(circuit), self.settings
        if key not in self._asked:
            asked = Asked(
                self.target.experiment(circuit), given.shots, given.max_shots, given.rows_per_job
            )
            if self.target.remote and given.max_shots is None:
                asked = asked._replace(max_shots=self._shots_needed(asked, circuit, first))
            self._asked[key] = asked
        return self._asked[key]

    def _shots_needed(self, asked: Asked, circuit: PhaseCircuit, first: dict[str, float]) -> int:
        """Twice what Perceval estimates, so that rows that keep less have their events too."""
        assert asked.shots is not None
        if circuit.layer.fock_space.size > _MOST_STATES:
            raise ValueError(
                f"max_shots must be given for {in_digits(circuit.layer.fock_space.size)} outcomes, "
                f"too many to estimate how many shots of {self.target.name} give {asked.shots} "
                "events"
            )
        (computation,) = asked.job(self.target, [first])
        needed = self._patience(
            self.target.computer.estimate_required_shots, computation, asked.shots
        )
        if not needed:
            raise ValueError(
                f"{self.target.name} would keep nothing of this circuit: too many photons are lost "
                "for min_detected_photons"
            )
        return max(asked.shots, 2 * int(needed))

    def _about(self, circuit: PhaseCircuit) -> str:
        """What results depend on, beside phases."""
        given, noise = self.settings, self.target.noise_for(circuit.layer)
        under = "" if noise is None else replace(noise, trainable=()).plain()
        asked = f"{self.target.name} {given.shots} {given.max_shots}"
        return f"{asked} {circuit.fingerprint()} {under}"

    def _rows(self, circuit: PhaseCircuit, phases: Tensor) -> dict[str, dict[str, float]]:
        """The value of each symbol, by a key that is another one for each repetition of a row."""
        values = phases.detach().cpu().numpy().astype(np.float64)
        about = self._about(circuit)
        rows: dict[str, dict[str, float]] = {}
        times: dict[bytes, int] = {}
        for row in values:
            same = row.tobytes()
            times[same] = times.get(same, -1) + 1
            key = sha256(f"{about} {times[same]}".encode() + same).hexdigest()[:32]
            rows[key] = dict(zip(circuit.names, row.tolist(), strict=True))
        return rows

    def _counted(self, circuit: PhaseCircuit, found: Iterable[Measured]) -> Seen:
        """Sort what was seen by the outcomes of the layer."""
        outcomes, several = circuit.layer.outcomes, list(found)
        counts: npt.NDArray[np.float64] = np.zeros((len(several), outcomes.size))
        told = [math.fsum(each.counts.values()) for each in several]
        for row, each in enumerate(several):
            for state, count in each.counts.items():
                try:
                    counts[row, outcomes.index(state)] += count
                except ValueError:
                    continue  # what the layer does not keep, such as more photons than it has
        sums = counts.sum(1, keepdims=True)
        empty = np.flatnonzero(sums[:, 0] == 0)
        if len(empty):
            raise ValueError(
                f"{self.target.name} kept no event of {plural(len(empty), 'row')}, such as row "
                f"{empty[0]}: ask for more shots, or give a larger max_shots"
            )
        of_told = sums[:, 0] / told
        shares = [math.nan if each.share is None else each.share for each in several] * of_told
        return Seen(
            torch.from_numpy(counts),
            torch.from_numpy(counts / sums),
            torch.tensor(shares, dtype=torch.float64),
        )


def measured_outputs(
    layer: PhotonicCircuit,
    rows: Tensor,
    state: Tensor | None,
    frequencies: Callable[[PhaseCircuit, Tensor], Tensor],
) -> Tensor:
    """Return what a layer reads of measured frequencies.

    Args:
        layer: The layer.
        rows: Features, shape (batch, input_size), or (count, batch, input_size).
        state: What enters instead of its input state; it must be None.
        frequencies: From a circuit and phases, shape (rows, phases), to frequencies (rows, D).

    Returns:
        Shape (batch, output_size), or (count, batch, output_size).
    """
    if state is not None:
        raise ValueError(
            "state must be left out on a processor, which makes photons in each mode: give "
            "input_state"
        )
    circuit = PhaseCircuit(layer)
    phases = circuit.phases(rows)
    found = frequencies(circuit, phases.flatten(0, -2)).unflatten(0, phases.shape[:-1])
    found = found.to(layer.phases.device, layer.angles().dtype)
    return outputs_of(found, layer.readout, layer._statistic, layer.outcomes)
