"""Mutations of the analyses and of their pictures."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "analysis/report.py",
        "analysis/test_report.py",
        [
            (
                "if len(self._pieces) == before:",
                "if False:",
                "headings stand above nothing",
                "::test_a_section_that_fails_takes_nothing_from_the_others",
            ),
            (
                '"figure", _DENSITY)',
                '"figure")',
                "letters in figures are larger than those beside them",
                "::test_a_figure_has_the_size_that_it_has_on_paper",
            ),
        ],
    ),
    *mutations_of(
        "analysis/page.py",
        "analysis/test_report.py",
        [
            (
                "while name in taken:",
                "while False:",
                "two sections have one name",
                "::test_every_section_can_be_linked_to",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/conclusion.py",
        "cli/test_next_steps.py",
        [
            (
                'if arm.verdict in ("neutral", "hurts")]\n    if needless',
                'if arm.verdict in ("hurts",)]\n    if needless',
                "a twin that does as well is not told",
                "::test_the_verdict_is_a_sentence",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/kept.py",
        "analysis/test_kept.py",
        [
            (
                "        if other:\n",
                "        if False:\n",
                "runs of another model are taken for those of this one",
                "::test_a_run_comes_back_to_the_last_bit",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/decided.py",
        "analysis/test_kept.py",
        [
            (
                "            files.add(Path(file))\n",
                "            pass\n",
                "code of the user that has changed is taken for the same",
                "::test_code_of_the_user_is_what_its_files_hold",
            ),
            (
                "torch.get_num_threads() if jobs is None else 1",
                "1",
                "runs of several threads are taken for those of one",
                "::test_other_threads_may_give_other_numbers",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/runs.py",
        "analysis/test_kept.py",
        [
            (
                "if key not in kept.runs]\n    tally",
                "]\n    tally",
                "what is kept is done again",
                "::test_it_goes_on_with_the_same_numbers",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/open_arms.py",
        "analysis/test_conclusion.py::test_what_an_open_arm_takes",
        [
            (
                "whole**2 - part**2",
                "whole**2",
                "test rows are asked for where seeds would do",
            ),
            (
                "half * corrected / alone",
                "half",
                "seeds are asked for where the correction forbids them to decide",
            ),
        ],
    ),
    *mutations_of(
        "cli/next_steps.py",
        "cli/test_next_steps.py",
        [
            (
                "words = {**found.options, **{",
                "words = {**{",
                "commands that are advised lose what the user gave",
            ),
        ],
    ),
    *mutations_of(
        "analysis/learning_rates.py",
        "analysis/test_learning_rates.py",
        [
            (
                "frozen = everything - self._names[component]",
                "frozen = set()",
                "the curve of a component shows what the other learns",
                "::test_curves_are_those_of_each_component_alone",
            ),
            (
                "self._model, self._steps = _copied(model, datamodule), steps",
                "self._model, self._steps = model, steps",
                "the model itself is trained",
                "::test_model_data_and_random_numbers_stay_as_they_were",
            ),
            (
                "falls = [start - sum(several) / len(several) for several in near]",
                "falls = [start - loss for loss in losses]",
                "a lucky rate is suggested",
                "::test_a_lucky_rate_is_not_taken_nor_one_beside_a_failure",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/classification.py",
        "analysis/test_evaluation_pictures.py",
        [
            (
                "counts / counts.sum(1, keepdim=True)",
                "counts / counts.sum(0, keepdim=True)",
                "shares are of the predicted class",
            ),
            (
                "areas.pop(0, None)",
                "areas.pop(1, None)",
                "the curve of two classes is that of the first",
            ),
            (
                "(shares - means).abs().nan_to_num(0) * counts",
                "(shares - means).abs().nan_to_num(0)",
                "bins of few rows count as much as those of many",
            ),
            (
                "stack(\n        [(said & true).sum(0), (~said & true).sum(0)",
                "stack(\n        [(~said & true).sum(0), (said & true).sum(0)",
                "labels that are found are said to be missed",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/evaluation_pictures.py",
        "analysis/test_evaluation_pictures.py",
        [
            (
                "torch.cat([1 - predictions, predictions], 1)",
                "torch.cat([predictions, 1 - predictions], 1)",
                "the classes of a binary task are exchanged",
            ),
        ],
    ),
    *mutations_of(
        "analysis/statistics.py",
        "analysis/test_statistics.py",
        [
            (
                "if -margin <= difference.low and difference.high <= margin:",
                "if -margin <= difference.low or difference.high <= margin:",
                "what cannot be told is neutral",
                "::test_a_plain_word",
            ),
            (
                "if p >= 1 - CONFIDENCE:",
                "if p >= CONFIDENCE:",
                "corrections for many comparisons have no effect",
                "::test_a_corrected_p_value_withholds_the_verdict",
            ),
            (
                "min(1.0, (len(p_values) - rank) * p_values[index])",
                "min(1.0, len(p_values) * p_values[index])",
                "Bonferroni instead of Holm",
                "::test_holm_by_hand",
            ),
            (
                "float(np.std(values, ddof=1))",
                "float(np.std(values))",
                "intervals of few seeds are too narrow",
                "::test_an_interval_is_students",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/shapley.py",
        "analysis/test_shapley.py",
        [
            (
                "weight = factorial(size) * factorial(count - size - 1) / factorial(count)",
                "weight = 1 / 2 ** (count - 1)",
                "shares do not add up",
            ),
            (
                'return self.scores[_key((one, other))] - alone + self.scores[""]',
                "return self.scores[_key((one, other))] - alone",
                "parts that do nothing interact",
            ),
        ],
    ),
    *mutations_of(
        "templates/tasks/regression.py",
        "analysis/test_measure.py",
        [
            (
                "variance = (values - values.mean(0)).square().mean(0)",
                "variance = (values - values.mean()).square().mean(0)",
                "R2 of several outputs is too good",
            ),
        ],
    ),
    *mutations_of(
        "templates/tasks/classes.py",
        "analysis/test_measure.py",
        [
            (
                "return ((predictions > 0.5) == (targets > 0.5)).double()",
                "return ((predictions > 0) == (targets > 0.5)).double()",
                "every binary prediction is yes",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/posthoc.py",
        "analysis/test_measure.py::test_outputs_are_exchanged_over_all_batches",
        [
            (
                "return rows[first - len(output) : first]",
                "return rows[: len(output)]",
                "all batches get the same rows",
            ),
        ],
    ),
    *mutations_of(
        "analysis/ablation/parts.py",
        "analysis/test_measure.py",
        [
            (
                "rows.append(len(bench.measure.outputs(model, [batch])[0]))",
                "rows.append(1)",
                "parts with a row for each row have no mean",
            ),
        ],
    ),
    *mutations_of(
        "analysis/loss_change/allocation.py",
        "analysis/test_loss_change.py",
        [
            (
                "for order in (moved, moved[::-1]):",
                "for order in (moved, moved):",
                "the first part is blamed for interactions",
            ),
            (
                "weights * (len(sizes) / weights.sum())",
                "1.0",
                "a small last batch counts like a full one",
            ),
            (
                "tensor.data.copy_(value if earlier else present)",
                "tensor.data.copy_(value)",
                "the model is thrown back",
            ),
        ],
    ),
    *mutations_of(
        "analysis/replacement.py",
        "analysis/test_replacement.py",
        [
            (
                "torch.stack([total for _, total in sums]).sum(0) / sum(counts)",
                "torch.stack([total / rows for rows, total in sums]).mean(0)",
                "a small batch counts like a full one",
            ),
        ],
    ),
    *mutations_of(
        "analysis/replacement.py",
        "analysis/test_mean_replacement.py",
        [
            (
                "all(module in means for module in modules)",
                "any(module in means for module in modules)",
                "parts of which a half has a mean are not left out",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/samples.py",
        "analysis/test_pictures.py",
        [
            (
                "torch.bucketize(first, edges[1:-1], right=True)",
                "torch.bucketize(first, edges[1:-1])",
                "a target on an edge is in the bin below",
            ),
            (
                "torch.bucketize(first, edges[1:-1], right=True)",
                "torch.bucketize(first, edges[1:], right=True)",
                "the largest target is in no bin",
            ),
            (
                "index = torch.where(matches.any(1), matches.long().argmax(1), -1)",
                "index = matches.long().argmax(1)",
                "other classes count to the first one",
            ),
            (
                "index = self.of_sample[start : start + len(values)]",
                "index = self.of_sample[: len(values)]",
                "later samples are in the groups of the first ones",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/layer_pictures.py",
        "analysis/test_pictures.py",
        [
            (
                "torch.stack(sums).sum(0).cpu() / groups.counts()[:, None]",
                "torch.stack(sums).mean(0).cpu() / groups.counts()[:, None]",
                "means of many samples are too small",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/panels.py",
        "analysis/test_pictures.py",
        [
            (
                "spread = means.var(0, unbiased=False)",
                "spread = means.mean(0)",
                "likely outcomes instead of those that differ",
            ),
            (
                "panel(magnitudes[number], ",
                "panel(magnitudes[number].mT, ",
                "inputs and outputs are exchanged",
            ),
            (
                "(numbers % (2 * np.pi)) / np.pi",
                "(numbers % np.pi) / np.pi",
                "phases that differ look alike",
            ),
            (
                "grid[mode, column] =",
                "grid[mode[::-1], column] =",
                "phases stand in other cells",
            ),
            (
                "rest = 100 * (1 - values.sum(1))",
                "rest = 100 * values.sum(1)",
                "the share of the others is that of the shown",
            ),
            (
                "numbers.square().sum(0).argsort(descending=True, stable=True)",
                "numbers.sum(0).argsort(descending=True, stable=True)",
                "large negative weights are left out",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/heat_map.py",
        "analysis/test_pictures.py",
        [
            (
                "share = (matrix - low) / (high - low)",
                "share = (matrix - low) / high",
                "colours of other values",
            ),
            (
                "colours[~known] = _EMPTY",
                "pass",
                "what is unknown looks small",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/samples.py",
        "analysis/test_pictures.py",
        [
            (
                "part.repeat_interleave(count)",
                "part.repeat(count)",
                "rows are in the groups of other samples",
            ),
            (
                "features = self.features[:, index] if self.each else self.features",
                "features = self.features[:, 0] if self.each else self.features",
                "all circuits are shown with the features of the first",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/optical_circuit.py",
        "analysis/test_drawing.py",
        [
            (
                "return encoding * self.bandwidth[tuned_by].reshape(*encoding.shape[:2], 1)",
                "return encoding",
                "learned bandwidths are not shown",
            ),
            (
                "return float(self.bandwidth[tuned_by[places[key]]])",
                "return float(self.bandwidth[0])",
                "all data angles of components have the first bandwidth",
            ),
        ],
    ),
    *mutations_of(
        "analysis/pictures/elements.py",
        "analysis/test_drawing.py",
        [
            (
                'parts += [shifter] * (mesh.phases == "input")',
                'parts += [shifter] * (mesh.phases != "output") * 0',
                "the last mesh is drawn without its outer phases",
            ),
            (
                "place = max(filled[mode] for mode in element.span)",
                "place = max(filled[mode] for mode in element.modes)",
                "elements are drawn over light that passes a wider one",
            ),
        ],
    ),
    *mutations_of(
        "analysis/profiling/component_profile.py",
        "analysis/test_profile.py",
        [
            (
                "return self.hooked.median / self.step.median - 1",
                "return self.step.median / self.hooked.median - 1",
                "hooks seem to speed a step up",
                "::test_reports",
            ),
        ],
    ),
    *mutations_of(
        "analysis/profiling/part_times.py",
        "analysis/test_profile.py",
        [
            (
                "if node not in stop and node not in owner:",
                "if node not in owner:",
                "a part gets the time of what lies before it",
                "::test_what_lies_between_two_parts_belongs_to_neither",
            ),
            (
                "            if len(self._inside) == 1:",
                "            if self._inside:",
                "a part inside another one counts twice",
                "::test_a_part_inside_a_part_counts_once",
            ),
        ],
    ),
    *mutations_of(
        "words.py",
        "analysis/test_batch_size.py",
        [
            (
                "unit = (1024 if found[3] else 1000)",
                "unit = 1000",
                "GiB are GB",
                "::test_budgets_in_words",
            ),
        ],
    ),
    *mutations_of(
        "analysis/batch_size/search.py",
        "analysis/test_batch_size.py",
        [
            (
                "usable = int(safety * available)",
                "usable = int(available)",
                "safety has no effect",
                "::test_the_largest_batch_that_fits",
            ),
            (
                "if speed >= (1 - _CLOSE) * best)",
                "if speed >= best)",
                "twice the batch for nothing",
                "::test_throughput_takes_the_smallest_of_the_fastest",
            ),
        ],
    ),
    *mutations_of(
        "analysis/batch_size/step_memory.py",
        "analysis/test_batch_size.py",
        [
            (
                "tensors += [p.grad for p in model.parameters() if p.grad is not None]",
                "pass",
                "gradients take no memory",
                "::test_what_is_held_between_steps_by_hand",
            ),
            (
                "return self.held + step + kept + self.working",
                "return self.held + step + self.working",
                "kept states take no memory",
                "::test_states_that_are_kept_are_foreseen",
            ),
        ],
    ),
    *mutations_of(
        "undisturbed.py",
        "test_undisturbed.py",
        [
            (
                "parameter.requires_grad_(needed)",
                "pass",
                "an analysis freezes parameters for good",
            ),
            (
                "grad.copy_(kept_gradients[parameter])",
                "pass",
                "an analysis changes gradients",
            ),
            (
                "        np.random.set_state(numpy)",
                "        pass",
                "an analysis moves numpy's generator",
            ),
        ],
    ),
    *mutations_of(
        "analysis/splits.py",
        "analysis/test_splits.py",
        [
            (
                "vars(datamodule).update(dict.fromkeys(_SET_UP, _stay_as_it_is))",
                "pass",
                "test rows are trained on",
            ),
            (
                'if split == "train" and (isinstance(loader, dict) or len(loader) > 1):',
                'if split == "train" and isinstance(loader, dict):',
                "only the first of several loaders counts",
            ),
        ],
    ),
    *mutations_of(
        "analysis/recording.py",
        "analysis/test_recording.py",
        [
            (
                "if not tracker.is_bw:",
                "if True:",
                "what a checkpoint computes again counts as a call",
            ),
            (
                "to(device or tensor.device, copy=True)",
                "to(device or tensor.device)",
                "what follows in place changes what was recorded",
            ),
            (
                'set_stance("force_eager")',
                'set_stance("default")',
                "compiled models are not looked into",
            ),
        ],
    ),
    *mutations_of(
        "analysis/replacement.py",
        "analysis/test_replacement.py",
        [
            (
                "if other.shape != output.shape:",
                "if False:",
                "a replacement of another shape broadcasts",
            ),
        ],
    ),
    *mutations_of(
        "analysis/chip_numbers.py",
        "analysis/test_chip_study.py",
        [
            (
                "away = _wrapped(away - blind @ np.linalg.solve(blind[pivots], away[pivots]))",
                "away = _wrapped(away)",
                "offsets are compared in a gauge that no light tells",
            ),
            (
                'found["phases"] = (_angles(layer, raw["phases"]) / 2).sin().square()',
                'found["phases"] = (_angles(layer, raw["phases"]) / 2).cos().square()',
                "reflectivities are transmittances",
            ),
            (
                "int((off[both] < self.half_width[both]).sum())",
                "int((off[both] < 0.0 * self.half_width[both]).sum())",
                "no truth is within its interval",
            ),
        ],
    ),
    *mutations_of(
        "analysis/chip_study.py",
        "analysis/test_chip_study.py",
        [
            (
                "left = ((measured - said) / spread)[~measured.isnan()]",
                "left = (measured - said)[~measured.isnan()]",
                "a misfit is not in standard deviations of the noise",
            ),
            (
                "matrices = layer.matrices(heaters(found.voltages.cpu()))",
                "matrices = wanted",
                "whatever is programmed, the chip is said to do it",
                "analysis/test_chip_study.py::test_what_is_programmed_is_tried_on_the_chip",
            ),
        ],
    ),
    *mutations_of(
        "analysis/calibration.py",
        "analysis/test_chip_study.py",
        [
            (
                "predictions, targets = predictions[whole], targets[whole]",
                "targets = targets.nan_to_num()",
                "a detector that was missing counts as dark",
            ),
        ],
    ),
    *mutations_of(
        "analysis/noise_study.py",
        "analysis/test_noise_study.py",
        [
            (
                "noise = noise.at_strength(condition.strength)",
                "noise = noise.at_strength(1.0)",
                "every strength is the same",
            ),
            (
                "_interval([trained.rows[0] - rows for rows in each.rows], shares)",
                "_interval([rows - trained.rows[0] for rows in each.rows], shares)",
                "what is lost has the other sign",
            ),
            (
                "layer.shots = condition.shots",
                "layer.shots = None",
                "no shots are drawn",
            ),
        ],
    ),
    *mutations_of(
        "analysis/noisy.py",
        "analysis/test_noise_study.py",
        [
            (
                "vars(layer).update(vars(made) | own | marks)",
                "vars(layer).update(vars(made) | marks)",
                "a model under noise has parameters of its own, which training does not change",
            ),
            (
                "made.readout = layer.readout",
                "pass",
                "the readout of a model under noise is a copy",
            ),
        ],
    ),
    *mutations_of(
        "analysis/robustness.py",
        "analysis/test_robustness.py",
        [
            (
                "torch.randn(output.shape, generator=generator) * spread",
                "torch.randn(output.shape, generator=generator)",
                "noise is of size 1, whatever the spread of a path",
            ),
            (
                "row_interval(whole - found, shares)[0]",
                "row_interval(found, shares)[0]",
                "what is lost is what is left",
            ),
        ],
    ),
    *mutations_of(
        "analysis/calibration.py",
        "analysis/test_calibration.py",
        [
            (
                "if own is not None and given is not None and not own.same_as(given):",
                "if False:",
                "training rows of another split pass for held-out ones",
            ),
            (
                'found = _collected(model, loader_of(datamodule, "calibration"))',
                'found = _collected(model, loader_of(datamodule, "val"))',
                "rows that chose the checkpoint pass for held-out ones",
            ),
        ],
    ),
    *mutations_of(
        "analysis/uncertain_rows.py",
        "analysis/test_calibration.py",
        [
            (
                "means.repeat_interleave(counts).cumsum(0)",
                "means.flip(0).repeat_interleave(counts.flip(0)).cumsum(0)",
                "the rows kept are the most doubted ones",
            ),
        ],
    ),
]
