"""Print a digest of the symbols decoded from a file, under the settings given: equal always, or the wall has a hole.

    python tools/exactness.py FILE [--threads N] [--no-onednn] [--channels-last] [--double] [--batch N]
"""

import argparse
import hashlib
from pathlib import Path
from unittest import mock

import torch

from regrain import bitstream, codec
from regrain.conditional import grid
from regrain.conditional.decode import tile_symbols
from regrain.entropy.exact import ScaleBranch

EXACT = ScaleBranch.forward


def altered(branch: ScaleBranch, z: torch.Tensor, offset: torch.Tensor, options: argparse.Namespace) -> torch.Tensor:
    """The scale branch computed another way: other precision, layout or batch."""
    kind = torch.float64 if options.double else torch.float32
    branch.to(kind)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    batch = z.to(kind).repeat(options.batch, 1, 1, 1).contiguous(memory_format=layout)
    return EXACT(branch, batch, offset.to(kind))[-1:]


def digest(data: bytes, options: argparse.Namespace) -> str:
    """SHA-256 over the symbols of all tiles."""
    stream = bitstream.read(data)
    header, model = stream.header, codec.load()
    rows, columns = grid.latent_size(header.height, header.width)
    total = hashlib.sha256()
    with mock.patch.object(ScaleBranch, "forward", lambda branch, z, offset: altered(branch, z, offset, options)):
        for index, region in enumerate(grid.tiles(rows, columns, header.tile // grid.STRIDE)):
            payload = stream.tiles[index]
            assert payload is not None
            for array in tile_symbols(model, payload, index, region, header.quality):
                total.update(array.astype("<i4").tobytes())
    return total.hexdigest()


def main() -> None:
    """Parse, decode, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-onednn", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.backends.mkldnn.flags(enabled=not options.no_onednn):
        for file in options.file:
            print(digest(file.read_bytes(), options))


if __name__ == "__main__":
    main()
