"""The foreground of screens: what is drawn comes back, what is not stays with the latents, and no bytes break it."""

import io
import logging
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import regrain
from regrain import bitstream, codec, image
from regrain.conditional.denoising import Denoiser
from regrain.errors import Corrupt, RegrainError
from regrain.image import Foreground, foreground, foreground_cells, paste_foreground
from regrain.image.quantisation import COLOURS_MOST, Quantisation

ROW, COLUMN = np.mgrid[:160, :208]
RAMP = np.stack([COLUMN + 40, ROW + 20, (ROW + COLUMN) // 2], 2).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (160, 208, 3), np.uint8)


def page(grounds=((250, 248, 240), (20, 30, 60)), ink=(10, 10, 10)):
    """Two grounds, lines of marks on the left, with a shade of both colours beside each."""
    pixels = np.where(COLUMN[..., None] < 180, *np.array(grounds, np.uint8)).astype(np.uint8)
    marks = (ROW % 12 < 7) & ((ROW * 5 + COLUMN * 3 + COLUMN // 5 * 11) % 4 == 0) & (COLUMN < 172)
    pixels[marks] = ink
    pixels[marks & (COLUMN % 5 == 4)] = (np.add(grounds[0], ink)) // 2
    return pixels


PAGE = page()
MIXED = np.where(COLUMN[..., None] < 152, PAGE, NOISE).astype(np.uint8)


def pasted(layer, quality, size=PAGE.shape[:2], channels=3):
    pixels = np.full((*size, channels), 128, np.uint8)
    paste_foreground(pixels, foreground_cells(layer.payload(quality), size))
    return pixels


def test_a_drawn_picture_is_foreground_and_comes_back_exactly():
    layer = Foreground.of(PAGE)
    assert layer.squares.all()
    assert np.array_equal(pasted(layer, 100), PAGE)


@pytest.mark.parametrize("pixels", [NOISE, RAMP, np.clip(PAGE.astype(int) + NOISE % 3, 0, 255).astype(np.uint8)])
def test_noise_ramps_and_noisy_pages_are_no_foreground(pixels):
    assert Foreground.of(pixels) is None


def test_what_is_no_foreground_stays_as_the_latents_have_it():
    layer = Foreground.of(MIXED)
    assert layer.squares[:, :9].all()
    assert not layer.squares[:, 10:].any()
    back = pasted(layer, 100)
    shown = layer.mask
    assert shown[:, :144].all()
    assert shown[:, 144:152].all()  # of squares of which one half is noise the other half is drawn all the same
    assert not shown[:, 160:].any()
    assert np.array_equal(back[shown], MIXED[shown])
    assert (back[~shown] == 128).all()
    background = layer.background()
    assert np.array_equal(background[~shown], MIXED[~shown])
    assert not np.array_equal(background[shown], MIXED[shown])


def test_quality_turns_colours_into_bytes():
    shades = page()
    shades[ROW % 12 < 7] -= (ROW % 5 * 4)[ROW % 12 < 7][..., None].astype(np.uint8) * (shades[ROW % 12 < 7] > 30)
    layer = Foreground.of(shades)
    sizes = [len(layer.payload(quality)) for quality in (0, 50, 100)]
    errors = [np.abs(pasted(layer, quality).astype(int) - shades).mean() for quality in (0, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[2]


def test_grey_pictures_have_one_too():
    grey = PAGE[..., :1]
    assert np.array_equal(pasted(Foreground.of(grey), 100, channels=1), grey)


def test_cells_join_without_a_seam(monkeypatch):
    monkeypatch.setattr(foreground, "CELL", 64)
    layer = Foreground.of(MIXED)
    whole = pasted(layer, 100)
    assert np.array_equal(whole[:, :144], MIXED[:, :144])
    for top, left, height, width in ((0, 0, 160, 208), (60, 50, 30, 70), (63, 0, 2, 208), (159, 207, 1, 1)):
        part = np.full((height, width, 3), 128, np.uint8)
        paste_foreground(part, foreground_cells(layer.payload(100), MIXED.shape[:2]), (top, left))
        assert np.array_equal(part, whole[top : top + height, left : left + width])


def test_of_a_region_only_the_cells_that_it_touches_are_decoded(monkeypatch):
    monkeypatch.setattr(foreground, "CELL", 64)
    cells, decoded = foreground_cells(Foreground.of(PAGE).payload(50), PAGE.shape[:2]), []
    monkeypatch.setattr(foreground, "_layer", lambda body: decoded.append(body) or Image.new("RGBA", (64, 64)))
    paste_foreground(np.zeros((10, 2, 3), np.uint8), cells, (100, 188))
    assert decoded == [body for place, body in cells if place == (slice(64, 128), slice(128, 192))]


@pytest.mark.parametrize("reduction", [8, 16])
def test_a_smaller_picture_has_the_means(reduction):
    small = np.full((-(-160 // reduction), -(-208 // reduction), 3), 128, np.uint8)
    paste_foreground(small, foreground_cells(Foreground.of(PAGE).payload(100), PAGE.shape[:2]), reduction=reduction)
    means = PAGE.reshape(160 // reduction, reduction, 208 // reduction, reduction, 3).mean((1, 3))
    assert np.abs(small - means).max() <= 1


def test_tiles_next_to_what_latents_draw_keep_theirs():
    wide = np.concatenate([page() for _ in range(6)], 1)
    wide[:, 1216:] = NOISE[:, :32]  # all of the last column of tiles
    covered = Foreground.of(wide).covered_tiles(64)
    assert {number % 20 for number in covered} == set(range(18))
    assert Foreground.of(PAGE).covered_tiles(64) == frozenset(range(12))


def test_a_picture_that_the_foreground_covers_needs_no_network(monkeypatch):
    data = regrain.encode(PAGE, quality=90, content="screen")
    assert set(bitstream.read(data).tiles) == {b""}
    monkeypatch.setattr("regrain.conditional.codec.reconstruct", None)
    assert np.abs(np.asarray(regrain.decode(data)).astype(int) - PAGE).max() <= 8
    assert np.asarray(regrain.decode(data, region=(3, 5, 40, 20))).shape == (20, 40, 3)
    assert regrain.decode(data, max_size=20).size == (20, 15)


@pytest.mark.parametrize("options", [{}, {"steps": 2}, {"realism": 0.0}, {"region": (70, 30, 90, 100)}])
def test_letters_are_the_same_however_the_rest_is_drawn(options):
    data = regrain.encode(MIXED, quality=100, content="screen")
    left, top, width, height = options.get("region", (0, 0, 208, 160))
    back = np.asarray(regrain.decode(data, **options))
    assert back.shape == (height, width, 3)
    assert np.array_equal(back[:, : 80 - left], MIXED[top : top + height, left:80])


def test_a_screen_that_was_a_jpeg_has_no_foreground():
    file = io.BytesIO()
    Image.fromarray(PAGE).save(file, "JPEG", quality=80)
    data = regrain.encode(Image.open(file), quality=20, content="screen")
    assert regrain.inspect(data).content == "screen"
    assert bitstream.read(data).foreground is None


def test_auto_gives_a_screen_its_foreground_and_a_photo_none():
    names = [section["name"] for section in regrain.inspect(regrain.encode(PAGE)).sections]
    assert names == ["header", "foreground", "latents"]
    for pixels, content in ((PAGE, "photo"), (RAMP, "auto"), (NOISE, "screen")):
        data = regrain.encode(pixels, quality=10, content=content)
        assert bitstream.read(data).foreground is None


def test_a_target_below_the_foreground_is_met_without_it():
    random = np.random.default_rng(3)
    inks = np.array([(255, 255, 255), (0, 0, 0), (250, 0, 0), (0, 0, 250)], np.uint8)
    dots = inks[random.choice(4, (160, 208), p=[0.4, 0.2, 0.2, 0.2])]
    photo, screen = (len(regrain.encode(dots, quality=0, content=content)) for content in ("photo", "screen"))
    assert photo + 50 < screen
    tight, wide = (regrain.encode(dots, target_size=size, content="screen") for size in (photo + 50, screen))
    assert len(tight) <= photo + 50
    assert bitstream.read(tight).foreground is None
    assert bitstream.read(wide).foreground is not None


def test_pale_letters_and_blank_pages_have_one():
    for pixels in (page(((230, 230, 230), (240, 240, 240)), (180, 180, 180)), np.full((64, 64, 3), 250, np.uint8)):
        data = regrain.encode(pixels, quality=100, content="screen")
        assert np.array_equal(np.asarray(regrain.decode(data)), pixels)


def test_a_photo_on_half_of_a_page_takes_the_foreground_of_the_other_half_away_from_nobody():
    half = np.where(COLUMN[..., None] < 104, PAGE, NOISE).astype(np.uint8)
    data = regrain.encode(half, quality=100, content="screen")
    assert np.array_equal(np.asarray(regrain.decode(data))[:, :96], half[:, :96])


@pytest.mark.parametrize("top", [48, 56])
def test_a_band_of_a_ramp_two_squares_high_stays_with_the_latents(top):
    banded = PAGE.copy()
    banded[top : top + 32] = RAMP[:32]
    squares = Foreground.of(banded).squares
    assert not squares[-(-top // 16) : (top + 32) // 16].any()


def test_an_icon_of_two_squares_is_drawn_with_its_surroundings():
    icon = PAGE.copy()
    icon[64:96, 64:96] = RAMP[:32, :32]
    assert Foreground.of(icon).squares.all()


def test_no_effort_is_spent_on_a_picture_without_latents():
    pytest.importorskip("torch")
    facts = {}
    data = codec.encode(image.read(PAGE), quality=40, effort=1, facts=facts)
    assert data == codec.encode(image.read(PAGE), quality=40)
    assert facts == {"effort": 1, "iterations": 0, "gain": 0.0}


def test_a_foreground_alone_is_shown_if_partial(caplog):
    data = regrain.encode(MIXED, quality=100, content="screen")
    section = next(one for one in bitstream.layout(data) if one.name == "foreground")
    cut = data[: section.offset + section.length + 20]
    with pytest.raises(RegrainError):
        regrain.decode(cut)
    with caplog.at_level(logging.WARNING):
        back = np.asarray(regrain.decode(cut, partial=True))
    assert np.array_equal(back[:, :144], MIXED[:, :144])
    assert "1 of 1 tiles are lost" in caplog.text


def test_what_is_filled_behind_the_foreground_is_not_called_invented():
    whole = regrain.encode(PAGE, quality=100, content="screen", tile=64)
    stream = bitstream.read(whole)
    damaged = bytearray(bitstream.write(replace(stream, tiles=(*stream.tiles[:-1], b"\1"))))
    damaged[-1] ^= 255
    picture = codec.decode(bytes(damaged), partial=True, fill=True)
    assert np.array_equal(picture.pixels, PAGE)
    assert not picture.invented


def test_a_damaged_foreground_is_refused_before_any_network_runs(monkeypatch):
    stream = bitstream.read(regrain.encode(MIXED, quality=40, content="screen"))
    monkeypatch.setattr("regrain.codec._pixels", None)
    for forged in (b"", stream.foreground[:-1], stream.foreground + b"\0"):
        with pytest.raises(Corrupt, match="foreground"):
            codec.decode(bitstream.write(replace(stream, foreground=forged)))


def test_what_a_cell_says_of_alpha_is_a_hint():
    payload = Foreground.of(MIXED).payload(50)
    ((place, body),) = foreground_cells(payload, MIXED.shape[:2])
    pictures = [np.full_like(MIXED, 128) for _ in range(2)]
    for pixels, hint in zip(pictures, (body[4] & ~0x10, body[4] | 0x10), strict=True):
        paste_foreground(pixels, [(place, body[:4] + bytes([hint]) + body[5:])])
    assert np.array_equal(*pictures)


def test_networks_run_only_where_there_are_latents(monkeypatch):
    wide = np.tile(PAGE[:64, :176], (4, 24, 1))
    wide[:, -64:] = np.tile(NOISE[:64, :64], (4, 1, 1))
    data = regrain.encode(wide, quality=100, content="screen", tile=1024)
    assert [bool(tile) for tile in bitstream.read(data).tiles] == [False] * 4 + [True]
    windows, estimate = [], Denoiser.estimate
    monkeypatch.setattr(Denoiser, "estimate", lambda self, x_t, *rest: windows.append(1) or estimate(self, x_t, *rest))
    back = np.asarray(regrain.decode(data))
    assert len(windows) == 1
    assert np.array_equal(back[:, :4096], wide[:, :4096])


def test_a_page_of_which_all_is_lost_is_refused():
    data = bytearray(regrain.encode(PAGE, content="screen"))
    section = next(one for one in bitstream.layout(bytes(data)) if one.name == "foreground")
    data[section.offset] = 7
    with pytest.raises(RegrainError, match="nothing to decode"):
        regrain.decode(bytes(data), partial=True)


def test_a_tile_without_latents_is_whole():
    header = replace(bitstream.read_header(regrain.encode(PAGE, content="screen")), tile=1024)
    data = bitstream.write(bitstream.Stream(header, (b"",)))
    assert (codec.decode(data).pixels == 128).all()
    assert (codec.decode(data, partial=True).pixels == 128).all()


def test_a_region_without_latents_is_as_in_the_whole():
    wide = np.tile(PAGE[:64, :176], (4, 24, 1))
    wide[:, -64:] = np.tile(NOISE[:64, :64], (4, 1, 1))
    stream = bitstream.read(regrain.encode(wide, quality=50, content="screen", tile=1024))
    data = bitstream.write(replace(stream, foreground=None))
    assert (codec.decode(data, region=(100, 0, 900, 200)).pixels == 128).all()
    assert (codec.decode(data).pixels[:, :4000] == 128).all()


@pytest.mark.parametrize("method", ["progressive", "palette"])
def test_other_methods_have_none(method):
    stream = bitstream.read(regrain.encode(PAGE[:32, :32], quality=5, method=method))
    data = bitstream.write(replace(stream, foreground=Foreground.of(PAGE[:32, :32]).payload(50)))
    with pytest.raises(Corrupt, match=f"files of the {method} method have none"):
        codec.decode(data)


def test_pillows_own_limit_is_ours(monkeypatch):
    data = regrain.encode(PAGE, content="screen")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(RegrainError, match="MAX_IMAGE_PIXELS"):
        codec.decode(data)


def test_a_lost_foreground_is_named_in_the_log(caplog):
    data = bytearray(regrain.encode(MIXED, quality=40, content="screen"))
    section = next(one for one in bitstream.layout(bytes(data)) if one.name == "foreground")
    data[section.offset + section.length - 1] ^= 1
    with pytest.raises(Corrupt, match="foreground"):
        regrain.decode(bytes(data))
    with caplog.at_level(logging.WARNING):
        assert regrain.decode(bytes(data), partial=True).size == (208, 160)
    assert "letters and lines are missing" in caplog.text


def test_a_forged_foreground_is_refused_or_left_out(caplog):
    stream = bitstream.read(regrain.encode(MIXED, quality=40, content="screen"))
    forged = bitstream.write(replace(stream, foreground=b"\5abcde"))
    with pytest.raises(Corrupt, match="foreground"):
        regrain.decode(forged)
    with caplog.at_level(logging.WARNING):
        assert regrain.decode(forged, partial=True).size == (208, 160)
    assert "letters and lines are missing" in caplog.text


@given(st.binary(max_size=60), st.integers(0, 200))
def test_hostile_bytes_end_in_an_error_of_ours_or_in_a_picture(garbage, at):
    payload = Foreground.of(PAGE).payload(30)
    pixels = np.zeros_like(PAGE)
    for hostile in (garbage, payload[:at] + garbage + payload[at + len(garbage) :]):
        with suppress(RegrainError):
            paste_foreground(pixels, foreground_cells(hostile, PAGE.shape[:2]))


def test_a_bitstream_that_claims_more_pixels_is_refused_before_they_are_made():
    body = b"\x2f" + (0x3FFF | 0x3FFF << 14).to_bytes(4, "little") + bytes(20)
    with pytest.raises(Corrupt, match="16 x 16"):
        foreground_cells(bytes([len(body)]) + body, (16, 16))


def quantised(pixels, price):
    codes = (pixels.astype(np.int32) * np.array([65536, 256, 1])).sum(-1).reshape(-1).astype(np.int32)
    return Quantisation.of(codes, np.ones(len(codes), bool)).pixels(price)


@pytest.mark.parametrize("price", [0, 10, 1e9])
def test_no_palette_has_more_colours_than_webp(price):
    assert len(np.unique(quantised(NOISE, price), axis=0)) <= COLOURS_MOST


def test_without_a_price_few_colours_stay_and_at_any_price_one_is_left():
    few = PAGE.reshape(-1, 3)
    assert np.array_equal(quantised(few, 0), few)
    assert len(np.unique(quantised(few, 1e12), axis=0)) == 1
    assert np.array_equal(quantised(few[:1], 1e12), few[:1])


def test_a_wide_ground_keeps_its_colour():
    pixels = np.full((1000, 3), 200, np.uint8)
    pixels[:30] = np.arange(170, 200)[:, None]
    starts = np.zeros(1000, bool)
    starts[:31] = True
    codes = (pixels.astype(np.int32) * np.array([65536, 256, 1])).sum(-1).astype(np.int32)
    merged = Quantisation.of(codes, starts).pixels(500)
    assert (merged[30:] == 200).all()
    assert len(np.unique(merged[:30], axis=0)) < 30


def test_a_picture_that_can_be_seen_through_in_parts_has_one_too():
    alpha = np.where(ROW < 40, 100, 255).astype(np.uint8)
    data = regrain.encode(np.concatenate([MIXED, alpha[..., None]], 2), quality=100, content="screen")
    back = np.asarray(regrain.decode(data))
    assert np.array_equal(back[..., 3], alpha)
    assert np.array_equal(back[:, :144, :3], MIXED[:, :144])
