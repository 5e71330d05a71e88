"""HyperPPO with an auxiliary objective: what it trains, what it keeps, and who sees the task."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from sb3_hyper import HyperPPO, RNNHNPolicy, make_trial
from sb3_hyper.envs import TASK_DISTRIBUTIONS
from sb3_hyper.evaluation import evaluate_adaptation
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES
from sb3_hyper.task_inference import AUXILIARY_OBJECTIVES, AuxiliaryLoss, MinibatchObjective, TaskRegression

INFERRING = [name for name, policy in POLICIES.items() if policy.auxiliary_class is not None]
TASK_REGRESSING = [name for name in INFERRING if POLICIES[name].auxiliary_class is TaskRegression]
NEEDING = [name for name in INFERRING if POLICIES[name].auxiliary_class.needs_task]
ROLLOUT = 64
"""Frames of one: 4 environments, 16 steps, two trials."""


def state_of(model):
    """Everything that training may change, copied."""
    return {
        name: {key: value.clone() if isinstance(value, th.Tensor) else value for key, value in part.items()}
        for name, part in model.get_parameters().items()
    }


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, th.Tensor) and isinstance(b, th.Tensor):
        return a.shape == b.shape and th.equal(a, b)
    return not isinstance(a, th.Tensor) and a == b


def reset_everything(model):
    """Put environments and random numbers where they begin, so that two models see the same."""
    model.env.seed(7)
    model._last_obs = None
    th.manual_seed(7)


@pytest.mark.parametrize("env_id", ["GridNavi-v0", "PointNav-v0"])
@pytest.mark.parametrize("name", [*INFERRING, *PRIVILEGED_POLICIES])
def test_every_method_trains_on_listed_tasks_and_numbers(name, env_id, make_model, make_envs):
    model = make_model(name, make_envs(env_id), normalize_reward=True)
    before = state_of(model)
    model.learn(3 * ROLLOUT)
    after = state_of(model)
    for part in before:
        changed = {key for key in after[part] if not same(after[part][key], before[part].get(key))}
        assert changed or not after[part], part
    assert all(p.isfinite().all() for p in model.policy.parameters())


@pytest.mark.parametrize("name", TASK_REGRESSING)
def test_task_errors_are_logged_by_episode(name, make_model):
    model = make_model(name)
    model.learn(2 * ROLLOUT)
    logged = {key: value for key, value in model.logger.name_to_value.items() if key.startswith("auxiliary/")}
    names = ("task_loss", "task_error", "episode_1_task_error", "episode_2_task_error")
    assert set(logged) == {f"auxiliary/{key}" for key in names}
    assert all(0 <= logged[f"auxiliary/{key}"] <= 1 for key in names[1:])


def test_other_policies_have_no_objective(make_model):
    model = make_model("RNNHNPolicy")
    model.learn(2 * ROLLOUT)
    assert model.auxiliary is None
    assert set(model.get_parameters()) == {"policy", "policy.optimizer", "reward_scale"}
    assert not any(key.startswith("auxiliary/") for key in model.logger.name_to_value)


@pytest.mark.parametrize("name", INFERRING)
def test_saved_model_goes_on_as_if_nothing_had_happened(name, make_model, make_envs, tmp_path):
    model = make_model(name)
    model.learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model", env=make_envs())
    assert same(state_of(loaded), state_of(model))
    for one in (model, loaded):
        reset_everything(one)
        one.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert same(state_of(loaded), state_of(model))


@pytest.mark.parametrize("name", INFERRING)
def test_parameters_can_be_taken_and_given(name, make_model):
    first, second = make_model(name), make_model(name, seed=1)
    first.learn(2 * ROLLOUT)
    second.set_parameters(first.get_parameters())
    assert same(state_of(second), state_of(first))


@pytest.mark.parametrize("name", [*INFERRING, "RNNHNPolicy"])
def test_trained_agent_plays_where_no_task_is_shown(name, make_model, make_envs, tmp_path):
    model = make_model(name, make_envs(expose_task=True))
    model.learn(2 * ROLLOUT)
    assert "task" not in model.policy.observation_space.spaces
    assert ("task" in model.rollout_buffer.observations) == (name in NEEDING)
    model.save(tmp_path / "model")
    shown, hidden = make_envs(n_envs=2), make_envs(n_envs=2, expose_task=False)
    returns = [
        evaluate_adaptation(agent, env, 6, seed=3).returns
        for agent, env in (
            (HyperPPO.load(tmp_path / "model"), hidden),
            (HyperPPO.load(tmp_path / "model", env=hidden), hidden),
            (model, shown),
        )
    ]
    for other in returns[1:]:
        np.testing.assert_array_equal(other, returns[0])


@pytest.mark.parametrize("name", NEEDING)
def test_the_policy_is_blind_to_the_task(name, make_model):
    model = make_model(name)
    model.learn(2 * ROLLOUT)
    obs = model.env.reset()
    other = {**obs, "task": obs["task"] + 1}
    without = {key: value for key, value in obs.items() if key != "task"}
    actions = [model.policy.predict(o, deterministic=True) for o in (obs, other, without)]
    for found in actions[1:]:
        np.testing.assert_array_equal(found[0], actions[0][0])
        np.testing.assert_array_equal(found[1], actions[0][1])


def test_privileged_policies_see_the_task(make_model):
    model = make_model("MultiHNPolicy")
    obs, _ = model.policy.obs_to_tensor(model.env.reset())
    memory, starts = th.zeros(4, model.policy.memory_dim), th.ones(1, 4, dtype=th.bool)
    latents = model.policy.agent.encode(obs, memory, starts).latents
    moved = {**obs, "observation": obs["observation"] + 1, "previous_reward": obs["previous_reward"] + 1}
    assert th.equal(model.policy.agent.encode(moved, memory, starts).latents, latents)
    assert not th.allclose(model.policy.agent.encode({**obs, "task": obs["task"] + 1}, memory, starts).latents, latents)


def test_an_objective_beside_any_policy(make_model):
    """Both losses train the encoder then: with another weight it becomes another one."""
    encoders = []
    for coef in (0.0, 1.0):
        model = make_model("RNNHNPolicy", auxiliary_class="TaskRegression", auxiliary_kwargs={"coef": coef})
        assert isinstance(model.auxiliary.objective, TaskRegression)
        model.learn(ROLLOUT)
        encoders.append(th.cat([p.detach().flatten() for p in model.policy.agent.encoder.parameters()]))
    assert not th.allclose(*encoders)


def test_detached_encoder_learns_from_the_objective_alone(make_model):
    """Without weight on it nothing before the latent moves; everything behind it does."""
    model = make_model("TINaivePolicy", auxiliary_kwargs={"coef": 0.0})
    agent = model.policy.agent
    before = {name: p.detach().clone() for name, p in agent.named_parameters()}
    model.learn(2 * ROLLOUT)
    inferring = ("encoder.", "to_latent.", "features.transition.")
    for name, parameter in agent.named_parameters():
        assert th.equal(parameter, before[name]) == name.startswith(inferring), name


def test_objectives_parameters_share_the_policys_learning_rate(make_model):
    model = make_model("TINaivePolicy", learning_rate=lambda left: 1e-3 * left)
    model.learn(2 * ROLLOUT)
    rates = {group["lr"] for group in model.policy.optimizer.param_groups}
    assert len(model.policy.optimizer.param_groups) == 2 and rates == {0.0}


def test_registered_environment_shows_its_task_to_those_who_need_it():
    for name in (*NEEDING, *PRIVILEGED_POLICIES):
        model = HyperPPO(name, "GridNavi-v0", n_steps=60, batch_size=60, policy_kwargs={"encoder_dim": 8})
        assert "task" in model.env.observation_space.spaces and "task" in model.rollout_buffer.observations
    model.learn(120)
    assert "task" not in HyperPPO("RNNHNPolicy", "GridNavi-v0").observation_space.spaces


@pytest.mark.parametrize("name", NEEDING)
def test_environment_without_task_is_refused_before_training(name, make_envs, make_model):
    model = make_model(name, make_envs(expose_task=False))
    with pytest.raises(ValueError, match=r"learns from the task, but .* no key 'task'.*expose_task=True"):
        model.learn(ROLLOUT)
    assert model.num_timesteps == 0


@pytest.mark.parametrize("name", NEEDING)
def test_a_task_that_is_normalised_is_refused(name, make_envs, make_model):
    """Its classes could not be told any more, and they would move as the running moments do."""
    with pytest.raises(ValueError, match=r"VecNormalize changes the task.*norm_obs_keys=\['new_episode', 'obs"):
        make_model(name, VecNormalize(make_envs()))
    others = [key for key in make_envs().observation_space.spaces if key != "task"]
    make_model(name, VecNormalize(make_envs(), norm_obs_keys=others)).learn(ROLLOUT * 2)
    make_model(name, VecNormalize(make_envs(), norm_obs=False))


@pytest.mark.parametrize(("name", "kwargs"), [("MultiHNPolicy", {}), ("RNNHNPolicy", {"encoder_input": "task"})])
def test_who_is_told_the_task_infers_nothing(name, kwargs, make_model):
    with pytest.raises(ValueError, match=f"{name} is told the task, and TaskRegression teaches.*auxiliary_class out"):
        make_model(name, auxiliary_class="TaskRegression", policy_kwargs=kwargs)


class StateRegression(MinibatchObjective):
    """Somebody's own: it needs no task and measures nothing."""

    needs_task = False

    def __init__(self, agent):
        super().__init__()
        self.head = th.nn.Linear(agent.latent_dim, 1)

    def loss(self, batch):
        assert batch.task.shape == (*batch.resets.shape, 0) and batch.new_episode.shape == batch.resets.shape
        return AuxiliaryLoss(self.head(batch.latents).square().mean(), {})


@pytest.mark.parametrize("env_id", ["GridNavi-v0", "CartPole-v1"])
def test_an_objective_of_ones_own_needs_no_task(env_id, make_envs, make_model):
    env = make_envs() if env_id in TASK_DISTRIBUTIONS else make_vec_env(env_id, 4)
    model = make_model("RNNHNPolicy", env, auxiliary_class=StateRegression)
    before = [p.detach().clone() for p in model.auxiliary.objective.parameters()]
    model.learn(2 * ROLLOUT)
    assert not any(map(th.equal, before, model.auxiliary.objective.parameters()))


@pytest.mark.parametrize("name", PRIVILEGED_POLICIES)
def test_privileged_policies_refuse_to_be_built_without_task(name, make_envs, make_model):
    with pytest.raises(ValueError, match=r"without a key 'task'.*expose_task=True.*RNNHNPolicy"):
        make_model(name, make_envs(expose_task=False))


def test_other_tasks_than_those_it_was_built_for_are_refused(make_envs, make_model, tmp_path):
    model = make_model("TINaivePolicy", make_envs(expose_task=False))
    model.set_env(make_envs())
    with pytest.raises(ValueError, match="was built without a task"):
        model.learn(ROLLOUT)
    make_model("TINaivePolicy").save(tmp_path / "model")
    ring = make_envs(size=3, layout="hall")
    loaded = HyperPPO.load(tmp_path / "model", env=ring)
    with pytest.raises(ValueError, match="was built for tasks of"):
        loaded.learn(ROLLOUT)


def test_environment_that_cannot_show_its_task():
    with pytest.raises(ValueError, match=r"CartPole-v1 takes no argument expose_task.*make_trials"):
        HyperPPO("TINaivePolicy", "CartPole-v1")


def test_space_without_listed_tasks_is_read_off_the_observation(make_envs, make_model):
    """Stacked frames hold the task several times: then it is numbers."""
    model = make_model("TINaivePolicy", VecFrameStack(make_envs(), 2))
    assert model.task_space.shape == (4,)
    model.learn(ROLLOUT)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("TaskRegresion", ValueError, "Unknown auxiliary objective.*Did you mean 'TaskRegression'"),
        (RNNHNPolicy, TypeError, "wanted a name .*TaskRegression.* or a subclass"),
        (3, TypeError, "wanted a name"),
    ],
)
def test_what_is_no_objective(given, error, message, make_model):
    with pytest.raises(error, match=message):
        make_model("RNNHNPolicy", auxiliary_class=given)


def test_settings_of_an_objective_that_is_not_there(make_model):
    with pytest.raises(ValueError, match="RNNHNPolicy has no auxiliary objective: nothing would train it"):
        make_model("RNNHNPolicy", policy_kwargs={"detach_latent": True})
    with pytest.raises(ValueError, match=r"but RNNHNPolicy has none.*TaskRegression"):
        make_model("RNNHNPolicy", auxiliary_kwargs={"coef": 2.0})


@pytest.mark.parametrize("name", AUXILIARY_OBJECTIVES)
def test_unknown_keywords_of_an_objective(name, make_model):
    with pytest.raises(TypeError, match="coeff"):
        make_model("RNNHNPolicy", auxiliary_class=name, auxiliary_kwargs={"coeff": 1})


@pytest.mark.slow
def test_task_error_falls(make_envs):
    """Two cues on a short T-maze: after some training the task is known better than by chance."""
    env = make_vec_env("TMazeLS-v0", 16, seed=0, env_kwargs={"corridor_length": 4, "expose_task": True})
    model = HyperPPO("TINaivePolicy", env, n_steps=64, batch_size=256, learning_rate=3e-3, n_epochs=2, seed=0)
    errors = []
    for _ in range(2):
        model.learn(16 * 64 * 6, reset_num_timesteps=False)
        errors.append(model.logger.name_to_value["auxiliary/task_loss"])
    assert errors[1] < 0.5 * np.log(2)


def test_task_that_is_no_vector_is_refused_before_training():
    class Shown(gym.ObservationWrapper):
        def __init__(self):
            super().__init__(make_trial("GridNavi"))
            self.observation_space = spaces.Dict({**self.env.observation_space.spaces, "task": spaces.Discrete(5)})

        def observation(self, observation):
            return {**observation, "task": 3}

    with pytest.raises(ValueError, match="whose task is a flat Box.*expose_task=True"):
        HyperPPO("TINaivePolicy", Shown(), n_steps=60, batch_size=60)


def test_objectives_parameters_are_clipped_too(make_model):
    model = make_model("TINaivePolicy", max_grad_norm=1e-6)
    model.learn(ROLLOUT)
    squares = [p.grad.square().sum() for p in model.auxiliary.objective.parameters() if p.grad is not None]
    assert 0 < sum(squares) <= 1e-12 * 1.01


def test_memories_are_empty_after_the_warm_up(make_model, monkeypatch):
    """What an agent was told, or another encoder remembers, does not outlive the warm-up."""
    model = make_model("TIPlusPlusHNPolicy", auxiliary_kwargs={"n_warmup_updates": 1}, n_steps=4, batch_size=8)
    train, memories = model.train, []

    def train_and_look():
        before = model._last_memory.clone()
        train()
        memories.append((before, model._last_memory))

    monkeypatch.setattr(model, "train", train_and_look)
    model.learn(3 * 16)
    (before, after), (later, kept), _ = memories
    assert before.any() and not after.any()
    assert later.any() and th.equal(later, kept)
