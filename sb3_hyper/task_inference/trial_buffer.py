"""Past trials, kept whole and in bounded memory."""

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch as th
from torch.nn.utils.rnn import pad_sequence

Trial = dict[str, th.Tensor]
"""Parts of a trial's steps by name, ``(L, …)`` each."""


class TrialBatch(NamedTuple):
    """
    Trials side by side, padded with zeros behind their ends.

    :param parts: by name, ``(T, B, …)``
    :param mask: ``(T, B)`` bool, True up to each trial's end
    """

    parts: dict[str, th.Tensor]
    mask: th.Tensor


class TrialBuffer:
    """
    The latest trials; the oldest ones are dropped where there are too many steps.

    Rollouts cut trials wherever they end: the pieces wait here until the trial is complete, and are not counted. A
    trial that is longer than the whole buffer is kept up to its bound, from its start.

    :param capacity: most steps, of all complete trials together
    :param device: where trials of another buffer are taken to
    """

    def __init__(self, capacity: int, device: th.device | str = "cpu") -> None:
        self.capacity = capacity
        self.device = device
        self.trials: deque[Trial] = deque()
        self._n_steps = 0
        self._pieces: dict[int, list[Trial]] = {}

    @property
    def n_steps(self) -> int:
        """Steps of all complete trials."""
        return self._n_steps

    def add_rollout(self, parts: Mapping[str, th.Tensor], starts: th.Tensor, ended: th.Tensor) -> int:
        """
        Take in a rollout; what comes before an environment's first start, and goes on from no rollout before, is left
        out.

        :param parts: by name, ``(T, n_envs, …)``
        :param starts: ``(T, n_envs)`` bool, whether a trial started with the step
        :param ended: ``(n_envs,)`` bool, whether the last step ended a trial
        :return: how many trials are complete now that were not before
        """
        n_completed = 0
        n_steps, n_envs = starts.shape
        all_starts, all_ended = starts.t().tolist(), ended.tolist()
        for env in range(n_envs):
            if all_starts[env][0]:
                # A trial that was still open then has been broken off: the environment was reset.
                self._pieces[env] = []
            later = [t for t in range(1, n_steps) if all_starts[env][t]]
            for first, last in pairwise([0, *later, n_steps]):
                if first > 0:
                    n_completed += self._complete(env)
                    self._pieces[env] = []
                self._append(env, {name: part[first:last, env] for name, part in parts.items()})
            if all_ended[env]:
                n_completed += self._complete(env)
        return n_completed

    def drop_unfinished(self) -> None:
        """Forget the trials that are still open: what comes next may not go on where they were left."""
        self._pieces.clear()

    def _append(self, env: int, piece: Trial) -> None:
        """Go on with an environment's trial, if its beginning is known and there is room for more of it."""
        pieces = self._pieces.get(env)
        if pieces is not None and sum(map(_length, pieces)) < self.capacity:
            pieces.append({name: part.clone() for name, part in piece.items()})

    def _complete(self, env: int) -> bool:
        """Put an environment's trial, which has ended, among the others; whether its beginning was known."""
        pieces = self._pieces.pop(env, None)
        if not pieces:
            return False
        self._keep({name: th.cat([piece[name] for piece in pieces])[: self.capacity] for name in pieces[0]})
        return True

    def _keep(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._n_steps += _length(trial)
        while self._n_steps > self.capacity:
            self._n_steps -= _length(self.trials.popleft())

    def sample(self, n_trials: int) -> TrialBatch:
        """
        Draw trials uniformly, with replacement.

        :param n_trials: how many
        :return: the trials
        """
        chosen = [self.trials[i] for i in th.randint(len(self.trials), (n_trials,)).tolist()]
        parts = {name: pad_sequence([trial[name] for trial in chosen]) for name in chosen[0]}
        device = next(iter(parts.values())).device
        lengths = th.tensor([_length(trial) for trial in chosen], device=device)
        return TrialBatch(parts, th.arange(int(lengths.max()), device=device)[:, None] < lengths)

    def state_dict(self) -> dict[str, th.Tensor]:
        """All complete trials, one behind the other, and their lengths."""
        if not self.trials:
            return {}
        steps = {f"steps.{name}": th.cat([trial[name] for trial in self.trials]) for name in self.trials[0]}
        return {**steps, "lengths": th.tensor([_length(trial) for trial in self.trials])}

    def load_state_dict(self, state: Mapping[str, th.Tensor], strict: bool = True) -> Any:
        """
        Take over the trials of another buffer, as many of the latest as there is room for.

        :param state: from :meth:`state_dict`
        :param strict: not read: a buffer has no fixed names
        """
        self.trials.clear()
        self.drop_unfinished()
        self._n_steps = 0
        if not state:
            return
        lengths = state["lengths"].tolist()
        names = [name for name in state if name.startswith("steps.")]
        pieces = zip(*(th.split(state[name].to(self.device), lengths) for name in names), strict=True)
        for piece in pieces:
            # Copies of their own, no views that would keep all steps alive.
            parts = [part[: self.capacity].clone() for part in piece]
            self._keep({name.removeprefix("steps."): part for name, part in zip(names, parts, strict=True)})


def _length(trial: Trial) -> int:
    return len(next(iter(trial.values())))
