"""What the commands share: how options are read, and errors of the user told in a line."""

from __future__ import annotations

import argparse
import ast
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch as th


class StoreKeywords(argparse.Action):
    """Reads ``key:value`` pairs; values are Python literals, ``dict(key=value)`` as RL-Zoo has it, or else strings."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse the pairs into a dict."""
        pairs = [pair.partition(":") for pair in values]
        if not all(colon for _, colon, _ in pairs):
            parser.error(f"{option_string} wants key:value pairs such as corridor_length:20, got {' '.join(values)}")
        setattr(namespace, self.dest, {key: _literal(value) for key, _, value in pairs})


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(_CallsOfDict().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError):
        return text


class _CallsOfDict(ast.NodeTransformer):
    """Writes ``dict(a=1)`` as ``{"a": 1}``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        names = [keyword.arg for keyword in node.keywords]
        if not isinstance(node.func, ast.Name) or node.func.id != "dict" or node.args or None in names:
            return node
        values = [self.visit(keyword.value) for keyword in node.keywords]
        return ast.Dict([ast.Constant(name) for name in names], values)


def whole_number(text: str) -> int:
    """
    Read a number of frames: ``100000``, and ``1e5`` as well.

    :param text: what the user gave
    :return: the number
    :raises argparse.ArgumentTypeError: when it is no whole number
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; 100000 and 1e5 are.")
    return int(number)


def check_output_folder(folder: Path) -> None:
    """
    Check, before any work, that results can be written to a folder.

    :param folder: the folder, which need not exist yet
    :raises ValueError: when it, or what it should be in, is no folder or must not be written to
    """
    place = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not place.is_dir():
        raise ValueError(f"--output {folder}: {place} is a file, wanted a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"--output {folder}: nothing can be written to {place}.")


def run_command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    arguments: Sequence[str] | None,
) -> int:
    """
    Parse a command line and run what it says; an error that the user caused is printed without a traceback.

    :param parser: the command line; knows ``--num-threads``
    :param run: does the work
    :param arguments: what follows the command's name; None: this process's
    :return: exit status: 0, or 1 where something that the user gave was wrong or nobody reads what is printed
    """
    options = parser.parse_args(arguments)
    if options.num_threads > 0:
        th.set_num_threads(options.num_threads)
    try:
        run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # "| head" has read enough; what is left must go somewhere, or the interpreter complains of it when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, TypeError, ImportError, gym.error.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
