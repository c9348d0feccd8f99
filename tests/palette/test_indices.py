"""Palette and indices come back; nothing else does; and they take fewer bytes than they are."""

import math
import zlib

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.palette import colours, experts, indices
from regrain.palette.experts import Experts
from regrain.palette.indices import pack, pack_stored, unpack
from regrain.palette.interlace import passes

TILE = 5


def picture(height, width, channels=4, noise=0.6, seed=0):
    """Latents as an autoencoder's: waves and noise, of about unit variance."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / 8
    turns = random.normal(0, 1, (channels, 2))
    waves = np.sin(rows[..., None] * turns[:, 0] + columns[..., None] * turns[:, 1]) * 1.4
    values = waves * math.sqrt(1 - noise**2) + noise * random.normal(0, 1, waves.shape)
    return np.clip(np.rint(127.5 + 31.9 * values), 0, 255).astype(np.uint8)


def case(height, width, channels=4, count=256, **how):
    latents = picture(height, width, channels, **how)
    palette = colours.choose(latents.reshape(-1, channels), count)
    return palette, colours.dither(latents, palette)


def same(payload, palette, chosen, tile=TILE):
    found, back = unpack(payload, chosen.shape, palette.shape[1], tile)
    assert found.dtype == back.dtype == np.uint8
    return np.array_equal(found, palette) and np.array_equal(back, chosen)


@pytest.mark.parametrize("channels", [1, 3, 4, 16])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (21, 1), (7, 12), (33, 40)])
def test_what_is_packed_comes_back(size, channels):
    for count in (1, 2, 5, 100):
        palette, chosen = case(*size, channels, count)
        for way in (pack, pack_stored):
            payload = way(palette, chosen, TILE)
            assert same(payload, palette, chosen)
            assert len(payload) <= palette.size + chosen.size + 6


def test_a_tile_of_256_colours_takes_a_quarter_less():
    latents = picture(64, 64)
    palette = colours.choose(latents.reshape(-1, 4), 256)
    dithered = colours.dither(latents, palette)
    nearest = np.square(latents[:, :, None].astype(float) - palette).sum(3).argmin(2).astype(np.uint8)
    assert len(palette) == 256
    for chosen in (dithered, nearest):
        payload = pack(palette, chosen, TILE)
        assert same(payload, palette, chosen)
        assert len(payload) < 0.75 * 5120
        assert len(pack_stored(palette, chosen, TILE)) == 5120 + 6


def test_the_size_is_that_of_palette_and_of_what_experts_do_not_know():
    palette, chosen = case(48, 64)
    payload = pack(palette, chosen, TILE)
    told = experts.fit(palette, chosen)
    known, costs = np.append(chosen.reshape(-1), len(palette)).astype(int), told.costs(palette)
    ideal = sum(experts._bits(told.weights(costs, known, one), known[one.places]) for one in passes(48, 64)) / 8
    of_palette = sum(len(ids) and sum(math.log2(n + 1) for n in ids) for _, ids, _ in colours.parts(palette)[1]) / 8
    heads = 1 + 10 + Experts.size(4) + 4
    assert abs(len(payload) - heads - of_palette - ideal) < 0.003 * ideal + 4


def test_noise_is_stored_and_flat_is_small():
    random = np.random.default_rng(1)
    palette = np.unique(random.integers(0, 256, (256, 4)), axis=0).astype(np.uint8)
    noise = random.integers(0, len(palette), (8, 8)).astype(np.uint8)
    assert pack(palette, noise, TILE)[0] in (indices.STORED, indices.CODED)
    tiny = np.array([[1], [200]], np.uint8), np.array([[0, 1]], np.uint8)
    assert pack(*tiny, TILE) == pack_stored(*tiny, TILE)
    assert len(pack(palette[:1], np.zeros((64, 64), np.uint8), TILE)) < 32


def test_more_noise_and_more_colours_take_more_bytes():
    sizes = [
        [len(pack(*case(32, 32, count=count, noise=noise), TILE)) for count in (8, 32, 128)] for noise in (0.2, 0.8)
    ]
    assert (np.diff(sizes, axis=0) > 0).all()
    assert (np.diff(sizes, axis=1) > 0).all()


@pytest.mark.parametrize("way", [pack, pack_stored])
def test_every_flipped_bit_and_every_cut_is_refused(way):
    palette, chosen = case(9, 11, 3, 12, noise=0.3)
    payload = way(palette, chosen, TILE)
    assert payload[0] == (indices.STORED if way is pack_stored else indices.CODED)
    for at in range(len(payload)):
        with pytest.raises(Corrupt):
            unpack(payload[:at], (9, 11), 3, TILE)
        for bit in range(8):
            spoilt = bytearray(payload)
            spoilt[at] ^= 1 << bit
            with pytest.raises(Corrupt, match=r"^palette: [^\n]*$"):
                unpack(bytes(spoilt), (9, 11), 3, TILE)
    with pytest.raises(Corrupt):
        unpack(payload + b"\1", (9, 11), 3, TILE)


@pytest.mark.parametrize("way", [pack, pack_stored])
def test_another_tile_shape_or_number_of_channels_is_refused(way):
    palette, chosen = case(8, 8, 4, 16, noise=0.2)
    payload = way(palette, chosen, TILE)
    for shape, channels, tile in (
        ((8, 8), 4, TILE + 1), ((8, 8), 4, TILE + 2**32), ((4, 16), 4, TILE), ((16, 4), 4, TILE), ((8, 9), 4, TILE),
        ((8, 8), 3, TILE), ((8, 8), 5, TILE),
    ):  # fmt: skip
        with pytest.raises(Corrupt):
            unpack(payload, shape, channels, tile)


def test_random_bytes_are_refused():
    random = np.random.default_rng(3)
    for length in (0, 1, 2, 5, 30, 60, 200, 2000):
        for form in (0, 1, 2, 255):
            for _ in range(5):
                with pytest.raises(Corrupt):
                    unpack(bytes([form]) + random.bytes(length), (16, 20), 4, TILE)
    with pytest.raises(Corrupt):
        unpack(b"", (16, 20), 4, TILE)


@pytest.mark.parametrize(
    ("palette", "chosen"),
    [([[4, 4], [4, 4]], [[0, 1]]), ([[5, 4], [4, 4]], [[0, 1]]), ([[4, 4], [5, 4]], [[0, 2]])],
)
def test_a_stored_tile_that_passes_its_check_must_still_be_one(palette, chosen):
    palette, chosen = np.array(palette, np.uint8), np.array(chosen, np.uint8)
    head = bytes([indices.STORED, 1]) + palette.tobytes() + chosen.tobytes()
    forged = head + indices._check(head, palette, chosen, TILE).to_bytes(4, "little")
    with pytest.raises(Corrupt, match="allowed"):
        unpack(forged, (1, 2), 2, TILE)


def test_the_check_is_a_crc_of_all():
    palette, chosen = np.array([[1, 2]], np.uint8), np.zeros((3, 4), np.uint8)
    data = np.array([TILE, 3, 4], "<u8").tobytes() + b"head" + bytes([1, 2]) + bytes(12)
    assert indices._check(b"head", palette, chosen, TILE) == zlib.crc32(data)


def test_decisions_have_the_odds_that_ask_for_them():
    tables = indices._decisions()
    for number, table in enumerate(tables):
        assert table.counts[0] / table.counts[1] == pytest.approx(2 ** (number / 4), rel=0.07)
        odds = np.array([1, -1]) * number * indices.ODDS_STEP
        assert (indices._table_ids(odds) == number).all()
    assert indices._table_ids(np.array([10**6])) == indices.TABLES - 1
