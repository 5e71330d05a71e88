"""How fast the task is known: probes against least squares, heads and entropies by hand, latents as they are played."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO

from sb3_hyper import HyperPPO, SplAggerPolicy, make_trials
from sb3_hyper.analysis import task_error
from sb3_hyper.analysis.linear_probe import fit_probe
from sb3_hyper.analysis.task_readout import MISSED, ROOT_MEAN_SQUARE, Halves, encode_tasks, read_head, read_probe
from sb3_hyper.analysis.trial_latents import TrialLatents, play_latents
from sb3_hyper.envs import batched_vec_env
from sb3_hyper.envs.finite_tasks import FiniteTaskSpace
from sb3_hyper.evaluation import evaluate_adaptation
from sb3_hyper.task_inference.task_target import make_task_target

TRAINED = Path(__file__).parents[2] / "trained_agents" / "hyper_ppo" / "TMazeLS-v0_1" / "TMazeLS-v0.zip"
SQUARE = spaces.Box(-1, 1, (2,))
FOUR = FiniteTaskSpace(np.float32([[0, 0], [0, 1], [1, 0], [2, 2]]))


class LateCue(gym.Env):
    """The task, a point of the square, is shown from a step on; before, there is nothing to see."""

    observation_space = task_space = SQUARE
    action_space = spaces.Discrete(2)
    shown_from, length = 3, 6

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = (options or {}).get("task")
        if self.task is None:
            self.task = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        self.t = 0
        return self._observe(), {"task": self.task}

    def step(self, action):
        self.t += 1
        return self._observe(), 0.0, self.t == self.length, False, {"task": self.task}

    def _observe(self):
        return self.task if self.t >= self.shown_from else np.zeros(2, np.float32)


def trials_of(latents, tasks, space, lengths=None, log_variances=None):
    """Hand-made trials: ``(T, N, D)`` latents and ``(N, task_dim)`` tasks."""
    n_steps, n_trials = latents.shape[:2]
    lengths = th.full((n_trials,), n_steps) if lengths is None else lengths
    tasks = th.as_tensor(tasks, dtype=th.float32)
    latents = th.as_tensor(latents, dtype=th.float32)
    return TrialLatents("env", "policy", 0.0, latents, log_variances, lengths, tasks, space, [])


def random_tasks(random, space, n):
    return random.uniform(-1, 1, (n, 2)) if space is SQUARE else FOUR.tasks[random.integers(4, size=n)]


def shares(read_out):
    """``(T,)`` errors as shares of the ignorant's."""
    return read_out.errors.mean(axis=1) / read_out.ignorant


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 6), st.integers(1, 3), st.sampled_from([1e-3, 0.1, 2]))
def test_a_probe_is_least_squares_with_penalties_as_further_rows(seed, n_rows, n_inputs, n_outputs, ridge):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n_rows, n_inputs)) * random.uniform(0.1, 10, n_inputs) + random.normal(size=n_inputs)
    y = random.normal(size=(n_rows, n_outputs)) + 5
    weight, bias = fit_probe(th.as_tensor(x), th.as_tensor(y), ridge)
    penalties = np.sqrt(ridge * n_rows) * np.diag(x.std(axis=0))
    rows = np.block([[x, np.ones((n_rows, 1))], [penalties, np.zeros((n_inputs, 1))]])
    expected = np.linalg.lstsq(rows, np.vstack([y, np.zeros((n_inputs, n_outputs))]), rcond=None)[0]
    np.testing.assert_allclose(np.vstack([weight, bias]), expected, rtol=1e-6, atol=1e-8)


def test_a_probe_on_inputs_that_never_change_says_the_mean():
    y = th.randn(9, 2)
    probe = fit_probe(th.full((9, 3), 0.1), y)
    th.testing.assert_close(probe(th.full((4, 3), 7.0)), y.double().mean(dim=0).expand(4, 2))


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan"), float("inf")])
def test_penalties_are_positive(ridge):
    with pytest.raises(ValueError, match="wanted a positive weight"):
        fit_probe(th.randn(4, 2), th.randn(4, 1), ridge)


@pytest.mark.parametrize(("space", "name"), [(SQUARE, ROOT_MEAN_SQUARE), (FOUR, MISSED)])
def test_a_task_that_is_linear_in_the_latent_is_read_without_error(space, name):
    random = np.random.default_rng(0)
    tasks = random_tasks(random, space, 60)
    written = encode_tasks(make_task_target(space), th.as_tensor(tasks, dtype=th.float32)).numpy()
    latents = np.stack([written @ random.normal(size=(written.shape[1], 7)) + 3] * 5)
    read = read_probe(trials_of(latents, tasks, space), Halves.draw(60))
    assert read.name == name and read.errors.shape == (5, 30) and read.ignorant > 0.3
    assert shares(read).max() < 0.01


@pytest.mark.parametrize("space", [SQUARE, FOUR])
def test_a_latent_without_the_task_is_as_good_as_ignorance(space):
    random = np.random.default_rng(1)
    latents, tasks = random.normal(size=(5, 2000, 3)), random_tasks(random, space, 2000)
    read = read_probe(trials_of(latents, tasks, space), Halves.draw(2000))
    np.testing.assert_allclose(shares(read), 1, atol=0.05)


@pytest.mark.parametrize("space", [SQUARE, FOUR])
def test_a_latent_that_never_changes_is_ignorance_itself(space):
    random = np.random.default_rng(2)
    tasks = random_tasks(random, space, 50)
    halves = Halves.draw(50)
    read = read_probe(trials_of(np.ones((2, 50, 3)), tasks, space), halves)
    np.testing.assert_allclose(shares(read), 1, rtol=1e-6)
    fitted, tested = (np.float64(tasks[half.numpy()]) for half in halves)
    if space is SQUARE:
        expected = np.sqrt(np.square(tested - fitted.mean(axis=0)).mean(axis=1)).mean()
    else:
        classes, counts = np.unique(fitted, axis=0, return_counts=True)
        expected = (tested != classes[counts.argmax()]).any(axis=1).mean()
    assert read.ignorant == pytest.approx(expected, rel=1e-6)


def test_halves_share_no_trial_and_leave_none_out():
    for n in (4, 7, 200):
        halves = Halves.draw(n)
        assert sorted([*halves.fitted.tolist(), *halves.tested.tolist()]) == list(range(n))
        assert len(halves.fitted) == n // 2 and all(map(th.equal, halves, Halves.draw(n)))


def test_steps_behind_a_trials_end_are_not_fitted():
    random = np.random.default_rng(3)
    tasks, latents = random.uniform(-1, 1, (12, 2)), random.normal(size=(6, 12, 3))
    lengths = th.as_tensor(random.integers(1, 7, 12))
    halves = Halves.draw(12)
    read = read_probe(trials_of(latents, tasks, SQUARE, lengths), halves)
    latents[np.arange(6)[:, None] >= lengths.numpy()] *= 100
    changed = read_probe(trials_of(latents, tasks, SQUARE, lengths), halves)
    goes_on = np.arange(6)[:, None] < lengths[halves.tested].numpy()
    np.testing.assert_allclose(changed.errors[goes_on], read.errors[goes_on], rtol=1e-6)
    assert not np.allclose(changed.errors, read.errors)


def test_whole_numbers_in_a_box_are_numbers_for_a_probe():
    tasks = np.random.default_rng(4).integers(0, 9, (40, 1))
    read = read_probe(trials_of(tasks[None] * 2.0, tasks, spaces.Box(0, 8, (1,), np.int64)), Halves.draw(40))
    assert read.name == ROOT_MEAN_SQUARE and shares(read).max() < 0.01


@pytest.fixture
def late_cue():
    """``make(n_envs)``: trials of two episodes of six steps, in which the task is shown from the third on."""

    def make():
        return make_trials(LateCue(), 2, full_transitions=False)

    return lambda n_envs=4: batched_vec_env([make] * n_envs)


def test_the_error_falls_when_the_encoder_has_seen_the_task(late_cue, make_model):
    """Any encoder will do: this one is untrained, and remembers nothing of the first episode in the second."""
    kwargs = {"encoder": "pointwise", "encoder_dim": 64, "normalize_states": False}
    model = make_model("RNNHNPolicy", late_cue(), scrambled=False, policy_kwargs=kwargs)
    result = task_error(model, late_cue(), 60, ridge=1e-6)
    assert result.probe.shape == (12, 3) and result.episode_starts == [6] and result.steps == [0, 1, 5, 10, 11]
    assert result.n_tested == 30 and result.head is None and result.entropy is None
    error, low, high = result.probe.T
    assert (low <= error).all() and (error <= high).all() and (high > low).all()
    known = np.arange(12) % 6 >= LateCue.shown_from
    assert error[known].max() < 0.4 < 0.8 < error[~known].min()


def test_a_trained_agent_knows_its_task_from_the_cue_on(make_env):
    result = task_error(HyperPPO.load(TRAINED, device="cpu"), make_env(8, corridor_length=12), 40)
    error = result.probe[:, 0]
    assert result.probe_name == MISSED and len(result.episode_starts) == 3
    assert error[0] > 0.7 and error[2:].max() == 0


@pytest.mark.parametrize("policy", ["PEARLPolicy", "VIHNPolicy", "PEARLVIPolicy", "RNNHNPolicy"])
def test_latents_and_beliefs_are_those_of_a_trial_played_by_hand(make_model, make_env, policy):
    model = make_model(policy, policy_kwargs={"latent_dim": 4})
    trials = play_latents(model, make_env(2), 4, seed=5)
    env, agent = make_env(2), model.policy.agent
    env.seed(5)
    obs, state, starts = env.reset(), None, np.ones(2, bool)
    memory, latents, variances, tasks = th.zeros(2, model.policy.memory_dim), [], [], []
    while len(tasks) < 2:
        tensors = {key: th.as_tensor(value) for key, value in obs.items()}
        with th.no_grad():
            encoded = agent.encode(tensors, memory, th.as_tensor(starts)[None])
            latents.append(encoded.latents)
            variances.append(agent.to_latent.belief(encoded.encodings)[1])
        memory = encoded.memory
        actions, state = model.predict(obs, state, starts, deterministic=True)
        obs, _, starts, infos = env.step(actions)
        tasks += [[info["task"] for info in infos]] if starts.all() else []
    # (2 trials, T, 2 environments, D) -> (T, environments x trials, D)
    stacked, spread = (
        th.stack(x).unflatten(0, (2, -1)).permute(1, 2, 0, 3).flatten(1, 2) for x in (latents, variances)
    )
    th.testing.assert_close(trials.latents, stacked)
    np.testing.assert_array_equal(trials.tasks, np.array(tasks).swapaxes(0, 1).reshape(4, -1))
    assert trials.lengths.tolist() == [len(stacked)] * 4 and not agent.to_latent._forward_hooks
    assert trials.mean_return == evaluate_adaptation(model, make_env(2), 4, seed=5).trial.mean
    if policy == "RNNHNPolicy":
        assert trials.log_variances is None
    else:
        th.testing.assert_close(trials.log_variances, spread)


def test_entropies_are_those_of_the_gaussians(make_model, make_env):
    model = make_model("PEARLPolicy", policy_kwargs={"latent_dim": 4})
    result = task_error(model, make_env(), 10)
    log_variances = play_latents(model, make_env(), 10, seed=0).log_variances[:, Halves.draw(10).tested].double()
    expected = 0.5 * (4 * np.log(2 * np.pi * np.e) + log_variances.sum(dim=-1).mean(dim=1).numpy())
    np.testing.assert_allclose(result.entropy[:, 0], expected, rtol=1e-6)
    # A product of Gaussian factors can only narrow.
    assert (np.diff(result.entropy[:, 0]) < 0).all()


def test_a_trial_that_is_over_counts_with_its_last_step(make_model, make_env):
    kwargs = {"random_length": (3, 5), "corridor_length": 5}
    model = make_model(env=make_env(**kwargs))
    trials = play_latents(model, make_env(4, **kwargs), 12, seed=1)
    assert len(set(trials.lengths.tolist())) > 1 and trials.episode_starts == []
    for n, length in enumerate(trials.lengths.tolist()):
        assert (trials.latents[length:, n] == trials.latents[length - 1, n]).all()
    assert len(task_error(model, make_env(4, **kwargs), 12).probe) == trials.lengths.max()


def test_head_of_ti_naive_is_measured_as_its_training_measures_it(make_model, make_env):
    env = make_env(4, expose_task=True)
    model = make_model("TINaiveHNPolicy", env)
    trials, halves = play_latents(model, make_env(4), 20, seed=0), Halves.draw(20)
    read = read_head(model.auxiliary.objective, trials, halves)
    objective, tested = model.auxiliary.objective, halves.tested.tolist()
    with th.no_grad():
        logits = objective.head(trials.latents[:, tested])
    wanted = (trials.tasks[tested, 0] != objective.target.table_0[0]).long()
    np.testing.assert_array_equal(read.errors, logits.argmax(dim=-1) != wanted)
    fitted = (trials.tasks[halves.fitted, 0] != objective.target.table_0[0]).double().mean()
    assert read.name == "task_error" and read.ignorant == (wanted != (fitted > 0.5)).double().mean()


@pytest.mark.parametrize("policy", ["TIPlusPlusHNPolicy", "BIPlusPlusHNPolicy"])
def test_heads_of_learned_embeddings_are_measured_as_their_training_measures_them(make_model, make_env, policy):
    env = make_env(4, "PointNav-v0", expose_task=True, episode_length=8)
    model = make_model(policy, env, auxiliary_kwargs={"n_warmup_updates": 1})
    model.learn(3 * 4 * 16)
    result = task_error(model, make_env(4, "PointNav-v0", episode_length=8), 30)
    measured = model.auxiliary.objective.measured
    assert result.head_name == f"{measured}_error" and result.head_ignorant > 0 and result.head.shape == (8, 3)
    # An encoder that always says the mean embedding has the error of ignorance.
    objective, trials = model.auxiliary.objective, play_latents(model, make_env(4, "PointNav-v0", episode_length=8), 30)
    embedded = objective.embedding(objective.encoding(trials.tasks))
    halves = Halves.draw(30)
    mean = embedded[halves.fitted].mean(dim=0).detach().expand_as(trials.latents)
    read = read_head(objective, trials._replace(latents=mean), halves)
    np.testing.assert_allclose(shares(read), 1, rtol=1e-5)


def test_saved_agents_keep_their_heads_and_no_task_is_shown(make_model, make_env, tmp_path):
    model = make_model("TINaivePolicy", make_env(4, expose_task=True))
    model.save(tmp_path / "model")
    results = [
        task_error(agent, make_env(4, expose_task=shown), 8).to_dict()
        for agent, shown in ((model, True), (model, False), (HyperPPO.load(tmp_path / "model"), False))
    ]
    assert results[0]["head"] is not None and results[1] == results[0] and results[2] == results[0]


def test_recurrent_ppo_has_a_probe(make_model, make_env):
    result = task_error(make_model(SplAggerPolicy, algorithm=RecurrentPPO), make_env(), 8)
    assert result.head is None and result.entropy is None and np.isfinite(result.probe).all()


def test_an_environment_by_its_id_and_a_table_of_chosen_steps(make_model, make_env):
    model = make_model("VIHNPolicy", make_env(env_id="GridNavi-v0"))
    result = task_error(model, "GridNavi-v0", 8, steps=(0, 3, -1))
    assert result.environment == "GridNavi-v0" and result.probe_name == MISSED
    assert result.steps == [0, 3, len(result.probe) - 1] and result.episode_starts == [15, 30, 45]
    rows = {line[:32].strip(): line[32:].split() for line in result.table().splitlines()}
    assert rows["step of the trial"] == ["0", "3", str(len(result.probe) - 1)]
    assert rows["error of a linear probe"] == [f"{result.probe[step, 0]:.3g}" for step in result.steps]
    assert rows["entropy of the posterior, nats"][1] == f"{result.entropy[3, 0]:.3g}"
    assert json.loads(json.dumps(result.to_dict()))["head"] is None


@pytest.mark.parametrize("n_trials", [-1, 0, 3])
def test_too_few_trials(make_model, make_env, n_trials):
    with pytest.raises(ValueError, match=f"n_trials={n_trials}: wanted at least 4"):
        task_error(make_model(), make_env(), n_trials)


@pytest.mark.parametrize("steps", [(16,), (-2,), (0, 0), (15, -1), ()])
def test_steps_that_are_not_there(make_model, make_env, steps):
    with pytest.raises(ValueError, match="wanted (different whole numbers|numbers from 0 to 15)"):
        task_error(make_model(), make_env(), 8, steps)


def test_models_without_a_latent(make_env):
    with pytest.raises(ValueError, match="MultiInputActorCriticPolicy, which has no latent"):
        task_error(PPO("MultiInputPolicy", make_env(), n_steps=4, batch_size=8), make_env(), 4)


def test_models_that_are_told_the_task(make_model, make_env):
    env = make_env(expose_task=True)
    with pytest.raises(ValueError, match="MultiHNPolicy is told the task: it infers nothing"):
        task_error(make_model("MultiHNPolicy", env), env, 4)


def test_models_in_their_warm_up(make_model, make_env):
    with pytest.raises(ValueError, match="ended within its warm-up"):
        task_error(make_model("TIHNPolicy", make_env(expose_task=True)), make_env(), 4)


def test_environments_without_tasks(make_model):
    model = make_model(env=gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"reports no info\['task'\]"):
        task_error(model, "CartPole-v1", 4)


def test_one_task_alone(make_model, make_env):
    env = make_env(4)
    start = env.reset

    def reset():
        env.set_options({"task": np.ones(1, np.float32)})
        return start()

    env.reset = reset
    with pytest.raises(ValueError, match="2 trials that are measured are on one task"):
        task_error(make_model(), env, 4)


def test_a_head_for_other_tasks(make_model, make_env):
    model = make_model("TINaivePolicy", make_env(2, "GridNavi-v0", expose_task=True))
    other = make_env(2, "GridNavi-v0", layout="hall")
    with pytest.raises(ValueError, match="was trained to say tasks of"):
        task_error(model, other, 4)
