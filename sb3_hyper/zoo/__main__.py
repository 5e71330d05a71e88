"""``python -m sb3_hyper.zoo train|enjoy ...``: RL-Zoo's scripts, extended without the help of the ``.pth`` hook."""

import importlib
import sys

from sb3_hyper.zoo.registration import register

SCRIPTS = ("train", "enjoy")


def main() -> None:
    """Run the script of RL-Zoo that the first argument names with the rest of the arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in SCRIPTS:
        given = sys.argv[1] if len(sys.argv) > 1 else "no script"
        sys.exit(f"Got {given}; usage: python -m sb3_hyper.zoo {{{','.join(SCRIPTS)}}} [arguments of rl_zoo3]")
    script = sys.argv.pop(1)
    register()
    getattr(importlib.import_module(f"rl_zoo3.{script}"), script)()


if __name__ == "__main__":
    main()
