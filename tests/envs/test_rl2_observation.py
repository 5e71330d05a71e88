import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation

from sb3_hyper.envs import RL2Observation, TrialWrapper, make_trials


def test_every_key_at_every_step(counting_env):
    env = RL2Observation(TrialWrapper(counting_env(), 3), expose_task=True)
    env.action_space.seed(0)
    for trial in range(3):
        observation, info = env.reset(seed=4 if trial == 0 else None)
        task = info["task"]
        one_hot_task = np.eye(10)[task].tolist()
        assert {key: value.tolist() for key, value in observation.items()} == {
            "observation": [0, task],
            "previous_action": [0, 0, 0],
            "previous_reward": [0],
            "new_episode": [0],
            "previous_observation": [0, 0],
            "task": one_hot_task,
        }
        before, terminated, n_new = observation["observation"], False, 0
        while not terminated:
            action = env.action_space.sample()
            observation, reward, terminated, _, info = env.step(action)
            assert observation in env.observation_space
            new_episode = before[0] == task and not terminated
            n_new += new_episode
            assert {key: value.tolist() for key, value in observation.items()} == {
                "observation": [0 if new_episode else before[0] + 1, task],
                "previous_action": np.eye(3)[action].tolist(),
                "previous_reward": [reward],
                "new_episode": [float(new_episode)],
                "previous_observation": before.tolist(),
                "task": one_hot_task,
            }
            before = observation["observation"]
        assert n_new == 2 and observation["observation"].tolist() == [task + 1, task]


def test_fewer_keys_on_request(counting_env):
    env = RL2Observation(TrialWrapper(counting_env(), 2), full_transitions=False)
    keys = {"observation", "previous_action", "previous_reward", "new_episode"}
    assert set(env.observation_space.spaces) == set(env.reset()[0]) == set(env.step(0)[0]) == keys


def test_around_an_environment_that_is_no_trial(counting_env):
    env = RL2Observation(counting_env())
    env.reset(seed=0)
    terminated = False
    while not terminated:
        observation, _, terminated, _, _ = env.step(1)
        assert observation["new_episode"].tolist() == [0] and observation["previous_action"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "action_space",
    [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(4), spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(3)],
    ids=str,
)
def test_every_action_space(counting_env, action_space):
    env = make_trials(counting_env(action_space=action_space), n_episodes_per_trial=2)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    for _ in range(3):
        assert env.step(action_space.sample())[0] in env.observation_space


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5),
        spaces.MultiBinary(3),
        spaces.MultiDiscrete([3, 4]),
        spaces.Box(0, 255, (4, 4, 3), np.uint8),
        spaces.Box(2.0, 3.0, (2,), np.float64),
    ],
    ids=str,
)
def test_every_observation_space(counting_env, space):
    inner = TransformObservation(counting_env(), lambda observation: space.sample(), space)
    env = make_trials(inner, n_episodes_per_trial=2)
    assert env.observation_space["observation"] == space
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space and not np.any(observation["previous_observation"])
    following, *_ = env.step(0)
    assert following in env.observation_space
    np.testing.assert_array_equal(following["previous_observation"], observation["observation"])


def test_an_environment_may_reuse_its_array(counting_env):
    class ReusingEnv(counting_env):
        array = np.zeros(2, np.float32)

        def _observe(self):
            self.array[:] = self.count, self.task
            return self.array

    env = make_trials(ReusingEnv(), 1)
    env.reset(options={"task": 5})
    env.step(0)
    assert env.step(0)[0]["previous_observation"].tolist() == [1, 5]


@pytest.mark.parametrize("space", [spaces.Dict({"a": spaces.Discrete(2)}), spaces.Tuple([spaces.Discrete(2)])], ids=str)
def test_containers_are_refused(counting_env, space):
    env = counting_env()
    env.observation_space = space
    with pytest.raises(TypeError, match="FlattenObservation"):
        RL2Observation(env)


def test_spaces_without_zero_are_refused(counting_env):
    env = counting_env()
    env.observation_space = spaces.Discrete(3, start=1)
    with pytest.raises(TypeError, match="does not contain zero"):
        RL2Observation(env)
    RL2Observation(env, full_transitions=False)


def test_exposing_a_task_of_unknown_space(counting_env):
    env = counting_env()
    env.task_space = None
    with pytest.raises(ValueError, match="needs the space of the tasks"):
        RL2Observation(TrialWrapper(env, 1), expose_task=True)
    exposed = RL2Observation(TrialWrapper(env, 1), expose_task=True, task_space=spaces.Discrete(6))
    assert exposed.reset(options={"task": 2})[0]["task"].tolist() == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(("where", "at_step"), [("observation", 0), ("observation", 3), ("reward", 3)])
def test_nan_is_reported_where_it_comes_from(counting_env, where, at_step):
    class BrokenEnv(counting_env):
        def _observe(self):
            broken = where == "observation" and self.count == at_step
            return np.array([self.count, np.nan if broken else self.task], np.float32)

        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, float("nan") if where == "reward" and self.count == at_step else reward, *rest

    env = make_trials(BrokenEnv(), 1)
    expected = f"The reward is NaN at step {at_step}" if where == "reward" else rf"Entries \[1\].*NaN at step {at_step}"
    with pytest.raises(ValueError, match=expected):
        env.reset(options={"task": 9})
        for _ in range(5):
            env.step(0)
