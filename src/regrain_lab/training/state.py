"""The state of a run: weights, their moving average, Adam's moments, and the step. All of it resumes exactly.

average <- d average + (1 - d) weights,   d = min(ema, (1 + step) / (10 + step))
"""

import json
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from regrain import torch_checkpoint
from regrain.errors import ModelError
from regrain.torch_checkpoint import part
from regrain_lab.training.muon import Muon

__all__ = ["State"]

STEPS_MOST = 2**31


class State:
    """The contents of a checkpoint. `step` counts the steps taken or skipped."""

    def __init__(self, network: nn.Module, ema: float, teacher: nn.Module | None = None) -> None:
        """Start at step 0 from the network as it is; checkpoints hold the `teacher`, of the same shape, too."""
        self.network, self.teacher, self.ema, self.step = network, teacher, ema, 0
        self.average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self.optimizer = Muon(network.parameters())

    def zero_grad(self) -> None:
        """Drop all gradients; the next update does not move parameters without one."""
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, learning_rate: float) -> None:
        """Take one optimiser step and move the average."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        decay = min(self.ema, (1 + self.step) / (10 + self.step))
        weights = self.network.state_dict()
        with torch.no_grad():
            torch._foreach_lerp_([*self.average.values()], [weights[name] for name in self.average], 1 - decay)
        self.step += 1

    def skip(self) -> None:
        """Count a step whose gradient was of no use."""
        self.step += 1

    def load_average(self) -> None:
        """Put the averaged weights into the network: weights that are frozen from here on then ship to the bit."""
        self.network.load_state_dict(self.average)

    def reset_teacher(self) -> None:
        """Load the average into the network and into the teacher."""
        self.load_average()
        if self.teacher is not None:
            self.teacher.load_state_dict(self.average)

    @contextmanager
    def average_weights(self) -> Iterator[nn.Module]:
        """The network with its averaged weights, in evaluation mode, while the context lasts."""
        current = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        try:
            yield self.network.eval()
        finally:
            self.network.load_state_dict(current)
            self.network.train()

    def save(self, path: Path) -> None:
        """Write everything, atomically. Raises OutputError."""
        torch_checkpoint.save(path, self._tensors(), {"step": self.step, "config": self._config()})

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint, if there is one. Raises ModelError if it is damaged or for another network."""
        if not path.exists():
            return
        try:
            tensors, metadata = torch_checkpoint.load(path)
        except ModelError as error:
            raise ModelError(f"{error}; put a good checkpoint in its place, or remove it to start again") from None
        self._check(path, tensors, metadata)
        self.network.load_state_dict(part(tensors, "weights."))
        if self.teacher is not None:
            self.teacher.load_state_dict(part(tensors, "teacher."))
        for name, tensor in part(tensors, "average.").items():
            self.average[name].copy_(tensor)
        self._load_optimizer(part(tensors, "optimizer."))
        self.step = metadata["step"]

    def _check(self, path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Raise ModelError unless this network and its optimiser can take the tensors."""
        if wrong := torch_checkpoint.mismatch(self._expected(tensors.keys()), tensors):
            raise ModelError(f"{path}: of another network: {wrong}")
        if type(step := metadata.get("step")) is not int or not 0 <= step < STEPS_MOST:
            raise ModelError(f"{path}: not a checkpoint of training: it says no step")
        if metadata.get("config", (config := self._config())) != config:
            raise ModelError(f"{path}: a checkpoint of another [model] than the recipe's")

    def _expected(self, names: Set[str]) -> dict[str, Tensor]:
        """Tensors shaped as a checkpoint's, with the moments of those parameters alone whose `names` are there."""
        state = {name: tensor for name, tensor in self._tensors().items() if not name.startswith("optimizer.")}
        for index, parameter in enumerate(self.network.parameters()):
            moments = {"exp_avg": parameter, "exp_avg_sq": parameter, "step": parameter.new_empty(())}
            if f"optimizer.{index}.step" in names:
                state |= {f"optimizer.{index}.{name}": moment for name, moment in moments.items()}
        return state

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"weights.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        if self.teacher is not None:
            tensors |= {f"teacher.{k}": v for k, v in self.teacher.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        return tensors

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        """Load moments in the memory format of their parameters, so that the arithmetic goes on as before."""
        parameters = list(self.network.parameters())
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".")
            moment = value if name == "step" else torch.empty_like(parameters[int(index)]).copy_(value)
            moments.setdefault(int(index), {})[name] = moment
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(json.dumps(cast(Any, self.network).config.to_dict()))
        return config
