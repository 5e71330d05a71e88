from itertools import product
from math import comb

import array_api_compat.numpy as xp
import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs import (
    TASK_DISTRIBUTIONS,
    TaskEnv,
    TMazeAgreement,
    TMazeChecks,
    TMazeLatent,
    TMazeLS,
    TMazeOrder,
    make_trial,
)
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


def play_both(env, twin, task, twin_task, seed, n_steps, random):
    """Two environments under the same actions, often the shown bit. Yields pairs of what they return."""
    first, second = (one.reset(seed=seed, options={"task": x})[0] for one, x in ((env, task), (twin, twin_task)))
    yield (first, 0.0, False), (second, 0.0, False)
    for _ in range(n_steps):
        action = (2 if first[3] > 0 else 3) if random.random() < 0.8 else int(random.integers(4))
        (first, *rest), (second, *twin_rest) = env.step(action), twin.step(action)
        yield (first, *rest[:2]), (second, *twin_rest[:2])
        if rest[1]:
            return


@pytest.mark.parametrize("maze_class", MAZES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_corridor_of_random_length_is_one_of_that_length(maze_class, data):
    limit = {"time_limit": 30} if maze_class is TMazeChecks else {}
    length = data.draw(st.integers(7, 12))
    env = TaskEnv(maze_class(random_length=(7, 12), **limit))
    twin = TaskEnv(maze_class(corridor_length=length, **limit))
    assert env.observation_space == twin.observation_space and env.action_space == twin.action_space
    task = data.draw(st.sampled_from(twin.task_space.tasks.tolist()))
    random = np.random.default_rng(data.draw(st.integers(0, 100)))
    for got, expected in play_both(env, twin, [*task, length], task, data.draw(st.integers(0, 100)), 40, random):
        np.testing.assert_array_equal(got[0], expected[0])
        assert got[1:] == expected[1:]
    assert got[2]


@pytest.mark.parametrize("maze_class", MAZES)
@pytest.mark.parametrize("lengths", [{"corridor_length": 50}, {"random_length": (7, 50)}])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_positional_encoding_is_the_share_of_the_way(maze_class, lengths, data):
    env, twin = TaskEnv(maze_class(positional_encoding=True, **lengths)), TaskEnv(maze_class(**lengths))
    task = data.draw(st.sampled_from(env.task_space.tasks.tolist()))
    last = (task[-1] if "random_length" in lengths else 50) - 1
    random, before = np.random.default_rng(data.draw(st.integers(0, 100))), 0.0
    for got, expected in play_both(env, twin, task, task, 0, 80, random):
        np.testing.assert_array_equal(got[0][:4], expected[0])
        assert got[1:] == expected[1:] and got[0] in env.observation_space
        way = got[0][4]
        assert way * last == pytest.approx(round(way * last), abs=1e-4) and before <= way <= before + 1.001 / last
        assert (way == 0, way == 1) == (bool(got[0][0]), bool(got[0][2]))
        before = way


@pytest.mark.parametrize("maze_class", FORCED_MAZES)
def test_every_trial_has_a_corridor_of_its_own(maze_class):
    env = TrialVecEnv(maze_class(random_length=(7, 10)), 64, n_episodes=3)
    env.seed(0)
    env.reset()
    tasks = []
    for _ in range(200):
        for info in env.step(np.zeros(64, int))[3]:
            if info:
                assert info["episode_lengths"] == [info["task"][-1]] * 3
                tasks.append(info["task"])
    assert {task[-1] for task in tasks} == {7, 8, 9, 10} and len(tasks) > 400
    for column in env.distribution.sample_task(RandomStream(range(4000), xp)).T:
        values, counts = np.unique(column, return_counts=True)
        assert abs(counts - 4000 / len(values)).max() < 5 * np.sqrt(4000 / len(values))


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("maze_class", MAZES)
def test_a_batch_of_random_lengths_equals_single_ones(maze_class, device):
    variant = {"random_length": (7, 11), "positional_encoding": True}
    batch = TrialVecEnv(maze_class(**variant), 4, n_episodes=2, device=device)
    singles = [make_trial(maze_class, n_episodes_per_trial=2, **variant) for _ in range(4)]
    batch.seed(5)
    observation = batch.reset()
    rows = [env.reset(seed=5 + index)[0] for index, env in enumerate(singles)]
    random, seen = np.random.default_rng(0), set()
    for _ in range(60):
        for key, value in observation.items():
            np.testing.assert_array_equal(np.asarray(value), [row[key] for row in rows])
        actions = np.where(np.stack([row["observation"] for row in rows])[:, 3] > 0, 2, 3)
        actions = np.where(random.random(4) < 0.9, actions, random.integers(4, size=4))
        observation, _, dones, _ = batch.step(actions if device is None else th.as_tensor(actions))
        steps = [env.step(action) for env, action in zip(singles, actions, strict=True)]
        assert [step[2] for step in steps] == dones.tolist()
        rows = [env.reset()[0] if step[2] else step[0] for env, step in zip(singles, steps, strict=True)]
        seen.add(tuple(dones.tolist()))
    assert len(seen) > 3


def test_a_picture_shows_the_noise_bit():
    env = TaskEnv(TMazeLS(corridor_length=4), render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    seen = set()
    for position in range(3):
        yellow = (env.render()[::6, ::6] == (230, 180, 40)).all(axis=2)
        assert np.argwhere(yellow).tolist() == [[0 if observation[3] > 0 else 2, position]]
        seen.add(float(observation[3]))
        observation, *_ = env.step(0)
    assert seen == {-1.0, 1.0}
    assert not (env.render() == (230, 180, 40)).all(axis=2).any()  # in the last cell the arms are there


def test_pictures_of_random_lengths_have_one_size():
    env = TaskEnv(TMazeAgreement(random_length=(5, 12)), render_mode="rgb_array")
    pictures, texts = [], []
    for length in (5, 12):
        env.reset(seed=0, options={"task": [1, -1, length]})
        pictures.append(env.render())
        texts.append(env.distribution.render_text(env.task[None], env._state).splitlines()[:3])
    assert pictures[0].shape == pictures[1].shape == (18, 72, 3)
    assert not pictures[0][:, 30:].any() and pictures[0][:, :30].any(axis=(0, 2)).all()
    assert texts == [["    +", "A^v..", "    -"], [" " * 11 + "+", "A^....v.....", " " * 11 + "-"]]
    text = TaskEnv(TMazeLS(corridor_length=4, positional_encoding=True), render_mode="ansi")
    text.reset(seed=0)
    text.step(0)
    assert "0.333]" in text.render()


def test_variants_by_id_and_as_settings():
    env = gym.make("TMazeLS-v0", random_length=[5, 9], positional_encoding=True)
    maze = env.unwrapped.distribution
    assert maze == TMazeLS(random_length=(5, 9), positional_encoding=True) and maze.settings["corridor_length"] == 9
    assert not maze.fixed_length and TMazeLS(random_length=(9, 9)).fixed_length and TMazeLS().fixed_length
    assert not TMazeChecks(random_length=(9, 9)).fixed_length and maze.episode_length == 9
    assert TMazeChecks(random_length=(5, 9)).time_limit == 13
    assert type(maze)(**maze.settings) == maze != TMazeLS(9, positional_encoding=True)
    assert env.observation_space["observation"].shape == (5,) and len(maze.tasks) == 10


def test_bad_lengths():
    for wrong in ((9, 5), (5,), (5, 7, 9)):
        with pytest.raises(ValueError, match=r"random_length must be None or \(shortest, longest\), got"):
            TMazeLS(random_length=wrong)
    with pytest.raises(ValueError, match="corridor_length=20 contradicts random_length=.*set one of the two"):
        TMazeLS(corridor_length=20, random_length=(5, 9))
    with pytest.raises(ValueError, match="corridor_length >= 7.*got 6"):
        TMazeOrder(random_length=(6, 9))
    with pytest.raises(TypeError):
        TMazeLS(random_length=(5.0, 9.0))
    with pytest.raises(ValueError, match="time_limit must be at least corridor_length = 9"):
        TMazeChecks(random_length=(5, 9), time_limit=8)
    with pytest.raises(ValueError, match="a learner needs them all"):
        TMazeLS(random_length=(5, 9), split="train")
    for task in ([1.0, 4.0], [1.0], [0.0, 5.0]):
        with pytest.raises(ValueError, match="where it is random, the corridor's length"):
            TMazeLS(random_length=(5, 9)).check_task(task)
