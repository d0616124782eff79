"""Mutations of the callbacks."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "callbacks/gradient_imbalance.py",
        "callbacks/test_gradient_imbalance.py",
        [
            (
                "rms = sizes.gradient / root",
                "rms = sizes.gradient",
                "many weights look like large gradients",
                "::test_a_step_is_measured",
            ),
            (
                "update / factor ** POWERS[component]",
                "update",
                "rebalancing measures its own effect",
                "::test_rates_are_rebalanced_within_bounds",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/measuring/balance.py",
        "callbacks/test_gradient_imbalance.py",
        [
            (
                "self.weight = smoothing * self.weight + (1 - smoothing)",
                "self.weight = 1.0",
                "the average begins near 1",
                "::test_the_average_is_one_of_logarithms",
            ),
            (
                "if 2 * self._low <= smooth <= self._high / 2:",
                "if self._low <= smooth <= self._high:",
                "warnings come again and again",
                "::test_hysteresis",
            ),
            (
                "COMPONENTS[0 if self._outside > 0 else 1]",
                "COMPONENTS[1 if self._outside > 0 else 0]",
                "the wrong component is named",
                "::test_one_warning_an_episode",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/measuring/scaled_rates.py",
        "callbacks/test_gradient_imbalance.py",
        [
            (
                'POWERS = {"classical": -0.5, "photonic": 0.5}',
                'POWERS = {"classical": 0.5, "photonic": -0.5}',
                "rebalancing makes it worse",
                "::test_rates_are_rebalanced_within_bounds",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/measuring/step_sizes.py",
        "callbacks/test_gradient_imbalance.py",
        [
            (
                "changes = subtracted(self._parameters, self._before)",
                "changes = self._parameters",
                "steps are as large as the weights",
                "::test_a_step_is_measured",
            ),
            (
                "if not all(map(math.isfinite, values)):",
                "if False:",
                "one NaN stays in the average for good",
                "::test_infinite_gradients_are_said_once_and_left_out",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/mixed_precision.py",
        "callbacks/test_mixed_precision.py",
        [
            (
                "self.skipped_steps += scale < self._scale",
                "self.skipped_steps += scale <= self._scale",
                "every step counts as skipped",
                "::test_planted_overflows_are_counted",
            ),
            (
                "return (sums - 1).abs().max()",
                "return (sums - 1).max()",
                "probabilities that sum to less are no drift",
                "::test_a_planted_drift_is_told_once",
            ),
            (
                "if value <= tolerance or key in self._told:",
                "if value <= tolerance:",
                "one warning a step",
                "::test_a_planted_drift_is_told_once",
            ),
            (
                "nan=math.inf, posinf=math.inf",
                "nan=0.0, posinf=math.inf",
                "NaN is no drift",
                "::test_outputs_that_are_no_numbers_are_an_infinite_error",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/alternating.py",
        "callbacks/test_alternating.py",
        [
            (
                'return "classical" if position < self.classical_steps else "photonic"',
                'return "classical" if position <= self.classical_steps else "photonic"',
                "photonic phases are one step too short",
                "::test_it_is_the_loop_of_the_guide",
            ),
            (
                'share = sum(self.phase(step) == "photonic" for step in steps) / interval',
                'share = sum(self.phase(step) == "classical" for step in steps) / interval',
                "the wrong phase is logged",
                "::test_the_phase_is_logged ::test_a_logger_that_takes_few_steps_gets_the_share",
            ),
            (
                "range(trainer.global_step + 1 - interval, trainer.global_step + 1)",
                "range(trainer.global_step - interval, trainer.global_step)",
                "the log is a step behind",
                "::test_the_phase_is_logged ::test_a_logger_that_takes_few_steps_gets_the_share",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/warm_start.py",
        "callbacks/test_warm_start.py",
        [
            (
                "if trainer.ckpt_path is not None or trainer.global_step:",
                "if False:",
                "a resumed run begins with the old component",
            ),
            (
                'faults += [f"{name} is not in the model" for name in state if name not in wanted]',
                "pass",
                "half of a component is loaded",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/photonic_inspector.py",
        "callbacks/test_photonic_inspector.py",
        [
            (
                "turned = (module.angles().detach() % (2 * torch.pi)).cpu()",
                "turned = (module.phases.detach() % torch.pi).cpu()",
                "the histogram folds phases that differ",
                "callbacks/test_photonic_inspector.py::"
                "test_the_histogram_holds_phases_modulo_two_pi",
            ),
            (
                "self._gradients.clear()",
                "pass",
                "gradients of an earlier epoch are shown",
                "callbacks/test_photonic_inspector.py::"
                "test_an_epoch_that_trains_no_phases_has_no_gradients",
            ),
            (
                "number & (number - 1) == 0 and number.bit_length() % 2 == 1",
                "number & (number - 1) == 0",
                "twice as many epochs are shown",
                "callbacks/test_photonic_inspector.py::test_the_epochs_that_are_chosen",
            ),
            (
                "self._validated = self._validated or not trainer.sanity_checking",
                "pass",
                "samples of the probe come twice",
                "callbacks/test_photonic_inspector.py::"
                "test_the_probe_is_the_first_validation_batches_once",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/component_profiler.py",
        "callbacks/test_component_profiler.py",
        [
            (
                "sum(several) / len(several)",
                "sum(several)",
                "two measurements of an epoch are added",
                "::test_several_measurements_of_an_epoch_are_averaged",
            ),
            (
                "[True, False] * steps",
                "[True, False] * (steps // 2)",
                "half as many steps are measured",
                "::test_steps_with_hooks_and_without_take_turns",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/activation_checkpointing.py",
        "callbacks/test_activation_checkpointing.py",
        [
            (
                "sizes.pop(StorageWeakRef(tensor.untyped_storage()), None)",
                "pass",
                "parameters count as saved memory",
                "::test_the_bytes_are_those_of_the_activations",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/measuring/recomputation.py",
        "callbacks/test_activation_checkpointing.py",
        [
            (
                "before = {name: module.get_buffer(name).clone() for name in buffers}",
                "before = {name: module.get_buffer(name) for name in buffers}",
                "batch normalization counts a batch twice",
                "::test_buffers_are_read_as_in_the_forward_pass_and_updated_once",
            ),
            (
                "torch.set_default_dtype(dtype)  # the backward",
                "pass  # the backward",
                "the backward pass runs in another precision",
                "::test_constants_that_a_part_makes_have_the_dtype_of_the_run",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/tensorboard_layout.py",
        "callbacks/test_tensorboard_layout.py",
        [
            (
                "scores[_LOSS] < best or math.isnan(best)",
                "scores[_LOSS] > best or math.isnan(best)",
                "the worst epoch is compared",
            ),
            (
                'self._best or _scores(trainer, "val")',
                '_scores(trainer, "val")',
                "the last scores are said to be the best",
            ),
            (
                "board.log_metrics(values, last_step(trainer))",
                "board.log_metrics(values, trainer.global_step)",
                "the first page stands a step behind the curves that it repeats",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/measuring/history.py",
        "callbacks/test_history.py",
        [
            (
                "found.epochs[np.nanargmin(found.values)]",
                "found.epochs[np.argmin(found.values)]",
                "a loss that is no number is the lowest",
            ),
            (
                "self._steps = [-1, *sorted(ends.values())]",
                "self._steps = [0, *sorted(ends.values())]",
                "curves are shifted against epochs",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/measuring/constant_answer.py",
        "callbacks/test_tensorboard_layout.py",
        [
            (
                "model.task.constant(train)",
                "model.task.constant(val)",
                "the constant answer knows the rows that it is scored on",
                "::test_a_constant_answer_is_what_a_score_must_beat",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/measuring/first_loader.py",
        "callbacks/test_evaluation_pictures.py",
        [
            (
                "if dataloader_idx == 0 and not trainer.sanity_checking:",
                "if dataloader_idx == 0:",
                "rows of the check before training are shown as the first epoch",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/evaluation_pictures.py",
        "callbacks/test_evaluation_pictures.py",
        [
            (
                "targets.detach()[:room].clone()",
                "targets.detach()[-room:].clone()",
                "predictions are beside the targets of other rows",
            ),
        ],
    ),
    *mutations_of(
        "resume/boundaries.py",
        "resume/test_boundaries.py",
        [
            (
                "if every is not None and (trainer.current_epoch + 1) % every:",
                "if every is not None and trainer.current_epoch % every:",
                "validations are expected in other epochs",
            ),
            (
                "done % trainer.accumulate_grad_batches != 0 and not trainer.is_last_batch",
                "done % trainer.accumulate_grad_batches != 0",
                "the last batch of an epoch is half done",
            ),
        ],
    ),
    *mutations_of(
        "resume/random_state.py",
        "resume/test_exact_resume.py::test_a_state_notices_every_draw_since_the_one_before",
        [
            (
                "if before is not None and global_generator_is_at(before.numpy):",
                "if before is not None:",
                "numpy's generator goes back to the start",
            ),
        ],
    ),
    *mutations_of(
        "internals/numpy.py",
        "internals/test_others.py",
        [
            (
                "or not isinstance(generator, np.random.MT19937) or normal_waits:",
                "or not isinstance(generator, np.random.MT19937):",
                "a normal number that waits is drawn twice",
            ),
        ],
    ),
    *mutations_of(
        "resume/running_results.py",
        "resume/test_exact_resume.py::test_a_run_resumed_at_any_step_equals_the_uninterrupted_one",
        [
            (
                "result.value = value + result.value",
                "pass",
                "means of a resumed epoch forget its beginning",
            ),
            (
                'result.cumulated_batch_size = result.cumulated_batch_size + saved["weight"]',
                "pass",
                "means of a resumed epoch are too large",
            ),
            (
                "for inner, module in result.value.named_modules(prefix=logged):",
                "for inner, module in [(logged, result.value)]:",
                "a metric that wraps another one begins anew in a resumed epoch",
            ),
        ],
    ),
    *mutations_of(
        "callbacks/overfitting.py",
        "callbacks/test_overfitting.py",
        [
            (
                "finite = math.isfinite(gap)",
                "finite = True",
                "a NaN loss is compared with",
                "::test_losses_that_are_not_finite_are_logged_and_passed_over",
            ),
        ],
    ),
]
