"""Running moments, kept as buffers so that they are saved, loaded and moved with the module that owns them."""

import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.recurrences import running_sum


class RunningMoments(nn.Module):
    """
    Mean and variance over everything seen, merged batch by batch (Chan et al. 1979), in float64.

    Before the first update the mean is 0 and the variance 1.

    :param shape: shape of one sample
    """

    mean: th.Tensor
    variance: th.Tensor
    count: th.Tensor

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("mean", th.zeros(shape, dtype=th.float64))
        self.register_buffer("variance", th.ones(shape, dtype=th.float64))
        self.register_buffer("count", th.zeros((), dtype=th.float64))

    @th.no_grad()
    def update(self, samples: th.Tensor) -> None:
        """
        Take in a batch.

        :param samples: ``(N, *shape)``
        """
        samples = samples.double()
        batch_variance, batch_mean = th.var_mean(samples, dim=0, correction=0)
        total = self.count + len(samples)
        share = len(samples) / total
        delta = batch_mean - self.mean
        within = self.variance * (1 - share) + batch_variance * share
        self.variance.copy_(th.where(self.count > 0, within + delta.square() * share * (1 - share), batch_variance))
        self.mean.add_(delta * share)
        self.count.copy_(total)


class RunningNormalization(RunningMoments):
    """
    (x - mean) / standard deviation, clipped; the identity until the first :meth:`update`.

    :param shape: shape of one sample
    :param clip: largest absolute value that comes out
    """

    scale: th.Tensor
    offset: th.Tensor
    bound: th.Tensor

    def __init__(self, shape: tuple[int, ...], clip: float = 10.0) -> None:
        super().__init__(shape)
        self.clip = clip
        self.register_buffer("scale", th.ones(shape))
        self.register_buffer("offset", th.zeros(shape))
        self.register_buffer("bound", th.full((), th.inf))

    @th.no_grad()
    @override
    def update(self, samples: th.Tensor) -> None:
        super().update(samples)
        scale = (self.variance + 1e-8).rsqrt()
        # A feature that has never moved stays as it is: its deviation is no scale.
        scale = th.where(self.variance > 1e-12, scale, 1.0)
        self.scale.copy_(scale)
        self.offset.copy_(-self.mean * scale)
        self.bound.fill_(self.clip)

    def forward(self, x: th.Tensor) -> th.Tensor:
        """``(N, *shape) -> (N, *shape)``."""
        return th.addcmul(self.offset, x, self.scale).clamp(-self.bound, self.bound)


class DiscountedReturnScale(nn.Module):
    """
    Scales rewards by the standard deviation of the running discounted return, as ``VecNormalize`` does; the mean is
    left alone.

    :param n_envs: number of environments
    :param gamma: discount factor
    :param clip: largest absolute scaled reward
    """

    running_return: th.Tensor

    def __init__(self, n_envs: int, gamma: float, clip: float = 10.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.clip = clip
        self.moments = RunningMoments()
        self.register_buffer("running_return", th.zeros(n_envs, dtype=th.float64), persistent=False)

    @th.no_grad()
    def forward(self, rewards: th.Tensor, episode_starts: th.Tensor) -> th.Tensor:
        """
        Take in a rollout and scale it, by the moments that include it.

        :param rewards: ``(T, n_envs)`` raw rewards
        :param episode_starts: ``(T, n_envs)`` bool, whether a trial started with the step
        :return: ``(T, n_envs)`` scaled rewards
        """
        decay = th.full_like(rewards, self.gamma, dtype=th.float64)[..., None]
        returns = running_sum(rewards.double()[..., None], self.running_return[:, None], episode_starts, decay)[..., 0]
        self.moments.update(returns.flatten())
        self.running_return.copy_(returns[-1])
        scaled = rewards * (self.moments.variance + 1e-8).rsqrt().to(rewards.dtype)
        return scaled.clamp(-self.clip, self.clip)
