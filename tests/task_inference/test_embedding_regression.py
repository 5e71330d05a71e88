"""TI: who is told the task in the warm-up, what the warm-up leaves, and what the encoder learns after it."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from torch.nn import functional as F

from sb3_hyper import HyperPPO
from sb3_hyper.hyper_ppo.warm_up import reinitialize
from sb3_hyper.policies import POLICIES
from sb3_hyper.task_inference import BaseNetworkRegression, EmbeddingRegression, LatentSequences
from sb3_hyper.task_inference.task_encoding import TaskEncoding

T, B, ROLLOUT = 5, 4, 64
LEARNED = [
    name for name, policy in POLICIES.items() if issubclass(policy.auxiliary_class or object, EmbeddingRegression)
]
INFERRING = ("agent.encoder.", "agent.to_latent.", "agent.features.transition.")


class StopAfter(BaseCallback):
    def __init__(self, n_rollouts):
        super().__init__()
        self.n_rollouts = n_rollouts

    def _on_rollout_start(self):
        self.n_rollouts -= 1

    def _on_step(self):
        return self.n_rollouts >= 0


def make_batch():
    tasks = F.one_hot(th.randint(3, (T, B)), 3).float()
    new_episode, resets = th.zeros(2, T, B, dtype=th.bool)
    new_episode[3], resets[0] = True, True
    return LatentSequences(th.randn(T, B, 6, requires_grad=True), resets, new_episode, tasks)


def named_parameters(model):
    every = {**dict(model.policy.named_parameters()), **dict(model.auxiliary.objective.named_parameters())}
    return {name: parameter.detach().clone() for name, parameter in every.items()}


def test_tasks_are_one_hot_or_numbers():
    classes = th.tensor([[0, 1], [2, 0]])
    flat = th.cat((F.one_hot(classes[:, 0], 3), F.one_hot(classes[:, 1], 2)), dim=1).float()
    encoding = TaskEncoding(spaces.MultiDiscrete([3, 2]))
    assert th.equal(encoding(flat), flat) and encoding.output_dim == 5
    numbers = TaskEncoding(spaces.Box(0, 4, (2,)))
    assert th.equal(numbers(th.tensor([[0.0, 3.0]])), th.tensor([[-1.0, 0.5]])) and numbers.output_dim == 2


def test_loss_after_the_warm_up_is_the_distance_to_the_embedding(make_agent_spaces):
    objective = EmbeddingRegression(make_agent_spaces(spaces.Discrete(3)), coef=2.0, n_warmup_updates=1)
    batch = make_batch()
    told = objective.told(batch.task.flatten(0, 1)).view(T, B, 6)
    warm_up = objective.loss(batch)
    assert warm_up.loss == 0 and warm_up.metrics == {"warm_up": 1} and not warm_up.loss.requires_grad
    assert objective.finish_update() and not objective.finish_update()
    assert objective.told(batch.task) is None
    loss, metrics = objective.loss(batch)
    squares = (batch.latents - told).square().mean(dim=-1)
    th.testing.assert_close(loss, 2 * squares.mean())
    spread = told.flatten(0, 1).var(dim=0, correction=0).mean()
    th.testing.assert_close(metrics["embedding_error"], (squares.mean() / spread).detach())
    th.testing.assert_close(metrics["episode_2_embedding_error"], (squares[3:].mean() / spread).detach())
    th.testing.assert_close(told.mean(-1), th.zeros(T, B), atol=1e-5, rtol=0)
    # The target is where the gradient stops.
    loss.backward()
    assert all(parameter.grad is None for parameter in objective.parameters())
    assert batch.latents.grad.abs().sum() > 0


@pytest.mark.parametrize("name", LEARNED)
def test_warm_up_trains_the_embedding_and_the_rest_the_encoder(name, make_model):
    """In the first phase nothing before the latent moves but the embedding; in the second the embedding stays."""
    model = make_model(name, auxiliary_kwargs={"n_warmup_updates": 2, "reinitialize": False})
    before = named_parameters(model)
    model.learn(4 * ROLLOUT, callback=StopAfter(2))
    between = named_parameters(model)
    for parameter in before:
        moved = not th.equal(between[parameter], before[parameter])
        assert moved == (not parameter.startswith(INFERRING)), parameter
    assert model.logger.name_to_value["auxiliary/warm_up"] == 1
    model.learn(2 * ROLLOUT, reset_num_timesteps=False)
    after = named_parameters(model)
    for parameter in before:
        moved = not th.equal(after[parameter], between[parameter])
        assert moved == (not parameter.startswith("embedding.")), parameter
    assert model.logger.name_to_value["auxiliary/warm_up"] == 0
    measured = model.auxiliary.objective.measured
    assert f"auxiliary/episode_2_{measured}_error" in model.logger.name_to_value


@pytest.mark.parametrize("name", LEARNED)
def test_who_is_told_the_task(name, make_model, make_envs):
    model = make_model(name, auxiliary_kwargs={"n_warmup_updates": 1, "reinitialize": False})
    obs = {key: th.as_tensor(x) for key, x in model.env.reset().items()}
    other = {**obs, "task": obs["task"].flip(0)}
    hidden = {key: x for key, x in obs.items() if key != "task"}
    memory, starts = th.zeros(4, model.policy.memory_dim), th.ones(1, 4, dtype=th.bool)

    def seen(obs):
        with th.no_grad():
            prepared = model.policy.agent.make_step()(obs, memory, starts[0], None).critic.factors
            factors = model.policy.agent.encode(obs, memory, starts).actor.factors
        th.testing.assert_close(prepared, factors)
        return factors

    assert not th.allclose(seen(obs), seen(other)) and not th.allclose(seen(obs), seen(hidden))
    model.learn(2 * ROLLOUT)
    assert th.equal(seen(obs), seen(other)) and th.equal(seen(obs), seen(hidden))


def test_everything_but_the_embedding_begins_anew(make_model):
    model = make_model("TIHNPolicy", auxiliary_kwargs={"n_warmup_updates": 9})
    model.learn(10 * ROLLOUT, callback=StopAfter(2))
    policy, embedding = model.policy, model.auxiliary.objective.embedding
    moments = {name: buffer.clone() for name, buffer in policy.named_buffers()}
    known = [p.detach().clone() for p in embedding.parameters()]
    assert all(p in policy.optimizer.state for p in embedding.parameters())
    th.manual_seed(3)
    reinitialize(policy)
    th.manual_seed(3)
    fresh = type(policy)(**policy._get_constructor_parameters())
    assert all(th.equal(p, new) for p, new in zip(policy.parameters(), fresh.parameters(), strict=True))
    assert all(th.equal(buffer, moments[name]) for name, buffer in policy.named_buffers())
    assert moments["agent.features.normalization.count"] > 0
    assert all(th.equal(p, old) for p, old in zip(embedding.parameters(), known, strict=True))
    assert set(policy.optimizer.state) == set(embedding.parameters())


@pytest.mark.parametrize("name", LEARNED)
def test_which_methods_begin_anew(name, make_model, monkeypatch):
    begun = []
    monkeypatch.setattr("sb3_hyper.hyper_ppo.warm_up.reinitialize", lambda policy: begun.append(model._n_updates))
    model = make_model(name, auxiliary_kwargs={"n_warmup_updates": 2})
    model.learn(5 * ROLLOUT)
    assert begun == ([] if "PlusPlus" in name else [2])


def test_warm_up_goes_on_where_it_was_saved(make_model, make_envs, tmp_path):
    model = make_model("TIPolicy", auxiliary_kwargs={"n_warmup_updates": 3})
    model.learn(6 * ROLLOUT, callback=StopAfter(2))
    model.save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model", env=make_envs())
    for one, n_rollouts in ((model, 2), (loaded, 2)):
        assert one.auxiliary.objective.in_warm_up
        one.env.seed(7)
        one._last_obs = None
        th.manual_seed(7)
        one.learn(n_rollouts * ROLLOUT, reset_num_timesteps=False)
        assert not one.auxiliary.objective.in_warm_up
    expected, found = named_parameters(model), named_parameters(loaded)
    assert all(th.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("n_updates", "n_warmup_updates"), [(2, 1), (9, 1), (10, 1), (57, 5)])
def test_a_tenth_of_the_training_unless_somebody_says_otherwise(make_agent_spaces, n_updates, n_warmup_updates):
    objective = EmbeddingRegression(make_agent_spaces(spaces.Discrete(3)))
    assert objective.in_warm_up
    objective.begin(n_updates)
    while objective.in_warm_up:
        objective.finish_update()
    assert objective.get_extra_state() == {"n_warmup_updates": n_warmup_updates, "n_updates": n_warmup_updates}


def test_a_refused_training_leaves_the_warm_up_as_it_was(make_agent_spaces):
    objective = EmbeddingRegression(make_agent_spaces(spaces.Discrete(3)))
    with pytest.raises(ValueError, match="n_warmup_updates=1 updates, 0 of which are done"):
        objective.begin(1)
    objective.begin(40)
    assert objective.get_extra_state()["n_warmup_updates"] == 4


@pytest.mark.parametrize("objective", [EmbeddingRegression, BaseNetworkRegression])
def test_whole_numbers_are_classes_unless_somebody_says_otherwise(objective, make_model, make_agent_spaces):
    network = make_model("RNNHNPolicy").policy.agent
    generators = ((network.trunk, network.actor), (network.trunk, network.critic))
    space = make_agent_spaces(spaces.Box(0, 3, (1,), np.int64))._replace(generators=generators)
    with pytest.raises(ValueError, match=r"a number where classes are needed.*auxiliary_kwargs=dict\(target='numbers'"):
        objective(space)
    tasks = objective(space, target="numbers").encoding(th.tensor([[0.0], [1.5], [3.0]]))
    th.testing.assert_close(tasks, th.tensor([[-1.0], [0.0], [1.0]]))


def test_warm_up_longer_than_training_is_refused(make_model):
    model = make_model("TIPolicy", auxiliary_kwargs={"n_warmup_updates": 3})
    with pytest.raises(ValueError, match=r"n_warmup_updates=3 updates, 0 of which are done, .* no more than 3"):
        model.learn(3 * ROLLOUT)
    assert model.num_timesteps == 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"coef": -1}, "coef=-1, wanted a weight of a loss"),
        ({"n_warmup_updates": 0}, "n_warmup_updates=0, wanted at least 1"),
        ({"hidden_dims": [0]}, "positive widths"),
    ],
)
def test_impossible_settings(make_agent_spaces, kwargs, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingRegression(make_agent_spaces(spaces.Discrete(3)), **kwargs)


def test_without_tasks_or_with_a_latent_too_narrow(make_agent_spaces):
    with pytest.raises(ValueError, match="without the space of the tasks"):
        EmbeddingRegression(make_agent_spaces())
    with pytest.raises(ValueError, match="latent_dim=2: embeddings have mean 0"):
        EmbeddingRegression(make_agent_spaces(spaces.Discrete(3))._replace(latent_dim=2))


@pytest.mark.slow
def test_embedding_error_falls(make_envs):
    env = make_envs("PointNav-v0", n_envs=16)
    kwargs = {"n_warmup_updates": 5}
    model = HyperPPO(
        "TIPlusPlusHNPolicy",
        env,
        n_steps=64,
        batch_size=256,
        n_epochs=2,
        learning_rate=1e-3,
        seed=0,
        auxiliary_kwargs=kwargs,
    )
    errors = []
    for n_updates in (6, 60):
        model.learn(16 * 64 * n_updates, reset_num_timesteps=False)
        errors.append(model.logger.name_to_value["auxiliary/embedding_error"])
    assert errors[1] < 0.7 * errors[0]
