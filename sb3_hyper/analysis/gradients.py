"""How far back gradients reach: from the latent at step t to the inputs and to the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch as th
from typing_extensions import override

from sb3_hyper.analysis.result import AnalysisResult, Array, Steps, check_counts, check_steps, format_row
from sb3_hyper.analysis.subjects import LatentEncoder, Subject, uniform_inputs

DEFAULT_STEPS = (0, 1, 2, 5, 10, 20, 30, 50, 75, 99)
"""The t of Beck et al. 2024 (0, 1, 10, 50, 99), and some between."""


@dataclass(frozen=True, eq=False)
class GradientNorms(AnalysisResult):
    """
    Norms of gradients of o_t, the sum of the latent's entries at step t (Beck et al. 2024, section 6).

    :param name: the network
    :param steps: ``(S,)`` the chosen t
    :param inputs: ``(n_seeds, S, T)`` Euclidean norm of d o_t / d input_s; 0 for s > t
    :param parameters: ``(n_seeds, S)`` Euclidean norm of d o_t / d (all parameters of encoder and latent layer)
    """

    name: str
    steps: Steps
    inputs: Array
    parameters: Array

    @property
    def first_input(self) -> Array:
        """``(n_seeds, S)`` norm of d o_t / d input_0."""
        return self.inputs[:, :, 0]

    @property
    def all_inputs(self) -> Array:
        """``(n_seeds, S)`` norm of d o_t / d (all inputs together)."""
        norms: Array = np.sqrt(np.square(self.inputs).sum(axis=-1))
        return norms

    @override
    def table(self) -> str:
        rows = {"input 0": self.first_input, "all inputs": self.all_inputs, "parameters": self.parameters}
        lines = [format_row(f"{self.name}, t =", self.steps)]
        return "\n".join([*lines, *(format_row(f"  d o_t / d {key}", row.mean(axis=0)) for key, row in rows.items())])


def gradient_norms(
    subject: Subject, steps: Sequence[int] = DEFAULT_STEPS, length: int = 100, n_seeds: int = 3
) -> GradientNorms:
    """
    Measure how the latent depends on early inputs, and how the parameters' gradient grows with time.

    The published figures (T = 100, input width 80, inputs uniform on (-1, 1) straight into a GRU of width 256) are
    those of the *latent*, 24 numbers behind a linear layer, and count that layer among the parameters; of the encoding
    itself all gradients are larger, about sixfold for the inputs.

    :param subject: the network
    :param steps: the t to look at
    :param length: T
    :param n_seeds: number of networks and inputs that are drawn, from seeds 0, 1, …
    :return: the norms
    :raises ValueError: when a step is outside the sequence, or a number is less than 1
    """
    check_counts(length=length, n_seeds=n_seeds)
    chosen = check_steps(steps, length)
    inputs, parameters = [], []
    for seed in range(n_seeds):
        network = subject.draw(seed)
        x = uniform_inputs(seed, length, network.input_dim).to(network.device)
        inputs.append(input_gradients(network, x, chosen))
        parameters.append(parameter_gradients(network, x, chosen))
    return GradientNorms(subject.name, chosen, np.stack(inputs), np.stack(parameters))


def input_gradients(network: LatentEncoder, x: th.Tensor, steps: Steps) -> Array:
    """
    Norms of d o_t / d input_s for all chosen t at once.

    Sequences of a batch do not interact, so copy i of the sequence contributes o at the i-th t to one backward pass.

    :param network: the network
    :param x: ``(T, 1, D)``
    :param steps: ``(S,)``
    :return: ``(S, T)``
    """
    # (T, 1, D) -> (T, S, D)
    copies = x.expand(-1, len(steps), -1).clone().requires_grad_()
    latents = network(copies)
    chosen = latents[th.as_tensor(steps), th.arange(len(steps))]
    (gradient,) = th.autograd.grad(chosen.sum(), copies)
    norms: Array = gradient.norm(dim=-1).t().cpu().double().numpy()
    return norms


def parameter_gradients(network: LatentEncoder, x: th.Tensor, steps: Steps) -> Array:
    """
    Norms of d o_t / d parameters, one pass over the steps up to t for each t.

    :param network: the network; parameters that ask for no gradient are left out
    :param x: ``(T, 1, D)``
    :param steps: ``(S,)``
    :return: ``(S,)``
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    norms = []
    for t in steps.tolist():
        output = network(x[: t + 1])[t].sum()
        gradients = th.autograd.grad(output, parameters, allow_unused=True)
        # None where t does not depend on a parameter
        used: list[th.Tensor] = list(filter(th.is_tensor, gradients))
        norms.append(np.sqrt(sum(gradient.double().square().sum().item() for gradient in used)))
    return np.array(norms)
