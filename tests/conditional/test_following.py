"""Means in a thread of their own: the same latents as without one, and no thread that outlives a broken tile."""

import os
import subprocess
import sys
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
    _, symbols, y_hat = decoded(tile, 1)
    for threads in (1, 4):
        _, part, latents = decoded(tile, threads, channels)
        np.testing.assert_array_equal(part[:channels], symbols[:channels])
        np.testing.assert_array_equal(latents[:channels], y_hat[:channels])


def test_latents_are_those_of_the_encoder(tile):
    wanted = regrain.latents(WAVES, quality=60).y_hat
    np.testing.assert_allclose(decoded(tile, 2)[2], wanted, rtol=1e-4, atol=1e-3)


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
    before = set(threading.enumerate())
    for size in (1, len(payload) // 2, len(payload) - 1):
        with pytest.raises(Corrupt), threads_at_most(2):
            decode_tile(model, payload[:size].rstrip(b"\0") or b"\1", 0, region, quality)
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()


def test_an_interrupt_as_the_thread_starts_hangs_nobody(tile, monkeypatch):
    run_beside = following.Follower.run_beside

    def interrupted(self):
        run_beside(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(following.Follower, "run_beside", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decoded(tile, 2)


def test_without_another_thread_the_means_come_afterwards(tile, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("can't start new thread")

    wanted = decoded(tile, 1)[2]
    monkeypatch.setattr(following.Thread, "start", refused)
    np.testing.assert_array_equal(decoded(tile, 2)[2], wanted)


def test_a_thread_decodes_when_the_main_one_has_ended(tile, tmp_path):
    (tmp_path / "wave.rgn").write_bytes(regrain.encode(WAVES, quality=30))
    code = "import threading, regrain, time\n"
    code += "threading.Thread(target=lambda: (time.sleep(1), print(regrain.decode('wave.rgn').size))).start()"
    there = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=there, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "(80, 96)", done.stderr


def test_no_more_contexts_run_than_the_channels_need(tile, monkeypatch):
    model, calls = tile[0], []
    context = model.networks.context
    monkeypatch.setattr(model.networks, "context", lambda *given: calls.append(given[0]) or context(*given))
    for threads in (1, 2):
        calls.clear()
        decoded(tile, threads, 6)
        assert len(calls) == sum(step.first < 6 for step in model.order[1:])


def test_an_error_of_the_means_is_raised(tile, monkeypatch):
    monkeypatch.setattr(type(tile[0]), "start_means", lambda *_: 1 / 0)
    for threads in (1, 2):
        with pytest.raises(ZeroDivisionError):
            decoded(tile, threads)
