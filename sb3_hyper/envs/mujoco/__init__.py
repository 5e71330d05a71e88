"""Task distributions of MuJoCo robots. Importing them needs no MuJoCo; building one does."""

from sb3_hyper.envs.mujoco.ant import AntDir, AntDir2D, AntGoal, AntGoalSparse
from sb3_hyper.envs.mujoco.half_cheetah import HalfCheetahDir, HalfCheetahDirSparse, HalfCheetahHop, HalfCheetahVel
from sb3_hyper.envs.mujoco.humanoid import HumanoidDir
from sb3_hyper.envs.mujoco.random_parameters import HopperRandParams, Walker2DRandParams
from sb3_hyper.envs.mujoco.robot_tasks import RobotTasks

__all__ = [
    "MUJOCO_TASK_DISTRIBUTIONS",
    "AntDir",
    "AntDir2D",
    "AntGoal",
    "AntGoalSparse",
    "HalfCheetahDir",
    "HalfCheetahDirSparse",
    "HalfCheetahHop",
    "HalfCheetahVel",
    "HopperRandParams",
    "HumanoidDir",
    "RobotTasks",
    "Walker2DRandParams",
]

MUJOCO_TASK_DISTRIBUTIONS: dict[str, type[RobotTasks]] = {
    "HalfCheetahDir-v0": HalfCheetahDir,
    "HalfCheetahVel-v0": HalfCheetahVel,
    "HalfCheetahHop-v0": HalfCheetahHop,
    "HalfCheetahDirSparse-v0": HalfCheetahDirSparse,
    "AntDir-v0": AntDir,
    "AntDir2D-v0": AntDir2D,
    "AntGoal-v0": AntGoal,
    "AntGoalSparse-v0": AntGoalSparse,
    "Walker2DRandParams-v0": Walker2DRandParams,
    "HopperRandParams-v0": HopperRandParams,
    "HumanoidDir-v0": HumanoidDir,
}
"""Gymnasium id -> the task distribution whose trials it names."""
