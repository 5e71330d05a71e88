import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs import GridNavi, GridNaviDense, GridNaviShow, TaskEnv
from sb3_hyper.envs.vec_env import TrialVecEnv

GRIDS = [GridNavi, GridNaviDense, GridNaviShow]
MOVES = {0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1), 4: (-1, 0)}


@pytest.mark.parametrize("grid_class", GRIDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_grids_follow_the_rules(grid_class, data):
    size, length = data.draw(st.integers(3, 6)), data.draw(st.integers(1, 20))
    env = TaskEnv(grid_class(size=size, episode_length=length))
    goal = data.draw(st.sampled_from(env.task_space.tasks.tolist()))
    observation, _ = env.reset(seed=0, options={"task": goal})
    x, y = 0, 0
    for step in range(1, length + 1):
        shown = goal if grid_class is GridNaviShow and (x, y) == (0, 0) else [x, y]
        assert observation.tolist() == list(shown)
        action = data.draw(st.integers(0, 4))
        move_x, move_y = MOVES[action]
        x, y = min(max(x + move_x, 0), size - 1), min(max(y + move_y, 0), size - 1)
        distance = abs(x - goal[0]) + abs(y - goal[1])
        elsewhere = -distance / size if grid_class is GridNaviDense else -0.1
        observation, reward, terminated, _, _ = env.step(action)
        assert reward == pytest.approx(1.0 if distance == 0 else elsewhere)
        assert terminated == (step == length)


def test_goals_are_away_from_the_start():
    goals = {tuple(goal) for goal in GridNavi().task_space.tasks.astype(int).tolist()}
    assert goals == {(x, y) for x in range(5) for y in range(5)} - {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len(goals) == 21


def run_trials(grid_class, policy, n_envs=6000):
    env = TrialVecEnv(grid_class(), n_envs)
    env.seed(0)
    observation = env.reset()
    goals = np.array(env.get_attr("task"))
    for _ in range(60):
        observation, _, dones, infos = env.step(policy(observation["observation"], goals))
    assert dones.all()
    return np.array([info["episode"]["r"] for info in infos]), goals


def to_goal(position, goals):
    offset = goals - position
    return np.select([offset[:, 0] > 0, offset[:, 1] > 0], [2, 1], 0)


@pytest.mark.parametrize(("grid_class", "expected"), [(GridNavi, 44.3), (GridNaviDense, 38.1)])
def test_knowing_the_goal(grid_class, expected):
    returns, goals = run_trials(grid_class, to_goal)
    rows, index = np.unique(goals, axis=0, return_inverse=True)
    per_goal = [returns[index.reshape(-1) == row].mean() for row in range(len(rows))]
    assert len(rows) == 21 and np.mean(per_goal) == pytest.approx(expected, abs=0.05)
    assert grid_class.reference_returns["knows_task"] == expected


@pytest.mark.parametrize("grid_class", GRIDS)
def test_chance_level(grid_class):
    random = np.random.default_rng(0)
    returns, _ = run_trials(grid_class, lambda position, goals: random.integers(5, size=len(goals)))
    error = 4 * returns.std() / np.sqrt(len(returns))
    assert returns.mean() == pytest.approx(grid_class.reference_returns["random"], abs=error + 0.05) and error < 0.8


def test_show_shows_the_goal_at_the_first_step_of_every_episode():
    env = TrialVecEnv(GridNaviShow(), 4)
    env.seed(0)
    observation, goals = env.reset(), np.array(env.get_attr("task"))
    for step in range(59):
        if step % 15 == 0:
            np.testing.assert_array_equal(observation["observation"], goals)
        observation, *_ = env.step(to_goal(np.zeros((4, 2)), goals))


def test_bad_settings():
    with pytest.raises(ValueError, match=r"size >= 3.*got 2"):
        GridNavi(size=2)
    with pytest.raises(ValueError, match="episode_length must be at least 1, got 0"):
        GridNavi(episode_length=0)
