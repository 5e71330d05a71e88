import array_api_compat.numpy as numpy_namespace
import array_api_compat.torch as torch_namespace
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs.random_stream import RandomStream
from sb3_hyper.envs.tabular_mdp import TabularMDP, TabularMDPSpace, normal_quantiles
from sb3_hyper.envs.task_env import TaskEnv

N_TRIALS = 300


def task_of(next_state, mean_reward):
    """The task whose every action leads to one state for sure."""
    n_states = len(next_state)
    transition = np.eye(n_states)[np.array(next_state)]
    return np.concatenate([transition, np.array(mean_reward)[:, :, None]], axis=2).reshape(-1)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_mdps_follow_the_rules(data):
    n_states, n_actions, horizon = (data.draw(st.integers(2, 6)) for _ in range(3))
    grid = st.lists(
        st.lists(st.integers(0, n_states - 1), min_size=n_actions, max_size=n_actions),
        min_size=n_states,
        max_size=n_states,
    )
    next_state, mean_reward = data.draw(grid), 100 * np.array(data.draw(grid))
    env = TaskEnv(TabularMDP(n_states, n_actions, horizon))
    seed = data.draw(st.integers(0, 1000))
    observation, _ = env.reset(seed=seed, options={"task": task_of(next_state, mean_reward)})
    state = 0
    for step in range(1, horizon + 1):
        assert observation.tolist() == np.eye(n_states)[state].tolist()
        action = data.draw(st.integers(0, n_actions - 1))
        observation, reward, terminated, _, _ = env.step(action)
        assert abs(reward - mean_reward[state][action]) < 5 and terminated == (step == horizon)
        state = next_state[state][action]


def parts(mdp, task):
    """Transitions (B, S, A, S) and mean rewards (B, S, A)."""
    table = task.reshape(-1, mdp.n_states, mdp.n_actions, mdp.n_states + 1).astype(np.float64)
    return table[..., :-1], table[..., -1]


def test_next_states_and_rewards_have_the_distribution_that_the_task_says():
    mdp, n_envs = TabularMDP(n_states=4, n_actions=3), 20_000
    task = np.tile(mdp.sample_task(RandomStream([1], numpy_namespace)), (n_envs, 1))
    transition, mean_reward = parts(mdp, task[:1])
    stream = RandomStream(range(n_envs), numpy_namespace)
    for state in range(4):
        for action in range(3):
            start = mdp.reset(stream, task)._replace(state=np.full(n_envs, state))
            following, reward, _ = mdp.step(stream, task, start, np.full(n_envs, action))
            probability = transition[0, state, action]
            share = np.bincount(following.state, minlength=4) / n_envs
            assert (abs(share - probability) <= 5 * np.sqrt(probability * (1 - probability) / n_envs)).all()
            assert reward.mean() == pytest.approx(mean_reward[0, state, action], abs=5 / np.sqrt(n_envs))
            assert reward.std() == pytest.approx(1.0, abs=5 / np.sqrt(2 * n_envs))
            surprise = np.corrcoef(following.state, reward)[0, 1]
            assert abs(surprise) < 5 / np.sqrt(n_envs)


class FixedStream:
    """Draws what it is told to, in every environment."""

    def __init__(self, draws):
        self.xp, self.device, self.draws = numpy_namespace, None, draws

    def integers(self, high, n_draws):
        return self.draws


def test_chances_are_whole_numbers_before_they_are_added():
    mdp = TabularMDP(n_states=10, n_actions=2)
    tenth = round(0.1 * 2**24)  # 0.1 in float32 is 1677721.625 / 2^24, and sums of it fall behind
    draws = np.array([[tenth * state - before, 2**23] for state in range(1, 10) for before in (1, 0)])
    task = np.tile(np.array([[0.1] * 10 + [0.0]] * 20, np.float32).reshape(-1), (len(draws), 1))
    start = mdp.reset(RandomStream(range(len(draws)), numpy_namespace), task)
    following, _, _ = mdp.step(FixedStream(draws), task, start, np.zeros(len(draws), int))
    assert following.state.tolist() == [state - before for state in range(1, 10) for before in (1, 0)]


def expected_next_states(mdp, task):
    return (parts(mdp, task)[0] * np.arange(mdp.n_states)).sum(axis=(1, 2, 3))


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_tasks_have_their_distribution_and_split(split):
    mdp, n_envs = TabularMDP(split=split), 1500
    task = mdp.sample_task(RandomStream(range(n_envs), numpy_namespace))
    assert task.shape == (n_envs, 550) and task.dtype == np.float32 and task[0] in mdp.task_space
    transition, mean_reward = parts(mdp, task)
    np.testing.assert_array_equal(transition.sum(axis=3), 1.0)
    assert mean_reward.mean() == pytest.approx(1.0, abs=5 / np.sqrt(mean_reward.size))
    assert mean_reward.std() == pytest.approx(1.0, abs=5 / np.sqrt(2 * mean_reward.size))
    # A component of Dirichlet(1, ..., 1) over 10 is Beta(1, 9): P(p > x) = (1 - x)^9.
    for x in (0.02, 0.1, 0.3):
        share, expected = (transition > x).mean(axis=(0, 1, 2)), (1 - x) ** 9
        assert abs(share - expected).max() < 5 * np.sqrt(expected * (1 - expected) / (n_envs * 50))
    is_test = expected_next_states(mdp, task) % 1 >= 0.75
    assert is_test.mean() == {None: pytest.approx(0.25, abs=0.06), "train": 0.0, "test": 1.0}[split]


def test_the_normal_distribution():
    quantiles = normal_quantiles().astype(np.float64)
    assert quantiles.mean() == pytest.approx(0.0, abs=1e-9) and (np.diff(quantiles) > 0).all()
    for power, moment in ((2, 1.0), (4, 3.0), (6, 15.0)):
        assert (quantiles**power).mean() == pytest.approx(moment, rel=0.02)
    assert (abs(quantiles) < 1.959964).mean() == pytest.approx(0.95, abs=2e-5)


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_numpy_and_torch_play_the_same_bits(split):
    mdp, outcomes = TabularMDP(split=split), []
    for xp in (numpy_namespace, torch_namespace):
        stream = RandomStream(range(16), xp)
        task = mdp.sample_task(stream)
        uneven = mdp.task_space
        uneven.seed(0)
        task[0, :] = xp.asarray(uneven.sample())  # probabilities that no sum is exact for
        state = mdp.reset(stream, task)
        outcome = [task, *state, mdp.observe(task, state)]
        for _ in range(50):
            state, reward, ended = mdp.step(stream, task, state, stream.integers(5)[:, 0])
            outcome += [*state, reward, ended, mdp.observe(task, state)]
        outcomes.append([np.asarray(array) for array in outcome])
    for a, b in zip(*outcomes, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_space_of_mdps():
    space = TabularMDPSpace(3, 2)
    space.seed(0)
    task = space.sample()
    assert task in space and task.shape == (24,) and task.tolist() in space
    for place, value in ((0, 1.5), (1, -0.1), (3, np.inf), (3, np.nan), (5, task[5] + 0.01)):
        wrong = task.copy()
        wrong[place] = value
        assert wrong not in space
    assert task[:-1] not in space and "mdp" not in space and [[1], [2, 3]] not in space
    assert space == TabularMDPSpace(3, 2) != TabularMDPSpace(2, 3) and repr(space) == "TabularMDPSpace(3, 2)"
    # 3 x 4 x 4 and 2 x 8 x 3 numbers: as long, but no equals.
    assert TabularMDPSpace(3, 4).shape == TabularMDPSpace(2, 8).shape and TabularMDPSpace(3, 4) != TabularMDPSpace(2, 8)


def optimal_policy(transition, mean_reward, horizon=10):
    """Value iteration: the best action for each step and state, (horizon, B, S), and the return from state 0, (B,)."""
    value, policy = np.zeros(transition.shape[:2]), []
    for _ in range(horizon):
        action_value = mean_reward + np.einsum("bsat,bt->bsa", transition, value)
        policy.insert(0, action_value.argmax(axis=2))
        value = action_value.max(axis=2)
    return np.stack(policy), value[:, 0]


def random(mdp, task):
    rng = np.random.default_rng(0)
    return lambda n_visits, rewards: rng.integers(mdp.n_actions, size=(mdp.horizon, N_TRIALS, mdp.n_states))


def knows_task(mdp, task):
    return lambda n_visits, rewards: optimal_policy(*parts(mdp, task))[0]


def posterior_sampling(mdp, task):
    rng = np.random.default_rng(0)

    def plan(n_visits, rewards):
        gamma, n_times = rng.standard_gamma(1.0 + n_visits), 1.0 + n_visits.sum(axis=3)
        mean_reward = (1.0 + rewards) / n_times + rng.normal(size=rewards.shape) / np.sqrt(n_times)
        return optimal_policy(gamma / gamma.sum(axis=3, keepdims=True), mean_reward)[0]

    return plan


def posterior_mean(mdp, task):
    def plan(n_visits, rewards):
        transition = (1.0 + n_visits) / (mdp.n_states + n_visits.sum(axis=3, keepdims=True))
        return optimal_policy(transition, (1.0 + rewards) / (1.0 + n_visits.sum(axis=3)))[0]

    return plan


POLICIES = {policy.__name__: policy for policy in (random, knows_task, posterior_sampling, posterior_mean)}


@pytest.mark.parametrize("name", TabularMDP.reference_returns)
def test_scripted_policies_reach_the_references(name):
    mdp, stream, rows = TabularMDP(), RandomStream(range(N_TRIALS), numpy_namespace), np.arange(N_TRIALS)
    task = mdp.sample_task(stream)
    plan, total = POLICIES[name](mdp, task), np.zeros(N_TRIALS)
    n_visits, rewards = np.zeros((N_TRIALS, 10, 5, 10)), np.zeros((N_TRIALS, 10, 5))
    for _ in range(mdp.n_episodes):
        policy, state = plan(n_visits, rewards), mdp.reset(stream, task)
        for step in range(mdp.horizon):
            action, before = policy[step, rows, state.state], state.state
            state, reward, ended = mdp.step(stream, task, state, action)
            n_visits[rows, before, action, state.state] += 1
            rewards[rows, before, action] += reward
            total += reward
        assert ended.all()
    error = total.std() / np.sqrt(N_TRIALS)
    assert total.mean() == pytest.approx(TabularMDP.reference_returns[name], abs=4 * error) and error < 1.8


def test_the_mean_over_tasks_of_the_optimal_return():
    mdp = TabularMDP()
    returns = 10 * optimal_policy(*parts(mdp, mdp.sample_task(RandomStream(range(2000), numpy_namespace))))[1]
    error = returns.std() / np.sqrt(2000)
    assert returns.mean() == pytest.approx(TabularMDP.reference_returns["knows_task"], abs=4 * error) and error < 0.6


def test_rendering_shows_the_present_state():
    mdp = TabularMDP(n_states=3, n_actions=2)
    stream = RandomStream([0], numpy_namespace)
    task = task_of([[1, 2]] * 3, [[2.0, -2.0]] * 3).astype(np.float32)[None]
    state, _, _ = mdp.step(stream, task, mdp.reset(stream, task), np.array([1]))
    lines = mdp.render_text(task, state).splitlines()
    assert lines[0].split() == ["state", ".", ".", "A"] and lines[-1] == "step 1"
    assert lines[1].split()[2:5] == ["0", "100", "0"] and lines[2].endswith("mean reward -2.00")
    image = mdp.render_rgb(task, state)
    cells = image[8::16, 8::16].tolist()
    assert len(cells) == 3 and cells[0][2] == [40, 80, 200] and cells[1][1] == cells[2][2] == [0, 0, 0]
    (red, green, _), (other_red, other_green, _) = cells[1][3], cells[2][3]
    assert green > red and other_red > other_green


def test_bad_settings():
    for name, value in (("n_states", 1), ("n_actions", 1), ("horizon", 0)):
        with pytest.raises(ValueError, match=f"needs {name} >= {value + 1}, got {value}"):
            TabularMDP(**{name: value})
    with pytest.raises(ValueError, match="split must be None"):
        TabularMDP(split="validation")
    with pytest.raises(ValueError, match=r"TabularMDPSpace\(10, 5\)"):
        TabularMDP().check_task([0.2] * 550)
