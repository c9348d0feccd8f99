"""Seconds of regrain beside AVIF, WebP, JPEG and, where it is installed, JPEG XL: two sizes, one thread and two.

    python benchmarks/beside.py [PICTURE] [-q 28] [--runs 5] [--sizes 768x512 1920x1080] [--threads 1 2]

Everything alternates in one process, from a file in memory to pixels and back, and each figure is the median over the
rounds: the ratios hold on a busy machine, the seconds do not. The other codecs write files of about the bytes of
regrain's: their quality is the highest that needs no more. `symbols` are regrain's bytes to latents alone, which is
also a part of `regrain`, and `fast` is its decoder of a third of the arithmetic.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from machine import describe
from pictures import DEMO, fitted
from PIL import Image, features

import regrain
from regrain import bitstream, registry
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.decode import decode_latents
from regrain.loading import threads_at_most

Work = Callable[[], object]
PULSE = "PULSE (arXiv 2609.18602), published, on other hardware: 1920x1080 in 126 ms on one thread, 5 kMAC/pixel"


def main() -> None:
    """Print a table for each size and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path, default=DEMO, help="scaled and cut to each size")
    parser.add_argument("-q", "--quality", type=float, default=28)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=["768x512", "1920x1080"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    options = parser.parse_args()
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores; load {machine['load']}\n{PULSE}")
    for size in options.sizes:
        picture = fitted(options.picture, *map(int, size.split("x")))
        for threads in options.threads:
            print(f"\n{size}, {threads} threads: milliseconds, and times regrain's\n\n| | bytes | encode | decode | |")
            print("|---|---:|---:|---:|---:|")
            with threads_at_most(threads):
                rows = measured(picture, options.quality, options.runs, threads)
            for name, (length, encode, decode) in rows.items():
                ratio = decode / rows["regrain"][2]
                written = "" if encode is None else f"{1000 * encode:.0f}"
                print(f"| {name} | {length:,} | {written} | {1000 * decode:.1f} | {ratio:.2f} |", flush=True)


def measured(
    picture: Image.Image, quality: float, runs: int, threads: int
) -> dict[str, tuple[int, float | None, float]]:
    """Bytes, and seconds to encode and decode, by name; the first round warms up."""
    data = regrain.encode(picture, quality=quality)
    deeds: dict[str, tuple[int, Work | None, Work]] = {
        "regrain": (len(data), lambda: regrain.encode(picture, quality=quality), lambda: regrain.decode(data))
    }
    model = registry.model_for(None, bitstream.Method.CONDITIONAL, None)
    assert isinstance(model, ConditionalModel)
    if model.config.fast is not None:
        deeds["regrain, fast"] = len(data), None, lambda: regrain.decode(data, fast=True)
    deeds["regrain, symbols"] = len(data), None, lambda: symbols(model, data)
    with suppress(ImportError):
        import_module("pillow_jxl")  # adds JPEG XL to Pillow
    for kind in ("AVIF", "WEBP", "JPEG", "JXL"):
        if kind in ("AVIF", "WEBP") and not features.check(kind.lower()):
            continue
        Image.init()
        if kind in Image.SAVE:
            more: dict[str, object] = {"max_threads": threads} if kind == "AVIF" else {}
            best = fitting(picture, kind, len(data))
            file = saved(picture, kind, best)
            deeds[kind] = len(file), writer(picture, kind, best, more), reader(file)
    taken: dict[str, list[tuple[float | None, float]]] = {name: [] for name in deeds}
    for _ in range(runs + 1):
        for name, (_, encode, decode) in deeds.items():
            taken[name].append((seconds(encode) if encode else None, seconds(decode)))
    return {name: (deeds[name][0], *medians(rounds[1:])) for name, rounds in taken.items()}


def symbols(model: ConditionalModel, data: bytes) -> object:
    """The latents of a file."""
    stream = bitstream.read(data)
    header = stream.header
    return decode_latents(model.latents, stream.tiles, (header.height, header.width), header.quality, header.tile)


def writer(picture: Image.Image, kind: str, quality: int, more: dict[str, object]) -> Work:
    """What writes a picture in a format."""
    return lambda: saved(picture, kind, quality, **more)


def reader(file: bytes) -> Work:
    """What reads all pixels of a file."""
    return lambda: Image.open(io.BytesIO(file)).convert("RGB")


def fitting(picture: Image.Image, kind: str, most: int) -> int:
    """The highest quality, 1 to 95, whose file has no more bytes than these; 1 where none has."""
    low, high = 1, 95
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(saved(picture, kind, middle)) <= most else (low, middle - 1)
    return low


def saved(picture: Image.Image, kind: str, quality: int, **more: object) -> bytes:
    """The bytes of a picture in one of Pillow's formats."""
    out = io.BytesIO()
    picture.save(out, kind, quality=quality, **more)
    return out.getvalue()


def seconds(work: Work) -> float:
    """What a call takes, by the clock."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def medians(rounds: list[tuple[float | None, float]]) -> tuple[float | None, float]:
    """Of both columns; of a column without seconds None."""
    encode = [first for first, _ in rounds if first is not None]
    return statistics.median(encode) if encode else None, statistics.median(second for _, second in rounds)


if __name__ == "__main__":
    main()
