"""Every value of a recipe is bounded: a fuzz of recipes, no number without a range, and what `extends` does."""

import os
import random
import re
from collections import Counter
from dataclasses import is_dataclass, replace
from typing import get_args, get_type_hints

import pytest

from lab.training.tiny import HEAD, STAGES, write_recipe
from regrain.errors import UsageError
from regrain_lab.training import limits
from regrain_lab.training.recipe import Recipe, read_recipe
from regrain_lab.training.values import FILES_MAX, RANGES, tables

HOSTILE = (
    *("-1", "0", "1", "2", "63", "64", "4096", "0x7fffffff", "9" * 30, "1.5", "1e300", "-inf", "nan", "true"),
    *('""', '"/"', '"\\u0000"', '"\\U0001f600"', "'cosine'", '"v"', "1979-05-27", "\x1b", "=", "[[stage]]", "[data]"),
    *("[]", "[[]]", "[1, 2, 3]", "[1e9, 1]", "[4096, 4096, 4096]", "{}", "{a = 1}"),
    *('"student"', '"prior"', '"latent-prior"', '"autoencoder"'),
)


def test_every_number_of_a_recipe_has_a_range():
    """A name without one would let any size through."""

    def names(kind):
        for name, hint in get_type_hints(kind).items():
            kinds = {hint, *get_args(hint)}
            for inner in (one for one in kinds if is_dataclass(one)):
                yield from names(inner)
            if kinds & {int, float}:
                yield name

    assert set(names(Recipe)) == RANGES.keys()


def mutated(text, seed):
    """`text` with a value or two, or lines, put in another's place, or something hostile there."""
    chance = random.Random(seed)
    lines = text.splitlines()
    for _ in range(chance.randint(1, 2)):
        place, value = chance.choice([i for i, line in enumerate(lines) if line]), chance.choice(HOSTILE)
        name, _, own = lines[place].partition(" = ")
        other = chance.choice([line for line in lines if "=" in line])
        lines[place] = chance.choice([
            f"{name} = {value}", f"{name} = {value}", f"{name} = {other.partition(' = ')[2]}", f"{other[:6]} = {own}",
            other, "", f"{lines[place]}\n{chance.choice([*RANGES])} = {value}", f"{lines[place]}\n{value}",
        ])  # fmt: skip
    return "\n".join(lines)


def complaint(path):
    """What is wrong with a recipe; None for one that can be trained."""
    try:
        limits.check(read_recipe(path))
    except UsageError as error:
        return str(error)
    return None


def test_mutated_recipes_are_recipes_or_one_line(tmp_path):
    """150 of them, by a fixed seed."""
    counts = Counter()
    for seed in range(200):
        said = complaint(write_recipe(tmp_path, mutated(HEAD + STAGES, seed)))
        counts[said is None] += 1
        assert said is None or (said.isprintable() and len(said) < 1500), seed
    assert min(counts.values()) > 15


def write_chain(folder, *texts):
    """The files 0.toml, 1.toml ..., each of which extends the next. Returns the first."""
    for i, text in enumerate(texts):
        head = f'extends = "{i + 1}.toml"\n' * (i + 1 < len(texts))
        (folder / f"{i}.toml").write_text(head + text)
    return folder / "0.toml"


def test_tables_merge_key_by_key_and_all_else_is_replaced_whole(tmp_path):
    base = "seed = 1\n[data]\nfaded = 0.5\nholdout = ['a', 'b']\n[model.transform]\nlatent = 8\nhyper = 4\n"
    base += "[[stage]]\nname = 'old'\n"
    over = "[data]\nholdout = ['c']\n[model.transform]\nlatent = 16\n[loss]\nbalance = 0.0\n[[stage]]\nsteps = 2\n"
    merged, _ = tables(write_chain(tmp_path, "", over, base))
    assert merged == {
        "seed": 1, "data": {"faded": 0.5, "holdout": ["c"]}, "model": {"transform": {"latent": 16, "hyper": 4}},
        "loss": {"balance": 0.0}, "stage": [{"steps": 2}],
    }  # fmt: skip
    merged, _ = tables(write_chain(tmp_path, "data = 1", "[data]\nfaded = 0.5"))
    assert merged == {"data": 1}


def test_a_recipe_extends_one_of_another_folder_and_keeps_its_own_for_every_other_path(tmp_path):
    """The file that is extended is looked for beside the one that names it; shards and weights beside the recipe."""
    for folder in ("own", "others/deep"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "own" / "0.toml").write_text('extends = "../others/1.toml"\nname = "own"\n')
    (tmp_path / "others" / "1.toml").write_text('extends = "deep/2.toml"\n')
    write_recipe(tmp_path / "others" / "deep").rename(tmp_path / "others" / "deep" / "2.toml")
    recipe = read_recipe(tmp_path / "own" / "0.toml")
    whole = read_recipe(tmp_path / "others" / "deep" / "2.toml")
    assert recipe == replace(whole, name="own", folder=(tmp_path / "own").resolve())
    assert recipe.path(recipe.data.shards) == (tmp_path / "own" / "shards").resolve()


@pytest.mark.parametrize(
    ("text", "other", "complaint"),
    [
        ('extends = "none.toml"', "", "none.toml: No such file"),
        ('extends = ""', "", ": a directory; a TOML file is allowed"),
        ('extends = "0.toml"', "", "0.toml: a cycle; a file may not extend itself"),
        ('extends = "../NAME/./0.toml"', "", "0.toml: a cycle"),
        ('extends = "1.toml"', 'extends = "0.toml"', "0.toml: a cycle"),
        ('extends = "1.toml"', "extends = 1", "1.toml: extends: expected str, got 1"),
        ('extends = ["1.toml"]', "", "0.toml: extends: expected str, got a list of 1"),
        ('extends = "1\\u0000.toml"', "", r"extends is '1\x00.toml'; up to 1024 printable characters"),
        (f'extends = "{1000 * "x"}"', "", "File name too long"),
        ('extends = "1.toml"', "seed = = 3", "1.toml: not a TOML recipe"),
        ('extends = "1.toml"', "seed = 1 #" + 2**16 * "x", "1.toml: over 65536 bytes"),
        ('extends = "1.toml"', "[loss]\nbalance = 2", "1.toml: loss: balance is 2; 0 to 1 is allowed"),
        ('extends = "1.toml"', "sede = 3", "1.toml: unknown name 'sede'"),
        ('extends = "1.toml"', "", "1.toml: lacks 'name', 'data', and 'stage'"),
        ('extends = "pipe"', "", "pipe: not a file"),
        ('extends = "loop"', "", "loop: "),
        ('[data]\nextends = "1.toml"', "", "data: unknown name 'extends'"),
    ],
)
def test_what_is_wrong_with_what_a_recipe_extends_is_named(tmp_path, text, other, complaint):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "0.toml").write_text(text.replace("NAME", tmp_path.name))
    (tmp_path / "1.toml").write_text(other)
    with pytest.raises(UsageError, match=re.escape(complaint)) as caught:
        read_recipe(tmp_path / "0.toml")
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/0.toml")
    assert said.isprintable()
    assert (" extends " in said) == text.startswith('extends = "') or "\\x00" in said


def test_a_chain_is_short_and_its_tables_are_flat(tmp_path):
    read_recipe(write_chain(tmp_path, *[""] * (FILES_MAX - 1), HEAD + STAGES))
    with pytest.raises(UsageError, match=rf"0\.toml extends .*{FILES_MAX}\.toml: a chain of over {FILES_MAX} files"):
        read_recipe(write_chain(tmp_path, *[""] * FILES_MAX, HEAD + STAGES))
    deep = f"[{'.'.join('a' * 250)}]\n{'.'.join('b' * 250)} = {150 * '{c = '}1{150 * '}'}\n"
    with pytest.raises(UsageError, match=r"1\.toml: (unknown name 'a'|not a TOML recipe: too deeply nested)"):
        read_recipe(write_chain(tmp_path, deep, deep))
