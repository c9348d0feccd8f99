"""Decode the symbols of .rgn files under many settings: equal under all of them, or the wall has a hole.

    python tests/exactness.py FILE... [--encode PICTURE FOLDER]
    python tests/exactness.py FILE... --pixels

Prints, as JSON, for each setting the SHA-256 of every file's symbols; with `--pixels`, that of every file's picture on
each backend. With `--encode` a picture is encoded under each setting too, into files of FOLDER. The instruction set is
chosen from outside: ATEN_CPU_CAPABILITY=default, or avx2.

A setting is a backend, which computes means, and a way to compute the integer convolutions, which say the scale
indices: as the codec does, by another matrix product, or by torch's convolution in any type, layout and batch.
"""

import argparse
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from regrain import bitstream, codec, image, registry
from regrain.conditional import grid
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.decode import decode_tile
from regrain.entropy.integer import IntegerConv, Product, Whole
from regrain.onnx import network

Floats = NDArray[np.float32]

Context = Callable[[], AbstractContextManager[object]]
BACKENDS = ("onnx", "cpu", *["cuda"] * torch.cuda.is_available())
_CALL = IntegerConv.__call__


class Setting(NamedTuple):
    """A backend, and what else is different."""

    device: str
    context: Context = nullcontext


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def default_dtype(kind: torch.dtype) -> Iterator[None]:
    """Let new tensors of floats be of another type."""
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def without_onednn() -> Iterator[None]:
    """Compute without oneDNN; from a batch of 16 on, that lets NNPACK's Winograd transforms in."""
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True  # type: ignore[assignment]


@contextmanager
def short_products() -> Iterator[None]:
    """Let a GPU round the factors of its products to 10 bits (TF32)."""
    with mock.patch.multiple(torch.backends.cuda.matmul, allow_tf32=True):
        yield


@contextmanager
def onnx_threads(count: int) -> Iterator[None]:
    """Let ONNX Runtime use `count` threads."""
    networks = [*network._networks]
    with mock.patch.object(network, "thread_count", return_value=count):
        for one in networks:
            one.close()
        yield
    for one in [*network._networks]:
        one.close()


def product(multiply: Callable[[Floats, Floats], Floats]) -> AbstractContextManager[object]:
    """Compute the integer convolutions with another matrix product."""

    def call(self: IntegerConv, x: Whole) -> Whole:
        own: Product = self.product
        self.product = lambda a, b: [multiply(a.astype(np.float32), b.astype(np.float32)).astype(np.int32)]
        try:
            return _CALL(self, x)
        finally:
            self.product = own

    return mock.patch.object(IntegerConv, "__call__", call)


def backwards(a: Floats, b: Floats) -> Floats:
    """A matrix product of float32 whose sums run from the last to the first, one at a time."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for column, row in zip(a.T[::-1], b[::-1], strict=True):
        total += column[:, None] * row
    return total


def branch(
    kind: torch.dtype = torch.float64, layout: torch.memory_format = torch.contiguous_format, batch: int = 1
) -> AbstractContextManager[object]:
    """Compute the integer convolutions by torch's, in a type, in a layout, and as the last of a batch."""

    def call(self: IntegerConv, x: Whole) -> Whole:
        taps = self.matrix.reshape(3, 3, -1, len(self.bias)).transpose(3, 2, 0, 1)
        weight = torch.from_numpy(taps).to(kind).contiguous(memory_format=layout)
        image = torch.from_numpy(np.ascontiguousarray(x))[None].to(kind)
        stack = torch.cat([image.roll(shift, -1) for shift in range(batch - 1, -1, -1)])
        bias = torch.from_numpy(self.bias).to(kind)
        total = torch.nn.functional.conv2d(stack.contiguous(memory_format=layout), weight, bias, padding=1)
        return np.floor(total[-1].double().numpy() / 2**self.shift).astype(np.int32)

    return mock.patch.object(IntegerConv, "__call__", call)


def both(*contexts: AbstractContextManager[object]) -> AbstractContextManager[object]:
    """Enter several contexts at once."""
    stack = ExitStack()
    for context in contexts:
        stack.enter_context(context)
    return stack


SETTINGS: dict[str, Setting] = {
    "plain": Setting("onnx"),
    "onnx-threads-1": Setting("onnx", lambda: onnx_threads(1)),
    "onnx-threads-2": Setting("onnx", lambda: onnx_threads(2)),
    "numpy-product": Setting("onnx", lambda: product(np.matmul)),
    "backwards-float32": Setting("onnx", lambda: product(backwards)),
    "torch": Setting("cpu"),
    "threads-1": Setting("cpu", lambda: both(branch(), threads(1))),
    "threads-2": Setting("cpu", lambda: both(branch(), threads(2))),
    "no-onednn": Setting("cpu", lambda: both(branch(), without_onednn())),
    "float32": Setting("cpu", lambda: branch(torch.float32)),
    "float32-no-onednn": Setting("cpu", lambda: both(branch(torch.float32), without_onednn())),
    "float64": Setting("cpu", branch),
    "channels-last": Setting("cpu", lambda: branch(layout=torch.channels_last)),
    "channels-last-float32": Setting("cpu", lambda: branch(torch.float32, torch.channels_last)),
    "batch-4": Setting("cpu", lambda: branch(batch=4)),
    "batch-4-float32": Setting("cpu", lambda: branch(torch.float32, batch=4)),
    "batch-16-no-onednn": Setting("cpu", lambda: both(branch(batch=16), without_onednn())),
    "autocast": Setting("cpu", lambda: both(branch(), torch.autocast("cpu", torch.bfloat16))),
    "default-float64": Setting("cpu", lambda: both(branch(), default_dtype(torch.float64))),
}
if torch.cuda.is_available():
    SETTINGS |= {"cuda": Setting("cuda"), "cuda-tf32": Setting("cuda", short_products)}


def own(data: bytes, device: str = "onnx") -> ConditionalModel:
    """The package's model of the latents that a file names."""
    header = bitstream.read_header(data)
    model = registry.model_for(None, header.method, device, header.fingerprint)
    assert isinstance(model, ConditionalModel)
    return model


def digest(data: bytes, device: str = "onnx") -> str:
    """SHA-256 over z and y of all tiles, as little-endian int32. Raises Corrupt where a tile fails its symbol CRC."""
    stream, total, model = bitstream.read(data), hashlib.sha256(), own(data, device)
    header = stream.header
    rows, columns = grid.latent_size(header.height, header.width)
    for index, region in enumerate(grid.tiles(rows, columns, header.tile // grid.STRIDE)):
        payload = stream.tiles[index]
        assert payload is not None
        with registry.torch_defaults():
            z, y, _ = decode_tile(model.latents, payload, index, region, header.quality)
        for array in (z, y):
            total.update(array.astype("<i4").tobytes())
    return total.hexdigest()


def digests(files: list[bytes]) -> dict[str, list[str]]:
    """The digest of every file under every setting."""
    found = {}
    for data, device in itertools.product(set(files), BACKENDS):
        own(data, device)  # under no setting
    for name, setting in SETTINGS.items():
        with setting.context():
            known = {data: digest(data, setting.device) for data in set(files)}
        found[name] = [known[data] for data in files]
    return found


def encode(picture: Path, folder: Path) -> list[Path]:
    """Encode a picture under every setting, in tiles of 64 pixels."""
    written, models = [], {device: registry.load(device=device) for device in BACKENDS}
    for name, setting in SETTINGS.items():
        with setting.context():
            data = codec.encode(image.read(picture), quality=37.5, tile=64, model=models[setting.device])
        written.append(folder / f"{torch.backends.cpu.get_cpu_capability()}-{name}.rgn")
        written[-1].write_bytes(data)
    return written


def pixels(data: bytes, device: str = "onnx") -> str:
    """SHA-256 of `picture`."""
    return hashlib.sha256(picture(data, device).tobytes()).hexdigest()


def picture(data: bytes, device: str = "onnx") -> NDArray[np.uint8]:
    """The picture at realism 1, seed 7, in two steps."""
    return codec.decode(data, steps=2, seed=7, model=own(data, device)).pixels


def main() -> None:
    """Parse, decode, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", metavar="FILE", type=Path, nargs="*")
    parser.add_argument("--encode", metavar=("PICTURE", "FOLDER"), type=Path, nargs=2)
    parser.add_argument("--pixels", action="store_true")
    options = parser.parse_args()
    files = [file.read_bytes() for file in options.files]
    pictures = {device: [pixels(data, device) for data in files] for device in BACKENDS if options.pixels}
    print(json.dumps(pictures or digests(files)))
    if options.encode:
        encode(*options.encode)


if __name__ == "__main__":
    main()
