"""The latent: what an encoding says of the task, as one vector or as a Gaussian that is sampled."""

from typing import Literal, get_args

import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.aggregators import Aggregator
from sb3_hyper.checks import check_counts
from sb3_hyper.encoders import AggregatedEncoder, PointwiseEncoder, SequenceEncoder, StackedEncoder
from sb3_hyper.errors import unknown_name

LatentKind = Literal["linear", "gaussian", "gaussian_product"]

LATENTS: tuple[LatentKind, ...] = get_args(LatentKind)


class LinearLatent(nn.Linear):
    """z = W e + b of an encoding e: no noise, no prior."""

    noise_dim = 0

    @override
    def forward(self, encodings: th.Tensor, noise: th.Tensor | None = None) -> th.Tensor:
        """``(…, encoding) -> (…, latent)``; the noise has no entries."""
        return super().forward(encodings)

    def kl_to_prior(self, encodings: th.Tensor) -> None:
        """There is no distribution."""

    @property
    def belief_dim(self) -> int:
        """Width of the Gaussian that halves of the latent can be read as; 0 where there are no halves."""
        return 0 if self.out_features % 2 else self.out_features // 2

    def belief(self, encodings: th.Tensor) -> tuple[th.Tensor, ...]:
        """The latent's halves, for objectives that read them as mean and log-variance: ``(…, belief_dim)`` each."""
        parameters: th.Tensor = self(encodings)
        return parameters.chunk(2, dim=-1)


class GaussianLatent(nn.Module):
    """
    z = mean + sigma * noise, reparametrised (Kingma and Welling 2014); the mean where no noise is given.

    :param projection: from an encoding to mean and log-variance, ``(…, encoding) -> (…, 2 * latent_dim)``
    :param latent_dim: width of the latent
    """

    def __init__(self, projection: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.projection = projection
        self.noise_dim = self.belief_dim = latent_dim

    def forward(self, encodings: th.Tensor, noise: th.Tensor | None = None) -> th.Tensor:
        """
        Sample.

        :param encodings: ``(…, encoding)``
        :param noise: ``(…, latent_dim)`` standard normal numbers; None: the mean is taken
        :return: ``(…, latent_dim)``
        """
        mean, log_variance = self.belief(encodings)
        return mean if noise is None else th.addcmul(mean, (0.5 * log_variance).exp(), noise)

    def kl_to_prior(self, encodings: th.Tensor) -> th.Tensor:
        """KL(N(mean, sigma^2) || N(0, 1)), summed over the latent: ``(…, encoding) -> (…)``."""
        mean, log_variance = self.belief(encodings)
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)

    def belief(self, encodings: th.Tensor) -> tuple[th.Tensor, ...]:
        """Mean and log-variance, ``(…, belief_dim)`` each."""
        parameters: th.Tensor = self.projection(encodings)
        return parameters.chunk(2, dim=-1)


def make_latent(
    kind: LatentKind, encoder: SequenceEncoder, aggregator: str | type[Aggregator] | None, latent_dim: int
) -> tuple[SequenceEncoder, LinearLatent | GaussianLatent]:
    """
    Put a latent behind an encoder.

    :param kind: "linear"; "gaussian", whose mean and log-variance are linear in the encoding; or "gaussian_product",
        where each encoding is turned into one Gaussian factor and the factors are multiplied (Rakelly et al. 2019)
    :param encoder: the encoder
    :param aggregator: what the encoder aggregates by already, if anything
    :param latent_dim: width of the latent
    :return: the encoder, with the product where one is wanted, and the latent
    :raises ValueError: when the kind is unknown, a width is not positive, or the product would be a second aggregator
    """
    if kind not in LATENTS:
        raise unknown_name("latent", kind, LATENTS)
    check_counts(latent_dim=latent_dim)
    if kind == "linear":
        return encoder, LinearLatent(encoder.output_dim, latent_dim)
    if kind == "gaussian":
        return encoder, GaussianLatent(nn.Linear(encoder.output_dim, 2 * latent_dim), latent_dim)
    if aggregator is not None:
        raise ValueError(
            f"latent='gaussian_product' aggregates by a product of Gaussians itself, but aggregator={aggregator!r} was "
            "given too. Use aggregator=None, or latent='gaussian'."
        )
    factors = PointwiseEncoder(encoder.output_dim, 2 * latent_dim, activation_fn=nn.Identity)
    product = AggregatedEncoder(StackedEncoder([encoder, factors]), "Gaussian", split=False)
    return product, GaussianLatent(nn.Identity(), latent_dim)
