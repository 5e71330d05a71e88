"""The roofline benchmark counts what can be counted by hand, and divides time without changing what is computed."""

import importlib
import json
import time
from pathlib import Path

import pytest
import torch as th
from torch.utils.flop_counter import FlopCounterMode

from sb3_hyper.encoders.gru_scan import gru_scan
from sb3_hyper.hypernetworks.contraction import contract

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDER = Path(__file__).parents[1] / "benchmarks"
TINY = ["--envs", "8", "--steps", "12", "--width", "8", "--size", "XS", "--minibatches", "2", "--repetitions", "1"]


@pytest.fixture
def roofline(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("roofline")


@pytest.fixture
def count(monkeypatch):
    """The work of a function's call."""
    monkeypatch.syspath_prepend(FOLDER)
    counter_class = importlib.import_module("ceilings").WorkCounter

    def run(function):
        with counter_class() as counter:
            function()
        return counter.work

    return run


def test_linear_layer(count):
    layer, x = th.nn.Linear(7, 5), th.randn(30, 7, requires_grad=True)
    product, numbers = 2 * 30 * 7 * 5, 30 * 7 + 7 * 5 + 5 + 30 * 5
    assert count(lambda: layer(x)) == (product, 0, 4 * numbers)
    grad = th.ones(30, 5)
    assert count(lambda: layer(x).backward(grad)).products == 3 * product


def test_as_flop_counter_mode_where_that_knows_all(count):
    network = th.nn.Sequential(th.nn.Conv2d(3, 4, 3), th.nn.Flatten(), th.nn.Linear(64, 6), th.nn.Tanh())
    x = th.randn(5, 3, 6, 6)
    with FlopCounterMode(display=False) as twin:
        network(x).sum().backward()
    assert count(lambda: network(x).sum().backward()).products == twin.get_total_flops() > 0


def test_gru_scan(count):
    width, batch_sizes = 6, [3, 3, 2, 1]
    n = sum(batch_sizes)
    shapes = ((n, 3 * width), (3, width), (3 * width, width), (3 * width,))
    parameters = [th.randn(shape, requires_grad=True) for shape in shapes]
    # W h of three gates; forward: b_r and b_z added, their sigmoids, r c + n, its tanh, the new state.
    product = 2 * n * width * 3 * width
    forward = count(lambda: gru_scan(*parameters, batch_sizes))
    assert forward[:2] == (product, 7 * n * width)
    assert count(lambda: gru_scan(*parameters, batch_sizes).sum().backward()).products == 3 * product


@pytest.mark.parametrize("n_outputs", [9, 4], ids=["outer products first", "all A_k first"])
def test_contraction(count, n_outputs):
    n_rows, n_factors, n_inputs = 700, 5, 9
    h, x = (th.randn(n_rows, width, requires_grad=True) for width in (n_factors, n_inputs))
    weight = th.randn(n_factors, n_inputs, n_outputs, requires_grad=True)
    product = 2 * n_rows * n_factors * n_inputs * n_outputs
    # Between the products for x and h: of the outer products' gradient with both, or of all A_k x with h.
    forward, backward = (0, 2 * n_inputs) if n_outputs == n_inputs else (n_outputs, 2 * n_outputs)
    small = 2 * n_rows * n_factors
    assert count(lambda: contract(h, x, weight)).products == product + small * forward
    both = count(lambda: contract(h, x, weight).sum().backward())
    assert both.products == 3 * product + small * (forward + backward)


def test_cudnn_recurrence(count):
    """Its shapes alone: no GPU is needed."""
    rows, inputs, width = 10, 4, 6
    shapes = ((3 * width, inputs), (3 * width, width), (3 * width,), (3 * width,))
    x, hidden, *weights = (th.empty(s, device="meta") for s in ((rows, inputs), (1, 3, width), *shapes))
    gru, batch_sizes = 3, [3, 3, 3, 1]

    def run():
        th._cudnn_rnn(x, weights, 4, None, hidden, None, gru, width, 0, 1, False, 0.0, True, False, batch_sizes, None)

    assert count(run).products == 2 * rows * 3 * width * (inputs + width)


MATRIX = th.ones(20, 10)
VECTOR = th.ones(10)
ROWS = th.tensor([3, 1])


@pytest.mark.parametrize(
    ("function", "elementwise", "n_bytes"),
    [
        (lambda: MATRIX.view(5, 40).t().detach(), 0, 0),
        (lambda: MATRIX[2:5].unsqueeze(0).expand(4, 3, 10).unsafe_split(2), 0, 0),
        (lambda: MATRIX.as_strided((5, 5), (1, 1)), 0, 0),
        (lambda: th.empty_like(MATRIX), 0, 0),
        (lambda: th.zeros_like(MATRIX), 0, 4 * 200),
        (lambda: MATRIX.clone(), 0, 4 * 400),
        (lambda: MATRIX.clone().copy_(VECTOR), 0, 4 * (400 + 10 + 200)),
        (lambda: MATRIX.tanh(), 200, 4 * 400),
        (lambda: MATRIX + VECTOR, 200, 4 * (200 + 10 + 200)),
        (lambda: MATRIX.mul_(VECTOR), 200, 4 * (200 + 10 + 200)),
        (lambda: MATRIX + VECTOR.expand(20, 10), 200, 4 * (200 + 10 + 200)),
        (lambda: MATRIX.sum(), 200, 4 * 201),
        (lambda: MATRIX > VECTOR, 0, 4 * (200 + 10) + 200),
        (lambda: MATRIX[ROWS], 0, 4 * (20 + 20) + 2 * 8),
    ],
)
def test_elementwise_operations_and_traffic(count, function, elementwise, n_bytes):
    assert count(function) == (0, elementwise, n_bytes)


def test_meter_gives_every_difference_to_the_outermost_stage(roofline):
    clock = iter([0, 1, 3, 7, 12, 20, 33])
    meter = roofline.Meter(lambda: (float(next(clock)),))
    inner = meter.charging("forward", lambda: None)
    outer = meter.charging("storing & returns", lambda: inner())
    outer()
    inner()
    meter.switch(roofline.REST)
    seconds = {stage: value.tolist() for stage, value in meter.stages.items()}
    # 0 to 1, 3 to 7 and 12 to 20 lie between the stages.
    assert seconds == {roofline.REST: [1 + 4 + 8], "storing & returns": [2], "forward": [5]}


def test_meter_leaves_a_stage_that_raises(roofline):
    readings = iter([0.0, 1.0, 3.0, 7.0])
    meter = roofline.Meter(lambda: (next(readings),))
    with pytest.raises(ZeroDivisionError):
        meter.charging("forward", lambda: 1 // 0)()
    meter.switch(roofline.REST)
    assert {stage: value.item() for stage, value in meter.stages.items()} == {roofline.REST: 1 + 4, "forward": 2}


def test_stages_sum_to_the_total(roofline):
    model = roofline.make_model(roofline.parse_options(TINY))
    meters = []
    start = time.perf_counter()
    reported = roofline.timed_stages(model, "cpu", meters)()
    elapsed = time.perf_counter() - start
    seconds = {stage: value.item() for stage, value in meters[0].stages.items()}
    assert seconds.keys() == {*roofline.stages_of(model), roofline.REST}
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) == pytest.approx(reported)
    # What lies outside is the replacement of some twenty functions.
    assert 0.5 * elapsed < reported <= elapsed


def test_metering_changes_nothing(roofline):
    backward = th.Tensor.backward
    plain, metered = (roofline.make_model(roofline.parse_options(TINY)) for _ in range(2))
    th.manual_seed(0)
    roofline.iterate(plain)
    roofline.iterate(plain)
    th.manual_seed(0)
    roofline.timed_stages(metered, "cpu", [])()
    roofline.count(metered)
    for ours, twin in zip(metered.policy.parameters(), plain.policy.parameters(), strict=True):
        th.testing.assert_close(ours, twin, rtol=0, atol=0)
    assert th.Tensor.backward is backward and "_act" not in vars(metered)


def test_work_of_an_iteration(roofline):
    model = roofline.make_model(roofline.parse_options([*TINY, "--policy", "RNNPolicy"]))
    work = roofline.count(model)
    doubled = roofline.count(
        roofline.make_model(roofline.parse_options([*TINY, "--policy", "RNNPolicy", "--epochs", "4"]))
    )
    for stage in ("forward", "backward", "optimizer"):
        assert doubled[stage].elementwise == pytest.approx(2 * work[stage].elementwise, rel=0.05)
    assert doubled["forward"].products == 2 * work["forward"].products > 0
    # Without gradients of observations, which nothing needs.
    assert work["forward"].products < work["backward"].products < 2 * work["forward"].products
    n_parameters = sum(parameter.numel() for parameter in model.policy.parameters())
    assert work["optimizer"].products == 0 < n_parameters * 2 * 2 < work["optimizer"].elementwise
    assert work["environment"] == (0, 0, 0)


def test_main(roofline, capsys, tmp_path):
    roofline.main([*TINY, "--policy", "TIPolicy", "--json", str(tmp_path / "new" / "roofline.json")])
    lines = capsys.readouterr().out.splitlines()
    assert "1 thread(s) used" in lines[0] and "torch" in lines[1]
    written = json.loads((tmp_path / "new" / "roofline.json").read_text())
    (stages,) = written["stage_seconds"]
    rows = [line for line in lines if line.startswith((*stages, "total"))]
    assert [row.split("  ")[0] for row in rows] == [*stages, "total"]
    assert "auxiliary objective" in stages
    shares = [float(row.split("%")[0].split()[-1]) for row in rows]
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.5) and shares[-1] == 100
    assert lines[-1].startswith("update: ") and lines[-1].endswith("of the large product's rate")
    products = sum(written["work"][stage]["products"] for stage in roofline.UPDATE)
    percent = 100 * products / written["update_seconds"][0] / written["flop_per_second"][0]
    assert f"GFLOP/s, {percent:.0f} (" in lines[-1]


def test_limit(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    ceilings = importlib.import_module("ceilings")
    machine = ceilings.Ceilings(flop_per_second=10.0, bytes_per_second=2.0)
    assert machine.seconds(ceilings.Work(products=30, elementwise=10, bytes=6)) == 4
    assert machine.seconds(ceilings.Work(products=30, elementwise=10, bytes=10)) == 5
