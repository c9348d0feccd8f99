"""Pictures of screens, drawn by rule: charts, source text, tables, dialogs, prose, desktops, terminals and drawings.

    python experiments/screens/generator.py OUT --count 60 --kinds chart code --seed 0

Everything in them is made up by a random generator, and the fonts are those that matplotlib brings along (DejaVu) and
Pillow (Aileron, and a bitmap font without grey), so they may be used for anything. Picture N of a seed is a function of
both: seeds that training never saw make pictures to judge by.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 640, 480
FONTS: Final = Path(mpl.get_data_path()) / "fonts" / "ttf"
SANS, BOLD, MONO, SERIF = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf"
AILERON, BITMAP = "Aileron", "bitmap"
"""Pillow's own: an outline font, and one of 11 pixels whose letters are one colour."""
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
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(SYLLABLES, rng.integers(1, 4)))


def _words(rng: np.random.Generator, count: int) -> str:
    return " ".join(_word(rng) for _ in range(count))


def _font(name: str, size: int) -> Font:
    if name == BITMAP:
        return ImageFont.load_default_imagefont()
    return ImageFont.load_default(size) if name == AILERON else ImageFont.truetype(FONTS / name, size)


def _sheet(fill: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (WIDTH, HEIGHT), fill)
    return picture, ImageDraw.Draw(picture)


def _theme(rng: np.random.Generator) -> Theme:
    return THEMES[rng.integers(len(THEMES))]


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


def desktop(rng: np.random.Generator) -> Image.Image:
    """Windows over one another with bars, icons and lists, on one colour or a run of colours, above a bar of tasks."""
    ground, panel, ink, accent = _theme(rng)
    picture, draw = _sheet(accent if rng.random() < 0.5 else panel)
    font, bar = _font(rng.choice([SANS, AILERON, BITMAP]), int(rng.integers(8, 13))), int(rng.integers(16, 25))
    if rng.random() < 0.3:
        picture.paste(Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB"))
    for y in range(20, HEIGHT - 80, 70):
        _icon(rng, draw, (24, y), 32)
        draw.text((14, y + 36), _word(rng), fill=ink, font=font)
    for _ in range(rng.integers(1, 5)):
        left, top = int(rng.integers(60, WIDTH - 260)), int(rng.integers(0, HEIGHT - 220))
        right, bottom = left + int(rng.integers(200, 480)), top + int(rng.integers(150, 380))
        draw.rectangle((left, top, right, bottom), fill=ground, outline=ink)
        draw.rectangle((left + 1, top + 1, right - 1, top + bar), fill=accent)
        draw.text((left + 6, top + bar // 2 - 6), _words(rng, 2), fill=ground, font=font)
        for button in range(3):
            x = right - (button + 1) * bar
            draw.rectangle((x + 3, top + 4, x + bar - 3, top + bar - 4), outline=ground)
        for number, y in enumerate(range(top + bar + 6, bottom - 16, int(rng.integers(14, 20)))):
            draw.rectangle((left + 6, y, left + 16, y + 10), outline=ink, fill=panel if number % 3 else accent)
            draw.text((left + 22, y - 1), _words(rng, int(rng.integers(1, 5))), fill=ink, font=font)
        draw.rectangle((right - 12, top + bar + 1, right - 1, bottom - 1), fill=panel, outline=ink)
    draw.rectangle((0, HEIGHT - 26, WIDTH, HEIGHT), fill=panel)
    for x in range(6, WIDTH - 100, 96):
        draw.rectangle((x, HEIGHT - 23, x + 90, HEIGHT - 4), outline=ink)
        draw.text((x + 5, HEIGHT - 19), _word(rng), fill=ink, font=font)
    return picture


def terminal(rng: np.random.Generator) -> Image.Image:
    """Lines of one width on dark or light, in eight colours, with marked words and boxes of lines."""
    dark = rng.random() < 0.8
    picture, draw = _sheet("#000000" if dark else "#ffffff")
    font = _font(rng.choice([MONO, MONO, BITMAP]), int(rng.integers(8, 14)))
    wide, step = draw.textlength("m", font=font), int(rng.integers(12, 18))
    levels = (90, 255) if dark else (0, 160)
    colours = [tuple(map(int, rng.choice(levels, 3))) for _ in range(8)]
    for y in range(2, HEIGHT, step):
        x = 3.0
        for _ in range(rng.integers(0, 9)):
            text = rng.choice([_word(rng), f"{rng.integers(10**6):>7}", "-rw-r--r--", "|", "$ " + _word(rng), "[ok]"])
            colour, end = colours[rng.integers(8)], x + draw.textlength(text, font=font)
            if marked := rng.random() < 0.06:
                draw.rectangle((x, y, end, y + step), fill=colour)
            draw.text((x, y), text, fill=("#000000" if dark else "#ffffff") if marked else colour, font=font)
            x = end + wide * rng.integers(1, 4)
    if rng.random() < 0.4:
        left, top = int(rng.integers(0, 300)), int(rng.integers(0, 200))
        draw.rectangle((left, top, left + 300, top + 160), outline=colours[0], fill="#0000aa" if dark else "#eeeeee")
        for y in range(top + 8, top + 150, step):
            draw.text((left + 8, y), _words(rng, 3), fill=colours[1], font=font)
    return picture


def diagram(rng: np.random.Generator) -> Image.Image:
    """Boxes with names and lines of one pixel between them, over a grid, or hatched plans and maps of flat regions."""
    ground, panel, ink, accent = _theme(rng)
    picture, draw = _sheet(ground)
    font = _font(rng.choice([SANS, SERIF, AILERON]), int(rng.integers(8, 13)))
    if rng.random() < 0.5:
        step = int(rng.integers(8, 33))
        for at in range(0, WIDTH, step):
            draw.line((at, 0, at, HEIGHT), fill=panel)
            draw.line((0, at, WIDTH, at), fill=panel)
    corners = np.stack([rng.integers(10, WIDTH - 130, 12), rng.integers(10, HEIGHT - 70, 12)], 1)
    for (x, y), (u, v) in pairwise(corners):
        draw.line((int(x) + 50, int(y) + 20, int(u) + 50, int(v) + 20), fill=ink, width=int(rng.choice([1, 1, 2])))
    for x, y in corners.tolist():
        shape = rng.choice(["box", "box", "ellipse", "region", "hatched"])
        fill, name = (_colour(rng, ground), ground) if rng.random() < 0.4 else (panel, ink)
        if shape == "ellipse":
            draw.ellipse((x, y, x + 100, y + 40), fill=fill, outline=ink)
        elif shape == "region":
            angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
            radii = rng.uniform(30, 70, 9)
            points = np.stack([x + 50 + radii * np.cos(angles), y + 20 + radii * np.sin(angles)], 1)
            draw.polygon([(float(a), float(b)) for a, b in points], fill=fill, outline=ink)
        else:
            draw.rectangle((x, y, x + 100, y + 40), fill=fill, outline=accent)
            for at in range(0, 100 if shape == "hatched" else 0, 5):
                draw.line((x + at, y + 40, x + min(at + 40, 100), y + max(40 - 100 + at, 0)), fill=ink)
        draw.text((x + 6, y + 13), _words(rng, 2), fill=name, font=font)
    return picture


def page(rng: np.random.Generator) -> Image.Image:
    """A page of the web: a bar with names, a heading, cards with pictures of soft colours, buttons, marks and lines."""
    ground, panel, ink, accent = _theme(rng)
    picture, draw = _sheet(ground)
    size, columns = int(rng.integers(8, 13)), int(rng.integers(2, 5))
    small, large = _font(rng.choice([SANS, AILERON]), size), _font(rng.choice([BOLD, AILERON]), 2 * size + 4)
    draw.rectangle((0, 0, WIDTH, 34), fill=accent if rng.random() < 0.5 else panel)
    for x in range(16, WIDTH - 60, int(rng.integers(70, 120))):
        draw.text((x, 11), _word(rng), fill=ink, font=small)
    draw.text((20, 50), _words(rng, 3).title(), fill=ink, font=large)
    width = (WIDTH - 20) // columns
    for top in range(100, HEIGHT - 100, 170):
        for left in range(16, WIDTH - width, width):
            draw.rounded_rectangle((left, top, left + width - 14, top + 156), 6, fill=panel, outline=accent)
            colours = np.asarray(rng.integers(0, 256, (2, 3, 3)), np.uint8)  # a soft picture, as photos are from afar
            picture.paste(
                Image.fromarray(colours).resize((width - 30, 70), Image.Resampling.BICUBIC), (left + 8, top + 8)
            )
            for line in range(3):
                draw.text((left + 8, top + 84 + line * (size + 5)), _words(rng, 2), fill=ink, font=small)
            _icon(rng, draw, (left + width - 40, top + 130), 16)
            draw.line((left + 8, top + 80, left + width - 22, top + 80), fill=ink)
    return picture


def _icon(rng: np.random.Generator, draw: ImageDraw.ImageDraw, at: tuple[int, int], side: int) -> None:
    """A sign of cells in a few colours, alike on both sides."""
    half, colours = rng.integers(0, 3, (8, 4)), [tuple(map(int, rng.integers(0, 256, 3))) for _ in range(2)]
    cells, cell = np.concatenate([half, half[:, ::-1]], 1), side // 8
    for row, column in np.argwhere(cells > 0).tolist():
        x, y = at[0] + column * cell, at[1] + row * cell
        draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=colours[cells[row, column] - 1])


KINDS: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "chart": chart, "code": code, "table": table, "dialog": dialog, "prose": prose, "desktop": desktop,
    "terminal": terminal, "diagram": diagram, "page": page,
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
