"""A table [distill] and the stages under it: what is refused, in one line, before anything is trained."""

import pytest

from lab.training.tiny import HEAD, write_recipe
from lab.training.tiny import STAGES as CODEC_STAGES
from lab.training.tiny_student import STAGES, STUDENT_HEAD, write_student
from regrain.errors import UsageError
from regrain_lab.training.config import read_recipe
from regrain_lab.training.methods import DistillConfig

GUIDED = STAGES.replace('"teacher.safetensors"', '"teacher.safetensors"\nguidance_max = 2.0\ndropout = 0.1')


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
def test_what_is_refused(tmp_path, old, new, message):
    path = write_student(tmp_path, (STUDENT_HEAD + STAGES).replace(old, new, 1))
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
        read_recipe(write_recipe(tmp_path, HEAD + CODEC_STAGES + text))
