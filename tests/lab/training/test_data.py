"""Which pictures train, and that sample n is the same picture, crop and flip whenever it is asked for."""

import io
import logging
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lab.training.tiny import add, picture, write_shards
from regrain.errors import ImageError, UsageError
from regrain_lab.training.data import Crops, batches, holdout_batch, members
from regrain_lab.training.recipe import DataConfig

FREE = DataConfig("shards", licence_classes=("free",), exclude=("kept/away",), holdout=("held/out",))


def numbers(pictures):
    return [int(member.name.removesuffix(".png")) for member in pictures]


def origin(x):
    """The numbers that the pictures of a batch carry in their red."""
    return ((x[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def many(crops, first, steps, batch=2, workers=0):
    return list(batches(crops, first=first, stride=batch, steps=steps, batch=batch, crop=64, workers=workers))


@pytest.fixture
def own(tmp_path):
    """Shards that a test may spoil."""
    return write_shards(tmp_path / "own")


def replace_pictures(folder, data):
    """Put `data` in the place of every picture."""
    for shard in folder.glob("*.tar"):
        with tarfile.open(shard) as tar:
            names = [name for name in tar.getnames() if name.endswith(".png")]
        with tarfile.open(shard, "w") as tar:
            for name in names:
                add(tar, name, data)


@pytest.mark.parametrize(
    ("config", "training", "held_out"),
    [
        (FREE, [0, 1, 2, 7], [3, 6]),
        (DataConfig("", licence_classes=("noncommercial",), holdout=("held/out",)), [5], [8]),
        (DataConfig("", holdout=("held/out",)), [0, 1, 2, 4, 5, 7], [3, 6, 8]),
        (DataConfig("", licence_classes=("free", "noncommercial"), exclude=("a/free",), holdout=("b/free",)),
         [3, 4, 5, 6, 8], [2, 7]),
    ],
)  # fmt: skip
def test_licence_exclusion_and_holdout_choose(shards, config, training, held_out):
    assert numbers(members(shards, config, held_out=False)) == training
    assert numbers(members(shards, config, held_out=True)) == held_out


def test_members_are_read_where_they_lie(shards):
    for member in members(shards, FREE, held_out=False):
        with tarfile.open(member.shard) as tar:
            assert member.shard.read_bytes()[member.offset :][: member.size] == tar.extractfile(member.name).read()
        assert member.read()[0, 0, 0] == int(member.name[:4])


def test_without_an_index_everything_is_of_no_known_licence(own):
    (own / "index.csv").unlink()
    assert len(members(own, DataConfig(""), held_out=False)) == 9
    with pytest.raises(UsageError, match="no training pictures in 2 shards"):
        members(own, FREE, held_out=False)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no validation pictures in 0 shards"):
        members(tmp_path, FREE, held_out=True)


def test_a_name_that_the_index_lacks_is_reported(shards, caplog):
    members(shards, DataConfig("", exclude=("kept/awya",), holdout=("held/out",)), held_out=False)
    assert ["kept/awya" in message for message in caplog.messages] == [True]


@pytest.mark.parametrize("text", [b"shard,key,repository\na,b,c\n", b"\xff\xff\n"])
def test_a_broken_index_is_an_error(own, text):
    (own / "index.csv").write_bytes(text)
    with pytest.raises(UsageError, match=r"index\.csv"):
        members(own, FREE, held_out=False)


@pytest.mark.parametrize("ends", ["in a picture", "in a header", "after a member", "in the first header", "empty"])
def test_a_shard_cut_short_keeps_what_is_whole(own, caplog, ends):
    shard = own / "train-000.tar"
    with tarfile.open(shard) as tar:
        third = tar.getmember("0002.png")
    cuts = {"in a picture": third.offset_data + 50, "in a header": third.offset + 100, "after a member": third.offset}
    shard.write_bytes(shard.read_bytes()[: cuts.get(ends, 100 * (ends != "empty"))])
    kept = [0, 1] if ends in cuts else []
    assert numbers(members(own, FREE, held_out=False)) == [*kept, 7]
    assert ["train-000.tar" in message for message in caplog.messages] == [True]


def test_a_damaged_header_is_reported_and_what_is_before_it_used(own, caplog):
    shard = own / "train-000.tar"
    with tarfile.open(shard) as tar:
        third = tar.getmember("0002.png")
    data = bytearray(shard.read_bytes())
    data[third.offset + 3] ^= 1
    shard.write_bytes(data)
    assert numbers(members(own, FREE, held_out=False)) == [0, 1, 7]
    assert "cut short or damaged" in caplog.text


def test_a_whole_shard_is_not_reported(shards, caplog):
    members(shards, FREE, held_out=False)
    assert not caplog.messages


def test_an_epoch_sees_every_picture_once_and_the_next_in_another_order(shards):
    crops = Crops(members(shards, DataConfig(""), held_out=False), 1, FREE)
    seen = [origin(x)[0] for x in many(crops, 0, 36, batch=1)]
    epochs = [seen[i : i + 9] for i in range(0, 36, 9)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_samples_depend_on_seed_and_number_alone(shards):
    pictures = members(shards, FREE, held_out=False)
    whole = many(Crops(pictures, 5, FREE), 0, 6)
    resumed = many(Crops(pictures, 5, FREE), 6, 3)
    assert torch.equal(torch.stack(whole[3:]), torch.stack(resumed))
    other = many(Crops(pictures, 6, FREE), 0, 6)
    assert not torch.equal(torch.stack(whole), torch.stack(other))


def test_ranks_share_the_batch_of_one_process(shards):
    crops = Crops(members(shards, FREE, held_out=False), 5, FREE)
    whole = many(crops, 0, 3, batch=4)
    shares = [list(batches(crops, first=2 * rank, stride=4, steps=3, batch=2, crop=64, workers=0)) for rank in (0, 1)]
    for x, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(x, torch.cat([first, second]))


def test_crops_lie_inside_in_each_of_the_eight_poses(shards):
    (member,) = [m for m in members(shards, FREE, held_out=False) if m.name == "0007.png"]
    signed = torch.from_numpy(np.float32(member.read().transpose(2, 0, 1)) / np.float32(127.5) - np.float32(1))
    windows = signed.unfold(1, 64, 1).unfold(2, 64, 1)
    seen = []
    for (x,) in many(Crops([member], 0, FREE), 0, 80, batch=1):
        poses = [torch.rot90(pose, turns, (1, 2)) for pose in (x, x.flip(2)) for turns in range(4)]
        inside = [bool((windows == y[:, None, None]).all(0).all(-1).all(-1).any()) for y in poses]
        assert sum(inside) == 1
        seen.append(inside.index(True))
    assert all(3 <= seen.count(pose) <= 20 for pose in range(8))


def test_a_reduced_crop_shows_more_of_the_picture(own):
    ramp = io.BytesIO()
    Image.fromarray(np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 128, 0).repeat(3, 2)).save(ramp, "PNG")
    replace_pictures(own, ramp.getvalue())
    crops = Crops(members(own, FREE, held_out=False), 0, replace(FREE, reduced=0.5))
    x = torch.cat(many(crops, 0, 40, batch=1)) * 127.5
    slopes = (x.diff(dim=2).abs().amax((1, 2, 3)) + x.diff(dim=3).abs().amax((1, 2, 3))).tolist()
    assert min(slopes) == pytest.approx(1, abs=0.01)
    assert 1.7 < max(slopes) <= 2.1
    assert 10 <= sum(slope < 1.01 for slope in slopes) <= 30


def test_drawings_are_mixed_in_by_chance_and_need_no_picture(shards):
    pictures = members(shards, FREE, held_out=False)
    photos, mixed, drawn = (
        torch.stack(many(Crops(pictures, 0, replace(FREE, drawn=share)), 0, 40, batch=1)) for share in (0.0, 0.5, 1.0)
    )
    assert torch.equal(drawn[3], many(Crops([], 0, replace(FREE, drawn=1.0)), 3, 1, batch=1)[0])
    same = [[torch.equal(a, b) for a, b in zip(mixed, other, strict=True)] for other in (photos, drawn)]
    assert [a ^ b for a, b in zip(*same, strict=True)] == [True] * 40
    assert 10 <= sum(same[1]) <= 30


def test_workers_bring_the_same_batches(shards):
    crops = Crops(members(shards, FREE, held_out=False), 5, FREE)
    assert torch.equal(torch.stack(many(crops, 4, 3)), torch.stack(many(crops, 4, 3, workers=1)))


def test_a_broken_picture_is_reported_once_and_its_successor_taken(own, caplog):
    pictures = members(own, FREE, held_out=False)
    order = [origin(x)[0] for x in many(Crops(pictures, 1, FREE), 0, 4, batch=1)]
    broken = next(member for member in pictures if member.name == f"{order[1]:04}.png")
    data = bytearray(broken.shard.read_bytes())
    data[broken.offset + broken.size // 2 : broken.offset + broken.size] = bytes(broken.size - broken.size // 2)
    broken.shard.write_bytes(data)
    crops = Crops(pictures, 1, FREE)
    assert [origin(x)[0] for x in many(crops, 0, 4, batch=1)] == [order[0], order[2], order[2], order[3]]
    many(crops, 0, 8, batch=1)
    assert [broken.title in message for message in caplog.messages] == [True]
    with pytest.raises(ImageError, match=broken.title):
        broken.read()


def test_a_picture_under_the_crop_is_skipped(shards, caplog):
    crops = Crops(members(shards, FREE, held_out=False), 1, FREE)
    seen = {
        number for x in batches(crops, first=0, stride=4, steps=2, batch=4, crop=80, workers=0) for number in origin(x)
    }
    assert seen == {0, 2}
    assert any("smaller than the crop of 80" in message for message in caplog.messages)


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_of_use_is_one_line_of_error(own, workers):
    replace_pictures(own, b"no picture")
    crops = Crops(members(own, FREE, held_out=False), 1, FREE)
    with pytest.raises(UsageError, match=r"^64 pictures in a row are of no use; the first is train-00\d.tar") as caught:
        many(crops, 0, 1, workers=workers)
    assert len(str(caught.value).splitlines()) == 1


def test_grey_pictures_fill_three_channels(tmp_path):
    file = io.BytesIO()
    Image.new("L", (64, 64), 200).save(file, "png")
    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        add(tar, "x.png", file.getvalue())
    (member,) = members(tmp_path, DataConfig(""), held_out=False)
    assert member.read().shape == (64, 64, 3)
    assert (member.read() == 200).all()


def test_held_out_pictures_are_squares_of_one_size(shards, caplog):
    caplog.set_level(logging.WARNING)
    pictures = members(shards, FREE, held_out=True)
    assert holdout_batch(pictures, 5).shape == (2, 3, 64, 64)
    assert holdout_batch(pictures[1:], 5).shape == (1, 3, 128, 128)
    assert origin(holdout_batch(pictures, 2)) == [3, 6]
    assert not caplog.messages


def test_held_out_pictures_of_no_use_are_left_out(own, caplog):
    pictures = members(own, FREE, held_out=True)
    first = pictures[0]
    data = bytearray(first.shard.read_bytes())
    data[first.offset : first.offset + 8] = bytes(8)
    first.shard.write_bytes(data)
    assert origin(holdout_batch(pictures, 2)) == [6]
    assert first.title in caplog.text
    replace_pictures(own, picture(1, 31))
    with pytest.raises(UsageError, match="none of 2 held-out pictures"):
        holdout_batch(members(own, FREE, held_out=True), 2)
