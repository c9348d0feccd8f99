"""Every value of a recipe is bounded: a fuzz of recipes, and that no number goes without a range."""

import random
from collections import Counter
from dataclasses import is_dataclass
from typing import get_args, get_type_hints

from regrain.errors import UsageError
from regrain.training import checks
from regrain.training.config import Recipe, read_recipe
from regrain.training.values import RANGES
from training.tiny import HEAD, STAGES, write_recipe

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
        checks.check(read_recipe(path))
    except UsageError as error:
        return str(error)
    return None


def test_mutated_recipes_are_recipes_or_one_line(tmp_path):
    """150 of them, by a fixed seed."""
    counts = Counter()
    for seed in range(150):
        said = complaint(write_recipe(tmp_path, mutated(HEAD + STAGES, seed)))
        counts[said is None] += 1
        assert said is None or (said.isprintable() and len(said) < 1500), seed
    assert min(counts.values()) > 15
