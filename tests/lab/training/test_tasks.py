"""What a recipe's values lead to: nothing is opened that waits for ever, nothing is built that no memory holds."""

import os

import pytest
import torch

from lab.training.tiny import HEAD, STAGES, write_recipe
from regrain.errors import UsageError
from regrain_lab.training import limits, tasks
from regrain_lab.training.recipe import read_recipe


@pytest.mark.parametrize(
    ("table", "trains"),
    [("model.denoiser", "codec"), ("prior", "prior"), ("prior", "latent-prior"), ("autoencoder", "autoencoder")],
)
def test_networks_too_large_are_refused_before_they_are_built(tmp_path, table, trains):
    sizes = "encoder = [4096, 4096]" if trains == "autoencoder" else "widths = [4096, 4096, 4096]\ndepths = [9, 9, 9]"
    head = HEAD.replace("seed = 3", f'seed = 3\ntrains = "{trains}"').partition("[model.transform]")[0]
    recipe = read_recipe(write_recipe(tmp_path, f"{head}[{table}]\n{sizes}\n{STAGES}"))
    before = torch.get_rng_state()
    with pytest.raises(UsageError, match=r"has [\d,]+ parameters; up to 268,435,456 are allowed"):
        tasks.task_for(recipe, torch.device("cpu"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are POSIX's")
@pytest.mark.parametrize("name", ["lpips", "vgg", "vgg_heads", "start", "latents", "teacher"])
def test_weights_that_are_a_pipe_or_no_name_are_refused(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    table = "[loss]\n" * (name in ("lpips", "vgg", "vgg_heads")) + "[distill]\n" * (name == "teacher")
    for path, complaint in (("pipe", "is not a file"), ("n" * 300, "File name too long"), (".", "is not a file")):
        text = f'{HEAD}{table}{name} = "{path}"\n{STAGES}'
        if not table:
            text = f'{name} = "{path}"\n{HEAD}{STAGES}'
        if name == "teacher":
            text = f'trains = "student"\n{text}'
        with pytest.raises(UsageError, match=f"{name}: .*{complaint}"):
            limits.check(read_recipe(write_recipe(tmp_path, text)))
