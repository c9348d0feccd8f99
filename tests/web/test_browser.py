"""In a real browser: the symbols of Python to the last, its pixels within two levels of floats, its errors by name."""

import dataclasses
import hashlib
import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrain import bitstream, codec, image
from regrain.image import Metadata, Picture
from scripts.fuzz import GOLDEN as FUZZED
from scripts.fuzz import MOST, hostile, outcome
from web.browser import pack, perform, unpack

FOLDER = Path(__file__).resolve().parents[1] / "golden"
PHOTO = Path(__file__).resolve().parents[2] / "demo" / "photo.png"
DIGESTS = {
    name: entry["symbols"]
    for name, entry in json.loads((FOLDER / "golden.json").read_text(encoding="utf-8")).items()
    if "symbols" in entry
}
FILES = {name: (FOLDER / f"{name}.rgn").read_bytes() for name in DIGESTS}
SEED = 2**63 + 5
DRAWINGS = [{"realism": 0}, {"realism": 1, "seed": SEED}]
STEPS = [{"steps": 2, "seed": 7}, {"steps": 3, "seed": 7, "realism": 0.5, "eta": 1}, {"steps": 2, "realism": 0}]
BLOCKS = Metadata(icc=b"a profile", exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0", xmp=b"<x/>")
EXTRAS, TILES = FILES["extras"], FILES["plain"]
SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
"""Flags by which Chromium's WebGPU has an adapter on any machine: the processor plays the graphics card."""
SEEN = "Object.defineProperty(navigator, 'gpu', {value: {requestAdapter: async () => ({info: {}})}});"
"""A page that sees a graphics card, while its worker has none."""
GONE = "throw new Error('there is none');"
"""A worker for graphics cards that does not start."""
BROKEN = """
for (const name of ['createComputePipeline', 'createComputePipelineAsync']) {
  GPUDevice.prototype[name] = () => { fetch('/broken'); throw new Error('it compiles nothing'); };
}"""
"""A worker whose graphics card takes no program, at which ONNX Runtime aborts."""
USED = """{
  const submit = GPUQueue.prototype.submit;
  GPUQueue.prototype.submit = function (...all) { fetch("/submitted"); return submit.apply(this, all); };
}"""
"""A worker that says when it gives work to a graphics card."""
FUZZ = 80
FAITHFUL = {"maxPixels": MOST, "realism": 0}


def rewritten(data: bytes, **header: object) -> bytes:
    """The file with another header, its checksum right."""
    start = bitstream.layout(data)[0].length
    return bitstream._pack_header(dataclasses.replace(bitstream.read_header(data), **header)) + data[start:]


def with_alpha(alpha: bytes) -> bytes:
    return bitstream.write(dataclasses.replace(bitstream.read(EXTRAS), alpha=alpha))


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


HOSTILE = {
    "empty": (b"", "NotRegrain"),
    "text": (b"no picture, no file of ours\n" * 9, "NotRegrain"),
    "magic": (b"\x89PNG\r\n\x1a\n" + TILES[8:], "NotRegrain"),
    "newlines": (TILES.replace(b"\r\n", b"\n"), "Corrupt"),
    "future": (TILES[:6] + b"\x02" + TILES[7:], "UnsupportedVersion"),
    "truncated": (TILES[:-1], "Truncated"),
    "header": (TILES[:15], "Truncated"),
    "longer": (TILES + b"\0", "Corrupt"),
    "flipped": (TILES[:-9] + bytes([TILES[-9] ^ 16]) + TILES[-8:], "Corrupt"),
    "weights": (rewritten(TILES, fingerprint=b"\1\2\3\4"), "ModelError"),
    "giant": (rewritten(TILES, width=10**9, height=10**9), "LimitError"),
    "needle": (rewritten(TILES, width=1, height=2**31 - 1), "LimitError"),
    "larger": (rewritten(FILES["colour"], width=900, height=900), "Corrupt"),
    "other quality": (rewritten(FILES["colour"], quality=3), "Corrupt"),
    "method": ((FOLDER / "progressive.rgn").read_bytes(), "UnsupportedVersion"),
    "no alpha": (with_alpha(b""), "Corrupt"),
    "alpha of no kind": (with_alpha(b"\x09\0"), "Corrupt"),
    "alpha that is short": (with_alpha(b"\x02" + deflated(bytes(40 * 24 - 1))), "Corrupt"),
    "alpha that is long": (with_alpha(b"\x02" + deflated(bytes(40 * 24 + 1))), "Corrupt"),
    "alpha that is a bomb": (with_alpha(b"\x02" + deflated(bytes(2**26))), "Corrupt"),
    "alpha that goes on": (with_alpha(b"\x02" + deflated(bytes(40 * 24)) + b"\0"), "Corrupt"),
    "alpha that is cut": (with_alpha(b"\x02" + deflated(bytes(40 * 24))[:-1]), "Corrupt"),
    "alpha that is no stream": (with_alpha(b"\x02\xff\xff\xff"), "Corrupt"),
}


def wide_picture() -> Picture:
    """Two colours and alpha, which has every value."""
    alpha = np.arange(70 * 100, dtype=np.int64).reshape(70, 100) // 27 % 256
    row = np.mgrid[:70, :100][0]
    pixels = np.stack([row * 3, 255 - row * 2, np.full_like(row, 90)], 2)
    return Picture(pixels.astype(np.uint8), alpha.astype(np.uint8), BLOCKS)


def rgba(picture: Picture) -> bytes:
    alpha = np.full((picture.height, picture.width), 255, np.uint8) if picture.alpha is None else picture.alpha
    return np.dstack([np.broadcast_to(picture.pixels, (*alpha.shape, 3)), alpha]).tobytes()


def given(picture: Picture) -> dict[str, object]:
    metadata = {name: pack(block) for name, block in vars(picture.metadata).items() if block}
    return {"width": picture.width, "height": picture.height, "data": pack(rgba(picture)), "metadata": metadata}


def sent(options: dict[str, float]) -> dict[str, object]:
    """Options as JSON can hold them: a seed of 64 bits travels as text."""
    return {name: str(number) if name == "seed" else number for name, number in options.items()}


def fuzzed() -> dict[int, bytes]:
    """The first whole-file mutations of the conditional method."""
    files = {number: hostile(number)[0] for number in range(FUZZ)}
    return {number: data for number, data in files.items() if data[7:8] == b"\0"}


JOBS: dict[object, dict[str, object]] = {
    **{("symbols", name): {"kind": "symbols", "bytes": pack(data)} for name, data in FILES.items()},
    **{
        ("decode", name, at): {"kind": "decode", "bytes": pack(FILES[name]), "options": sent(options)}
        for name in FILES
        for at, options in enumerate(DRAWINGS)
    },
    **{
        ("steps", at): {"kind": "decode", "bytes": pack(FILES["colour-2"]), "options": sent(options)}
        for at, options in enumerate(STEPS)
    },
    "screen in steps": {"kind": "decode", "bytes": pack(FILES["screen"]), "options": sent(STEPS[0])},
    "map": {"kind": "map", "bytes": pack(FILES["colour-2"]), "options": {"seed": str(SEED), "steps": 1}, "seeds": 4},
    "seeds": {"kind": "map", "bytes": pack(TILES), "seeds": 1},
    **{("hostile", name): {"kind": "decode", "bytes": pack(data)} for name, (data, _) in HOSTILE.items()},
    **{
        ("fuzz", number): {"kind": "decode", "bytes": pack(data), "options": FAITHFUL, "quiet": True}
        for number, data in fuzzed().items()
    },
    "photo": {"kind": "encode", "file": pack(PHOTO.read_bytes()), "options": {"quality": 28}},
    "target": {"kind": "encode", "file": pack(PHOTO.read_bytes()), "options": {"targetSize": 3000}},
    "wide": {"kind": "encode", "picture": given(wide_picture()), "options": {"quality": 40, "tile": 64}},
    "grey": {"kind": "encode", "picture": given(image.read(FOLDER / "grey.png")), "options": {"quality": 60}},
    "png": {"kind": "png", "bytes": pack(EXTRAS), "options": {"realism": 0}},
    "quality": {"kind": "encode", "picture": given(wide_picture()), "options": {"quality": 101}},
    "realism": {"kind": "decode", "bytes": pack(TILES), "options": {"realism": -0.1}},
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(site):
    """All jobs on one page, in one thread."""
    return perform(site, list(JOBS.values()))


@pytest.fixture
def results(answers):
    return dict(zip(JOBS, answers["jobs"], strict=True))


def value(result: dict) -> dict:
    assert "error" not in result, result["error"]
    return result["value"]


def pixels(result: dict) -> np.ndarray:
    picture = value(result)
    return np.frombuffer(unpack(picture["data"]), np.uint8).reshape(picture["height"], picture["width"], 4)


def in_floats(data: bytes, **options: Any) -> Picture:
    """As torch decodes it, which computes in floats as the browser does."""
    return codec.decode(data, device="cpu", **options)


def assert_close(found: np.ndarray, wanted: Picture, most: int = 2) -> None:
    apart = np.abs(found[..., :3].astype(int) - wanted.pixels)
    assert apart.max() <= most
    assert np.array_equal(found[..., 3], np.full_like(found[..., 3], 255) if wanted.alpha is None else wanted.alpha)


@pytest.mark.parametrize("name", FILES)
def test_the_symbols_are_pythons(results, name):
    digest = hashlib.sha256()
    for tile in value(results["symbols", name]):
        digest.update(unpack(tile["z"]) + unpack(tile["y"]))
    assert digest.hexdigest() == DIGESTS[name]


@pytest.mark.parametrize("at", range(len(DRAWINGS)))
@pytest.mark.parametrize("name", FILES)
def test_the_pixels_are_pythons(results, name, at):
    wanted = in_floats(FILES[name], **DRAWINGS[at])
    assert_close(pixels(results["decode", name, at]), wanted)
    metadata = {key: pack(block) for key, block in vars(wanted.metadata).items() if block}
    assert value(results["decode", name, at])["metadata"] == metadata


def test_weights_for_screens_come_between_two_files_for_photos(results):
    """Before it and after it files of other weights were decoded; its own are not theirs."""
    assert bitstream.read_header(FILES["screen"]).fingerprint != bitstream.read_header(FILES["colour"]).fingerprint
    assert_close(pixels(results["screen in steps"]), in_floats(FILES["screen"], **STEPS[0]))


def test_a_seed_draws(results):
    assert not np.array_equal(*(pixels(results["decode", "colour", at]) for at in range(2)))


@pytest.mark.parametrize("at", range(len(STEPS)))
def test_more_steps_are_the_samplers(results, at):
    found = pixels(results["steps", at])
    assert_close(found, in_floats(FILES["colour-2"], **STEPS[at]))


def test_the_map_of_what_was_invented_is_pythons(results):
    found = value(results["map"])
    deviation = np.frombuffer(unpack(found["values"]), "<f4").reshape(found["height"], found["width"])
    wanted = codec.deviation_map(lambda seed: in_floats(FILES["colour-2"], seed=seed, steps=2).pixels, 4, SEED)
    assert found["seeds"] == 4
    assert wanted.mean() > 0.5
    assert np.abs(deviation - wanted).max() < 1
    assert np.abs(deviation - wanted).mean() < 0.05
    assert [stage for stage, _ in results["map"]["stages"]][-1] == "seeds"
    assert results["seeds"]["error"]["name"] == "UsageError"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_its_error(results, name):
    result = results["hostile", name]
    assert result["error"]["name"] == HOSTILE[name][1], result
    assert 0 < len(result["error"]["message"]) < 400


def test_mutations_end_as_in_python(results, caplog):
    caplog.set_level(logging.ERROR)
    for data in FUZZED:
        codec.decode(data, steps=1, realism=0)
    for number, data in fuzzed().items():
        found = results["fuzz", number]
        assert found.get("error", {}).get("name", "decoded") == outcome(data, partial=False), (number, found)


def test_a_photo_of_the_page_decodes_in_python(results):
    data = unpack(value(results["photo"])["bytes"])
    own = codec.encode(image.read(PHOTO), quality=28)
    assert abs(len(data) - len(own)) <= 0.01 * len(own)
    back, kept = codec.decode(data, realism=0), codec.decode(own, realism=0)
    assert np.abs(back.pixels.astype(int) - kept.pixels).mean() < 0.5


def test_a_target_is_kept(results):
    found = value(results["target"])
    assert 2900 < len(unpack(found["bytes"])) <= 3000
    assert bitstream.read_header(unpack(found["bytes"])).quality == found["quality"] * 256


def test_alpha_metadata_and_tiles_of_the_page_are_read_by_python(results):
    picture, data = wide_picture(), unpack(value(results["wide"])["bytes"])
    back = codec.decode(data, realism=0)
    assert bitstream.tile_count(bitstream.read_header(data)) == 4
    assert np.array_equal(back.alpha, picture.alpha)
    assert back.metadata == picture.metadata
    seen = picture.alpha > 0
    kept = codec.decode(codec.encode(picture, quality=40, tile=64), realism=0)
    error, own = (np.abs(one.pixels[seen].astype(int) - picture.pixels[seen]).mean() for one in (back, kept))
    assert error < 1.1 * own + 0.5


def test_grey_stays_grey(results):
    data = unpack(value(results["grey"])["bytes"])
    assert bitstream.read_header(data).grey
    assert codec.decode(data).pixels.shape[2] == 1


def test_a_png_keeps_what_the_file_says(results, tmp_path):
    (tmp_path / "back.png").write_bytes(unpack(value(results["png"])))
    back, wanted = image.read(tmp_path / "back.png"), in_floats(EXTRAS, realism=0)
    assert np.abs(back.pixels.astype(int) - wanted.pixels).max() <= 2
    assert np.array_equal(back.alpha, wanted.alpha)
    assert (back.metadata.exif, back.metadata.xmp) == (wanted.metadata.exif, wanted.metadata.xmp)


@pytest.mark.parametrize("name", ["quality", "realism"])
def test_what_is_out_of_range_is_refused(results, name):
    assert results[name]["error"]["name"] == "UsageError"
    assert name in results[name]["error"]["message"]


def test_progress_goes_from_loading_to_the_picture(results):
    stages = results["decode", "colour", 0]["stages"]
    assert [stage for stage, _ in stages][-1] == "picture"
    assert stages[-1][1] == 1
    assert all(0 <= done <= 1 for _, done in stages)


def test_the_first_decode_transfers_at_most_14_megabytes(answers):
    fetched = dict(answers["requests"])
    assert not any("sampler" in path or "encoder" in path for path in list(fetched)[:8])
    parts = [size for path, size in fetched.items() if "sampler" not in path and "encoder" not in path]
    assert sum(parts) < 14_000_000


def test_threads_give_the_same_symbols(site):
    names = ["colour", "tiles", "extras"]
    jobs = [JOBS["symbols", name] for name in names]
    answers = perform(site, jobs, isolated=True, options={"threads": 2})
    assert answers["isolated"]
    for name, result in zip(names, answers["jobs"], strict=True):
        digest = hashlib.sha256()
        for tile in value(result):
            digest.update(unpack(tile["z"]) + unpack(tile["y"]))
        assert digest.hexdigest() == DIGESTS[name]


def drawings(site: Path, drawn: list[dict[str, float]], **kinds: object) -> tuple[list[np.ndarray], dict]:
    """Pixels of a golden file, drawn in each of these ways, and all that was asked of the site."""
    jobs = [{"kind": "decode", "bytes": pack(EXTRAS), "options": sent(options)} for options in drawn]
    answers = perform(site, jobs, **kinds)
    return [pixels(result) for result in answers["jobs"]], dict(answers["requests"])


@pytest.mark.parametrize("worker", ["", GONE], ids=["no adapter", "no worker"])
def test_where_a_graphics_card_fails_the_processor_decodes(site, worker):
    before = {"/codec/index.js": SEEN, "/codec/worker-gpu.js": worker}
    (found,), fetched = drawings(site, [DRAWINGS[1]], before=before)
    assert_close(found, in_floats(EXTRAS, **DRAWINGS[1]))
    assert "/codec/worker-gpu.js" in fetched
    assert ("/codec/worker.js" in fetched) == bool(worker)


def test_where_a_graphics_card_takes_no_program_the_processor_decodes(site):
    kinds = {"flags": SOFTWARE, "options": {"gpu": True}, "before": {"/codec/worker-gpu.js": BROKEN}}
    (found,), fetched = drawings(site, [DRAWINGS[1]], **kinds)
    assert_close(found, in_floats(EXTRAS, **DRAWINGS[1]))
    if "/broken" not in fetched:
        pytest.skip("needs WebGPU in software")
    assert "/codec/worker.js" in fetched


def test_where_there_is_no_graphics_card_nothing_of_it_is_fetched(site):
    _, fetched = drawings(site, [DRAWINGS[0]], options={"gpu": True})
    assert "/codec/worker.js" in fetched
    assert "/codec/worker-gpu.js" not in fetched


@pytest.mark.skipif("WEBGPU" not in os.environ, reason="needs WEBGPU=1: in software it takes minutes")
def test_a_graphics_card_draws_nearly_the_same(site):
    drawn = [{"realism": 0}, {"realism": 1, "seed": 7}, {"steps": 2, "seed": 7}]
    kinds = {"flags": SOFTWARE, "options": {"gpu": True}, "before": {"/codec/worker-gpu.js": USED}}
    found, fetched = drawings(site, drawn, **kinds)
    assert "/submitted" in fetched
    for picture, options in zip(found, drawn, strict=True):
        assert_close(picture, in_floats(EXTRAS, **options))
