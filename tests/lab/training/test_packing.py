"""Pictures become shards: what is left out, what the index says, and that a run trains on either."""

import csv
import io
import tarfile
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from lab.training.tiny import HEAD, write_recipe
from regrain.errors import ImageError, OutputError, UsageError
from regrain_lab.training.members import DataConfig, members, pictures_of
from regrain_lab.training.packing import PackConfig, check_target, pack, perceptual_hash

SMALL = PackConfig(crop=64, crops=2)
ALL = PackConfig(crop=0, duplicates=0, flat=0, clipped=1)


def waves(seed, width=200, height=150):
    """A smooth picture of its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def save(picture, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    """Three pictures that are of use, and one of each kind that is not."""
    root = tmp_path / "photos"
    for number, name in enumerate(["a/0.png", "a/b/1.jpg", "c/2.png"]):
        save(waves(number), root / name)
    save(waves(1).resize((110, 82)), root / "duplicate.jpg", quality=60)
    save(Image.new("RGB", (80, 80), (90, 120, 100)), root / "flat.png")
    clipped = np.asarray(waves(9)).copy()
    clipped[:, :110] = 255
    save(Image.fromarray(clipped), root / "clipped.png")
    save(waves(8, 63, 200), root / "small.png")
    (root / "broken.png").write_bytes((root / "a/0.png").read_bytes()[:900])
    (root / "notes.txt").write_text("no picture")
    return root


def index(folder):
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def packed(photos, out, config=SMALL):
    return pack(pictures_of(str(photos)), out, config)


def counts(tally):
    return {one.name: getattr(tally, one.name) for one in fields(tally)} | {"broken": len(tally.broken)}


def test_what_is_of_no_use_is_left_out_and_counted(photos, tmp_path):
    tally = packed(photos, tmp_path / "out", replace(SMALL, crops=99))
    wanted = {"pictures": 8, "broken": 1, "small": 1, "duplicates": 1, "flat": 3, "clipped": 2, "shards": 1}
    assert wanted.items() <= counts(tally).items()
    assert tally.broken[0].startswith("broken.png: ")
    assert {row["source"] for row in index(tmp_path / "out")} == {"a/0.png", "a/b/1.jpg", "c/2.png", "clipped.png"}
    assert str(tally) == "1 broken, 1 small, 1 duplicate, 3 flat, 2 clipped"
    assert tally.bytes == sum(path.stat().st_size for path in (tmp_path / "out").glob("*.tar"))


@pytest.mark.parametrize(
    ("knob", "value", "name", "count"),
    [
        ("duplicates", 0, "duplicate.jpg", "duplicates"), ("flat", 0, "flat.png", "flat"),
        ("clipped", 1, "clipped.png", "clipped"), ("crop", 32, "small.png", "small"),
    ],
)  # fmt: skip
def test_each_rule_can_be_switched_off(photos, tmp_path, knob, value, name, count):
    config = replace(SMALL, crops=99, **{knob: value})
    tally = packed(photos, tmp_path / "out", config)
    assert getattr(tally, count) == 0
    assert name in {row["source"] for row in index(tmp_path / "out")}


def test_the_limits_of_a_picture_s_side_pixels_and_crops_hold(photos, tmp_path):
    assert packed(photos, tmp_path / "a", replace(SMALL, min_side=100)).small == 3
    assert len(packed(photos, tmp_path / "b", replace(SMALL, max_pixels=29_999)).broken) == 5
    assert packed(photos, tmp_path / "c", replace(SMALL, crops=1)).packed == 4
    with pytest.raises(UsageError, match="crop is 31"):
        PackConfig(crop=31)


def test_the_index_says_where_each_crop_is_from(photos, tmp_path):
    packed(photos, tmp_path / "out", replace(SMALL, licence="free", megabytes=0.021))
    assert len(list((tmp_path / "out").glob("*.tar"))) > 1
    assert all(path.stat().st_size <= 21_000 for path in (tmp_path / "out").glob("*.tar"))
    rows = {(row["shard"], row["key"]): row for row in index(tmp_path / "out")}
    pictures = members(tmp_path / "out", DataConfig(""), held_out=False)
    assert len(pictures) == len(rows) == 8
    for member in pictures:
        row = rows[member.shard.name, member.name.removesuffix(".png")]
        left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
        whole = np.asarray(Image.open(photos / row["source"]).convert("RGB"))
        assert (width, height) == (64, 64)
        assert np.array_equal(member.read(), whole[top : top + 64, left : left + 64])
        assert (int(row["bytes"]), int(row["hash"], 16)) == (member.size, perceptual_hash(whole))
        folder = "" if row["source"] == "clipped.png" else row["source"][0]
        assert (row["licence_class"], row["repository"]) == ("free", folder)


def test_whole_pictures_keep_their_bytes_and_are_packed_again_as_they_are(photos, tmp_path):
    save(waves(4), photos / "scan.tif")
    packed(photos, tmp_path / "out", replace(ALL, licence="free"))
    first = {one.source: one for one in members(tmp_path / "out", DataConfig(""), held_out=False)}
    assert len(first) == 8
    for name in first.keys() - {"scan.tif"}:
        assert first[name].data() == (photos / name).read_bytes()
    assert np.array_equal(first["scan.tif"].read(), np.asarray(waves(4)))
    packed(tmp_path / "out", tmp_path / "again", ALL)
    again = {one.source: one for one in members(tmp_path / "again", DataConfig(""), held_out=False)}
    assert {name: (one.data(), one.repository, one.licence_class) for name, one in first.items()} == {
        name: (one.data(), one.repository, one.licence_class) for name, one in again.items()
    }


def test_the_same_pictures_give_the_same_bytes(photos, tmp_path):
    other = tmp_path / "copy"
    for path in sorted(photos.rglob("*.*"), reverse=True):
        (other / path.relative_to(photos)).parent.mkdir(parents=True, exist_ok=True)
        (other / path.relative_to(photos)).write_bytes(path.read_bytes())
    for folder in (photos, other):
        packed(folder, tmp_path / f"{folder.name}.packed")
    ours, theirs = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
                    for name in ("photos.packed", "copy.packed"))  # fmt: skip
    assert ours == theirs


def test_what_was_packed_before_is_replaced_and_other_shards_are_left_alone(photos, tmp_path):
    out = tmp_path / "out"
    check_target(out, overwrite=False)
    packed(photos, out, replace(SMALL, megabytes=0.021))
    with pytest.raises(OutputError, match=r"packed-00000\.tar exists; --overwrite replaces it"):
        check_target(out, overwrite=False)
    check_target(out, overwrite=True)
    assert packed(photos, out).shards == 1
    assert {path.name for path in out.iterdir()} == {"packed-00000.tar", "index.csv"}
    (out / "train-000.tar").touch()
    with pytest.raises(OutputError, match=r"train-000\.tar is of other shards"):
        check_target(out, overwrite=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_half_written_is_left(photos, tmp_path, monkeypatch, error):
    out, written = tmp_path / "new" / "out", []

    def failing(tar, info, file):
        written.append(info)
        if len(written) == 3:
            raise error

    monkeypatch.setattr(tarfile.TarFile, "addfile", failing)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError):
        packed(photos, out)
    assert not out.parent.exists()
    monkeypatch.undo()
    packed(photos, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ImageError, match=r"none of 8 pictures is of use: 1 broken, 7 small; .*broken\.png: "):
        packed(photos, out, replace(SMALL, crop=512))
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_hashes_of_copies_are_near_and_those_of_others_far():
    hashes = [perceptual_hash(np.asarray(waves(seed))) for seed in range(20)]
    for seed, own in enumerate(hashes):
        file = io.BytesIO()
        waves(seed).resize((97, 73)).save(file, "jpeg", quality=50)
        assert (own ^ perceptual_hash(np.asarray(Image.open(file)))).bit_count() < SMALL.duplicates
        assert all((own ^ other).bit_count() > 10 for other in hashes[:seed])
    assert perceptual_hash(np.full((5, 700, 3), 7, np.uint8)) == perceptual_hash(np.full((64, 64, 3), 200, np.uint8))


STAGE = '[[stage]]\nname = "one"\nsteps = 4\nbatch = 2\ncrop = 64\n'
OWN = HEAD.replace('licence_classes = ["free"]', "holdout_share = 0.3").replace('holdout = ["held/out"]', "workers = 1")


@pytest.mark.parametrize("kind", ["shards", "folder"])
def test_a_run_trains_on_shards_and_on_a_plain_folder_and_goes_on_exactly(photos, tmp_path, monkeypatch, kind):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from regrain_lab.training import loop
    from regrain_lab.training.losses.codec import CodecLoss

    place = photos if kind == "folder" else tmp_path / "out"
    if kind == "shards":
        packed(photos, place)
    text = OWN.replace('shards = "shards"', f'shards = "{place}"').replace('exclude = ["kept/away"]', "exclude = []")
    recipe, states, forward = write_recipe(tmp_path, text + STAGE), [], CodecLoss.forward
    for stop in (None, 3):
        steps = []

        def counted(self, x, rules, steps=steps, stop=stop):
            steps.append(x)
            if len(steps) == stop:
                raise KeyboardInterrupt
            return forward(self, x, rules)

        monkeypatch.setattr(CodecLoss, "forward", counted)
        out = tmp_path / f"stopped-{stop}"
        if stop:
            with pytest.raises(KeyboardInterrupt):
                loop.main(recipe, out=out)
            monkeypatch.setattr(CodecLoss, "forward", forward)
        loop.main(recipe, out=out)
        states.append(load_file(out / loop.LAST))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
