"""A method's name -> its codec, and a file's fingerprint -> the weights; every room is imported here alone.

Invariants: rooms are imported and weights are loaded by one thread at a time, whichever asks first; the others wait.
A process may fork once a model is loaded: the child finds no lock that is held, and under torch has one thread.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, lru_cache
from importlib.resources import as_file
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from regrain import hub
from regrain.bitstream import Method, Stream
from regrain.errors import ModelError, UsageError
from regrain.loading import TURN
from regrain.options import METHODS, DecodeOptions
from regrain.shipped import content_of, expected_psnr, has_content, shipped_fingerprint, shipped_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regrain.progressive.codec import ProgressiveModel

__all__ = [
    "Codec", "Prepared", "Refinable", "compute_alone_after_fork", "content_of", "expected_psnr", "has_content", "load",
    "method_of", "model_for", "needs_torch", "prior_for", "resolve_model", "shipped_fingerprint", "shipped_weights",
    "torch_defaults",
]  # fmt: skip

DEFAULT_METHOD = "conditional"
ONNX = "onnx"
"""The name of the default device: ONNX Runtime on the CPU."""
_KINDS = {"prior": Method.PROGRESSIVE, "palette": Method.PALETTE}


class Prepared(Protocol):
    """A picture whose heavy part is done."""

    def payloads(self, quality: int) -> list[bytes]:
        """A payload for each tile, or step, at quality q times 256."""


@runtime_checkable
class Refinable(Protocol):
    """A picture that can be made to cost less, at the price of time."""

    def refined(self, quality: int, iterations: int) -> Iterator[tuple[float, Prepared]]:
        """Before the first iteration and after each: what the best so far gains, as a share of the bytes, and it.

        Nothing where there is nothing to gain. It may be left at any time. quality is q times 256.
        """


class Codec(Protocol):
    """Weights ready for use, as `regrain.load` returns them: they write and read the files of one method."""

    @property
    def method(self) -> Method:
        """The method."""

    @property
    def fingerprint(self) -> bytes:
        """4 bytes that name the latents; a file is decoded by weights of its fingerprint alone."""

    @property
    def recipe(self) -> str:
        """The name of the recipe that trained the weights."""

    @property
    def device(self) -> str:
        """Where the networks run: "onnx", or a device of torch's."""

    def prepare(self, pixels: "NDArray[np.uint8]", tile: int) -> Prepared:
        """Do what is heavy once for all qualities. pixels (H, W, 1 or 3); `tile` is the side of a tile in pixels."""

    def decode(self, stream: Stream, options: DecodeOptions) -> "NDArray[np.uint8]":
        """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile, or step, that does not decode."""


def _load(method: Method, path: Path, device: str) -> Codec:
    """The model of a file, by the room of its method, which is imported now."""
    if method is Method.CONDITIONAL:
        from regrain.conditional.codec import ConditionalModel

        return ConditionalModel.load(path, device)
    if method is Method.PROGRESSIVE:
        from regrain.progressive.codec import ProgressiveModel

        return ProgressiveModel.load(path, device)
    from regrain.palette.codec import PaletteModel

    return PaletteModel.load(path, device)


def load(
    path: str | os.PathLike[str] | None = None,
    device: str | None = None,
    method: str = DEFAULT_METHOD,
    *,
    download: bool = False,
) -> Codec:
    """Weights from a file, of whatever method, or those in the package, of `method`; by an hf:// name or a folder as
    `hub` has them; a Stable Diffusion's folder or hub id is for the palette method. A method's name as `path` is
    `method`. Raises ModelError."""
    if isinstance(path, str) and path in METHODS:
        return load(None, device, path)
    named = None if path is None else hub.find(path, download=download)
    with TURN, torch_defaults(), ExitStack() as stack:
        if path is None:
            where = stack.enter_context(as_file(shipped_weights(Method[method.upper()])))
        else:
            where = named.weights() if named else Path(path)
        if _is_pipeline(where):
            _check_pipeline(where)
            device = device or "cpu"
        model = _load(_method_at(where), where, _device(device))
    if named:
        named.check(model.fingerprint)
    return model


def _method_at(path: Path) -> Method:
    """The method that weights are for; the default one where they do not say it: to load them says what is wrong."""
    if _is_pipeline(path):
        return Method.PALETTE
    from regrain.checkpoint import load_metadata

    with suppress(ModelError, LookupError):
        return _KINDS[load_metadata(path)["kind"]]
    return Method.CONDITIONAL


def _is_pipeline(path: Path) -> bool:
    """Whether a path stands for a Stable Diffusion's folder or hub id, which torch alone runs."""
    return path.suffix != ".safetensors" and not path.is_file()


def _check_pipeline(path: Path) -> None:
    """Raise ModelError for what is no folder and has not the form of a hub id either, UsageError without torch."""
    if not path.exists() and not re.fullmatch(r"\w[\w.-]*/[\w.-]+", path.as_posix()):
        raise ModelError(
            f"{path}: no such file, and no such folder or hub id of a Stable Diffusion; "
            f"{', '.join(METHODS)} name the weights in the package"
        )
    if not _is_installed("torch"):
        raise UsageError(f"{path}: a pipeline of diffusers needs torch: pip install 'regrain[stable-diffusion]'")


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Torch on the CPU without autocast and inference mode, in this thread, whatever the caller has set for his work.

    Where nobody has imported it yet nothing is set, and it stays away. Where a thread is just importing it, this one
    waits. The default dtype and the random generator are the whole process's: nothing here sets or reads them.
    """
    with ExitStack() as stack:
        if sys.modules.get("torch") is not None:
            with TURN:
                import torch

                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.device("cpu"))
                for kind in ("cpu", "cuda"):
                    stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@lru_cache(maxsize=4)
def _load_cached(path: Path, device: str) -> Codec:
    """The package's models that were asked for last, on their devices, 10 to 35 MB each."""
    return load(path, device)


def model_for(given: Codec | None, method: Method, device: str | None, fingerprint: bytes = b"") -> Codec:
    """The model that was given, where it is, or the package's own on `device`, of that fingerprint if it has it."""
    if given:
        return given
    with TURN, as_file(shipped_weights(method, fingerprint)) as path:
        return _load_cached(path, _device(device))


def prior_for(given: Codec | None = None, device: str | None = None) -> "ProgressiveModel":
    """The unconditional prior: the weights given, or the package's of the progressive method on `device`.

    Raises UsageError for weights of another method.
    """
    from regrain.progressive.codec import ProgressiveModel

    model = model_for(given, Method.PROGRESSIVE, device)
    if not isinstance(model, ProgressiveModel):
        name = model.method.name.lower()
        raise UsageError(f"the weights are for {name}; only those for progressive draw and repair pictures")
    return model


def resolve_model(
    model: "Codec | str | os.PathLike[str] | None", device: str | None, fingerprint: bytes = b""
) -> Codec | None:
    """The model that a caller names: itself, the package's of a method (of that fingerprint if it has it), a file's."""
    if model is None or not isinstance(model, str | os.PathLike):
        return model
    if isinstance(model, str) and model in METHODS:
        return model_for(None, Method[model.upper()], device, fingerprint)
    return load(model, device)


def method_of(name: str | None, model: Codec | None) -> Method:
    """The method named, or else the model's, or else the default; UsageError where name and model disagree."""
    if name is None:
        return Method[DEFAULT_METHOD.upper()] if model is None else model.method
    if name not in METHODS:
        raise UsageError(f"method is {name!r}; allowed are {', '.join(METHODS)}")
    if model is not None and model.method.name.lower() != name:
        raise UsageError(f"method is {name!r}, and the weights given are for {model.method.name.lower()!r}")
    return Method[name.upper()]


def _device(name: str | None) -> str:
    """ONNX Runtime for None, and for "cpu" where torch is not installed; else torch's device of that name.

    Raises UsageError for a device that is not there.
    """
    if name in (None, ONNX) or (name == "cpu" and not _is_installed("torch")):
        if not _is_installed("onnxruntime"):
            raise UsageError("this needs onnxruntime: pip install onnxruntime")
        return ONNX
    if not _is_installed("torch"):
        raise UsageError(f"device {name!r} needs torch: pip install 'regrain[torch]'")
    import torch

    compute_alone_after_fork()
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return str(name)


@cache
def compute_alone_after_fork() -> None:
    """From now on a forked child computes with one thread: OpenMP would wait for those that only its parent has.

    Whoever computes with torch calls it before.
    """
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def needs_torch(model: object, device: str | None) -> bool:
    """Whether this model, or the package's own on `device`, runs on torch."""
    named = getattr(model, "device", device)
    return named not in (None, ONNX) and _is_installed("torch")


def _is_installed(package: str) -> bool:
    with suppress(ImportError):
        return sys.modules.get(package) is not None or find_spec(package) is not None
    return False
