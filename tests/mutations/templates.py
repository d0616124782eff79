"""Mutations of the templates and of how they train."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "templates/base.py",
        "templates/test_training.py",
        [
            (
                "if not torch.isfinite(loss):",
                "if torch.isnan(loss):",
                "training goes on at an infinite loss",
                "templates/test_training.py::"
                "test_a_loss_that_is_not_finite_is_seen_between_steps_that_are_logged",
            ),
            (
                'if loss.device.type == "cpu" or (interval and batch_idx % interval == 0):',
                "if interval and batch_idx % interval == 0:",
                "a broken loss is seen at logged steps only",
                "templates/test_training.py::"
                "test_a_loss_that_is_not_finite_is_seen_between_steps_that_are_logged",
            ),
            (
                "rows, weights = len(outputs), self.weights(batch)",
                "rows, weights = 1, self.weights(batch)",
                "means over batches instead of rows",
                "templates/test_training.py::test_validation_metrics_agree_with_sklearn",
            ),
            (
                "metrics.update(self.in_units(predictions), self.in_units(targets))",
                "metrics.update(outputs.detach(), targets)",
                "metrics of logits",
                "templates/test_training.py::test_metrics_are_of_predictions",
            ),
            (
                '"photonic": given["quantum_weight_decay"],',
                '"photonic": given["weight_decay"],',
                "phases decay",
                "templates/test_optimizer.py",
            ),
            (
                '"photonic": given["quantum_lr"]}',
                '"photonic": given["classical_lr"]}',
                "phases learn at the classical rate",
                "templates/test_optimizer.py",
            ),
        ],
    ),
    *mutations_of(
        "templates/tasks.py",
        "templates/test_tasks.py",
        [
            (
                "_RootMeanSquare(squared=False)",
                "_RootMeanSquare()",
                "rmse is the mean square",
            ),
            (
                "if low < 0 or high >= self.output_dim:",
                "if low < 0 or high > self.output_dim:",
                "a class too many reaches the loss",
            ),
            (
                "return _at_least_float32(outputs).softmax(-1)",
                "return _at_least_float32(outputs).softmax(0)",
                "probabilities over the rows",
            ),
            (
                "return targets.reshape(-1, 1).to(",
                "return targets.to(",
                "a loss broadcasts (batch,) against (batch, 1)",
            ),
            (
                "return outputs.to(torch.promote_types(outputs.dtype, torch.float32))",
                "return outputs",
                "losses in half precision",
            ),
        ],
    ),
    *mutations_of(
        "templates/schedule.py",
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
        "templates/stages.py",
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
                'if self.hparams["freeze_front"] and self.front is not None:',
                "if False:",
                "a frozen front's batch normalization goes on",
            ),
            (
                "means = weights.float().mean(0)",
                "means = weights.float().amax(0)",
                "fusion weights do not sum to 1",
                "templates/test_parallel.py",
            ),
            (
                'raise ValueError("give input_dim or input_shape, got neither")',
                "input_dim = 1",
                "a model of one feature",
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
                "if foreign is not None and not _within(foreign, names):",
                "if False:",
                "a checkpoint has modules imported for its arguments",
            ),
            (
                'if not _within(name, ["hybridlit", *',
                'if not _within(name, ["hybridlit", "trap", *',
                "a checkpoint has a class imported that is not allowed",
            ),
        ],
    ),
    *mutations_of(
        "templates/prediction.py",
        "templates/test_prediction.py",
        [
            (
                "indices = (predictions[:, 0] > 0.5).long()",
                "indices = (predictions[:, 0] < 0.5).long()",
                "labels of two classes are exchanged",
            ),
            (
                "there = torch.isfinite(inputs.flatten(1)).all(1)",
                "there = torch.isfinite(inputs.flatten(1)).any(1)",
                "rows with gaps stop a prediction",
            ),
            (
                "model.in_units(model.predictions(model(inputs[there])))",
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
]
