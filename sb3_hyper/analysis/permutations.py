"""How much a latent depends on the order of the transitions before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch as th
from torch.nn import functional as F
from typing_extensions import override

from sb3_hyper.analysis.gradients import DEFAULT_STEPS
from sb3_hyper.analysis.result import AnalysisResult, Array, Steps, check_counts, check_steps, format_row
from sb3_hyper.analysis.subjects import LatentEncoder, Subject, uniform_inputs


@dataclass(frozen=True, eq=False)
class PermutationDistances(AnalysisResult):
    """
    Mean Euclidean distance between normalised latents before and after a permutation (Beck et al. 2024, section 6).

    Latents are scaled to unit length, so distances are in [0, 2].

    :param name: the network
    :param steps: ``(S,)`` the chosen t
    :param prefix: ``(n_seeds, S)`` transitions 0 … t are permuted, the current one among them: the published quantity
    :param past: ``(n_seeds, S)`` transitions 0 … t - 1 are permuted, the current one stays
    """

    name: str
    steps: Steps
    prefix: Array
    past: Array

    @override
    def table(self) -> str:
        lines = [format_row(f"{self.name}, t =", self.steps)]
        lines += [format_row("  transitions 0 … t permuted", self.prefix.mean(axis=0))]
        return "\n".join([*lines, format_row("  transitions 0 … t - 1 permuted", self.past.mean(axis=0))])


def permutation_distances(
    subject: Subject,
    steps: Sequence[int] = DEFAULT_STEPS,
    length: int = 100,
    n_seeds: int = 3,
    n_permutations: int = 20,
) -> PermutationDistances:
    """
    Measure how far the normalised latent at step t moves when the transitions before it come in another order.

    :param subject: the network
    :param steps: the t to look at
    :param length: T
    :param n_seeds: number of networks and inputs that are drawn, from seeds 0, 1, …
    :param n_permutations: uniform permutations for each t and seed, the identity among them with its probability
    :return: the distances
    :raises ValueError: when a step is outside the sequence, or a number is less than 1
    """
    check_counts(length=length, n_seeds=n_seeds, n_permutations=n_permutations)
    chosen = check_steps(steps, length)
    prefix, past = np.zeros((n_seeds, len(chosen))), np.zeros((n_seeds, len(chosen)))
    for seed in range(n_seeds):
        network = subject.draw(seed)
        x = uniform_inputs(seed, length, network.input_dim).to(network.device)
        generator = th.Generator().manual_seed(seed)
        for i, t in enumerate(chosen.tolist()):
            for distances, n_moved in ((prefix, t + 1), (past, t)):
                orders = _orders(n_permutations, n_moved, t + 1, generator).to(network.device)
                distances[seed, i] = distance_to_reordered(network, x[: t + 1], orders)
    return PermutationDistances(subject.name, chosen, prefix, past)


def _orders(n_permutations: int, n_moved: int, length: int, generator: th.Generator) -> th.Tensor:
    """Permutations ``(length, n_permutations)`` of which only the first ``n_moved`` places take part."""
    stays = th.arange(n_moved, length)
    orders = [th.cat((th.randperm(n_moved, generator=generator), stays)) for _ in range(n_permutations)]
    return th.stack(orders, dim=1)


@th.no_grad()
def distance_to_reordered(network: LatentEncoder, x: th.Tensor, orders: th.Tensor) -> float:
    """
    Mean distance of the last normalised latent of a sequence to that of its reorderings.

    :param network: the network
    :param x: ``(T, 1, D)``
    :param orders: ``(T, P)`` a permutation of the steps in each column
    :return: the mean over the P permutations, in [0, 2]
    """
    identity = th.arange(len(x), device=orders.device)[:, None]
    # (T, 1, D) -> (T, 1 + P, D), the sequence itself first
    sequences = x[th.cat((identity, orders), dim=1), 0]
    latents = F.normalize(network(sequences)[-1].double(), dim=-1)
    return float((latents[1:] - latents[0]).norm(dim=-1).mean())
