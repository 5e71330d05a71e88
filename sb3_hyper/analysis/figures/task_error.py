"""What is known of the task, step by step of the trial."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_hyper.analysis.figures.style import add_legend, check_results, dress, look_of, make_figure
from sb3_hyper.analysis.result import Array
from sb3_hyper.analysis.task_error import CONFIDENCE, TaskErrorCurves
from sb3_hyper.plotting import COLORS, MUTED_COLOR, TEXT_COLOR


def task_error_figure(*results: TaskErrorCurves) -> Figure:
    """
    Draw the errors of heads and linear probes over the steps of a trial and, where there are any, beliefs' entropies.

    :param results: one for each agent, of the same environment
    :return: the figure; lines are means over trials, bands their intervals, thin vertical lines where episodes begin
    :raises ValueError: when there is none, or they are of different environments
    """
    check_results(results)
    if len(names := sorted({result.environment for result in results})) > 1:
        raise ValueError(f"Wanted results of one environment, got {', '.join(names)}. Draw one figure for each.")
    has_entropy = any(result.entropy is not None for result in results)
    figure = make_figure(11.4 if has_entropy else 6.4, 4.6)
    errors, *others = figure.subplots(1, 1 + has_entropy, squeeze=False)[0]
    errors.axhline(1.0, color=MUTED_COLOR, lw=1.0, zorder=2)
    for index, (result, name) in enumerate(zip(results, _names(results), strict=True)):
        if result.head is not None:
            _draw(errors, result.head, index, "-", f"{name}: {result.head_name} of its head")
        _draw(errors, result.probe, index, "--", f"{name}: linear probe")
        if result.entropy is not None:
            _draw(others[0], result.entropy, index, "-", name)
    _say_what_one_is(errors)
    dress(errors, "Error of the task", "transitions seen", "share of the error without knowledge")
    errors.set_ylim(bottom=0)
    for axes in others:
        dress(axes, "Entropy of the belief", "transitions seen", "nats")
        axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=TEXT_COLOR)
    for axes in (errors, *others):
        _mark_episodes(axes, results[0])
    figure.suptitle(
        f"How fast the task is known, {names[0]}", x=0.01, ha="left", fontsize=12, fontweight="bold", color=TEXT_COLOR
    )
    n_tested = " / ".join(sorted({str(result.n_tested) for result in results}))
    actions = " / ".join(sorted({result.actions for result in results}))
    note = f"lines: means over {n_tested} trials, {actions}; bands: {CONFIDENCE:.0%} bootstrap intervals"
    add_legend(figure, errors, 2, note)
    return figure


def _names(results: Sequence[TaskErrorCurves]) -> list[str]:
    """Policies' names, numbered where one has several agents."""
    policies = [result.policy for result in results]
    return [
        f"{policy} {policies[: index + 1].count(policy)}" if policies.count(policy) > 1 else policy
        for index, policy in enumerate(policies)
    ]


def _draw(axes: Axes, curve: Array, index: int, style: str, label: str) -> None:
    value, low, high = curve.T
    steps, look = range(len(curve)), look_of(index)
    # Styles tell heads from probes: where colours come again, markers tell agents apart.
    marker = look.marker if index >= len(COLORS) else None
    axes.plot(
        steps, value, color=look.color, lw=2.0, linestyle=style, zorder=4, label=label, marker=marker,
        markevery=max(1, len(curve) // 10), markeredgecolor="white",
    )  # fmt: skip
    axes.fill_between(steps, low, high, color=look.color, alpha=0.16, linewidth=0, zorder=3)


def _say_what_one_is(axes: Axes) -> None:
    place = axes.get_yaxis_transform()
    axes.text(0.99, 1.01, "nothing is known", transform=place, ha="right", va="bottom", fontsize=8.5, color=TEXT_COLOR)


def _mark_episodes(axes: Axes, result: TaskErrorCurves) -> None:
    axes.set_xlim(0, len(result.probe) - 1)
    for step in result.episode_starts:
        axes.axvline(step, color=MUTED_COLOR, lw=0.6, zorder=1)
