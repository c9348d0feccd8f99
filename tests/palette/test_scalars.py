"""Latents in steps: within 9/16 of one, in fewer bytes the larger it is, and nothing else is accepted."""

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.palette import interlace, scalars
from regrain.palette.scalars import pack, unpack

TILE = 7


def picture(height, width, channels=4, noise=0.5, seed=0):
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / 8
    turns = random.normal(0, 1, (channels, 2))
    values = np.sin(rows[..., None] * turns[:, 0] + columns[..., None] * turns[:, 1])
    return np.clip(np.rint(127.5 + 45 * values + 32 * noise * random.normal(0, 1, values.shape)), 0, 255).astype(
        np.uint8
    )


@pytest.mark.parametrize("channels", [1, 3, 4, 16])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (21, 1), (7, 12), (33, 40)])
def test_what_comes_back_is_near_by(size, channels):
    latents = picture(*size, channels)
    for step in (1, 2, 7, 24, 64) if channels < 16 else (1, 24):
        found = unpack(pack(latents, step, TILE), size, channels, TILE)
        assert found.dtype == np.uint8
        assert 16 * np.abs(found.astype(int) - latents).max() <= 9 * step


@pytest.mark.parametrize("latents", [np.zeros((5, 9, 2), np.uint8), np.full((5, 9, 2), 255, np.uint8)])
def test_extremes_come_back(latents):
    for step in (1, 5, 64):
        found = unpack(pack(latents, step, TILE), (5, 9), 2, TILE)
        assert 16 * np.abs(found.astype(int) - latents).max() <= 9 * step
    checked = np.where(np.indices((5, 9)).sum(0)[..., None] % 2, latents, 255 - latents)
    assert (unpack(pack(checked, 1, TILE), (5, 9), 2, TILE) == checked).all()


def test_bytes_fall_as_the_step_grows():
    latents = picture(40, 40)
    sizes = [len(pack(latents, step, TILE)) for step in (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] < latents.size
    assert sizes[-1] < sizes[0] / 6


def test_each_halving_of_the_step_is_a_bit_a_value():
    latents = picture(48, 48, noise=0.8)
    fine, coarse = (len(pack(latents, step, TILE)) for step in (2, 4))
    assert fine - coarse == pytest.approx(latents.size / 8, rel=0.04)


def test_noise_takes_its_entropy_and_the_flat_next_to_nothing():
    """N(0, 20^2) predicted from the mean of its neighbours, whose own noise adds some 0.2 bit."""
    random = np.random.default_rng(0)
    noise = np.clip(np.rint(127.5 + 20 * random.normal(size=(64, 64, 2))), 0, 255).astype(np.uint8)
    entropy = noise.size / 8 * np.log2(20 * np.sqrt(2 * np.pi * np.e))
    assert entropy < len(pack(noise, 1, TILE)) < 1.05 * entropy
    assert len(pack(np.full((64, 64, 4), 90, np.uint8), 1, TILE)) < 60


def test_a_channel_that_follows_another_is_pulled_along():
    latents = picture(32, 32, 1, noise=0.8).astype(int)
    alone = len(pack(latents.astype(np.uint8), 1, TILE))
    for follows in (latents, 255 - latents, 64 + latents // 2):
        pair = np.concatenate([latents, follows], 2).astype(np.uint8)
        assert len(pack(pair, 1, TILE)) < 1.25 * alone


def test_busy_and_quiet_areas_have_tables_of_their_own():
    random = np.random.default_rng(0)
    deviations = np.where(np.arange(64) < 32, 2, 40)
    mixed = np.clip(np.rint(127.5 + deviations[:, None] * random.normal(size=(64, 64, 1))), 0, 255).astype(np.uint8)
    entropy = mixed.size / 8 * np.log2(np.array([2, 40]) * np.sqrt(2 * np.pi * np.e)).mean()
    assert len(pack(mixed, 1, TILE)) < 1.09 * entropy


@pytest.mark.parametrize(("step", "size", "channels"), [(1, (3, 5), 2), (20, (4, 7), 3)])
def test_every_flipped_bit_and_every_cut_is_refused(step, size, channels):
    payload = pack(picture(*size, channels), step, TILE)
    for at in range(len(payload)):
        with pytest.raises(Corrupt):
            unpack(payload[:at], size, channels, TILE)
        for bit in range(8):
            spoilt = bytearray(payload)
            spoilt[at] ^= 1 << bit
            with pytest.raises(Corrupt, match=r"^levels: [^\n]*$"):
                unpack(bytes(spoilt), size, channels, TILE)
    with pytest.raises(Corrupt):
        unpack(payload + b"\1", size, channels, TILE)


def test_another_tile_shape_or_number_of_channels_is_refused():
    payload = pack(picture(8, 8), 4, TILE)
    for shape, channels, tile in (
        ((8, 8), 4, TILE + 1), ((8, 8), 4, TILE + 2**32), ((4, 16), 4, TILE), ((16, 4), 4, TILE), ((8, 9), 4, TILE),
        ((8, 8), 3, TILE), ((8, 8), 5, TILE),
    ):  # fmt: skip
        with pytest.raises(Corrupt):
            unpack(payload, shape, channels, tile)


def test_random_bytes_are_refused():
    random = np.random.default_rng(3)
    for length in (0, 1, 5, 18, 30, 200, 2000):
        for step in (0, 1, 64, 65, 255):
            for _ in range(5):
                with pytest.raises(Corrupt):
                    unpack(bytes([step]) + random.bytes(length), (16, 20), 4, TILE)


def test_large_tiles_are_coded_in_portions(monkeypatch):
    monkeypatch.setattr(interlace, "TOGETHER", 100)
    interlace.passes.cache_clear()
    latents = picture(40, 41)
    assert (unpack(pack(latents, 1, TILE), (40, 41), 4, TILE) == latents).all()
    interlace.passes.cache_clear()


def test_no_symbol_is_taken_beyond_the_range():
    """A stream that is whole, but says 255 and a step more."""
    latents = np.full((1, 1, 1), 250, np.uint8)
    head = bytes([10, 2, 0, 40])
    parts = [(np.array([20], np.int32), np.array([40]), scalars.gaussian_tables())]
    check = scalars._check(head, np.array([[255]]), (1, 1), TILE)
    with pytest.raises(Corrupt, match="out of range"):
        unpack(head + scalars.coder.encode(parts, check), (1, 1), 1, TILE)
    assert unpack(pack(latents, 10, TILE), (1, 1), 1, TILE).item() in range(245, 256)
