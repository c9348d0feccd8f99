"""The contact sheet: what is drawn is what was given, where the detail is, who is chosen, and why there is none."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from lab.evaluation.invented import FINGERPRINT, IMAGES, baseline, regrain
from regrain.errors import ImageError, UsageError
from regrain_lab.evaluation import baselines, contact_sheet, per_image
from regrain_lab.evaluation.codecs import AS_STORED, BenchmarkCodec
from regrain_lab.evaluation.contact_sheet import Box, Column, Strip, detail_box, draw, overview
from regrain_lab.metrics.fidelity import psnr


def noisy(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def area(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour, np.uint8)).all(axis=2).sum())


def contains(sheet: np.ndarray, pattern: np.ndarray) -> bool:
    """Whether `pattern` stands in `sheet` pixel by pixel."""
    height, width = pattern.shape[:2]
    rows, columns = np.nonzero((sheet == pattern[0, 0]).all(axis=2))
    return any(
        np.array_equal(sheet[row : row + height, column : column + width], pattern)
        for row, column in zip(rows, columns, strict=True)
    )


def sheet_of(original: np.ndarray, columns: list[Column]) -> np.ndarray:
    return draw([overview(original, columns)])


def test_every_column_is_shown_in_the_same_area():
    colours = [(250, 3, 7), (3, 250, 7), (3, 7, 250)]
    columns = [Column(f"codec {i}", plain(300, 400, colour), ["1 byte"]) for i, colour in enumerate(colours)]
    sheet = sheet_of(plain(300, 400, (90, 91, 92)), columns)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    areas = [area(sheet, colour) for colour in colours]
    assert len(set(areas)) == 1
    assert areas[0] > 0.1 * sheet.shape[0] * sheet.shape[1]
    assert all((edge == 255).all() for edge in (sheet[:10], sheet[-10:], sheet[:, :10], sheet[:, -10:]))


def test_the_detail_is_the_pixels_themselves_magnified():
    original, coded = noisy(120, 400), noisy(120, 400, seed=1)
    crop = Box(37, 21, 100, 60)
    zoom = 4
    sheet = draw([Strip("", [Column("original", original, []), Column("codec", coded, ["x"])], crop, zoom, panel=400)])
    for picture in (original, coded):
        assert contains(sheet, picture[crop.slices].repeat(zoom, axis=0).repeat(zoom, axis=1))


@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_width_is_kept(count):
    columns = [Column("codec", noisy(600, 900), ["line"])] * count
    assert sheet_of(noisy(600, 900), columns).shape[1] <= 2000


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (40, 60), (97, 1500), (1500, 97), (768, 512)])
def test_every_size_of_picture_can_be_drawn(size):
    sheet = sheet_of(noisy(*size), [Column("codec", noisy(*size, seed=1), ["line", "line"])])
    assert sheet.shape[0] < 2000
    assert sheet.shape[1] <= 2000


def test_long_lines_stay_in_their_column():
    picture = plain(200, 300, (128, 128, 128))
    short = sheet_of(picture, [Column("a", picture, ["b"])] * 2)
    long = sheet_of(picture, [Column("a" * 300, picture, ["b" * 300]), Column("a", picture, ["b"])])
    assert short.shape == long.shape
    last = short.shape[1] * 2 // 3 + 15
    assert np.array_equal(short[:, last:], long[:, last:])


def test_drawing_repeats_itself_and_leaves_its_inputs():
    original, coded = noisy(200, 300), noisy(200, 300, seed=1)
    kept = original.copy(), coded.copy()
    sheets = [sheet_of(original, [Column("codec", coded, ["x"])]) for _ in range(2)]
    assert np.array_equal(*sheets)
    assert np.array_equal(original, kept[0])
    assert np.array_equal(coded, kept[1])


def test_the_detail_is_where_texture_is():
    picture = plain(400, 600, (120, 120, 120))
    picture[200:330, 350:520] = noisy(130, 170)
    box = detail_box(picture, 120, 90)
    assert 350 - 30 <= box.left <= 520 - 120 + 30
    assert 200 - 30 <= box.top <= 330 - 90 + 30
    assert (box.width, box.height) == (120, 90)


def test_one_hard_edge_does_not_outweigh_texture():
    picture = plain(300, 600, (0, 0, 0))
    picture[:, 100:] = 255
    picture[:, 400:] = 128 + noisy(300, 200) // 32
    assert detail_box(picture, 120, 90).left > 300


def test_the_detail_does_not_depend_on_what_codecs_made():
    original = noisy(300, 300) // 2
    first, second = (sheet_of(original, [Column("c", noisy(300, 300, seed=s), ["x"])]) for s in (1, 2))
    half = first.shape[1] // 2 - 20
    assert np.array_equal(first[:, :half], second[:, :half])


@pytest.mark.parametrize("pixels", [noisy(200, 301), noisy(200, 300)[..., 0], noisy(200, 300).astype(np.float32)])
def test_other_pixels_are_refused(pixels):
    with pytest.raises(UsageError, match=r"^bad is [^\n]+$"):
        sheet_of(noisy(200, 300), [Column("bad", pixels, [])])


@pytest.mark.parametrize("crop", [Box(0, 0, 301, 10), Box(-1, 0, 5, 5), Box(0, 0, 0, 5), Box(299, 199, 2, 1)])
def test_a_crop_outside_is_refused(crop):
    with pytest.raises(UsageError, match="is not inside"):
        draw([Strip("", [Column("original", noisy(200, 300), [])], crop)])


def test_a_stack_shows_every_detail_at_two_to_one():
    pictures = [noisy(80, 120, seed) for seed in range(4)]
    crop = Box(10, 20, 100, 60)
    strips = [
        Strip("one: a reason", [Column("a", pictures[0], ["1"]), Column("b", pictures[1], ["2", "3"])], crop),
        Strip("two " * 200, [Column("a" * 200, pictures[2], ["b" * 200]), Column("b", pictures[3], [])], crop),
    ]
    sheet = draw(strips)
    for picture in pictures:
        assert contains(sheet, picture[crop.slices].repeat(2, axis=0).repeat(2, axis=1))
    assert all((edge == 255).all() for edge in (sheet[:10], sheet[-10:], sheet[:, :10], sheet[:, -10:]))


def test_a_pixel_has_its_place_in_a_stack_and_other_shapes_are_refused():
    dot, crop = noisy(1, 1), Box(0, 0, 1, 1)
    assert draw([Strip("dot", [Column("a", dot, ["1"])] * 3, crop)]).shape[1] > 600
    with pytest.raises(UsageError, match=r"^b is "):
        draw([Strip("dot", [Column("a", dot, []), Column("b", noisy(1, 2), [])], crop)])


ROWS = baseline("AVIF") + regrain()
OTHERS = (baselines.AVIF, baselines.WEBP)


def encode(pixels: np.ndarray, setting: float) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=40)
    return file.getvalue()


def refuse(pixels: np.ndarray, setting: float) -> bytes:
    raise ImageError("it is broken")


@dataclass(frozen=True)
class Stand:
    """Regrain, but that it is another codec."""

    fingerprint: str = FINGERPRINT
    broken: bool = False

    def single(self, name, setting, decode_settings=(AS_STORED,)):
        work = refuse if self.broken else encode
        return BenchmarkCodec(
            name,
            lambda: "1.0",
            [setting],
            work,
            lambda data, decode_settings: np.array(Image.open(io.BytesIO(data)).convert("RGB")),
            fingerprint=self.fingerprint,
            decode_settings=decode_settings,
        )


@pytest.fixture
def files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8)
    for index, name in enumerate(IMAGES):
        size = (300, 220) if index else (40, 30)
        Image.fromarray(noise).resize(size).save(tmp_path / name)
    return sorted(tmp_path.glob("*.png"))


def shown(found: contact_sheet.ContactSheet) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(found.webp)).convert("RGB"))


def test_the_chosen_pictures_stand_there_as_they_are(files, monkeypatch):
    strips = []
    draw = contact_sheet.draw
    monkeypatch.setattr(contact_sheet, "draw", lambda found: strips.extend(found) or draw(found))
    found = contact_sheet.make(ROWS, files, Stand(), {"psnr": psnr, "vmaf": psnr})
    choices = list(per_image.choose_pictures(per_image.compare(ROWS)))
    assert [strip.heading.partition(":")[0] for strip in strips] == choices
    assert found.note.startswith("By rule")
    ours = per_image.compare(ROWS).rows[choices[0]]
    assert f"{choices[0]}: regrain's file has " in found.note
    assert f" bytes here, and {ours.bytes} in the table." in found.note
    assert f"PSNR {ours.metrics['psnr']:.2f}" in strips[0].columns[1].caption
    assert shown(found).shape[1] > 4 * 2 * contact_sheet.WIDTH
    for strip in strips:
        names = [column.title.partition(",")[0] for column in strip.columns]
        assert names == ["original", "regrain", *(codec.name for codec in baselines.available(OTHERS)[0])]
        sizes = [int(column.caption[0].split()[0].replace(",", "")) for column in strip.columns[1:]]
        smallest = ["smallest" in column.title for column in strip.columns[1:]]
        assert all(size <= sizes[0] or small for size, small in zip(sizes, smallest, strict=True))
        assert all(any(line.startswith("PSNR ") for line in column.caption) for column in strip.columns[1:])


@pytest.mark.parametrize(
    ("rows", "cast", "why"),
    [
        (baseline("AVIF"), Stand(), "no rows of regrain"),
        (regrain(), Stand(), "no rows of AVIF"),
        (ROWS, Stand("0a0b0c0d"), "other weights"),
    ],
)
def test_without_a_pair_a_line_says_why(files, rows, cast, why):
    found = contact_sheet.make(rows, files, cast, {})
    assert found.webp is None
    assert found.note.startswith("There is no sheet of crops. ")
    assert why in found.note


def test_what_cannot_be_encoded_is_named(files):
    found = contact_sheet.make(ROWS, files, Stand(broken=True), {})
    assert found.webp is None
    assert f"{next(iter(per_image.choose_pictures(per_image.compare(ROWS))))} is not shown: it is broken." in found.note
