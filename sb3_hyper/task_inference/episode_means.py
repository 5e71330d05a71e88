"""Means over the first, second, ... episode of trials: how fast the task becomes known."""

import torch as th

N_LOGGED_EPISODES = 8
"""Episodes of a trial that are looked at."""


@th.no_grad()
def episode_means(
    values: th.Tensor, resets: th.Tensor, new_episode: th.Tensor, mask: th.Tensor | None = None
) -> th.Tensor:
    """
    Mean of a quantity in each episode of the trials.

    Steps before the first start of a trial do not count: nobody knows which episode they are of.

    :param values: ``(T, B)``
    :param resets: ``(T, B)`` bool, whether a trial starts
    :param new_episode: ``(T, B)`` bool, whether an episode starts that is not the trial's first
    :param mask: ``(T, B)`` bool, which steps count; None: all
    :return: ``(N_LOGGED_EPISODES,)``, NaN where there was no such episode
    """
    n_begun = new_episode.long().cumsum(dim=0)
    # How many had begun before this trial: the latest value at a start, which grows; -1 before the first start.
    before_trial = th.where(resets, n_begun, -1).cummax(dim=0).values
    episode = n_begun - before_trial
    counts = (before_trial >= 0) & (episode < N_LOGGED_EPISODES)
    if mask is not None:
        counts = counts & mask
    index, weight = episode.clamp(max=N_LOGGED_EPISODES - 1).flatten(), counts.flatten().to(values.dtype)
    zeros = values.new_zeros(N_LOGGED_EPISODES)
    sums = zeros.index_add(0, index, values.detach().flatten() * weight)
    return sums / zeros.index_add(0, index, weight)


def named_episode_means(name: str, means: th.Tensor) -> dict[str, th.Tensor]:
    """
    Name the means for the log: ``episode_1_{name}`` and so on.

    :param name: the quantity
    :param means: from :func:`episode_means`
    :return: scalars by name
    """
    return {f"episode_{k}_{name}": mean for k, mean in enumerate(means, start=1)}
