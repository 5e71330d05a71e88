import array_api_compat.numpy as xp
import array_api_compat.torch as torch_namespace
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs import PointNav, PointNavSparse, TaskEnv, TrialVecEnv
from sb3_hyper.envs.random_stream import RandomStream

KINDS = [PointNav, PointNavSparse]
NUMBERS = st.floats(-2, 2, width=32)
TEST_CELLS = {(1, 0), (3, 1), (0, 2), (2, 3)}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_points_follow_the_rules(kind, data):
    length, speed = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([0.05, 0.3]))
    env = TaskEnv(kind(episode_length=length, max_speed=speed))
    goal = data.draw(st.tuples(st.floats(-1, 1, width=32), st.floats(0, 1, width=32)))
    observation, _ = env.reset(seed=data.draw(st.integers(0, 1000)), options={"task": goal})
    x, y = observation.tolist()
    assert (x, y) == (0, 0) if kind is PointNavSparse else max(abs(x), abs(y)) <= 1
    for step in range(1, length + 1):
        action = data.draw(st.tuples(NUMBERS, NUMBERS))
        x, y = (place + speed * min(max(move, -1), 1) for place, move in zip((x, y), action, strict=True))
        distance = np.hypot(x - goal[0], y - goal[1])
        observation, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_allclose(observation, [x, y], atol=1e-6)
        if kind is PointNav:
            assert reward == pytest.approx(-distance, abs=1e-5)
        elif abs(distance - 0.2) > 1e-5:
            assert reward == pytest.approx(1 - distance if distance < 0.2 else 0, abs=1e-5)
        assert terminated == (step == length) and not truncated


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", [None, "test"])
def test_numpy_and_torch_agree_in_every_bit(kind, split):
    point, runs = kind(split=split), []
    moves = np.random.default_rng(0).uniform(-1, 1, (30, 500, 2)).astype(np.float32)
    for namespace in (xp, torch_namespace):
        stream = RandomStream(range(500), namespace)
        task = point.sample_task(stream)
        state, steps = point.reset(stream, task), [np.asarray(task)]
        for move in moves:
            state, reward, _ = point.step(stream, task, state, namespace.asarray(move))
            steps += [np.asarray(reward), np.asarray(point.observe(task, state))]
        runs.append(steps)
    for slow, fast in zip(*runs, strict=True):
        np.testing.assert_array_equal(slow, fast)


def cell_of(goal):
    return tuple(np.floor((goal + 1) * 2).astype(int).tolist())


def test_goals_fill_the_square_evenly_and_splits_keep_to_their_cells():
    goals = PointNav().sample_task(RandomStream(range(6000), xp))
    counts, *_ = np.histogram2d(*goals.T, bins=8, range=[(-1, 1), (-1, 1)])
    assert counts.sum() == 6000
    assert ((counts - 6000 / 64) ** 2 / (6000 / 64)).sum() < 115  # chi-squared, 63 degrees of freedom: p = 1e-4
    for split, n_cells in (("train", 12), ("test", 4)):
        cells = {cell_of(goal) for goal in PointNav(split=split).sample_task(RandomStream(range(2000), xp))}
        assert len(cells) == n_cells and all((cell in TEST_CELLS) == (split == "test") for cell in cells)


@pytest.mark.parametrize("place", [0, -1])
def test_the_outermost_goals_of_a_cell_lie_in_it(place, monkeypatch):
    def integers(self, high, n_draws=1, mask=None):
        row = np.arange(16)[:, None] if high == 16 else np.full((16, n_draws), place % high)
        return row.astype(np.int64)

    monkeypatch.setattr(RandomStream, "integers", integers)
    goals = PointNav().sample_task(RandomStream(range(16), xp))
    assert [cell_of(goal) for goal in goals] == [(x, y) for x in range(4) for y in range(4)]


def test_sparse_goals_fill_the_half_circle_evenly_and_splits_keep_to_their_sectors():
    goals = PointNavSparse().sample_task(RandomStream(range(4000), xp))
    np.testing.assert_allclose(np.hypot(*goals.T), 1, atol=1e-6)
    angles = np.arctan2(goals[:, 1], goals[:, 0])
    counts, _ = np.histogram(angles, bins=20, range=(0, np.pi))
    assert counts.sum() == 4000 and ((counts - 200) ** 2 / 200).sum() < 50
    for split, n_sectors in (("train", 12), ("test", 4)):
        goals = PointNavSparse(split=split).sample_task(RandomStream(range(2000), xp))
        sectors = set((np.arctan2(goals[:, 1], goals[:, 0]) / np.pi * 16).astype(int).tolist())
        assert len(sectors) == n_sectors and all((sector % 4 == 3) == (split == "test") for sector in sectors)


@pytest.mark.parametrize("length", [1, 100, 3000])
def test_nobody_gets_out_of_the_observation_space(length):
    point, stream = PointNav(episode_length=length), RandomStream([0], xp)
    task = point.sample_task(stream)
    state = point.reset(stream, task)._replace(position=np.ones((1, 2), np.float32))
    for _ in range(length):
        state, _, ended = point.step(stream, task, state, np.ones((1, 2), np.float32))
    assert ended.all() and point.observe(task, state)[0] in point.observation_space
    np.testing.assert_allclose(point.observation_space.high, 1 + 0.05 * length, rtol=1e-3)


def play(kind, policy, n_envs=4000):
    env = TrialVecEnv(kind(), n_envs)
    env.seed(0)
    observation = env.reset()
    goals = np.array(env.get_attr("task"))
    for step in range(100):
        observation, _, dones, infos = env.step(policy(step, observation, goals))
    assert dones.all()
    return np.array([info["episode"]["r"] for info in infos])


def standard_error(returns):
    return returns.std() / np.sqrt(len(returns))


def go_to_goal(step, observation, goals):
    return (goals - observation["observation"]) / 0.05


def mean_of_way(distance_x, distance_y, weight, reward):
    """The mean return where both axes close in by 0.05 in a step."""
    steps = [
        np.hypot(np.maximum(distance_x - 0.05 * t, 0), np.maximum(distance_y - 0.05 * t, 0)) for t in range(1, 101)
    ]
    return sum((weight * reward(distance)).sum() for distance in steps)


def test_knowing_the_goal():
    # |start - goal| on one axis has the density (2 - d) / 2 on [0, 2].
    distance = (np.arange(500) + 0.5) / 250
    weight = (2 - distance) / 500
    expected = mean_of_way(distance[:, None], distance, weight[:, None] * weight, np.negative)
    assert expected == pytest.approx(PointNav.reference_returns["knows_task"], abs=0.05)
    returns = play(PointNav, go_to_goal)
    assert returns.mean() == pytest.approx(expected, abs=4 * standard_error(returns))


def test_knowing_the_goal_of_a_sparse_reward():
    angle = (np.arange(2000) + 0.5) / 2000 * np.pi

    def reward(distance):
        return np.where(distance <= 0.2, 1 - distance, 0)

    expected = mean_of_way(np.abs(np.cos(angle)), np.sin(angle), 1 / 2000, reward)
    assert expected == pytest.approx(PointNavSparse.reference_returns["knows_task"], abs=0.05)
    returns = play(PointNavSparse, go_to_goal)
    assert returns.mean() == pytest.approx(expected, abs=4 * standard_error(returns) + 0.01)


class Sweep:
    """To (1, 0) and along the half circle until a reward tells how far the goal is, then to the goal."""

    def __init__(self):
        self.goals = np.full((4000, 2), np.nan)

    def __call__(self, step, observation, goals):
        position = observation["observation"].astype(float)
        angle, radius = np.arctan2(position[:, 1], position[:, 0]), np.hypot(*position.T)
        is_found = (observation["previous_reward"][:, 0] > 0) & np.isnan(self.goals[:, 0])
        # The law of cosines, in the triangle of centre, agent and goal.
        distance = 1 - observation["previous_reward"][is_found, 0]
        cosine = (radius[is_found] ** 2 + 1 - distance**2) / (2 * radius[is_found])
        goal_angle = angle[is_found] + np.arccos(np.clip(cosine, -1, 1))
        self.goals[is_found] = np.stack([np.cos(goal_angle), np.sin(goal_angle)], axis=1)
        following = angle + 0.05 / np.maximum(np.abs(np.sin(angle)), np.abs(np.cos(angle)))
        on_circle = np.stack([np.cos(following), np.sin(following)], axis=1)
        aim = np.where(step < 20, [1.0, 0.0], on_circle)
        return (np.where(np.isnan(self.goals), aim, self.goals) - position) / 0.05


def test_sweeping_the_half_circle():
    returns = play(PointNavSparse, Sweep())
    reference = PointNavSparse.reference_returns["sweep"]
    assert returns.mean() == pytest.approx(reference, abs=4 * standard_error(returns)) and returns.min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_chance_level(kind):
    random = np.random.default_rng(0)
    returns = play(kind, lambda step, observation, goals: random.uniform(-1, 1, goals.shape))
    assert returns.mean() == pytest.approx(kind.reference_returns["random"], abs=4 * standard_error(returns) + 0.05)


def pixel(env, x, y):
    image = env.render()
    return image[int((1.5 - y) / 3 * 240), int((x + 1.5) / 3 * 240)].tolist()


def test_the_picture_shows_agent_and_goal():
    env = TaskEnv(PointNavSparse(max_speed=1.0), render_mode="rgb_array")
    env.reset(options={"task": [0.0, 1.0]})
    agent, goal, rewarded, floor = pixel(env, 0, 0), pixel(env, 0, 1), pixel(env, 0, 1.15), pixel(env, 0.7, 0.3)
    assert len({tuple(color) for color in (agent, goal, rewarded, floor)}) == 4
    env.step([0.7, 0.3])
    assert (pixel(env, 0.7, 0.3), pixel(env, 0, 0)) == (agent, floor)
    for _ in range(3):
        env.step([1.0, 0.0])
    assert pixel(env, 1.49, 0.3) == agent and "at (3.70, 0.30), goal (0.00, 1.00)" in env.distribution.render_text(
        env.task[None], env._state
    )
    dense = TaskEnv(PointNav(), render_mode="rgb_array")
    dense.reset(options={"task": [0.0, 1.0]})
    assert pixel(dense, 0, 1) == goal and pixel(dense, 0, 1.15) != rewarded


def test_what_may_be_a_task():
    PointNav(split="train").check_task([0.5, -1.0])
    for goal in ([0.5, -0.1], [1.1, 0.0]):
        with pytest.raises(ValueError, match=r"wanted the goal \(x, y\)"):
            PointNavSparse().check_task(goal)


def test_bad_settings():
    for kind in KINDS:
        with pytest.raises(ValueError, match="episode_length must be at least 1, got 0"):
            kind(episode_length=0)
        for speed in (0.0, -1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="max_speed must be above 0 and finite"):
                kind(max_speed=speed)
    for radius in (0.0, 1.5, np.nan):
        with pytest.raises(ValueError, match="goal_radius must be above 0 and at most 1"):
            PointNavSparse(goal_radius=radius)
