"""What predictions of a task are compared with: classes where tasks are listed, else numbers."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from torch.nn import functional as F

from sb3_hyper.envs.finite_tasks import FiniteTaskSpace, task_table
from sb3_hyper.task_inference import unit_scale
from sb3_hyper.task_inference.task_target import ClassTarget, NumberTarget, make_task_target

LISTED = {
    "finite": (FiniteTaskSpace(task_table([(0, 2), (1, 2), (1, 0)])), [3]),
    "discrete": (spaces.Discrete(4), [4]),
    "multi-discrete": (spaces.MultiDiscrete([3, 2]), [3, 2]),
    "multi-binary": (spaces.MultiBinary(3), [2, 2, 2]),
}


def flat_samples(space, n):
    space.seed(0)
    drawn = [space.sample() for _ in range(n)]
    return drawn, th.as_tensor(np.stack([spaces.flatten(space, task) for task in drawn]), dtype=th.float32)


def class_numbers(space, task):
    if isinstance(space, FiniteTaskSpace):
        return [int(np.flatnonzero((space.tasks == task).all(axis=1))[0])]
    return np.atleast_1d(task).astype(int).tolist()


@pytest.mark.parametrize("name", LISTED)
def test_listed_tasks_are_classes(name):
    space, n_classes = LISTED[name]
    target = make_task_target(space)
    assert isinstance(target, ClassTarget) and target.output_dim == sum(n_classes)
    drawn, tasks = flat_samples(space, 12)
    classes = th.tensor([class_numbers(space, task) for task in drawn])
    assert th.equal(target.classes(tasks), classes)
    predictions = th.randn(12, target.output_dim)
    parts = predictions.split(n_classes, dim=1)
    expected = sum(F.cross_entropy(part, classes[:, i], reduction="none") for i, part in enumerate(parts))
    missed = th.stack([part.argmax(1) != classes[:, i] for i, part in enumerate(parts)]).any(dim=0)
    losses, errors = target(predictions.view(3, 4, -1), tasks.view(3, 4, -1))
    th.testing.assert_close(losses, expected.view(3, 4))
    assert th.equal(errors, missed.float().view(3, 4)) and missed.sum() > 0


@pytest.mark.parametrize("kind", ["auto", "numbers"])
def test_other_tasks_are_numbers_between_their_bounds(kind):
    box = spaces.Box(np.array([0, -np.inf, 2], np.float32), np.array([4, np.inf, 2], np.float32))
    target = make_task_target(box, kind)
    assert isinstance(target, NumberTarget)
    predictions, tasks = th.tensor([[0.5, 1.0, 0.0]]), th.tensor([[4.0, 3.0, 2.0]])
    losses, errors = target(predictions, tasks)
    expected = (0.5**2 + 2.0**2 + 0.0) / 3
    th.testing.assert_close(losses, th.tensor([expected]))
    th.testing.assert_close(errors, th.tensor([expected**0.5]))


@settings(max_examples=50, deadline=None)
@given(low=st.floats(-1e3, 1e3, width=32), width=st.floats(0.0625, 1e3, width=32), share=st.floats(0, 1))
def test_bounds_become_one(low, width, share):
    low = np.float32(low)
    high = np.float32(low + np.float32(width))
    center, scale = unit_scale(spaces.Box(low, high, (1,)))
    at = float(low) + share * (float(high) - float(low))
    assert (at - center.item()) * scale.item() == pytest.approx(2 * share - 1, abs=1e-3)


def test_numbers_where_somebody_says_so():
    assert isinstance(make_task_target(LISTED["finite"][0], "numbers"), NumberTarget)
    assert isinstance(make_task_target(spaces.Box(0, 3, (1,), np.int64), "numbers"), NumberTarget)


@pytest.mark.parametrize(
    ("space", "kind", "message"),
    [
        (spaces.Box(0, 3, (1,), np.int64), "auto", "a number where classes are needed"),
        (spaces.Box(0, 3, (1,), np.int64), "classes", "a number where classes are needed"),
        (spaces.Box(0, 3, (1,)), "classes", "target='classes', but tasks of Box.* are not listed"),
        (spaces.Box(0, 3, (1,)), "clases", "Unknown target 'clases'.*Did you mean 'classes'"),
        (spaces.Sequence(spaces.Discrete(2)), "auto", "cannot be flattened"),
    ],
)
def test_what_cannot_be_regressed(space, kind, message):
    with pytest.raises(ValueError, match=message):
        make_task_target(space, kind)


def test_tasks_are_listed_one_a_row():
    assert FiniteTaskSpace([[0.3], [1]]) == FiniteTaskSpace(np.float32([[0.3], [1]]))
    for tasks in ([0.3, 1.0], [], [[]]):
        with pytest.raises(ValueError, match=r"wanted one task a row, \(n_tasks, task_dim\)"):
            FiniteTaskSpace(tasks)
