"""The analyses' figures: what is drawn, not how it looks."""

import io
from pathlib import Path

import numpy as np
import pytest

from sb3_hyper.analysis import (
    GradientNorms,
    InitialStatistics,
    LatentGradientNorms,
    PermutationDistances,
    TaskErrorCurves,
    WeightSpread,
)
from sb3_hyper.analysis import figures as drawn
from sb3_hyper.analysis.figures.latent_gradient import running_median
from sb3_hyper.analysis.figures.weight_spread import task_colors

RANDOM = np.random.default_rng(0)
STEPS = np.array([0, 2, 5])


def gradients(name="A", scale=1.0):
    inputs = scale * RANDOM.uniform(1, 2, (3, 3, 6)) * (np.arange(6) <= STEPS[:, None])
    return GradientNorms(name, STEPS, inputs, RANDOM.uniform(10, 20, (3, 3)))


def permutations(name="A"):
    return PermutationDistances(name, STEPS, RANDOM.uniform(0, 1, (3, 3)), np.zeros((3, 3)))


def statistics(size="S", names=("plain network", "BiasHyperInit", "Kaiming")):
    tables = RANDOM.uniform(0.5, 2, (4, len(names), 3))
    layers = ["hidden 1 (8 → 4)", "hidden 2 (4 → 4)", "output (4 → 2)"]
    return InitialStatistics(size, "orthogonal", 1.0, list(names), layers, *tables)


def spread(tasks, n_steps=2):
    n_trials = len(tasks)
    return WeightSpread(
        "GridNavi-v0", "RNNHNPolicy", 3.0, 100, list(range(n_steps)), np.asarray(tasks, float),
        RANDOM.uniform(0, 1, (n_steps, 5)), RANDOM.normal(size=(n_steps, n_trials, 2)), np.ones(n_steps),
    )  # fmt: skip


def norms(name="A", n=60):
    return LatentGradientNorms(name, np.arange(n) * 100, RANDOM.uniform(1, 2, n))


def knowledge(policy="TINaiveHNPolicy", head=True, entropy=False, environment="PointNav-v0"):
    curve = np.linspace([1.0, 0.9, 1.1], [0.4, 0.3, 0.5], 12)
    return TaskErrorCurves(
        environment, policy, False, -80.0, 200, 100, [0, 11], [4, 8], "task_error" if head else None,
        curve if head else None, 0.5 if head else None, "root mean square error", 1.2 * curve, 0.5,
        10 * curve if entropy else None,
    )  # fmt: skip


EVERY = {
    "gradients": (drawn.FIGURES["gradients"], lambda: [gradients(), gradients("B", 1e-9)]),
    "permutations": (drawn.FIGURES["permutations"], lambda: [permutations(), permutations("B")]),
    "initialisation": (drawn.FIGURES["initialisation"], lambda: [statistics(), statistics("XL")]),
    "training": (drawn.FIGURES["training"], lambda: [norms(), norms("B"), norms("A", 1)]),
    "task-error": (drawn.FIGURES["task-error"], lambda: [knowledge(), knowledge("VIHNPolicy", False, True)]),
    "classes": (drawn.FIGURES["weights"], lambda: [spread([[1], [-1]] * 4)]),
    "grid": (drawn.FIGURES["weights"], lambda: [spread([[x, y] for x in range(4) for y in range(4)])]),
    "line": (drawn.FIGURES["weights"], lambda: [spread(np.arange(12)[:, None], 1)]),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_picture_comes_out(name):
    draw, make = EVERY[name]
    file = io.BytesIO()
    draw(*make()).savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["gradients", "permutations", "initialisation", "training", "task-error"])
def test_nothing_to_draw(name):
    with pytest.raises(ValueError, match="at least one result"):
        EVERY[name][0]()


def test_gradients_are_means_with_bands_and_what_leaves_the_axes_is_said():
    results = [gradients(), gradients("Vanishing", 1e-9)]
    first, parameters, profile = drawn.gradient_figure(*results).axes
    for axes, values in ((first, results[0].first_input), (parameters, results[0].parameters)):
        np.testing.assert_allclose(axes.lines[0].get_xydata(), np.column_stack((STEPS, values.mean(axis=0))))
        band = axes.collections[0].get_paths()[0].vertices
        assert band[:, 1].min() == values.min() and band[:, 1].max() == values.max()
        assert axes.get_yscale() == "log" and axes.get_title(loc="left") and axes.get_xlabel() and axes.get_ylabel()
    np.testing.assert_allclose(profile.lines[0].get_ydata(), results[0].inputs[:, -1].mean(axis=0))
    legend = drawn.gradient_figure(*results).legends[0]
    # Below the axes, where no line is.
    assert not first.texts
    value = results[1].first_input[:, 2].mean()
    assert (
        legend.get_title().get_text() == f"gradients to the first input below the axis: Vanishing {value:.0e} at t = 5"
    )
    assert first.get_ylim() == profile.get_ylim() and first.get_ylim()[0] == 1e-6
    assert [entry.get_text() for entry in legend.get_texts()] == ["A", "Vanishing"]


def seeds_of_one(name, inputs):
    return GradientNorms(name, STEPS, np.asarray(inputs, float)[None], np.ones((1, 3)))


def test_zeros_are_gaps_on_a_logarithmic_axis():
    inputs = gradients().inputs
    inputs[:, 2, [1, 2, 4]] = 0
    inputs[0, 1, 0] = 0
    result = GradientNorms("Max", STEPS, inputs, np.ones((3, 3)))
    figure = drawn.gradient_figure(result)
    first, _, profile = figure.axes
    line, alone = profile.lines
    assert np.isnan(line.get_ydata()).tolist() == [False, True, True, False, True, False]
    # Without neighbours they are dots.
    assert np.isfinite(alone.get_ydata()).tolist() == [True, False, False, True, False, True]
    # The mean counts a seed's zero.
    np.testing.assert_allclose(first.lines[0].get_ydata(), result.first_input.mean(axis=0))
    vertices = np.concatenate([path.vertices for path in first.collections[0].get_paths()])
    assert (vertices[:, 1] > 0).all() and set(vertices[:, 0]) == {0, 5}
    title = figure.legends[0].get_title().get_text()
    assert title == "where a line has a gap its gradient is 0, where a band has one that of a seed is"


def test_a_gradient_that_is_lost_altogether():
    inputs = np.ones((3, 6)) * (np.arange(6) <= STEPS[:, None])
    inputs[1:, 0] = 0
    figure = drawn.gradient_figure(seeds_of_one("Forgets", inputs))
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, True]
    assert "0e+00" not in figure.legends[0].get_title().get_text()


def test_the_last_panel_says_which_t_it_shows():
    short = GradientNorms("B", STEPS[:2], gradients().inputs[:, :2, :3], np.ones((3, 2)))
    one, both = drawn.gradient_figure(gradients()), drawn.gradient_figure(gradients(), short)
    assert one.axes[2].get_title(loc="left") == "Gradient to every input, t = 5"
    assert both.axes[2].get_title(loc="left") == "Gradient to every input, each line's last t"


@pytest.mark.parametrize("name", ["gradients", "permutations", "training"])
def test_as_many_lines_as_are_likely_look_different(name):
    make = {"gradients": gradients, "permutations": permutations, "training": norms}[name]
    figure = drawn.FIGURES[name](*(make(f"policy {number}") for number in range(20)))
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(line.get_ydata()) > 1 and line.get_linestyle() != "None"]
        looks = {(line.get_color(), line.get_linestyle()) for line in lines}
        assert len(looks) >= 20
        marked = {(line.get_color(), line.get_marker()) for line in lines if line.get_marker() != "None"}
        assert len(marked) in (0, 20)


def test_as_many_agents_as_are_likely_look_different():
    figure = drawn.task_error_figure(*(knowledge() for _ in range(12)))
    lines = [line for line in figure.axes[0].lines if "of its head" in str(line.get_label())]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 12
    assert {line.get_linestyle() for line in lines} == {"-"}


def test_legends_are_read_row_by_row_and_fit():
    figure = drawn.permutation_figure(*(permutations(name * 25) for name in "ABCDE"))
    legend = figure.legends[0]
    # Three columns, filled from top to bottom.
    assert [entry.get_text()[0] for entry in legend.get_texts()] == list("ADBEC")
    figure.draw_without_rendering()
    box, whole = legend.get_window_extent(), figure.bbox
    assert box.x0 >= whole.x0 and box.x1 <= whole.x1


def test_both_permutations_are_drawn_on_one_scale():
    result = permutations()
    prefix, past = drawn.permutation_figure(result).axes
    np.testing.assert_allclose(prefix.lines[0].get_ydata(), result.prefix.mean(axis=0))
    assert not past.lines[0].get_ydata().any() and past.get_ylim() == prefix.get_ylim()


def test_every_ratio_stands_in_its_cell():
    results = [statistics(), statistics("XL")]
    axes = drawn.initialization_figure(*results).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    for column, (result, layer) in enumerate((result, layer) for result in results for layer in range(3)):
        for row in range(2):
            assert cells[(column, row)] == f"{result.ratio_to_plain()[row + 1, layer]:.2g}"
    assert {"size S", "size XL"} <= {text.get_text() for text in axes.texts}
    with pytest.raises(ValueError, match="same initialisers"):
        drawn.initialization_figure(statistics(), statistics(names=("plain network", "Normc")))


def test_tasks_have_colours_and_a_key():
    figure = drawn.weight_spread_figure(spread([[1], [-1]] * 4))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["-1", "1"]
    points = [len(collection.get_offsets()) for collection in figure.axes[0].collections]
    assert points == [4, 4]
    figure = drawn.weight_spread_figure(spread([[x, y] for x in range(4) for y in range(4)]))
    assert len(np.unique(figure.axes[0].collections[0].get_facecolors(), axis=0)) == 16


def test_colours_of_tasks_are_mixed_from_corners():
    corners = np.array([[0.0, 0.0], [1, 0], [0, 1], [1, 1]])
    colors = task_colors(np.vstack((corners, [[0.5, 0.5]])), corners)
    np.testing.assert_allclose(colors[4], colors[:4].mean(axis=0))
    assert len(np.unique(colors, axis=0)) == 5
    assert task_colors(np.ones((3, 1)), np.ones((3, 1))).shape == (3, 3)


def test_a_policys_networks_stand_side_by_side():
    result = statistics("SplAggerWeightedSoftmaxPolicy, critic")
    result.preactivation_std[1, 0], result.preactivation_std[1, 1] = 0.0, 130 * result.preactivation_std[0, 1]
    axes = drawn.initialization_figure(result, statistics("RNNFiLMPolicy, actor")).axes[0]
    texts = {text.get_text() for text in axes.texts}
    assert {"SplAggerWeightedSoftmaxPolicy\ncritic", "RNNFiLMPolicy\nactor", "0", "130"} <= texts
    axes.figure.draw_without_rendering()
    left, right = (text.get_window_extent() for text in axes.texts if text.get_text().endswith(("\ncritic", "\nactor")))
    assert left.x1 < right.x0


def test_running_median():
    values = np.arange(100.0)
    values[50] = 1e6
    smoothed = running_median(values)
    assert smoothed.max() < 110 and smoothed[20] == 20
    assert running_median(np.array([4.0])).tolist() == [4.0]


def test_trainings_of_one_name_share_a_colour():
    axes = drawn.latent_gradient_figure(norms(), norms(), norms("B")).axes[0]
    assert len({line.get_color() for line in axes.lines}) == 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["A", "B"]
    with pytest.raises(ValueError, match="without updates"):
        drawn.latent_gradient_figure(norms(n=0))


def test_errors_are_drawn_with_bands_episodes_and_what_is_no_knowledge():
    ti, vi = knowledge(), knowledge("VIHNPolicy", False, True)
    figure = drawn.task_error_figure(ti, vi)
    errors, entropy = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in errors.lines}
    np.testing.assert_array_equal(lines["TINaiveHNPolicy: task_error of its head"], ti.head[:, 0])
    np.testing.assert_array_equal(lines["VIHNPolicy: linear probe"], vi.probe[:, 0])
    np.testing.assert_array_equal(entropy.lines[0].get_ydata(), vi.entropy[:, 0])
    assert errors.lines[0].get_ydata() == [1, 1] and [text.get_text() for text in errors.texts] == ["nothing is known"]
    band = errors.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == ti.head[:, 1].min() and band[:, 1].max() == ti.head[:, 2].max()
    for axes in (errors, entropy):
        vertical = [list(line.get_xdata()) for line in axes.lines if list(line.get_ydata()) == [0, 1]]
        assert vertical == [[4, 4], [8, 8]] and axes.get_xlabel() and axes.get_ylabel()
    assert len({line.get_color() for line in errors.lines if "Policy" in line.get_label()}) == 2
    assert "100 trials, sampled actions" in figure.legends[0].get_title().get_text()
    assert len(drawn.task_error_figure(ti).axes) == 1
    with pytest.raises(ValueError, match="one environment, got GridNavi-v0, PointNav-v0"):
        drawn.task_error_figure(ti, knowledge(environment="GridNavi-v0"))


def test_numbers_need_no_matplotlib_and_figures_no_pyplot():
    folder = Path(drawn.__file__).parent
    for path in folder.parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "matplotlib.pyplot" not in source
        assert path.parent == folder or ("matplotlib" not in source and "analysis.figures" not in source)
