from itertools import product
from math import comb

import array_api_compat.numpy as xp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs import TASK_DISTRIBUTIONS, TaskEnv, TMazeAgreement, TMazeChecks, TMazeLatent, TMazeLS, TMazeOrder
from sb3_hyper.envs.random_stream import RandomStream
from sb3_hyper.envs.vec_env import TrialVecEnv

MAZES = [cls for cls in TASK_DISTRIBUTIONS.values() if issubclass(cls, TMazeLS)]
FORCED_MAZES = [cls for cls in MAZES if cls is not TMazeChecks]
UP_IS_CORRECT = {
    TMazeLS: lambda cue: cue > 0,
    TMazeLatent: lambda cue: cue > 0,
    TMazeChecks: lambda cue: cue > 0,
    TMazeAgreement: lambda first, second: first != second,
    TMazeOrder: lambda first, second: first > 0 and second < 0,
}
CUE_POSITIONS = {TMazeLS: [1], TMazeLatent: [], TMazeChecks: [1], TMazeAgreement: [1, 5], TMazeOrder: [3, 5]}
LENGTH = 10


def slow_maze(maze_class, task, actions, bits, time_limit):
    """The rules once more, one environment, one step at a time. Yields observation[:3], reward, ended."""
    position = 0
    cues = dict(zip(CUE_POSITIONS[maze_class], task, strict=False))
    for step, (action, bit) in enumerate(zip(actions, bits, strict=False), start=1):
        ended, reward, chosen = False, 0.0, None
        if maze_class is TMazeChecks:
            if position == LENGTH - 1:
                chosen = {2: "up", 3: "down"}.get(action)
            elif (action == 2 and bit == 1) or (action == 3 and bit == -1):
                position, reward = position + 1, 0.1
            ended = step == time_limit
        elif position == LENGTH - 1:
            chosen = "up" if action in (0, 2) else "down"
        else:
            position += 1
        if chosen is not None:
            ended, reward = True, 4.0 if (chosen == "up") == UP_IS_CORRECT[maze_class](*task) else -3.0
        yield [float(position == 0), cues.get(position, 0.0), float(position == LENGTH - 1)], reward, ended


@pytest.mark.parametrize("maze_class", MAZES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_mazes_follow_the_rules(maze_class, data):
    env = TaskEnv(maze_class(corridor_length=LENGTH))
    task = data.draw(st.sampled_from(env.task_space.tasks.tolist()))
    follows = data.draw(st.booleans())
    actions = data.draw(st.lists(st.integers(0, 3), min_size=15, max_size=15))
    observation, _ = env.reset(seed=data.draw(st.integers(0, 1000)), options={"task": task})
    np.testing.assert_array_equal(observation[:3], [1, 0, 0])
    bits, taken, seen = [], [], []
    for action in actions:
        bits.append(observation[3])
        taken.append((2 if observation[3] > 0 else 3) if follows and observation[2] == 0 else action)
        observation, reward, terminated, truncated, _ = env.step(taken[-1])
        assert not truncated and observation[3] in (-1, 1)
        seen.append((observation[:3].tolist(), pytest.approx(reward), terminated))
        if terminated:
            break
    assert terminated
    assert list(slow_maze(maze_class, task, taken, bits, time_limit=15)) == seen


@pytest.mark.parametrize("maze_class", MAZES)
def test_an_expert_gets_the_best_return(maze_class):
    env = TrialVecEnv(maze_class(), 8)
    env.seed(1)
    observation = env.reset()
    right = [UP_IS_CORRECT[maze_class](*task) for task in env.get_attr("task")]
    while True:
        state = observation["observation"]
        follow = np.where(state[:, 3] > 0, 2, 3)
        observation, _, dones, infos = env.step(np.where(state[:, 2] == 1, np.where(right, 2, 3), follow))
        if dones.any():
            break
    best = 55.6 if maze_class is TMazeChecks else 16.0
    assert [info["episode"]["r"] for info in infos] == pytest.approx([best] * 8, abs=1e-4)
    assert [info["episode"]["l"] >= 400 for info in infos] == [True] * 8


@pytest.mark.parametrize("maze_class", FORCED_MAZES)
def test_an_episode_has_exactly_100_steps_and_chance_is_2(maze_class):
    env = TrialVecEnv(maze_class(), 1500)
    env.seed(0)
    env.reset()
    random = np.random.default_rng(0)
    for _ in range(400):
        _, _, dones, infos = env.step(random.integers(4, size=1500))
    assert dones.all() and all(info["episode_lengths"] == [100] * 4 for info in infos)
    returns = np.array([info["episode_returns"] for info in infos])
    assert set(returns.reshape(-1)) == {4.0, -3.0}
    assert abs(returns.sum(axis=1).mean() - maze_class.reference_returns["random"]) < 4 * 7 / np.sqrt(1500)


def test_checks_chance_level():
    env = TrialVecEnv(TMazeChecks(), 200)
    env.seed(0)
    env.reset()
    random = np.random.default_rng(0)
    for _ in range(600):
        _, _, _, infos = env.step(random.integers(4, size=200))
    assert all(info["episode_lengths"] == [150] * 4 for info in infos)
    assert np.mean([info["episode"]["r"] for info in infos]) == pytest.approx(15.0, abs=0.4)


def bayes_error(n_bits, up_probability):
    """The least chance to mistake one task for the other after n bits."""
    likelihoods = [
        (comb(n_bits, k) * up_probability**k * (1 - up_probability) ** (n_bits - k), comb(n_bits, k) * 0.5**n_bits)
        for k in range(n_bits + 1)
    ]
    return 0.5 * sum(min(pair) for pair in likelihoods)


def test_latent_bayes_filter():
    good = 16 - 7 * bayes_error(100, 0.7)  # the first choice's reward tells the task
    assert good == pytest.approx(TMazeLatent.reference_returns["good"], abs=0.01)
    n_envs, maze = 4000, TMazeLatent()
    stream = RandomStream(range(n_envs), xp)
    task = maze.sample_task(stream)
    state = maze.reset(stream, task)
    log_odds = np.zeros(n_envs)
    for _ in range(100):
        bit = maze.observe(task, state)[:, 3]
        log_odds += np.where(bit > 0, np.log(0.7 / 0.5), np.log(0.3 / 0.5))
        state, reward, ended = maze.step(stream, task, state, np.where(log_odds > 0, 2, 3))
    assert ended.all()
    assert reward.mean() + 12 == pytest.approx(good, abs=4 * 7 * np.sqrt(0.02 / n_envs))


def play_order(task, action):
    """Run one episode; return the full transitions without noise bits, and the return."""
    env = TaskEnv(TMazeOrder())
    observation, _ = env.reset(seed=0, options={"task": task})
    transitions, total, terminated = [], 0.0, False
    while not terminated:
        following, reward, terminated, _, _ = env.step(action)
        transitions.append((tuple(observation[:3]), tuple(following[:3])))
        observation, total = following, total + reward
    return transitions, total


def test_order_cannot_be_told_from_the_set_of_transitions():
    up_down, down_up = (play_order(task, 0)[0][:-1] for task in ((1, -1), (-1, 1)))
    assert up_down != down_up and sorted(up_down) == sorted(down_up)
    best = {}
    for task in product((1, -1), repeat=2):
        returns = np.array([play_order(task, action)[1] for action in (2, 3)])
        best[tuple(sorted(task))] = best.get(tuple(sorted(task)), 0) + returns / 4
    assert sum(returns.max() for returns in best.values()) == 2.25
    assert TMazeOrder.reference_returns["unordered_memory"] == 2.25 + 3 * 4


def test_noise_is_fair_but_for_latent_up():
    for maze, task, expected in [(TMazeLS(), 1, 0.5), (TMazeLatent(), 1, 0.7), (TMazeLatent(), -1, 0.5)]:
        stream, tasks = RandomStream(range(500), xp), np.full((500, 1), task, np.float32)
        state = maze.reset(stream, tasks)
        ones = []
        for _ in range(50):
            ones.append(state.noise > 0)
            state, _, _ = maze.step(stream, tasks, state, np.zeros(500, int))
        assert np.mean(ones) == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(25_000))


@pytest.mark.parametrize(
    ("maze_class", "shortest"),
    [(TMazeLS, 3), (TMazeAgreement, 4), (TMazeLatent, 3), (TMazeOrder, 7), (TMazeChecks, 3)],
)
def test_the_shortest_corridor_works_and_shorter_ones_are_refused(maze_class, shortest):
    maze = maze_class(corridor_length=shortest)
    assert len(set(maze.indicator_positions)) == len(maze.indicator_positions)
    assert all(0 < position < shortest - 1 for position in maze.indicator_positions)
    with pytest.raises(ValueError, match=f"corridor_length >= {shortest}.*got {shortest - 1}"):
        maze_class(corridor_length=shortest - 1)
    with pytest.raises(TypeError):
        maze_class(corridor_length=50.5)


def test_other_bad_settings():
    with pytest.raises(ValueError, match=r"time_limit must be at least corridor_length = 100.*got 99"):
        TMazeChecks(time_limit=99)
    with pytest.raises(ValueError, match=r"up_probability must be in \[0, 1\], got 1.5"):
        TMazeLatent(up_probability=1.5)
    assert TMazeChecks().time_limit == 150 and TMazeChecks() == TMazeChecks(time_limit=150)
