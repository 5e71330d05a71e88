from functools import partial
from itertools import permutations

import array_api_compat.numpy as numpy_namespace
import array_api_compat.torch as torch_namespace
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs.planning_game import PermutationSpace, PlanningGame, PlanningGame3x3, PlanningGameJustGoal
from sb3_hyper.envs.random_stream import RandomStream
from sb3_hyper.envs.task_env import TaskEnv

GAMES = [PlanningGame, PlanningGame3x3, PlanningGameJustGoal]
MOVES = {0: (0, 1), 1: (0, -1), 2: (-1, 0), 3: (1, 0), 4: (0, 0)}
UP, RIGHT, COLLECT = 0, 3, 4
N_TRIALS = 400


@pytest.mark.parametrize("game_class", GAMES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_games_follow_the_rules(game_class, data):
    size, length = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 20))
    env = TaskEnv(game_class(size, length))
    labels = data.draw(st.permutations(range(size**2)))
    observation, _ = env.reset(seed=data.draw(st.integers(0, 1000)), options={"task": labels})
    y, x = divmod(int(env._state.cell[0]), size)
    goal = int(env._state.goal[0])
    assert goal != y * size + x
    for step in range(1, length + 1):
        cell = y * size + x
        shown = np.concatenate([np.eye(size**2)[labels[cell]], np.eye(size**2)[labels[goal]]])
        assert observation.tolist() == ([float(cell == goal)] if game_class is PlanningGameJustGoal else shown.tolist())
        action = COLLECT if cell == goal and data.draw(st.booleans()) else data.draw(st.integers(0, 4))
        x, y = (x + MOVES[action][0]) % size, (y + MOVES[action][1]) % size
        observation, reward, terminated, _, _ = env.step(action)
        assert reward == float(action == COLLECT and cell == goal)
        new_goal = int(env._state.goal[0])
        assert (new_goal != goal) == bool(reward)
        assert int(env._state.cell[0]) == y * size + x and terminated == (step == length)
        goal = new_goal


def test_cells_and_goals_are_uniform():
    game, n_envs = PlanningGame3x3(), 9000
    stream = RandomStream(range(n_envs), numpy_namespace)
    state = game.reset(stream, game.sample_task(stream))
    pairs = np.bincount(state.cell * 9 + state.goal, minlength=81).reshape(9, 9)
    assert (np.diag(pairs) == 0).all() and abs(pairs[~np.eye(9, dtype=bool)] - n_envs / 72).max() < 5 * np.sqrt(125)
    on_goal = state._replace(cell=state.goal)
    moved, _, _ = game.step(stream, None, on_goal, np.full(n_envs, COLLECT))
    pairs = np.bincount(on_goal.goal * 9 + moved.goal, minlength=81).reshape(9, 9)
    assert (np.diag(pairs) == 0).all() and abs(pairs[~np.eye(9, dtype=bool)] - n_envs / 72).max() < 5 * np.sqrt(125)


def is_odd(permutation):
    """Sort by swapping."""
    permutation, n_swaps = list(map(int, permutation)), 0
    for place in range(len(permutation)):
        while permutation[place] != place:
            other = permutation[place]
            permutation[place], permutation[other] = permutation[other], permutation[place]
            n_swaps += 1
    return n_swaps % 2 == 1


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_maps_of_a_split_are_uniform(split):
    expected = [p for p in permutations(range(4)) if split is None or is_odd(p) == (split == "test")]
    tasks = PlanningGame(size=2, split=split).sample_task(RandomStream(range(6000), numpy_namespace))
    rows, counts = np.unique(tasks, axis=0, return_counts=True)
    assert rows.tolist() == [list(p) for p in expected]
    mean = 6000 / len(expected)
    assert abs(counts - mean).max() < 5 * np.sqrt(mean)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_no_map_is_in_both_splits_however_it_is_shifted(size):
    for split in ("train", "test"):
        tasks = PlanningGame(size, split=split).sample_task(RandomStream(range(20), numpy_namespace))
        for task in tasks:
            shifted = [np.roll(task.reshape(size, size), shift, axis) for shift in range(size) for axis in (0, 1)]
            assert {is_odd(labels.reshape(-1)) for labels in shifted} == {split == "test"}


@pytest.mark.parametrize("split", [None, "test"])
@pytest.mark.parametrize("game_class", [PlanningGame, PlanningGame3x3])
def test_numpy_and_torch_play_the_same_bits(game_class, split):
    game, outcomes = game_class(split=split), []
    for xp in (numpy_namespace, torch_namespace):
        stream = RandomStream(range(16), xp)
        task = game.sample_task(stream)
        state = game.reset(stream, task)
        outcome = [task, *state, game.observe(task, state)]
        for _ in range(100):
            action = xp.where(state.cell == state.goal, xp.full_like(state.cell, COLLECT), stream.integers(5)[:, 0])
            state, reward, ended = game.step(stream, task, state, action)
            outcome += [*state, reward, ended, game.observe(task, state)]
        outcomes.append([np.asarray(array) for array in outcome])
    for a, b in zip(*outcomes, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert sum(array.sum() for array in outcomes[0][8::6]) > 10


def test_space_of_permutations():
    space = PermutationSpace(5)
    space.seed(0)
    assert all(space.sample() in space for _ in range(10)) and [4, 0, 3, 1, 2] in space
    wrong = [[0, 1, 2, 3, 3], [0, 1, 2, 3], [0, 1, 2, 3, 5], [0.5, 1, 2, 3, 4], [np.nan] * 5, "01234", [[1], [2, 3]]]
    assert not any(task in space for task in wrong)
    assert space == PermutationSpace(5) != PermutationSpace(4) and repr(space) == "PermutationSpace(5)"


def play(game, policy):
    """Mean return of ``policy(game, observation, state)`` and its standard error."""
    stream = RandomStream(range(N_TRIALS), numpy_namespace)
    task = game.sample_task(stream)
    state, total = game.reset(stream, task), np.zeros(N_TRIALS)
    act = policy(game)
    for _ in range(game.episode_length):
        state, reward, ended = game.step(stream, task, state, act(game.observe(task, state), state))
        total += reward
    assert ended.all()
    return total.mean(), total.std() / np.sqrt(N_TRIALS)


def random(game):
    rng = np.random.default_rng(0)
    return lambda observation, state: rng.integers(5, size=N_TRIALS)


def moves_at_random(moves, game):
    """Collect on the goal, else move without looking."""
    rng = np.random.default_rng(0)
    return lambda observation, state: np.where(state.cell == state.goal, COLLECT, rng.choice(moves, size=N_TRIALS))


def toward(size, start, end):
    """The first move of a shortest way, or collect at its end."""
    right, up = (end % size - start % size) % size, (end // size - start // size) % size
    sideways, upright = np.where(right <= size // 2, 3, 2), np.where(up <= size // 2, 0, 1)
    return np.where(right > 0, sideways, np.where(up > 0, upright, COLLECT))


def knows_the_map(game):
    return lambda observation, state: toward(game.size, state.cell, state.goal)


def sweep(game):
    """Visit every cell once: size - 1 moves right, one up, and so on."""
    n_moves = np.zeros(N_TRIALS, int)

    def act(observation, state):
        nonlocal n_moves
        on_goal = observation[:, 0] == 1
        move = np.where(n_moves % game.size == game.size - 1, UP, RIGHT)
        n_moves = np.where(on_goal, 0, n_moves + 1)
        return np.where(on_goal, COLLECT, move)

    return act


def remember(game):
    """Count one's moves from the start, write down the labels, go to the goal or else to the nearest unseen cell."""
    n_cells, rng, rows = game.n_cells, np.random.default_rng(0), np.arange(N_TRIALS)
    labels, here = np.full((N_TRIALS, n_cells), -1), np.zeros(N_TRIALS, int)
    x, y = np.arange(n_cells) % game.size, np.arange(n_cells) // game.size
    apart = [np.abs(axis[:, None] - axis) for axis in (x, y)]
    distance = sum(np.minimum(steps, game.size - steps) for steps in apart)

    def act(observation, state):
        nonlocal here
        shown, goal = observation.reshape(N_TRIALS, 2, n_cells).argmax(axis=2).T
        labels[rows, here] = shown
        is_goal = labels == goal[:, None]
        wanted = np.where(is_goal.any(axis=1)[:, None], is_goal, labels < 0)
        order = distance[here] + 0.5 * rng.random((N_TRIALS, n_cells))
        action = toward(game.size, here, np.where(wanted, order, np.inf).argmin(axis=1))
        here = game.next_cells[here * 5 + action]
        return action

    return act


POLICIES = {
    "random": random,
    "random_walk": partial(moves_at_random, [0, 1, 2, 3]),
    "no_memory": partial(moves_at_random, [UP, RIGHT]),
    "good": remember,
    "knows_task": knows_the_map,
}
CASES = [
    (game_class, name, sweep if (game_class, name) == (PlanningGameJustGoal, "good") else POLICIES[name])
    for game_class in GAMES
    for name in game_class.reference_returns
]


@pytest.mark.parametrize(
    ("game_class", "name", "policy"), CASES, ids=[f"{case[0].__name__}-{case[1]}" for case in CASES]
)
def test_scripted_policies_reach_the_references(game_class, name, policy):
    mean, error = play(game_class(), policy)
    assert mean == pytest.approx(game_class.reference_returns[name], abs=4 * error) and error < 0.2


def after_a_goal(chances, n_steps):
    """Expected number of goals in so many steps, if a goal takes k steps with probability ``chances[k]``."""
    goals = np.zeros(n_steps + 1)
    for t in range(1, n_steps + 1):
        goals[t] = sum(chance * (1 + goals[t - k]) for k, chance in chances.items() if k <= t)
    return goals[-1]


def on_the_torus(size, chances_of_moves, chance_to_collect):
    """Expected return of blind moves, by going back from the last step, for every offset of the goal."""
    offsets = [(x, y) for y in range(size) for x in range(size)]
    value = np.zeros((size, size))
    for _ in range(100):
        moved = {(x, y): [value[(x - MOVES[a][0]) % size, (y - MOVES[a][1]) % size] for a in MOVES] for x, y in offsets}
        fresh = (value.sum() - value[0, 0]) / (size**2 - 1)
        new = np.array([[np.dot(chances_of_moves, moved[x, y]) for y in range(size)] for x in range(size)])
        if chance_to_collect == 1:
            new[0, 0] = 1 + fresh
        else:
            new[0, 0] += chance_to_collect * (1 + fresh - moved[0, 0][COLLECT])
        value = new
    return (value.sum() - value[0, 0]) / (size**2 - 1)


@pytest.mark.parametrize("game_class", [PlanningGame, PlanningGame3x3])
def test_references_that_are_called_exact(game_class):
    size = game_class().size
    distances = [min(x, size - x) + min(y, size - y) for x in range(size) for y in range(size)][1:]
    chances = {d + 1: distances.count(d) / len(distances) for d in set(distances)}
    exact = {
        "random": on_the_torus(size, [0.2] * 5, 0.2),
        "random_walk": on_the_torus(size, [0.25] * 4 + [0], 1),
        "no_memory": on_the_torus(size, [0.5, 0, 0, 0.5, 0], 1),
        "knows_task": after_a_goal(chances, 100),
    }
    for name, value in exact.items():
        assert value == pytest.approx(game_class.reference_returns[name], abs=0.005)
    for other in ([0.45, 0, 0, 0.55, 0], [0.45, 0.05, 0, 0.5, 0], [0.45, 0.05, 0.05, 0.45, 0], [0.5, 0, 0, 0.45, 0.05]):
        assert on_the_torus(size, other, 1) < exact["no_memory"]


def test_just_goal_references():
    assert after_a_goal(dict.fromkeys(range(2, 10), 1 / 8), 100) == pytest.approx(
        PlanningGameJustGoal.reference_returns["good"], abs=0.005
    )
    for name in ("random", "random_walk", "no_memory"):
        assert PlanningGameJustGoal.reference_returns[name] == PlanningGame3x3.reference_returns[name]


def test_rendering_shows_the_map_the_agent_and_the_goal():
    game = PlanningGame3x3()
    stream = RandomStream([0], numpy_namespace)
    task = np.arange(9, dtype=np.float32)[None]
    state = game.reset(stream, task)._replace(cell=np.array([1]), goal=np.array([5]))
    text = game.render_text(task, state)
    assert [line.split() for line in text.splitlines()] == [
        ["6", "7", "8"],
        ["3", "4", "G5"],
        ["0", "A1", "2"],
        ["step", "0"],
    ]
    assert "@1" in game.render_text(task, state._replace(goal=np.array([1])))
    image = game.render_rgb(task, state)
    cell = len(image) // 3
    assert image.shape == (3 * cell, 3 * cell, 3)
    middle, frame = cell // 2, 3
    assert image[-middle, cell + middle].tolist() == [40, 80, 200]
    assert image[cell + frame, 2 * cell + middle].tolist() == [60, 160, 60]
    corners = {tuple(image[y * cell + 7, x * cell + 7]) for x in range(3) for y in range(3)}
    assert len(corners) == 9


@pytest.mark.parametrize("game_class", GAMES)
def test_bad_settings(game_class):
    with pytest.raises(ValueError, match=r"size >= 2.*got 1"):
        game_class(size=1)
    with pytest.raises(ValueError, match="episode_length must be at least 1, got 0"):
        game_class(episode_length=0)
    with pytest.raises(ValueError, match="split"):
        game_class(split="validation")
    with pytest.raises(TypeError):
        game_class(size=3.5)


def test_just_goal_cannot_be_split():
    with pytest.raises(ValueError, match="all its tasks look alike: there is no 'test' split"):
        PlanningGameJustGoal(split="test")
