"""Task regression: its loss, and what it is measured by."""

import pytest
import torch as th
from gymnasium import spaces
from torch.nn import functional as F

from sb3_hyper.task_inference import LatentSequences, TaskRegression

T, B = 5, 3


def make_batch(tasks):
    new_episode = th.zeros(T, B, dtype=th.bool)
    new_episode[3] = True
    resets = th.zeros(T, B, dtype=th.bool)
    resets[0] = True
    return LatentSequences(th.randn(T, B, 6, requires_grad=True), resets, new_episode, tasks)


@pytest.mark.parametrize("coef", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("hidden_dims", [[], [7], (7, 5)])
def test_loss_is_the_heads_mean_error(make_agent_spaces, coef, hidden_dims):
    objective = TaskRegression(make_agent_spaces(spaces.Discrete(3)), coef=coef, hidden_dims=hidden_dims)
    classes = th.randint(3, (T, B))
    batch = make_batch(F.one_hot(classes, 3).float())
    x = batch.latents
    *hidden, last = objective.head[::2]
    assert [layer.out_features for layer in hidden] == list(hidden_dims)
    for layer in hidden:
        x = layer(x).relu()
    logits = last(x)
    loss, metrics = objective.loss(batch)
    expected = F.cross_entropy(logits.flatten(0, 1), classes.flatten())
    th.testing.assert_close(loss, coef * expected)
    th.testing.assert_close(metrics["task_loss"], expected.detach())
    wrong = (logits.argmax(-1) != classes).float()
    th.testing.assert_close(metrics["task_error"], wrong.mean())
    th.testing.assert_close(metrics["episode_1_task_error"], wrong[:3].mean())
    th.testing.assert_close(metrics["episode_2_task_error"], wrong[3:].mean())
    assert metrics["episode_3_task_error"].isnan()
    assert not any(metric.requires_grad for metric in metrics.values())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"coef": -1}, "coef=-1, wanted a weight of a loss"),
        ({"hidden_dims": [0]}, "hidden_dims=.*positive widths"),
        ({"hidden_dims": 64}, "hidden_dims=.*positive widths"),
    ],
)
def test_impossible_settings(make_agent_spaces, kwargs, message):
    with pytest.raises(ValueError, match=message):
        TaskRegression(make_agent_spaces(spaces.Discrete(3)), **kwargs)


def test_without_tasks(make_agent_spaces):
    with pytest.raises(ValueError, match="without the space of the tasks"):
        TaskRegression(make_agent_spaces())
