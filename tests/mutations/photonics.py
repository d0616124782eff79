"""Mutations of the simulation."""

from mutations import mutations_of

MUTATIONS = [
    *mutations_of(
        "photonics/fock.py",
        "photonics/test_fock.py",
        [
            (
                "np.where(left > behind, 1, 0)",
                "np.where(left >= behind, 1, 0)",
                "unbunched states are missing",
            ),
            (
                "math.comb(modes + photons - 1, photons)",
                "math.comb(modes + photons, photons)",
                "the number of outcomes is that of a mode more",
            ),
            (
                "table[mode, left] = math.comb(behind, left - 1)",
                "table[mode, left] = math.comb(behind, left)",
                "unbunched states get the rank of others",
            ),
            (
                "prefix = np.cumsum(raised, axis=1) - raised",
                "prefix = np.cumsum(raised, axis=1)",
                "a photon more leads to another state",
            ),
            (
                "and all(number in possible for number in occupation)",
                "and all(number < len(possible) for number in occupation)",
                "negative occupations have a rank",
            ),
        ],
    ),
    *mutations_of(
        "photonics/interferometer.py",
        "photonics/test_interferometer.py",
        [
            (
                "[[out, into]] * (meshes - 1) + [[into, out]]",
                "[[out, into]] * meshes",
                "the last mesh is like the others",
            ),
            (
                "columns = later @ earlier",
                "columns = earlier @ later",
                "cells act in another order",
            ),
            (
                "a = 2 * torch.arccos(uniform[0] ** (0.5 / shape))",
                "a = 2 * torch.arccos(uniform[0] ** 0.5)",
                "drawn circuits are not Haar random",
            ),
            (
                "a = 2 * torch.arccos",
                "a = torch.arccos",
                "drawn circuits reflect too much",
            ),
        ],
    ),
    *mutations_of(
        "photonics/circuit/builders.py",
        "photonics/test_encoding.py",
        [
            (
                "encoding[column, mode, list(subset)] = 1 / len(subset)",
                "encoding[column, mode, list(subset)] = 1.0",
                "sums of features instead of means",
            ),
            (
                "encoding[column, 0, column % features] = 1.0",
                "encoding[column, 0, 0] = 1.0",
                "all features but the first are dropped",
            ),
            (
                "np.arange(1.0, modes + 1)[None, :, None]",
                "np.ones(modes)[None, :, None]",
                "features are global phases",
            ),
        ],
    ),
    *mutations_of(
        "photonics/readouts/expectations.py",
        "photonics/test_correlations.py photonics/test_distinguishable.py",
        [
            (
                "mean[:, None] - (rows * photons) @ rows.mT",
                "mean[:, None] - rows @ rows.mT",
                "a photon is correlated with itself",
            ),
            (
                "(weights * (photons * (photons + 1))) @ weights.mT",
                "(weights * (photons * photons)) @ weights.mT",
                "photons of one input count once too often",
            ),
            (
                "(rows.conj() * photons) @ rows.mT",
                "rows.conj() @ rows.mT",
                "inputs of several photons interfere like one",
            ),
            (
                "rows.conj() * photons",
                "rows * photons",
                "exchange without the conjugate",
            ),
            (
                "columns.real.square() + columns.imag.square(), photons)",
                "columns.real.square() + columns.imag.square(), photons.sign())",
                "two photons of a mode count as one",
            ),
        ],
    ),
    *mutations_of(
        "photonics/readouts/linear.py",
        "photonics/test_readout.py photonics/test_stack.py",
        [
            ("offset = bias - weight.sum(2)", "offset = bias", "readouts of stacks differ"),
            (
                "weight * weight.shape[1], bias - weight.sum(1))",
                "weight * weight.shape[1], bias)",
                "outputs start far from 0",
            ),
        ],
    ),
    *mutations_of(
        "photonics/readouts/grouping.py",
        "photonics/test_readout.py photonics/test_experiment.py",
        [
            (
                "in_larger = outcome < larger * (smallest + 1)",
                "in_larger = outcome < larger * smallest",
                "an outcome is in another group",
            ),
            (
                "late = larger + (outcome - larger * (smallest + 1)) // smallest",
                "late = larger + (outcome - larger * smallest) // smallest",
                "groups of unequal size",
            ),
            (
                "module=_module(consecutive=False)",
                "module=_module(consecutive=True)",
                "modgrouping is lexgrouping",
            ),
            (
                "if 2 <= size <= outcomes.size:",
                "if 1 <= size <= outcomes.size:",
                "one group, which is always 1, is allowed",
            ),
        ],
    ),
    *mutations_of(
        "photonics/propagation.py",
        "photonics/test_layer.py photonics/test_kernels.py",
        [
            (
                "columns * shift[..., :, None, :]",
                "columns * shifts[..., 0, :, None, :]",
                "all columns carry the first one's data",
            ),
        ],
    ),
    *mutations_of(
        "photonics/outcomes.py",
        "photonics/test_layer.py photonics/test_distinguishable.py",
        [
            (
                "return weights / ",
                "return weights * ",
                "post-selected probabilities do not sum to 1",
            ),
        ],
    ),
    *mutations_of(
        "photonics/parameters.py",
        "photonics/test_layer_module.py photonics/test_layer.py",
        [
            (
                "low = result.dtype in (torch.float16, torch.bfloat16)",
                "low = result.dtype is torch.float16",
                "a layer computes in bfloat16",
            ),
            (
                "self._set_constants()  # cast ones would keep float32's error",
                "pass",
                "float64 layers have float32 encodings",
            ),
        ],
    ),
    *mutations_of(
        "photonics/base.py",
        "photonics/test_layer_module.py photonics/test_layer.py",
        [
            (
                "dtype = ansatz.dtype or default",
                "dtype = ansatz.dtype or torch.float32",
                "the default dtype is not followed",
            ),
        ],
    ),
    *mutations_of(
        "photonics/layer.py",
        "photonics/test_layer.py photonics/test_layer_arguments.py",
        [
            (
                "return torch.ones_like(found[..., 0]) if mass is None else mass",
                "return torch.zeros_like(found[..., 0]) if mass is None else mass",
                "the Fock space keeps nothing",
            ),
            (
                "        if value != made:",
                "        if False:",
                "arguments that contradict the ansatz are ignored",
            ),
        ],
    ),
    *mutations_of(
        "photonics/stack.py",
        "photonics/test_stack.py",
        [
            (
                "v if k.startswith(_OF_DEVICE) else v[index]",
                "v if k.startswith(_OF_DEVICE) else v[0]",
                "all layers taken from a stack are the first",
            ),
        ],
    ),
    *mutations_of(
        "photonics/noise/mixture.py",
        "photonics/test_distinguishable.py",
        [
            (
                "terms = terms * (weight > 0)",
                "pass",
                "photons enter full modes, of outcome 0",
                "photonics/test_light_kernel.py",
            ),
            (
                ".sum(0) / (left + 1)",
                ".sum(0)",
                "in torch operations photons are lost too often",
                "photonics/test_light_kernel.py",
            ),
        ],
    ),
    *mutations_of(
        "photonics/noise/values.py",
        "photonics/noise/test_closed_forms.py photonics/noise/test_brute_force.py",
        [
            (
                'values["indistinguishability"] ** 0.5',
                'values["indistinguishability"] ** 1.0',
                "photons are alike with the probability that two of them are",
                "photonics/noise/test_closed_forms.py::test_two_photons_at_a_splitter",
            ),
            (
                "math.comb(photons, left) * kept**left",
                "kept**left",
                "photons are lost in one order only",
                "photonics/noise/test_closed_forms.py::test_how_many_photons_arrive",
            ),
            (
                "return product * brightness / (1 - product + (1 - 2 * product) ** 0.5)",
                "return product * brightness / 2",
                "second photons only to first order in g2",
                "photonics/noise/test_closed_forms.py::test_how_often_there_are_two_photons",
            ),
            (
                "found += [1 - two * transmittance, two * transmittance]",
                "found += [1 - two, two]",
                "second photons are never lost",
                "photonics/noise/test_closed_forms.py::test_loss_commutes_with_the_circuit",
            ),
        ],
    ),
    *mutations_of(
        "photonics/noise/detectors.py",
        "photonics/noise/test_closed_forms.py::test_wires_from_one_to_many",
        [
            (
                "another = (count - clicks + 1) / count",
                "another = (count - clicks) / count",
                "the last wire never shows a photon",
            ),
        ],
    ),
    *mutations_of(
        "photonics/noise/shots.py",
        "photonics/noise/test_shots.py",
        [
            (
                "return weighted - found * weighted.sum(-1, keepdim=True)",
                "return weighted",
                "score functions without a baseline",
                "::test_a_baseline_makes_the_score_gradient_steadier",
            ),
            (
                "second = drawn_counts(probabilities, shots).to(probabilities.dtype) / shots",
                "second = found",
                "score functions of the shots whose loss it is, which are biased",
                "::test_the_score_gradient_is_unbiased",
            ),
        ],
    ),
    *mutations_of(
        "photonics/noise/phases.py",
        "photonics/noise/test_phase_noise.py",
        [
            (
                "return found + (phases - given)  # straight through",
                "return found",
                "phases that are set in steps are never learned",
                "::test_the_gradient_goes_straight_through_steps",
            ),
        ],
    ),
    *mutations_of(
        "photonics/sampled.py",
        "photonics/noise/test_shift_gradient.py::test_without_shot_noise_it_is_exact",
        [
            (
                "ratio = share / kept",
                "pass",
                "the shift rule forgets how much is kept at other phases",
            ),
        ],
    ),
    *mutations_of(
        "photonics/kernels/reference.py",
        "photonics/test_amplitudes.py photonics/test_kernels.py",
        [
            (
                "torch.sum(lifted * below",
                "torch.sum(2 * lifted * below",
                "gradients are twice as large",
            ),
            (
                "above = sum(pulled[1:], start=pulled[0])",
                "above = sum(pulled[1:], start=pulled[0]).conj()",
                "gradients of all photons but the last are wrong",
            ),
            (
                "weight[target < 0] = 0.0",
                "weight[target < 0] = 1.0",
                "bunched photons are counted to outcome 0",
            ),
        ],
    ),
    *mutations_of(
        "photonics/kernels/compiled/plans.py",
        "photonics/test_kernels.py photonics/test_amplitudes.py",
        [
            (
                "weights /= np.prod(factorials[bunched])",
                "weights /= factorials[bunched].max()",
                "two bunched inputs are not normalised",
            ),
        ],
    ),
    *mutations_of(
        "photonics/kernels/compiled/source/recursion.py",
        "photonics/test_kernels.py",
        [
            (
                "cstore(target, state, width, brr - bii, bri + bir)",
                "cstore(target, state, width, brr - bii, bri - bir)",
                "every second amplitude has a wrong imaginary part",
            ),
            (
                "cstore(grad_previous, t, width, rr + ii, ri - ir)",
                "cstore(grad_previous, t, width, rr + ii, ri + ir)",
                "unbunched gradients are wrong",
            ),
        ],
    ),
    *mutations_of(
        "photonics/kernels/compiled/source/jets_kernel.py",
        "photonics/test_curvature.py",
        [
            (
                "other = shift(inputs, (top ^ part) * stride)",
                "other = shift(inputs, part * stride)",
                "gradients of unitaries take the wrong components",
            ),
            (
                "add_rows(shift(grads_last, (2 | part) * rows_size), spare",
                "add_rows(shift(grads_last, part * rows_size), spare",
                "a second gradient is in front of the wrong direction",
            ),
            (
                "grads = shift(spare, max(rows_size, CHUNK * 2 * width))",
                "grads = shift(spare, max(states, CHUNK) * 2 * width)",
                "larger layers of fewer photons write over what follows",
            ),
        ],
    ),
    *mutations_of(
        "photonics/curvature.py",
        "photonics/test_curvature.py",
        [
            (
                "return meshes, phases[0], values, phases[1], None, None",
                "return meshes, phases[0], values, phases[0], None, None",
                "a direction's gradient is that of the phases",
            ),
        ],
    ),
    *mutations_of(
        "photonics/circuit/data_phases.py",
        "photonics/test_large_features.py",
        [
            (
                "torch.fmod(exact, 2.0) * math.pi",
                "torch.fmod(exact, 1.0) * math.pi",
                "half turns are taken off as whole ones are",
            ),
            (
                "return (torch.fmod(exact, 2.0) * math.pi).to(dtype)",
                "return torch.fmod(exact.to(dtype), 2.0) * math.pi",
                "turns are counted in the precision of the phases",
            ),
        ],
    ),
    *mutations_of(
        "photonics/kernels/compiled/threads.py",
        "photonics/test_kernels.py",
        [
            (
                "cuts += place, *argument[1:]",
                "cuts += place, argument.task, 0, argument.most",
                "all threads work in the same scratch memory",
            ),
        ],
    ),
    *mutations_of(
        "photonics/kernels/compiled/threads.py",
        "photonics/test_scratch.py",
        [
            (
                "or size <= available_memory() // KEPT_PART",
                "",
                "large scratch memory is cleared anew in every call",
            ),
            (
                "or size <= available_memory() // KEPT_PART",
                "or True",
                "a thread may keep all memory that there is",
            ),
        ],
    ),
    *mutations_of(
        "photonics/sizes.py",
        "photonics/test_cost.py::test_states_are_counted_in_closed_form "
        "photonics/test_cost.py::test_estimate_counts_phases_and_multiply_adds",
        [
            (
                "return math.comb(space.modes + most, space.modes) if most >= 0 else 0",
                "return math.comb(space.modes + most - 1, space.modes) if most >= 0 else 0",
                "states of as many photons are not counted",
            ),
            (
                "return space.modes * states_up_to(space, space.photons - 1)\n",
                "return space.modes * states_up_to(space)\n",
                "work of one more photon is counted",
            ),
        ],
    ),
    *mutations_of(
        "photonics/machine.py",
        "analysis/test_batch_size.py::test_limits_of_control_groups",
        [
            (
                "left.append(max(0, int(allowed) - taken))",
                "left.append(int(allowed))",
                "a control group's use does not count",
            ),
        ],
    ),
    *mutations_of(
        "photonics/experiment.py",
        "photonics/test_experiment.py",
        [
            (
                "if space is ComputationSpace.UNBUNCHED and self.n_photons >= self.n_modes:",
                "if space is ComputationSpace.UNBUNCHED and self.n_photons > self.n_modes:",
                "a circuit with one outcome is allowed",
            ),
        ],
    ),
    *mutations_of(
        "photonics/superposition.py",
        "photonics/test_experiment.py",
        [
            (
                "if len(occupation) != modes or sum(occupation) != photons:",
                "if len(occupation) != modes:",
                "n_photons and the input state differ",
            ),
        ],
    ),
    *mutations_of(
        "photonics/states.py",
        "photonics/test_experiment.py",
        [
            (
                "[modes // 2] if photons == 1 else [i * modes // photons for i in range(photons)]",
                "[i * modes // photons for i in range(photons)]",
                "one spaced photon is not in the middle",
            ),
        ],
    ),
    *mutations_of(
        "photonics/budget.py",
        "photonics/test_budget.py",
        [
            (
                "if self.memory is not None and cost.peak_bytes > self.memory:",
                "if self.memory is not None and cost.peak_bytes > 2 * self.memory:",
                "twice the memory of a budget is within it",
            ),
            (
                "if self.seconds is not None and cost.seconds is None:",
                "if False:",
                "a time that is not known is within every budget",
            ),
            (
                "None if self.memory is None else self.memory + KEEP_BYTES,",
                "self.memory,",
                "a larger circuit that keeps nothing is not looked for",
            ),
            (
                "most = n_modes // 2 if unbunched else n_modes",
                "most = n_modes - 1",
                "photons go on where states are fewer again",
            ),
        ],
    ),
    *mutations_of(
        "photonics/shapes.py",
        "templates/test_cost.py",
        [
            (
                "ctx.save_for_backward(*(source.contiguous() for source in sources))",
                "ctx.save_for_backward(*(source[:0] for source in sources))",
                "data phases are not held until the backward pass",
            ),
        ],
    ),
]
