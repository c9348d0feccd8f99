"""Progressive files: written, cut anywhere, inspected, refused."""

import io

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import bitstream
from regrain.cli import main


@pytest.fixture(scope="module")
def model(weights):
    return regrain.load(weights)


@pytest.fixture(scope="module")
def photo():
    row, column = np.mgrid[:70, :50] / 9
    waves = np.stack([np.sin(row), np.cos(column), np.sin(row + column)], 2)
    return (127.5 + 90 * waves).astype(np.uint8)


@pytest.fixture(scope="module")
def file(model, photo):
    return regrain.encode(photo, quality=50, tile=64, model=model)


def pixels(data, model, **knobs):
    return np.asarray(regrain.decode(data, model=model, **knobs)).astype(float)


def test_a_file_comes_back(file, model, photo):
    assert pixels(file, model).shape == photo.shape
    info = regrain.inspect(file)
    assert (info.method, info.tiles, info.quality) == ("progressive", 20, 50)
    assert [section["name"] for section in info.sections] == ["header", *["latents"] * 20]


def test_a_lower_quality_is_the_beginning_of_a_higher_one(file, model, photo):
    lower = regrain.encode(photo, quality=20, tile=64, model=model)
    ours, theirs = (bitstream.read(data).tiles for data in (lower, file))
    assert ours == theirs[: len(ours)]
    assert len(ours) == 8


def test_every_cut_decodes_what_is_whole(file, model, caplog):
    ends = [part.offset + part.length for part in bitstream.layout(file)]
    whole = pixels(file, model)
    for cut in (ends[1], ends[1] + 1, ends[12] - 1, ends[12], len(file) - 1):
        with pytest.raises(regrain.Truncated, match="--partial"):
            regrain.decode(file[:cut], model=model)
        caplog.clear()
        assert pixels(file[:cut], model, partial=True).shape == whole.shape
        assert "steps are whole" in caplog.text
    with pytest.raises(regrain.Truncated):
        regrain.decode(file[: ends[0] + 3], model=model, partial=True)


def test_a_damaged_step_ends_what_can_be_decoded(file, model):
    part = bitstream.layout(file)[8]
    spoilt = bytearray(file)
    spoilt[part.offset + part.length - 1] ^= 1
    with pytest.raises(regrain.Corrupt, match="step 7"):
        regrain.decode(bytes(spoilt), model=model)
    assert np.array_equal(pixels(bytes(spoilt), model, partial=True), pixels(file[: part.offset], model, partial=True))


def test_a_target_is_kept(model, photo):
    data = regrain.encode(photo, target_size=900, tile=64, model=model)
    assert 500 < len(data) <= 900


def test_alpha_profile_and_grey_are_kept(model, photo):
    picture = Image.fromarray(np.dstack([photo, photo[:, :, :1]]), "RGBA")
    data = io.BytesIO()
    picture.save(data, "PNG", icc_profile=b"profile")
    back = regrain.decode(regrain.encode(data.getvalue(), quality=5, model=model), model=model)
    assert (back.mode, back.info["icc_profile"]) == ("RGBA", b"profile")
    assert np.array_equal(np.asarray(back)[:, :, 3], photo[:, :, 0])
    assert regrain.decode(regrain.encode(photo[:, :, 0], quality=5, model=model), model=model).mode == "L"


def test_inspect_tells_what_is_there_of_a_cut_file(file, tmp_path, capsys):
    ends = [part.offset + part.length for part in bitstream.layout(file)]
    whole = regrain.inspect(file)
    assert all(section["whole"] for section in whole.sections)
    for cut, sections in ((ends[0], 1), (ends[12], 13), (ends[12] + 3, 14), (len(file) - 1, 21)):
        info = regrain.inspect(file[:cut])
        assert (info.width, info.tiles, info.size, len(info.sections)) == (whole.width, 20, cut, sections)
        assert info.sections[-1]["whole"] is (cut in ends)
        assert info.sections[:-1] == whole.sections[: sections - 1]
    (tmp_path / "a.rgn").write_bytes(file[:-1])
    assert main(["inspect", str(tmp_path / "a.rgn")]) == 0
    assert capsys.readouterr().out.endswith(", cut short\n")


def test_inspect_refuses_what_is_damaged_or_has_no_header(file):
    hurt = bytearray(file)
    hurt[len(file) // 2] ^= 1
    with pytest.raises(regrain.Corrupt):
        regrain.inspect(bytes(hurt))
    with pytest.raises(regrain.Truncated):
        regrain.inspect(file[:12])


def test_weights_and_method_must_agree(file, model, photo):
    with pytest.raises(regrain.ModelError, match="fingerprint"):
        regrain.decode(file, model=regrain.load())
    with pytest.raises(regrain.UsageError, match=r"'conditional'.*'progressive'"):
        regrain.encode(photo, model=model, method="conditional")
    with pytest.raises(regrain.UsageError, match="allowed are conditional, progressive, palette"):
        regrain.encode(photo, method="jpeg")


def test_the_command_line(weights, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.png")
    assert main(["encode", "photo.png", "-q", "5", "--method", "progressive", "--model", str(weights)]) == 0
    assert main(["decode", "photo.rgn", "back.png", "--model", str(weights), "--steps", "3"]) == 0
    with Image.open("back.png") as back:
        assert back.size == (50, 70)
    assert main(["inspect", "photo.rgn"]) == 0
    assert "progressive" in capsys.readouterr().out


def test_the_package_has_weights_and_says_what_to_expect_of_them(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = regrain.encode(photo, quality=60, method="progressive")
    error = np.asarray(regrain.decode(data)).astype(float) - photo
    (tmp_path / "photo.rgn").write_bytes(data)
    assert main(["inspect", "photo.rgn"]) == 0
    assert capsys.readouterr().out.count(" dB") == 24
    expected = [section["psnr"] for section in regrain.inspect(data).sections]
    assert expected[0] is None
    assert expected[1:] == sorted(expected[1:])
    assert 10 * np.log10(255**2 / np.square(error).mean()) > expected[-1] - 6


def test_other_weights_promise_nothing(file):
    assert {section["psnr"] for section in regrain.inspect(file).sections} == {None}


def test_a_model_may_be_its_path(file, weights, photo, model):
    assert regrain.encode(photo, quality=50, tile=64, model=weights) == file
    assert np.array_equal(pixels(file, str(weights)), pixels(file, model))
