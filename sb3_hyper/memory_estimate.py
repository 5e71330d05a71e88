"""
What a training needs of memory, by a formula of its settings: no step is taken and nothing is measured.

A minibatch has N = T * B steps: B sequences of length T. For the backward pass autograd keeps what gradients read: the
inputs of linear layers, the outputs of tanh and ReLU, the gates of recurrent units. The formulas below count these
tensors, each once, in numbers of four bytes, as they are on a CPU. On a GPU cuDNN keeps the gates in a reserve of its
own, which is taken to be as large.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from math import prod
from operator import add
from typing import Any, NamedTuple, TypeVar

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor
from torch import nn

from sb3_hyper import aggregators, encoders
from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.hyper_ppo.collection import VALUED_TOGETHER
from sb3_hyper.hyper_ppo.privileged_task import with_task
from sb3_hyper.hypernetworks import BaseNetwork, FiLMLinear, GeneratedLinear, Trunk, contraction
from sb3_hyper.policies.agent import Agent
from sb3_hyper.policies.features import Features, TaskFeatures
from sb3_hyper.policies.latent import GaussianLatent, LinearLatent
from sb3_hyper.task_inference import EmbeddingRegression, MinibatchObjective, TrialObjective, VariationalObjective

_FLOAT, _INDEX = 4, 8
"""Bytes of a number with and without a point."""
_Formula = TypeVar("_Formula")


def _term(formula: str) -> Any:
    return field(metadata={"formula": formula})


@dataclass(frozen=True)
class MemoryEstimate:
    """
    Bytes that a training needs, environments and libraries left out; printed, a table in MiB.

    :param parameters: of the policy and of an objective's networks
    :param gradients: of the parameters
    :param optimizer_state: of Adam
    :param rollout_buffer: the rollout
    :param past_trials: what an objective keeps of the past, when its buffer is full
    :param minibatch: the copy of the minibatch that is trained on
    :param activations: what a minibatch saves for the backward pass
    :param temporary: the most that an operation works with besides, less what has been set free by then
    :param between_minibatches: the most that a step needs while there is no minibatch
    """

    parameters: int = _term("4 bytes for each number that is learned")
    gradients: int = _term("one for each parameter")
    optimizer_state: int = _term("two moments for each parameter, a count for each tensor of them")
    rollout_buffer: int = _term("n_steps x n_envs x (observation, 2 actions, 6 numbers, 2 flags, 2 noise) + memories")
    past_trials: int = _term("buffer_size of an objective on past trials x (observation, action, reward)")
    minibatch: int = _term("batch_size x (observation, action, 4 numbers, flag, noise) + memories")
    activations: int = _term("batch_size x what the layers' gradients read + memories")
    temporary: int = _term("the most that an operation works with, less the activations that are free by then")
    between_minibatches: int = _term("values of 4096 steps, states in double precision, or a step on past trials")

    @property
    def peak(self) -> int:
        """What stays, and a minibatch with all that belongs to it, or a step between minibatches if that is more."""
        stays = self.parameters + self.gradients + self.optimizer_state + self.rollout_buffer + self.past_trials
        return stays + max(self.minibatch + self.activations + self.temporary, self.between_minibatches)

    def __str__(self) -> str:
        rows = [(part.name, getattr(self, part.name), part.metadata["formula"]) for part in fields(self)]
        rows.append(
            ("peak", self.peak, "the first five + max(minibatch + activations + temporary, between minibatches)")
        )
        return "\n".join(f"{name.replace('_', ' '):<19} {size / 2**20:>10.2f} MiB  {text}" for name, size, text in rows)


def estimate_memory(model: HyperPPO) -> MemoryEstimate:
    """
    Estimate what training a model needs: ``print(estimate_memory(model))``.

    Parameters, gradients, optimizer state, rollout buffer and minibatch are exact, for Adam. Activations and
    temporaries are bounds where a module is not this package's or states come again. An objective on past trials (VI)
    is taken to see trials as long as a rollout.

    :param model: the model, trained or not
    :return: the estimate
    """
    policy, agent = model.policy, model.policy.agent
    objective = None if model.auxiliary is None else model.auxiliary.objective
    trained = [*policy.parameters(), *(() if objective is None else objective.parameters())]
    parameters = _FLOAT * sum(parameter.numel() for parameter in trained)
    length, rollout = model.rollout_buffer.sequence_length, model.n_steps * model.n_envs
    rows = model.batch_size or rollout
    batch = _Batch(length, rows // length, model.device.type == "cpu")
    # Bytes of one step's observation, action and noise, and of one memory
    observation = _space_bytes(with_task(model.observation_space, model.task_space))
    action, noise = _space_bytes(model.action_space, is_action=True), _FLOAT * policy.noise_dim
    memory, past_step = _FLOAT * policy.memory_dim, observation + action + _FLOAT
    numbers = _agent_numbers(agent, batch) + _loss_numbers(agent, model.use_sde, objective, batch)
    return MemoryEstimate(
        parameters=parameters,
        gradients=parameters - _FLOAT * _without_gradient(objective),
        optimizer_state=2 * parameters + _FLOAT * len(trained),
        # What the policy did is there twice, as it came and stacked. The numbers are rewards, values, advantages,
        # returns, and log-probabilities twice. Memories are where sequences start, and one more is carried on.
        rollout_buffer=rollout * (observation + 2 * action + 6 * _FLOAT + 2 + 2 * noise)
        + (model.n_steps // length + 1) * model.n_envs * memory,
        past_trials=objective.buffer_size * past_step if isinstance(objective, TrialObjective) else 0,
        # Values, log-probabilities, advantages and returns
        minibatch=rows * (observation + action + 4 * _FLOAT + 1 + noise) + batch.n_sequences * memory,
        activations=_FLOAT * numbers.saved,
        temporary=_FLOAT * numbers.scratch,
        between_minibatches=max(
            _FLOAT * _valuing_numbers(agent, min(rollout, VALUED_TOGETHER + model.n_envs), batch.is_cpu),
            # Moments of flat states are taken of a copy in double precision.
            0 if agent.features.normalization is None else 2 * _FLOAT * rollout * agent.features.extractor.features_dim,
            _past_trials_bytes(objective, agent, model.n_steps, batch.is_cpu, past_step),
        ),
    )


def _space_bytes(space: spaces.Space[Any], is_action: bool = False) -> int:
    """Bytes of an element as the rollout keeps it: an image's as they are, eight for a whole number, else four."""
    if isinstance(space, spaces.Dict):
        return sum(_space_bytes(part) for part in space.spaces.values())
    dtype = np.dtype(space.dtype)
    is_whole = dtype.kind in "iu" and not (is_action and isinstance(space, spaces.MultiBinary))
    return prod(space.shape or ()) * (1 if dtype == np.uint8 else _INDEX if is_whole else _FLOAT)


def _without_gradient(objective: nn.Module | None) -> int:
    """How many parameters never have one with all others: an embedding learns before the encoder does, not after."""
    return sum(p.numel() for p in objective.parameters()) if isinstance(objective, EmbeddingRegression) else 0


class _Batch(NamedTuple):
    """T, B, and whether they are on a CPU."""

    n_steps: int
    n_sequences: int
    is_cpu: bool

    @property
    def rows(self) -> int:
        return self.n_steps * self.n_sequences


@dataclass(frozen=True)
class _Numbers:
    """What a part saves for the backward pass, and the most that its operations work with besides."""

    saved: int
    scratch: int = 0

    def __add__(self, after: "_Numbers") -> "_Numbers":
        # While the first part works, forward or backward, what comes after it has not been saved yet or is free again.
        return _Numbers(self.saved + after.saved, max(self.scratch - after.saved, after.scratch))


def _total(parts: Iterable[_Numbers]) -> _Numbers:
    return reduce(add, parts, _Numbers(0))


def _agent_numbers(agent: Agent, batch: _Batch) -> _Numbers:
    trunks = [agent.trunk, *([] if agent.critic_trunk is None else [agent.critic_trunk])]
    # State and factors without their 1, once for each trunk
    joined = agent.features.state_dim + agent.trunk.output_dim - 1 if agent.conditioning == "state_and_latent" else 0
    return _total(
        [
            _features_numbers(agent.features, agent.conditioning != "latent", batch.rows),
            _encoder_numbers(agent.encoder, batch),
            _latent_numbers(agent.to_latent, agent.trunk.latent_dim, batch.rows),
            *(_trunk_numbers(trunk, batch.rows) for trunk in trunks),
            _Numbers(batch.rows * joined * len(trunks)),
            _network_numbers(agent.actor, batch),
            _network_numbers(agent.critic, batch),
        ]
    )


def _features_numbers(features: Features, has_state: bool, rows: int) -> _Numbers:
    transition, width = features.transition, features.extractor.features_dim
    # What the embeddings read, side by side, and the ReLU's output
    n_inputs = sum(layer.in_features for layer in transition.modules() if isinstance(layer, nn.Linear))
    per_step = n_inputs + transition.output_dim + (width if isinstance(transition, TaskFeatures) else 0)
    if has_state:
        # The state, and the ReLU's output where the state is embedded for the base networks
        per_step += width + (features.state_dim if isinstance(features.embed_state, nn.Sequential) else 0)
    extracted = (1 + transition.has_previous_state) * _extractor_numbers(features.extractor, features.state_space)
    # A gradient of what the embeddings read needs their weights, which are packed into one matrix.
    packed = n_inputs * transition.output_dim if extracted else 0
    return _Numbers(rows * (per_step + extracted) + packed, rows * (per_step + extracted))


def _extractor_numbers(extractor: nn.Module, space: spaces.Space[Any]) -> int:
    """An image as floats, and the output of each convolution and linear layer; a bound where there is pooling."""
    if isinstance(extractor, CombinedExtractor) and isinstance(space, spaces.Dict):
        return sum(_extractor_numbers(part, space[key]) for key, part in extractor.extractors.items())
    layers = [layer for layer in extractor.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    size, numbers = list((space.shape or ())[-2:]), prod(space.shape or ()) if layers else 0
    for layer in layers:
        if isinstance(layer, nn.Linear):
            numbers += layer.out_features
            continue
        padding = (0, 0) if isinstance(layer.padding, str) else layer.padding
        axes = zip(size, padding, layer.dilation, layer.kernel_size, layer.stride, strict=True)
        size = [(n + 2 * pad - dilation * (kernel - 1) - 1) // step + 1 for n, pad, dilation, kernel, step in axes]
        numbers += layer.out_channels * prod(size)
    return numbers


_SCAN = 5
"""Tensors of a scan's backward pass: both gradients, decays in blocks, those one step later, and the carry."""

_ENCODERS: Mapping[type, Callable[[Any], tuple[int, int, int]]] = {
    # The activation's output; its gradient and that of its input.
    encoders.PointwiseEncoder: lambda e: (e.output_dim, 0, 2 * e.output_dim),
    # In the order of pieces the inputs, r, z, n, n's recurrent share and h; in the order of time h; two indices. (A
    # memory for each piece: where trials begin inside of sequences, a few more.)
    # Gradients of h, twice, and of the gates (3); h one step before; a factor of theirs.
    encoders.GRUEncoder: lambda e: (e.input_dim + 6 * e.output_dim + 4, e.state_dim, 7 * e.output_dim),
    # In the order of pieces the inputs, i, f, g, o, tanh(c), c and h; in the order of time h; two indices.
    # Gradients of h and c, twice; the gates' (4) and their factors (4); c one step before, and h's share of c.
    encoders.LSTMEncoder: lambda e: (e.input_dim + 8 * e.output_dim + 4, e.state_dim, 14 * e.output_dim),
    # u, y, GELU(y), both halves of the gate and the output; the states' input, and the states (S numbers as s is
    # complex), once more where the first state is learned. As a scan, and decays have a gradient: the states one step
    # before, and a product.
    encoders.LRUEncoder: lambda e: (
        6 * e.output_dim + (2 if e.initial.value is None else 3) * e.state_dim,
        e.state_dim,
        (_SCAN + 2) * e.state_dim,
    ),
    # Gate and candidate, z, 1 - z, and h, which is the output; two more where the first h is learned. Scan as above.
    encoders.MinGRUEncoder: lambda e: (
        (5 if e.initial.value is None else 7) * e.output_dim,
        e.state_dim,
        (_SCAN + 2) * e.output_dim,
    ),
    # Any other: a bound that would hold for each of those above but an LRU.
    encoders.SequenceEncoder: lambda e: (e.input_dim + 10 * e.output_dim, 4 * e.state_dim, 14 * e.output_dim),
}
"""What an encoder saves for each step and for each sequence, its output included, and its scratch for each step."""

_AGGREGATORS: Mapping[type, Callable[[Any, bool], int]] = {
    # Linear: nothing. The mean's state and count. Which maximum is older than its step.
    aggregators.Sum: lambda a, _: 0,
    aggregators.Mean: lambda a, _: a.state_dim + 1,
    aggregators.Max: lambda a, _: a.state_dim,
    # The state of both, the count, and which maximum is older.
    aggregators.MeanMax: lambda a, _: a.state_dim + 1 + a.max.state_dim,
    # Flags for each of the scan's two combinations in a step.
    aggregators.UnboundedMax: lambda a, _: a.state_dim,
    # The state; each half as wide: weights before and behind the scan, and flags of the latter.
    aggregators.WeightedMean: lambda a, _: 2 * a.state_dim + a.state_dim // 8,
    aggregators.Gaussian: lambda a, _: 2 * a.state_dim + a.state_dim // 8,
    # Each as wide as the readout: lifted (3), weight, decays (2), states (3) and divisor. Without the CPU's recurrence
    # the scan combines twice in a step, with exponents and sums for both sides.
    aggregators.WeightedSoftmax: lambda a, is_cpu: (10 if is_cpu else 21) * a.output_dim,
    # Any other: a bound that would hold for each of those above.
    aggregators.Aggregator: lambda a, _: 8 * a.state_dim,
}
"""What an aggregator saves for each step, encodings and readout left out."""


def _nearest(table: Mapping[type, _Formula], module: object) -> _Formula:
    return next(table[kind] for kind in type(module).__mro__ if kind in table)


def _encoder_numbers(encoder: encoders.SequenceEncoder, batch: _Batch) -> _Numbers:
    if isinstance(encoder, encoders.StackedEncoder):
        return _total(_encoder_numbers(layer, batch) for layer in encoder.encoders)  # type: ignore[arg-type]
    if isinstance(encoder, encoders.AggregatedEncoder):
        # Encodings, what the aggregator saves, and both halves side by side. A sum does not read encodings again, and
        # there this is a bound.
        saved = _nearest(_AGGREGATORS, encoder.aggregator)(encoder.aggregator, batch.is_cpu) + encoder.output_dim
        own = _Numbers(batch.rows * saved, batch.rows * _SCAN * encoder.aggregator.state_dim)
        return _encoder_numbers(encoder.encoder, batch) + own
    if isinstance(encoder, encoders.TransformerEncoder):
        return _transformer_numbers(encoder, batch)
    for_step, for_sequence, scratch = _nearest(_ENCODERS, encoder)(encoder)
    # Weights are transposed for the forward pass, and their gradients copied when they are handed over.
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    return _Numbers(batch.rows * for_step + batch.n_sequences * for_sequence, batch.rows * scratch + weights)


def _transformer_numbers(encoder: encoders.TransformerEncoder, batch: _Batch) -> _Numbers:
    width, rows, n_keys = encoder.token_dim, batch.rows, encoder.context_length - 1 + batch.n_steps
    # Of a layer: inputs, outputs and moments of two layer norms, query, what was read, and a feed-forward layer 4 wide;
    # for each head the softmax' normaliser, at most one for each number of a token; for each key a number, because
    # attention wants the mask as numbers; keys and values.
    layer = rows * (11 * width + 4 + n_keys) + batch.n_sequences * n_keys * 2 * width
    # One more layer norm, and the output; the mask once more, as flags of one byte, for what is remembered
    ends = rows * (2 * width + 2 + encoder.output_dim + n_keys // 4)
    # Making the mask; gradients of keys and values, for the layer and for what it was joined with
    scratch = rows * n_keys + batch.n_sequences * n_keys * 4 * width
    return _Numbers(len(encoder.layers) * layer + ends, scratch)


def _latent_numbers(to_latent: LinearLatent | GaussianLatent, width: int, rows: int) -> _Numbers:
    # A sample, its deviation and, for the divergence, the variance; mean and log-variance for both where they are not
    # the encoding itself
    has_layer = isinstance(to_latent, GaussianLatent) and isinstance(to_latent.projection, nn.Linear)
    copies = 1 if isinstance(to_latent, LinearLatent) else 7 if has_layer else 3
    return _Numbers(rows * copies * width, rows * copies * width)


def _trunk_numbers(trunk: Trunk, rows: int) -> _Numbers:
    # The outputs of tanh; the factors, which end in 1; a normalised latent and its two moments
    layers = sum(layer.out_features for layer in trunk.layers if isinstance(layer, nn.Linear))
    normalized = trunk.latent_dim + 2 if isinstance(trunk.normalization, nn.LayerNorm) else 0
    return _Numbers(rows * (layers + trunk.output_dim + normalized), rows * (layers + trunk.output_dim))


def _network_numbers(network: BaseNetwork, batch: _Batch) -> _Numbers:
    # What an activation's gradient reads: its output, which the next layer reads too, or else its input besides
    copies = 1 if isinstance(network.activation, (nn.Tanh, nn.ReLU, nn.Sigmoid)) else 2
    activations = batch.rows * copies * sum(_shape(layer)[1] for layer in network.hidden_layers)
    layers = (*network.hidden_layers, network.output_layer)
    return _total([_Numbers(activations), *(_layer_numbers(layer, batch) for layer in layers)])


def _shape(layer: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a base network's layer."""
    if isinstance(layer, GeneratedLinear):
        return layer.weight.shape[0], layer.weight.shape[2]
    linear = layer.linear if isinstance(layer, FiLMLinear) else layer
    assert isinstance(linear, nn.Linear)
    return linear.in_features, linear.out_features


def _layer_numbers(layer: nn.Module, batch: _Batch) -> _Numbers:
    """Of a base network's layer, beside its input and its activation's output, which is the next one's input."""
    (n_inputs, n_outputs), rows = _shape(layer), batch.rows
    if isinstance(layer, FiLMLinear):
        # What is scaled, and the scale
        return _Numbers(2 * rows * n_outputs, rows * (n_inputs + 3 * n_outputs))
    if not isinstance(layer, GeneratedLinear):
        return _Numbers(0, rows * (n_inputs + n_outputs))
    n_factors = layer.weight.shape[1]
    if n_outputs < n_inputs and _FLOAT * rows * n_factors * n_outputs <= contraction.PRODUCTS_BYTES:
        # The products with all A_k; their gradient, those of the inputs and of the A_k
        products = rows * n_factors * n_outputs
        return _Numbers(products, products + rows * n_inputs + layer.weight.numel())
    # No products are kept; outer products of a chunk of rows and their gradient, and all other gradients
    row_bytes = _FLOAT * n_factors * n_inputs
    on_cpu = max(contraction.CPU_CHUNK_ROWS, contraction.CPU_CHUNK_BYTES // row_bytes)
    chunk = min(rows, max(1, on_cpu if batch.is_cpu else contraction.DEVICE_CHUNK_BYTES // row_bytes))
    gradients = rows * (n_inputs + n_factors + n_outputs) + layer.weight.numel()
    return _Numbers(0, 2 * chunk * n_factors * n_inputs + gradients)


def _loss_numbers(agent: Agent, use_sde: bool, objective: nn.Module | None, batch: _Batch) -> _Numbers:
    # Of each action five numbers: its logit before and behind the normalisation, probability, entropy's factor and the
    # normaliser, which all share; or deviation, variance, difference and two products. Then ten of ratios, advantages
    # and errors of the values.
    per_step = 5 * _shape(agent.actor.output_layer)[1] + 10
    # State-dependent noise squares what it depends on.
    per_step += 2 * agent.actor.hidden_dim if use_sde else 0
    if isinstance(objective, MinibatchObjective):
        # The outputs of its layers, its input, and what is compared with the latent
        per_step += _outputs_of_layers(objective) + 4 * agent.trunk.latent_dim
    return _Numbers(batch.rows * per_step, batch.rows * per_step)


def _outputs_of_layers(module: nn.Module) -> int:
    return sum(layer.out_features for layer in module.modules() if isinstance(layer, nn.Linear))


def _valuing_numbers(agent: Agent, rows: int, is_cpu: bool) -> int:
    """The critic on steps of a rollout: its inputs, step by step and stacked, and its widest layer."""
    inputs = agent.features.state_dim + 2 * agent.trunk.output_dim
    return 2 * rows * inputs + _network_numbers(agent.critic, _Batch(1, rows, is_cpu)).scratch


def _past_trials_bytes(objective: nn.Module | None, agent: Agent, length: int, is_cpu: bool, step_bytes: int) -> int:
    """A step of an objective on trials of one length."""
    if not isinstance(objective, TrialObjective):
        return 0
    batch = _Batch(length, objective.n_trials, is_cpu)
    encoded = _features_numbers(agent.features, True, batch.rows) + _encoder_numbers(agent.encoder, batch)
    # Mean and log-variance, each with its share of the divergence in five steps
    beliefs = _Numbers(batch.rows * 10 * agent.to_latent.belief_dim)
    heads = _Numbers(batch.rows * _outputs_of_layers(objective))
    if isinstance(objective, VariationalObjective):
        # Every drawn step is decoded from every drawn belief: the layers' outputs, and as much for their gradients
        drawn = [min(length, n or length) for n in (objective.n_elbo_terms, objective.n_decoded_steps)]
        outputs = objective.n_trials * prod(drawn) * _outputs_of_layers(objective)
        heads = _Numbers(outputs, outputs)
    numbers = encoded + beliefs + heads
    return batch.rows * step_bytes + _FLOAT * (numbers.saved + numbers.scratch)
