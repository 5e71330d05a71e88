"""
Time and memory of one generated linear layer, forward and backward: contracted, or with its weights written down.

    python benchmarks/hypernetwork.py --repetitions 5 --threads 1

Every measurement runs in a process of its own, so that peak memory is that of one variant. Variants:

- contraction: what GeneratedLinear does; no weight matrix exists
- materialise, multiply, sum: W(h) for every row, multiplied elementwise with x and summed, as the papers' code does
- materialise, bmm: W(h) for every row, then one batched matrix product
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch as th
from measuring import describe_machine, interleaved, median_and_spread, print_table, synchronize

from sb3_hyper.hypernetworks.contraction import contract

Layer = Callable[[th.Tensor, th.Tensor, th.Tensor], th.Tensor]


def generate(h: th.Tensor, weight: th.Tensor) -> th.Tensor:
    """``(N, K), (K, I, O) -> (N, I, O)``."""
    return th.einsum("nk,kio->nio", h, weight)


def multiply_and_sum(h: th.Tensor, x: th.Tensor, weight: th.Tensor) -> th.Tensor:
    return (x[:, :, None] * generate(h, weight)).sum(dim=1)


def batched_product(h: th.Tensor, x: th.Tensor, weight: th.Tensor) -> th.Tensor:
    return th.bmm(x[:, None], generate(h, weight)).squeeze(1)


VARIANTS: dict[str, Layer] = {
    "contraction": contract,
    "materialise, multiply, sum": multiply_and_sum,
    "materialise, bmm": batched_product,
}


def peak_memory(device: str) -> int:
    """Most memory that was in use since :func:`forget_peak`, in bytes."""
    if th.device(device).type == "cuda":
        return th.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak(device: str) -> None:
    """Look for the peak from here on; where the system does not allow it, the start-up may hide a lower one."""
    if th.device(device).type == "cuda":
        th.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def measure(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds (median of the iterations) and bytes above what inputs and parameters take."""
    th.manual_seed(0)
    th.set_num_threads(options.threads)
    shape = (options.inputs, options.factors, options.outputs)
    # Inputs first in memory, as GeneratedLinear keeps it.
    weight = th.randn(shape, device=options.device).transpose(0, 1).requires_grad_()
    h = th.randn(options.batch, options.factors, device=options.device, requires_grad=True)
    x = th.randn(options.batch, options.inputs, device=options.device, requires_grad=True)
    grad = th.randn(options.batch, options.outputs, device=options.device)
    # Threads and matrix libraries take their memory at their first use.
    th.autograd.backward(VARIANTS["contraction"](h[:8], x[:8], weight), grad[:8])
    forget_peak(options.device)
    before = peak_memory(options.device)
    seconds = []
    for _ in range(options.iterations + 1):
        weight.grad = h.grad = x.grad = None
        synchronize(options.device)
        start = time.perf_counter()
        VARIANTS[variant](h, x, weight).backward(grad)  # type: ignore[no-untyped-call]
        synchronize(options.device)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds[1:]), "bytes": peak_memory(options.device) - before}


def measure_apart(variant: str, memory: dict[str, list[float]]) -> Callable[[], float]:
    """The measurement in a process of its own; infinite where it does not survive."""

    def run() -> float:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", variant]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode != 0:
            print(f"{variant}: {ended.stderr.strip()[-300:] or f'ended with {ended.returncode}'}", file=sys.stderr)
            return float("inf")
        measured = json.loads(ended.stdout)
        memory[variant].append(measured["bytes"] / 1e6)
        return float(measured["seconds"])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="One generated layer: time and peak memory")
    parser.add_argument("--batch", type=int, default=2800, help="rows")
    parser.add_argument("--factors", type=int, default=25, help="K, the width of the hypernetwork's trunk")
    parser.add_argument("--inputs", type=int, default=256)
    parser.add_argument("--outputs", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=3, help="measured processes of each variant")
    parser.add_argument("--iterations", type=int, default=3, help="measured forward and backward passes of a process")
    parser.add_argument("--threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--device", default="cpu", help="PyTorch device")
    parser.add_argument("--only", choices=list(VARIANTS), help="measure one variant in this process, print JSON")
    options = parser.parse_args()
    if options.only is not None:
        print(json.dumps(measure(options.only, options)))
        return
    th.set_num_threads(options.threads)
    memory: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    seconds = interleaved({variant: measure_apart(variant, memory) for variant in VARIANTS}, options.repetitions)
    print(describe_machine(options.device))
    print(f"{options.inputs} x {options.outputs} layer, batch {options.batch}, K {options.factors}\n")
    ours = statistics.median(seconds["contraction"])
    rows = [
        [
            variant,
            median_and_spread(seconds[variant]),
            f"{statistics.median(seconds[variant]) / ours:.1f}",
            f"{statistics.median(memory[variant]):.0f}" if memory[variant] else "does not fit",
        ]
        for variant in VARIANTS
    ]
    print_table(["", "forward + backward [s]", "ratio", "peak memory [MB]"], rows)


if __name__ == "__main__":
    main()
