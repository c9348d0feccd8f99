"""Weights by what a picture shows: those for screens lie in the package as an adapter, and files name it."""

import json

import numpy as np
import pytest
from PIL import Image

import reference_reader
import regrain
import regrain.pillow
from packaged import write_adapter, write_package
from regrain import codec, registry, shipped
from regrain.bitstream import Method
from regrain.cli import main
from regrain.content import classify, shares
from regrain.errors import ModelError, UsageError
from scripts import ship_adapter

LINES = np.where((np.arange(320) % 4 < 1) & (np.arange(320)[:, None] % 96 > 20), 0, 255).astype(np.uint8)
SCREEN = np.repeat(np.where(np.arange(320)[:, None] % 96 < 60, LINES, 255).astype(np.uint8)[..., None], 3, 2)
PHOTO = np.random.default_rng(1).integers(0, 256, (96, 80, 3), np.uint8)
DEFAULT = registry.shipped_fingerprint(Method.CONDITIONAL).hex()


@pytest.fixture(scope="module", params=["screens"])
def package(request, tmp_path_factory):
    """The fingerprint of the weights for screens, in a package that has some."""
    folder = write_package(tmp_path_factory.mktemp("package"), screens=request.param == "screens")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "files", lambda _package: folder)
        yield json.loads((folder / "weights" / "index.json").read_text()).get("conditional-screen")


bare = pytest.mark.parametrize("package", ["bare"], indirect=True)


@pytest.mark.parametrize(
    ("pixels", "content", "shown"),
    [(SCREEN, "auto", "screen"), (SCREEN, "photo", "photo"), (PHOTO, "auto", "photo"), (PHOTO, "screen", "screen")],
)
def test_a_file_names_the_weights_of_its_content_and_decodes_by_them(package, pixels, content, shown):
    data = regrain.encode(pixels, quality=20, content=content)
    info = regrain.inspect(data)
    assert (info.content, info.fingerprint) == (shown, {"photo": DEFAULT, "screen": package}[shown])
    by_name = np.asarray(regrain.decode(data, model="conditional"))
    assert np.array_equal(np.asarray(regrain.decode(data)), by_name)
    assert by_name.shape == pixels.shape


def test_weights_for_screens_are_others(package):
    """Else the choice would turn nothing: the files differ beyond the name of their weights, and so do the pictures."""
    photo, screen = (regrain.encode(SCREEN, quality=20, content=content) for content in ("photo", "screen"))
    assert photo[-200:] != screen[-200:]
    assert not np.array_equal(*(np.asarray(regrain.decode(data)) for data in (photo, screen)))


def test_both_backends_read_a_file_for_screens(package):
    data = regrain.encode(PHOTO, quality=20, content="screen")
    assert data == regrain.encode(PHOTO, quality=20, content="screen", device="cpu")
    onnx, torch = (np.asarray(regrain.decode(data, device=device), int) for device in ("onnx", "cpu"))
    assert np.abs(onnx - torch).max() <= 12  # bytes beside floats
    assert np.abs(onnx - torch).mean() <= 0.5


def test_a_reader_of_the_text_makes_the_same_weights_of_an_adapter(package):
    paths = (shipped.shipped_weights(Method.CONDITIONAL, bytes.fromhex(name)) for name in (package, DEFAULT))
    assert reference_reader.read_weights(*paths).fingerprint.hex() == package


def test_every_way_to_encode_takes_it(package, tmp_path, capsys):
    data = regrain.encode(PHOTO, quality=20, content="screen")
    Image.fromarray(PHOTO).save(tmp_path / "one.rgn", quality=20, content="screen")
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    assert main(["encode", str(tmp_path / "photo.png"), "-q", "20", "--content", "screen", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["content"] == "screen"
    assert main(["encode", str(tmp_path / "photo.png"), f"{tmp_path}/out/", "-q", "20", "--content", "screen"]) == 0
    made = [tmp_path / name for name in ("one.rgn", "photo.rgn", "out/photo.rgn")]
    assert {path.read_bytes() for path in made} == {data}
    assert list(regrain.encode_many([PHOTO], quality=20, content="screen")) == [data]
    assert regrain.Encoder(quality=20, content="screen")([PHOTO]) == [data]
    assert regrain.latents(PHOTO, quality=20, content="screen").fingerprint.hex() == package
    capsys.readouterr()
    assert main(["inspect", str(made[0])]) == 0
    assert f"latents {package} for screens" in capsys.readouterr().out
    assert main(["decode", str(made[0]), str(tmp_path / "back.png"), "--quiet"]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back.png")), np.asarray(regrain.decode(data)))


@bare
def test_without_weights_for_screens_there_are_none_and_auto_is_a_photo(package, monkeypatch):
    assert package is None
    monkeypatch.setattr(codec, "classify", None)  # not even asked
    assert regrain.encode(SCREEN, quality=20) == regrain.encode(SCREEN, quality=20, content="photo")
    for encode in (regrain.encode, regrain.latents):
        with pytest.raises(ModelError, match=r"^this package has no conditional weights for the content screen$"):
            encode(SCREEN, content="screen")


def test_only_the_default_method_has_weights_for_screens(package):
    with pytest.raises(ModelError, match="no palette weights for the content screen"):
        regrain.encode(SCREEN, method="palette", content="screen")
    assert regrain.inspect(regrain.encode(SCREEN[:32, :32], method="palette")).content == "photo"


@pytest.mark.parametrize("model", ["conditional", "no file"])
def test_a_model_and_the_content_screen_do_not_go_together(model):
    for take in (regrain.encode, lambda _, **options: regrain.Encoder(**options)):
        with pytest.raises(UsageError, match="content screen and a model are given together"):
            take("no file", model=model, content="screen")


def test_weights_that_are_not_the_package_s_have_no_content(package, tmp_path):
    other = registry.load(shipped.shipped_weights(Method.CONDITIONAL))
    data = regrain.encode(SCREEN, model=other)
    assert regrain.inspect(data).content == "photo"  # they are the package's
    assert shipped.content_of(Method.CONDITIONAL, b"\1\2\3\4") is None


@bare
def test_a_script_puts_an_adapter_into_the_package(package, tmp_path):
    (tmp_path / "index.json").write_text(json.dumps({"conditional": DEFAULT}))
    fingerprint = write_adapter(tmp_path / "adapter.safetensors").hex()
    ship_adapter.ship(tmp_path / "adapter.safetensors", "screen", tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index == {"conditional": DEFAULT, "conditional-screen": fingerprint}
    stored = tmp_path / f"conditional-{fingerprint}.safetensors"
    assert stored.read_bytes() == (tmp_path / "adapter.safetensors").read_bytes()
    with pytest.raises(SystemExit, match="no adapter"):
        ship_adapter.ship(shipped.shipped_weights(Method.CONDITIONAL), "screen", tmp_path)


def test_lines_on_flat_ground_are_a_screen():
    assert classify(SCREEN) == classify(SCREEN[..., :1]) == "screen"
    assert shares(SCREEN).drawn > 0.9


@pytest.mark.parametrize("height", [1, 15, 16, 17, 40])
def test_what_is_too_small_to_tell_is_a_photo(height):
    for width in (1, 16, 33):
        assert classify(SCREEN[:height, :width]) == "photo"


def test_noise_flat_ground_and_soft_edges_are_photos():
    ramp = np.repeat(np.linspace(0, 255, 320).astype(np.uint8)[None], 320, 0)
    for pixels in (PHOTO, np.full((320, 320, 3), 200, np.uint8), ramp[..., None], 255 - ramp[..., None]):
        assert classify(pixels) == "photo"


def test_what_can_be_seen_through_does_not_count():
    """A photo cut out has flat ground beside its edge, which nobody sees."""
    through = np.where(np.arange(320) < 300, 0, 255).astype(np.uint8)
    assert classify(SCREEN, np.repeat(through[None], 320, 0)) == "photo"
    assert classify(SCREEN, np.full((320, 320), 255, np.uint8)) == "screen"


def test_a_huge_picture_is_sampled():
    """A view of one row repeated, 10 gigapixels that take no memory: to look at all of them would never end."""
    huge = np.broadcast_to(np.uint8([[[9, 9, 9]]]), (100_000, 100_000, 3))
    assert shares(huge).flat == 1
