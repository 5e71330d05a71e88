"""The wheel, regular and editable: what is in it, what it does to an interpreter's start, and what it leaves behind."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
HOOK = "_sb3_hyper_zoo_hook"


class Installation:
    """A virtual environment with a wheel of ours; everything else comes from the environment that runs the tests."""

    def __init__(self, folder: Path, kind: str) -> None:
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = folder / scripts / "python"
        print_site_packages = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site_packages = Path(self.run("-c", print_site_packages).stdout.strip())
        # A path added by a .pth file is searched for modules, but its own .pth files are not read.
        (self.site_packages / "outer.pth").write_text(sysconfig.get_path("purelib"))
        wheel = build_wheel(folder, kind)
        with zipfile.ZipFile(wheel) as archive:
            self.files = archive.namelist()
            archive.extractall(self.site_packages)
        self.run("-m", "compileall", "-q", str(self.site_packages / f"{HOOK}.py"))  # as pip does

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the interpreter outside the checkout."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        result = subprocess.run(
            [self.python, *arguments], capture_output=True, text=True, cwd=self.python.parent, env=environment
        )
        assert result.returncode == 0, result.stderr
        return result


def build_wheel(folder: Path, kind: str) -> Path:
    """Build a wheel of the checkout with hatchling, ``kind`` being ``wheel`` or ``editable``."""
    code = f"from hatchling.build import build_{kind} as build; print(build({str(folder)!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 0, result.stderr
    return folder / result.stdout.strip().splitlines()[-1]


@pytest.fixture(params=["wheel", "editable"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    yield Installation(tmp_path / "venv", request.param)


@pytest.fixture
def regular(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "venv", "wheel")


def test_wheel_holds_the_package_the_hook_and_the_hyperparameters(regular: Installation) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "sb3_hyper").rglob("*.py")}
    expected = modules | {
        "sb3_hyper/py.typed",
        "sb3_hyper/hyperparams/hyper_ppo.yml",
        f"{HOOK}.py",
        "sb3_hyper_zoo.pth",
    }
    assert {name for name in regular.files if ".dist-info/" not in name} == expected


def test_rl_zoo_knows_the_algorithm_and_finds_its_hyperparameters(installation: Installation) -> None:
    code = (
        "import rl_zoo3.exp_manager, sys\n"
        "from sb3_hyper.zoo.experiment import default_hyperparameters\n"
        "assert default_hyperparameters().is_file()\n"
        "print(rl_zoo3.ALGOS['hyper_ppo'].__name__, sys.modules['sb3_hyper'].__file__)"
    )
    name, file = installation.run("-c", code).stdout.split()
    assert name == "HyperPPO"
    checkout = f"{HOOK}.py" in installation.files and "sb3_hyper/__init__.py" not in installation.files
    home = ROOT if checkout else installation.site_packages
    assert Path(file).is_relative_to(home)


def test_interpreter_start_costs_nearly_nothing(installation: Installation) -> None:
    traces = [installation.run("-X", "importtime", "-c", "pass").stderr for _ in range(5)]
    for heavy in ("sb3_hyper.", "torch", "gymnasium", "numpy", "rl_zoo3"):
        assert heavy not in traces[0]
    microseconds = [re.search(rf"\|\s*(\d+) \|\s*{HOOK}", trace) for trace in traces]
    assert min(int(match[1]) for match in microseconds if match) < 2000


def test_gymnasium_alone_stays_as_it_is(regular: Installation) -> None:
    code = "import sys, gymnasium; print({'sb3_hyper', 'torch'} & {name.split('.')[0] for name in sys.modules})"
    assert regular.run("-c", code).stdout.strip() == "set()"


def test_leftover_hook_without_the_package_changes_nothing(regular: Installation) -> None:
    shutil.rmtree(regular.site_packages / "sb3_hyper")
    code = "import rl_zoo3.exp_manager; print('hyper_ppo' in rl_zoo3.ALGOS)"
    assert regular.run("-c", code).stdout.strip() == "False"


def test_leftover_pth_without_the_hook_is_silent(regular: Installation) -> None:
    (regular.site_packages / f"{HOOK}.py").unlink()
    assert regular.run("-c", "pass").stderr == ""


def test_broken_package_is_reported_when_rl_zoo_is_imported(regular: Installation) -> None:
    (regular.site_packages / "sb3_hyper" / "zoo" / "registration.py").write_text("import no_such_module")
    assert regular.run("-c", "pass").stderr == ""
    with pytest.raises(AssertionError, match="No module named 'no_such_module'"):
        regular.run("-c", "import rl_zoo3")


def test_every_dependency_is_pinned_inside_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {
        (canonical(pin.name), python): next(iter(pin.specifier)).version
        for pin in pins
        for python in ("3.10", "3.11", "3.12", "3.13")
        if applies(pin, python)
    }
    for requirement in map(Requirement, metadata.requires("sb3-hyper") or []):
        for python in ("3.10", "3.11", "3.12", "3.13"):
            if canonical(requirement.name) != "sb3-hyper" and applies(requirement, python):
                assert requirement.specifier.contains(versions[canonical(requirement.name), python], prereleases=True)


def canonical(name: str) -> str:
    """Return a distribution's name as indices write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def applies(requirement: Requirement, python: str) -> bool:
    """Say whether a requirement holds for some extra under a version of Python."""
    if requirement.marker is None:
        return True
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.9"}
    extras = ("zoo", "plots", "mujoco", "dev")
    return any(requirement.marker.evaluate({**environment, "extra": extra}) for extra in extras)
