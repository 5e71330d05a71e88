"""PPO's losses against their definitions, number by number."""

import pytest
import torch as th

from sb3_hyper.hyper_ppo.losses import policy_loss, value_loss

N = 50


def test_policy_loss():
    th.manual_seed(0)
    log_prob, old_log_prob, advantages = th.randn(3, N, dtype=th.float64)
    expected, n_clipped, kl = 0.0, 0, 0.0
    for new, old, advantage in zip(log_prob.tolist(), old_log_prob.tolist(), advantages.tolist(), strict=True):
        ratio = 2.718281828459045 ** (new - old)
        expected -= min(ratio * advantage, min(max(ratio, 0.7), 1.3) * advantage) / N
        n_clipped += abs(ratio - 1) > 0.3
        kl += (ratio - 1 - (new - old)) / N
    loss, approx_kl, clip_fraction = policy_loss(log_prob, old_log_prob, advantages, 0.3)
    assert (loss.item(), approx_kl.item()) == pytest.approx((expected, kl))
    assert clip_fraction.item() == pytest.approx(n_clipped / N)


def huber(error):
    return 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5


@pytest.mark.parametrize("clip_range", [None, 0.3])
def test_value_losses(clip_range):
    th.manual_seed(0)
    values, old_values, returns = 3 * th.randn(3, N, dtype=th.float64)
    expected = {"huber": 0.0, "mse": 0.0}
    for value, old, target in zip(values.tolist(), old_values.tolist(), returns.tolist(), strict=True):
        clipped = value if clip_range is None else old + min(max(value - old, -clip_range), clip_range)
        expected["huber"] += max(huber(value - target), huber(clipped - target)) / N
        expected["mse"] += (clipped - target) ** 2 / N
    for kind, loss in expected.items():
        assert value_loss(kind, values, old_values, returns, clip_range).item() == pytest.approx(loss)
