"""Diagonal Gaussians: beliefs about the task."""

import math

import torch as th


def gaussian_kl(
    mean: th.Tensor, log_variance: th.Tensor, other_mean: th.Tensor, other_log_variance: th.Tensor
) -> th.Tensor:
    r"""
    :math:`\mathrm{KL}(q \Vert p) = \frac12 \sum_d \log\frac{s_d}{\sigma_d} - 1 + \frac{\sigma_d}{s_d} + \frac{(m_d -
    \mu_d)^2}{s_d}` of variances :math:`\sigma` and :math:`s`.

    :param mean: ``(…, D)`` q's mean
    :param log_variance: ``(…, D)`` its log-variance
    :param other_mean: ``(…, D)`` p's mean
    :param other_log_variance: ``(…, D)`` its log-variance
    :return: ``(…)``
    """
    log_ratio = log_variance - other_log_variance
    distance = (mean - other_mean).square() * (-other_log_variance).exp()
    return 0.5 * (log_ratio.exp() - 1 - log_ratio + distance).sum(dim=-1)


def kl_chain(mean: th.Tensor, log_variance: th.Tensor, to_previous: bool) -> th.Tensor:
    """
    Divergence of each step's belief from the one before it, the first one's from N(0, 1); or of all from N(0, 1).

    :param mean: ``(T, B, D)``, each sequence beginning with a trial
    :param log_variance: ``(T, B, D)``
    :param to_previous: whether the prior is the previous belief
    :return: ``(T, B)``
    """
    standard = th.zeros_like(mean)
    if not to_previous:
        return gaussian_kl(mean, log_variance, standard, standard)
    previous = (th.cat((standard[:1], part[:-1])) for part in (mean, log_variance))
    return gaussian_kl(mean, log_variance, *previous)


def gaussian_entropy(log_variance: th.Tensor) -> th.Tensor:
    """Entropy in nats: ``(…, D) -> (…)``."""
    return 0.5 * (log_variance + math.log(2 * math.pi * math.e)).sum(dim=-1)
