"""Evaluation: many trials side by side against one after the other, fair sampling, and what goes wrong."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize

from sb3_hyper import HyperPPO, make_trial, make_trials
from sb3_hyper.envs import TASK_DISTRIBUTIONS, GridNavi, PointNav, TMazeLS, TrialVecEnv, batched_vec_env
from sb3_hyper.envs.mujoco import MUJOCO_TASK_DISTRIBUTIONS
from sb3_hyper.evaluation import BASELINES, RandomBaseline, evaluate_adaptation, evaluate_tasks

SMALL = {"size": "XS", "encoder_dim": 16}
N_ENVS, N_TRIALS, SEED = 3, 7, 5


class Staircase(gym.Env):
    """Every step pays 1; the task is the number of steps of an episode, so that short trials are poor ones."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n_steps = 0
        return np.zeros(1, np.float32), {"task": self.length}

    def step(self, action):
        self.n_steps += 1
        return np.zeros(1, np.float32), 1.0, self.n_steps == self.length, False, {"task": self.length}


def make_corridor():
    return make_trial("TMazeOrder", corridor_length=8)


@pytest.fixture(scope="module")
def model():
    """An untrained agent; what it does depends on everything that it remembers."""
    env = TrialVecEnv(make_corridor().get_wrapper_attr("distribution"), 2)
    model = HyperPPO("SplAggerPolicy", env, n_steps=32, batch_size=32, policy_kwargs=SMALL, seed=0, device="cpu")
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.3 * th.randn_like(parameter))
    return model


def one_after_the_other(model, n_trials, seed):
    """The trials of one environment, step by step: K sums of rewards each."""
    env, table = make_corridor(), []
    for trial in range(n_trials):
        observation, _ = env.reset(seed=seed if trial == 0 else None)
        returns, state, done, start = [0.0], None, False, np.array([True])
        while not done:
            action, state = model.predict(observation, state, start, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            if observation["new_episode"].item():
                returns[-1] += reward
                returns.append(0.0)
            else:
                returns[-1] += reward
            done, start = terminated or truncated, np.array([False])
        table.append(returns)
    return table


@pytest.mark.parametrize(
    "make_vec",
    [
        batched_vec_env,
        DummyVecEnv,
        lambda fns: VecMonitor(DummyVecEnv(fns)),
        lambda fns: VecNormalize(DummyVecEnv(fns), norm_obs=False),
    ],
    ids=["native", "dummy", "monitored", "normalized rewards"],
)
def test_returns_are_those_of_trials_played_one_by_one(model, make_vec):
    result = evaluate_adaptation(model, make_vec([make_corridor] * N_ENVS), N_TRIALS, seed=SEED)
    counts = [2, 2, 3]
    expected = [row for i, n in enumerate(counts) for row in one_after_the_other(model, n, SEED + i)]
    assert result.returns.shape == (N_TRIALS, 4)
    np.testing.assert_allclose(sorted(result.returns.tolist()), sorted(expected))
    assert len({tuple(row) for row in expected}) > 1  # else a wrong seed or memory would not show


def test_tensors_in_and_out(model):
    distribution = make_corridor().get_wrapper_attr("distribution")
    on_device, on_host = TrialVecEnv(distribution, N_ENVS, device="cpu"), TrialVecEnv(distribution, N_ENVS)
    results = [evaluate_adaptation(model, env, N_TRIALS, seed=SEED) for env in (on_device, on_host)]
    np.testing.assert_array_equal(*(result.returns for result in results))


def test_environments_by_name_show_the_task_to_who_is_told_it():
    model = HyperPPO("MultiPolicy", "PointNav-v0", n_steps=8, batch_size=8, policy_kwargs=SMALL, seed=0, device="cpu")
    by_name = evaluate_tasks(model, "PointNav-v0", 4, seed=SEED)
    shown = evaluate_tasks(model, TrialVecEnv(PointNav(), 4, expose_task=True), 4, seed=SEED)
    np.testing.assert_array_equal(by_name.returns, shown.returns)


@pytest.mark.parametrize("n_trials", [1, 2, 3, 4, 10])
def test_every_environment_contributes_its_first_trials(n_trials):
    env = batched_vec_env([lambda n=n: make_trials(Staircase(n), 2) for n in (1, 5, 20)])
    result = evaluate_adaptation(RandomBaseline(env.action_space), env, n_trials)
    lengths, counts = np.unique(result.returns[:, 0], return_counts=True)
    expected = [(n_trials + i) // 3 for i in range(3)]
    assert dict(zip(lengths, counts, strict=True)) == {n: c for n, c in zip((1, 5, 20), expected, strict=True) if c}
    assert (result.returns[:, 0] == result.returns[:, 1]).all()


def test_a_plain_environment_is_one_episode():
    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    envs = [make_vec_env("CartPole-v1", N_ENVS) for _ in range(2)]
    result = evaluate_adaptation(model, envs[0], N_TRIALS, seed=SEED)
    envs[1].seed(SEED)
    rewards, _ = evaluate_policy(model, envs[1], N_TRIALS, return_episode_rewards=True)
    assert result.returns.shape == (N_TRIALS, 1)
    assert sorted(result.returns[:, 0]) == sorted(rewards)
    assert (result.environment, result.policy, result.reference_returns) == ("CartPole-v1", "ActorCriticPolicy", {})


def test_an_environment_without_a_monitor_sums_its_rewards():
    env = DummyVecEnv([lambda: Staircase(4)])
    assert evaluate_adaptation(RandomBaseline(env.action_space), env, 2).returns.tolist() == [[4.0], [4.0]]
    assert evaluate_adaptation(RandomBaseline(env.action_space), Staircase(4), 2).environment == "Staircase"


@pytest.mark.slow
def test_subprocesses_know_references_too():
    env = SubprocVecEnv([lambda: make_trial("GridNavi")] * 2, start_method="spawn")
    result = evaluate_adaptation(RandomBaseline(env.action_space, 0), env, 3, seed=0)
    env.close()
    native = evaluate_adaptation(RandomBaseline(env.action_space, 0), make_vec_env("GridNavi-v0", 2), 3, seed=0)
    np.testing.assert_allclose(result.returns, native.returns)
    assert result.reference_returns == native.reference_returns == GridNavi.reference_returns


@pytest.mark.parametrize("env_id", TASK_DISTRIBUTIONS)
def test_random_actions_return_what_the_distribution_says(env_id):
    is_robot = env_id in MUJOCO_TASK_DISTRIBUTIONS
    if is_robot:
        pytest.importorskip("mujoco.batch")
    # Physics and pictures take time.
    n_trials = 30 if is_robot else 75 if "Pixels" in env_id else 300
    result = evaluate_adaptation(RandomBaseline(gym.make(env_id).action_space, 0), env_id, n_trials, seed=0)
    reference = TASK_DISTRIBUTIONS[env_id].reference_returns["random"]
    standard_error = result.returns.sum(axis=1).std() / np.sqrt(result.n_trials)
    assert abs(result.trial.mean - reference) < 4 * standard_error + 0.05
    assert result.reference_returns == TASK_DISTRIBUTIONS[env_id].reference_returns


@pytest.mark.parametrize("settings", [{"corridor_length": 9}, {"n_episodes_per_trial": 2}])
def test_references_hold_at_the_default_settings_only(settings):
    env = make_trial("TMazeLS", **settings)
    assert evaluate_adaptation(RandomBaseline(env.action_space), env, 1).reference_returns == {}


def test_seeds_fix_environments_and_sampled_actions(model):
    env = batched_vec_env([make_corridor] * N_ENVS)
    th.manual_seed(0)
    before = th.get_rng_state()
    first, again, other = (evaluate_adaptation(model, env, 9, deterministic=False, seed=s).returns for s in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert (th.get_rng_state() == before).all()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.Discrete(3, start=4),
        spaces.MultiDiscrete([2, 5]),
        spaces.MultiBinary(3),
        spaces.Box(-2, 1, (2,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", BASELINES)
def test_baselines_act_all_over_the_space(space, name):
    baseline, twin = BASELINES[name](space, 0), BASELINES[name](space, 0)
    actions = np.concatenate([baseline.predict({"observation": np.zeros((50, 1))})[0] for _ in range(10)])
    same = np.concatenate([twin.predict(np.zeros((50, 1)))[0] for _ in range(10)])
    assert (actions == same).all() and len(actions) == 500
    assert all(space.contains(action) for action in actions.astype(space.dtype))
    middle = actions.reshape(500, -1).mean(axis=0)
    draws = np.stack([np.ravel(space.sample()) for _ in range(2000)])
    assert np.abs(middle - draws.mean(axis=0)).max() < 5 * draws.std() / np.sqrt(500)
    assert len(baseline.predict(np.zeros((7, 1)))[0]) == 7


def test_no_trials_are_refused(model):
    with pytest.raises(ValueError, match="n_trials=0: wanted at least 1"):
        evaluate_adaptation(model, make_corridor(), 0)


def test_other_spaces_are_refused_by_what_differs(model):
    with pytest.raises(ValueError, match=r"with the observation space Dict\('previous_observation'.*has Dict\(\)"):
        evaluate_adaptation(model, make_trial("TMazeLS", full_transitions=False))
    with pytest.raises(ValueError, match="observation space"):
        evaluate_adaptation(model, "CartPole-v1")


def test_an_endless_environment_is_noticed():
    env = make_vec_env(lambda: Staircase(50), 2)
    with pytest.raises(ValueError, match="played 30 steps without an end"):
        evaluate_adaptation(RandomBaseline(env.action_space), env, 2, max_trial_length=30)
    assert evaluate_adaptation(RandomBaseline(env.action_space), env, 4, max_trial_length=60).n_trials == 4


@pytest.mark.parametrize("evaluate", [evaluate_adaptation, evaluate_tasks])
def test_trials_of_different_numbers_of_episodes_are_refused(evaluate):
    env = DummyVecEnv([lambda n=n: make_trials(Lucky(3), n) for n in (1, 2)])
    with pytest.raises(ValueError, match=r"Trials have \[1, 2\] episodes"):
        evaluate(RandomBaseline(env.action_space), env, 2)


def test_the_name_is_the_id_or_the_distribution():
    def name(env):
        return evaluate_adaptation(RandomBaseline(env.action_space), env, 1).environment

    assert name(make_vec_env("GridNavi-v0", 2, vec_env_cls=batched_vec_env)) == "GridNavi-v0"
    assert name(TrialVecEnv(TMazeLS(8), 2)) == "TMazeLS"
    assert name(DummyVecEnv([lambda: make_trials(Staircase(2), 2)])) == "Staircase"


@pytest.mark.parametrize("make_vec", [batched_vec_env, DummyVecEnv], ids=["native", "dummy"])
@pytest.mark.parametrize("n_envs", [1, 2, 5])
def test_tasks_are_those_of_their_seeds_whatever_is_played(model, make_vec, n_envs):
    env = make_vec([make_corridor] * n_envs)
    result = evaluate_tasks(model, env, 5, seed=SEED)
    other = evaluate_tasks(RandomBaseline(env.action_space), env, 5, seed=SEED)
    assert result.returns.shape == (1, 5, 4) and result.runs == ("run",) and result.seed == SEED
    expected = [one_after_the_other(model, 1, SEED + i)[0] for i in range(5)]
    np.testing.assert_allclose(result.returns[0], expected)
    tasks = [make_corridor().reset(seed=SEED + i)[1]["task"] for i in range(5)]
    assert result.tasks == other.tasks == tuple(tuple(task.tolist()) for task in tasks)
    assert (other.deterministic, other.policy) == (False, "random")


def test_tasks_of_plain_environments_are_not_known():
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    result = evaluate_tasks(RandomBaseline(env.action_space, 0), env, 3, seed=0)
    assert (result.tasks, result.distribution, result.returns.shape) == ((), "", (1, 3, 1))
    with pytest.raises(ValueError, match="n_tasks=0: wanted at least 1"):
        evaluate_tasks(RandomBaseline(env.action_space), env, 0)


def test_references_of_a_split_are_those_of_all_tasks():
    kwargs = {"split": "test", "expose_task": True}
    for changes, references in (({}, GridNavi.reference_returns), ({"size": 7}, {})):
        env = make_vec_env("GridNavi-v0", 2, env_kwargs={**kwargs, **changes}, vec_env_cls=batched_vec_env)
        baseline = RandomBaseline(env.action_space)
        assert evaluate_tasks(baseline, env, 2).reference_returns == references
        assert evaluate_adaptation(baseline, env, 2).reference_returns == {}


class Lucky(Staircase):
    """Succeeds when its task is odd."""

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "is_success": self.length % 2 == 1}


def test_successes_of_an_episode():
    env = DummyVecEnv([lambda n=n: Lucky(n) for n in (2, 3)])
    result = evaluate_tasks(RandomBaseline(env.action_space), env, 2)
    assert result.successes.tolist() == [[[0.0], [1.0]]] and result.tasks == ((2.0,), (3.0,))
    assert result.estimates["success_rate"][-1].value == 0.5
