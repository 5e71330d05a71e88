"""``python -m sb3_hyper.contact_sheet``: what is recorded, where it is drawn, the files, and what can go wrong."""

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hyper import HyperPPO, contact_sheet, recording
from sb3_hyper.envs import TASK_DISTRIBUTIONS
from sb3_hyper.envs.mine_maze_frames import FRAMES, frame_image
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.evaluation import RandomBaseline, evaluate_adaptation

ROOT = Path(__file__).parents[1]
SMALL = {
    "GridNavi-v0": {},
    "TMazeAgreement-v0": {"corridor_length": 30},
    "TMazeChecks-v0": {"corridor_length": 12, "time_limit": 30},
    "MineMaze-v0": {"rooms": 1},
    "PlanningGame3x3-v0": {"episode_length": 20},
    "TabularMDP-v0": {"n_episodes_per_trial": 3},
    "PointNavSparse-v0": {"episode_length": 9},
}


class Dots(gym.Env):
    """An environment of somebody else's: no trial, a picture that counts its steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012
    observation_space, action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(2)
    length = 5

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n_steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.n_steps += 1
        return np.zeros(1, np.float32), 0.5, False, self.n_steps == self.length, {}

    def render(self):
        return np.full((20, 300, 3), self.n_steps, np.uint8)


class Blind(Dots):
    """One that does not know about rendering."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self):
        super().__init__()


@pytest.fixture
def own_ids():
    for env_class in (Dots, Blind):
        gym.register(f"{env_class.__name__}-v0", entry_point=env_class)
    yield
    for env_class in (Dots, Blind):
        del gym.registry[f"{env_class.__name__}-v0"]


def make(env_id="GridNavi-v0", **kwargs):
    return gym.make(env_id, render_mode="rgb_array", **{**SMALL.get(env_id, {}), **kwargs})


def record(env, seed=3):
    return recording.record_trial(RandomBaseline(env.action_space), env, seed=seed)


def contains(sheet, image):
    """How often an image is in a sheet, pixel for pixel."""
    width = image.shape[1]
    colors, where, counts = np.unique(image.reshape(-1, 3), axis=0, return_index=True, return_counts=True)
    y, x = divmod(where[counts.argmin()], width)
    corners = np.argwhere((sheet == colors[counts.argmin()]).all(axis=2)) - (y, x)
    windows = sliding_window_view(sheet, image.shape)[:, :, 0]
    fits = [(y, x) for y, x in corners if 0 <= y < windows.shape[0] and 0 <= x < windows.shape[1]]
    return sum(np.array_equal(windows[y, x], image) for y, x in fits)


@pytest.mark.parametrize("env_id", SMALL)
def test_a_recording_is_what_a_plain_loop_sees(env_id):
    env = make(env_id)
    recorded = record(env)
    actions = RandomBaseline(env.action_space, 3)
    plain = make(env_id)
    plain.reset(seed=3)
    seen, done = [[plain.render()]], False
    while not done:
        _, _, terminated, truncated, info = plain.step(actions.predict(np.zeros(1))[0][0])
        done = terminated or truncated
        if info["new_episode"]:
            seen.append([])
        if not done:
            seen[-1].append(plain.render())
    assert [frames[-1].step for frames in recorded.episodes] == info["episode_lengths"]
    assert [frames[-1].episode_return for frames in recorded.episodes] == pytest.approx(info["episode_returns"])
    for frames, images in zip(recorded.episodes, seen, strict=True):
        assert [frame.step for frame in frames] == list(range(len(frames))) and len(frames) == len(images) + 1
        for frame, image in zip(frames, images, strict=False):
            np.testing.assert_array_equal(frame.image, image)
    assert (recorded.environment, recorded.policy, recorded.fps) == (env_id, "random", 10.0)


def test_the_last_state_of_every_episode_is_seen():
    class Up:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.ones(1, int), state

    env = make()
    for frames in recording.record_trial(Up(), env, seed=0).episodes:
        assert frames[-1].step == 15
        assert (frames[-1].image[12, 12] == (40, 80, 200)).all()  # the agent in the upper left corner, not at the start
    assert "_Recorder" not in str(env)


def test_the_same_returns_as_an_evaluations():
    env = make("MineMaze-v0")
    result = evaluate_adaptation(RandomBaseline(env.action_space), batched_vec_env([lambda: env]), 1, seed=5)
    recorded = record(make("MineMaze-v0"), seed=5)
    assert [frames[-1].episode_return for frames in recorded.episodes] == pytest.approx(result.returns[0].tolist())


def test_of_a_long_episode_some_pictures_are_kept():
    frames = record(make("TMazeLS-v0", corridor_length=300, n_episodes_per_trial=1)).episodes[0]
    assert [frame.step for frame in frames] == [*range(0, 300, 4), 300] and len(frames) <= recording.MOST_FRAMES


def test_what_is_no_trial_is_one_episode(own_ids):
    recorded = recording.record_trial(RandomBaseline(Dots.action_space), "Dots-v0", seed=0)
    assert [len(frames) for frames in recorded.episodes] == [6] and recorded.fps == 25
    assert recorded.episodes[0][-1].episode_return == 2.5
    own = Dots("rgb_array")
    assert recording.record_trial(RandomBaseline(Dots.action_space), own).environment == "Dots"


def test_a_normalised_environment_and_what_is_left_of_it():
    env = VecNormalize(DummyVecEnv([make]), training=False, norm_obs_keys=["observation"])
    inside = env.unwrapped.envs[0]
    assert len(record(env).episodes) == 4
    assert env.unwrapped.envs[0] is inside and "_Recorder" not in str(inside)


@pytest.mark.parametrize("env_id", ["GridNavi-v0", "TMazeAgreement-v0", "TabularMDP-v0"])
def test_the_frames_are_in_the_sheet(env_id, tmp_path):
    recorded = record(make(env_id))
    sheet = contact_sheet.contact_sheet(recorded, 3)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    wanted = [frame.image for row in recorded.episodes for frame in contact_sheet.evenly_spread(row, 3)]
    for image in wanted:
        same = sum(np.array_equal(image, other) for other in wanted)
        assert contains(sheet, image) == same
    contact_sheet.save_contact_sheet(tmp_path / "sheet.png", recorded, 3)
    file = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert np.abs(file.astype(int) - sheet).max() <= 3


def test_large_pictures_shrink_and_small_ones_grow_by_a_whole_factor():
    large, small = (record(make(env_id)) for env_id in ("MineMaze-v0", "PlanningGame3x3-v0"))
    first = Image.fromarray(large.episodes[0][0].image)
    assert first.size == (256, 256)
    assert contains(contact_sheet.contact_sheet(large, 1), np.asarray(first)) == 0
    shrunk = first.resize((160, 160), Image.Resampling.LANCZOS)
    assert contains(contact_sheet.contact_sheet(large, 2), np.asarray(shrunk)) >= 1
    last = small.episodes[0][-1].image
    assert last.shape == (72, 72, 3)
    assert contains(contact_sheet.contact_sheet(small, 1), last.repeat(2, axis=0).repeat(2, axis=1)) == 1


def test_a_sheet_of_many_colors_is_near_its_file(tmp_path):
    recorded = record(make("MineMaze-v0"))
    sheet = contact_sheet.contact_sheet(recorded).astype(int)
    contact_sheet.save_contact_sheet(tmp_path / "sheet.png", recorded)
    file = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert np.abs(file - sheet).max() < 30 and (tmp_path / "sheet.png").stat().st_size < 150_000


def test_rows_are_even():
    """Twelve pictures of which nine fit side by side stand in two rows of six."""
    sheet = contact_sheet.contact_sheet(record(make("PlanningGame-v0", episode_length=11)))
    assert sheet.shape[1] == 2 * 14 + 6 * 96 + 5 * 8


@given(st.integers(1, 300), st.integers(1, 40))
def test_items_are_evenly_spread(length, n):
    chosen = contact_sheet.evenly_spread(range(length), n)
    assert len(chosen) == min(length, n) and chosen[-1] == length - 1 and (n == 1 or chosen[0] == 0)
    distances = {later - earlier for earlier, later in pairwise(chosen)}
    assert all(distances) and max(distances, default=0) - min(distances, default=0) <= 1


def test_a_moving_picture_plays_at_the_environments_pace(tmp_path):
    recorded = record(make())
    contact_sheet.save_animation(tmp_path / "trial.gif", recorded)
    contact_sheet.save_animation(tmp_path / "fast.gif", recorded, fps=1000)
    moving, fast = Image.open(tmp_path / "trial.gif"), Image.open(tmp_path / "fast.gif")
    # Programs that write GIFs may join pictures that are alike.
    for picture, duration in ((moving, 4 * (15 * 100 + 500)), (fast, 4 * 16 * 20)):
        times = []
        for index in range(picture.n_frames):
            picture.seek(index)
            times.append(picture.info["duration"])
        assert sum(times) == duration and picture.info["loop"] == 0
    moving.seek(0)
    shown = np.asarray(moving.convert("RGB"))[:240, :240].astype(int)
    assert np.abs(shown - recorded.episodes[0][0].image.repeat(2, 0).repeat(2, 1)).max() <= 5


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """``call(*arguments)``: run the command in a folder of its own; its status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = contact_sheet.main(["--num-threads", "1", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


def test_the_command_draws_a_baseline(call, tmp_path):
    status, output, _ = call("--env", "GridNavi-v0", "--baseline", "random", "--gif", "--split", "test")
    assert status == 0 and output.split() == ["Saved", "GridNavi-v0.png", "Saved", "GridNavi-v0.gif"]
    assert {path.name for path in tmp_path.iterdir()} == {"GridNavi-v0.png", "GridNavi-v0.gif"}


def test_the_command_draws_a_run_and_a_model(call, tmp_path):
    short = ("--env", "TMazeLS-v0", "--env-kwargs", "corridor_length:6")
    assert call(*short, "-f", ROOT / "trained_agents", "-o", "a/run.png", "--frames", 2)[0] == 0
    model = ROOT / "trained_agents" / "hyper_ppo" / "TMazeLS-v0_1" / "TMazeLS-v0.zip"
    assert call(*short, "--model", model, "-o", "model.png", "--frames", 2)[0] == 0
    assert (tmp_path / "a" / "run.png").read_bytes() == (tmp_path / "model.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "GridNavy-v0"], "There is no environment 'GridNavy-v0'. Did you mean 'GridNavi-v0'?"),
        (["--env", "Blind-v0"], "Blind-v0 draws no images (its render modes: none): its author has to implement"),
        (["--env", "GridNavi-v0", "--frames", "0"], "n_frames=0: wanted at least 1"),
        (["--env", "GridNavi-v0", "--gif", "--fps", "0"], "fps=0.0: wanted more than 0"),
        (["--env", "GridNavi-v0", "-o", "sheet.jpg"], "--output sheet.jpg: wanted a file that ends in .png"),
        (["--env", "GridNavi-v0", "--env-kwargs", "sizes:3"], "unexpected keyword argument 'sizes'"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(own_ids, call, arguments, message):
    status, _, error = call("--baseline", "random", *arguments)
    assert status == 1 and message in error and "Traceback" not in error


def test_a_model_of_another_environment(call, tmp_path):
    env = make_vec_env("TMazeLS-v0", 1, env_kwargs={"corridor_length": 6}, vec_env_cls=batched_vec_env)
    kwargs = {"size": "XS", "encoder_dim": 16}
    HyperPPO("RNNHNPolicy", env, n_steps=24, batch_size=24, policy_kwargs=kwargs, device="cpu").save("model.zip")
    status, _, error = call("--env", "GridNavi-v0", "--model", "model.zip")
    assert status == 1 and "trained with the observation space" in error and not list(tmp_path.glob("*.png"))


def test_without_opengl(call, monkeypatch):
    def fail(*_):
        raise RuntimeError("Found no OpenGL")

    monkeypatch.setattr(TASK_DISTRIBUTIONS["GridNavi-v0"], "render_rgb", fail)
    status, _, error = call("--env", "GridNavi-v0", "--baseline", "random")
    assert (status, error) == (1, "error: A picture could not be drawn: Found no OpenGL\n")


def test_without_pillow(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    status, _, error = call("--env", "GridNavi-v0", "--baseline", "random")
    assert status == 1 and 'pip install "sb3-hyper[plots]"' in error


def test_environments_that_cannot_be_recorded():
    model = RandomBaseline(spaces.Discrete(5))
    with pytest.raises(ValueError, match=r"GridNavi-v0 draws no images .*'rgb_array'.*: make it with render_mode="):
        recording.record_trial(model, gym.make("GridNavi-v0"))
    for vec_env in (batched_vec_env([make]), DummyVecEnv([make, make])):
        with pytest.raises(ValueError, match=r"wanted a DummyVecEnv of one"):
            recording.record_trial(model, vec_env)


def load_pictures():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = load_pictures()


@pytest.mark.parametrize("env_id", TASK_DISTRIBUTIONS)
def test_the_documentation_shows_every_environment(env_id):
    shown = PICTURES.LOOKS_LIKE.get(env_id, env_id)
    assert (env_id in PICTURES.LOOKS_LIKE) != (env_id in PICTURES.PICTURES) and shown in PICTURES.PICTURES
    assert f"](images/environments/{shown}." in (ROOT / "docs" / "environments.md").read_text()
    assert contact_sheet.make_parser().parse_args(["--env", shown, *PICTURES.PICTURES[shown]])


def test_the_documentations_pictures_are_small_and_none_is_left_over():
    sizes = {path: path.stat().st_size for path in PICTURES.FOLDER.iterdir()}
    assert {path.stem for path in sizes} == set(PICTURES.PICTURES)
    assert max(sizes.values()) < 150_000 and sum(sizes.values()) < 3_000_000


def test_the_picture_of_a_mine_shows_every_view_once():
    views = {frame_image(frame, 64).tobytes() for frame in FRAMES}
    assert len(views) == len({PICTURES.view_name(frame) for frame in FRAMES})
