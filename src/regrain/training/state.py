"""The state of a run: weights, their moving average, Adam's moments, and the step. All of it resumes exactly.

average <- d average + (1 - d) weights,   d = min(ema, (1 + step) / (10 + step))
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from regrain import checkpoint
from regrain.conditional.model import ConditionalCodec
from regrain.errors import ModelError

__all__ = ["State"]


class State:
    """What a checkpoint holds. `step` counts the steps taken or skipped."""

    def __init__(self, codec: ConditionalCodec, ema: float) -> None:
        """Start at step 0 from the codec as it is."""
        self.codec = codec
        self.ema = ema
        self.step = 0
        self.average = {name: tensor.detach().clone() for name, tensor in codec.state_dict().items()}
        self.optimizer = torch.optim.Adam(codec.parameters(), lr=0.0, betas=(0.9, 0.99))

    def zero_grad(self) -> None:
        """Forget gradients; parameters without one are left alone by the next update."""
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, learning_rate: float) -> None:
        """Take one optimiser step and move the average."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        decay = min(self.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, tensor in self.codec.state_dict().items():
                self.average[name].lerp_(tensor, 1 - decay)
        self.step += 1

    def skip(self) -> None:
        """Count a step whose gradient was of no use."""
        self.step += 1

    @contextmanager
    def averaged(self) -> Iterator[ConditionalCodec]:
        """The codec with its averaged weights, in evaluation mode, for as long as the context lasts."""
        current = {name: tensor.clone() for name, tensor in self.codec.state_dict().items()}
        self.codec.load_state_dict(self.average)
        try:
            yield self.codec.eval()
        finally:
            self.codec.load_state_dict(current)
            self.codec.train()

    def save(self, path: Path) -> None:
        """Write everything, atomically."""
        checkpoint.save(path, self._tensors(), {"step": self.step})

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint, if there is one. Raises ModelError if it is for another network."""
        if not path.exists():
            return
        tensors, metadata = checkpoint.load(path)
        wanted = {name for name in self._tensors() if not name.startswith("optimizer.")}
        if missing := sorted(wanted - tensors.keys()):
            raise ModelError(f"{path}: a checkpoint of another network: it has no {missing[0]}")
        self.codec.load_state_dict(_part(tensors, "weights."))
        self.average = {k: v.to(self.average[k].device) for k, v in _part(tensors, "average.").items()}
        self._load_optimizer(_part(tensors, "optimizer."))
        self.step = int(metadata["step"])

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"weights.{k}": v for k, v in self.codec.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        return tensors

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
