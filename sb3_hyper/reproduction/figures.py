"""The figures that can be repeated: methods and environments of the papers' comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sb3_hyper.errors import unknown_name
from sb3_hyper.reproduction.budgets import (
    GRID_NAVI,
    GRID_NAVI_INITIALIZATION,
    HALF_CHEETAH_DIR,
    MC_LS,
    PLANNING_3X3,
    POINT_NAV,
    T_AGREEMENT,
    T_MAZE,
    Budget,
    Training,
)


@dataclass(frozen=True)
class Method:
    """
    One line of a figure.

    :param label: its name in the figure
    :param policy: name of the policy
    :param policy_kwargs: its keyword arguments in this figure
    """

    label: str
    policy: str
    policy_kwargs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """
    A comparison of methods.

    :param name: its name on the command line
    :param title: what it compares
    :param source: paper and section
    :param link: address of the paper
    :param methods: the methods
    :param environments: environment's id -> how it is trained in, by budget
    :param note: what differs from the paper, whatever the budget
    """

    name: str
    title: str
    source: str
    link: str
    methods: tuple[Method, ...]
    environments: Mapping[str, Mapping[Budget, Training]]
    note: str = ""


SPLAGGER, AMRL = Method("SplAgger", "SplAggerPolicy"), Method("AMRL", "AMRLPolicy")
RNN, RNN_S, RNN_HN = Method("RNN", "RNNPolicy"), Method("RNN+S", "RNNSPolicy"), Method("RNN+HN", "RNNHNPolicy")
MAX = Method("Max", "MaxPolicy")
_T_MAZES = {"TMazeLS-v0": T_MAZE, "TMazeAgreement-v0": T_AGREEMENT, "TMazeLatent-v0": T_MAZE}
_2022 = "https://arxiv.org/abs/2210.11348"
_2023 = "https://arxiv.org/abs/2309.14970"
_2024 = "https://arxiv.org/abs/2403.03020"
_ONE_LEARNING_RATE = "The papers choose a learning rate for each method; here all methods have the same one."


def _initialized_by(label: str, **policy_kwargs: object) -> Method:
    return Method(label, "RNNHNPolicy", policy_kwargs)


_ENTRIES = (
    Figure(
        name="t-ls",
        title="T-LS: one early cue, 100 noisy steps",
        source="Beck et al. 2024, memory benchmarks, T-LS",
        link=_2024,
        methods=(SPLAGGER, AMRL, RNN_HN),
        environments={"TMazeLS-v0": T_MAZE},
        note=_ONE_LEARNING_RATE,
    ),
    Figure(
        name="hyperinit",
        title="How a hypernetwork starts",
        source="Beck et al. 2022, comparison of initialisations",
        link=_2022,
        methods=(
            _initialized_by("Bias-HyperInit", initializer="BiasHyperInit"),
            _initialized_by("Weight-HyperInit", initializer="WeightHyperInit"),
            _initialized_by("Hyperfan-In", initializer="HyperFanIn", normalize_latent=True),
            _initialized_by("Kaiming", initializer="Kaiming"),
            _initialized_by("normc", initializer="Normc"),
            _initialized_by("orthogonal", initializer="Orthogonal"),
            Method("no hypernetwork", "RNNSPolicy"),
        ),
        environments={"GridNavi-v0": GRID_NAVI_INITIALIZATION, "HalfCheetahDir-v0": HALF_CHEETAH_DIR},
        note=f"The paper's agents infer the task (VariBAD); here the policy's loss trains all. {_ONE_LEARNING_RATE}",
    ),
    Figure(
        name="grids",
        title="Recurrent hypernetworks on grids",
        source="Beck et al. 2023, grid worlds",
        link=_2023,
        methods=(RNN_HN, RNN_S, RNN),
        environments=dict.fromkeys(("GridNavi-v0", "GridNaviDense-v0", "GridNaviShow-v0"), GRID_NAVI),
        note=_ONE_LEARNING_RATE,
    ),
    Figure(
        name="task-inference",
        title="End to end, or by inferring the task",
        source="Beck et al. 2023, comparison with task inference",
        link=_2023,
        methods=(
            Method("Multi+HN", "MultiHNPolicy"),
            RNN_HN,
            Method("VI+HN", "VIHNPolicy"),
            Method("TI Naive", "TINaivePolicy"),
            Method("TI++HN", "TIPlusPlusHNPolicy"),
            RNN,
        ),
        environments={"GridNavi-v0": GRID_NAVI, "PointNav-v0": POINT_NAV},
        note=f"Multi+HN is told the task: an upper bound. PointNav-v0 is not the papers'. {_ONE_LEARNING_RATE}",
    ),
    Figure(
        name="memory",
        title="Memory benchmarks",
        source="Beck et al. 2024, memory benchmarks",
        link=_2024,
        methods=(SPLAGGER, AMRL, RNN_HN, RNN, MAX),
        environments={**_T_MAZES, "PlanningGame3x3-v0": PLANNING_3X3, "MineMaze-v0": MC_LS},
        note=f"MineMaze-v0 stands for MC-LS, with pictures of its own. {_ONE_LEARNING_RATE}",
    ),
    Figure(
        name="order",
        title="Memories of order, of rare events and of statistics",
        source="Beck et al. 2024, memory benchmarks, with T-Order in place of T-LS",
        link=_2024,
        methods=(SPLAGGER, MAX, Method("CNP", "CNPPolicy"), RNN_HN),
        environments={"TMazeOrder-v0": T_MAZE, "TMazeAgreement-v0": T_AGREEMENT, "TMazeLatent-v0": T_MAZE},
        note=f"TMazeOrder-v0 is not the paper's. {_ONE_LEARNING_RATE}",
    ),
    Figure(
        name="sequence-models",
        title="Other sequence models, alone and with SplAgger's aggregator",
        source="Beck et al. 2023, conclusion, where it is the open question; memory benchmarks of 2024",
        link=_2023,
        methods=(
            RNN_HN,
            SPLAGGER,
            Method("LSTM-InvInit", "LSTMInvInitPolicy"),
            Method("LRU", "LRUPolicy"),
            Method("SplAgger on LRU", "SplAggerLRUPolicy"),
            Method("minGRU", "MinGRUPolicy"),
            Method("SplAgger on minGRU", "SplAggerMinGRUPolicy"),
            # No T-maze's trial is longer.
            Method("Transformer", "TransformerPolicy", {"encoder_kwargs": {"context_length": 400}}),
        ),
        environments={**_T_MAZES, "TMazeOrder-v0": T_MAZE},
        note=_ONE_LEARNING_RATE,
    ),
    Figure(
        name="aggregators",
        title="SplAgger with other aggregators",
        source="Beck et al. 2024, ablation of the aggregator",
        link=_2024,
        methods=(
            Method("max", "SplAggerPolicy"),
            Method("mean", "SplAggerMeanPolicy"),
            Method("mean and max", "SplAggerMeanMaxPolicy"),
            Method("softmax", "SplAggerSoftmaxPolicy"),
            Method("weighted mean", "SplAggerWeightedMeanPolicy"),
            Method("weighted softmax", "SplAggerWeightedSoftmaxPolicy"),
        ),
        environments=_T_MAZES,
        note=_ONE_LEARNING_RATE,
    ),
    Figure(
        name="split",
        title="SplAgger without its split, and without its recurrent network",
        source="Beck et al. 2024, ablation of the split",
        link=_2024,
        methods=(SPLAGGER, Method("no split", "SplAggerNoSplitPolicy"), Method("no RNN", "SplAggerNoRNNPolicy")),
        environments=_T_MAZES,
        note=_ONE_LEARNING_RATE,
    ),
    Figure(
        name="straight-through",
        title="True and straight-through gradients of the maximum",
        source="Beck et al. 2024, ablation of the straight-through gradient",
        link=_2024,
        methods=(
            SPLAGGER,
            Method("SplAgger, straight through (AMRL)", "AMRLPolicy"),
            MAX,
            Method("Max, straight through", "MaxSTPolicy"),
        ),
        environments=_T_MAZES,
        note=_ONE_LEARNING_RATE,
    ),
)

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ENTRIES}
"""Name -> figure."""


def find_figure(name: str) -> Figure:
    """
    Look up a figure.

    :param name: its name
    :return: the figure
    :raises ValueError: when there is none of that name
    """
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    return FIGURES[name]
