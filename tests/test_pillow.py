import inspect
import io
import mimetypes
import pickle
import subprocess
import sys
import types
import typing

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

import regrain
import regrain.pillow
from regrain import bitstream
from regrain.errors import Corrupt, ModelError, UsageError
from regrain.image import Metadata, Picture

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
METADATA = Metadata(b"profile", b"MM\0*\0\0\0\x08\0\0\0\0\0\0", b"<x/>")


def file_of(picture, tile=b"latents"):
    header = bitstream.Header(
        picture.width, picture.height, 0, b"four", grey=picture.grey, alpha=picture.alpha is not None
    )
    alpha = None if picture.alpha is None else b"alpha"
    meta = picture.metadata
    return bitstream.write(bitstream.Stream(header, (tile,), alpha, meta.icc, meta.exif, meta.xmp))


@pytest.fixture
def codec(monkeypatch):
    """A codec that remembers what it was asked, in place of the one that needs weights."""
    fake = types.ModuleType("regrain.codec")
    fake.picture, fake.calls, fake.error = Picture(RGB, None, METADATA), [], None

    def decode(data, *, steps, realism, seed, max_pixels, **others):
        assert max_pixels == fake.picture.width * fake.picture.height
        fake.calls.append((data, steps, realism, seed))
        fake.others = others
        if fake.error:
            raise fake.error
        return fake.picture

    def encode(picture, **options):
        fake.calls.append((picture, options))
        if fake.error:
            raise fake.error
        return file_of(picture)

    fake.decode, fake.encode = decode, encode
    monkeypatch.setitem(sys.modules, "regrain.codec", fake)
    monkeypatch.setattr(regrain, "codec", fake, raising=False)
    return fake


@pytest.mark.parametrize("alpha", [None, RGB[..., 0]], ids=["opaque", "alpha"])
@pytest.mark.parametrize("pixels", [RGB, RGB[..., :1]], ids=["rgb", "grey"])
def test_open_reads_the_header_and_load_the_pixels(codec, pixels, alpha, tmp_path):
    codec.picture = Picture(pixels, alpha, METADATA)
    path = tmp_path / "a.rgn"
    path.write_bytes(file_of(codec.picture))
    with Image.open(path) as image:
        mode = ("L" if pixels.shape[2] == 1 else "RGB") + ("" if alpha is None else "A")
        assert (image.format, image.size, image.mode, codec.calls) == ("REGRAIN", (5, 6), mode, [])
        assert image.get_format_mimetype() == "image/x-regrain"
        planes = np.asarray(image).reshape(6, 5, -1)
        np.testing.assert_array_equal(planes[..., : pixels.shape[2]], pixels)
        assert (image.info["icc_profile"], image.info["exif"], image.info["xmp"]) == (
            METADATA.icc,
            b"Exif\0\0" + METADATA.exif,
            METADATA.xmp,
        )
        image.load()
        image.putpixel((0, 0), 0)
    assert codec.calls == [(path.read_bytes(), None, 1.0, 0)]


def test_open_needs_no_network_and_few_bytes():
    script = (
        "import io, sys, regrain.pillow\n"
        "from PIL import Image\n"
        "from regrain import bitstream as b\n"
        "data = b.write(b.Stream(b.Header(500, 400, 0, b'four'), (bytes(10**6),)))\n"
        "image = Image.open(io.BytesIO(data[:40]))\n"
        "assert image.size == (500, 400)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_load_takes_settings_and_decodes_again_only_when_they_change(codec):
    image = Image.open(io.BytesIO(file_of(codec.picture)))
    for settings in ({"steps": 4, "seed": 7}, {}, {"steps": 4}, {"realism": 0.5}, {"realism": 0.5}, {"steps": 1}):
        image.load(**settings)
    assert [call[1:] for call in codec.calls] == [(4, 1.0, 7), (4, 0.5, 7), (1, 0.5, 7)]


def test_a_file_that_is_closed_is_a_value_error(codec):
    with Image.open(io.BytesIO(file_of(codec.picture))) as image:
        pass
    with pytest.raises(ValueError, match="closed"):
        image.load()


def test_another_magic_is_not_ours():
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"\x9fRGX\r\n" + bytes(40)))


def test_a_broken_header_says_why():
    data = file_of(Picture(RGB))
    with pytest.raises(UnidentifiedImageError, match="header"):
        Image.open(io.BytesIO(data[:12]))
    with pytest.raises(OSError, match="header"):
        Image.open(io.BytesIO(data[:9] + bytes([data[9] ^ 1]) + data[10:]))


def test_a_bomb_is_pillows_own_error():
    header = bitstream.Header(10**9, 10**9, 0, b"four", tile=32768)
    data = file_of(Picture(RGB))
    start = len(bitstream._pack_header(bitstream.read_header(data)))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bitstream._pack_header(header) + data[start:]))


def test_errors_of_load_are_os_errors_and_usage_stays_a_value_error(codec):
    for error in (Corrupt("tile 3: checksum"), ModelError("no weights")):
        codec.error = error
        with pytest.raises(OSError, match=str(error)):
            Image.open(io.BytesIO(file_of(codec.picture))).load()
    codec.error = UsageError("steps is 0; allowed is 1 or more")
    with pytest.raises(ValueError, match="allowed"):
        Image.open(io.BytesIO(file_of(codec.picture))).load(steps=0)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 1.5}, {"realism": 1.1}, {"seed": -1}])
def test_load_refuses_what_is_out_of_range(codec, wrong):
    with pytest.raises(UsageError, match="allowed"):
        Image.open(io.BytesIO(file_of(codec.picture))).load(**wrong)
    assert codec.calls == []


@pytest.mark.parametrize("wrong", [{"quality": 101}, {"target_size": 0}, {"quality": 40, "target_bpp": 0.2}])
def test_save_refuses_what_is_out_of_range(codec, tmp_path, wrong):
    with pytest.raises(UsageError, match="allowed"):
        codec.picture.to_pillow().save(tmp_path / "a.rgn", **wrong)
    assert codec.calls == list(tmp_path.iterdir()) == []


def test_verify_checks_sums_without_decoding(codec):
    data = file_of(codec.picture)
    Image.open(io.BytesIO(data)).verify()
    with pytest.raises(OSError, match="latents"):
        Image.open(io.BytesIO(data[:-1] + bytes([data[-1] ^ 1]))).verify()
    assert codec.calls == []


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"target_size": 900}, {"target_bpp": 0.2, "quality": None}])
def test_save_hands_options_and_metadata_on(codec, options, tmp_path):
    codec.picture.to_pillow().save(tmp_path / "a.rgn", **options)
    picture, passed = codec.calls[0]
    assert passed == {name: value for name, value in options.items() if value is not None}
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert picture.metadata == METADATA
    assert (tmp_path / "a.rgn").read_bytes() == file_of(picture)


def test_options_of_save_replace_metadata(codec):
    exif = Image.Exif()
    exif[0x0112] = 3
    image = codec.picture.to_pillow()
    image.save(io.BytesIO(), "REGRAIN", icc_profile=None, exif=exif, xmp="<y/>")
    assert codec.calls[0][0].metadata == Metadata(None, exif.tobytes().removeprefix(b"Exif\0\0"), b"<y/>")
    image.save(io.BytesIO(), "REGRAIN", exif=b"")
    assert codec.calls[1][0].metadata == Metadata(METADATA.icc, None, METADATA.xmp)


def test_any_mode_of_pillow_is_saved(codec):
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"):
        Image.new(mode, (4, 3)).save(io.BytesIO(), "REGRAIN")
    assert all((call[0].width, call[0].height) == (4, 3) for call in codec.calls)


def test_errors_of_save(codec, tmp_path):
    codec.error = UsageError("quality is 101; allowed is 0 to 100")
    with pytest.raises(ValueError, match="allowed"):
        codec.picture.to_pillow().save(tmp_path / "a.rgn", quality=101)
    codec.error = ModelError("no weights")
    with pytest.raises(OSError, match="no weights"):
        codec.picture.to_pillow().save(tmp_path / "a.rgn")
    assert not list(tmp_path.iterdir())


def test_imageio_opens_it(codec, tmp_path):
    iio = pytest.importorskip("imageio.v3")
    (tmp_path / "a.rgn").write_bytes(file_of(codec.picture))
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.rgn"), RGB)
    np.testing.assert_array_equal(iio.imread(file_of(codec.picture)), RGB)
    iio.imwrite(tmp_path / "b.rgn", RGB, quality=40)
    assert codec.calls[-1][1] == {"quality": 40}


def with_orientation(turn=6):
    exif = Image.Exif()
    exif[0x0112] = turn
    return Picture(RGB, None, Metadata(b"profile", exif.tobytes().removeprefix(b"Exif\0\0"), b"<x/>"))


def test_metadata_is_there_at_open_and_stays(codec):
    codec.picture = with_orientation()
    image = Image.open(io.BytesIO(file_of(codec.picture)))
    assert (image.info["icc_profile"], image.info["xmp"], image.getexif()[0x0112]) == (b"profile", b"<x/>", 6)
    assert codec.calls == []
    image.load()
    assert image.getexif()[0x0112] == 6
    assert ImageOps.exif_transpose(image).size == (6, 5)
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(file_of(codec.picture)))).size == (6, 5)


def test_what_is_taken_out_of_info_does_not_come_back_by_loading(codec):
    image = Image.open(io.BytesIO(file_of(codec.picture)))
    del image.info["exif"]
    image.load()
    assert set(image.info) == {"icc_profile", "xmp"}


def test_metadata_longer_than_the_first_read_is_there_and_tiles_are_not_read(codec):
    picture = Picture(RGB, None, Metadata(bytes(100_000), METADATA.exif, b"<x/>"))
    file = io.BytesIO(file_of(picture, bytes(10**7)))
    image = Image.open(file)
    assert (len(image.info["icc_profile"]), image.info["xmp"]) == (100_000, b"<x/>")
    assert file.tell() < 500_000


def test_damaged_metadata_is_left_out_at_open_and_said_by_verify(codec):
    data = bytearray(file_of(codec.picture))
    data[data.index(b"profile")] ^= 1
    image = Image.open(io.BytesIO(bytes(data)))
    assert set(image.info) == {"exif", "xmp"}
    with pytest.raises(OSError, match="icc"):
        image.verify()


@pytest.mark.parametrize("options", [{"qualty": 4}, {"steps": 3}, {"optimize": True}])
def test_save_refuses_names_that_encode_does_not_have(codec, tmp_path, options):
    with pytest.raises(UsageError, match=rf"^{next(iter(options))} is no option of save; allowed are .*quality"):
        codec.picture.to_pillow().save(tmp_path / "a.rgn", **options)
    with pytest.raises(UsageError, match=r"is no option of load; allowed are .*budget"):
        Image.open(io.BytesIO(file_of(codec.picture))).load(quality=4)
    assert codec.calls == list(tmp_path.iterdir()) == []


def test_save_and_load_take_what_encode_and_decode_take(codec):
    given = {"tile": 64, "method": "palette", "model": "progressive", "device": "cpu", "quality": 3}
    codec.picture.to_pillow().save(io.BytesIO(), "RGN", **given, max_pixels=1000)
    assert codec.calls[-1][1] == given
    image = Image.open(io.BytesIO(file_of(codec.picture)))
    others = {"eta": 0.5, "init_noise": 0.5, "partial": True, "model": "palette", "device": "cpu", "max_memory": 10**9}
    others |= {"sampler": "ancestral", "eta": 0.0, "realism_map": "mask.png", "region": (0, 0, 4, 4)}
    image.load(**others)
    assert codec.others == others | {
        "max_size": None,
        "repair": None,
        "repair_strength": None,
        "fill": False,
        "fast": False,
    }
    image.load(steps="auto", budget=2)
    assert codec.calls[-1][1].seconds == 2
    image.load(steps=3)
    assert codec.calls[-1][1] == 3
    knobs = set(inspect.signature(regrain.decode).parameters) - {"data"}
    assert set(image._settings) == knobs


def test_steps_by_the_clock_are_taken_once(codec):
    image = Image.open(io.BytesIO(file_of(codec.picture)))
    image.load(steps="auto")
    for _ in range(3):
        image.getpixel((0, 0))
    image.load(steps="auto")
    assert len(codec.calls) == 1


def test_pillows_flag_for_truncated_files_is_heeded(codec, monkeypatch):
    for flag, given, wanted in ((False, {}, False), (True, {}, True), (True, {"partial": False}, False)):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", flag)
        Image.open(io.BytesIO(file_of(codec.picture))).load(**given)
        assert codec.others["partial"] is wanted


def test_a_cut_file_is_loaded_as_far_as_it_goes(monkeypatch):
    data = regrain.encode(np.zeros((64, 160, 3), np.uint8), tile=64)[:-3]
    with pytest.raises(OSError, match="cut short"):
        Image.open(io.BytesIO(data)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.getpixel((0, 0))[0] < 30


@pytest.mark.parametrize("name", ["RGN", "REGRAIN", "rgn"])
def test_both_names_of_the_format(codec, name):
    file = io.BytesIO()
    codec.picture.to_pillow().save(file, name)
    assert Image.open(file, formats=[name]).format == "REGRAIN"
    assert Image.MIME[name.upper()] == mimetypes.guess_type("a.rgn")[0] == "image/x-regrain"


def test_one_picture_alone_is_saved(codec):
    image = codec.picture.to_pillow()
    image.save(io.BytesIO(), "RGN", save_all=True)
    with pytest.raises(UsageError, match="append_images"):
        image.save(io.BytesIO(), "RGN", save_all=True, append_images=[image])
    frames = io.BytesIO()
    Image.new("L", (4, 4)).save(frames, "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)])
    with pytest.raises(UsageError, match="2 frames; allowed is one"):
        Image.open(frames).save(io.BytesIO(), "RGN", save_all=True)


def test_a_pickled_image_is_loaded_again_with_other_settings(codec):
    codec.picture = with_orientation()
    image = Image.open(io.BytesIO(file_of(codec.picture)))
    image.load(seed=3, model="palette")
    image._settings["model"] = types.SimpleNamespace(fingerprint=b"four")
    again = pickle.loads(pickle.dumps(image))
    again.load()
    assert len(codec.calls) == 1
    np.testing.assert_array_equal(np.asarray(again), RGB)
    again.load(steps=4)
    assert codec.calls[-1][1:] == (4, 1.0, 3)
    assert codec.others["model"] is None
    assert again.getexif()[0x0112] == 6
    again.close()


def test_types_are_resolved():
    assert typing.get_type_hints(regrain.pillow.RegrainImageFile.load)["settings"] is typing.Any
