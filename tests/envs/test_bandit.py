import array_api_compat.numpy as numpy_namespace
import array_api_compat.torch as torch_namespace
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs.bandit import N_LEVELS, Bandit, uniform_levels
from sb3_hyper.envs.random_stream import RandomStream
from sb3_hyper.envs.task_env import TaskEnv

N_TRIALS = 400


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_bandits_follow_the_rules(data):
    n_arms, n_steps = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 20))
    env = TaskEnv(Bandit(n_arms, n_steps))
    means = data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n_arms, max_size=n_arms))
    observation, _ = env.reset(seed=data.draw(st.integers(0, 1000)), options={"task": means})
    n_pulls = [0] * n_arms
    for step in range(1, n_steps + 1):
        assert observation.tolist() == [1.0]
        arm = data.draw(st.integers(0, n_arms - 1))
        n_pulls[arm] += 1
        observation, reward, terminated, _, _ = env.step(arm)
        assert reward == means[arm] and terminated == (step == n_steps)
        assert env._state.arm.tolist() == [arm] and env._state.n_pulls.tolist() == [n_pulls]


def test_an_arm_pays_as_often_as_its_mean_says():
    bandit, means = Bandit(), np.array([0.05, 0.3, 0.5, 0.8, 0.99], np.float32)
    stream, task = RandomStream(range(4000), numpy_namespace), np.tile(means, (4000, 1))
    state = bandit.reset(stream, task)
    for arm, mean in enumerate(means):
        rewards = [bandit.step(stream, task, state, np.full(4000, arm))[1].mean() for _ in range(5)]
        assert np.mean(rewards) == pytest.approx(mean, abs=5 * float(mean * (1 - mean) / 20_000) ** 0.5)


def is_test(task):
    return np.round(task.astype(np.float64) * N_LEVELS).astype(int).sum(axis=1) % N_LEVELS >= 3 * N_LEVELS // 4


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_means_are_uniform_and_their_sum_tells_the_split(split):
    n_envs = 8000
    task = Bandit(split=split).sample_task(RandomStream(range(n_envs), numpy_namespace))
    assert task.dtype == np.float32 and task.min() >= 0 and task.max() < 1
    share = is_test(task).mean()
    assert share == {None: pytest.approx(0.25, abs=0.025), "train": 0.0, "test": 1.0}[split]
    for arm in range(5):
        counts, _ = np.histogram(task[:, arm], bins=10, range=(0, 1))
        assert ((counts - n_envs / 10) ** 2 / (n_envs / 10)).sum() < 34  # chi-squared, 9 degrees of freedom: p = 1e-4
    correlation = np.corrcoef(task.T) - np.eye(5)
    assert abs(correlation).max() < 5 / np.sqrt(n_envs)
    other_four = np.histogram(task[:, [0, 1, 2, 4]].sum(axis=1) % 1, bins=10, range=(0, 1))[0]
    assert ((other_four - n_envs / 10) ** 2 / (n_envs / 10)).sum() < 34


@pytest.mark.parametrize("split", [None, "train", "test"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), n_draws=st.integers(1, 5))
def test_levels_fill_their_split_and_change_one_number(split, seed, n_draws):
    drawn = [
        uniform_levels(RandomStream([seed], xp), n_draws, split, None) for xp in (numpy_namespace, torch_namespace)
    ]
    np.testing.assert_array_equal(*map(np.asarray, drawn))
    levels = drawn[0][0]
    plain = RandomStream([seed], numpy_namespace).integers(N_LEVELS, n_draws)[0]
    assert levels.min() >= 0 and levels.max() < N_LEVELS
    np.testing.assert_array_equal(levels[:-1], plain[:-1])
    share = plain[-1] / N_LEVELS
    expected = {"train": 0.75 * share, "test": 0.75 + 0.25 * share, None: levels.sum() / N_LEVELS % 1}[split]
    assert levels.sum() / N_LEVELS % 1 == pytest.approx(expected, abs=2 / N_LEVELS)


@pytest.mark.parametrize("split", [None, "train"])
def test_numpy_and_torch_play_the_same_bits(split):
    bandit, outcomes = Bandit(split=split), []
    for xp in (numpy_namespace, torch_namespace):
        stream = RandomStream(range(16), xp)
        task = bandit.sample_task(stream)
        state = bandit.reset(stream, task)
        outcome = [task, *state, bandit.observe(task, state)]
        for _ in range(30):
            state, reward, ended = bandit.step(stream, task, state, stream.integers(5)[:, 0])
            outcome += [*state, reward, ended, bandit.observe(task, state)]
        outcomes.append([np.asarray(array) for array in outcome])
    for a, b in zip(*outcomes, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def gittins_indices(n_steps, n_grid=100):
    """
    The finite-horizon Gittins index of an arm, by the steps that are left, its successes and its failures.

    That is the mean of a known arm for which one would as soon exchange it for good, on a grid of such means.
    """
    known = ((np.arange(n_grid) + 0.5) / n_grid)[:, None, None]
    n_counts = n_steps + 1
    successes, failures = np.arange(n_counts)[:, None], np.arange(n_counts)[None, :]
    mean = (successes + 1) / (successes + failures + 2)
    indices, value = np.zeros((n_steps + 1, n_counts, n_counts)), np.zeros((n_grid, n_counts, n_counts), np.float32)
    for n_left in range(1, n_steps + 1):
        n = n_counts - n_left
        won, lost = value[:, 1 : n + 1, :n], value[:, :n, 1 : n + 1]
        pull, leave = mean[:n, :n] * (1 + won) + (1 - mean[:n, :n]) * lost, known * n_left
        indices[n_left, :n, :n] = (pull >= leave).mean(axis=0)
        value[:, :n, :n] = np.maximum(pull, leave)
    return indices


def good():
    indices = gittins_indices(100)
    return lambda rng, task, won, lost: (indices[100 - (won + lost).sum(axis=1)[0], won, lost] + ties(rng)).argmax(
        axis=1
    )


def ties(rng):
    return 1e-5 * rng.random((N_TRIALS, 5))


POLICIES = {
    "random": lambda: lambda rng, task, won, lost: rng.integers(5, size=N_TRIALS),
    "thompson_sampling": lambda: lambda rng, task, won, lost: rng.beta(won + 1, lost + 1).argmax(axis=1),
    "good": good,
    "knows_task": lambda: lambda rng, task, won, lost: task.argmax(axis=1),
}


@pytest.mark.parametrize("name", Bandit.reference_returns)
def test_scripted_policies_reach_the_references(name):
    bandit, rng, policy = Bandit(), np.random.default_rng(0), POLICIES[name]()
    stream, rows = RandomStream(range(N_TRIALS), numpy_namespace), np.arange(N_TRIALS)
    task = bandit.sample_task(stream)
    state, total = bandit.reset(stream, task), np.zeros(N_TRIALS)
    won, lost = np.zeros((2, N_TRIALS, 5), int)
    for _ in range(100):
        arm = policy(rng, task, won, lost)
        state, reward, ended = bandit.step(stream, task, state, arm)
        won[rows, arm] += reward == 1
        lost[rows, arm] += reward == 0
        total += reward
    assert ended.all()
    # The best arm's mean has the known mean 5/6 and explains most of what the tasks' luck adds to a return.
    best = 100 * (task.max(axis=1) - 5 / 6)
    slope = np.cov(total, best)[0, 1] / best.var()
    adjusted = total - slope * best
    error = adjusted.std() / np.sqrt(N_TRIALS)
    assert adjusted.mean() == pytest.approx(Bandit.reference_returns[name], abs=4 * error + 0.05) and error < 0.8


def test_references_that_are_called_exact():
    assert Bandit.reference_returns["random"] == 100 / 2
    assert Bandit.reference_returns["knows_task"] == pytest.approx(100 * 5 / 6, abs=0.005)


def test_rendering_shows_means_and_pulls():
    bandit = Bandit(n_arms=2, n_steps=4)
    stream, task = RandomStream([0], numpy_namespace), np.array([[0.5, 1.0]], np.float32)
    state = bandit.reset(stream, task)
    assert "<" not in bandit.render_text(task, state)
    for arm in (0, 1, 1):
        state, _, _ = bandit.step(stream, task, state, np.array([arm]))
    first, second, last = bandit.render_text(task, state).splitlines()
    assert (first.count("#"), second.count("#"), last) == (20, 40, "step 3")
    assert first.endswith("mean 0.50, pulls 1") and second.endswith("mean 1.00, pulls 2 <")
    image = bandit.render_rgb(task, state)
    green, blue = (image == [60, 160, 60]).all(axis=2).sum(axis=0), (image == [40, 80, 200]).all(axis=2).sum(axis=0)
    assert sorted(set(green)) == [0, 50, 100] and sorted(set(blue)) == [0, 25, 50]


def test_bad_settings():
    with pytest.raises(ValueError, match=r"n_arms >= 2.*got 1"):
        Bandit(n_arms=1)
    with pytest.raises(ValueError, match="n_steps must be at least 1, got 0"):
        Bandit(n_steps=0)
    with pytest.raises(ValueError, match="split must be None"):
        Bandit(split="validation")
    for task in ([0.5] * 4, [0.5, 0.5, 0.5, 0.5, 1.1], [0.5, 0.5, 0.5, 0.5, np.nan]):
        with pytest.raises(ValueError, match="the means of the arms"):
            Bandit().check_task(task)
