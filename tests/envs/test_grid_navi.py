import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs import GridNavi, GridNaviDense, GridNaviShow, TaskEnv, make_trial
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


HALL = """
.#.#.
.#.#.
.....
.#.#.
.#.#.
"""
NEXT_TO_START = {(0, 0), (0, 1), (1, 0), (1, 1)}


def free_cells(layout, size=5):
    rows = HALL.split() if layout == "hall" else ["." * size] * size
    return {(x, y) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell == "."}


@pytest.mark.parametrize("grid_class", GRIDS)
@pytest.mark.parametrize("layout", ["open", "ring", "hall"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_walls_hold_and_nothing_else_changes(grid_class, layout, data):
    env = TaskEnv(grid_class(layout=layout, episode_length=40))
    goal = data.draw(st.sampled_from(env.task_space.tasks.tolist()))
    env.reset(options={"task": goal})
    x, y = 0, 0
    for action in data.draw(st.lists(st.integers(0, 4), min_size=40, max_size=40)):
        aim = x + MOVES[action][0], y + MOVES[action][1]
        x, y = aim if aim in free_cells(layout) else (x, y)
        observation, reward, *_ = env.step(action)
        distance = abs(x - goal[0]) + abs(y - goal[1])
        elsewhere = -distance / 5 if grid_class is GridNaviDense else -0.1
        shows_goal = grid_class is GridNaviShow and (x, y) == (0, 0)
        assert observation.tolist() == (goal if shows_goal else [x, y])
        assert reward == pytest.approx(1.0 if distance == 0 else elsewhere)


@pytest.mark.parametrize(("layout", "n_goals"), [("open", 21), ("ring", 13), ("hall", 15)])
def test_goals_of_a_layout(layout, n_goals):
    expected = free_cells(layout) - NEXT_TO_START
    if layout == "ring":
        expected = {(x, y) for x, y in expected if x in (0, 4) or y in (0, 4)}
    parts = {
        split: {tuple(goal) for goal in GridNavi(layout=layout, split=split).tasks.tolist()}
        for split in (None, "train", "test")
    }
    assert parts[None] == expected and len(expected) == n_goals
    assert parts["train"] | parts["test"] == expected and not parts["train"] & parts["test"]
    assert len(parts["test"]) == n_goals // 4


@pytest.mark.parametrize("size", range(3, 9))
@pytest.mark.parametrize("layout", ["open", "ring", "hall"])
def test_every_goal_can_be_reached(layout, size):
    grid = GridNavi(size=size, layout=layout)
    reached, front = {(0, 0)}, [(0, 0)]
    free = {(x, y) for x in range(size) for y in range(size) if grid._is_free(x, y)}
    while front:
        x, y = front.pop()
        following = {(x + move_x, y + move_y) for move_x, move_y in MOVES.values()} & free - reached
        reached |= following
        front += following
    assert {tuple(goal) for goal in grid.tasks.tolist()} <= reached == free


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_batch_of_halls_equals_single_ones(device):
    batch = TrialVecEnv(GridNavi(size=6, layout="hall"), 5, device=device)
    batch.seed(3)
    observation = batch.reset()
    singles = [make_trial("GridNavi", size=6, layout="hall") for _ in range(5)]
    rows = [env.reset(seed=3 + index)[0] for index, env in enumerate(singles)]
    random = np.random.default_rng(0)
    for _ in range(59):
        for key, value in observation.items():
            np.testing.assert_array_equal(np.asarray(value), [row[key] for row in rows])
        actions = random.integers(5, size=5)
        observation, *_ = batch.step(actions if device is None else th.as_tensor(actions))
        rows = [env.step(action)[0] for env, action in zip(singles, actions, strict=True)]


def test_walls_are_drawn():
    env = TaskEnv(GridNavi(layout="hall"), render_mode="ansi")
    env.reset(options={"task": [4, 4]})
    drawn = env.render().splitlines()[:5]
    assert [line.replace(" ", "") for line in drawn] == [".#.#G", ".#.#.", ".....", ".#.#.", "A#.#."]
    image = env.distribution.render_rgb(env.task[None], env._state)
    colors = image[12::24, 12::24].tolist()
    assert colors[4][1] == colors[0][3] != colors[2][1] == colors[0][2]


def test_unknown_layout():
    with pytest.raises(
        ValueError, match=r"Unknown layout 'rings'. Did you mean 'ring'\? Choose one of 'hall', 'open', 'ring'"
    ):
        GridNavi(layout="rings")
