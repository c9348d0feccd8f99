"""What the tests of training share: shards written once, and a folder with a recipe beside a link to them."""

from pathlib import Path

import pytest
import torch

from lab.training.tiny import write_recipe, write_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """A folder of shards; read only."""
    return write_shards(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture
def recipe(tmp_path, shards) -> Path:
    """A recipe in a folder of its own, `shards` beside it."""
    (tmp_path / "shards").symlink_to(shards, target_is_directory=True)
    return write_recipe(tmp_path)


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Networks this small gain nothing from a second thread, and lose much where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
