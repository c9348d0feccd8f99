"""Two readers of one text, docs/FORMAT.md: the library and `reference_reader`. They agree to the last symbol."""

import hashlib
import json
import re
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import reference_reader as reference
from entropy import reference_coder
from regrain import adapter, bitstream, checkpoint, codec, registry
from regrain.conditional import grid
from regrain.conditional.coding_order import coding_order
from regrain.conditional.config import TransformConfig
from regrain.conditional.decode import decode_tile
from regrain.conditional.transform import MeanBranch
from regrain.entropy import integer
from regrain.errors import RegrainError
from regrain.image import Foreground, decode_alpha
from regrain_lab.trainable import wall
from regrain_lab.trainable.context_model import code_steps

FOLDER = Path(__file__).parent / "golden"
ENTRIES = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
GOLDEN = {name: entry for name, entry in ENTRIES.items() if "symbols" in entry}
FILES = {name: (FOLDER / f"{name}.rgn").read_bytes() for name in GOLDEN}
FORMAT_TEXT = Path(__file__).parents[1] / "docs" / "FORMAT.md"


@lru_cache
def readers(fingerprint):
    """The reference's weights and the library's model of some latents."""
    path = registry.shipped_weights(bitstream.Method.CONDITIONAL, fingerprint)
    base = adapter.base_fingerprint(checkpoint.load_metadata(path))
    where = None if base is None else registry.shipped_weights(bitstream.Method.CONDITIONAL, base)
    model = registry.model_for(None, bitstream.Method.CONDITIONAL, None, fingerprint)
    return reference.read_weights(path, where), model


@pytest.fixture(scope="module")
def weights():
    """Those of the file `plain`, which most others share."""
    return readers(bitstream.read_header(FILES["plain"]).fingerprint)[0]


@pytest.fixture(scope="module")
def model():
    return readers(bitstream.read_header(FILES["plain"]).fingerprint)[1]


def library(data, model):
    """Alpha and the (z, y) of every tile, by the library."""
    stream = bitstream.read(data)
    header = stream.header
    regions = grid.tiles(*grid.latent_size(header.height, header.width), header.tile // grid.STRIDE)
    jobs = enumerate(zip(stream.tiles, regions, strict=True))
    tiles = [decode_tile(model.latents, coded, index, region, header.quality)[:2] for index, (coded, region) in jobs]
    return stream.alpha and decode_alpha(stream.alpha, header.height, header.width), tiles


def assert_both_read(data, weights, model):
    """Both readers take the file and agree; return what the reference read."""
    picture = reference.read(data, weights)
    alpha, tiles = library(data, model)
    np.testing.assert_array_equal(picture.alpha, alpha)
    for ours, theirs in zip(picture.tiles, tiles, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    return picture


def assert_both_refuse(data, weights, model):
    with pytest.raises((reference.CorruptError, reference.UnsupportedError)):
        reference.read(data, weights)
    with pytest.raises(RegrainError):
        codec.decode(data, model=model)


def with_byte(data, at, value):
    return data[:at] + bytes([value]) + data[at + 1 :]


def framed(kind, payload):
    size, frame = len(payload), bytes([kind])
    while size > 127:
        size, frame = size // 128, frame + bytes([size % 128 + 128])
    frame += bytes([size])
    return frame + zlib.crc32(frame + payload).to_bytes(4, "little") + payload


def apart(data):
    """The header without its CRC, and the sections as (type, payload)."""
    source = reference.Source(data)
    reference.read_header(source)
    head, sections = data[: source.at - 4], []
    while source.at < len(data):
        sections.append(reference.read_section(source))
    return head, sections


def together(head, sections):
    return head + zlib.crc32(head).to_bytes(4, "little") + b"".join(framed(*section) for section in sections)


def with_head(change):
    """The file whose header, without its CRC, is changed; all CRCs are right here and below."""
    head, sections = apart(FILES["plain"])
    return together(change(head), sections)


def with_sections(change, name="plain"):
    """The file whose list of sections is changed."""
    head, sections = apart(FILES[name])
    return together(head, change(sections))


def with_latents(change):
    """The file whose first tile has other coded latents."""
    return with_sections(lambda sections: [(16, b"\0" + change(sections[0][1][1:])), *sections[1:]])


def with_alpha(change):
    """The file whose ALPHA is made of random bytes."""
    return with_sections(lambda sections: [(1, change(plane().tobytes())), *sections[1:]], "extras")


def with_foreground(change):
    """The file `plain` behind a page of rules, one cell of 128 bytes or more, that is changed."""
    head, sections = apart(FILES["plain"])
    header = reference.read_header(reference.Source(FILES["plain"]))
    page = np.random.default_rng(1).choice(np.array([0, 255], np.uint8), (header.height, header.width, 1), p=[0.3, 0.7])
    return together(head, [(5, change(Foreground.of(page).payload(50))), *sections])


def raw(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(data)) + packer.flush()


def plane():
    """Alpha for the file `extras`."""
    header = reference.read_header(reference.Source(FILES["extras"]))
    return np.random.default_rng(0).integers(0, 256, (header.height, header.width), np.uint8)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_symbols_are_those_of_the_library(name):
    picture = assert_both_read(FILES[name], *readers(bitstream.read_header(FILES[name]).fingerprint))
    total = hashlib.sha256(b"".join(symbols.tobytes() for tile in picture.tiles for symbols in tile))
    assert total.hexdigest() == GOLDEN[name]["symbols"]
    assert (picture.header.width, picture.header.height) == (GOLDEN[name]["width"], GOLDEN[name]["height"])


def random_weights(rng):
    """Weights of 6 channels in slices of 2 and 4, with integers of every size."""
    sizes = ((8, 4, 127), (8, 8, 127), (6, 8, 30), (24, 10, 90), (2, 24, 30), (24, 10, 90), (4, 24, 30))
    layers = [(rng.integers(-m, m + 1, (o, i, 3, 3)), rng.integers(-999, 1000, o)) for o, i, m in sizes]
    return reference.Weights(b"", layers, rng.integers(-500, 1000, (6, 6)), [])


def test_the_scale_indices_are_the_same_for_any_weights_quality_z_and_y():
    rng, config = np.random.default_rng(1), TransformConfig(latent=6, hyper=4, hyper_width=4, slices=(2,))
    branch, mean = wall.ScaleBranch(4, 8, 6, [(2, 2), (2, 4)]).double(), MeanBranch(config)
    for quality in [0, 2560, 25600, *rng.integers(0, 25601, 17).tolist()]:
        weights = random_weights(rng)
        for ours, theirs in zip(weights.layers, branch.convolutions, strict=True):
            theirs.set_integers(*map(torch.from_numpy, ours))
        z = rng.integers(-160, 161, (4, 2, 3))
        y = rng.integers(-(2**31), 2**31, (6, 7, 10)) >> rng.integers(0, 32, (6, 7, 10))
        offset = torch.from_numpy(integer.interpolate_offsets(weights.offsets, quality))[None]
        known, gain = torch.from_numpy(y)[None].float(), torch.ones(1, 6, 1, 1)
        z_hat = torch.from_numpy(z)[None].float()
        coded = code_steps(branch, mean, z_hat, gain, offset, (7, 10), lambda part, *_, y=known: y[:, part.channels])
        index = coded.scale_index[0].detach().numpy()
        assert len(np.unique(index)) > 20
        np.testing.assert_array_equal(codec_indices(weights, z, y, quality), index)
        found = np.full(y.shape, -1)
        places = iter([(c, p) for c, p, _ in reference.passes(weights, (7, 10))])

        def take(ids, y=y, found=found, places=places):
            channels, at = next(places)
            found[channels, at] = ids.reshape(-1, at.sum())
            return y[channels, at]

        reference.read_y(take, z, quality, weights, (7, 10))
        np.testing.assert_array_equal(found, index)


def codec_indices(weights, z, y, quality):
    """The scale indices (6, h, w) that encoder and decoder compute of these weights; training has its own."""
    kinds = {"weight": np.int32, "bias": np.int32}
    arrays = {
        f"latents.scale.{number}.{kind}": array.astype(kinds[kind])
        for number, layer in enumerate(weights.layers)
        for kind, array in zip(kinds, layer, strict=True)
    }
    order, inside = coding_order(6, (2,)), (..., *map(slice, y.shape[1:]))
    contexts = [(step.context_channels, step.last - step.first) for step in order[1:]]
    hyper_channels = arrays["latents.scale.0.weight"].shape[1]
    branch = integer.ScaleBranch(arrays, hyper_channels, 6, contexts, lambda a, b: [a.astype(np.int32) @ b])
    scales, hidden = (part[inside] for part in branch(z))
    scales = scales + integer.interpolate_offsets(weights.offsets, quality)[:, None, None]
    index = np.full(y.shape, -1)
    for number, step in enumerate(order):
        mask, total = step.mask(*y.shape[1:]), scales[step.channels]
        if step.context_channels:
            known = np.where(index[: step.context_channels] < 0, 0, y[: step.context_channels])
            total = total + branch.context(
                number, integer.level(known.astype(np.int32)), branch.share(hidden)[number - 1]
            )
        index[step.channels, mask] = integer.scale_index(total)[:, mask]
    return index


def test_symbols_of_any_size_come_back_from_both(weights, model):
    rng, channels = np.random.default_rng(2), weights.layers[0][0].shape[1]
    quality = reference.read_header(reference.Source(FILES["pixel"])).quality
    anchors = len(weights.offsets) - 1
    z = rng.integers(-(2**31), 2**31, (channels, 1, 1)) >> rng.integers(0, 32, (channels, 1, 1))
    y = rng.integers(-(2**31), 2**31, (weights.offsets.shape[1], 1, 1))
    y >>= rng.integers(0, 32, y.shape)
    nearest = int(quality * anchors / 25600 + 0.5)
    parts = [(z.ravel(), range(channels), weights.z_tables[nearest * channels :])]
    places = iter([channels for channels, *_ in reference.passes(weights, (1, 1))])

    def take(ids):
        symbols = y[next(places)].ravel()[: len(ids)]
        parts.append((symbols, ids, reference.gaussian_tables()))
        return symbols

    reference.read_y(take, z, quality, weights, (1, 1))
    check = zlib.crc32(bytes(4) + z.astype("<i4").tobytes() + y.astype("<i4").tobytes())
    coded = reference_coder.encode(parts, check)
    picture = assert_both_read(with_sections(lambda _: [(16, b"\0" + coded)], "pixel"), weights, model)
    np.testing.assert_array_equal(picture.tiles[0][0], z)
    np.testing.assert_array_equal(picture.tiles[0][1], y)


@pytest.mark.parametrize("device", ["onnx", "cpu"])
def test_the_mean_branch_is_the_one_of_the_text(weights, device):
    model = registry.load(device=device)
    tensors = load_file(registry.shipped_weights(bitstream.Method.CONDITIONAL, model.fingerprint))

    def convolve(name, a):
        kernel, bias = (tensors[f"latents.mean.{name}.{part}"].astype(float) for part in ("weight", "bias"))
        if kernel.shape[2:] == (3, 3):
            return reference.convolve((kernel, bias), a)
        return np.tensordot(kernel[:, :, 0, 0], a, 1) + bias[:, None, None]

    def silu_shuffle(a):
        four, rows, columns = a.shape
        a = a.reshape(four // 4, 2, 2, rows, columns).transpose(0, 3, 1, 4, 2).reshape(four // 4, 2 * rows, 2 * columns)
        return a / (1 + np.exp(-a))

    def silu(a):
        return a / (1 + np.exp(-a))

    log_gain, quality, size = tensors["latents.log_gain"], 9001, (7, 10)
    rng = np.random.default_rng(3)
    z = rng.integers(-9, 10, (model.config.transform.hyper, 2, 3))
    y = rng.integers(-3, 4, (len(log_gain[0]), *size))
    m_1 = silu_shuffle(convolve("hyper.1.conv", convolve("hyper.0", z.astype(float))))
    m_2 = silu_shuffle(convolve("hyper.4.conv", convolve("hyper.3", m_1)))
    h_s, shared = (a[:, : size[0], : size[1]] for a in (convolve("leave", m_2), silu(convolve("share", m_2))))
    at = np.linspace(0, 25600, len(log_gain))
    gain = np.exp([np.interp(quality, at, column) for column in log_gain.T])[:, None, None]
    y_hat, mean = np.zeros_like(h_s), np.zeros_like(h_s)
    for number, (channels, places, known) in enumerate(reference.passes(weights, size)):
        centre = h_s[channels]
        if known:
            name, a = f"contexts.{number - 1}", np.concatenate([y_hat[:known], shared])
            centre = centre + convolve(f"{name}.4", silu(convolve(f"{name}.2", silu(convolve(f"{name}.0", a)))))
        mean[channels] = np.where(places, gain[channels] * centre, mean[channels])
        y_hat[channels] = np.where(places, y[channels] / gain[channels] + centre, y_hat[channels])
    theirs, state = np.zeros_like(mean), model.latents.start(z.astype(np.int32), quality, size)
    for number, step in enumerate(model.latents.order):
        centre, _, mask = state.predict(number, step)
        theirs[step.channels, mask] = centre
        state.update(step, y[step.channels, mask].astype(np.int32), centre, mask)
    np.testing.assert_allclose(mean, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
    np.testing.assert_allclose(gain, model.latents.gain(quality), rtol=1e-5)


def test_the_examples_of_the_text_are_true():
    text = FORMAT_TEXT.read_text(encoding="utf-8")
    example = re.findall(r"^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2,}|$)", text.split("```hex")[1].split("```")[0], re.M)
    source = reference.Source(bytes.fromhex(" ".join(example)))
    header = reference.read_header(source)
    assert header == (256, True, False, 200, 150, 12928, bytes.fromhex("c0ffee01"))
    assert reference.read_sections(source, header) == ({4: b"<x/>"}, [bytes.fromhex("0123456789abcdef")])
    assert reference_coder.encode([]).hex(" ") in text
    part = ([-3, 0, 1, 2, 700, 0], [40, 0, 20, 40, 63, 0], reference.gaussian_tables())
    assert reference_coder.encode([part], 0x12345678).hex(" ") in text


@pytest.mark.parametrize("name", GOLDEN)
def test_flipped_bits_and_cuts_are_refused(name):
    data = FILES[name]
    weights, model = readers(bitstream.read_header(data).fingerprint)
    for at in range(0, len(data), 1 + len(data) // 40):
        assert_both_refuse(with_byte(data, at, data[at] ^ 1 << at % 8), weights, model)
        assert_both_refuse(data[:at], weights, model)
    assert_both_refuse(data + b"\0", weights, model)


NOTE = (200, b"note")
HEADS = {
    "version": lambda head: with_byte(head, 6, 2),
    "method": lambda head: with_byte(head, 7, 1),
    "flag 6": lambda head: with_byte(head, 8, head[8] | 64),
    "tile of 32": lambda head: with_byte(head, 8, 5),
    "larger tiles": lambda head: with_byte(head, 8, head[8] + 1),
    "alpha": lambda head: with_byte(head, 8, head[8] | 32),
    "no width": lambda head: head[:9] + b"\0\1" + head[-6:],
    "no height": lambda head: head[:9] + b"\1\0" + head[-6:],
    "height of 2^31": lambda head: head[:9] + b"\1\x80\x80\x80\x80\x08" + head[-6:],
    "width of 2^35": lambda head: head[:9] + b"\x80\x80\x80\x80\x80\1\1" + head[-6:],
    "long width": lambda head: head[:9] + b"\x81\0\1" + head[-6:],
    "quality": lambda head: with_byte(head, len(head) - 5, 101),
    "other weights": lambda head: with_byte(head, len(head) - 1, head[-1] ^ 1),
}
SECTIONS = {
    "tiles swapped": lambda sections: [sections[1], sections[0], *sections[2:]],
    "tile twice": lambda sections: [sections[0], *sections],
    "tile missing": lambda sections: sections[:-1],
    "tile too many": lambda sections: [*sections, (16, bytes([len(sections)]))],
    "long index": lambda sections: [(16, b"\x80\0" + sections[0][1][1:]), *sections[1:]],
    "no index": lambda sections: [(16, b""), *sections[1:]],
    "latents of another": lambda sections: [sections[0], (16, b"\1" + sections[0][1][1:]), *sections[2:]],
    "note at the end": lambda sections: [*sections, NOTE],
    "too many notes": lambda sections: [NOTE] * 257 + sections,
    "type 17": lambda sections: [*sections[:-1], (17, b""), sections[-1]],
    "alpha without flag": lambda sections: [(1, b"\0\0"), *sections],
    "twice": lambda sections: [(4, b"<x/>"), (4, b"<x/>"), *sections],
    "descending": lambda sections: [(4, b"<x/>"), (2, b"icc"), *sections],
    "late": lambda sections: [sections[0], (4, b"<x/>"), *sections[1:]],
}


LATENTS = {
    "zero at the end": lambda coded: coded + b"\0",
    "byte at the end": lambda coded: coded + b"\1",
    "word in front": lambda coded: bytes(4) + coded,
    "byte missing": lambda coded: coded[:-1],
    "first bit": lambda coded: with_byte(coded, 0, coded[0] ^ 1),
    "middle bit": lambda coded: with_byte(coded, len(coded) // 2, coded[len(coded) // 2] ^ 4),
    "last bit": lambda coded: with_byte(coded, len(coded) - 1, coded[-1] ^ 2 or 4),
    "full": lambda coded: b"\xff" * len(coded),
}


ALPHA = {
    "empty": lambda whole: b"",
    "constant of 2 bytes": lambda whole: b"\0\1\1",
    "kind 6": lambda whole: b"\6" + raw(whole),
    "not deflated": lambda whole: b"\2" + whole,
    "a byte less": lambda whole: b"\2" + raw(whole[1:]),
    "a byte more": lambda whole: b"\2" + raw(whole + b"\0"),
    "bytes for bits": lambda whole: b"\1" + raw(whole),
    "after the stream": lambda whole: b"\2" + raw(whole) + b"\0",
    "stream cut": lambda whole: b"\2" + raw(whole)[:-1],
}


FOREGROUND = {
    "no bytes": lambda whole: b"",
    "cut": lambda whole: whole[:-1],
    "byte behind": lambda whole: whole + b"\0",
    "other signature": lambda whole: with_byte(whole, 2, 0x2E),
    "wider": lambda whole: with_byte(whole, 3, whole[3] ^ 1),
    "two bytes": lambda whole: b"\2" + whole[2:4],
    "no bitstream": lambda whole: whole[:9] + b"\xff" * (len(whole) - 9),
}


BROKEN = {
    with_head: HEADS, with_sections: SECTIONS, with_latents: LATENTS, with_alpha: ALPHA, with_foreground: FOREGROUND
}  # fmt: skip
CASES = [pytest.param(change, broken, id=name) for change, cases in BROKEN.items() for name, broken in cases.items()]


@pytest.mark.parametrize(("change", "broken"), CASES)
def test_what_breaks_a_rule_is_refused(change, broken, weights, model):
    assert_both_refuse(change(broken), weights, model)


@pytest.mark.parametrize("name", [name for name in GOLDEN if name.startswith("foreground")])
def test_a_foreground_is_read_alike(name):
    own, library_own = readers(bitstream.read_header(FILES[name]).fingerprint)
    picture = assert_both_read(FILES[name], own, library_own)
    shown = picture.foreground[..., 3] == 255
    drawn = picture.foreground[..., :1] if picture.header.grey else picture.foreground[..., :3]
    assert shown.any()
    np.testing.assert_array_equal(codec.decode(FILES[name]).pixels[shown], drawn[shown])


def test_a_tile_of_no_bytes_has_zeros_for_latents(weights, model):
    z, y = assert_both_read(with_latents(lambda coded: b""), weights, model).tiles[0]
    assert not z.any()
    assert not y.any()


def test_a_file_may_have_a_foreground_over_all_its_latents(weights, model):
    data = with_foreground(lambda whole: whole)
    shown = assert_both_read(data, weights, model).foreground
    assert np.unique(shown[..., 0]).tolist() == [0, 255]
    np.testing.assert_array_equal(codec.decode(data, model=model).pixels, shown[..., :3])


def test_notes_are_skipped(weights, model):
    spread = with_sections(lambda sections: [NOTE] * 255 + [sections[0], NOTE, *sections[1:]])
    assert len(assert_both_read(spread, weights, model).tiles) >= 4


@pytest.mark.parametrize("kind", range(6))
def test_alpha_of_every_kind_is_read_alike(kind, weights, model):
    body = {0: b"\7", 1: raw(np.packbits(plane() > 99))}.get(kind, raw(plane()))
    alpha = assert_both_read(with_alpha(lambda _: bytes([kind]) + body), weights, model).alpha
    assert set(np.unique(alpha)) == {0: {7}, 1: {0, 255}}.get(kind, set(np.unique(alpha)))


def test_alpha_bits_after_the_last_pixel_are_refused(weights, model):
    head, sections = apart(FILES["pixel"])
    head = with_byte(head, 8, head[8] | 32)
    good, bad = (together(head, [(1, b"\1" + raw(bits)), *sections]) for bits in (b"\x80", b"\x81"))
    assert assert_both_read(good, weights, model).alpha.tolist() == [[255]]
    assert_both_refuse(bad, weights, model)
    assert_both_refuse(together(head, sections), weights, model)
