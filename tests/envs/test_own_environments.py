"""``make_trials``: the ways in which a task is set and drawn, the seeds, the splits, and what goes wrong."""

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_hyper import HyperPPO
from sb3_hyper.envs import TaskEnv, TMazeLS, batched_vec_env, make_trials
from sb3_hyper.envs.task_samplers import task_sampler_of
from sb3_hyper.envs.trial import number_environments

DOCS = Path(__file__).parents[2] / "docs" / "environments.md"


class Line(gym.Env):
    """Starts at random, pays the goal's negative distance, lasts three steps; ``goal`` is the task."""

    observation_space = spaces.Box(-9.0, 9.0, (1,), np.float32)
    action_space = spaces.Discrete(2)
    goal = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1)
        self.n_steps = 0
        return self.observe(), {}

    def observe(self):
        return np.array([self.position], np.float32)

    def step(self, action):
        self.position += 0.5 if action else -0.5
        self.n_steps += 1
        return self.observe(), -abs(self.position - self.goal), self.n_steps == 3, False, {}


class SetTaskLine(Line):
    def set_task(self, task):
        self.goal = float(task)


class ResetTaskLine(Line):
    def reset_task(self, task):
        self.goal = float(task)


class OptionLine(Line):
    """Reads and reports the task, and draws one of three where none is given."""

    task_space = spaces.Box(-2.0, 2.0, (), np.float32)

    def reset(self, *, seed=None, options=None):
        observation, _ = super().reset(seed=seed)
        self.goal = (options or {}).get("task")
        if self.goal is None:
            self.goal = float(self.np_random.integers(3))
        return observation, {"task": self.goal}


class GoalCellLine(Line):
    """Reads an option of another name, knows no other one, and reports nothing."""

    def reset(self, *, seed=None, options=None):
        if set(options or {}) - {"goal_cell"}:
            raise KeyError(sorted(options))
        self.goal = (options or {}).get("goal_cell", self.goal)
        return super().reset(seed=seed)


def draw(random):
    return float(random.uniform(-2, 2))


STYLES = {
    "set_task": lambda **kwargs: make_trials(SetTaskLine(), 2, **kwargs),
    "set_task under wrappers": lambda **kwargs: make_trials(gym.wrappers.TimeLimit(SetTaskLine(), 9), 2, **kwargs),
    "another method": lambda **k: make_trials(ResetTaskLine(), 2, set_task=lambda e, t: e.reset_task(t), **k),
    "an attribute": lambda **k: make_trials(Line(), 2, set_task=lambda e, t: setattr(e, "goal", t), **k),
    "options": lambda **kwargs: make_trials(OptionLine(), 2, **kwargs),
    "another option": lambda **kwargs: make_trials(GoalCellLine(), 2, task_option="goal_cell", **kwargs),
    "a class": lambda **kwargs: make_trials(SetTaskLine, 2, **kwargs),
}


@pytest.mark.parametrize("style", STYLES)
def test_each_trial_is_on_the_task_that_was_drawn(style):
    env = STYLES[style](task_sampler=draw)
    seen = set()
    for trial in range(4):
        observation, info = env.reset(seed=3 if trial == 0 else None)
        position, task = float(observation["observation"][0]), info["task"]
        for step in range(6):
            observation, reward, terminated, truncated, info = env.step(1)
            last = info.get("episode_final_observation", observation["observation"])
            assert last[0] == pytest.approx(position + 0.5, abs=1e-6) and info["task"] == task
            assert reward == pytest.approx(-abs(last[0] - task), abs=1e-6)
            assert (terminated, truncated) == (step == 5, False)
            position = float(observation["observation"][0])
        seen.add(task)
    assert len(seen) == 4
    assert env.reset(options={"task": 1.5})[1]["task"] == 1.5
    assert env.unwrapped.goal == 1.5


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.filterwarnings("error", "ignore:.*(different from the unwrapped version|infinity. This is probably)")
def test_both_environment_checkers_pass(style):
    gymnasium_check_env(STYLES[style](task_sampler=draw), skip_render_check=True)
    sb3_check_env(STYLES[style](task_sampler=draw))


def test_an_environment_that_draws_its_tasks_needs_no_sampler():
    env = make_trials(OptionLine(), 2, expose_task=True)
    tasks = [env.reset(seed=i)[0]["task"].tolist() for i in range(30)]
    assert {task[0] for task in tasks} == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("source", [[1, 2, 3], (1, 2, 3), np.array([1, 2, 3]), range(1, 4)])
def test_tasks_of_a_list_are_equally_likely(source):
    sampler = task_sampler_of(source)
    random = np.random.default_rng(0)
    _, counts = np.unique([sampler(random) for _ in range(3000)], return_counts=True)
    assert len(counts) == 3 and abs(counts - 1000).max() < 100


def drawn(env, n=200):
    return {env.reset(seed=0 if i == 0 else None)[1]["task"] for i in range(n)}


@given(n_tasks=st.integers(4, 25))
def test_the_splits_of_a_list_are_disjoint_and_complete(n_tasks):
    parts = [set(task_sampler_of(range(n_tasks), split).tasks) for split in ("train", "test")]
    assert parts[0] | parts[1] == set(range(n_tasks)) and not parts[0] & parts[1]
    assert parts[1] == set(range(3, n_tasks, 4))


def test_splits_reach_the_environment():
    goals = np.linspace(-2, 2, 8).tolist()
    train, test = (drawn(make_trials(SetTaskLine(), 2, goals, split=split)) for split in ("train", "test"))
    assert test == {goals[3], goals[7]} and train == set(goals) - test

    samplers = {"train": lambda random: -abs(draw(random)), "test": [0.5, 1.0]}
    train, test = (drawn(make_trials(SetTaskLine(), 2, samplers, split=split)) for split in ("train", "test"))
    assert max(train) < 0 and len(train) == 200 and test == {0.5, 1.0}


def test_a_registered_id_of_own_trials_has_a_split():
    gym.register(
        "OwnTrials-v0",
        entry_point="sb3_hyper.envs:make_trials",
        kwargs={"env": SetTaskLine, "n_episodes_per_trial": 3, "task_sampler": [0.0, 1.0, 2.0, 3.0], "split": "train"},
    )
    try:
        assert drawn(gym.make("OwnTrials-v0")) == {0.0, 1.0, 2.0}
        assert drawn(gym.make("OwnTrials-v0", split="test")) == {3.0}
        model = HyperPPO("RNNPolicy", "OwnTrials-v0", n_steps=18, batch_size=18, n_epochs=1, device="cpu")
        assert model.learn(18).num_timesteps == 18
    finally:
        del gym.registry["OwnTrials-v0"]


def make_sampled():
    return make_trials(SetTaskLine(), 2, task_sampler=draw)


def make_drawing():
    return make_trials(OptionLine(), 2)


def tasks_of_trials(env, n_trials, seed=7):
    """The tasks of each environment's first trials."""
    try:
        env.seed(seed)
        env.reset()
        tasks = [[info["task"] for info in env.reset_infos]]
        for step in range(6 * (n_trials - 1)):
            # The actions are no two trials' the same: they must not matter.
            env.step(np.arange(env.num_envs) + step // 2 & 1)
            if step % 6 == 5:
                tasks.append([info["task"] for info in env.reset_infos])
        return np.array(tasks).T.tolist()
    finally:
        env.close()


@pytest.mark.parametrize("make", [make_sampled, make_drawing])
def test_a_seed_decides_the_tasks_whatever_steps_the_environments(make):
    expected = [tasks_of_trials(DummyVecEnv([make]), 3, seed=7 + i)[0] for i in range(3)]
    assert len({tuple(tasks) for tasks in expected}) == 3
    assert tasks_of_trials(DummyVecEnv([make] * 3), 3) == expected
    assert tasks_of_trials(batched_vec_env([make] * 2), 3) == expected[:2]
    assert tasks_of_trials(SubprocVecEnv([make] * 3, start_method="spawn"), 3) == expected
    assert tasks_of_trials(make_vec_env(make, 3, seed=99), 3) == expected


@given(seed=st.integers(0, 2**31))
def test_tasks_are_not_made_of_the_random_numbers_of_the_states(seed):
    env = make_trials(SetTaskLine(), 1, task_sampler=lambda random: random.uniform(-1, 1))
    observation, info = env.reset(seed=seed)
    assert observation["observation"][0] != np.float32(info["task"])


# Bad input.


def test_an_environment_without_settable_tasks():
    env = make_trials("CartPole-v1", 2, task_sampler=draw)
    with pytest.raises(ValueError, match=r"CartPole.*reports no info\['task'\].*set_task=.*task_option="):
        env.reset(seed=0)
    with pytest.raises(ValueError, match=r"reports no info\['task'\]"):
        make_trials(SetTaskLine(), 2).reset(seed=0)


def test_an_environment_that_draws_over_the_task():
    class Forgetful(OptionLine):
        def set_task(self, task):
            self.goal = task

    with pytest.raises(ValueError, match=r"was given the task 0\.25.*draws a new task over the one that was set"):
        make_trials(Forgetful(), 2, task_sampler=[0.25]).reset(seed=0)
    # It is the option that it reads.
    assert make_trials(Forgetful(), 2, [0.25], task_option="task").reset(seed=0)[1]["task"] == 0.25


@pytest.mark.parametrize("task", [2.5, np.zeros(2), "up", [[1], [2, 3]]], ids=str)
def test_a_task_out_of_its_space(task):
    with pytest.raises(ValueError, match="is not in the task space Box"):
        make_trials(OptionLine(), 2).reset(options={"task": task})
    with pytest.raises(ValueError, match="is not in the task space Box"):
        make_trials(SetTaskLine(), 2, lambda random: task, task_space=OptionLine.task_space).reset()


@pytest.mark.parametrize("task", [1, 1.0, np.float32(1), np.float64(1), np.array(1.0)], ids=repr)
def test_a_task_of_another_precision_is_in_its_space(task):
    assert make_trials(OptionLine(), 2).reset(options={"task": task})[1]["task"] == 1


def make_brittle():
    class Brittle(SetTaskLine):
        def step(self, action):
            if action == 1:
                raise ZeroDivisionError("a wheel came off")
            return super().step(action)

    return make_trials(Brittle(), 2, task_sampler=[0.75])


def test_an_exception_names_the_environment_and_the_task(capfd):
    env = DummyVecEnv([make_brittle] * 3)
    number_environments(env)
    env.reset()
    env.step([0, 0, 0])
    message = r"ZeroDivisionError in step\(\) of environment 2, .*Brittle.*episode 1 of 2, task 0\.75: a wheel came off"
    with pytest.raises(RuntimeError, match=message) as caught:
        env.step([0, 0, 1])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)

    processes = SubprocVecEnv([make_brittle] * 2, start_method="spawn")
    number_environments(processes)
    processes.reset()
    with pytest.raises((EOFError, ConnectionResetError)):
        processes.step([0, 1])
    for process in processes.processes:
        process.terminate()
        process.join()
    assert re.search(message.replace("environment 2", "environment 1"), capfd.readouterr().err)


def test_exceptions_elsewhere_name_the_task_too():
    def set_task(env, task):
        raise KeyError("no such goal")

    with pytest.raises(RuntimeError, match=r"KeyError in reset\(\).*episode 1 of 2, task 0\.5: 'no such goal'"):
        make_trials(Line(), 2, [0.5], set_task=set_task).reset()
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError in task_sampler\(\)"):
        make_trials(SetTaskLine(), 2, lambda random: 1 / 0).reset()
    with pytest.raises(ValueError, match="task_sampler returned None"):
        make_trials(SetTaskLine(), 2, lambda random: None).reset()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task_sampler": []}, ValueError, "an empty list"),
        ({"task_sampler": {1, 2}}, TypeError, "a set has no order"),
        ({"task_sampler": "goals"}, TypeError, "got 'goals'"),
        ({"task_sampler": 3}, TypeError, "a list of tasks"),
        ({"task_sampler": [1, 2, 3], "split": "test"}, ValueError, "at least 4 tasks.*got 3"),
        ({"task_sampler": [1, 2, 3, 1], "split": "test"}, ValueError, "The task 1 is in both splits"),
        ({"task_sampler": draw, "split": "test"}, ValueError, "needs to know the tasks of both splits"),
        ({"split": "train"}, ValueError, "needs to know the tasks of both splits"),
        ({"task_sampler": [1] * 4, "split": "validation"}, ValueError, "split must be None, 'train' or 'test'"),
        ({"task_sampler": {"train": [1], "test": [2]}}, ValueError, "say which with split="),
        ({"task_sampler": {"train": [1]}, "split": "train"}, ValueError, "one for 'train' and one for 'test'"),
        ({"task_sampler": {"train": [1], "test": None}, "split": "test"}, ValueError, "one for 'train' and one for"),
        ({"task_sampler": {"train": [{"x": [1]}], "test": [{"x": [1]}]}, "split": "test"}, ValueError, "both splits"),
        ({"set_task": print, "task_option": "goal"}, ValueError, "got both"),
        ({"render_mode": "human"}, ValueError, r"built already: give it \['render_mode'\]"),
        ({"env": TMazeLS()}, TypeError, "not callable"),
        ({"env": list}, TypeError, r"Wanted a Gymnasium environment.*got \[\]"),
        ({"env": "GridNavi-v0"}, ValueError, "a trial already.*n_episodes_per_trial=4"),
    ],
)
def test_arguments_that_cannot_be(arguments, error, message):
    with pytest.raises(error, match=message):
        make_trials(**{"env": SetTaskLine(), "n_episodes_per_trial": 2, **arguments})


def test_arrays_as_tasks_are_compared_by_their_numbers():
    rows = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="in both splits"):
        task_sampler_of(rows, "train")


def test_task_environments_of_this_package_take_a_sampler():
    env = make_trials(TaskEnv(TMazeLS(corridor_length=3)), 2, task_sampler=[[1.0]])
    assert {float(env.reset()[1]["task"][0]) for _ in range(20)} == {1.0}


def test_the_documentations_code_runs(monkeypatch):
    trained = []
    monkeypatch.setattr(HyperPPO, "learn", lambda model, n_steps: trained.append(model))
    section = DOCS.read_text(encoding="utf-8").split("\n## Your own environment\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    names = {}
    before = set(gym.registry)
    try:
        for block in blocks:
            exec(block, names)
    finally:
        for env_id in set(gym.registry) - before:
            del gym.registry[env_id]
    assert len(blocks) >= 3 and trained
