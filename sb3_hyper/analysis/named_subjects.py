"""Finding what the command line names: a policy, an encoder, a class of one's own, a saved model or a run."""

from __future__ import annotations

import importlib
from pathlib import Path

from sb3_hyper.analysis.run_path import RunPath
from sb3_hyper.analysis.subjects import PAPER_WIDTHS, Subject, Widths, of_encoder_class, of_policy, of_policy_class
from sb3_hyper.encoders import ENCODERS, SequenceEncoder, make_encoder
from sb3_hyper.errors import unknown_name
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, HyperActorCriticPolicy
from sb3_hyper.saved_runs import find_run, load_model

NAMED_POLICIES = {**POLICIES, **PRIVILEGED_POLICIES}


def find_subject(text: str, widths: Widths = PAPER_WIDTHS, algo: str = "hyper_ppo", load_best: bool = False) -> Subject:
    """
    Find what the command line names.

    :param text: a policy's name, an encoder's name in ``ENCODERS``, a run's folder (``LOGS/ALGO/ENV_N``), the path of a
        saved model (``.zip``), or ``module:Class`` of a policy or a sequence encoder
    :param widths: widths of untrained networks
    :param algo: algorithm of saved models; a run's folder says it itself
    :param load_best: whether to take a run's best model instead of its last
    :return: the subject
    :raises ValueError: when the name is unknown, the model cannot be read or the policy is told the task
    :raises TypeError: when the class is neither policy nor encoder
    :raises OSError: when there is no such file
    :raises ImportError: when there is no such module
    """
    if text in NAMED_POLICIES:
        return of_policy_class(NAMED_POLICIES[text], widths)
    if text in ENCODERS:
        return of_encoder_class(lambda inputs, outputs: make_encoder(text, inputs, outputs), widths, text)
    path = Path(text)
    if path.suffix == ".zip":
        return _of_model(path, path.stem, algo)
    if path.is_dir() or (":" not in text and len(path.parts) > 1):
        return _of_run(path, load_best)
    if ":" not in text:
        error = unknown_name("policy or encoder", text, [*POLICIES, *ENCODERS])
        raise ValueError(f"{error} A class of your own is module:Class, a saved model ends in .zip, a run is a folder.")
    return _of_class(_import(text), text, widths)


def find_policy_class(text: str) -> type[HyperActorCriticPolicy]:
    """
    Find a policy's class.

    :param text: a policy's name, or ``module:Class``
    :return: the class
    :raises ValueError: when the name is unknown
    :raises TypeError: when the class is no policy of this package
    :raises ImportError: when there is no such module
    """
    if text in NAMED_POLICIES:
        return NAMED_POLICIES[text]
    if ":" not in text:
        raise ValueError(f"{unknown_name('policy', text, NAMED_POLICIES)} A class of your own is module:Class.")
    found = _import(text)
    if isinstance(found, type) and issubclass(found, HyperActorCriticPolicy):
        return found
    raise TypeError(
        f"{text} is {found!r}: wanted a class, a HyperActorCriticPolicy. Look for a slip in the name after the colon."
    )


def _import(text: str) -> object:
    """What ``module:Name`` says; None where the module has no such name."""
    module, _, name = text.partition(":")
    return getattr(importlib.import_module(module), name, None)


def _of_run(path: Path, load_best: bool) -> Subject:
    run = RunPath.parse(path)
    return _of_model(find_run(*run, load_best).model, path.resolve().name, run.algo)


def _of_model(path: Path, name: str, algo: str) -> Subject:
    policy = load_model(algo, path, "cpu").policy
    return of_policy(policy, f"{name}, {type(policy).__name__}")  # type: ignore[arg-type]


def _of_class(found: object, text: str, widths: Widths) -> Subject:
    if isinstance(found, type) and issubclass(found, HyperActorCriticPolicy):
        return of_policy_class(found, widths)
    if isinstance(found, type) and issubclass(found, SequenceEncoder):
        return of_encoder_class(found, widths)
    raise TypeError(
        f"{text} is {found!r}: wanted a class, a HyperActorCriticPolicy or a SequenceEncoder whose constructor takes "
        "input and output width. Look for a slip in the name after the colon."
    )
