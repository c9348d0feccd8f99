"""Which room writes and reads a method's files, and which weights it does so with."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from regrain.bitstream import Method
from regrain.errors import ModelError, UsageError

if TYPE_CHECKING:
    from regrain.conditional.frozen import Model as ConditionalModel
    from regrain.progressive.model import Model as ProgressiveModel

    Model: TypeAlias = ConditionalModel | ProgressiveModel

__all__ = [
    "ROOMS",
    "choose",
    "expected_psnr",
    "load",
    "method_of",
    "packaged",
    "packaged_fingerprint",
    "room",
    "untouched",
]

ROOMS = (Method.CONDITIONAL, Method.PROGRESSIVE)
DEFAULT_METHOD = "conditional"
_KINDS = {"prior": Method.PROGRESSIVE}


def load(path: str | Path | None = None, device: str | None = None, method: str = DEFAULT_METHOD) -> "Model":
    """Weights from a file, of whatever method, or those in the package, of `method`. Raises ModelError."""
    from regrain import checkpoint

    with untouched(), as_file(packaged(Method[method.upper()])) as shipped:
        where = shipped if path is None else Path(path)
        kind = checkpoint.load_metadata(where).get("kind", "conditional")
        model: Model = room(_KINDS.get(kind, Method.CONDITIONAL)).load(where, _device(device))
        return model


def packaged(method: Method) -> Traversable:
    """Where the package's weights of a method are."""
    return files("regrain") / "weights" / f"{method.name.lower()}.safetensors"


def room(method: Method) -> Any:  # noqa: ANN401 - a module: its load, encoder and decode
    """The room that writes and reads a method's files."""
    return import_module(f"regrain.{method.name.lower()}.method")


@contextmanager
def untouched() -> Iterator[None]:
    """Torch on the CPU without autocast, in this thread, whatever the caller has set for work of his own."""
    import torch

    with torch.device("cpu"), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


@lru_cache(maxsize=1)
def _shipped(method: Method, device: str | None) -> "Model":
    """The package's model of a method, on the device that was asked for last; None is the CPU."""
    return load(None, device, method.name.lower())


def choose(given: "Model | None", method: Method, device: str | None) -> "Model":
    """The model that was given, where it is, or the package's own on `device`."""
    return given or _shipped(method, None if device == "cpu" else device)


def method_of(name: str | None, model: "Model | None") -> Method:
    """The method named, or else the model's, or else the default; UsageError where name and model disagree."""
    if name is None:
        return Method[DEFAULT_METHOD.upper()] if model is None else model.method
    known = [method.name.lower() for method in ROOMS]
    if name not in known:
        raise UsageError(f"method is {name!r}; allowed are {', '.join(known)}")
    if model is not None and model.method.name.lower() != name:
        raise UsageError(f"method is {name!r}, and the weights given are for {model.method.name.lower()!r}")
    return Method[name.upper()]


def _device(name: str | None) -> str | None:
    import torch

    try:
        torch.zeros(1, device=name or "cpu").cpu()
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return name


def packaged_fingerprint(method: Method) -> bytes:
    """The latent fingerprint of the package's weights; read without torch. Raises ModelError."""
    return bytes.fromhex(_metadata(method)["latent_fingerprint"])


def expected_psnr(method: Method, fingerprint: bytes) -> list[float]:
    """PSNR in dB that the package's weights had on held-out pictures after each step of a stream; [] if not known."""
    with suppress(ModelError):
        if packaged_fingerprint(method) == fingerprint:
            return list(_metadata(method).get("psnr", ()))
    return []


@lru_cache
def _metadata(method: Method) -> dict[str, Any]:
    """What the package's weights say of themselves."""
    path = packaged(method)
    try:
        with path.open("rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            head = json.loads(file.read(min(size, 1 << 20)))
        about: dict[str, Any] = json.loads(head["__metadata__"]["regrain"])
        bytes.fromhex(about["latent_fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise ModelError(f"the package's weights are missing or damaged ({error}); reinstall regrain") from None
    return about
