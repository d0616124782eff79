"""The LightningModule behind every template: task, metrics, optimizer groups and schedules."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from hybridlit.checks import integer, number, tensor
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.internals.lightning import HOOK_NAME, attached_trainer
from hybridlit.photonics.finite import require_finite
from hybridlit.precisions import check_dtype
from hybridlit.templates.class_weights import BALANCED, CLASS_WEIGHTS_KEY, BalancedName
from hybridlit.templates.cost import ModelCost, cost_of
from hybridlit.templates.foreign_names import name_of
from hybridlit.templates.hyperparameters import PlainHyperparameters, unknown_argument
from hybridlit.templates.light_hooks import call_all_again, pass_over_idle, profile_nothing
from hybridlit.templates.metrics import check_metrics
from hybridlit.templates.normalizers import fit_normalizers
from hybridlit.templates.predictions.calibration import CALIBRATION_KEY, Calibration
from hybridlit.templates.predictions.predicting import Predicting
from hybridlit.templates.preparation import (
    PREPROCESSING_KEY,
    adopt_preprocessing,
    compare_preprocessing,
    forget_calibration,
)
from hybridlit.templates.sizes import check_fits, knows_sizes, sizes_of
from hybridlit.templates.steps import Steps
from hybridlit.templates.tasks import TASKS, FirstTargets, TaskName, make_task
from hybridlit.templates.training.optimization import Optimizing
from hybridlit.templates.training.processes import draw_apart, prepare_processes
from hybridlit.templates.training.schedule import ScheduleName
from hybridlit.templates.training.settings import SETTINGS_KEY, training_settings
from hybridlit.templates.training.stages import Component, check_stages
from hybridlit.templates.unbuilt import AutoInt, Buildable

__all__ = ["CLASS_KEY", "HybridModule"]

CLASS_KEY = "hybridlit_class"
"""Key of a checkpoint: the class of the model, with its module."""


class HybridModule(Steps, Optimizing, Buildable, Predicting, PlainHyperparameters):
    """Base class of the templates: everything about training except the network.

    A subclass builds its network in `__init__`, after `super().__init__()`, and defines `forward`
    from features to outputs of shape (batch, output_dim): logits for the classification tasks,
    values for regression. To change one thing, override one method: `loss`, `build_metrics`,
    `predictions`, `unpack` or `configure_optimizers`. Everything also works without a Trainer.

    All constructor arguments of a subclass are in `self.hparams` before its network is built, and
    in every checkpoint.

    Logged: `train/loss`, `val/loss`, `test/loss`, and `metrics` under the same prefixes, over the
    epoch; of further validation and test loaders with their name or number behind, as
    `val/loss/dataloader_idx_1`.

    Args:
        output_dim: Number of outputs, at least 1: classes (multiclass), 1 (binary), labels or
            values. `"auto"`, as for an `input_dim`: what the data need, see `build`.
        task: `"multiclass"` (one of several classes), `"binary"` (yes or no), `"multilabel"` (yes
            or no for each output) or `"regression"` (values).
        metrics: What is logged besides the loss, the first one in the progress bar. For classes
            `acc`, `balanced_accuracy`, `f1`, `precision`, `recall`, `specificity`, `auroc`,
            `average_precision`, `calibration_error`, `mcc`, and for labels `exact_match`; for
            values `rmse`, `mae`, `r2`, `mape`, `pearson`, `spearman`, in their own units, and for
            light on the outputs of a chip `amplitude_fidelity` and `total_variation`. Or any class
            of torchmetrics that gives one number, by its class path or by `{class_path: ...,
            init_args: {...}}`. No metric is weighted. None: `acc`, or `rmse` and `r2`.
        class_weights: What targets weigh in the loss by their class, above 0: a number for each
            class (multiclass), two numbers (binary), or for each output the weight of its 1
            (multilabel). `"balanced"`: rows / (classes * rows of the class), counted in the
            training rows. The loss stays a mean: it is divided by the sum of the weights.
        label_smoothing: Share of a target that is spread evenly over all classes, or over 0 and 1,
            in [0, 1). So is it in `val/loss`.
        classical_lr: Learning rate of the classical parameters, above 0, below 1e30.
        quantum_lr: Learning rate of the photonic parameters, above 0, below 1e30.
        weight_decay: Weight decay of the classical parameters, at least 0; decoupled, unless the
            `optimizer` has it otherwise.
        quantum_weight_decay: That of the photonic parameters; on phases it regularizes nothing.
        optimizer: Class path of any optimizer of torch's kind, such as `"torch.optim.SGD"`, or
            `{"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}`; None: AdamW. Rates
            and weight decays are those above. LBFGS trains one component, the only one with
            parameters to train.
        quantum_optimizer: The same for the photonic parameters; None: as `optimizer`.
        gradient_clip: Largest norm of the gradient of each component, above 0, or of one or both
            by name, such as `{"photonic": 0.1}`; None: no clipping but the Trainer's, which clips
            the norm over both.
        schedule: `"constant"`, `"cosine"` down to zero at the end of the run, or `"plateau"`: lower
            the learning rate whenever `val/loss` stops falling. Or any scheduler of torch,
            such as `{"class_path": "torch.optim.lr_scheduler.OneCycleLR"}` with `init_args`, for
            each group around its own rate. It is stepped once an epoch, `OneCycleLR` and
            `CyclicLR` once a step, or as `"interval": "step"` beside them says; `max_lr`,
            `total_steps` and `T_max` are those of the run, unless given.
        warmup_epochs: Epochs of linear warm-up of the learning rates, at least 0, fractions
            allowed; it goes with every schedule.
        quantum_schedule: Schedule of the photonic parameters; None: as `schedule`.
        quantum_warmup_epochs: Warm-up of the photonic parameters; None: as `warmup_epochs`.
        plateau_patience: Number of validations without an improvement of `val/loss` after which
            the next one lowers the rates, at least 0. Groups on `"plateau"` watch the same loss
            and are lowered together; a group with another schedule is not.
        plateau_factor: Factor by which a plateau lowers the rates, in (0, 1).
        stages: Pairs of a component, `"classical"`, `"photonic"` or `"both"`, and its number of
            epochs, at least 1: what is trained in which part of the run, for instance
            `[["classical", 10], ["photonic", 5], ["both", 5]]`; see `StagedTraining`. The last
            stage goes on to the end of the run. None: both throughout.

    Example:
        >>> import torch
        >>> class Linear(HybridModule):
        ...     def __init__(self, input_dim, **training):
        ...         super().__init__(**training)
        ...         self.layer = torch.nn.Linear(input_dim, self.hparams.output_dim)
        ...
        ...     def forward(self, x):
        ...         return self.layer(x)
        >>> model = Linear(4, output_dim=3, classical_lr=0.1)
        >>> model(torch.rand(5, 4)).shape, model.hparams.classical_lr
        (torch.Size([5, 3]), 0.1)
    """

    def __init__(
        self,
        *,
        output_dim: AutoInt,
        task: TaskName = "multiclass",
        metrics: list[str | dict[str, Any]] | None = None,
        class_weights: BalancedName | list[float] | None = None,
        label_smoothing: float = 0.0,
        classical_lr: float = 3e-3,
        quantum_lr: float = 1e-2,
        weight_decay: float = 0.0,
        quantum_weight_decay: float = 0.0,
        optimizer: str | dict[str, Any] | None = None,
        quantum_optimizer: str | dict[str, Any] | None = None,
        gradient_clip: float | dict[str, float] | None = None,
        schedule: ScheduleName | dict[str, Any] = "constant",
        warmup_epochs: float = 0.0,
        quantum_schedule: ScheduleName | dict[str, Any] | None = None,
        quantum_warmup_epochs: float | None = None,
        plateau_patience: int = 10,
        plateau_factor: float = 0.1,
        stages: list[tuple[Component, int]] | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_argument(type(self), unknown)
        super().__init__()
        self.keep_hyperparameters(inspect.currentframe())
        self.check_settings(self.hparams)
        if stages is not None:
            check_stages(stages)
        number(label_smoothing, "label_smoothing", minimum=0.0, below=1.0)
        given = {"class_weights": class_weights, "label_smoothing": label_smoothing}
        for name, value in given.items():
            if value and not TASKS[task].classifies:
                raise ValueError(f"{name}={value!r} needs classes, got task={task!r}: leave it out")
        check_metrics(metrics, task)
        self.want_sizes(self.hparams)
        self._constructed_with = training_settings(self.hparams)
        size = integer(output_dim, "output_dim", 1)
        self.begin_steps(make_task(task, size, label_smoothing))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a module of a method's name could not be reached, and is refused."""
        if name == HOOK_NAME:  # so often that to look for parameters of that name is noticed
            self.__dict__[name] = value
            return
        if isinstance(value, (nn.Module, nn.Parameter)) and callable(getattr(type(self), name, 0)):
            raise ValueError(
                f"{name!r} is a method of {type(self).__name__}, which a {type(value).__name__} of "
                f"that name would not replace: override {name}(), or choose another name"
            )
        super().__setattr__(name, value)

    def check_features(self, x: Tensor) -> None:
        """Check dtype, shape (batch, input_dim) and, on the CPU, values of `forward`'s inputs."""
        tensor(x, "x")
        if not x.is_floating_point():
            raise TypeError(f"x must be a real floating tensor, got {x.dtype}; use x.float()")
        check_dtype(x, self, self.dtype)  # type: ignore[arg-type]
        if x.dim() != 2 or x.shape[1] != self.hparams["input_dim"]:
            raise ValueError(
                f"x must have shape (batch, input_dim={self.hparams['input_dim']}), got "
                f"{tuple(x.shape)}"
            )
        require_finite(x, "x")

    def cost(self, batch_size: int = 64, sample: Any = None) -> ModelCost:
        """Tell what the model and a training step of it take, without a step being made.

        Takes a tenth of a second for most models, and a second or two once a process to measure how
        fast the machine is. A network that needs numbers to run cannot be told; `make_optimizer` is
        taken for the optimizer.

        Args:
            batch_size: Rows of a batch, at least 1.
            sample: A batch as the data loader yields it, for a model whose `input_dim` does not
                tell what its inputs are; its rows do not count.

        Returns:
            Parameters, states, memory and time; print it.

        Raises:
            TypeError: If `batch_size` is no integer.
            ValueError: If it is below 1, nothing is trainable, or a step needs numbers.

        Example:
            >>> from hybridlit import SequentialHybrid
            >>> SequentialHybrid(10, 3, 2, n_modes=6, n_photons=3).cost(batch_size=32).states
            56
        """
        return cost_of(self, batch_size, sample)

    # --- Lightning --------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Refuse strategies that shard parameters; several processes evaluate each row once."""
        prepare_processes(self.trainer)
        profile_nothing(self.trainer)
        pass_over_idle(self.trainer)

    def teardown(self, stage: str) -> None:
        """Leave callbacks as they came."""
        trainer = attached_trainer(self)
        if trainer is not None:
            call_all_again(trainer)

    def on_fit_start(self) -> None:
        """Take over what the data were prepared by, if they fit; fit the `NormalizationLayer`s."""
        self.check_run()
        draw_apart(self.trainer)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if knows_sizes(data):
            check_fits(self, sizes_of(data))
        adopt_preprocessing(self, self.trainer)
        forget_calibration(self)
        if self.trainer.current_epoch == 0:
            self._first_targets = FirstTargets(self.task)
        fit_normalizers(self, self.trainer, lambda batch: self(self.unpack(batch)[0]))

    def on_validation_start(self) -> None:
        """Compare how the data were prepared with what the model was trained on."""
        compare_preprocessing(self, self.trainer)

    on_test_start = on_predict_start = on_validation_start

    @property
    def hparams_initial(self) -> Any:
        """The hyperparameters for loggers; what was changed since construction as it is now."""
        return self._as_used(super().hparams_initial)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the class and its arguments; where they were changed since, as they are."""
        super().on_save_checkpoint(checkpoint)
        self._as_used(checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY])
        checkpoint[CLASS_KEY] = name_of(type(self))
        if self.preprocessing is not None:
            checkpoint[PREPROCESSING_KEY] = self.preprocessing.state()
        if self.calibration is not None:
            checkpoint[CALIBRATION_KEY] = self.calibration.state()
        if self.hparams["class_weights"] == BALANCED:
            checkpoint[CLASS_WEIGHTS_KEY] = self.class_weights

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over how rows were prepared, and settings that are no arguments of this class."""
        super().on_load_checkpoint(checkpoint)
        found = checkpoint.get(CALIBRATION_KEY)  # of these weights; that of others does not count
        self.calibration = None if found is None else Calibration.from_state(found)
        if PREPROCESSING_KEY in checkpoint:
            self.preprocessing = Preprocessing.from_state(checkpoint[PREPROCESSING_KEY])
        if self.hparams["class_weights"] == BALANCED:
            self.weigh_classes(checkpoint.get(CLASS_WEIGHTS_KEY))
        if attached_trainer(self) is None:
            arguments = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
            used = training_settings(checkpoint.get(SETTINGS_KEY, {}).get("model", {}))
            self.hparams.update({n: value for n, value in used.items() if n not in arguments})
