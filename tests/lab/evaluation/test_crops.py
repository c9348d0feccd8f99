"""The sheet of crops: who is on it was chosen by the table, at no more bytes than regrain's, and why there is none."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from lab.evaluation.invented import FINGERPRINT, IMAGES, baseline, regrain
from regrain.errors import ImageError
from regrain_lab.evaluation import baselines, crops, gains
from regrain_lab.evaluation.contestants import PLAIN, Contestant
from regrain_lab.metrics.fidelity import psnr

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

    def only(self, name, setting, knobs=PLAIN):
        work = refuse if self.broken else encode
        return Contestant(
            name,
            "1.0",
            [setting],
            work,
            lambda data, knobs: np.array(Image.open(io.BytesIO(data)).convert("RGB")),
            fingerprint=self.fingerprint,
            knobs=knobs,
        )


@pytest.fixture
def files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8)
    for index, name in enumerate(IMAGES):
        size = (300, 220) if index else (40, 30)
        Image.fromarray(noise).resize(size).save(tmp_path / name)
    return sorted(tmp_path.glob("*.png"))


def shown(found: crops.Crops) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(found.webp)).convert("RGB"))


def test_the_chosen_pictures_stand_there_as_they_are(files, monkeypatch):
    strips = []
    stack = crops.stack
    monkeypatch.setattr(crops, "stack", lambda found: strips.extend(found) or stack(found))
    found = crops.draw(ROWS, files, Stand(), {"psnr": psnr, "vmaf": psnr})
    choices = gains.chosen(gains.duel(ROWS))
    assert [strip.heading.partition(":")[0] for strip in strips] == [choice.image for choice in choices]
    assert found.note.startswith("By rule")
    ours = gains.duel(ROWS).ours[choices[0].image]
    assert f"{choices[0].image}: regrain's file has " in found.note
    assert f" bytes here, and {ours.bytes} in the table." in found.note
    assert f"PSNR {ours.metrics['psnr']:.2f}" in strips[0].columns[1].caption
    assert shown(found).shape[1] > 4 * 2 * crops.WIDTH
    for strip in strips:
        names = [column.title.partition(",")[0] for column in strip.columns]
        assert names == ["original", "regrain", *(codec.name for codec in baselines.present(OTHERS)[0])]
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
    found = crops.draw(rows, files, cast, {})
    assert found.webp is None
    assert found.note.startswith("There is no sheet of crops. ")
    assert why in found.note


def test_what_cannot_be_encoded_is_named(files):
    found = crops.draw(ROWS, files, Stand(broken=True), {})
    assert found.webp is None
    assert f"{gains.chosen(gains.duel(ROWS))[0].image} is not shown: it is broken." in found.note
