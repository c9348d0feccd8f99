"""A plain folder in the place of shards: its pictures, their order, and which of them are held out."""

import pytest

from lab.training.tiny import picture
from regrain.errors import ImageError, UsageError
from regrain_lab.training import members as room
from regrain_lab.training.members import DataConfig, Member, members, pictures_of


@pytest.fixture
def folder(tmp_path):
    """Twenty pictures of 64 pixels, nested, and what is none."""
    for number in range(20):
        path = tmp_path / ("top" if number % 2 else "other/deep") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number, 64))
    (tmp_path / "LOUD.PNG").write_bytes(picture(99, 64))
    (tmp_path / "readme.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(picture(98, 64))
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    return tmp_path


def names(pictures):
    return [member.name for member in pictures]


def test_a_plain_folder_is_read_in_the_order_of_its_names(folder, caplog):
    pictures = members(folder, DataConfig(""), held_out=False)
    assert len(pictures) == 21
    assert names(pictures) == sorted(names(pictures))
    assert [(one.repository, one.read()[0, 0, 0]) for one in pictures if one.name in ("LOUD.PNG", "top/03.png")] == [
        ("", 99),
        ("top", 3),
    ]
    assert ["not followed" in message for message in caplog.messages] == [True]


def test_folders_stand_for_repositories(folder):
    config = DataConfig("", holdout=("other",), exclude=("top",))
    assert names(members(folder, config, held_out=False)) == ["LOUD.PNG"]
    assert names(members(folder, config, held_out=True)) == [
        f"other/deep/{number:02}.png" for number in range(0, 20, 2)
    ]


def test_a_share_is_held_out_by_a_hash_of_the_names(folder):
    config = DataConfig("", holdout_share=0.25)
    held_out, training = (names(members(folder, config, held_out=side)) for side in (True, False))
    assert len(held_out) == 5
    assert sorted(held_out + training) == names(members(folder, DataConfig(""), held_out=False))
    assert set(names(members(folder, DataConfig("", holdout_share=0.5), held_out=True))) > set(held_out)
    assert len(members(folder, DataConfig("", holdout_share=0.001), held_out=True)) == 1
    assert not DataConfig("").validates
    assert config.validates


def test_crops_of_one_picture_are_held_out_together():
    crops = [Member("x.tar", f"{number}.png", 512, 9, "", source=f"{number // 4}.jpg") for number in range(40)]
    drawn = room._share_of(crops, 0.2)
    assert drawn <= {f"{number}.jpg" for number in range(10)}
    assert len(drawn) == 2


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (DataConfig("", licence_classes=("free",)), "21 pictures of no licence class that the recipe allows"),
        (DataConfig("", exclude=("top", "other", "")), "no training pictures in 0 shards"),
    ],
)
def test_a_folder_without_pictures_of_use_is_one_line(folder, config, words):
    with pytest.raises(UsageError, match=words):
        members(folder, config, held_out=False)


def test_a_file_that_grows_beyond_bounds_or_is_gone_is_a_line(folder, monkeypatch):
    (first, second, *_) = members(folder, DataConfig(""), held_out=False)
    (folder / first.name).unlink()
    with pytest.raises(ImageError, match=r"^LOUD\.PNG: No such file or directory$"):
        first.read()
    monkeypatch.setattr(room, "SIZE_MAX", 100)
    with pytest.raises(ImageError, match=r"^other/deep/00\.png: \d+ bytes; up to 100 are allowed$"):
        second.read()


def test_a_place_without_a_picture_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent", "absent.tar", "*.png"):
        with pytest.raises((ImageError, UsageError), match=r"picture|No such file"):
            pictures_of(str(tmp_path / name))
