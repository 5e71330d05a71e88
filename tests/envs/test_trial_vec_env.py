import copy
import pickle

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import tile_images

from sb3_hyper.envs import TASK_DISTRIBUTIONS, GridNavi, RL2Observation, TMazeChecks, TMazeLS, TrialVecEnv, make_trial
from sb3_hyper.envs.trial import TrialWrapper

END_KEYS = ("episode_returns", "episode_lengths", "TimeLimit.truncated")


DEVICES = [
    None,
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not th.cuda.is_available(), reason="there is no GPU")),
]


def host(array):
    return array.cpu().numpy() if isinstance(array, th.Tensor) else array


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(host(a[key]), host(b[key]), err_msg=key)
        assert host(a[key]).dtype == host(b[key]).dtype, key


def choose(random, observation, action_space):
    """
    Random actions, but often the shown bit, so that mazes with checks are passed and trials fall out of step.

    Continuous ones leave the bounds at times.
    """
    state = host(observation["observation"])
    if isinstance(action_space, spaces.Box):
        middle, reach = (action_space.high + action_space.low) / 2, action_space.high - action_space.low
        return (middle + reach * random.uniform(-1, 1, (len(state), *action_space.shape))).astype(np.float32)
    followed = np.where(state.reshape(len(state), -1)[:, -1] > 0, 2, 3) % action_space.n
    return np.where(random.random(len(state)) < 0.9, followed, random.integers(action_space.n, size=len(state)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n_envs", [1, 5])
@pytest.mark.parametrize(("full_transitions", "expose_task", "n_episodes"), [(True, True, 3), (False, False, 1)])
def test_it_equals_single_environments(
    env_id, small_settings, some_tasks, device, n_envs, full_transitions, expose_task, n_episodes
):
    def single():
        return Monitor(make_trial(env_id, n_episodes, full_transitions, expose_task, **small_settings))

    slow = DummyVecEnv([single] * n_envs)
    distribution = TASK_DISTRIBUTIONS[env_id](**small_settings)
    fast = TrialVecEnv(distribution, n_envs, n_episodes, full_transitions, expose_task, device)
    assert fast.observation_space == slow.observation_space and fast.action_space == slow.action_space
    task = some_tasks(distribution)[-1]
    random, n_ends = np.random.default_rng(0), 0
    for start in ({"seed": 3}, {"options": {"task": task}}, {"seed": 2**40, "options": {"task": task}}, {}):
        for env in (slow, fast):
            if "seed" in start:
                env.seed(start["seed"])
            env.set_options(start.get("options"))
        expected, got = slow.reset(), fast.reset()
        assert_equal(expected, got)
        assert [info["task"].tolist() for info in fast.reset_infos] == [i["task"].tolist() for i in slow.reset_infos]
        for _ in range(40):
            actions = choose(random, expected, slow.action_space)
            expected, rewards, dones, infos = slow.step(actions)
            got, fast_rewards, fast_dones, fast_infos = fast.step(actions if device is None else th.as_tensor(actions))
            assert_equal(expected, got)
            assert_equal({"r": rewards, "d": dones}, {"r": fast_rewards, "d": fast_dones})
            for info, fast_info, done in zip(infos, fast_infos, dones, strict=True):
                assert bool(fast_info) == done
                if done:
                    n_ends += 1
                    assert [info[key] for key in END_KEYS] == [fast_info[key] for key in END_KEYS]
                    assert [info["episode"][key] for key in "rl"] == [fast_info["episode"][key] for key in "rl"]
                    np.testing.assert_array_equal(info["task"], fast_info["task"])
                    assert_equal(info["terminal_observation"], fast_info["terminal_observation"])
    assert n_ends > 3 * n_envs


def test_variable_lengths_fall_out_of_step():
    env = TrialVecEnv(TMazeChecks(corridor_length=8), 5)
    env.seed(0)
    observation, random, seen = env.reset(), np.random.default_rng(0), set()
    for _ in range(200):
        observation, _, dones, _ = env.step(choose(random, observation, env.action_space))
        seen.add(tuple(dones.tolist()))
    assert len(seen) > 5


def test_environment_i_is_a_single_environment_with_seed_plus_i():
    few, many = TrialVecEnv(GridNavi(), 2), TrialVecEnv(GridNavi(), 9)
    for env in (few, many):
        env.seed(10)
        env.reset()
    for _ in range(130):
        a, b = few.step(np.full(2, 2))[0], many.step(np.full(9, 2))[0]
        assert_equal(a, {key: value[:2] for key, value in b.items()})
    np.testing.assert_array_equal(few.get_attr("task"), many.get_attr("task")[:2])


def test_unseeded_environments_differ():
    drawn = []
    for _ in range(2):
        env = TrialVecEnv(TMazeLS(), 64)
        drawn.append(env.reset()["observation"][:, 3].tolist())
    assert drawn[0] != drawn[1] and len(set(drawn[0])) == 2


def test_what_is_handed_out_is_not_written_again():
    env = TrialVecEnv(TMazeLS(corridor_length=4), 3, expose_task=True)
    env.seed(0)
    handed_out = [env.reset()]
    copies = [copy.deepcopy(handed_out[0])]
    for _ in range(40):
        observation, reward, done, _ = env.step(np.array([0, 1, 2]))
        handed_out.append({**observation, "reward": reward, "done": done})
        copies.append(copy.deepcopy(handed_out[-1]))
    for kept, copied in zip(handed_out, copies, strict=True):
        assert_equal(kept, copied)
    twin = TrialVecEnv(TMazeLS(corridor_length=4), 3, expose_task=True)
    twin.seed(0)
    for value in twin.reset().values():
        value[:] = 7
    for kept in copies[1:]:
        observation, reward, done, _ = twin.step(np.array([0, 1, 2]))
        assert_equal({**observation, "reward": reward, "done": done}, kept)
        for value in (*observation.values(), reward, done):
            value[:] = 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_alike(device, clone):
    env = TrialVecEnv(GridNavi(), 3, device=device)
    env.seed(0)
    env.reset()
    twin = clone(env)
    for _ in range(70):
        assert_equal(env.step(np.array([1, 2, 0]))[0], twin.step(np.array([1, 2, 0]))[0])


def test_attributes_and_methods_as_sb3_asks_for_them():
    env = TrialVecEnv(GridNavi(), 3, render_mode="rgb_array")
    env.seed(0)
    env.reset()
    assert env.get_attr("render_mode") == ["rgb_array"] * 3 and env.get_attr("n_episodes", 0) == [4]
    np.testing.assert_array_equal(env.get_attr("task", [0, 2]), [info["task"] for info in env.reset_infos[::2]])
    assert env.has_attr("task_space") and not env.has_attr("no_such_thing")
    env.set_attr("note", 5, indices=1)
    assert env.get_attr("note", 1) == [5] and not env.has_attr("note")
    for name in ("task", "n_episodes", "distribution"):
        with pytest.raises(AttributeError, match="cannot be set"):
            env.set_attr(name, 1)
    assert env.env_method("has_wrapper_attr", "task", indices=[0]) == [True]
    for name in ("step", "reset", "close"):
        with pytest.raises(AttributeError, match="move together"):
            env.env_method(name)
    for wrapper in (Monitor, RL2Observation, TrialWrapper):
        assert env.env_is_wrapped(wrapper) == [True] * 3
    assert env.env_is_wrapped(VecNormalize, [0]) == [False]
    env.close()


def test_a_task_that_is_read_keeps_no_others_alive():
    env = TrialVecEnv(GridNavi(), 3)
    env.reset()
    assert all(task.base is None and task.shape == (2,) for task in env.get_attr("task"))


def test_rendering(capsys):
    env = TrialVecEnv(GridNavi(), 3, render_mode="rgb_array")
    env.seed(0)
    env.reset()
    images = env.get_images()
    single = make_trial("GridNavi", render_mode="rgb_array")
    single.reset(seed=1)
    np.testing.assert_array_equal(images[1], single.render())
    assert env.metadata["render_fps"] == single.metadata["render_fps"]
    np.testing.assert_array_equal(env.render(), tile_images(images))
    text = TrialVecEnv(GridNavi(), 2, render_mode="human", device="cpu")
    text.reset()
    text.render("human")
    assert capsys.readouterr().out.count("step 0") == 2
    ansi = TrialVecEnv(GridNavi(), 2, render_mode="ansi")
    ansi.reset()
    assert all("step 0" in frame for frame in ansi.env_method("render"))


def test_bad_input():
    with pytest.raises(ValueError, match="n_envs must be at least 1, got 0"):
        TrialVecEnv(TMazeLS(), 0)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        TrialVecEnv(TMazeLS(), 2, n_episodes=0)
    env = TrialVecEnv(TMazeLS(), 2)
    for use in (lambda: env.step(np.zeros(2, int)), lambda: env.get_attr("task")):
        with pytest.raises(RuntimeError, match=r"reset\(\)"):
            use()
    env.reset()
    for actions in (np.zeros(3, int), np.zeros((2, 1), int)):
        with pytest.raises(ValueError, match=r"Wanted actions of shape \(2,\)"):
            env.step(actions)
    with pytest.raises(ValueError, match="are not all in Discrete"):
        env.step(np.array([0, 4]))
    for options in ({"task": [3.0]}, {"goal": [1.0]}):
        env.set_options(options)
        with pytest.raises(ValueError, match="task"):
            env.reset()


def test_ppo_trains_on_it_and_evaluation_counts_trials():
    env = TrialVecEnv(TMazeLS(corridor_length=5), 4)
    model = PPO("MultiInputPolicy", env, n_steps=40, batch_size=80, n_epochs=1, device="cpu", seed=0)
    model.learn(160)
    assert [episode["l"] for episode in model.ep_info_buffer] == [20] * 8
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True, warn=True)
    assert lengths == [20] * 6 and all(-12 <= trial <= 16 for trial in returns)


def test_tensors_stay_on_their_device():
    env = TrialVecEnv(TMazeLS(), 3, device="cpu")
    observation = env.reset()
    _, reward, done, infos = env.step(np.array([0, 1, 2]))
    assert all(isinstance(value, th.Tensor) for value in (*observation.values(), reward, done)) and infos == [{}] * 3


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("is_reset", [False, True])
def test_what_moves_plays_the_trials_that_it_would_have_played(device, is_reset):
    moved, stayed = TrialVecEnv(GridNavi(), 3), TrialVecEnv(GridNavi(), 3)
    for env in (moved, stayed):
        env.seed(7)
        if is_reset:
            # The seeds are used up: the random streams go on.
            env.reset()
    moved.move_to(device)
    with pytest.raises(RuntimeError, match=r"reset\(\)"):
        moved.step(np.zeros(3, int))
    assert_equal(moved.reset(), stayed.reset())
    tasks = [np.stack(env.get_attr("task")) for env in (moved, stayed)]
    np.testing.assert_array_equal(*tasks)
    for actions in ([0, 1, 2], [3, 4, 0], [1, 1, 1]):
        observation, reward, done, _ = moved.step(np.array(actions))
        expected, *others = stayed.step(np.array(actions))[:3]
        assert_equal(observation, expected)
        for here, there in zip((reward, done), others, strict=True):
            assert here.device.type == device
            np.testing.assert_array_equal(host(here), there)
    moved.move_to(device)
    for env in (moved, stayed):
        env.step(np.zeros(3, int))
    moved.move_to(None)
    assert_equal(moved.reset(), stayed.reset())
    assert isinstance(moved.reset()["observation"], np.ndarray)
