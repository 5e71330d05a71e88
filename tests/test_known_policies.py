"""Known policies, evaluated as a trained agent would be, hit the reference points of the memory environments."""

import gymnasium as gym
import numpy as np
import pytest

from sb3_hyper.envs import TASK_DISTRIBUTIONS, PlanningGame3x3
from sb3_hyper.envs.mine_maze import MineMaze
from sb3_hyper.envs.t_maze import DOWN, UP, TMazeLatent, TMazeLS, TMazeOrder
from sb3_hyper.evaluation import RandomBaseline, evaluate_tasks
from tests.envs import test_mine_maze, test_planning_game
from tests.envs.test_t_maze import UP_IS_CORRECT

T_MAZES = [name for name, kind in TASK_DISTRIBUTIONS.items() if issubclass(kind, TMazeLS)]
MINE_MAZES = [name for name, kind in TASK_DISTRIBUTIONS.items() if issubclass(kind, MineMaze)]


class TMazePolicy:
    """Plays T-mazes from observations alone: remembers cues, bits and the first choice's reward, or nothing."""

    def __init__(self, maze_class, remembers):
        self.maze_class, self.remembers = maze_class, remembers

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        if episode_start.all():
            self.memories = [{} for _ in episode_start]
        rows = zip(
            observation["observation"],
            observation["previous_reward"][:, 0],
            observation["new_episode"][:, 0],
            episode_start,
            self.memories,
            strict=True,
        )
        return np.array([self.act(*row) for row in rows]), state

    def act(self, place, previous_reward, is_new_episode, is_new_trial, memory):
        if is_new_trial:
            memory.update(right=None, last=None)
        if is_new_episode:
            memory["right"] = memory["last"] if previous_reward > 0 else UP + DOWN - memory["last"]
        if is_new_trial or is_new_episode:
            memory.update(cues=[], log_odds=0.0)
        _, cue, at_end, bit = place
        memory["cues"] += [cue] if cue else []
        memory["log_odds"] += np.log(0.7 / 0.5) if bit > 0 else np.log(0.3 / 0.5)
        if not at_end:
            return UP if bit > 0 else DOWN
        memory["last"] = self.choose(memory)
        return memory["last"]

    def choose(self, memory):
        if not self.remembers:
            return DOWN if self.maze_class is TMazeOrder else UP
        if memory["right"] is not None:
            return memory["right"]
        evidence = [memory["log_odds"]] if self.maze_class is TMazeLatent else memory["cues"]
        return UP if UP_IS_CORRECT[self.maze_class](*evidence) else DOWN


class MineMazePolicy:
    """Plays mine mazes from pictures."""

    def __init__(self, maze_class, remembers):
        self.make = lambda: test_mine_maze.Expert(maze_class, remembers)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        if episode_start.any():
            self.experts = [self.make() for _ in episode_start]
        frames = test_mine_maze.recognise(observation["observation"])
        rewards, flags = observation["previous_reward"][:, 0], observation["new_episode"][:, 0] > 0
        rows = zip(self.experts, frames, rewards, flags, strict=True)
        return np.array([expert.act(*seen) for expert, *seen in rows]), state


class PlanningPolicy:
    """Plays planning games with a perfect memory."""

    def __init__(self, game):
        self.act = test_planning_game.remember(game)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return self.act(observation["observation"], None), state


def check(result, name):
    """The 95 % interval of the mean holds the reference, which has two decimals at most."""
    reference = result.reference_returns[name]
    low, high = result.estimates["mean"][-1].intervals[0.95]
    assert low - 0.05 <= reference <= high + 0.05, result.table()
    return result


@pytest.mark.parametrize(("remembers", "name"), [(True, "good"), (False, "no_memory")])
@pytest.mark.parametrize("env_id", T_MAZES)
def test_t_mazes(env_id, remembers, name):
    maze_class = TASK_DISTRIBUTIONS[env_id]
    # The best Bayesian reader of T-Latent's bits errs in one trial of fifty.
    n_tasks = 500 if maze_class is TMazeLatent else 100
    result = check(evaluate_tasks(TMazePolicy(maze_class, remembers), env_id, n_tasks, seed=1), name)
    gap = result.estimates["optimality_gap"][-1]
    assert gap.value < 0.02 if remembers else gap.value > 0.2


@pytest.mark.parametrize(("remembers", "name"), [(True, "good"), (False, "no_memory")])
@pytest.mark.parametrize("env_id", MINE_MAZES)
def test_mine_mazes(env_id, remembers, name):
    check(evaluate_tasks(MineMazePolicy(TASK_DISTRIBUTIONS[env_id], remembers), env_id, 24, seed=1), name)


def test_planning(monkeypatch):
    monkeypatch.setattr(test_planning_game, "N_TRIALS", 100)
    result = check(evaluate_tasks(PlanningPolicy(PlanningGame3x3()), "PlanningGame3x3-v0", 100, seed=1), "good")
    low, high = result.estimates["mean"][-1].intervals[0.95]
    assert high - low < 1.5


@pytest.mark.parametrize("env_id", [*T_MAZES, "PlanningGame3x3-v0", "GridNavi-v0"])
def test_random_actions_leave_the_whole_gap(env_id):
    result = check(evaluate_tasks(RandomBaseline(gym.make(env_id).action_space), env_id, 200, seed=2), "random")
    low, high = result.estimates["optimality_gap"][-1].intervals[0.95]
    assert low <= 1 <= high and high - low < 0.2
