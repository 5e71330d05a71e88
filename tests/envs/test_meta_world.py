"""
Meta-World's benchmarks as trials.

Most of it needs the extra ``metaworld``, in a virtual environment of its own::

    pip install -e ".[metaworld,zoo]" pytest hypothesis && pytest tests/envs/test_meta_world.py
"""

import copy
import importlib.util
import pickle
import types

import gymnasium as gym
import numpy as np
import pytest
import yaml
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_hyper import HyperPPO, make_trials
from sb3_hyper.envs import META_WORLD_IDS, MetaWorldEnv, meta_world
from sb3_hyper.envs.meta_world_benchmark import import_meta_world, load_benchmark
from sb3_hyper.evaluation import RandomBaseline, evaluate_adaptation
from sb3_hyper.held_out_tasks import held_out_env
from sb3_hyper.zoo.experiment import default_hyperparameters

HAS_META_WORLD = importlib.util.find_spec("metaworld") is not None
needs_meta_world = pytest.mark.skipif(
    not HAS_META_WORLD, reason='needs the extra "metaworld", in an environment of its own (docs/environments.md)'
)
REACH = "ML1-reach-v3"
SHORT = {"episode_length": 5}


# Without Meta-World.


def test_every_id_is_registered_and_has_hyperparameters():
    entries = yaml.safe_load(default_hyperparameters().read_text())
    assert set(META_WORLD_IDS) <= set(gym.registry) and set(META_WORLD_IDS) <= set(entries)
    assert len(META_WORLD_IDS) == len(set(META_WORLD_IDS)) == 52


@pytest.fixture
def fresh_import():
    import_meta_world.cache_clear()
    load_benchmark.cache_clear()
    yield
    import_meta_world.cache_clear()


@pytest.mark.parametrize("env_id", [REACH, "ML10-v3"])
def test_a_missing_extra_is_named(env_id, monkeypatch, fresh_import):
    monkeypatch.setitem(importlib.sys.modules, "metaworld", None)
    with pytest.raises(ImportError, match=r'could not import it.*pip install "sb3-hyper\[metaworld\]".*of its own'):
        gym.make(env_id)


def test_a_mujoco_that_is_too_new_is_named(monkeypatch, fresh_import):
    monkeypatch.setitem(importlib.sys.modules, "metaworld", types.ModuleType("metaworld"))
    mujoco = types.SimpleNamespace(__version__="4.0.0", mjNEQDATA=12)
    monkeypatch.setitem(importlib.sys.modules, "mujoco", mujoco)
    with pytest.raises(ImportError, match=r"does not work with the installed MuJoCo 4\.0\.0.*needs MuJoCo 3\.3\.0"):
        gym.make(REACH)


def test_unknown_benchmarks_and_seeds():
    with pytest.raises(ValueError, match="Unknown Meta-World benchmark 'ML1-raech-v3'.*Did you mean 'ML1-reach-v3'"):
        MetaWorldEnv("ML1-raech-v3")
    with pytest.raises(ValueError, match="benchmark_seed must be a whole number, 0 or more.*got None"):
        MetaWorldEnv(REACH, benchmark_seed=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": None}, "split must be 'train' or 'test'.*got None"),
        ({"episode_length": 501}, "episode_length must be 1 to 500.*got 501"),
        ({"render_mode": "human"}, "render_mode must be None or 'rgb_array', got 'human'"),
        ({"n_episodes_per_trial": 0}, "at least 1, got 0"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        gym.make(REACH, **arguments)


# With Meta-World.


@needs_meta_world
def test_there_is_an_id_for_every_environment():
    names = import_meta_world().ML1.ENV_NAMES
    assert {f"ML1-{name}" for name in names} == set(META_WORLD_IDS) - {"ML10-v3", "ML45-v3"}


def key(task):
    """Meta-World's task as something to compare: the environment's name and the exact numbers."""
    data = pickle.loads(task.data)
    return task.env_name, data["rand_vec"].tobytes(), data["partially_observable"]


def played(env):
    """What the simulator plays, in the same form."""
    base = env.unwrapped
    simulator = base._simulators[base.task_name]
    assert type(simulator) is base.benchmark.classes[base.task_name]
    return base.task_name, simulator._last_rand_vec.tobytes(), simulator._partially_observable


@pytest.fixture(scope="module")
def make_benchmark():
    """Meta-World's own benchmarks, built apart from ours."""
    built = {}

    def make_benchmark(env_id):
        library = import_meta_world()
        if env_id not in built:
            if env_id.startswith("ML1-"):
                built[env_id] = library.ML1(env_id.removeprefix("ML1-"), seed=0)
            else:
                built[env_id] = {"ML10-v3": library.ML10, "ML45-v3": library.ML45}[env_id](seed=0)
        return built[env_id]

    return make_benchmark


BENCHMARKS = [REACH, "ML1-door-open-v3", "ML10-v3", pytest.param("ML45-v3", marks=pytest.mark.slow)]


@needs_meta_world
@pytest.mark.parametrize("env_id", BENCHMARKS)
def test_train_tasks_are_the_benchmarks_train_tasks_and_test_tasks_its_test_tasks(env_id, make_benchmark):
    benchmark = make_benchmark(env_id)
    expected = {"train": {key(t) for t in benchmark.train_tasks}, "test": {key(t) for t in benchmark.test_tasks}}
    assert not expected["train"] & expected["test"]
    for split, arguments in {"train": {}, "test": {"split": "test"}}.items():
        env = gym.make(env_id, **SHORT, **arguments)
        vectors = env.unwrapped.benchmark.vectors[split]
        assert len(vectors) == len(expected[split])
        got = set()
        for vector in vectors[:: max(1, len(vectors) // 60)]:
            _, info = env.reset(options={"task": vector})
            np.testing.assert_array_equal(info["task"], vector)
            got.add(played(env))
        assert got <= expected[split] and len(got) >= 50
        seen = []
        for seed in range(10):
            env.reset(seed=seed)
            seen.append(played(env))
        assert set(seen) <= expected[split] and len(set(seen)) > 5
        env.close()


@needs_meta_world
def test_all_tasks_of_an_ml1_are_drawn(make_benchmark):
    for split in ("train", "test"):
        env = gym.make(REACH, split=split, **SHORT)
        drawn = set()
        for i in range(400):
            drawn.add(env.unwrapped.reset(seed=0 if i == 0 else None) and played(env))
        assert drawn == {key(task) for task in getattr(make_benchmark(REACH), f"{split}_tasks")}


@needs_meta_world
@pytest.mark.parametrize("env_id", [REACH, "ML10-v3"])
def test_trajectories_are_those_of_meta_worlds_environment(env_id, make_benchmark):
    benchmark = make_benchmark(env_id)
    env = gym.make(env_id, **SHORT)
    random = np.random.default_rng(0)
    for index in range(0, len(benchmark.train_tasks), 45):
        task = benchmark.train_tasks[index]
        twin = benchmark.train_classes[task.env_name]()
        observation, _ = env.reset(options={"task": env.unwrapped.benchmark.vectors["train"][index]})
        for episode in range(2):
            twin.set_task(task)
            expected, _ = twin.reset()
            np.testing.assert_array_equal(observation["observation"], expected.astype(np.float32))
            assert observation["new_episode"] == episode
            for _ in range(5):
                # Beyond the bounds on purpose.
                action = random.uniform(-1.3, 1.3, 4).astype(np.float32)
                expected, reward, _, _, twin_info = twin.step(np.clip(action, -1, 1))
                observation, got, terminated, truncated, info = env.step(action)
                state = info.get("episode_final_observation", observation["observation"])
                np.testing.assert_array_equal(state, expected.astype(np.float32))
                assert got == reward and info["success"] == bool(twin_info["success"]) and not terminated
        assert truncated and info["episode_lengths"] == [5, 5] and info["task_name"] == task.env_name
        twin.close()


@needs_meta_world
def test_few_simulators_give_the_same(monkeypatch):
    def run(env):
        env.reset(seed=3)
        rewards = [env.reset()[0]["observation"].tolist() for _ in range(12)]
        return rewards, len(env.unwrapped._simulators)

    many = run(gym.make("ML10-v3", **SHORT))
    monkeypatch.setattr(meta_world, "_MOST_SIMULATORS", 2)
    few = run(gym.make("ML10-v3", **SHORT))
    assert many[0] == few[0] and many[1] > 2 == few[1]


@needs_meta_world
def test_the_goal_is_hidden_and_observations_are_in_their_ranges():
    env = gym.make("ML10-v3", full_transitions=False, episode_length=40, n_episodes_per_trial=1)
    env.action_space.seed(0)
    low, high = [-0.525, 0.348, -0.0525, 0.0], [0.525, 1.025, 0.7, 1.0]
    for vector in env.unwrapped.benchmark.vectors["train"][::50]:
        states = [env.reset(options={"task": vector})[0]["observation"]]
        assert (states[0][:18] == states[0][18:36]).all()
        states += [env.step(env.action_space.sample())[0]["observation"] for _ in range(40)]
        states = np.array(states)
        assert states.dtype == np.float32 and not states[:, 36:].any()
        assert (states[:, :4] >= np.float32(low)).all() and (states[:, :4] <= np.float32(high)).all()
        np.testing.assert_array_equal(states[2:, 18:36], states[1:-1, :18])


@needs_meta_world
@pytest.mark.filterwarnings("error", "ignore:.*(different from the unwrapped version|infinity. This is probably)")
@pytest.mark.parametrize("env_id", [REACH, "ML10-v3"])
def test_both_environment_checkers_pass(env_id):
    gymnasium_check_env(MetaWorldEnv(env_id, **SHORT), skip_render_check=True)
    sb3_check_env(gym.make(env_id, **SHORT))
    sb3_check_env(gym.make(env_id, expose_task=True, **SHORT))


def rollout(env, seed):
    env.action_space.seed(0)
    steps = [env.reset(seed=seed)]
    for _ in range(25):
        steps.append(env.step(env.action_space.sample()))
        if steps[-1][3]:
            steps.append(env.reset())
    return [(step[0]["observation"].tolist(), step[-1]["task"].tolist()) for step in steps]


@needs_meta_world
def test_a_seed_decides_everything_and_copies_are_alike():
    env = gym.make(REACH, **SHORT)
    first = rollout(env, seed=4)
    assert first == rollout(env, seed=4) == rollout(gym.make(REACH, **SHORT), seed=4) != rollout(env, seed=5)
    assert first == rollout(pickle.loads(pickle.dumps(env)), seed=4) == rollout(copy.deepcopy(env), seed=4)


def make_short():
    return gym.make(REACH, **SHORT)


@needs_meta_world
def test_subprocesses_show_the_same():
    envs = [DummyVecEnv([make_short] * 2), SubprocVecEnv([make_short] * 2, start_method="spawn")]
    try:
        results = []
        for env in envs:
            env.seed(7)
            observations = [env.reset()] + [env.step(np.full((2, 4), 0.3, np.float32))[0] for _ in range(13)]
            tasks = [info["task"].tolist() for info in env.reset_infos]
            results.append(([entry["observation"].tolist() for entry in observations], tasks))
        assert results[0] == results[1] and results[0][1][0] != results[0][1][1]
    finally:
        for env in envs:
            env.close()


class ReachesWithItsEyes:
    """Meta-World's scripted policy for "reach", which needs to see the goal, as SB3's ``predict``."""

    def __init__(self, env):
        from metaworld.policies import SawyerReachV3Policy

        self.env, self.policy = env, SawyerReachV3Policy()

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        actions = []
        for index, row in enumerate(observation["observation"]):
            base = self.env.envs[index].unwrapped
            full = np.concatenate([row[:36], base._simulators[base.task_name]._target_pos])
            actions.append(np.clip(self.policy.get_action(full.astype(np.float64)), -1, 1).astype(np.float32))
        return np.array(actions), state


@needs_meta_world
def test_successes_are_reported():
    env = make_vec_env(REACH, 2, seed=0, env_kwargs={"episode_length": 150}, vec_env_cls=DummyVecEnv)
    successes = []

    def note(local, _):
        if local["done"]:
            successes.append((local["info"]["episode_successes"], local["info"]["is_success"]))

    rewards, _ = evaluate_policy(ReachesWithItsEyes(env), env, 4, callback=note, return_episode_rewards=True)
    assert successes == [([True, True], True)] * 4
    random, _ = evaluate_policy(RandomBaseline(env.action_space, 0), env, 4, callback=note, return_episode_rewards=True)
    assert not all(success for _, success in successes[4:]) and np.mean(rewards) > 3 * np.mean(random)


@needs_meta_world
def test_a_success_that_is_lost_again_counts():
    env = make_vec_env(REACH, 1, seed=0, env_kwargs={"n_episodes_per_trial": 1, "episode_length": 300})
    policy, observation = ReachesWithItsEyes(env), env.reset()
    infos = []
    for _ in range(300):
        action = policy.predict(observation)[0] if not any(info["success"] for info in infos) else -np.ones((1, 4))
        observation, _, _, (info,) = env.step(action.astype(np.float32))
        infos.append(info)
    marks = [info["success"] for info in infos]
    assert True in marks and marks[-1] is False
    assert [info["is_success"] for info in infos] == [any(marks[: i + 1]) for i in range(300)]


@needs_meta_world
def test_training_and_evaluation_know_success():
    env = make_vec_env(REACH, 2, seed=0, env_kwargs=SHORT)
    model = HyperPPO("RNNHNPolicy", env, n_steps=10, batch_size=10, n_epochs=1, device="cpu", seed=0)
    model.learn(40)
    assert len(model.ep_success_buffer) == 4
    result = evaluate_adaptation(model, env, n_trials=3, seed=0)
    assert result.returns.shape == (3, 2) and result.environment == REACH and (result.returns > 0).all()


@needs_meta_world
def test_an_evaluation_that_follows_the_training_is_on_test_tasks(make_benchmark):
    env = make_vec_env(REACH, 2, seed=0, env_kwargs=SHORT)
    held_out = held_out_env(env, 2)
    held_out.reset()
    assert {played(single) for single in held_out.envs} <= {key(task) for task in make_benchmark(REACH).test_tasks}


@needs_meta_world
def test_the_task_can_be_exposed():
    for env_id, size in ((REACH, 5), ("ML1-door-open-v3", 2), ("ML10-v3", 21)):
        env = gym.make(env_id, expose_task=True, **SHORT)
        observation, info = env.reset(seed=0)
        assert observation["task"].shape == (size,) and observation in env.observation_space
        np.testing.assert_array_equal(observation["task"], info["task"])


@needs_meta_world
def test_wrong_tasks_and_actions():
    env = MetaWorldEnv(REACH, **SHORT)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(4, np.float32))
    for task in (np.zeros(6), [1.0], "reach", env.benchmark.tasks["train"][0]):
        with pytest.raises(ValueError, match="is not a task of this benchmark"):
            env.reset(options={"task": task})
    env.reset(options={"task": env.benchmark.vectors["test"][0].tolist()})
    for action in (np.zeros(3), np.full(4, np.nan)):
        with pytest.raises(ValueError, match="an action of four numbers"):
            env.step(action)
    for _ in range(5):
        env.step(np.zeros(4, np.float32))
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(4, np.float32))


@needs_meta_world
def test_meta_worlds_environments_are_trials_by_set_task_too(make_benchmark):
    benchmark = make_benchmark(REACH)
    env = make_trials(benchmark.train_classes["reach-v3"], 2, benchmark.train_tasks)
    ours = gym.make(REACH)
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        index = [key(task) for task in benchmark.train_tasks].index(key(info["task"]))
        expected, _ = ours.reset(options={"task": ours.unwrapped.benchmark.vectors["train"][index]})
        np.testing.assert_allclose(observation["observation"], expected["observation"], rtol=1e-6)


@needs_meta_world
def test_pictures():
    env = gym.make(REACH, render_mode="rgb_array", **SHORT)
    with pytest.raises(RuntimeError, match="before the first reset"):
        env.unwrapped.render()
    env.reset(seed=0)
    try:
        first = env.render()
    except Exception as error:
        pytest.skip(f"no OpenGL here: {error}")
    for _ in range(8):
        env.step(np.ones(4, np.float32))
    assert first.shape == (480, 480, 3) and first.dtype == np.uint8 and first.std() > 20
    assert (env.render() != first).any()
    env.close()
