"""What tests share: the folder of photos and weights that lies beside the repository, where there is one."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_SHARED = Path(os.environ.get("REGRAIN_SHARED") or Path(__file__).resolve().parents[2] / "shared")


# The same examples every time; new ones are looked for where REGRAIN_FUZZ says how many (test_fuzz). A busy machine is
# no failure.
_SLOW = [HealthCheck.too_slow]
settings.register_profile(
    "the same", derandomize="REGRAIN_FUZZ" not in os.environ, deadline=None, suppress_health_check=_SLOW
)
settings.load_profile("the same")


def pytest_configure(config):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    config.addinivalue_line("markers", "needs_shared: reads the shared data folder (REGRAIN_SHARED, or ../shared)")


def pytest_runtest_setup(item):
    if item.get_closest_marker("needs_shared") is not None:
        _require("data")


def _require(name: str) -> Path:
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"no {name} in the shared folder; set REGRAIN_SHARED to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; the test is skipped where it is absent."""
    return _require("data").parent


@pytest.fixture(scope="session")
def kodak() -> list[Path]:
    """Kodak's photos in order; the test is skipped where they are absent."""
    return sorted(_require("data/kodak").glob("*.png"))


@pytest.fixture(scope="session")
def lpips_weights() -> Path:
    """LPIPS v0.1 on AlexNet as safetensors; the test is skipped where it is absent."""
    return _require("data/weights/lpips_alex_v0.1.safetensors")
