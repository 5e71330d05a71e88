"""The peers of the benchmarks compute what they claim to: the functions and losses of our policies and sb3-contrib."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from sb3_contrib.ppo_recurrent import MlpLstmPolicy

from sb3_hyper import HyperPPO
from sb3_hyper.encoders import AggregatedEncoder, GRUEncoder
from sb3_hyper.envs import TMazeLS, TrialVecEnv
from sb3_hyper.hyper_ppo.rollout_buffer import SequenceRolloutBuffer
from sb3_hyper.hypernetworks.hypernetwork import GeneratedLinear

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(FOLDER))
peers, peer_cases, peer_papers, peer_ppo, peer_single_file, throughput = map(
    import_module, ("peers", "peer_cases", "peer_papers", "peer_ppo", "peer_single_file", "throughput")
)

WIDTH, LAYERS, N_ACTIONS = 12, [7, 5], 4
OBS_WIDTHS = {"new_episode": 1, "observation": 4, "previous_action": 4, "previous_observation": 4, "previous_reward": 1}
OBS_DIM = sum(OBS_WIDTHS.values())
N_STEPS, N_ENVS = 20, 4


def trials():
    # A trial of 4 episodes takes 12 steps: rollouts of 20 hold starts in their middle.
    return TrialVecEnv(TMazeLS(corridor_length=3), N_ENVS)


def make_model(policy="SplAggerPolicy", state_dim=0, **arguments):
    kwargs = {"encoder_dim": WIDTH, "net_arch": LAYERS, "state_dim": state_dim}
    batch = {"n_steps": N_STEPS, "batch_size": N_STEPS * N_ENVS, "n_epochs": 1}
    return HyperPPO(policy, trials(), policy_kwargs=kwargs, seed=0, device="cpu", **batch, **arguments)


def copy_layer(generated, materialised):
    *factors, constant = generated.weight.transpose(0, 1)
    *bias_factors, bias_constant = generated.bias
    # (K, I, O) -> (I O, K)
    materialised.weights.weight.copy_(th.stack(factors).flatten(1).t())
    materialised.weights.bias.copy_(constant.flatten())
    materialised.biases.weight.copy_(th.stack(bias_factors).t())
    materialised.biases.bias.copy_(bias_constant)


@th.no_grad()
def papers_copy(policy, state_dim):
    """The papers' agent with a policy's weights."""
    ours = policy.agent
    aggregate = isinstance(ours.encoder, AggregatedEncoder)
    rnn = (ours.encoder.encoder if aggregate else ours.encoder).rnn
    theirs = peer_papers.PapersAgent(OBS_WIDTHS, N_ACTIONS, WIDTH, LAYERS, state_dim, aggregate)
    for name in ("embed_state", "embed_action", "embed_reward", "embed_previous_state"):
        getattr(theirs, name).load_state_dict(getattr(ours.features.transition, name).state_dict())
    theirs.gru.load_state_dict({name.removesuffix("_l0"): value for name, value in rnn.state_dict().items()})
    theirs.to_latent.load_state_dict(ours.to_latent.state_dict())
    theirs.trunk.load_state_dict(ours.trunk.layers.state_dict())
    theirs.embed_base_state.load_state_dict(ours.features.embed_state.state_dict())
    for network, copied in ((ours.actor, theirs.actor), (ours.critic, theirs.critic)):
        layers = [*network.hidden_layers, network.output_layer]
        for generated, materialised in zip(layers, copied.layers, strict=True):
            copy_layer(generated, materialised)
    return theirs


def some_sequences(memory_dim, n_steps=N_STEPS):
    th.manual_seed(0)
    starts = (th.rand(n_steps, N_ENVS) < 0.2).float()
    starts[0] = th.tensor([1.0, 0.0, 1.0, 0.0])
    # Running maxima from 0 are never negative.
    return th.randn(n_steps, N_ENVS, OBS_DIM), th.rand(N_ENVS, memory_dim), starts


def by_key(obs):
    parts = th.split(obs.flatten(0, 1), list(OBS_WIDTHS.values()), dim=-1)
    return dict(zip(OBS_WIDTHS, parts, strict=True))


def log_prob_of(logits, actions):
    return logits.log_softmax(-1).gather(-1, actions[:, None])[:, 0]


@pytest.mark.parametrize("state_dim", [0, 6])
@pytest.mark.parametrize("policy", ["SplAggerPolicy", "RNNHNPolicy"])
def test_the_papers_way_is_our_policy(policy, state_dim, scramble):
    policy = scramble(make_model(policy, state_dim).policy)
    theirs = papers_copy(policy, state_dim)
    obs, memory, starts = some_sequences(theirs.memory_dim)
    actions = th.randint(N_ACTIONS, (N_STEPS * N_ENVS,))
    ours = policy.evaluate_sequences(by_key(obs), actions, memory, starts > 0)
    unrolled = theirs.unroll(obs, memory, starts)
    assert ours.log_prob.std() > 0.1 and ours.values.std() > 0.1
    th.testing.assert_close(log_prob_of(unrolled.logits, actions), ours.log_prob, atol=1e-4, rtol=0)
    th.testing.assert_close(unrolled.values, ours.values, atol=1e-4, rtol=0)
    th.testing.assert_close(unrolled.memory, policy.agent.encode(by_key(obs), memory, starts > 0).memory)


def test_a_model_with_written_down_base_networks_is_the_same(scramble):
    model = make_model()
    scramble(model.policy)
    obs, memory, starts = some_sequences(model.policy.memory_dim)
    actions = th.randint(N_ACTIONS, (N_STEPS * N_ENVS,))
    first = {key: value[:N_ENVS] for key, value in by_key(obs).items()}

    def answers():
        evaluation = model.policy.evaluate_sequences(by_key(obs), actions, memory, starts > 0)
        with th.no_grad():
            th.manual_seed(0)
            return [*evaluation[:3], *model.policy.make_act()(first, memory, starts[0] > 0)[:3]]

    expected, parameters = answers(), set(model.policy.parameters())
    peer_papers.materialise(model)
    assert set(model.policy.parameters()) == parameters
    assert not any(isinstance(module, GeneratedLinear) for module in model.policy.modules())
    th.testing.assert_close(answers(), expected)


def test_plain_ppo_has_the_gradient_of_hyper_ppo(scramble):
    settings = peer_ppo.PPOSettings(N_STEPS, N_STEPS * N_ENVS, n_epochs=1)
    same = {name: getattr(settings, name) for name in ("learning_rate", "clip_range", "ent_coef", "vf_coef")}
    model = make_model(value_loss="mse", **same)
    scramble(model.policy)
    theirs = papers_copy(model.policy, 0)
    model.learn(N_STEPS * N_ENVS)
    buffer = model.rollout_buffer
    obs = th.cat([buffer.observations[key] for key in OBS_WIDTHS], dim=-1)
    ppo = peer_ppo.PlainPPO(theirs, throughput.ConcatenatedKeys(trials()), settings)
    ppo.update(
        peer_ppo.Rollout(
            obs, buffer.actions, buffer.log_probs, buffer.advantages, buffer.returns, buffer.episode_starts.float(),
            buffer.memories[0],
        )
    )  # fmt: skip
    gradients = make_model().policy
    for parameter, trained in zip(gradients.parameters(), model.policy.parameters(), strict=True):
        parameter.data.copy_(trained.grad)
    # Gradients lie where the weights lay.
    for parameter, expected in zip(theirs.parameters(), papers_copy(gradients, 0).parameters(), strict=True):
        assert expected.abs().max() > 0
        th.testing.assert_close(parameter.grad, expected.data, atol=1e-5, rtol=1e-3)


def test_advantages_are_those_of_hyper_ppo():
    box, discrete = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)
    settings = peer_ppo.PPOSettings(N_STEPS, N_STEPS * N_ENVS, gamma=0.9, gae_lambda=0.8)
    buffer = SequenceRolloutBuffer(
        N_STEPS, N_ENVS, N_STEPS, 1, 0, box, discrete, th.device("cpu"), settings.gamma, settings.gae_lambda
    )
    rewards, values, starts = th.randn(N_STEPS, N_ENVS), th.randn(N_STEPS + 1, N_ENVS), th.rand(N_STEPS + 1, N_ENVS)
    starts = starts < 0.2
    for target, source in ((buffer.rewards, rewards), (buffer.values, values[:-1]), (buffer.episode_starts, starts)):
        target.copy_(source[:N_STEPS])
    buffer.compute_returns_and_advantage(values[-1], starts[-1])
    computed = peer_ppo.estimate_advantages(rewards, values, starts.float(), settings)
    th.testing.assert_close(computed, (buffer.advantages, buffer.returns))


def test_the_single_file_lstm_is_sb3_contribs_policy():
    box, discrete = spaces.Box(-10, 10, (OBS_DIM,)), spaces.Discrete(N_ACTIONS)
    shared = {"shared_lstm": True, "enable_critic_lstm": False, "lstm_hidden_size": WIDTH, "ortho_init": False}
    policy = MlpLstmPolicy(box, discrete, lambda _: 1e-3, net_arch=LAYERS, **shared)
    agent = peer_single_file.SingleFileLSTM(OBS_DIM, N_ACTIONS, WIDTH, LAYERS)
    agent.rnn.load_state_dict(policy.lstm_actor.state_dict())
    extractor = policy.mlp_extractor
    for network, hidden, output in (
        (agent.actor, extractor.policy_net, policy.action_net),
        (agent.critic, extractor.value_net, policy.value_net),
    ):
        network[:-1].load_state_dict(hidden.state_dict())
        network[-1].load_state_dict(output.state_dict())
    obs, memory, starts = some_sequences(agent.memory_dim)
    actions = th.randint(N_ACTIONS, (N_STEPS, N_ENVS))
    states = tuple(state[None].contiguous() for state in memory.chunk(2, dim=-1))
    flat = [x.transpose(0, 1).flatten(0, 1) for x in (obs, actions, starts)]
    values, log_prob, _ = policy.evaluate_actions(flat[0], flat[1], RNNStates(states, states), flat[2])
    unrolled = agent.unroll(obs, memory, starts)
    th.testing.assert_close(unrolled.values.view(N_STEPS, N_ENVS).t().reshape(-1, 1), values)
    computed = log_prob_of(unrolled.logits, actions.flatten()).view(N_STEPS, N_ENVS)
    th.testing.assert_close(computed.t().flatten(), log_prob)


def test_the_single_file_gru_is_our_encoder():
    agent = peer_single_file.SingleFileGRU(OBS_DIM, N_ACTIONS, WIDTH, LAYERS)
    encoder = GRUEncoder(OBS_DIM, WIDTH)
    encoder.rnn.load_state_dict(agent.rnn.state_dict())
    obs, memory, starts = some_sequences(agent.memory_dim)
    th.testing.assert_close(agent.encode(obs, memory, starts), encoder(obs, memory, starts > 0))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("n_steps", [1, N_STEPS])
def test_torchrl_is_the_single_file(kind, n_steps):
    pytest.importorskip("torchrl")
    theirs = getattr(import_module("peer_torchrl"), f"TorchRL{kind}")(OBS_DIM, N_ACTIONS, WIDTH, LAYERS)
    plain = getattr(peer_single_file, f"SingleFile{kind}")(OBS_DIM, N_ACTIONS, WIDTH, LAYERS)
    plain.rnn.load_state_dict(getattr(theirs.rnn, kind.lower()).state_dict())
    plain.actor.load_state_dict(theirs.actor.state_dict())
    plain.critic.load_state_dict(theirs.critic.state_dict())
    sequences = some_sequences(plain.memory_dim, n_steps)
    expected, computed = plain.unroll(*sequences), theirs.unroll(*sequences)
    th.testing.assert_close(tuple(computed), tuple(expected))
    for unrolled in (expected, computed):
        (unrolled.logits.square().sum() + unrolled.values.square().sum()).backward()
    for theirs_, plain_ in zip(theirs.rnn.parameters(), plain.rnn.parameters(), strict=True):
        th.testing.assert_close(theirs_.grad, plain_.grad)


@pytest.mark.parametrize("kind", ["SingleFileLSTM", "SingleFileGRU", "PapersAgent"])
def test_a_rollout_is_unrolled_as_it_was_acted(kind):
    if kind == "PapersAgent":
        agent = peer_papers.PapersAgent(OBS_WIDTHS, N_ACTIONS, WIDTH, LAYERS, state_dim=0, aggregate=True)
    else:
        agent = getattr(peer_single_file, kind)(OBS_DIM, N_ACTIONS, WIDTH, LAYERS)
    settings = peer_ppo.PPOSettings(N_STEPS, N_STEPS * N_ENVS // 2)
    ppo = peer_ppo.PlainPPO(agent, throughput.ConcatenatedKeys(trials()), settings)
    ppo.train(lambda: None)
    rollout = ppo.collect()
    assert rollout.memory.abs().max() > 0 and rollout.starts[1:].any()
    unrolled = agent.unroll(rollout.obs, rollout.memory, rollout.starts)
    th.testing.assert_close(log_prob_of(unrolled.logits, rollout.actions.flatten()), rollout.log_probs.flatten())


def test_the_table_has_every_peer(monkeypatch, capsys, tmp_path):
    # TorchRL is taken away, also where it is installed.
    for name in ("torchrl", "tensordict"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "peer_torchrl", raising=False)
    arguments = ["--steps", "8", "--envs", "4", "--width", "8", "--size", "XS", "--repetitions", "1"]
    monkeypatch.setattr(
        sys, "argv", ["peers.py", *arguments, "--threads", str(th.get_num_threads()), "--json", f"{tmp_path}/p.json"]
    )
    peers.main()
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert "thread(s) used" in lines[0] and "torch" in lines[1]
    for peer in peer_cases.PEERS.values():
        row = next(line for line in lines if line.startswith(f"{peer.label}  "))
        assert ("not installed" in row) == peer.label.startswith("TorchRL")
    assert "torchrl" in printed.err or "tensordict" in printed.err
    measured = json.loads((tmp_path / "p.json").read_text())["peers"]
    assert set(measured) == {name for name in peer_cases.PEERS if not name.startswith("torchrl")}


@pytest.mark.slow
def test_written_down_base_networks_take_memory():
    arguments = ["--steps", "400", "--envs", "4", "--repetitions", "1", "--json", "/dev/stdout", "--memory"]
    command = [sys.executable, str(FOLDER / "peers.py"), *arguments, "--only", "papers-splagger", "splagger"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    measured = json.loads(ended.stdout[ended.stdout.index("{") :])["peers"]
    # 400 rows, actor and critic, layers 128 x 64 and 64 x 64.
    assert measured["papers-splagger"]["update_bytes"] > 400 * 2 * (128 * 64 + 64 * 64) * 4
    assert measured["splagger"]["update_bytes"] < measured["papers-splagger"]["update_bytes"] / 2
