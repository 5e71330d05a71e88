"""The same robots, started alike and given the same actions, in Gymnasium's environments and here."""

import gymnasium as gym
import numpy as np
import pytest

from sb3_hyper.envs.mujoco import AntDir, AntGoal, HalfCheetahDir, HopperRandParams, HumanoidDir, Walker2DRandParams

ROBOTS = {
    "HalfCheetah-v5": (HalfCheetahDir, [1.0], {"ctrl_cost_weight": 0.05}),
    "Ant-v5": (AntDir, [0.0], {"include_cfrc_ext_in_observation": False}),
    "Walker2d-v5": (Walker2DRandParams, [0.0] * 58, {}),
    "Hopper-v5": (HopperRandParams, [0.0] * 34, {}),
    "Humanoid-v5": (HumanoidDir, [1.0, 0.0], {}),
}


def of_gymnasium(distribution, name, steps, row, **settings):
    """Gymnasium's observations, rewards and ends from the same first state and actions."""
    env = gym.make(name, **settings).unwrapped
    env.reset(seed=0)
    env.set_state(distribution.qpos(steps[0][1])[row], distribution.qvel(steps[0][1])[row])
    for step in steps:
        observation, reward, terminated, _, _ = env.step(distribution.controls(step[2])[row])
        yield observation.astype(np.float32), reward, terminated, env
        if terminated:
            return


@pytest.mark.parametrize("name", ROBOTS)
def test_observations_rewards_and_ends(play, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where Gymnasium's half cheetah leaves a log
    robot, task, settings = ROBOTS[name]
    distribution = robot(episode_length=1000)
    steps = play(distribution, 60, task)
    n_compared = 0
    for row in range(3):
        twin = of_gymnasium(distribution, name, steps, row, **settings)
        for (_, _, _, reward, ended, after), (observation, expected, terminated, env) in zip(steps, twin, strict=False):
            ours = distribution.observe(None, after)[row]
            # The cheetah's torso is extra; the humanoid's contact forces are computed at another moment.
            n_same = 17 if robot is HalfCheetahDir else 270 if robot is HumanoidDir else len(observation)
            np.testing.assert_array_equal(ours[:n_same], observation[:n_same])
            if robot in (AntDir, HumanoidDir):
                expected += env.contact_cost - distribution.contact_cost(after)[row]
            assert reward[row] == pytest.approx(expected, abs=1e-5)
            assert ended[row] == terminated
            n_compared += 1
    assert n_compared > 30


@pytest.mark.parametrize(("robot", "name"), [(AntGoal, "Ant-v5"), (HumanoidDir, "Humanoid-v5")])
def test_contact_forces_are_nearly_those_of_gymnasium(play, robot, name):
    distribution = robot(episode_length=1000)
    steps = play(distribution, 60)
    twin = of_gymnasium(distribution, name, steps, 0, terminate_when_unhealthy=False)
    pairs = [
        (distribution.contact_cost(step[5])[0], env.contact_cost) for step, (*_, env) in zip(steps, twin, strict=True)
    ]
    ours, theirs = np.transpose(pairs)
    assert np.count_nonzero(theirs) > 10
    assert abs(ours - theirs).mean() < 0.5 * theirs.mean()
