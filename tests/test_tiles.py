"""Tiles are decoded in order; one that cannot be is an error that names it, or is lost alone."""

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.tiles import apply_in_windows, decode_each, places


def decoder(done):
    def decode(index, payload):
        if payload == b"bad":
            raise Corrupt("it does not decode")
        done.append((index, payload))

    return decode


def test_all_are_decoded_in_order():
    done = []
    decode_each(dict(enumerate([b"a", b"b", b"c"])), decoder(done), partial=False)
    assert done == [(0, b"a"), (1, b"b"), (2, b"c")]


@pytest.mark.parametrize(("payload", "said"), [(b"bad", "it does not decode"), (None, "cut off or damaged")])
def test_the_first_that_is_not_there_is_named(payload, said):
    done = []
    with pytest.raises(Corrupt, match=f"^latents, tile 1: {said}$"):
        decode_each(dict(enumerate([b"a", payload, b"c"])), decoder(done), partial=False)
    assert done == [(0, b"a")]


def test_what_is_lost_is_lost_alone_and_said(caplog):
    done = []
    decode_each(dict(enumerate([None, b"b", b"bad"])), decoder(done), partial=True)
    assert done == [(1, b"b")]
    assert [record.getMessage() for record in caplog.records] == [
        "latents: 2 of 3 tiles are lost (tile 0: cut off or damaged; tile 2: it does not decode)"
    ]


def test_any_number_of_lost_tiles_is_one_line(caplog):
    done = []
    decode_each(dict(enumerate([*[None] * 400_000, b"a"])), decoder(done), partial=True)
    assert done == [(400_000, b"a")]
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("latents: 400000 of 400001 tiles are lost (tile 0: ")
    assert said.endswith("; ...)")
    assert len(said) < 200


def test_tiles_that_pass_their_checksums_and_do_not_decode_are_tried_a_few_times_only(caplog):
    tried = []

    def decode(index, _payload):
        tried.append(index)
        raise Corrupt("it does not decode")

    with pytest.raises(Corrupt, match="tile 63: it does not decode"):
        decode_each(dict.fromkeys(range(400_000), b"bad"), decode, partial=True)
    assert tried == [*range(64)]


@pytest.mark.parametrize("payloads", [[None], [b"bad", None, b"bad"]])
def test_where_none_is_left_it_is_an_error_all_the_same(payloads):
    with pytest.raises(Corrupt, match=f"tile {len(payloads) - 1}: "):
        decode_each(dict(enumerate(payloads)), decoder([]), partial=True)


def test_tiles_cover_all_once():
    seen = np.zeros((9, 13), int)
    for place in places(9, 13, 4):
        seen[place] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("scale", [0.25, 1, 4])
@pytest.mark.parametrize("size", [(8, 8), (64, 20), (37, 90)])
def test_windowed_is_the_whole_of_what_sees_no_further_than_the_halo(scale, size):
    """A sum over 9 x 9, then fewer or more samples; sizes need not be multiples of anything."""
    x = np.random.default_rng(0).integers(0, 100, (2, *size))

    def run(part):
        padded = np.pad(part, ((0, 0), (4, 4), (4, 4)))
        summed = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), (1, 2)).sum((3, 4))
        return summed[:, ::4, ::4] if scale < 1 else summed.repeat(scale, 1).repeat(scale, 2)

    assert (apply_in_windows(run, x, side=16, halo=8, scale=scale) == run(x)).all()
