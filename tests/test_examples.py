"""What stands under examples/ runs, quickly, without torch, and shows what it says."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regrain
import regrain.pillow  # registers the format
from examples import own_denoiser, own_method
from regrain import bitstream

FOLDER = Path(own_method.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
PHOTO = np.asarray(Image.open(own_method.PHOTO).convert("RGB"))


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_writes_a_picture(name, tmp_path):
    code = f"import runpy, sys; sys.argv[1:] = [{str(tmp_path)!r}]; sys.modules['torch'] = None; "
    code += f"runpy.run_path({str(FOLDER / name)!r} + '.py', run_name='__main__')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert np.asarray(Image.open(tmp_path / f"{name}.png")).std() > 10


def test_the_list_is_whole():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)\.py` \|", page, re.MULTILINE)) == NAMES


def test_many_steps_of_the_denoiser_draw_around_the_sketch():
    parts = regrain.latents(PHOTO[:96, :96], quality=60)
    way = {"denoiser": own_denoiser.denoise, "schedule": own_denoiser.SCHEDULE, "steps": 24, "sampler": "second-order"}
    drawn = [regrain.from_latents(parts, seed=seed, **way) for seed in range(2)]
    first, second = (np.asarray(picture, np.float32) / 127.5 - 1 for picture in drawn)
    assert (first - second).std() == pytest.approx(2**0.5 * own_denoiser.DEVIATION, rel=0.1)
    mean = own_denoiser.sketch(parts.y_hat).transpose(1, 2, 0)
    inside = np.abs(mean) < 0.7  # what is clipped is no Gaussian
    assert ((first + second) / 2 - mean)[inside].std() == pytest.approx(own_denoiser.DEVIATION / 2**0.5, rel=0.1)


@pytest.fixture(scope="module")
def codec():
    return own_method.DctCodec()


@pytest.mark.parametrize(
    ("image", "tile"), [(PHOTO, 1024), (PHOTO[:99, :131], 64), (PHOTO[:1, :1], 64), (PHOTO[..., 0], 128)]
)
def test_the_codec_keeps_to_the_container(codec, image, tile):
    files = [regrain.encode(image, model=codec, quality=quality, tile=tile) for quality in (10, 50, 90)]
    errors = [np.square(np.asarray(regrain.decode(file, model=codec), np.float32) - image).mean() for file in files]
    assert len(files[0]) <= len(files[1]) <= len(files[2])
    assert errors[2] < 4
    assert errors[0] >= errors[1] >= errors[2]
    assert regrain.inspect(files[0]).method == "private"


def test_the_codec_has_what_the_container_has(codec):
    rgba = np.dstack([PHOTO, np.where(PHOTO[..., :1] > 128, 255, 0).astype(np.uint8)])[:128, :128]
    file = regrain.encode(rgba, model=codec, target_bpp=2.0, tile=64)
    assert len(file) <= 2.0 * 128 * 128 / 8
    whole = np.asarray(regrain.decode(file, model=codec))
    assert (whole[..., 3] == rgba[..., 3]).all()
    assert (np.asarray(regrain.decode(file, model=codec, region=(9, 8, 70, 60))) == whole[8:68, 9:79]).all()
    assert regrain.decode(file, model=codec, max_size=8).size == (8, 8)
    hurt = bytearray(file)
    hurt[-1] ^= 1
    with pytest.raises(regrain.Corrupt, match="is damaged"):
        regrain.decode(bytes(hurt), model=codec)
    left = np.asarray(regrain.decode(bytes(hurt), model=codec, partial=True))
    assert (left[:64] == whole[:64]).all()


def test_forged_payloads_are_corrupt(codec):
    stream = bitstream.read(regrain.encode(PHOTO[:64, :64], model=codec))
    for payload in (b"", b"\1", stream.tiles[0][:-3] + b"\7", bytes(range(1, 200))):
        forged = bitstream.write(bitstream.Stream(stream.header, (payload,)))
        with pytest.raises(regrain.Corrupt, match="latents, tile 0"):
            regrain.decode(forged, model=codec)


def test_a_private_file_needs_its_codec(codec):
    file = regrain.encode(PHOTO[:64, :64], model=codec)
    with pytest.raises(regrain.ModelError, match=r"^the file is private to a codec of fingerprint 44435438: [^\n]*$"):
        regrain.decode(file)
    for model in ("conditional", "palette"):
        with pytest.raises(regrain.ModelError, match=r"needs the weights with latent fingerprint 44435438"):
            regrain.decode(file, model=model)
    with pytest.raises(regrain.ModelError, match="these are 44435438"):
        regrain.decode(regrain.encode(PHOTO[:64, :64]), model=codec)
    with pytest.raises(regrain.UsageError, match="realism_map is for the conditional method"):
        regrain.decode(file, model=codec, realism_map=PHOTO[:64, :64])
    picture = Image.open(io.BytesIO(file))
    picture.load(model=codec)
    assert picture.size == (64, 64)
