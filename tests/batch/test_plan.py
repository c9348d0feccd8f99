"""Plans: the tree is mirrored, no two tasks meet, and what is not allowed is refused before anything is read."""

import os
from pathlib import Path

import pytest

from batch.pictures import make_tree, write_picture
from regrain.batch.plan import Task, has_pattern, is_folder, make_plan
from regrain.errors import BitstreamError, ImageError, OutputError, UsageError


def plan_of(inputs, output="out", existing="refuse", suffix=".rgn"):
    names = [str(one) for one in inputs]
    kinds = (".png", ".jpg") if suffix == ".rgn" else (".rgn",)
    return make_plan(names, str(output), suffix=suffix, accepts=lambda one: one in kinds, existing=existing)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tree(Path("in"))
    Path("in/readme.txt").write_text("no picture")
    return tmp_path


def targets(plan):
    return [(task.source, task.target) for task in plan.tasks]


def test_a_folder_is_mirrored_by_name(tree):
    plan = plan_of(["in"])
    assert targets(plan) == [(f"in/{i // 2}/{i}.png", f"out/{i // 2}/{i}.rgn") for i in range(5)]
    assert plan.tasks[0] == Task("in/0/0.png", "out/0/0.rgn", os.path.getsize("in/0/0.png"))
    assert (plan.others, plan.pictures) == (1, 5)
    assert not Path("out").exists()


def test_a_folder_of_this_machine_may_have_colons(tree):
    assert targets(plan_of(["in"], "./a::b"))[0] == ("in/0/0.png", "./a::b/0/0.rgn")


def test_several_folders_keep_their_names_and_files_need_no_suffix(tree):
    write_picture(Path("more/x.png"))
    Path("more/x.png").rename("plain")
    write_picture(Path("more/y.png"))
    plan = plan_of(["plain", "more/", "in/2"])
    assert targets(plan) == [
        ("plain", "out/plain.rgn"),
        ("more/y.png", "out/more/y.rgn"),
        ("in/2/4.png", "out/2/4.rgn"),
    ]


def test_a_pattern_is_relative_to_what_stands_before_its_first_wildcard(tree):
    assert has_pattern("in/*/1.png")
    assert targets(plan_of(["in/**/[13].png"])) == [("in/0/1.png", "out/0/1.rgn"), ("in/1/3.png", "out/1/3.rgn")]
    assert targets(plan_of(["in/0/?.png"])) == [("in/0/0.png", "out/0.rgn"), ("in/0/1.png", "out/1.rgn")]
    write_picture(Path("in/0/a*.png"))
    assert not has_pattern("in/0/a*.png")


def test_hidden_files_pipes_and_what_a_killed_run_left_are_no_pictures(tree):
    write_picture(Path("in/.trash/x.png"))
    write_picture(Path("in/0/.x.png"))
    os.mkfifo("in/0/pipe.png")
    assert plan_of(["in"]).pictures == 5


@pytest.mark.parametrize("names", [("0/0.jpg",), ("0/0.jpg", "1/2.jpg")])
def test_two_inputs_with_one_target_are_refused_with_both_names(tree, names):
    for name in names:
        write_picture(Path("in") / name)
    with pytest.raises(UsageError, match=r"^in/0/0.jpg and in/0/0.png would both become out/0/0.rgn: rename one"):
        plan_of(["in"])


def test_names_that_differ_in_case_alone_are_two_where_the_folder_says_so(tree):
    for name in ("case/A.png", "case/a.png", "out/.keep"):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [task.target for task in plan_of(["case"]).tasks] == ["out/A.rgn", "out/a.rgn"]
    Path("OUT").symlink_to("out")  # as if both names were one
    with pytest.raises(UsageError, match=r"^case/A\.png and case/a\.png would both become out/new/a\.rgn"):
        plan_of(["case"], "out/new")


def test_a_target_that_is_a_folder_is_not_one_that_is_done(tree):
    Path("out/0.rgn").mkdir(parents=True)
    Path("0.png").touch()
    assert plan_of(["0.png"], existing="skip").skipped == []


def test_a_tree_without_a_picture_and_an_empty_one(tree):
    Path("empty/below").mkdir(parents=True)
    with pytest.raises(ImageError, match=r"^empty: there is no picture$"):
        plan_of(["empty"])
    Path("empty/below/a.txt").write_text("no picture")
    with pytest.raises(ImageError, match=r"^empty: there is no picture among 1 files$"):
        plan_of(["empty"])
    with pytest.raises(BitstreamError, match=r"^in: there is no .rgn file among 6 files$"):
        plan_of(["in"], suffix=".png")


def test_an_input_that_is_not_there(tree):
    with pytest.raises(ImageError, match=r"^nowhere: No such file or directory$"):
        plan_of(["in", "nowhere"])
    with pytest.raises(ImageError, match=r"^no\*where: there is no picture$"):
        plan_of(["no*where"])


def test_links_are_followed_and_a_loop_is_a_note(tree):
    os.symlink("../../in", "in/1/up")
    os.symlink("0", "in/same")
    os.symlink("round.png", "in/round.png")
    os.symlink("nothing", "in/nothing.png")
    os.symlink("nothing", "in/nothing.txt")
    plan = plan_of(["in"])
    assert [task.source for task in plan.tasks if "same" in task.source] == ["in/same/0.png", "in/same/1.png"]
    assert {"in/round.png", "in/nothing.png"} <= {task.source for task in plan.tasks}  # they fail when they are read
    assert len(plan.tasks) == 9
    assert plan.notes == ["in/1/up: this link leads back to a folder that it lies in, and is not followed"]


def test_a_pattern_follows_links_and_no_loop(tree):
    for name in "ab":
        os.symlink("../../in", f"in/1/{name}")
    os.symlink("0", "in/same")
    assert len(plan_of(["in/**/*.png"]).tasks) == 7
    assert len(plan_of(["in/**"]).tasks) == 7
    assert targets(plan_of(["**/same/?.png"])) == [(f"in/same/{i}.png", f"out/in/same/{i}.rgn") for i in range(2)]
    assert len(plan_of(["*/**/1/*.png"]).tasks) == 2
    with pytest.raises(ImageError, match="there is no picture"):
        plan_of(["in/**/"])
    notes = [f"in/1/{name}: this link leads back to a folder that it lies in, and is not followed" for name in "ab"]
    assert plan_of(["in/**/*.png"]).notes == notes


def test_a_folder_that_cannot_be_read_is_a_failure(tree, monkeypatch):
    real = os.scandir

    def refusing(folder):
        if str(folder).endswith("/1"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    plan = plan_of(["in"])
    assert plan.failures == [("in/1", "cannot be read: Permission denied")]
    assert len(plan.tasks) == 3


def test_an_output_that_cannot_be(tree, monkeypatch):
    Path("file").write_text("here")
    with pytest.raises(OutputError, match=r"^cannot write into file/out: .*file is no folder$"):
        plan_of(["in"], "file/out")
    with pytest.raises(OutputError, match="no name may hold a zero"):
        plan_of(["in"], "o\0ut")
    with pytest.raises(OutputError, match="archives and chains are read only"):
        plan_of(["in"], "zip://x::out.zip")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=r"^cannot write into out: permission denied$"):
        plan_of(["in"])


def test_targets_that_exist_are_refused_skipped_or_replaced(tree):
    for name in ("0", "2"):
        target = Path(f"out/{int(name) // 2}/{name}.rgn")
        target.parent.mkdir(parents=True)
        target.write_bytes(b"whole")
    Path("out/0/1.rgn").touch()  # as a crash of the machine leaves it
    with pytest.raises(OutputError, match=r"^out/0/0.rgn and 1 more exist: --skip-existing goes on, --overwrite"):
        plan_of(["in"])
    plan = plan_of(["in"], existing="skip")
    assert [task.source for task in plan.skipped] == ["in/0/0.png", "in/1/2.png"]
    assert [task.source for task in plan.tasks] == ["in/0/1.png", "in/1/3.png", "in/2/4.png"]
    plan = plan_of(["in"], existing="replace")
    assert (len(plan.tasks), plan.skipped) == (5, [])


def test_an_input_is_never_a_target(tree):
    write_picture(Path("both/a.png"))
    os.symlink("a.png", "both/a.rgn")
    with pytest.raises(UsageError, match=r"^both/a.rgn is an input; name another output$"):
        plan_of(["both"], "both", existing="replace")


def test_what_is_a_folder_by_its_name(tree):
    assert is_folder("in")
    assert is_folder("not/yet/")
    assert is_folder("s3://bucket/")
    assert not is_folder("in/0/0.png")
    assert not is_folder("s3://bucket/photo.png")
