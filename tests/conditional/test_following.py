"""Means in a thread of their own: the same latents as without one, and no thread that outlives a broken tile."""

import threading

import numpy as np
import pytest

import regrain
from regrain import bitstream, registry
from regrain.conditional import following, grid
from regrain.conditional.decode import decode_tile
from regrain.errors import Corrupt
from regrain.loading import threads_at_most

pytest.importorskip("onnxruntime")
WAVES = (127.5 + 120 * np.sin(np.arange(96)[:, None, None] / 5 + np.arange(80)[:, None] / 9 + np.arange(3))).astype(
    np.uint8
)


@pytest.fixture(scope="module")
def tile():
    """The model of latents, a payload, its place and quality."""
    stream = bitstream.read(regrain.encode(WAVES, quality=60))
    model = registry.model_for(None, bitstream.Method.CONDITIONAL, None, stream.header.fingerprint)
    return model.latents, stream.tiles[0], grid.Region(0, 6, 0, 5), stream.header.quality


def decoded(tile, threads, channels=None):
    model, payload, region, quality = tile
    with threads_at_most(threads):
        return decode_tile(model, payload, 0, region, quality, channels)


@pytest.mark.parametrize("channels", [None, 6, 40])
def test_latents_are_the_same_with_one_thread_and_with_more(tile, channels):
    for one, other in zip(decoded(tile, 1, channels), decoded(tile, 4, channels), strict=True):
        np.testing.assert_array_equal(one, other)


def test_with_two_threads_the_means_have_their_own(tile, monkeypatch):
    names, follow = [], following.Follower._follow
    monkeypatch.setattr(
        following.Follower, "_follow", lambda self: names.append(threading.current_thread().name) or follow(self)
    )
    decoded(tile, 1)
    decoded(tile, 2)
    assert names[0] == threading.current_thread().name
    assert names[1].startswith("regrain-means")


def test_a_broken_tile_leaves_no_thread_behind(tile):
    model, payload, region, quality = tile
    before = threading.active_count()
    for size in (1, len(payload) // 2, len(payload) - 1):
        with pytest.raises(Corrupt), threads_at_most(2):
            decode_tile(model, payload[:size].rstrip(b"\0") or b"\1", 0, region, quality)
    assert threading.active_count() == before


def test_an_error_of_the_means_is_raised(tile, monkeypatch):
    monkeypatch.setattr(type(tile[0]), "start_means", lambda *_: 1 / 0)
    for threads in (1, 2):
        with pytest.raises(ZeroDivisionError):
            decoded(tile, threads)
