"""Stands for ``python -m rl_zoo3.train``: quick, obedient, and it leaves what RL-Zoo leaves.

It notes its start in ``$FAKE/starts``. With ``$FAKE/hold`` it prints a table and lasts until that file is gone; with
``$FAKE/fail_N`` seed N fails, with ``$FAKE/early_N`` its model has seen too few frames.
"""

import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
control, seed, env = Path(os.environ["FAKE"]), options["--seed"], options["--env"]
run = Path(options["-f"]) / options["--algo"] / f"{env}_1"
(run / env).mkdir(parents=True)
with (control / "starts").open("a") as starts:
    starts.write(f"{options['-f']}\n")
print(f"|    total_timesteps      | {int(options['-n']) // 2}   |", flush=True)
while (control / "hold").exists():
    time.sleep(0.02)
if (control / f"fail_{seed}").exists():
    sys.exit("Traceback\nValueError: <the reason>")
(run / env / "config.yml").write_text(f"seed independent: {(control / 'settings').exists()}\n")
for name, returns in (("0", (1, 2, 3, 4)), ("1", (3, 4, 5, 6))):
    lines = ['#{"t_start": 0}', "r,l,t", *(f"{value},60,{k}" for k, value in enumerate(returns))]
    (run / f"{name}.monitor.csv").write_text("\n".join(lines) + "\n")
if (control / f"early_{seed}").exists():
    with zipfile.ZipFile(run / f"{env}.zip", "w") as archive:
        archive.writestr("data", json.dumps({"num_timesteps": 1}))
else:
    shutil.copy(control / "model.zip", run / f"{env}.zip")
