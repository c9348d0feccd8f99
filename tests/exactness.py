"""Decode the symbols of .rgn files under many settings of torch: equal under all of them, or the wall has a hole.

    python tests/exactness.py FILE... [--encode PICTURE FOLDER]
    python tests/exactness.py FILE... --pixels

Prints, as JSON, for each setting the SHA-256 of every file's symbols; with `--pixels`, that of every file's picture.
With `--encode` a picture is encoded under each setting too, into files of FOLDER. The instruction set is chosen from
outside: ATEN_CPU_CAPABILITY=default, or avx2.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import torch

from regrain import bitstream, codec, image, registry
from regrain.conditional import grid
from regrain.conditional.decode import tile_symbols
from regrain.conditional.frozen import Model
from regrain.entropy.exact import IntegerConv

Context = Callable[[], AbstractContextManager[object]]
_FORWARD = IntegerConv.forward


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


def branch(
    kind: torch.dtype | None = None, layout: torch.memory_format = torch.contiguous_format, batch: int = 1
) -> AbstractContextManager[object]:
    """Compute the integer convolutions in another type (None: their own) or layout, or as the last of a batch."""

    def forward(self: IntegerConv, x: torch.Tensor) -> torch.Tensor:
        own = self.weight.dtype
        used = kind or own
        stack = torch.cat([x.roll(shift, -1) for shift in range(batch - 1, -1, -1)]).to(used)
        self.to(used).to(memory_format=layout)  # type: ignore[call-overload]
        try:
            return _FORWARD(self, stack.contiguous(memory_format=layout))[-1:].to(own)
        finally:
            self.to(own).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    return mock.patch.object(IntegerConv, "forward", forward)


def both(*contexts: AbstractContextManager[object]) -> AbstractContextManager[object]:
    """Enter several contexts at once."""
    stack = ExitStack()
    for context in contexts:
        stack.enter_context(context)
    return stack


SETTINGS: dict[str, Context] = {
    "plain": nullcontext,
    "threads-1": lambda: threads(1),
    "threads-2": lambda: threads(2),
    "no-onednn": without_onednn,
    "float32": lambda: branch(torch.float32),
    "float32-no-onednn": lambda: both(branch(torch.float32), without_onednn()),
    "float64": lambda: branch(torch.float64),
    "channels-last": lambda: branch(layout=torch.channels_last),
    "channels-last-float32": lambda: branch(torch.float32, torch.channels_last),
    "batch-4": lambda: branch(batch=4),
    "batch-4-float32": lambda: branch(torch.float32, batch=4),
    "batch-16-no-onednn": lambda: both(branch(batch=16), without_onednn()),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default-float64": lambda: default_dtype(torch.float64),
}


def own(data: bytes) -> Model:
    """The package's model of the latents that a file names."""
    header = bitstream.read_header(data)
    model = registry.shipped(None, header.method, None, header.fingerprint)
    assert isinstance(model, Model)
    return model


def digest(data: bytes) -> str:
    """SHA-256 over z and y of all tiles, as little-endian int32. Raises Corrupt where a tile fails its symbol CRC."""
    stream, total, model = bitstream.read(data), hashlib.sha256(), own(data)
    header = stream.header
    rows, columns = grid.latent_size(header.height, header.width)
    for index, region in enumerate(grid.tiles(rows, columns, header.tile // grid.STRIDE)):
        payload = stream.tiles[index]
        assert payload is not None
        for array in tile_symbols(model, payload, index, region, header.quality):
            total.update(array.astype("<i4").tobytes())
    return total.hexdigest()


def digests(files: list[bytes]) -> dict[str, list[str]]:
    """The digest of every file under every setting."""
    found = {}
    for data in files:
        own(data)  # under no setting
    for name, setting in SETTINGS.items():
        with setting():
            known = {data: digest(data) for data in set(files)}
        found[name] = [known[data] for data in files]
    return found


def encode(picture: Path, folder: Path) -> list[Path]:
    """Encode a picture under every setting, in tiles of 64 pixels."""
    written, model = [], registry.load()
    for name, setting in SETTINGS.items():
        with setting():
            data = codec.encode(image.read(picture), quality=37.5, tile=64, model=model)
        written.append(folder / f"{torch.backends.cpu.get_cpu_capability()}-{name}.rgn")
        written[-1].write_bytes(data)
    return written


def pixels(data: bytes) -> str:
    """SHA-256 of the picture at realism 1, seed 7, in two steps."""
    return hashlib.sha256(codec.decode(data, steps=2, seed=7, model=own(data)).pixels.tobytes()).hexdigest()


def main() -> None:
    """Parse, decode, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", metavar="FILE", type=Path, nargs="*")
    parser.add_argument("--encode", metavar=("PICTURE", "FOLDER"), type=Path, nargs=2)
    parser.add_argument("--pixels", action="store_true")
    options = parser.parse_args()
    files = [file.read_bytes() for file in options.files]
    print(json.dumps([pixels(data) for data in files] if options.pixels else digests(files)))
    if options.encode:
        encode(*options.encode)


if __name__ == "__main__":
    main()
