"""Train a hyperprior: python experiments/baselines/train.py mean-scale|scale RUNS

    loss = rate R + lambda D,   R in bits a pixel, D the squared error on [0, 255]

KIND.toml has the rest. The loss of a picture is divided by lambda^(1 - balance), so that no quality drowns the others.

The loop, its data and its checkpoints are those of `regrain train`; the folder RUNS/KIND has its log, and in
weights/KIND.safetensors here are the averaged weights as float16. A run that was stopped goes on.
"""

import logging
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from hyperprior import Hyperprior, HyperpriorConfig
from torch import Tensor, nn

from regrain import torch_checkpoint
from regrain_lab.training.loop import LAST, Run
from regrain_lab.training.losses.codec import StageWeights, rate_weight
from regrain_lab.training.recipe import LossConfig, read_recipe
from regrain_lab.training.state import State
from regrain_lab.training.task import Task

HERE = Path(__file__).resolve().parent
TRANSFORMS = ("g_a.", "g_s.", "gain.")
"""What a recipe's `start` gives a network of the other kind."""


class RateDistortion(nn.Module):
    """The papers' loss over qualities drawn anew for every picture."""

    def __init__(self, model: Hyperprior, config: LossConfig) -> None:
        """`config.rate_weight` has 1 / lambda at both ends of quality."""
        super().__init__()
        self.model, self.config = model, config

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1] -> scalars."""
        quality = torch.rand(len(x))
        coded = self.model(x, quality)
        pixels = x[0, 0].numel()
        y_bpp, z_bpp = coded.y_bits / pixels, coded.z_bits / pixels
        mse = (coded.x_hat - x).square().mean((1, 2, 3)) * 127.5**2
        price = rate_weight(self.config, quality)
        loss = ((weights.rate * price * (y_bpp + z_bpp) + mse) * price**-self.config.balance).mean()
        scalars = {"bpp": y_bpp + z_bpp, "z_bpp": z_bpp, "mse": mse}
        return {"loss": loss, **{name: value.detach().mean() for name, value in scalars.items()}}


def main(kind: str, runs: Path) -> None:
    """Train one, and write its weights."""
    recipe = read_recipe(HERE / f"{kind}.toml")
    torch.manual_seed(recipe.seed)
    model = Hyperprior(HyperpriorConfig(kind)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.start:
        start, _ = torch_checkpoint.load(recipe.path(recipe.start))
        model.load_state_dict({k: v.float() for k, v in start.items() if k.startswith(TRANSFORMS)}, strict=False)
    task = Task(
        model,
        RateDistortion(model, recipe.loss),
        lambda pictures: [],
        lambda: (
            {name: tensor.half() for name, tensor in model.state_dict().items()},
            {"config": model.config.to_dict()},
        ),
        ("loss", "bpp", "z_bpp", "mse"),
    )
    state, out = State(model, recipe.ema), runs / kind
    state.resume(out / LAST)
    Run(recipe, out, Accelerator(mixed_precision="bf16", cpu=True), state, task, bar=False).run()
    tensors, metadata = torch_checkpoint.load(out / "weights.safetensors")
    torch_checkpoint.save(HERE / "weights" / f"{kind}.safetensors", tensors, metadata)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(sys.argv[1], Path(sys.argv[2]))
