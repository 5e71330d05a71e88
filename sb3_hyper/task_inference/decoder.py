"""Decoders: what a belief at one time says of a transition at another."""

from collections.abc import Sequence
from itertools import pairwise

import torch as th
from torch import nn


class TransitionDecoder(nn.Module):
    """
    ReLU layers on a latent and a transition, for all pairs of them.

    :param latent_dim: width of the latent
    :param input_dim: width of what is known of the transition
    :param hidden_dims: widths of the layers, at least one
    :param output_dim: width of the prediction
    """

    def __init__(self, latent_dim: int, input_dim: int, hidden_dims: Sequence[int], output_dim: int) -> None:
        super().__init__()
        # The first layer in two halves: each latent and each transition goes through it once, not once for each pair.
        self.of_latent = nn.Linear(latent_dim, hidden_dims[0])
        self.of_input = nn.Linear(input_dim, hidden_dims[0], bias=False)
        layers: list[nn.Module] = []
        for n_inputs, n_outputs in pairwise(hidden_dims):
            layers += [nn.ReLU(), nn.Linear(n_inputs, n_outputs)]
        self.rest = nn.Sequential(*layers, nn.ReLU(), nn.Linear(hidden_dims[-1], output_dim))

    def forward(self, latents: th.Tensor, inputs: th.Tensor) -> th.Tensor:
        """``(S, B, latent), (I, B, input) -> (S, I, B, output)``: every latent on every transition of its trial."""
        predictions: th.Tensor = self.rest(self.of_latent(latents)[:, None] + self.of_input(inputs)[None])
        return predictions
