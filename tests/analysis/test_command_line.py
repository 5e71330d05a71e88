"""``python -m sb3_hyper.analyse``: what it prints and writes, and what it says when something is wrong."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sb3_hyper import HyperPPO, analyse
from sb3_hyper.analysis import (
    Widths,
    figures,
    find_subject,
    gradient_norms,
    initial_statistics,
    permutation_distances,
    policy_statistics,
    task_error,
    weight_spread,
)
from sb3_hyper.analysis.published import compare_gradients, compare_permutations, comparison_table
from sb3_hyper.policies import RNNFiLMPolicy, VIHNPolicy

RUN = Path(__file__).parents[2] / "trained_agents" / "hyper_ppo" / "TMazeLS-v0_1"
SMALL = ["--length", "6", "--steps", "0", "5", "--n-seeds", "2", "--input-dim", "4", "--encoder-dim", "16"]
SHORT_RUN = ["--n-trials", "4", "--env-kwargs", "corridor_length:5"]


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn, by name; the pictures themselves are empty, which is quicker."""
    kept = {}

    def stand_in(name):
        def draw(*results):
            kept[name] = results
            return Figure()

        return draw

    monkeypatch.setattr(figures, "FIGURES", {name: stand_in(name) for name in figures.FIGURES})
    return kept


@pytest.fixture
def call(capsys, tmp_path, drawn):
    """Call the command line: exit status, output and errors; it writes to ``tmp_path``."""

    def run(*arguments):
        status = analyse.main([*map(str, arguments), "-o", str(tmp_path)])
        return status, *capsys.readouterr()

    return run


def test_gradients(call, tmp_path, drawn):
    status, output, _ = call("gradients", "AMRLPolicy", "lstm", *SMALL, "--latent-dim", 3)
    results = [gradient_norms(find_subject(name, Widths(4, 16, 3)), [0, 5], 6, 2) for name in ("AMRLPolicy", "lstm")]
    assert status == 0 and all(result.table() in output for result in results)
    assert json.loads((tmp_path / "gradients.json").read_text()) == [result.to_dict() for result in results]
    assert (tmp_path / "gradients.png").read_bytes().startswith(b"\x89PNG")
    assert [result.to_dict() for result in drawn["gradients"]] == [result.to_dict() for result in results]


def test_permutations(call, tmp_path):
    status, output, _ = call("permutations", "MaxPolicy", *SMALL, "--n-permutations", 3)
    expected = permutation_distances(find_subject("MaxPolicy", Widths(4, 16)), [0, 5], 6, 2, 3)
    assert status == 0 and expected.table() in output
    assert json.loads((tmp_path / "permutations.json").read_text()) == [expected.to_dict()]
    assert (tmp_path / "permutations.png").is_file()


def test_a_trained_agent_beside_untrained_ones(call, tmp_path):
    path = RUN / "TMazeLS-v0.zip"
    status, output, error = call("gradients", path, "SplAggerPolicy", "--length", 6, "--steps", 0, 5, "--n-seeds", 1)
    assert status == 0, error
    assert "TMazeLS-v0, SplAggerPolicy, t =" in output


def test_initialisation(call, tmp_path):
    status, output, _ = call("initialisation", "--sizes", "XS", "--n-seeds", 1, "--latent-std", 0.5)
    (result,) = json.loads((tmp_path / "initialisation.json").read_text())
    assert status == 0 and "Size XS" in output and result["latent_std"] == 0.5
    assert (tmp_path / "initialisation.png").is_file()


@pytest.mark.parametrize("name", ["gradients", "permutations"])
def test_a_run_and_its_model_are_one_agent(call, tmp_path, name):
    status, _, error = call(name, RUN, RUN / "TMazeLS-v0.zip", "--length", 4, "--steps", 0, 3, "--n-seeds", 1)
    assert status == 0, error
    run, model = json.loads((tmp_path / f"{name}.json").read_text())
    assert (run.pop("name"), model.pop("name")) == ("TMazeLS-v0_1, SplAggerPolicy", "TMazeLS-v0, SplAggerPolicy")
    assert run == model
    assert call(name, RUN, "--load-best")[2].startswith("error: The run ")


def test_initialisation_of_policies(call, tmp_path):
    policies = ["--policy", "RNNFiLMPolicy", "sb3_hyper.policies:VIHNPolicy", "--networks", "actor", "critic"]
    settings = ["--policy-kwargs", "net_arch:[8, 9]", "encoder_dim:8", "--base-initializer", "normc", "--n-seeds", 1]
    status, output, error = call("initialisation", *policies, *settings, "--latent-std", 0.5)
    assert status == 0, error
    results = json.loads((tmp_path / "initialisation.json").read_text())
    kwargs = {"net_arch": [8, 9], "encoder_dim": 8, "base_initializer": "normc"}
    expected = [
        policy_statistics(policy, network, n_seeds=1, latent_std=0.5, **kwargs)
        for policy in (RNNFiLMPolicy, VIHNPolicy)
        for network in ("actor", "critic")
    ]
    assert results == [result.to_dict() for result in expected]
    assert all(result.table() in output for result in expected)


def test_initialisation_of_a_policy_in_several_sizes(call, tmp_path):
    sizes = ["--sizes", "XS", "S", "--policy-kwargs", "encoder_dim:8", "--n-seeds", 1]
    assert call("initialisation", "--policy", "RNNHNPolicy", *sizes)[0] == 0
    results = json.loads((tmp_path / "initialisation.json").read_text())
    assert [result["size"] for result in results] == [f"RNNHNPolicy, actor, size {size}" for size in ("XS", "S")]


def test_weights_of_a_run_and_of_a_model(call, tmp_path):
    status, output, error = call("weights", RUN, *SHORT_RUN, "--steps", 0, -1, "--networks", "actor")
    assert status == 0, error
    (result,) = json.loads((tmp_path / "weights.json").read_text())
    assert result["steps"] == [0, -1] and len(result["tasks"]) == 4 and "4 trials" in output
    assert (tmp_path / "weights.png").is_file()
    arguments = ("weights", RUN / "TMazeLS-v0.zip", "--env", "TMazeLS-v0", *SHORT_RUN, "--networks", "actor")
    assert call(*arguments, "--steps", 0, -1)[0] == 0
    assert json.loads((tmp_path / "weights.json").read_text()) == [result]
    model, env, _ = analyse.prepare(analyse.as_evaluation(analyse.make_parser().parse_args(list(map(str, arguments)))))
    assert weight_spread(model, env, 4, (0, -1), ("actor",)).to_dict() == result


def test_how_fast_a_run_and_a_model_know_their_task(call, tmp_path, drawn):
    where = (RUN / "TMazeLS-v0.zip", "--env", "TMazeLS-v0", "--n-trials", "12", *SHORT_RUN[2:])
    status, output, error = call("task-error", RUN, *where, "--steps", 0, 5, -1, "--ridge", 0.01)
    assert status == 0, error
    options = analyse.make_parser().parse_args(["weights", *map(str, where)])
    model, env, _ = analyse.prepare(analyse.as_evaluation(options))
    expected = task_error(model, env, 12, (0, 5, -1), ridge=0.01)
    assert json.loads((tmp_path / "task-error.json").read_text()) == [expected.to_dict()] * 2
    assert output.count(expected.table()) == 2
    assert len(drawn["task-error"]) == 2 and (tmp_path / "task-error.png").is_file()


def test_training(call, tmp_path, monkeypatch):
    trained = []
    learn = HyperPPO.learn
    monkeypatch.setattr(HyperPPO, "learn", lambda model, *args: trained.append(model) or learn(model, *args))
    settings = ["n_steps:15", "batch_size:30", "policy_kwargs:{'size': 'XS', 'encoder_kwargs': {'n_layers': 2}}"]
    arguments = ["--env", "GridNavi-v0", "-n", 60, "--n-envs", 2, "--n-seeds", 2, "--device", "cpu"]
    status, output, error = call("training", "RNNPolicy", *arguments, "--hyperparams", *settings)
    assert status == 0, error
    results = json.loads((tmp_path / "training.json").read_text())
    assert [result["timesteps"] for result in results] == [[30, 60]] * 2 and "RNNPolicy, 2 updates" in output
    assert results[0]["norms"] != results[1]["norms"]
    assert (tmp_path / "training.png").is_file()
    for model in trained:
        assert model.policy.settings.size == "XS" and model.policy.settings.encoder_kwargs == {"n_layers": 2}
        assert model.n_steps == 15 and model.gamma == analyse.TRAINING["gamma"]


@pytest.mark.parametrize("last", ["TINaiveHNPolicy", "RNNHNPolcy"])
def test_nothing_is_trained_before_all_policies_are_known_to_do(call, monkeypatch, last):
    monkeypatch.setattr(HyperPPO, "learn", lambda *args: pytest.fail("trained"))
    status, _, error = call("training", "RNNHNPolicy", last, "--n-envs", 16, "--device", "cpu")
    assert status == 1 and "error: " in error


def test_published_and_measured_side_by_side(call, tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(analyse, "SIZES", ["XS"])
    monkeypatch.setattr(analyse, "RECURRENT", ("AMRLPolicy",))
    monkeypatch.setattr(analyse, "ORDERED_AND_NOT", ("MaxPolicy",))
    status, output, _ = call("papers", "--n-seeds", 1)
    assert status == 0
    assert drawn["initialisation"][0].to_dict() == initial_statistics("XS", n_seeds=1).to_dict()
    gradients, distances = (
        [gradient_norms(find_subject("AMRLPolicy"), n_seeds=1)],
        [permutation_distances(find_subject("MaxPolicy"), n_seeds=1)],
    )
    rows = [*compare_gradients(gradients), *compare_permutations(distances)]
    assert len(rows) == 3 and rows[1].published[-1] == 248
    assert comparison_table(rows) in output
    assert list(drawn) == ["gradients", "permutations", "initialisation"]
    for name in drawn:
        assert (tmp_path / f"{name}.json").is_file() and (tmp_path / f"{name}.png").is_file()


def test_comparisons_pick_the_published_steps():
    result = permutation_distances(find_subject("MaxPolicy"), n_seeds=1, n_permutations=1)
    (row,) = compare_permutations([result, permutation_distances(find_subject("CNPPolicy"), [0], 2, 1, 1)])
    assert row.name == "MaxPolicy" and len(row.measured) == len(row.published) == len(row.deviation) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gradients", "SplAggerPolciy"], "Did you mean 'SplAggerPolicy'"),
        (["gradients", "gru", "--steps", "100"], "wanted numbers from 0 to 99"),
        (["gradients", "MultiHNPolicy"], "MultiHNPolicy reads the task itself, not transitions"),
        (["gradients", "sb3_hyper.encoders:AggregatedEncoder"], "built from input and output width"),
        (["gradients", RUN.with_name("TMazeLS-v0_2")], "TMazeLS-v0_2; the folder holds GridNavi-v0_1, "),
        (["gradients", RUN.parent], "is no run: wanted a folder LOGS/ALGO/ENV_N"),
        (["permutations", "gru", "--input-dim", "0"], "input_dim=0: wanted at least 1"),
        (["permutations", "missing.zip"], "There is no model missing.zip"),
        (["permutations", "nobody_has_this:Encoder"], "No module named 'nobody_has_this'"),
        (["permutations", "torch.nn:GRU"], "wanted a class, a HyperActorCriticPolicy or a SequenceEncoder"),
        (["weights", RUN.parent], "is no run: wanted a folder LOGS/ALGO/ENV_N"),
        (["weights", RUN.with_name("TMazeLS-v0_2")], "TMazeLS-v0_2; the folder holds GridNavi-v0_1, "),
        (["weights", RUN / "TMazeLS-v0.zip"], "Give --env, or the run's folder"),
        (["weights", RUN, "--env", "TMazeSL-v0"], "Did you mean 'TMazeLS-v0'"),
        (["weights", RUN, "--n-trials", "1"], "wanted at least 2"),
        (["task-error", RUN, "--n-trials", "3"], "n_trials=3: wanted at least 4"),
        (["task-error", RUN, "--ridge", "0"], "ridge=0.0: wanted a positive weight"),
        (["task-error", RUN / "TMazeLS-v0.zip"], "Give --env, or the run's folder"),
        (["task-error", RUN, RUN.with_name("GridNavi-v0_1"), "--n-trials", "16"], "GridNavi-v0_1 plays GridNavi"),
        (["training", "RNPolicy"], "Did you mean 'RNNPolicy'"),
        (["training", "--env", "GridNav-v0"], "GridNavi"),
        (["training", "--gym-packages", "nobody_has_this"], "No module named 'nobody_has_this'"),
        (["training", "--n-seeds", "0"], "n_seeds=0: wanted at least 1"),
        (["training", "-n", "0"], "n_timesteps=0: wanted at least 1"),
        (["training", "--n-envs", "0"], "n_envs=0: wanted at least 1"),
        (["training", "TINaiveHNPolicy", "--n-envs", "16"], "TINaiveHNPolicy has detach_latent=True"),
        (["initialisation", "--sizes", "XS", "--n-seeds", "0"], "n_seeds=0: wanted at least 1"),
        (["initialisation", "--sizes", "XS", "--latent-std", "-1"], "latent_std=-1.0: wanted a positive number"),
        (["initialisation", "--sizes", "XS", "--latent-std", "nan"], "latent_std=nan: wanted a positive number"),
        (["initialisation", "--sizes", "XS", "--latent-std", "0"], "latent_std=0.0: wanted a positive number"),
        (["initialisation", "--networks", "critic"], "say whose, --policy RNNHNPolicy"),
        (["initialisation", "--policy", "RNNHNPolcy"], "Did you mean 'RNNHNPolicy'"),
        (["initialisation", "--policy", "RNNPolicy"], "conditioning='latent' generates no weights"),
        (["initialisation", "--policy", "torch.nn:GRU"], "wanted a class, a HyperActorCriticPolicy"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(call, arguments, message):
    status, _, error = call(*arguments)
    assert status == 1
    assert message in error and "Traceback" not in error


def test_a_model_that_generates_nothing(call, make_model, tmp_path):
    make_model("RNNPolicy").save(tmp_path / "model.zip")
    status, _, error = call("weights", tmp_path / "model.zip", "--env", "TMazeLS-v0", *SHORT_RUN)
    assert status == 1 and "generates no weights" in error


@pytest.mark.parametrize("key", ["policy_kwargs", "auxiliary_kwargs"])
def test_nested_keywords_that_are_no_literal(call, key):
    status, _, error = call("training", "RNNPolicy", "--hyperparams", f"{key}:size='XS'")
    assert status == 1 and f"--hyperparams {key}:size='XS' is no Python literal" in error


def test_a_run_that_lies_elsewhere(call, tmp_path, monkeypatch):
    shutil.copytree(RUN, tmp_path / "logs" / "hyper_ppo" / "TMazeLS-v0_7")
    monkeypatch.chdir(tmp_path / "logs" / "hyper_ppo" / "TMazeLS-v0_7")
    assert call("weights", ".", *SHORT_RUN)[0] == 0


def test_without_matplotlib_there_are_numbers_still(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_hyper.analysis.figures", None)
    monkeypatch.delattr("sb3_hyper.analysis.figures", raising=False)
    status, _, error = call("gradients", "gru", *SMALL)
    assert status == 0 and 'pip install "sb3-hyper[plots]"' in error
    assert (tmp_path / "gradients.json").is_file() and not (tmp_path / "gradients.png").exists()


def test_as_a_script_it_writes_into_a_folder_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["analyse", "gradients", "gru", *SMALL, "--num-threads", "1"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(analyse.__file__, run_name="__main__")
    assert ended.value.code == 0 and "gru, t =" in capsys.readouterr().out
    assert (tmp_path / "analysis" / "gradients.json").is_file()
