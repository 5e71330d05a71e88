"""The linear recurrent unit: a complex diagonal recurrence with a gated output."""

import math

import torch as th
from torch import nn
from torch.nn import functional as F
from typing_extensions import override

from sb3_hyper.checks import check_counts
from sb3_hyper.encoders.base import SequenceEncoder, check_steps
from sb3_hyper.encoders.initial_state import InitialState
from sb3_hyper.recurrences import linear_recurrence


class LRUEncoder(SequenceEncoder):
    """
    One block of linear recurrent units (Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long
    Sequences", section 3)::

        u_t = W x_t + b
        s_t = lambda s_{t-1} + gamma B u_t              complex, elementwise
        y_t = Re(C s_t) + D u_t
        encoding_t = u_t + GLU(GELU(y_t))               GLU(y) = (W_1 y + b_1) sigmoid(W_2 y + b_2)

    with lambda = exp(-exp(nu) + i exp(theta)), which keeps its modulus below one, and gamma = sqrt(1 - |lambda|^2),
    which gives the states the size of their input however long they remember. gamma follows lambda, where the paper
    learns it from that start; the paper's normalisation of u is left out, because it would turn transitions in which
    nothing happens into inputs as large as any other.

    At first lambda is spread evenly over the ring r_min <= |lambda| <= r_max, with phases between 0 and ``max_phase``:
    a state remembers about 1 / (1 - |lambda|) steps, by default 10 to 1000. Diverse phases tell steps apart; a smaller
    ``max_phase`` and a larger ``r_min`` suit what has to be averaged over hundreds of noisy steps.

    The memory is s, real and imaginary part of each entry side by side.

    :param input_dim: width of a transition's features
    :param output_dim: width of an encoding
    :param n_states: number of complex states; ``output_dim`` if None
    :param r_min: smallest modulus at the start
    :param r_max: largest modulus at the start, at most 0.999999: single precision cannot tell larger ones from 1
    :param max_phase: largest phase at the start, in radians per step, up to 2 pi
    :param learned_initial_state: whether the state that a trial starts from is learned; else it is zero
    :raises ValueError: unless n_states >= 1, 0 <= r_min < r_max <= 0.999999 and 0 < max_phase <= 2 pi
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 256,
        n_states: int | None = None,
        r_min: float = 0.9,
        r_max: float = 0.999,
        max_phase: float = 2 * math.pi,
        learned_initial_state: bool = False,
    ) -> None:
        n_states = output_dim if n_states is None else n_states
        super().__init__(input_dim, output_dim, state_dim=2 * n_states)
        check_counts(n_states=n_states)
        if not 0 <= r_min < r_max <= 0.999999 or not 0 < max_phase <= 2 * math.pi:
            raise ValueError(
                f"LRUEncoder got r_min={r_min}, r_max={r_max} and max_phase={max_phase}, wanted 0 <= r_min < r_max <= "
                "0.999999 (at 1 a state never forgets and grows without bound, and single precision cannot tell larger "
                "ones from 1; 0.999 remembers 1000 steps) and 0 < max_phase <= 2 pi."
            )
        squared_modulus = r_min**2 + (r_max**2 - r_min**2) * _uniform(n_states)
        self.nu = nn.Parameter((-0.5 * squared_modulus.log()).log())
        self.theta = nn.Parameter((max_phase * _uniform(n_states)).log())
        self.embedding = nn.Linear(input_dim, output_dim)
        # B and C as real matrices: real and imaginary parts side by side, minus Im C for the latter.
        self.to_states = nn.Linear(output_dim, 2 * n_states, bias=False)
        self.from_states = nn.Linear(2 * n_states, output_dim, bias=False)
        self.feedthrough = nn.Parameter(th.randn(output_dim))
        self.gate = nn.Linear(output_dim, 2 * output_dim)
        self.initial = InitialState(2 * n_states, learned_initial_state)
        self.state_dim = self.initial.memory_dim
        nn.init.normal_(self.to_states.weight, std=(2 * output_dim) ** -0.5)
        nn.init.normal_(self.from_states.weight, std=n_states**-0.5)

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        check_steps(x)
        embedded = self.embedding(x)
        log_modulus = -self.nu.exp()
        decay = th.polar(log_modulus.exp(), self.theta.exp())
        scale = (-th.expm1(2 * log_modulus)).sqrt()
        # (T, B, 2 n) -> (T, B, n) complex
        drive = th.view_as_complex(th.unflatten(self.to_states(embedded), -1, (-1, 2)) * scale[:, None])
        before = _as_complex(self.initial.to_hidden(state))
        states = linear_recurrence(self.initial.restart(drive, decay, resets), before, resets, decay)
        hidden = th.view_as_real(states).flatten(2)
        output = self.from_states(hidden) + self.feedthrough * embedded
        return embedded + F.glu(self.gate(F.gelu(output)), dim=-1), self.initial.to_memory(hidden[-1])


def _uniform(size: int) -> th.Tensor:
    """Uniform in (0, 1]: its logarithm is finite."""
    return 1 - th.rand(size)


def _as_complex(state: th.Tensor) -> th.Tensor:
    # A slice of a wider memory may start at an odd place, where ``view_as_complex`` refuses it.
    return th.complex(state[:, ::2], state[:, 1::2])
