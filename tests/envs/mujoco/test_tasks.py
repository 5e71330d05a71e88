import array_api_compat.numpy as xp
import array_api_compat.torch as torch_namespace
import numpy as np
import pytest

from sb3_hyper.envs.mujoco import (
    AntDir,
    AntDir2D,
    AntGoal,
    AntGoalSparse,
    HalfCheetahDir,
    HalfCheetahDirSparse,
    HalfCheetahHop,
    HalfCheetahVel,
    HopperRandParams,
    HumanoidDir,
    Walker2DRandParams,
)
from sb3_hyper.envs.mujoco.sampling import N_CELLS, restrict, standard_normal
from sb3_hyper.envs.mujoco.spaces import Circle, Disc
from sb3_hyper.envs.random_stream import RandomStream

N_TASKS = 20_000


def share_of_range(low, high):
    return lambda tasks: (tasks[:, 0] - low) / (high - low)


def share_of_circle(tasks):
    return np.arctan2(tasks[:, 1], tasks[:, 0]) / (2 * np.pi) % 1


SHARES = {
    HalfCheetahVel: share_of_range(0, 3),
    HalfCheetahHop: share_of_range(0.3, 2),
    AntDir: share_of_range(-1, 1),
    AntDir2D: share_of_circle,
    AntGoal: share_of_circle,
    AntGoalSparse: share_of_circle,
    HumanoidDir: share_of_circle,
    Walker2DRandParams: share_of_range(-3, 3),
    HopperRandParams: share_of_range(-3, 3),
}
"""What the splits cut into cells, in [0, 1)."""


def sample(robot, split=None, seed=0):
    return robot(split).sample_task(RandomStream(range(seed, seed + N_TASKS), xp)).astype(np.float64)


@pytest.mark.parametrize("robot", SHARES)
@pytest.mark.parametrize("split", [None, "train", "test"])
def test_tasks_are_uniform_in_the_cells_of_their_split(robot, split):
    cells = np.floor(SHARES[robot](sample(robot, split)) * N_CELLS).astype(int)
    counts = np.bincount(cells, minlength=N_CELLS)
    is_test = np.arange(N_CELLS) % 4 == 3
    allowed = np.ones(N_CELLS, bool) if split is None else is_test if split == "test" else ~is_test
    assert not counts[~allowed].any() and len(counts) == N_CELLS
    expected = N_TASKS / allowed.sum()
    assert abs(counts[allowed] - expected).max() < 5 * np.sqrt(expected)


def test_every_sampled_task_is_allowed(robot_tasks):
    distribution = robot_tasks()
    tasks = distribution.sample_task(RandomStream(range(300), xp))
    assert tasks.dtype == np.float32 and all(row in distribution.task_space for row in tasks)
    distribution.task_space.seed(0)
    assert all(distribution.task_space.sample() in distribution.task_space for _ in range(50))


@pytest.mark.parametrize("robot", [HalfCheetahDir, HalfCheetahDirSparse])
def test_directions_are_fair_and_have_no_split(robot):
    values, counts = np.unique(sample(robot), return_counts=True)
    assert values.tolist() == [-1, 1] and abs(counts - N_TASKS / 2).max() < 5 * np.sqrt(N_TASKS / 4)
    with pytest.raises(ValueError, match=r"only 2 tasks and a learner needs them all.*no 'train' split"):
        robot("train")


@pytest.mark.parametrize("robot", [AntGoal, AntGoalSparse])
def test_goals_are_uniform_in_area(robot):
    radius = np.hypot(*sample(robot).T)
    assert radius.max() <= 3 and np.mean(radius < 1.5) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("robot", [AntDir2D, HumanoidDir])
def test_directions_have_length_one(robot):
    np.testing.assert_allclose(np.hypot(*sample(robot).T), 1.0, atol=1e-6)


@pytest.mark.parametrize(("robot", "n_numbers"), [(Walker2DRandParams, 58), (HopperRandParams, 34)])
def test_parameters_are_multiplied_by_their_powers(robot, n_numbers):
    distribution = robot()
    tasks = sample(robot)
    assert tasks.shape[1] == n_numbers and np.abs(tasks).max() <= 3
    np.testing.assert_allclose(tasks.mean(axis=0), 0.0, atol=0.07)
    model, fields = distribution.load_model(), distribution.model_fields(tasks[:2].astype(np.float32))
    factors = []
    for name, base in (("body_mass", 1.5), ("body_inertia", 1.5), ("geom_friction", 1.5), ("dof_damping", 1.3)):
        nominal = getattr(model, name)
        is_changed = nominal != 0
        assert (fields[name][:, ~is_changed] == 0).all()
        factors.append(np.log(fields[name][:, is_changed] / nominal[is_changed]) / np.log(base))
    np.testing.assert_allclose(np.concatenate(factors, axis=1), tasks[:2], atol=1e-5)


def test_torch_draws_the_same_tasks_and_starts(robot_tasks):
    distribution = robot_tasks()
    ours, theirs = (RandomStream(range(4), namespace) for namespace in (xp, torch_namespace))
    np.testing.assert_array_equal(distribution.sample_task(ours), distribution.sample_task(theirs).numpy())
    for a, b in zip(distribution.initial_state(ours), distribution.initial_state(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_initial_states_have_gymnasiums_spread(robot_tasks):
    distribution = robot_tasks()
    qpos, qvel = distribution.initial_state(RandomStream(range(4000), xp))
    positions = (qpos - distribution.load_model().qpos0) / distribution.position_noise
    velocities = qvel / distribution.velocity_noise
    assert np.abs(positions).max() <= 1 and np.abs(positions.mean(axis=0)).max() < 0.06
    spread = 1.0 if distribution.has_normal_velocities else 3**-0.5
    np.testing.assert_allclose(velocities.std(axis=0), spread, atol=0.06)
    assert (np.abs(velocities).max() > 2) == distribution.has_normal_velocities


def test_normal_numbers_are_normal():
    uniform = RandomStream([0], xp).uniform(200_000).astype(np.float64)
    normal = standard_normal(uniform)[0]
    assert normal.mean() == pytest.approx(0, abs=0.02) and normal.std() == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(normal) < 1) == pytest.approx(0.6827, abs=0.01)
    assert np.isfinite(standard_normal(np.array([[0.0, 1 - 2.0**-24, 0.0, 0.5]]))).all()


def test_a_split_keeps_clear_of_its_neighbours_cells():
    ends = np.array([0.0, 1 - 2.0**-24])
    for split, first, last in (("test", 3, 19), ("train", 0, 18)):
        cells = np.float32(restrict(ends, split)) * np.float32(N_CELLS)
        assert np.floor(cells).tolist() == [first, last]
    assert restrict(ends, None) is ends


def test_spaces_of_the_plane():
    disc, circle = Disc(3.0), Circle(1.0)
    assert [0, 0] in disc and [3, 0] in disc and [3, 0.1] not in disc and [0, 1] in circle and [0, 0.9] not in circle
    for wrong in ("up", [1.0], [np.nan, 0.0], [[1], [2, 3]]):
        assert wrong not in disc and wrong not in circle
    assert disc == Disc(3.0) and disc != Disc(2.0) and disc != Circle(3.0)


def test_bad_settings_are_refused():
    for settings, name in (({"episode_length": 0}, "episode_length"), ({"n_threads": 0}, "n_threads")):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            HalfCheetahVel(**settings)
    with pytest.raises(ValueError, match="is not a task of AntGoal.*the goal"):
        AntGoal().check_task([3.0, 3.0])
