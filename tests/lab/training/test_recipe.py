"""A recipe says what it says, or one line of what is wrong in it."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from lab.training.tiny import HEAD, MODEL, STAGES, write_recipe
from lab.training.tiny_student import STAGES as STUDENT_STAGES
from lab.training.tiny_student import STUDENT_HEAD, write_student
from regrain.errors import UsageError
from regrain_lab.training.recipe import DistillConfig, LossConfig, Stage, read_recipe

RECIPES = Path(__file__).parents[3] / "recipes"
PARTS = {RECIPES / "common.toml", RECIPES / "perceptual.toml"}
"""Files that recipes extend, and none themselves."""


def test_tables_become_dataclasses_and_defaults_fill_the_rest(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path))
    assert recipe.model == MODEL
    assert recipe.loss == LossConfig()
    assert recipe.data.licence_classes == ("free",)
    assert recipe.stage[1] == Stage("latents", steps=2, batch=4, crop=64)
    assert recipe.stage[0].rate == (0.02, 0.2)
    assert recipe.steps == 8


def test_whole_numbers_pass_for_real_ones(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, HEAD + STAGES + "learning_rate = [1, 0]\n"))
    assert recipe.stage[2].learning_rate == (1.0, 0.0)
    assert {type(rate) for rate in recipe.stage[2].learning_rate} == {float}


def test_paths_are_relative_to_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    write_recipe(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe(Path("there/tiny.toml"))
    monkeypatch.chdir("/")
    assert recipe.path(recipe.data.shards) == (tmp_path / "there" / "shards").resolve()
    assert recipe.path("../x") == (tmp_path / "x").resolve()
    assert recipe.path("/abs/olute") == Path("/abs/olute").resolve()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seed = 3", "sede = 3", "unknown name 'sede'"),
        ("seed = 3", 'folder = "/"', "unknown name 'folder'"),
        ("holdout_crops = 2", "crops = 2", "data: unknown name 'crops'"),
        ("embedding = 8", "embeding = 8", "model: denoiser: unknown name 'embeding'"),
        ("seed = 3", "seed = 3.0", "seed: expected int, got 3.0"),
        ("seed = 3", "seed = true", "seed: expected int, got True"),
        ('name = "tiny"', "name = 5", "name: expected str, got 5"),
        ('name = "tiny"', "", "lacks 'name'"),
        ('shards = "shards"', "", "data: lacks 'shards'"),
        ("[data]", "[loss]\nlpips = 1\n[data]", "loss: lpips: expected str, got 1"),
        ('licence_classes = ["free"]', 'licence_classes = "free"', "licence_classes: expected a list, got 'free'"),
        ("rate = [0.02, 0.2]", "rate = [0.02]", "stage 1: rate: expected 2 values, got 1"),
        ("widths = [4, 8, 8]", "widths = [4, 8, 0]", "widths 3 is 0; 1 to 4096 is allowed"),
        ("continuous = 0.5", "continuous = 1.5", "stage 3: continuous is 1.5; 0 to 1 is allowed"),
        ("ema = 0.9", "ema = nan", "ema is nan; 0 to 1 is allowed"),
        ("rate = [0.02, 0.2]", "rate = [0, inf]", "rate 2 is inf"),
        ("steps = 2", "steps = 0", "stage 2: steps is 0"),
        ("crop = 64\nrate", "crop = 100\nrate", "stage 'warm-up': crop is 100; a multiple of 32 is allowed"),
        ("continuous = 0.5", "perceptual = [0, 3]", "stage 'denoiser': perceptual is 3.0"),
        ("[model.transform]", '[model]\nprediction = "y"\n[model.transform]', "model: prediction is 'y'"),
        ("[model.transform]", '[model]\nschedule = "no"\n[model.transform]', "model: no schedule is named 'no'"),
        ("[data]", '[loss]\nschedule = "no"\n[data]', "loss: no schedule is named 'no'"),
        ("[data]", '[prior]\nprediction = "y"\n[data]', "prior: prediction is 'y'; allowed are x0, eps, v"),
        ("[data]", "[prior]\nlearned_variance = 1\n[data]", "prior: learned_variance: expected bool, got 1"),
        ("[data]", "data = 1\n[other]", "unknown name 'other'"),
        ("seed = 3", 'seed = 3\nprecision = "half"', "precision is 'half'; allowed are auto, float32, bfloat16"),
        ("seed = 3", 'seed = 3\ntrains = "prior"\nstart = "w"', "start is 'w'; only recipes that train a codec"),
        ("seed = 3", "seed = = 3", "not a TOML recipe"),
        ("seed = 3", "seed = 1" + "0" * 400, "seed is a number of 1329 bits; 0 to 4.1943e+06 is allowed"),
        ("seed = 3", "seed = 1" + "0" * 5000, "not a TOML recipe: Exceeds the limit"),
        ("rate = [0.02, 0.2]", f"rate = [0, 1{400 * '0'}]", "rate 2 is a number of 1329 bits"),
        ("rate = [0.02, 0.2]", "rate = [0, -1e999]", "rate 2 is -inf"),
        ("seed = 3", "seed = " + 5000 * "[" + 5000 * "]", "not a TOML recipe: too deeply nested"),
        ("seed = 3", "seed = " + 20000 * "{a=", "not a TOML recipe: too deeply nested"),
        ("seed = 3", 30000 * "a." + "a = 3", "a line with over 256 dots"),
        ("seed = 3", "seed = 3 #" + 2**16 * "x", "over 65536 bytes"),
        ("seed = 3", "seed = [" + 400 * "[]," + "]", "seed: expected int, got a list of 400"),
        ("seed = 3", "seed = {a = 1}", "seed: expected int, got a dict of 1"),
        ("seed = 3", "seed = 1979-05-27", "seed: expected int, got datetime.date(1979, 5, 27)"),
        ("seed = 3", '"\\u001b[31m" = 3', r"unknown name '\x1b[31m'; allowed are"),
        ('shards = "shards"', 'shards = "a\\u0000b"', r"shards is 'a\x00b'; up to 1024 printable characters"),
        ('shards = "shards"', f'shards = "{1025 * "x"}"', "shards is 'xxx"),
        ('licence_classes = ["free"]', f"licence_classes = [{5000 * '1,'}]", "expected at most 4096 values, got 5000"),
        ('name = "tiny"', 'name = "../../tiny"', "name is '../../tiny'; the name of a folder is allowed"),
        ('name = "tiny"', 'name = ""', "name is ''"),
        ('name = "tiny"', f'name = "{201 * "n"}"', "up to 200 bytes"),
        ("steps = 2\nbatch = 4\ncrop = 64", "steps = 2\nbatch = 65536\ncrop = 8192", "65536 crops of 8192; 134217728"),
        ("latent = 8", "latent = 8\ncontext = 0", "context is 0; 1 to 4096 is allowed"),
        ("latent = 8", "latent = 8\nslices = [-1]", "slices 1 is -1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, old, new, complaint):
    text = HEAD + STAGES
    assert old in text
    with pytest.raises(UsageError, match=re.escape(complaint)) as caught:
        read_recipe(write_recipe(tmp_path, text.replace(old, new, 1)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("trains", "prior", "complaint"),
    [
        ("prior", "channels = 4", "prior: channels is 4; pictures have 3"),
        ("prior", "patch = 3", "stage 'warm-up': crop is 64; with patch 3 a multiple of 12 does"),
        ("latent-prior", "channels = 4\npatch = 4", "stage 'warm-up': crop is 64; with patch 4 a multiple of 128 does"),
    ],
)
def test_a_prior_fits_its_crops(tmp_path, trains, prior, complaint):
    text = HEAD.replace("seed = 3", f'seed = 3\ntrains = "{trains}"').replace("[data]", f"[prior]\n{prior}\n[data]")
    with pytest.raises(UsageError, match=complaint):
        read_recipe(write_recipe(tmp_path, text + STAGES))


@pytest.mark.parametrize("stages", ["", "stage = []\n"])
def test_a_recipe_has_stages(tmp_path, stages):
    with pytest.raises(UsageError, match="stage"):
        read_recipe(write_recipe(tmp_path, stages + HEAD))


def test_no_file_no_text_no_recipe(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="directory"):
        read_recipe(tmp_path)
    for data in (b"\xff\xfe\x00", "name = 1".encode("utf-16"), b"name = '\xe4'", b"\0" * 99):
        (tmp_path / "binary.toml").write_bytes(data)
        with pytest.raises(UsageError, match="not a TOML recipe"):
            read_recipe(tmp_path / "binary.toml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are POSIX's")
def test_a_pipe_is_no_recipe_and_no_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match=r"pipe\.toml: not a file"):
        read_recipe(tmp_path / "pipe.toml")


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    path = write_recipe(tmp_path)
    plain = read_recipe(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_recipe(path) == plain


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_each_prediction_is_one_word_away(tmp_path, prediction):
    text = HEAD.replace("[model.transform]", f'[model]\nprediction = "{prediction}"\n[model.transform]') + STAGES
    assert read_recipe(write_recipe(tmp_path, text)).model.prediction == prediction


LICENCELESS = {"cifar"}
"""Recipes on pictures of no stated licence, whose weights do not ship."""


@pytest.mark.parametrize("path", sorted({*RECIPES.glob("*.toml")} - PARTS), ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_are_recipes(path):
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.data.licence_classes == (() if path.stem in LICENCELESS else ("free",))
    assert recipe.data.holdout


@pytest.mark.parametrize("path", sorted(PARTS), ids=lambda path: path.stem)
def test_what_recipes_have_in_common_is_no_recipe(path):
    with pytest.raises(UsageError, match="lacks 'name' and 'stage'"):
        read_recipe(path)


def test_no_block_stands_twice_in_the_recipes_of_the_repository():
    """What two recipes share, but for their stages, is written in one file that both extend."""
    blocks = Counter()
    for path in RECIPES.glob("*.toml"):
        lines = [line for line in path.read_text().partition("[[stage]]")[0].splitlines() if "=" in line]
        blocks.update(zip(lines, lines[1:], lines[2:], lines[3:], strict=False))
    assert blocks
    assert max(blocks.values()) == 1, blocks.most_common(3)


GUIDED = STUDENT_STAGES.replace('"teacher.safetensors"', '"teacher.safetensors"\nguidance_max = 2.0\ndropout = 0.1')


def stages(*methods, config=GUIDED):
    """The table, and a stage of each method, progressive ones halving from 4."""
    text, steps = config.partition("[[stage]]")[0], 8
    for number, method in enumerate(methods):
        steps //= 2 if method == "progressive" else 1
        text += f'[[stage]]\nname = "{number}"\nsteps = 1\nmethod = "{method}"\nsampling_steps = {steps}\n'
    return STUDENT_HEAD + text


def test_a_stage_without_a_method_has_the_tables(tmp_path):
    read = read_recipe(write_student(tmp_path))
    assert [stage.method for stage in read.stage] == ["direct", "progressive", "progressive"]
    assert DistillConfig().method == "direct"


@pytest.mark.parametrize(
    "allowed",
    [
        ("none", "guided", "progressive", "progressive"),
        ("guided", "progressive"),
    ],
)
def test_guidance_has_its_order(tmp_path, allowed):
    assert read_recipe(write_student(tmp_path, stages(*allowed))).distill.guidance_max == 2.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sampling_steps = 4", "sampling_steps = 6", "stage 'direct': sampling_steps is 6; a power of 2 is allowed"),
        ("sampling_steps = 4", "sampling_steps = 0", "sampling_steps is 0; 1 to 1024"),
        ("sampling_steps = 2", "sampling_steps = 4", "stage 'halve again': sampling_steps is 1 after 4; 2 is allowed"),
        ('method = "progressive"', 'method = "magic"', "method is 'magic'; allowed are none, direct"),
        ("[distill]", '[distill]\nmethod = "magic"', r"distill: method is 'magic'; allowed are none, direct"),
        (
            "[distill]",
            '[distill]\nperceptual_target = "all"',
            "is 'all'; allowed are target, picture",
        ),
        ("[distill]", "[distill]\nguidance_max = 1.0", "guidance_max needs a stage whose method is"),
        ("[distill]", "[distill]\nguidance = 1.0", "guidance is 1; 0 to guidance_max, 0, is allowed"),
        ("[distill]", "[distill]\ndropout = 1.5", "dropout is 1.5; 0 to 1 is allowed"),
        ("continuous = 0.5", "continuous = 0.5\ngap = [1.0, 0.0]", "gap 2 is 0.0; 0.001 to 1 is allowed"),
        ('method = "progressive"', 'method = "guided"', "stage 'halve': a guided stage needs guidance_max above 0"),
    ],
)
def test_methods_that_are_refused(tmp_path, old, new, message):
    path = write_student(tmp_path, (STUDENT_HEAD + STUDENT_STAGES).replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("none", "guided", "direct"), "stage '2': method is 'direct' after guidance; progressive is allowed"),
        (("none", "guided", "progressive", "none"), "method is 'none' after guidance"),
        (("direct", "guided"), "stage '1': guidance needs a teacher with dropout: before it, \"none\""),
    ],
)
def test_what_guidance_does_not_follow(tmp_path, wrong, message):
    with pytest.raises(UsageError, match=message):
        read_recipe(write_student(tmp_path, stages(*wrong)))
    without = GUIDED.replace("dropout = 0.1", "dropout = 0.0")
    with pytest.raises(UsageError, match="guidance needs a teacher with dropout"):
        read_recipe(write_student(tmp_path, stages("none", "guided", config=without)))


@pytest.mark.parametrize("text", ["[distill]\ndropout = 0.1\n", '[[stage]]\nname = "s"\nsteps = 1\nmethod = "none"\n'])
def test_only_students_are_distilled(tmp_path, text):
    with pytest.raises(UsageError, match='of recipes with trains = "student" alone'):
        read_recipe(write_recipe(tmp_path, HEAD + STAGES + text))
