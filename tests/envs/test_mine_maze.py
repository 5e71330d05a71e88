import array_api_compat.numpy as xp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.torch_layers import NatureCNN

from sb3_hyper import HyperPPO
from sb3_hyper.envs import (
    TASK_DISTRIBUTIONS,
    MineMaze,
    MineMazeHidden,
    MineMazeNoise,
    MineMazeOrder,
    MineMazePixels,
    MineMazePixelsNoise,
    TaskEnv,
    TrialVecEnv,
)
from sb3_hyper.envs.mine_maze_frames import FRAMES, Frame, frame_image
from sb3_hyper.envs.random_stream import RandomStream

MAZES = {env_id: cls for env_id, cls in TASK_DISTRIBUTIONS.items() if issubclass(cls, MineMaze)}
VECTOR_MAZES = [MineMaze, MineMazeOrder, MineMazeNoise, MineMazeHidden]
LEFT, FORWARD, RIGHT = 0, 1, 2


def up_is_correct(maze_class, task):
    return task[0] > 0 and (not issubclass(maze_class, MineMazeOrder) or task[1] < 0)


def slow_maze(maze_class, rooms, time_limit, task, actions, pillars):
    """The rules once more, in coordinates. Yields reward, whether the episode ended, and what is seen then."""
    colours = ["dark" if issubclass(maze_class, MineMazeHidden) else "emerald" if t > 0 else "redstone" for t in task]
    n_left, room, cell = len(task), 0, None
    for step, (action, pillar) in enumerate(zip(actions, pillars, strict=True), start=1):
        reward, ended = 0.0, False
        if n_left:
            if action == RIGHT:
                reward, n_left = 0.1, n_left - 1
                cell = (0, 0) if not n_left else None
        elif cell is None:
            if action != FORWARD:
                reward, ended = 4.0 if (action == RIGHT) == up_is_correct(maze_class, task) else -3.0, True
        elif cell == (0, 1):
            if action != FORWARD:
                reward = 0.1 if action == (LEFT if pillar == "iron" else RIGHT) else 0.0
                cell = (-1 if action == LEFT else 1, 1)
        elif cell in ((-1, 3), (1, 3)):
            if action == (RIGHT if cell[0] < 0 else LEFT):
                reward, cell = 0.1, (0, 3)
        elif action == FORWARD:
            reward, cell = 0.1, (cell[0], cell[1] + 1)
            if cell == (0, 4):
                room += 1
                cell = (0, 0) if room < rooms else None
        yield reward, ended or step == time_limit, colours[-n_left] if n_left else cell or "end"


@pytest.mark.parametrize("maze_class", VECTOR_MAZES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_mazes_follow_the_rules(maze_class, data):
    rooms, limit = data.draw(st.integers(1, 4)), data.draw(st.integers(27, 60))
    maze = maze_class(rooms=rooms, time_limit=limit, noise=0.0)
    stream = RandomStream([data.draw(st.integers(0, 1000))], xp)
    task = np.array([data.draw(st.sampled_from(maze.tasks.tolist()))], np.float32)
    expert = data.draw(st.booleans())
    state = maze.reset(stream, task)
    actions, pillars, seen, ended = [], [], [], False
    while not ended:
        pillars.append(("iron", "diamond")[int(state.pillar[0])])
        choice = data.draw(st.integers(0, 2))
        if expert and data.draw(st.integers(0, 9)):
            frame = recognise(maze.observe(task, state))[0]
            choice = choice if frame.place == "end" else good_move(frame, int(state.pillar[0]) == 0)
        actions.append(choice)
        state, reward, ends = maze.step(stream, task, state, np.array([choice]))
        ended = bool(ends[0])
        frame = recognise(maze.observe(task, state))[0]
        assert frame.place != "room" or frame.cell[1] == 3 or frame.pillar == ("iron", "diamond")[int(state.pillar[0])]
        seen.append((pytest.approx(float(reward[0])), ended, frame.cell if frame.place == "room" else frame.place))
    assert list(slow_maze(maze_class, rooms, limit, task[0], actions, pillars)) == seen


def good_move(frame, passes_left):
    """What leads on from a place that is not the end."""
    if frame.place != "room":
        return RIGHT
    if frame.cell == (0, 1):
        return LEFT if passes_left else RIGHT
    return {(-1, 3): RIGHT, (1, 3): LEFT}.get(frame.cell, FORWARD)


def recognise(observations):
    """The nearest of all pictures, one for each observation."""
    pictures = np.asarray(observations, np.float32).reshape(len(observations), -1)
    size = int(np.sqrt(pictures.shape[1] / 3))
    known = np.stack([frame_image(frame, size) for frame in FRAMES])
    if np.asarray(observations).ndim == 4:
        known = known.transpose(0, 3, 1, 2).astype(np.float32)
    else:
        known = known.astype(np.float32) / 127.5 - 1
    known = known.reshape(len(FRAMES), -1)
    distance = (known**2).sum(axis=1) - 2 * pictures @ known.T
    return [FRAMES[row] for row in distance.argmin(axis=1)]


class Expert:
    """Plays one environment from pictures and rewards alone."""

    def __init__(self, maze_class, remembers):
        self.maze_class, self.remembers = maze_class, remembers
        self.cues, self.right_choice, self.last_choice = [], None, None

    def act(self, frame, previous_reward, is_new_episode):
        if is_new_episode:
            self.cues = []
            if self.remembers:
                self.right_choice = self.last_choice if previous_reward > 0 else LEFT + RIGHT - self.last_choice
        if frame.place in ("emerald", "redstone"):
            self.cues.append(1 if frame.place == "emerald" else -1)
        if frame.place != "end":
            return good_move(frame, frame.pillar == "iron")
        self.last_choice = self.choose()
        return self.last_choice

    def choose(self):
        if self.right_choice is not None:
            return self.right_choice
        if not self.remembers or not self.cues:
            return LEFT
        return RIGHT if up_is_correct(self.maze_class, self.cues) else LEFT


def play(maze_class, n_envs, remembers, tasks=None):
    env = TrialVecEnv(maze_class(), n_envs)
    env.seed(0)
    if tasks is not None:
        env.set_options([{"task": task} for task in tasks])
    experts = [Expert(maze_class, remembers) for _ in range(n_envs)]
    observation = env.reset()
    while True:
        frames = recognise(observation["observation"])
        rewards, flags = observation["previous_reward"][:, 0], observation["new_episode"][:, 0]
        actions = [
            expert.act(*inputs) for expert, *inputs in zip(experts, frames, rewards, flags.astype(bool), strict=True)
        ]
        observation, _, dones, infos = env.step(np.array(actions))
        if dones.any():
            assert dones.all()
            return np.array([info["episode"]["r"] for info in infos]), infos[0]["episode_lengths"]


@pytest.mark.parametrize(("remembers", "name"), [(True, "good"), (False, "no_memory")])
@pytest.mark.parametrize("env_id", MAZES)
def test_experts_reach_the_references_from_pictures_alone(env_id, remembers, name):
    maze_class = MAZES[env_id]
    tasks = maze_class().tasks
    returns, lengths = play(maze_class, len(tasks), remembers, tasks)
    assert returns.mean() == pytest.approx(maze_class.reference_returns[name], abs=1e-3)
    assert lengths == [maze_class().n_moves] * 2


@pytest.mark.parametrize("env_id", MAZES)
def test_chance_level_is_exact(env_id):
    maze = MAZES[env_id]()
    expected, probability = 0.0, np.zeros(maze.end + 2)
    probability[0] = 1.0
    move = np.eye(maze.end + 2)[maze.next_place].mean(axis=1)
    move[-1] = 0.0
    for _ in range(maze.time_limit):
        expected += probability @ maze.rewards.mean(axis=(1, 2, 3))
        probability = probability @ move
    assert 2 * expected == pytest.approx(maze.reference_returns["random"], abs=0.05)


def test_the_tasks_of_order_are_up_in_one_of_four():
    tasks = MineMazeOrder().sample_task(RandomStream(range(4000), xp))
    assert MineMazeOrder().up_is_correct(tasks).mean() == pytest.approx(0.25, abs=0.03)


def test_pillars_are_fair_and_drawn_anew_in_every_episode():
    maze, n = MineMaze(rooms=2), 500
    stream = RandomStream(range(n), xp)
    task = maze.sample_task(stream)
    pillars = []
    for _ in range(2):
        state = maze.reset(stream, task)
        for _ in range(2):
            for action in (RIGHT, FORWARD) if state.place[0] == 0 else (FORWARD, FORWARD):
                state, _, _ = maze.step(stream, task, state, np.full(n, action))
            pillars.append(state.pillar)
            for action in (LEFT, FORWARD, FORWARD, RIGHT):
                state, _, _ = maze.step(stream, task, state, np.full(n, action))
                np.testing.assert_array_equal(state.pillar, pillars[-1])
    assert np.corrcoef(np.stack(pillars))[np.triu_indices(4, 1)] == pytest.approx(0.0, abs=0.2)
    assert np.mean(pillars, axis=1) == pytest.approx(0.5, abs=0.1)


def test_a_pillar_stays_while_the_agent_runs_against_walls():
    maze, stream = MineMaze(), RandomStream(range(100), xp)
    task = maze.sample_task(stream)
    state, _, _ = maze.step(stream, task, maze.reset(stream, task), np.full(100, RIGHT))
    before = state.pillar
    for action in (LEFT, RIGHT, LEFT):
        state, _, _ = maze.step(stream, task, state, np.full(100, action))
        np.testing.assert_array_equal(state.pillar, before)


@pytest.mark.parametrize("size", [6, 10, 64])
def test_pictures_with_different_moves_are_far_apart(size):
    wanted = {frame: (good_move(frame, frame.pillar == "iron"), frame.place) for frame in FRAMES}
    pictures = {frame: frame_image(frame, size) / 127.5 - 1 for frame in FRAMES}
    for a in FRAMES:
        for b in FRAMES:
            # A root mean square difference of 0.2 is four standard deviations of the paper's noise in every number.
            if wanted[a] != wanted[b]:
                assert np.sqrt(((pictures[a] - pictures[b]) ** 2).mean()) > 0.2, (a, b)
    room_pictures = {pictures[frame].tobytes() for frame in FRAMES}
    assert len(room_pictures) == len(FRAMES) - 3  # behind a pillar its material is out of sight


def test_pixels_are_the_same_pictures():
    flat, pixels = MineMaze(image_size=12), MineMazePixels(image_size=12)
    task = flat.tasks[:1]
    for place in range(flat.n_indicators + 9):
        state = flat.reset(RandomStream([0], xp), task)._replace(place=np.array([place]), pillar=np.array([1]))
        as_bytes = (flat.observe(task, state).reshape(12, 12, 3) + 1) * 127.5
        np.testing.assert_allclose(pixels.observe(task, state)[0].transpose(1, 2, 0), as_bytes, atol=1e-3)
    assert pixels.observation_space.dtype == np.uint8 and MineMazePixels().observation_space.shape == (3, 64, 64)


def grey_maze(maze_class, **settings):
    """A maze whose pictures are all mid-grey, so that only the noise is seen."""

    class Grey(maze_class):
        @property
        def frames(self):
            return np.full_like(super().frames, 127 if self.observation_space.dtype == np.uint8 else 0.0)

    return Grey(**settings)


@pytest.mark.parametrize(("maze_class", "unit"), [(MineMazeNoise, 1.0), (MineMazePixelsNoise, 127.5)])
def test_noise_is_gaussian_and_fresh(maze_class, unit):
    maze, n = grey_maze(maze_class, image_size=11, noise=0.1), 200
    stream = RandomStream(range(n), xp)
    task = maze.sample_task(stream)
    state = maze.reset(stream, task)
    pictures = []
    for _ in range(4):
        pictures.append(maze.observe(task, state).reshape(n, -1).astype(float) / unit)
        state, _, _ = maze.step(stream, task, state, np.full(n, FORWARD))
    values = np.stack(pictures)  # (4, 200, 363)
    deviates = (values - values.mean()) / 0.1
    assert abs(values.mean() - (0 if unit == 1 else 127 / 127.5)) < 5e-3
    assert deviates.var() == pytest.approx(1.0, abs=0.02) and (deviates**4).mean() == pytest.approx(3.0, abs=0.1)
    assert abs((deviates[1:] * deviates[:-1]).mean()) < 0.015
    assert abs((deviates[:, 1:] * deviates[:, :-1]).mean()) < 0.015
    for lag in (1, 3, 64):
        assert abs((deviates[..., lag:] * deviates[..., :-lag]).mean()) < 0.015


@pytest.mark.parametrize("maze_class", [MineMazeNoise, MineMazePixelsNoise])
def test_noisy_pictures_stay_in_their_space(maze_class):
    maze = maze_class(image_size=8, noise=2.0)
    stream = RandomStream(range(20), xp)
    task = maze.sample_task(stream)
    observation = maze.observe(task, maze.reset(stream, task))
    assert all(row in maze.observation_space for row in observation)
    low, high = maze.observation_space.low.min(), maze.observation_space.high.max()
    assert observation.min() == low and observation.max() == high


@pytest.mark.parametrize("policy", ["RNNHNPolicy", "SplAggerPolicy"])
def test_policies_read_pixels_with_a_convolutional_network(policy):
    env = TrialVecEnv(MineMazePixels(rooms=1, time_limit=20), 2)
    sizes = {"size": "XS", "encoder_dim": 8}
    model = HyperPPO(policy, env, n_steps=24, batch_size=24, n_epochs=1, policy_kwargs=sizes, seed=0, device="cpu")
    model.learn(48)
    assert any(isinstance(module, NatureCNN) for module in model.policy.modules())
    assert model.rollout_buffer.observations["previous_observation"].dtype.itemsize == 1


def test_drawings():
    env = TaskEnv(MineMaze(rooms=2), render_mode="ansi")
    env.reset(seed=0, options={"task": [1]})
    assert env.render() == "indicator 1 of 1: A sees emerald\ncorrect at the end: right, step 0"
    for action in (RIGHT, FORWARD, LEFT):
        env.step(action)
    lines = env.render().splitlines()
    assert lines[0].startswith("room 1 of 2, ") and lines[2:5] == ["#...#", f"#.{lines[0][13].upper()}.#", "#A..#"]
    maze, task = MineMazeNoise(), MineMazeNoise().tasks[:1]
    image = maze.render_rgb(task, maze.reset(RandomStream([0], xp), task))
    np.testing.assert_array_equal(image[::2, ::2], frame_image(Frame("emerald"), 128))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rooms": 0}, "rooms must be at least 1, got 0"),
        ({"image_size": 5}, "image_size must be at least 6.*got 5"),
        ({"noise": -0.1}, r"noise is a standard deviation and must be at least 0, got -0\.1"),
        ({"noise": float("nan")}, "noise is a standard deviation.*got nan"),
        ({"time_limit": 97}, "time_limit must be at least 98.*got 97"),
        ({"rooms": 34}, "time_limit must be at least 206.*got 200. Raise it or take fewer rooms"),
    ],
)
def test_bad_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        MineMaze(**wrong)
    with pytest.raises(TypeError):
        MineMaze(rooms=2.5)
