"""The documentation names all that is registered, with the code's numbers; links lead somewhere, commands are right."""

import argparse
import ast
import inspect
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from rl_zoo3.utils import StoreDict
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_hyper import HyperPPO, analyse, contact_sheet, evaluate, reproduce
from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.encoders import ENCODERS
from sb3_hyper.envs import TASK_DISTRIBUTIONS
from sb3_hyper.envs.rl2_observation import rl2_observation_space
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS
from sb3_hyper.hypernetworks.initializers import BASE_INITIALIZERS
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, HyperActorCriticPolicy

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TEXTS = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))}
METHODS, ENVIRONMENTS = (TEXTS[DOCS / f"{name}.md"] for name in ("methods", "environments"))
PAGES = {path.stem: text for path, text in TEXTS.items() if path.parent == DOCS / "methods"}
TEMPLATE = ["Equation", "Source", "Settings", "Departures", "Results", "Command"]

EVERY_POLICY = {**POLICIES, **PRIVILEGED_POLICIES}
POLICY_ROWS = [
    (name, page, settings, int(memory))
    for page, text in PAGES.items()
    for name, settings, memory in re.findall(r"^\| `(\w+Policy)` \| (.*) \| (\d+) \|$", text, re.MULTILINE)
]
"""Name, page, settings and numbers of memory, as the pages' tables of policies have them."""


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def code_blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def headings(text, level):
    return re.findall(rf"^{'#' * level} (.+)$", without_code(text), re.MULTILINE)


def section(text, heading):
    return without_code(text).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def commands(text, program):
    """The arguments of a program wherever blocks of commands call it."""
    lines = "\n".join(code_blocks(text, "bash")).replace("\\\n", " ").splitlines()
    calls = [shlex.split(line, comments=True) for line in lines if f"python -m {program} " in line]
    return [call[call.index(program) + 1 :] for call in calls]


def anchors(text):
    """The anchors that GitHub gives to headings."""
    titles = [title for level in range(1, 5) for title in headings(text, level)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", [*AGGREGATORS])
def test_every_aggregator_is_described(name):
    assert f"`{name}`" in section(METHODS, "Aggregators")


@pytest.mark.parametrize("name", [*HYPER_INITIALIZERS, *(f'"{name}"' for name in BASE_INITIALIZERS)])
def test_every_initializer_is_described(name):
    assert f"`{name}`" in section(PAGES["hyperinit"], "Equation")


@pytest.mark.parametrize("env_id", TASK_DISTRIBUTIONS)
def test_every_environment_has_a_row_with_its_references(env_id):
    row = next(line for line in ENVIRONMENTS.splitlines() if line.startswith(f"| `{env_id}`"))
    returns = row.split("|")[-2]
    for value in TASK_DISTRIBUTIONS[env_id].reference_returns.values():
        assert f"{value:g}" in returns


def test_every_policy_has_one_row_on_one_page():
    assert sorted(name for name, *_ in POLICY_ROWS) == sorted(EVERY_POLICY)


@pytest.mark.parametrize(("name", "page", "settings", "memory"), POLICY_ROWS, ids=[row[0] for row in POLICY_ROWS])
def test_a_policys_row_says_what_the_code_does(name, page, settings, memory):
    policy = EVERY_POLICY[name]
    preset = {f"{key}={value!r}".replace("'", '"') for key, value in policy.preset.items()}
    assert set(re.findall(r"`(\w+=[^`]+)`", settings)) == preset
    box = spaces.Box(-1, 1, (1,), np.float32)
    space = rl2_observation_space(box, box, True, box) if name in PRIVILEGED_POLICIES else box
    built = policy(space, spaces.Discrete(2), lambda _: 0.0)
    assert built.memory_dim == memory


@pytest.mark.parametrize(("name", "page"), [row[:2] for row in POLICY_ROWS], ids=[row[0] for row in POLICY_ROWS])
def test_the_overview_links_a_policys_page(name, page):
    rows = section(METHODS, "Policies").splitlines()
    assert any(f"(methods/{page}.md)" in row and f"`{name}`" in row for row in rows)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_follows_the_template(page):
    text = PAGES[page]
    assert headings(text, 2) == TEMPLATE
    assert len(headings(text, 1)) == 1 and not headings(text, 3)
    introduction = text.split("\n## ")[0].split("\n\n", 1)[1].strip()
    assert introduction and "\n\n" not in introduction
    for heading in TEMPLATE[1:-1]:
        assert section(text, heading).strip()
    assert "```math\n" in text.split("## Source")[0]
    assert code_blocks(text, "bash") and code_blocks(text, "python")
    assert f"(methods/{page}.md" in METHODS


def keyword_rows(heading):
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section(METHODS, heading), re.MULTILINE)
    return {name: ast.literal_eval(default) for name, default in rows}


def own_keywords(child, parent, but=()):
    inherited = set(inspect.signature(parent).parameters) - set(but)
    return {n: p.default for n, p in inspect.signature(child).parameters.items() if n not in inherited}


@pytest.mark.parametrize(
    ("heading", "keywords"),
    [
        ("Keywords of the policies", own_keywords(HyperActorCriticPolicy, ActorCriticPolicy, but=["net_arch"])),
        ("Keywords of HyperPPO", own_keywords(HyperPPO, RecurrentPPO)),
    ],
)
def test_every_keyword_is_listed_with_its_default(heading, keywords):
    assert keyword_rows(heading) == keywords


def test_every_encoder_is_listed():
    row = next(line for line in METHODS.splitlines() if line.startswith("| `encoder` |"))
    assert set(re.findall(r'`"(\w+)"`', row.split("|")[3])) == set(ENCODERS)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(path):
    prose = re.sub(r"`[^`\n]*`", "", without_code(TEXTS[path]))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        file, _, anchor = link.partition("#")
        if file.startswith(("https://", "http://")):
            continue
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name} links {link}: there is no {target}"
        if anchor:
            assert anchor in anchors(TEXTS[target]), f"{path.name} links {link}: {target.name} has no such heading"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_this_package_are_understood(path):
    for program in (evaluate, analyse, contact_sheet, reproduce):
        for arguments in commands(TEXTS[path], program.__name__):
            assert program.make_parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_a_pages_training_command_builds_its_agent(page):
    parser = argparse.ArgumentParser()
    for option in ("--algo", "--env"):
        parser.add_argument(option, required=True)
    parser.add_argument("-params", nargs="+", action=StoreDict)
    calls = commands(PAGES[page], "rl_zoo3.train")
    assert calls
    for call in calls:
        options = parser.parse_args(call)
        assert options.algo == "hyper_ppo" and options.env in TASK_DISTRIBUTIONS
        HyperPPO(**{"policy": "RNNHNPolicy", **options.params}, env=options.env)


@pytest.mark.parametrize("page", PAGES)
def test_a_pages_python_runs_up_to_the_training(page, monkeypatch):
    trained = []
    monkeypatch.setattr(HyperPPO, "learn", lambda model, n_steps: trained.append(model))
    for block in code_blocks(PAGES[page], "python"):
        exec(block, {})
    assert trained
