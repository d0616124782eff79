"""Mutations of the templates and of how they train."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "templates/steps.py",
        "templates/test_training.py",
        [
            (
                "if not math.isfinite(value):",
                "if math.isnan(value):",
                "training goes on at an infinite loss",
                "templates/test_training.py::"
                "test_a_loss_that_is_not_finite_is_seen_between_steps_that_are_logged",
            ),
            (
                'if due or loss.device.type == "cpu":',
                "if due:",
                "a broken loss is seen at logged steps only",
                "templates/test_training.py::"
                "test_a_loss_that_is_not_finite_is_seen_between_steps_that_are_logged",
            ),
            (
                "self.log_mean(of_loader, loss, share,",
                "self.log_mean(of_loader, loss, 1.0,",
                "means over batches instead of rows",
                "templates/test_training.py::test_validation_metrics_agree_with_sklearn",
            ),
            (
                "self.class_weights is not None and self.global_step > 0",
                "False",
                "a resumed run counts other rows",
                "templates/test_class_weights.py",
            ),
            (
                'return metrics, ""',
                'return metrics, "/dataloader_idx_0"',
                "the first of several loaders is not watched",
                "templates/test_loaders.py",
            ),
            (
                "fresh = metrics.clone()",
                "fresh = metrics",
                "loaders share their metrics",
                "templates/test_loaders.py",
            ),
            (
                "predictions = self.calibrated(outputs.detach())",
                "predictions = outputs.detach()",
                "metrics of logits",
                "templates/test_training.py::test_metrics_are_of_predictions",
            ),
        ],
    ),
    *mutations_of(
        "templates/training/optimization.py",
        "templates/test_optimizer.py",
        [
            (
                '"photonic": given["quantum_weight_decay"],',
                '"photonic": given["weight_decay"],',
                "phases decay",
            ),
            (
                '"photonic": given["quantum_lr"]}',
                '"photonic": given["classical_lr"]}',
                "phases learn at the classical rate",
            ),
        ],
    ),
    *mutations_of(
        "templates/tasks/classes.py",
        "templates/test_tasks.py",
        [
            (
                "if low < 0 or high >= self.output_dim:",
                "if low < 0 or high > self.output_dim:",
                "a class too many reaches the loss",
            ),
            (
                "targets = targets + self.label_smoothing * (0.5 - targets)",
                "targets = targets * (1 - self.label_smoothing)",
                "smoothing takes from 1 alone",
                "templates/test_class_weights.py",
            ),
            (
                "return counts.sum(0) / (len(counts) * counts)",
                "return counts.sum(0) / counts",
                "balanced weights of two classes are twice as large",
                "templates/test_class_weights.py",
            ),
            (
                "return at_least_float32(outputs).softmax(-1)",
                "return at_least_float32(outputs).softmax(0)",
                "probabilities over the rows",
            ),
        ],
    ),
    *mutations_of(
        "templates/tasks/task.py",
        "templates/test_tasks.py",
        [
            (
                "return targets.reshape(outputs.shape).to(",
                "return targets.to(",
                "a loss broadcasts (batch,) against (batch, 1)",
            ),
        ],
    ),
    *mutations_of(
        "templates/metrics.py",
        "templates/test_metrics.py",
        [
            (
                '{"squared": False}',
                "{}",
                "rmse is the mean square",
            ),
            (
                "return (shares.sum(-1) / (rows > 0).sum(-1).clamp_min(1)).mean()",
                "return shares.mean()",
                "classes that there are not lower the balanced accuracy",
            ),
            (
                "_widen(self.wrapped_metric, args[0].dtype)",
                "pass",
                "a fit cannot add to what a validation has left",
            ),
            (
                "found.add_metrics({name: metric})",
                "found = MetricCollection({**dict(found), name: metric})",
                "metrics are sorted by name, and another one is the main one",
            ),
        ],
    ),
    *mutations_of(
        "templates/class_weights.py",
        "templates/test_class_weights.py",
        [
            (
                "with undisturbed():",
                "if True:",
                "counting moves the generators",
            ),
        ],
    ),
    *mutations_of(
        "templates/tasks/task.py",
        "templates/test_tasks.py",
        [
            (
                "return outputs.to(torch.promote_types(outputs.dtype, torch.float32))",
                "return outputs",
                "losses in half precision",
            ),
        ],
    ),
    *mutations_of(
        "templates/training/optimizer_choice.py",
        "templates/test_optimizer_choice.py",
        [
            (
                "photonic = shared if own is None else",
                "photonic = shared if own is not None else",
                "a component is trained by the other's optimizer",
            ),
            (
                "if len(groups) > 1 and any(",
                "if len(groups) > 2 and any(",
                "torch refuses LBFGS without a remedy",
            ),
        ],
    ),
    *mutations_of(
        "templates/training/torch_schedules.py",
        "templates/test_torch_schedules.py",
        [
            (
                "known = dict.fromkeys(_RATE, rate)",
                "known = dict.fromkeys(_RATE, 0.1)",
                "both groups peak at one rate",
            ),
            (
                "return bisect_right(self._ends, step)",
                "return bisect_right(self._ends, step + 1)",
                "an epoch's rate begins a step too early",
            ),
        ],
    ),
    *mutations_of(
        "templates/training/optimization.py",
        "templates/test_gradient_clip.py",
        [
            (
                "nn.utils.clip_grad_norm_(parameters, limits[component])",
                "nn.utils.clip_grad_norm_(self.parameters(), limits[component])",
                "one component's gradient shortens the other's",
            ),
        ],
    ),
    *mutations_of(
        "templates/training/schedule.py",
        "templates/test_optimizer.py",
        [
            (
                "return min(1.0, (step + 1) / warmup_steps)",
                "return min(1.0, step / warmup_steps)",
                "the first step is lost",
            ),
            (
                "if self.best - loss > 1e-4 * abs(loss):",
                "if self.best - loss > 1e-4 * loss:",
                "negative losses improve when they rise",
            ),
            (
                "if self.waited > self.patience:",
                "if self.waited >= self.patience:",
                "rates fall one validation too early",
            ),
            (
                "self.base_lrs[position] *= self.reductions[position]",
                "pass",
                "the next step undoes the reduction",
            ),
        ],
    ),
    *mutations_of(
        "templates/training/stages.py",
        "templates/test_stages.py",
        [
            (
                "return sum(epoch >= stage.start for stage in self.stages)",
                "return sum(epoch > stage.start for stage in self.stages)",
                "every stage begins an epoch late",
            ),
            (
                "            if component not in trained:",
                "            if component in trained:",
                "what should rest is trained",
            ),
        ],
    ),
    *mutations_of(
        "templates/normalizers.py",
        "templates/test_normalizers.py",
        [
            (
                "waiting[name].partial_fit(inputs[0])",
                "waiting[name].fit(inputs[0])",
                "statistics of the last batch only",
            ),
            (
                "generators=generators_of(loader)",
                "generators=()",
                "fitting changes the order of the data",
            ),
            (
                "undisturbed(model, evaluation=True, generators",
                "undisturbed(model, generators",
                "fitting goes through dropout",
            ),
        ],
    ),
    *mutations_of(
        "templates/network.py",
        "templates/test_network.py",
        [
            (
                "means = weights.float().mean(0)",
                "means = weights.float().amax(0)",
                "fusion weights do not sum to 1",
                "templates/test_parallel.py",
            ),
        ],
    ),
    *mutations_of(
        "templates/fronts.py",
        "templates/test_network.py",
        [
            (
                "            module.eval()\n        return self",
                "            pass\n        return self",
                "a frozen front's batch normalization goes on",
            ),
            (
                'raise ValueError("give input_dim or input_shape, got neither")',
                "input_dim = 1",
                "a model of one feature",
            ),
            (
                "each.network if isinstance(each, Backbone) else each for each in fronts",
                "each for each in fronts",
                "the linear layer behind a frozen backbone never trains",
                "templates/test_backbones.py",
            ),
            (
                'self.leave_out("front_weights")',
                "pass",
                "a checkpoint needs the file that a backbone came from",
                "templates/test_backbones.py",
            ),
            (
                "x = self.front.filled(x)",
                "x = x.nan_to_num()",
                "a row without any input is predicted",
                "templates/test_inputs_by_name.py",
            ),
        ],
    ),
    *mutations_of(
        "templates/parallel.py",
        "templates/test_inputs_by_name.py",
        [
            (
                'self.seen_features("quantum_path", features)',
                'self.seen_features("classical_path", features)',
                "the photonic path sees what the classical one does",
            ),
        ],
    ),
    *mutations_of(
        "blocks/named_inputs.py",
        "templates/test_inputs_by_name.py",
        [
            (
                "missing = [part.isnan().all(1)",
                "missing = [part.isnan().any(1)",
                "one bad value is a missing input",
            ),
            (
                "return torch.cat([inputs[name].flatten(1) for name in self.shapes], 1)",
                "return torch.cat([each.flatten(1) for each in inputs.values()], 1)",
                "inputs are taken in the order in which they are given",
            ),
            (
                ".masked_fill(nothing[:, None], math.nan)",
                "",
                "a row without any input comes out as numbers",
            ),
        ],
    ),
    *mutations_of(
        "blocks/backbones.py",
        "templates/test_backbones.py",
        [
            (
                'not inspect.isfunction(build) or build.__module__.startswith("hybridlit.")',
                "not inspect.isfunction(build)",
                "a file has another checkpoint loaded, with what it allows",
            ),
            (
                "inspect.isclass(returned) and issubclass(returned, nn.Module)",
                "True",
                "any function with annotations is called",
            ),
        ],
    ),
    *mutations_of(
        "templates/quantum.py",
        "templates/test_conformance.py::test_the_twin_is_classical_and_as_large",
        [
            (
                "return MatchedMLP(input_size, original.output_size, total)",
                "return MatchedMLP(input_size, original.output_size, total // 2)",
                "the twin is half as large",
            ),
            (
                "MatchedMLP(input_size, original.output_size, total // count)",
                "MatchedMLP(input_size, original.output_size, total)",
                "each twin in a bank is as large as all",
            ),
        ],
    ),
    *mutations_of(
        "templates/residual.py",
        "templates/test_residual.py",
        [
            (
                "encoded = self.encoded_features(signed)",
                "encoded = self.encoded_features(hidden)",
                "half of the phases are never used",
            ),
        ],
    ),
    *mutations_of(
        "templates/quantum.py",
        "templates/test_experiment.py",
        [
            (
                "circuit = experiment_of(arguments) if experiment is None",
                "circuit = experiment_of(arguments) if True",
                "a builder does not get the experiment that it asks for",
            ),
            (
                "if own != (value.lower() if isinstance(value, str) else value):",
                "if own is None:",
                "what contradicts an experiment is silently ignored",
            ),
        ],
    ),
    *mutations_of(
        "templates/hyperparameters.py",
        "templates/test_names.py",
        [
            (
                "if value == NOW_QUANTUM_DIM:",
                "if value in (NOW_QUANTUM_DIM, None):",
                "a former name given as None is taken for one that is not given",
            ),
        ],
    ),
    *mutations_of(
        "templates/sequential.py",
        "templates/test_sequential.py",
        [
            (
                'nn.Dropout(self.hparams["dropout"])',
                "nn.Dropout(0.1)",
                "the dropout asked for is ignored",
            ),
            (
                "for width in (2 * outputs, hidden_width(outputs)):",
                "for width in (hidden_width(outputs),):",
                "checkpoints of older versions do not load",
            ),
            (
                "setattr(head.get_submodule(owner), own, ours)",
                "pass",
                "an optimizer of before does not train the head of an older checkpoint",
            ),
        ],
    ),
    *mutations_of(
        "templates/unbuilt.py",
        "templates/test_unbuilt.py",
        [
            (
                'numbers["input_shape"] = list(sizes.input_shape)',
                "pass",
                "images left to the data lose their shape",
            ),
            (
                "return wanted.task",
                'return "multiclass"',
                "a task that a subclass fixes does not decide about the outputs",
            ),
            (
                "if fixed:",
                "if False:",
                "a size that a class leaves open itself is found missing when there are data",
            ),
        ],
    ),
    *mutations_of(
        "templates/constant_answers.py",
        "templates/test_constant_answers.py",
        [
            (
                "any(module.lost for",
                "any(False and module.lost for",
                "a model without a path is said to be dead",
            ),
            (
                "self.rows < 2",
                "self.rows < 1",
                "one row is said to get the same answer as itself",
            ),
        ],
    ),
    *mutations_of(
        "templates/sizes.py",
        "templates/test_unbuilt.py",
        [
            (
                "with undisturbed(generators=generators):",
                "if True:",
                "a look at the first batch changes the order of the data",
            ),
            (
                "sizes.classes > outputs",
                "sizes.classes < outputs",
                "a fit begins with more classes than outputs",
            ),
        ],
    ),
    *mutations_of(
        "templates/loading.py",
        "templates/test_loading.py",
        [
            (
                "if foreign is not None:",
                "if False:",
                "a checkpoint has modules imported for its arguments",
            ),
            (
                'if not within(name, ["hybridlit", *',
                'if not within(name, ["hybridlit", "trap", *',
                "a checkpoint has a class imported that is not allowed",
            ),
        ],
    ),
    *mutations_of(
        "templates/predictions/predicting.py",
        "templates/test_prediction.py",
        [
            (
                "indices = (predictions[:, 0] > 0.5).long()",
                "indices = (predictions[:, 0] < 0.5).long()",
                "labels of two classes are exchanged",
            ),
            (
                "return torch.isfinite(x.flatten(1)).all(1)",
                "return torch.isfinite(x.flatten(1)).any(1)",
                "rows with gaps stop a prediction",
            ),
            (
                "model.calibrated(model(inputs[there]))",
                "model.predictions(model(inputs[there]))",
                "values are predicted in scaled units",
            ),
            (
                "given = predictions[there]",
                "given = predictions.nan_to_num()",
                "rows without a prediction are scored",
            ),
        ],
    ),
    *mutations_of(
        "templates/preparation.py",
        "templates/test_preparation.py",
        [
            (
                "None not in names and names[0] != names[1]",
                "None not in names and len(names[0]) != len(names[1])",
                "columns in another order are tested",
            ),
        ],
    ),
    *mutations_of(
        "blocks/paths.py",
        "blocks/test_paths.py",
        [
            (
                ".scatter(1, draw.argmax(1, keepdim=True), False)",
                "",
                "a row may lose all of its paths",
            ),
            (
                "draw[:, index].masked_fill_(mask, -1.0)",
                "pass",
                "a row may lose the only path that it has",
            ),
            (
                "self.count.clamp(min=1).reciprocal().clamp_min_(_SMALLEST_STEP)",
                "self.count.clamp(min=1).reciprocal()",
                "a mean does not follow weights that move",
            ),
            ("self.lost = before", "pass", "a path stays lost behind the block"),
            (
                'if strict and f"{prefix}count" not in state_dict:',
                "if False:",
                "state dicts of version 0.1 do not load",
            ),
        ],
    ),
    *mutations_of(
        "templates/predictions/calibration.py",
        "templates/test_calibration.py",
        [
            (
                "rank = math.ceil((rows + 1) * share)",
                "rank = math.ceil(rows * share)",
                "sets of few held-out rows hold the truth too seldom",
            ),
            (
                "share = Fraction(str(coverage))",
                "share = Fraction(coverage)",
                "the rank is one too high where floating point is a little above",
            ),
            (
                "if slope(high) <= 0 or slope(low) >= 0:",
                "if slope(low) >= 0:",
                "rows that are all right give a temperature of almost 0",
            ),
            (
                "outputs if self.temperature is None else outputs / self.temperature",
                "outputs if self.temperature is None else outputs * self.temperature",
                "a temperature makes too sure ones surer",
            ),
        ],
    ),
    *mutations_of(
        "templates/paths.py",
        "templates/test_paths.py",
        [
            (
                "if dropout and self.paths is None:",
                "if False:",
                "a path_dropout that nothing heeds is accepted",
            ),
        ],
    ),
    *mutations_of(
        "templates/predictions/uncertainty.py",
        "templates/test_calibration.py",
        [
            (
                "torch.manual_seed(seed)",
                "torch.manual_seed(0)",
                "all passes are the same",
            ),
            (
                "paths.remembering = False",
                "paths.remembering = True",
                "rows that are predicted move the means of the paths",
            ),
        ],
    ),
    *mutations_of(
        "templates/residual.py",
        "templates/test_residual.py",
        [
            (
                "done = (batch_idx + 1) /",
                "done = batch_idx /",
                "a gradual gate is never quite open at its end",
            ),
        ],
    ),
    *mutations_of(
        "templates/preparation.py",
        "templates/test_calibration.py",
        [
            (
                "        model.calibration = None",
                "        pass",
                "a model that was trained on has the temperature of before",
            ),
        ],
    ),
    *mutations_of(
        "templates/cost.py",
        "templates/test_cost.py",
        [
            (
                "tables |= each.tables",
                "tables |= {object(): size for size in each.tables.values()}",
                "layers of a shape have tables of their own",
            ),
        ],
    ),
    *mutations_of(
        "photonics/step_sizes.py",
        "templates/test_cost.py",
        [
            (
                'batch = samples // circuits if call.get("each") else samples',
                "batch = samples",
                "circuits with features of their own get those of all",
            ),
            (
                "return 2 * self.samples * numbers",
                "return self.samples * numbers",
                "probabilities count twice",
            ),
        ],
    ),
    *mutations_of(
        "recipe/fitting.py",
        "recipe/test_fitting.py",
        [
            (
                "filling, first = own.n_photons / own.n_modes, own.n_modes if fits else 2",
                "filling, first = 0.5, own.n_modes if fits else 2",
                "photons are no longer in the proportion of the recipe",
            ),
        ],
    ),
    *mutations_of(
        "recipe/cost.py",
        "recipe/test_fitting.py",
        [
            (
                'torch.float64 if precision in ("64", "64-true") else torch.float32',
                "torch.float32",
                "double precision takes no more",
            ),
        ],
    ),
]
