"""
The papers' analyses, for your own agents and encoders: gradients over time, dependence on order, latent gradients
during training, spread of generated weights, errors of the task within a trial, statistics at initialisation.
``python -m sb3_hyper.analyse`` runs them.
"""

from sb3_hyper.analysis.gradients import GradientNorms, gradient_norms
from sb3_hyper.analysis.initialization import InitialStatistics, initial_statistics
from sb3_hyper.analysis.latent_gradient import LatentGradientCallback, LatentGradientNorms
from sb3_hyper.analysis.named_subjects import find_policy_class, find_subject
from sb3_hyper.analysis.permutations import PermutationDistances, permutation_distances
from sb3_hyper.analysis.policy_initialization import policy_statistics
from sb3_hyper.analysis.result import AnalysisResult, to_json
from sb3_hyper.analysis.subjects import (
    LatentEncoder,
    Subject,
    Widths,
    of_encoder_class,
    of_policy,
    of_policy_class,
)
from sb3_hyper.analysis.task_error import TaskErrorCurves, task_error
from sb3_hyper.analysis.weight_spread import WeightSpread, weight_spread

__all__ = [
    "AnalysisResult",
    "GradientNorms",
    "InitialStatistics",
    "LatentEncoder",
    "LatentGradientCallback",
    "LatentGradientNorms",
    "PermutationDistances",
    "Subject",
    "TaskErrorCurves",
    "WeightSpread",
    "Widths",
    "find_policy_class",
    "find_subject",
    "gradient_norms",
    "initial_statistics",
    "of_encoder_class",
    "of_policy",
    "of_policy_class",
    "permutation_distances",
    "policy_statistics",
    "task_error",
    "to_json",
    "weight_spread",
]
