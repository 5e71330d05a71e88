"""Sampling discrete actions in few operations."""

import torch as th


def sample_categorical(logits: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """
    Sample from softmax(logits) by the Gumbel-max trick: argmax(log p - log e), e standard exponential.

    :param logits: ``(B, A)``
    :return: the samples and their log-probabilities, ``(B,)`` each
    """
    log_probs = logits.log_softmax(dim=-1)
    samples = (log_probs - th.empty_like(log_probs).exponential_().log_()).argmax(dim=-1, keepdim=True)
    return samples.squeeze(-1), log_probs.gather(-1, samples).squeeze(-1)
