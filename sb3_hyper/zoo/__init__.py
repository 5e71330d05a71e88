"""The RL-Zoo plug-in: algorithm ``hyper_ppo``, its default hyperparameters, its search space and the environments.

An installed ``sb3_hyper`` extends RL-Zoo as soon as RL-Zoo is imported, so these work with no other flag::

    python -m rl_zoo3.train --algo hyper_ppo --env TMazeLS-v0
    python -m rl_zoo3.enjoy --algo hyper_ppo --env TMazeLS-v0 -f logs

Where ``.pth`` files are not read (``python -S``, a zipped application), :func:`register` does the same, and so does
``python -m sb3_hyper.zoo train|enjoy ...``. Every other algorithm of RL-Zoo is left as it is.
"""

from sb3_hyper.zoo.registration import extend_module, register

__all__ = ["extend_module", "register"]
