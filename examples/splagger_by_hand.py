"""
SplAgger without reinforcement learning: an encoder, an aggregator and a hypernetwork, put together by hand.

Shows the two reasons for aggregating: what is aggregated does not depend on the order of what happened, and the
gradient to a trial's first transition stays alive where a recurrent network's vanishes.
"""

import torch as th
from torch import nn

from sb3_hyper.aggregators import Max
from sb3_hyper.encoders import AggregatedEncoder, GRUEncoder, PointwiseEncoder, SequenceEncoder
from sb3_hyper.hypernetworks import BaseNetwork, BiasHyperInit, Trunk

th.set_num_threads(1)
th.manual_seed(0)
T, B, D = 100, 1, 80  # steps, sequences, features of a transition

# One trial of 100 transitions. `resets` says where trials start: here at the first step and nowhere else.
transitions = th.rand(T, B, D) * 2 - 1
resets = th.zeros(T, B, dtype=th.bool)
resets[0] = True

# --- An aggregator is a commutative monoid: lift, combine, read out. ---
aggregator = Max(D)
early, late = (aggregator.lift(half).amax(dim=0) for half in transitions.split(T // 2))
together = aggregator.combine(early, late)
assert together.equal(aggregator.combine(late, early)) and together.equal(aggregator.lift(transitions).amax(dim=0))
print("1. Two halves of a trial, aggregated apart and combined in either order, are the whole trial.\n")

# --- Encoders: a memory for each. SplAgger keeps half of the GRU's output and aggregates the other half. ---
encoders: dict[str, SequenceEncoder] = {
    "GRU": GRUEncoder(D, 256),
    "SplAgger": AggregatedEncoder(GRUEncoder(D, 256), "Max"),
    "AMRL": AggregatedEncoder(GRUEncoder(D, 256), "Max", use_straight_through=True),
    "Max of transitions": AggregatedEncoder(PointwiseEncoder(D, 256), "Max", split=False),
}

# --- Does the order matter? Shuffle the trial and compare the last outputs. ---
print("2. Distance between a trial's encoding and that of the same trial shuffled:")
shuffled = transitions[th.randperm(T)]
for name, encoder in encoders.items():
    last = [encoder(x, encoder.initial_state(B), resets)[0][-1] for x in (transitions, shuffled)]
    first, second = (nn.functional.normalize(output, dim=-1) for output in last)
    print(f"   {name:<20}{(first - second).norm():.3f}")

# --- Does the beginning still count? The gradient of the output at step t to the first transition. ---
print("\n3. Norm of d output_t / d transition_0:")
times = (0, 10, 50, 99)
print(" " * 23 + "".join(f"t = {t:<8}" for t in times))
for name, encoder in encoders.items():
    inputs = transitions.clone().requires_grad_()
    outputs, _ = encoder(inputs, encoder.initial_state(B), resets)
    norms = [th.autograd.grad(outputs[t].sum(), inputs, retain_graph=True)[0][0].norm() for t in times]
    print(f"   {name:<20}" + "".join(f"{norm:<12.1e}" for norm in norms))

# --- The latent goes to a hypernetwork, which writes the weights of a base network that sees the state only. ---
encoder, initializer = encoders["SplAgger"], BiasHyperInit()
to_latent, trunk = nn.Linear(encoder.output_dim, 24), Trunk(24, [25], initializer)
actor = BaseNetwork("generated", trunk.output_dim, 4, [64, 64], 2, nn.Tanh, 0.01, initializer)


def act(trial: th.Tensor, state: th.Tensor) -> th.Tensor:
    """The logits for one state, in a trial that went like this."""
    encodings, _ = encoder(trial, encoder.initial_state(B), resets)
    return actor(state, trunk(to_latent(encodings[-1])))[0]


state, other = th.ones(1, 4), -transitions
print("\n4. How far two trials' policies are apart in one and the same state:")
with th.no_grad():
    print(f"   at first (Bias-HyperInit)   {(act(transitions, state) - act(other, state)).norm():.4f}")
optimizer = th.optim.Adam([*encoder.parameters(), *to_latent.parameters(), *trunk.parameters(), *actor.parameters()])
for _ in range(20):
    logits = th.cat((act(transitions, state), act(other, state)))
    optimizer.zero_grad()
    nn.functional.cross_entropy(logits, th.tensor([0, 1])).backward()
    optimizer.step()
with th.no_grad():
    print(f"   after 20 steps of Adam      {(act(transitions, state) - act(other, state)).norm():.4f}")
