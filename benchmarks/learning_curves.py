"""
Learning curves of RL-Zoo runs: mean trial return against frames, one line for each policy, over its seeds.

    python benchmarks/learning_curves.py --env TMazeLS-v0 -f logs --best 16 --output docs/images/t_maze_ls_learning.png
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure
from measuring import print_table
from stable_baselines3.common.monitor import load_results

N_BINS = 40
PAPER_NAMES = {"RNNHN": "RNN+HN", "RNNS": "RNN+S", "RNNFiLM": "RNN+FiLM"}


def read_curve(run: Path, bins: np.ndarray) -> np.ndarray:
    """
    Mean return of the trials that end in each bin of frames.

    :param run: folder of a run, with its monitor files
    :param bins: ``(N_BINS + 1,)`` edges in frames
    :return: ``(N_BINS,)``, NaN where no trial ended
    """
    trials = load_results(str(run)).sort_values("t")
    index = np.digitize(trials["l"].cumsum(), bins) - 1
    returns = trials["r"].to_numpy()
    return np.array([returns[index == i].mean() if (index == i).any() else np.nan for i in range(N_BINS)])


def runs_by_label(folder: Path, env: str) -> dict[str, list[Path]]:
    """Run folders of an environment, grouped by policy, and by ``policy_kwargs`` where one policy has several."""
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for config in sorted(folder.glob(f"**/hyper_ppo/{env}_*/{env}/config.yml")):
        # RL-Zoo writes an OrderedDict.
        settings = dict(yaml.load(config.read_text(), Loader=yaml.UnsafeLoader))
        name, kwargs = settings["policy"].removesuffix("Policy"), settings.get("policy_kwargs", {})
        variant = ", ".join(f"{k}={v}" for k, v in kwargs.items()) if isinstance(kwargs, dict) else kwargs
        groups[PAPER_NAMES.get(name, name)][variant].append(config.parents[1])
    if not groups:
        raise SystemExit(
            f"No hyper_ppo runs of {env} in {folder}. Train some first: python -m rl_zoo3.train --algo hyper_ppo"
        )
    return {
        f"{name}: {variant}" if len(variants) > 1 else name: runs
        for name, variants in groups.items()
        for variant, runs in sorted(variants.items())
    }


def print_returns(groups: dict[str, list[Path]]) -> None:
    """First episode and whole trial of each run that ``python -m sb3_hyper.evaluate`` has evaluated."""
    rows = []
    for label, runs in groups.items():
        evaluated = [run / "adaptation_curve.json" for run in runs if (run / "adaptation_curve.json").is_file()]
        returns = [np.array(json.loads(path.read_text())["returns"]) for path in evaluated]
        first = "  ".join(f"{trials[:, 0].mean():.2f}" for trials in returns)
        whole = "  ".join(f"{trials.sum(axis=1).mean():.2f}" for trials in returns)
        rows.append((label, first, whole))
    print_table(("", "first episode, seed by seed", "trial, seed by seed"), rows)


def draw(groups: dict[str, list[Path]], env: str, frames: float, best: float | None) -> Figure:
    """One line and band (mean, smallest and largest seed) for each label."""
    bins = np.linspace(0, frames, N_BINS + 1)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for label, runs in sorted(groups.items(), reverse=True):
        curves = np.stack([read_curve(run, bins) for run in runs])
        centers = (bins[1:] + bins[:-1]) / 2e6
        n_seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
        (line,) = axes.plot(centers, curves.mean(axis=0), label=f"{label} ({n_seeds})", lw=2)
        axes.fill_between(centers, curves.min(axis=0), curves.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)
    if best is not None:
        axes.axhline(best, color="0.4", ls="--", lw=1)
        axes.text(frames / 1e6, best - 0.3, "best possible", color="0.4", ha="right", va="top")
    axes.set(xlabel="million frames", ylabel="mean trial return while exploring", title=env)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Learning curves of RL-Zoo runs")
    parser.add_argument("--env", required=True, help="environment ID")
    parser.add_argument("-f", "--folder", type=Path, default=Path("logs"), help="log folder")
    parser.add_argument("--frames", type=float, default=1e6, help="right end of the frames' axis")
    parser.add_argument("--best", type=float, default=None, help="best possible return")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    arguments = parser.parse_args()
    groups = runs_by_label(arguments.folder, arguments.env)
    print_returns(groups)
    draw(groups, arguments.env, arguments.frames, arguments.best).savefig(arguments.output, dpi=150)
    print(f"Wrote {arguments.output}")


if __name__ == "__main__":
    main()
