"""What runs the circuits: a local simulator or a remote processor, and what it can take."""

from __future__ import annotations

from typing import Any

from hybridlit.internals.perceval import communication_layer
from hybridlit.interop.noise import noise_of
from hybridlit.interop.processors.circuit import PhaseCircuit
from hybridlit.interop.processors.patience import short
from hybridlit.interop.required import require_perceval
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.noise.model import Noise
from hybridlit.words import in_digits

__all__ = ["Target", "target_of"]


class Target:
    """A processor of Perceval.

    Args:
        computer: A `perceval.AComputer`.
    """

    def __init__(self, computer: Any) -> None:
        self.computer = computer
        self.name = str(computer.name)

    @property
    def remote(self) -> bool:
        """Whether jobs are sent away."""
        return bool(self.computer.is_remote)

    @property
    def layer(self) -> Any:
        """What a remote computer sends its jobs through."""
        return communication_layer(self.computer)

    @property
    def noisy(self) -> bool:
        """Whether it has noise of its own, as remote ones do, instead of that of the layer."""
        import perceval as pcvl

        return self.remote or bool(self.computer.noise != pcvl.NoiseModel())

    def noise_for(self, layer: PhotonicCircuit) -> Noise | None:
        """Return the noise under which a layer runs here, as it is now.

        Args:
            layer: Whose noise counts, unless the processor has any.

        Returns:
            None for a remote processor, which does not tell.
        """
        if not self.noisy:
            return Noise() if layer.noise is None else layer.noise.present
        return None if self.remote else noise_of(self.computer.noise)

    def experiment(self, circuit: PhaseCircuit) -> Any:
        """Return what this processor runs of a circuit, its photons under `noise_for` the layer.

        Args:
            circuit: Of a layer.

        Raises:
            ValueError: If the processor cannot take it.
        """
        made = circuit.experiment()
        if self.noisy:
            if not circuit.layer.interferes:
                raise ValueError(
                    f"photons interfere in {self.name}: a {type(circuit.layer).__name__} needs a "
                    "local simulator without noise of its own, such as processor='SLOS'"
                )
            made.noise = None
        self._check(made, circuit)
        return made

    def command(self, exact: bool) -> Any:
        """Return the command for probabilities, or for counts.

        Args:
            exact: Whether probabilities are wanted.

        Raises:
            ValueError: If the processor has none.
        """
        if exact and (self.remote or not self._strong()):
            raise ValueError(
                f"shots must be a number for {self.name}, got None: exact probabilities are those "
                "of a local simulator such as processor='SLOS'"
            )
        name = "probs" if exact else "sample_count"
        if name not in self.computer.available_commands:
            raise ValueError(
                f"{self.name} must know the command {name!r}, it has "
                f"{', '.join(map(repr, self.computer.available_commands))}"
            )
        return self.computer.get_command(name)

    def _strong(self) -> bool:
        """Whether a local computer knows probabilities; those of others are taken at their word."""
        from perceval.backends import BACKEND_LIST, AStrongSimulationBackend

        kind = BACKEND_LIST.get(self.name)
        return kind is None or issubclass(kind, AStrongSimulationBackend)

    def _check(self, made: Any, circuit: PhaseCircuit) -> None:
        """Compare with the constraints that the processor tells."""
        import perceval as pcvl

        specs = self.computer.specs
        state = made.input_state
        photons = int(state.n if isinstance(state, pcvl.FockState) else state.n_max)
        for what, got, remedy in (
            ("mode", made.circuit_size, "n_modes"),
            ("photon", photons, "n_photons"),
        ):
            least = specs.constraints.get(f"min_{what}_count", 0)
            most = specs.constraints.get(f"max_{what}_count", got)
            if not least <= got <= most:
                limit = f"at most {most}" if got > most else f"at least {least}"
                bound = f"{'max' if got > most else 'min'}_{what}_count"
                raise ValueError(
                    f"{self.name} takes {limit} {what}s ({bound}), the layer has {got}: train one "
                    f"with {remedy} within that, or take another processor"
                )
        try:
            pcvl.ConstraintChecker.verify_experiment(specs.constraints, made)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{self.name} does not take this circuit: {error}") from None
        if specs.architecture is not None:
            self._check_chip(specs.architecture, made, circuit)
        known = specs.known_mitigations
        for mitigation in self.computer.mitigations or () if self.remote else ():
            if not mitigation.is_known_from(known):
                raise ValueError(
                    f"mitigations must be known to {self.name}, got {type(mitigation).__name__}: "
                    "leave it out, since jobs that it takes apart here could not be resumed"
                )

    def _check_chip(self, chip: Any, made: Any, circuit: PhaseCircuit) -> None:
        """Compare with the hardware: where photons enter, and what detectors tell apart."""
        import perceval as pcvl

        given, possible = made.input_state, chip.input_state
        if isinstance(given, pcvl.FockState) and isinstance(possible, pcvl.FockState):
            missing = [
                mode
                for mode, photons in enumerate(given)
                if photons > (possible[mode] if mode < possible.m else 0)
            ]
            if missing:
                raise ValueError(
                    f"{self.name} brings photons to modes "
                    f"{[m for m, n in enumerate(possible) if n]}, the layer needs them in modes "
                    f"{missing}: train it with an input_state of those"
                )
        layer = circuit.layer
        resolves = layer.experiment.detectors is None and not layer.fock_space.unbunched
        clicks = any(
            each is not None and each.type is not pcvl.DetectionType.PNR for each in chip.detectors
        )
        if resolves and clicks:
            raise ValueError(
                f"{self.name} has detectors that cannot tell photons of a mode apart, which the "
                f"{in_digits(layer.outcomes.size)} outcomes of the layer do: train it with "
                "computation_space='unbunched', or with detectors='threshold'"
            )


def target_of(given: Any, token: str | None = None) -> Target:
    """Return the processor that a user means.

    Args:
        given: Name of a local simulator, such as `"SLOS"`; of a platform of Quandela's cloud, such
            as `"sim:slos"` or `"qpu:belenos"`; or a computer of Perceval, of any provider.
        token: Of the cloud; None: that of the environment variable or the configuration of
            Perceval.

    Raises:
        ConnectionError: If a platform needs a token, or does not answer.
        ImportError: If Perceval is missing.
        TypeError: If it is neither a name nor a computer.
        ValueError: If the name is none.
    """
    require_perceval()
    import perceval as pcvl
    from perceval.backends import BACKEND_LIST

    if isinstance(given, pcvl.AComputer):
        return Target(given)
    if isinstance(given, pcvl.Processor):  # the older interface of local simulators
        computer = pcvl.SimulatedComputer(given.backend)
        computer.noise = given.noise
        return Target(computer)
    if isinstance(given, pcvl.RemoteProcessor):
        layer = pcvl.QuandelaCommunicationLayer.from_rpc(given.get_rpc_handler())
        return Target(pcvl.RemoteComputer(layer))
    if not isinstance(given, str):
        raise TypeError(
            "processor must be a name, such as 'SLOS' or 'sim:slos', or a computer of Perceval, "
            f"got {type(given).__name__} {given!r}"
        )
    if given in BACKEND_LIST:
        return Target(pcvl.SimulatedComputer(given))
    if ":" not in given:
        raise ValueError(
            f"processor must be a local simulator, one of {', '.join(BACKEND_LIST)}, or a platform "
            f"such as 'sim:slos' or 'qpu:belenos', got {given!r}"
        )
    config = pcvl.RemoteConfig()
    if not (token or config.get_token()):
        raise ConnectionError(
            f"the platform {given!r} needs a token: set the environment variable "
            f"{config.get_token_env_var()}, or keep it by "
            "perceval.RemoteConfig.set_token(...) and perceval.RemoteConfig().save()"
        )
    try:
        return Target(pcvl.RemoteComputer(pcvl.QuandelaCommunicationLayer(given, token)))
    except OSError as error:  # those of requests as well
        raise ConnectionError(
            f"the platform {given!r} does not answer ({short(error)}): look at its name, the token "
            "and the connection"
        ) from None
