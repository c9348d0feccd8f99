"""Pictures of screens, drawn by rule: charts, source text, tables, dialogs and pages of prose.

    python experiments/screens/generator.py OUT --count 60 --kinds chart code --seed 0

Everything in them is made up by a random generator, and the fonts are matplotlib's own, so they may be used for
anything. Picture N of a seed is a function of both: seeds that training never saw make pictures to judge by.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 640, 480
FONTS: Final = Path(mpl.get_data_path()) / "fonts" / "ttf"
SANS, BOLD, MONO, SERIF = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf"
SYLLABLES: Final = (
    "ba", "con", "de", "fer", "gi", "lo", "ma", "na", "pro", "qua", "re", "sta", "ti", "ver", "zon",
    "in", "an", "el", "or", "us",
)  # fmt: skip
THEMES: Final = (
    ("#ffffff", "#f0f0f0", "#202020", "#1565c0"), ("#1e1e1e", "#2d2d2d", "#d4d4d4", "#569cd6"),
    ("#fdf6e3", "#eee8d5", "#586e75", "#b58900"), ("#f5f7fa", "#e4e8ee", "#333a45", "#d32f2f"),
)  # fmt: skip
"""Colours of ground, panels, text and accents."""
Theme = tuple[str, str, str, str]


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(SYLLABLES, rng.integers(1, 4)))


def _words(rng: np.random.Generator, count: int) -> str:
    return " ".join(_word(rng) for _ in range(count))


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / name, size)


def chart(rng: np.random.Generator) -> Image.Image:
    """One or two axes of lines, bars, points or steps, with labels, a grid and a legend."""
    ground, panel, ink, _ = THEMES[rng.integers(len(THEMES))]
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor=ground)
    size = int(rng.integers(6, 10))
    for axes in np.atleast_1d(figure.subplots(1, rng.integers(1, 3))):
        axes.set_facecolor(panel if rng.random() < 0.4 else ground)
        x = np.linspace(0, rng.uniform(1, 100), rng.integers(8, 60))
        for _ in range(rng.integers(1, 5)):
            y = np.cumsum(rng.normal(0, 1, len(x))) + rng.uniform(-3, 3)
            draw = rng.choice(["plot", "plot", "bar", "scatter", "step"])
            if draw == "bar":
                axes.bar(x, abs(y), width=0.7 * x[1], color=rng.random(3), label=_word(rng))
            elif draw == "scatter":
                axes.scatter(x, y, s=rng.uniform(4, 20), color=rng.random(3), label=_word(rng))
            else:
                getattr(axes, draw)(x, y, lw=rng.choice([0.7, 1, 1.5, 2]), color=rng.random(3), label=_word(rng))
        axes.set_title(_words(rng, 3), fontsize=size + 2, color=ink)
        axes.set_xlabel(_words(rng, 2), fontsize=size, color=ink)
        axes.set_ylabel(_words(rng, 2), fontsize=size, color=ink)
        axes.tick_params(labelsize=size, colors=ink)
        for side in axes.spines.values():
            side.set_color(ink)
        if rng.random() < 0.6:
            axes.grid(lw=0.5, alpha=0.5)
        if rng.random() < 0.6:
            axes.legend(fontsize=size)
    figure.tight_layout()
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        return Image.open(file).convert("RGB")


def code(rng: np.random.Generator) -> Image.Image:
    """Lines of source text with numbers beside them, in colours, under a bar of tabs."""
    ground, panel, ink, accent = THEMES[rng.integers(len(THEMES))]
    picture = Image.new("RGB", (WIDTH, HEIGHT), ground)
    draw, size = ImageDraw.Draw(picture), int(rng.integers(9, 15))
    font, colours = _font(MONO, size), [ink, ink, accent, _colour(rng, ground), _colour(rng, ground)]
    draw.rectangle((0, 0, WIDTH, 24), fill=panel)
    for tab in range(rng.integers(1, 5)):
        draw.text((10 + 120 * tab, 5), f"{_word(rng)}.py", fill=accent if tab == 0 else ink, font=_font(SANS, 11))
    indent = 0
    for number, y in enumerate(range(30, HEIGHT, round(1.4 * size)), int(rng.integers(1, 900))):
        draw.text((6, y), f"{number:4}", fill=panel if rng.random() < 0.1 else ink, font=font)
        indent = int(np.clip(indent + rng.integers(-1, 2), 0, 5))
        x = 50 + 2.4 * size * indent
        for _ in range(rng.integers(0, 8)):
            text = rng.choice([_word(rng), f"{_word(rng)}(", "=", "):", '"' + _word(rng) + '"', f"{rng.random():.2f}"])
            draw.text((x, y), text, fill=colours[rng.integers(len(colours))], font=font)
            x += draw.textlength(text + " ", font=font)
    return picture


def table(rng: np.random.Generator) -> Image.Image:
    """Columns of names and numbers between lines of one pixel."""
    ground, panel, ink, accent = THEMES[rng.integers(len(THEMES))]
    picture = Image.new("RGB", (WIDTH, HEIGHT), ground)
    draw, size = ImageDraw.Draw(picture), int(rng.integers(8, 14))
    columns, step, font = int(rng.integers(3, 9)), round(1.9 * size), _font(SANS, size)
    for row, y in enumerate(range(0, HEIGHT, step)):
        if row == 0 or (row % 2 and rng.random() < 0.9):
            draw.rectangle((0, y, WIDTH, y + step), fill=accent if row == 0 else panel)
        draw.line((0, y, WIDTH, y), fill=ink if rng.random() < 0.05 else panel)
        for column in range(columns):
            text = _word(rng) if row == 0 or column == 0 else f"{rng.normal(0, 10 ** rng.integers(1, 5)):,.2f}"
            draw.text((WIDTH // columns * column + 5, y + step // 5), text, fill=ground if row == 0 else ink, font=font)
    for column in range(1, columns):
        draw.line((WIDTH // columns * column, 0, WIDTH // columns * column, HEIGHT), fill=panel)
    return picture


def dialog(rng: np.random.Generator) -> Image.Image:
    """Windows with buttons, boxes to tick, fields, a slider and a menu, over a flat ground or a run of colours."""
    ground, panel, ink, accent = THEMES[rng.integers(len(THEMES))]
    if rng.random() < 0.5:
        ends = rng.integers(0, 256, (2, 3))
        run = ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, HEIGHT)[:, None]
        picture = Image.fromarray(np.repeat(run[:, None].astype(np.uint8), WIDTH, 1))
    else:
        picture = Image.new("RGB", (WIDTH, HEIGHT), panel)
    draw, size = ImageDraw.Draw(picture), int(rng.integers(9, 14))
    font = _font(SANS, size)
    for _ in range(rng.integers(1, 4)):
        left, top = int(rng.integers(0, WIDTH - 300)), int(rng.integers(0, HEIGHT - 220))
        right, bottom = left + int(rng.integers(240, 300)), top + int(rng.integers(160, 220))
        draw.rounded_rectangle((left, top, right, bottom), rng.integers(0, 10), fill=ground, outline=ink)
        draw.text((left + 10, top + 6), _words(rng, 2), fill=ink, font=_font(BOLD, size))
        draw.line((left, top + 26, right, top + 26), fill=panel)
        for y in range(top + 34, bottom - 44, 24):
            kind = rng.integers(3)
            if kind == 0:
                draw.rectangle(
                    (left + 12, y, left + 24, y + 12), outline=ink, fill=accent if rng.random() < 0.5 else None
                )
                draw.text((left + 32, y - 1), _words(rng, 3), fill=ink, font=font)
            elif kind == 1:
                draw.rectangle((left + 12, y, right - 12, y + 18), outline=panel, fill=panel)
                draw.text((left + 16, y + 2), _words(rng, 2), fill=ink, font=font)
            else:
                at = int(rng.integers(left + 20, right - 20))
                draw.line((left + 12, y + 8, right - 12, y + 8), fill=panel, width=3)
                draw.ellipse((at - 6, y + 2, at + 6, y + 14), fill=accent)
        for button in range(2):
            x = right - 90 * (button + 1)
            draw.rounded_rectangle((x, bottom - 32, x + 78, bottom - 8), 4, fill=panel if button else accent)
            draw.text((x + 39, bottom - 20), _word(rng), fill=ink if button else ground, font=font, anchor="mm")
    return picture


def prose(rng: np.random.Generator) -> Image.Image:
    """Paragraphs under headings, in one column or two."""
    ground, panel, ink, accent = THEMES[rng.integers(len(THEMES))]
    picture = Image.new("RGB", (WIDTH, HEIGHT), ground)
    draw, size, columns = ImageDraw.Draw(picture), int(rng.integers(8, 15)), int(rng.integers(1, 3))
    font = _font(rng.choice([SANS, SERIF]), size)
    for column in range(columns):
        left, width, y = 20 + column * WIDTH // columns, WIDTH // columns - 40, 16.0
        while y < HEIGHT:
            draw.text((left, y), _words(rng, 3).title(), fill=accent, font=_font(BOLD, size + 4))
            y += 2 * size + 6
            for _ in range(rng.integers(3, 9)):
                line = _word(rng).title()
                while draw.textlength(line, font=font) < width - 5 * size:
                    line += " " + _word(rng)
                draw.text((left, y), line, fill=ink, font=font)
                y += 1.4 * size
            y += size
    if rng.random() < 0.5:
        draw.rectangle((0, HEIGHT - 22, WIDTH, HEIGHT), fill=panel)
    return picture


def _colour(rng: np.random.Generator, ground: str) -> tuple[int, int, int]:
    """One that is read on the ground."""
    dark = int(ground[1:3], 16) < 128
    return tuple(int(v) for v in rng.integers(120 if dark else 0, 256 if dark else 140, 3))  # type: ignore[return-value]


KINDS: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "chart": chart, "code": code, "table": table, "dialog": dialog, "prose": prose,
}  # fmt: skip


def screen(kind: str, seed: int, number: int) -> Image.Image:
    """Picture `number` of a kind and a seed, RGB, 640x480."""
    return KINDS[kind](np.random.default_rng((seed, number, list(KINDS).index(kind))))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write pictures as PNG."""
    parser = argparse.ArgumentParser(description="Draw pictures of screens.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(options.count):
        kind = options.kinds[number % len(options.kinds)]
        screen(kind, options.seed, number).save(options.out / f"{kind}-{options.seed}-{number:04}.png")


if __name__ == "__main__":
    main()
