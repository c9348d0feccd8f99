"""What need not be decoded: a region equals a crop of the whole, a thumbnail comes from the latents alone."""

import io
import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import regrain
import regrain.pillow
from conditional.tiny import in_floats
from regrain import bitstream, framing, memory
from regrain.cli import main
from regrain.conditional import codec as conditional
from regrain.conditional import decode as stations
from regrain.conditional import grid
from regrain.image import to_bytes

SHAPE = 200, 330


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = 60 * np.sin(rows / 17)[..., None] * np.cos(columns[..., None] / np.array([21, 23, 24]))
    texture = np.random.default_rng(2).normal(0, 9, (*SHAPE, 3))
    return (128 + waves + texture).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(pixels) -> bytes:
    return regrain.encode(pixels, quality=30, tile=64)


def decoded(data, **options) -> np.ndarray:
    return np.asarray(regrain.decode(data, **options)).astype(int)


def close(part, crop, most=12) -> None:
    """Within one level in floats; on bytes a last digit turns one, and what follows is noise."""
    assert np.abs(part - crop).max() <= most
    assert part.size < 100 or np.abs(part - crop).mean() <= 0.5


REGIONS = [(0, 0, 330, 200), (0, 0, 1, 1), (100, 70, 65, 50), (329, 199, 1, 1), (17, 0, 30, 200), (300, 120, 30, 80)]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("options", [{"realism": 0}, {"seed": 3}, {"steps": 3, "eta": 1.0, "seed": 4}])
def test_a_region_is_a_crop_of_the_whole(data, region, options):
    left, top, width, height = region
    crop = decoded(data, **options)[top : top + height, left : left + width]
    part = decoded(data, **options, region=region)
    assert part.shape == (height, width, 3)
    close(part, crop)
    floats = in_floats()
    whole, part = (decoded(data, **options, model=floats, region=area) for area in (None, region))
    close(part, whole[top : top + height, left : left + width], most=1)


@pytest.mark.parametrize("method", ["palette", "progressive"])
def test_other_methods_have_regions_and_thumbnails_too(pixels, method):
    data = regrain.encode(pixels[:100, :120], method=method)
    whole = decoded(data)
    assert np.array_equal(decoded(data, region=(8, 5, 50, 40)), whole[5:45, 8:58])
    small = decoded(data, max_size=15)
    means = np.pad(whole, [(0, 4), (0, 0), (0, 0)], mode="edge").reshape(13, 8, 15, 8, 3).mean((1, 3))
    assert small.shape == (13, 15, 3)
    assert np.abs(small - means).max() <= 0.5


def test_only_the_tiles_that_a_region_touches_are_decoded(data, monkeypatch):
    numbers, decode_tile = [], stations.decode_tile

    def counted(model, payload, index, *rest):
        numbers.append(index)
        return decode_tile(model, payload, index, *rest)

    monkeypatch.setattr(stations, "decode_tile", counted)
    decoded(data, region=(0, 0, 16, 16), realism=0)
    decoded(data, region=(310, 190, 16, 10), realism=0)
    assert numbers == [0, 1, 6, 7, *(9, 10, 11, 15, 16, 17, 21, 22, 23)]


def test_damage_elsewhere_does_not_matter_under_partial(data):
    stream = bitstream.read(data)
    tiles = bitstream.write(bitstream.Stream(stream.header, (b"\1", *stream.tiles[1:])))
    with pytest.raises(regrain.Corrupt, match="tile 0"):
        decoded(tiles)
    region = (250, 130, 40, 40)
    assert np.array_equal(decoded(tiles, region=region), decoded(data, region=region))


FITTED = [(21, (13, 21), 16), (20, (12, 20), 16), (42, (25, 42), 8), (100, (61, 100), 1), (999, SHAPE, 1)]


@pytest.mark.parametrize(("size", "shape", "square"), FITTED)
def test_a_thumbnail_is_the_picture_made_small(data, size, shape, square):
    small, whole = decoded(data, max_size=size, realism=0), decoded(data, realism=0)
    assert small.shape[:2] == shape
    down, across = (-side % square for side in SHAPE)
    squares = np.pad(whole, [(0, down), (0, across), (0, 0)], mode="edge").astype(np.uint8)
    fitted = np.asarray(Image.fromarray(squares).resize(shape[::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(small - fitted).mean() < 4


@pytest.mark.parametrize("size", [21, 42])
def test_a_thumbnail_runs_no_denoiser(data, size, monkeypatch):
    monkeypatch.setattr("regrain.conditional.codec.reconstruct", None)
    assert decoded(data, max_size=size).shape[1] == size


def test_a_thumbnail_is_what_all_latents_say_of_it(data):
    """The channels that are left out matter by less than a level and a half on average."""
    stream, model = bitstream.read(data), regrain.load()
    y_hat = stations.decode_latents(model.latents, stream.tiles, SHAPE, stream.header.quality, 64)
    basis, std = stations_basis(y_hat)
    sketch = np.einsum("cn,chw->nhw", basis * std[:, None], y_hat).reshape(3, 2, 8, 2, 8, 13, 21).mean((2, 4))
    whole = to_bytes(sketch.transpose(0, 3, 1, 4, 2).reshape(3, 26, 42), grey=False)[:25]
    assert np.abs(whole.astype(int) - decoded(data, max_size=42)).mean() < 1.5


def stations_basis(y_hat):
    from regrain.conditional.dct import dct_basis

    return dct_basis(len(y_hat))


def test_alpha_goes_along(pixels):
    alpha = (np.arange(SHAPE[1]) % 256 * np.ones((SHAPE[0], 1))).astype(np.uint8)
    data = regrain.encode(np.dstack([pixels, alpha]), quality=10)
    part = regrain.decode(data, region=(30, 40, 50, 60), realism=0)
    assert part.mode == "RGBA"
    assert np.array_equal(np.asarray(part)[..., 3], alpha[40:100, 30:80])
    assert regrain.decode(data, max_size=20).mode == "RGBA"


@pytest.mark.parametrize("region", [(0, 0, 331, 1), (-1, 0, 5, 5), (0, 200, 1, 1), (0, 0, 0, 5), (5, 5, 5, -2)])
def test_a_region_outside_is_refused(data, region):
    with pytest.raises(regrain.UsageError, match=r"^region is .*; allowed is a box within 330 x 200 pixels$"):
        regrain.decode(data, region=region)


@pytest.mark.parametrize("box", [tuple(np.array([5, 6, 7, 8])), [5, 6, 7, 8]])
def test_a_region_may_be_of_numbers_of_numpy(data, box):
    assert regrain.decode(data, region=box, realism=0).size == (7, 8)


@pytest.mark.parametrize("box", [(0, 0, 10**5000, 1), (True, 0, 1, 1), (0.0, 0, 1, 1), "0,0,1,1", (0, 0, 1)])
def test_what_is_no_box_is_refused_in_one_short_line(data, box):
    with pytest.raises(regrain.UsageError, match=r"^region is .{1,80}; allowed are four whole numbers"):
        regrain.decode(data, region=box)


def test_a_region_of_a_huge_picture_takes_what_the_region_does(data):
    """Of a claim of a million tiles, of which one is there, no more than that one is looked at."""
    stream, side = bitstream.read(data), 2**16
    claim = replace(stream.header, width=side, height=side)
    tile = bitstream.read(regrain.encode(np.zeros((64, 64, 3), np.uint8), quality=30, tile=64)).tiles[0]
    file = bitstream._pack_header(claim) + framing.frame_section(16, b"\0" + tile)
    tracemalloc.start()
    try:
        part = decoded(file, region=(0, 0, 32, 32), partial=True, max_pixels=2**36, realism=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert part.shape == (32, 32, 3)
    assert peak < 100_000_000


def test_the_alpha_of_a_region_is_counted_whole(data):
    header = replace(bitstream.read_header(data), width=20_000, height=20_000, alpha=True, tile=1024)
    with pytest.raises(regrain.LimitError, match=r"needs about 1\.9 GB of memory"):
        regrain.decode(bitstream._pack_header(header), region=(0, 0, 9, 9), max_pixels=10**9, max_memory=10**9)


def test_a_mask_is_cut_as_the_picture_is(data):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 100:] = 255
    whole = decoded(data, realism_map=mask, seed=2)
    close(decoded(data, realism_map=mask, seed=2, region=(80, 90, 64, 64)), whole[90:154, 80:144])


def test_pillow_drafts_and_makes_thumbnails(data):
    with Image.open(io.BytesIO(data)) as image:
        assert image.draft(None, (20, 12)) == ("RGB", (0, 0, 330 / 16, 200 / 16))
        assert image.size == (21, 13)
        assert np.array_equal(np.asarray(image), decoded(data, max_size=21))
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((16, 16))
        assert image.size == (16, 10)
    with Image.open(io.BytesIO(data)) as image:
        assert image.draft(None, (200, 100)) is None
        image.load()
        assert image.draft(None, (20, 12)) is None
        assert image.size == SHAPE[::-1]


def test_the_command_decodes_a_region_and_a_thumbnail(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.rgn").write_bytes(data)
    assert main(["decode", "a.rgn", "part.png", "--region", "100,70,65,50", "--quiet"]) == 0
    assert main(["decode", "a.rgn", "small.png", "--max-size", "42", "--quiet"]) == 0
    sizes = []
    for name in ("part.png", "small.png"):
        with Image.open(name) as image:
            sizes.append(image.size)
    assert sizes == [(65, 50), (42, 25)]
    for flags in (["--region", "1,2,3"], ["--region", "0,0,999,5"], ["--max-size", "0"]):
        assert main(["decode", "a.rgn", "b.png", *flags]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_limits_go_by_the_region():
    header = bitstream.Header(20_000, 20_000, 0, b"abcd", bitstream.Method.CONDITIONAL, tile=1024)
    smaller = memory.decoded_part(header, (5000, 5000, 256, 256))
    assert (smaller.width, smaller.height) == (2304, 2304)
    assert memory.decoded_part(replace(header, method=bitstream.Method.PALETTE), (5000, 5000, 256, 256)).width == 20_000


@pytest.mark.parametrize("tile", [64, 128, 1024])
def test_the_margin_of_a_region_is_within_its_limits(tile):
    header = bitstream.Header(4000, 4000, 0, b"abcd", bitstream.Method.CONDITIONAL, tile=tile)
    for left, side in itertools.product((2001, 2015, 2016), (1, 15, 16, 17, 300)):
        area = grid.Region.around((left, left, side, side), stations.HALO * conditional.MARGIN_STEPS, 250, 250)
        assert area.width * grid.STRIDE <= memory.decoded_part(header, (left, left, side, side)).width


def test_what_is_read_whole_for_a_region_counts(data):
    region = 0, 0, 8, 8
    enough = memory.need(memory.decoded_part(bitstream.read_header(data), region), steps=1, torch=False)
    mask = np.zeros(SHAPE, np.uint8)
    assert decoded(data, region=region, steps=1, max_memory=enough).shape == (8, 8, 3)
    with pytest.raises(regrain.LimitError, match="see --max-memory"):
        regrain.decode(data, region=region, steps=1, realism_map=mask, max_memory=enough)
