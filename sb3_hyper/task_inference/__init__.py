"""Task inference: auxiliary objectives by which an encoder learns what the task is."""

from sb3_hyper.errors import unknown_name
from sb3_hyper.task_inference.base_network_regression import BaseNetworkRegression
from sb3_hyper.task_inference.embedding_regression import EmbeddingRegression
from sb3_hyper.task_inference.objective import (
    AgentSpaces,
    AuxiliaryLoss,
    AuxiliaryObjective,
    LatentSequences,
    MinibatchObjective,
    TrialObjective,
    TrialSequences,
)
from sb3_hyper.task_inference.task_regression import TaskRegression
from sb3_hyper.task_inference.task_target import unit_scale
from sb3_hyper.task_inference.trial_buffer import TrialBuffer
from sb3_hyper.task_inference.variational import VariationalObjective

AUXILIARY_OBJECTIVES: dict[str, type[AuxiliaryObjective]] = {
    objective.__name__: objective
    for objective in (TaskRegression, EmbeddingRegression, BaseNetworkRegression, VariationalObjective)
}
"""The objectives by the name that HyperPPO and the zoo's YAML use."""


def find_objective(objective: str | type[AuxiliaryObjective]) -> type[AuxiliaryObjective]:
    """
    Find an objective.

    :param objective: a name in ``AUXILIARY_OBJECTIVES``, or a class
    :return: the class
    :raises ValueError: when the name is unknown
    :raises TypeError: when it is neither a name nor such a class
    """
    if isinstance(objective, str) and objective not in AUXILIARY_OBJECTIVES:
        raise unknown_name("auxiliary objective", objective, AUXILIARY_OBJECTIVES)
    found: object = AUXILIARY_OBJECTIVES[objective] if isinstance(objective, str) else objective
    if not isinstance(found, type) or not issubclass(found, AuxiliaryObjective):
        raise TypeError(
            f"auxiliary_class={objective!r}: wanted a name ({', '.join(AUXILIARY_OBJECTIVES)}) or a subclass of "
            "MinibatchObjective or TrialObjective."
        )
    return found


__all__ = [
    "AUXILIARY_OBJECTIVES",
    "AgentSpaces",
    "AuxiliaryLoss",
    "AuxiliaryObjective",
    "BaseNetworkRegression",
    "EmbeddingRegression",
    "LatentSequences",
    "MinibatchObjective",
    "TaskRegression",
    "TrialBuffer",
    "TrialObjective",
    "TrialSequences",
    "VariationalObjective",
    "find_objective",
    "unit_scale",
]
