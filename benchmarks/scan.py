"""
The fast scan of every aggregator against the loop over time that defines it, forward and backward.

    python benchmarks/scan.py --repetitions 20 --threads 1
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch as th
from measuring import describe_machine, interleaved, print_table, synchronize

from sb3_hyper.aggregators import AGGREGATORS, Aggregator, make_aggregator
from sb3_hyper.scan import scan, scan_reference

Scan = Callable[[Aggregator, th.Tensor, th.Tensor, th.Tensor], th.Tensor]


def timed(
    run_scan: Scan, name: str, n_steps: int, n_sequences: int, options: argparse.Namespace
) -> Callable[[], float]:
    """Seconds of one scan, forward and backward, over encodings in which a trial starts about every 400 steps."""
    th.manual_seed(0)
    aggregator = make_aggregator(name, options.width).to(options.device)
    encodings = th.randn(n_steps, n_sequences, options.width, device=options.device)
    lifted = aggregator.lift(encodings).detach().requires_grad_()
    state = th.zeros(n_sequences, aggregator.state_dim, device=options.device)
    resets = th.rand(n_steps, n_sequences, device=options.device) < 1 / 400
    resets[0] = True
    grad = th.randn_like(lifted)

    def run() -> float:
        lifted.grad = None
        synchronize(options.device)
        start = time.perf_counter()
        run_scan(aggregator, lifted, state, resets).backward(grad)  # type: ignore[no-untyped-call]
        synchronize(options.device)
        return time.perf_counter() - start

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Scans of all aggregators")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000], help="T")
    parser.add_argument("--sequences", type=int, nargs="+", default=[4, 16], help="B")
    parser.add_argument("--width", type=int, default=128, help="D, the width of an encoding")
    parser.add_argument("--repetitions", type=int, default=20, help="measured passes of each")
    parser.add_argument("--threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--device", default="cpu", help="PyTorch device")
    options = parser.parse_args()
    th.set_num_threads(options.threads)
    print(describe_machine(options.device))
    print(f"Medians of {options.repetitions}, encodings of width {options.width}, forward + backward")
    for n_steps in options.steps:
        for n_sequences in options.sequences:
            rows = []
            for name in AGGREGATORS:
                scans: dict[str, Scan] = {"loop": scan_reference, "scan": scan}
                cases = {key: timed(run, name, n_steps, n_sequences, options) for key, run in scans.items()}
                measured = interleaved(cases, options.repetitions)
                loop, fast = (1000 * statistics.median(measured[key]) for key in ("loop", "scan"))
                rows.append([name, f"{loop:.2f}", f"{fast:.2f}", f"{loop / fast:.1f}"])
            print(f"\nT = {n_steps}, B = {n_sequences}")
            print_table(["aggregator", "loop [ms]", "scan [ms]", "ratio"], rows)


if __name__ == "__main__":
    main()
