"""The reward of each distribution, computed by hand from the physics of single steps."""

import numpy as np
import pytest

from sb3_hyper.envs.mujoco import (
    AntDir,
    AntDir2D,
    AntGoal,
    AntGoalSparse,
    HalfCheetahDir,
    HalfCheetahDirSparse,
    HalfCheetahHop,
    HalfCheetahVel,
    HopperRandParams,
    HumanoidDir,
    Walker2DRandParams,
)


def x_velocity(distribution, before, after, row):
    return (after.integration[row, 1] - before.integration[row, 1]) / distribution.dt


def squared(action):
    return sum(float(a) ** 2 for a in action)


def contact_cost(forces, weight):
    return weight * sum(min(max(f, -1.0), 1.0) ** 2 for f in forces.ravel())


def by_hand(distribution, task, before, action, after, row):
    velocity = x_velocity(distribution, before, after, row)
    effort = squared(action[row] * np.float32(0.4 if isinstance(distribution, HumanoidDir) else 1.0))
    kind = type(distribution)
    if kind is HalfCheetahDir:
        return task[row, 0] * velocity - 0.05 * effort
    if kind is HalfCheetahVel:
        return -abs(velocity - task[row, 0]) - 0.05 * effort
    if kind is HalfCheetahHop:
        return 10 * (-abs(after.derived[row, 5] - task[row, 0]) - 0.05 * effort)
    if kind is HalfCheetahDirSparse:
        assert abs(after.integration[row, 1]) < 10
        return -0.05 * effort
    if kind in (Walker2DRandParams, HopperRandParams):
        return velocity + (not after.has_fallen[row]) - 0.001 * effort
    if kind is HumanoidDir:
        return humanoid_by_hand(distribution, task[row], before, effort, after, row)
    place = [state.derived[row, 3:5] for state in (before, after)]
    forces = distribution.derived(after, "cfrc_ext")[row]
    offset = place[1] - task[row] if kind in (AntGoal, AntGoalSparse) else 0.0
    if kind is AntGoal:
        return -abs(offset[0]) - abs(offset[1]) - 0.1 * effort - contact_cost(forces, 0.0005)
    if kind is AntGoalSparse:
        return -min(np.hypot(*offset), 0.75) - 0.01 * effort - contact_cost(forces, 0.0005)
    x, y = (np.cos(task[row, 0]), np.sin(task[row, 0])) if kind is AntDir else task[row]
    forward = ((place[1] - place[0]) / 0.05) @ [x, y]
    return forward - 0.5 * effort - contact_cost(forces, 0.0005) + (not after.has_fallen[row])


def humanoid_by_hand(distribution, task, before, effort, after, row):
    masses = distribution.load_model().body_mass
    centres = [masses @ distribution.derived(state, "xipos")[row, :, :2] / masses.sum() for state in (before, after)]
    forces = distribution.derived(after, "cfrc_ext")[row]
    cost = min(5e-7 * (forces**2).sum(), 10.0)
    healthy = 5.0 * (not after.has_fallen[row])
    return 1.25 * ((centres[1] - centres[0]) / 0.015) @ task + healthy - 0.1 * effort - cost


def test_rewards_follow_their_formulas(robot_tasks, play):
    distribution = robot_tasks()
    for task, before, action, reward, _, after in play(distribution, 25):
        for row in range(3):
            assert reward[row] == pytest.approx(by_hand(distribution, task, before, action, after, row), abs=2e-5)


@pytest.mark.parametrize(("x", "is_paid"), [(9.0, False), (-10.5, True), (10.5, True)])
def test_the_sparse_cheetah_is_paid_far_from_the_start(play, x, is_paid):
    distribution = HalfCheetahDirSparse()
    task, before, action, _, _, _ = play(distribution, 1)[0]
    before.integration[:, 1] = x
    after, reward, _ = distribution.step(None, task, before, action)
    velocity = np.array([x_velocity(distribution, before, after, row) for row in range(3)])
    expected = is_paid * task[:, 0] * velocity - 0.05 * (action.astype(float) ** 2).sum(axis=1)
    np.testing.assert_allclose(reward, expected, atol=1e-5)


@pytest.mark.parametrize("robot", [AntDir, AntDir2D, Walker2DRandParams, HopperRandParams, HumanoidDir])
def test_falling_ends_the_episode_and_the_bonus(play, robot):
    distribution = robot(episode_length=1000)
    steps = play(distribution, 1)
    task, before, action, _, _, _ = steps[0]
    # Row 1 starts high in the air.
    height = 2 if distribution.sizes[0] in (15, 24) else 1
    before.integration[1, 1 + height] += 5.0
    after, _, ended = distribution.step(None, task, before, action)
    expected = [False, robot is not HopperRandParams, False]
    assert ended.tolist() == after.has_fallen.tolist() == expected
    assert not distribution.truncated(after).any()


@pytest.mark.parametrize("robot", [HalfCheetahDir, AntGoal])
def test_nothing_but_time_ends_these(play, robot):
    distribution = robot(episode_length=4)
    steps = play(distribution, 1)
    task, state, action, _, _, _ = steps[0]
    state.integration[0, 3] += 3.0
    for n_steps in range(1, 5):
        state, _, ended = distribution.step(None, task, state, action)
        assert ended.tolist() == distribution.truncated(state).tolist() == [n_steps == 4] * 3
