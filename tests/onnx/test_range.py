"""Forged latents, behind checksums that are right: torch and ONNX Runtime give the same pixels, within one level."""

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")

from regrain import bitstream, codec
from regrain.conditional import symbols
from regrain.conditional.dct import LATENT_MAX
from regrain.entropy import coder
from regrain.onnx.decode import decode_tiles

ROWS, COLUMNS = 4, 5


def forged(model, z, y, quality):
    """A file of these hyper-latents (hyper, 1, 2) and symbols (latent, ROWS, COLUMNS), int32."""
    known, latents = torch.from_numpy(y).float()[None], model.latents
    walked = latents.walk(torch.from_numpy(z), quality, (ROWS, COLUMNS), lambda part, *_: known[:, part.channels])
    ids = walked.scale_index[0].int().numpy()
    parts = symbols.parts(latents.passes, latents.hyper_tables(quality), z, y, ids)
    header = bitstream.Header(16 * COLUMNS, 16 * ROWS, quality, model.fingerprint)
    payload = coder.encode(parts, symbols.check(0, z, y))
    return bitstream.write(bitstream.Stream(header, (payload,), None, None, None, None))


@pytest.mark.parametrize("hyper", [127, 10**9])
@pytest.mark.parametrize("symbol", [1, 10**4, 2**31 - 1])
@pytest.mark.parametrize("quality", [0, 25600])
def test_pixels_of_forged_latents_are_within_one_level(torch_model, onnx_model, hyper, symbol, quality):
    draw = np.random.default_rng(3)
    z = draw.integers(-hyper, hyper, (48, 1, 2), np.int32, endpoint=True)
    y = draw.integers(-symbol, symbol, (256, ROWS, COLUMNS), np.int32, endpoint=True)
    data = forged(torch_model, z, y, quality)
    one, other = (codec.decode(data, realism=1, model=model).pixels for model in (torch_model, onnx_model))
    assert np.abs(one.astype(int) - other).max() <= 1
    header, tiles = (stream := bitstream.read(data)).header, stream.tiles
    y_hat = decode_tiles(onnx_model, tiles, (header.height, header.width), quality, header.tile)
    assert np.abs(y_hat).max() <= LATENT_MAX
