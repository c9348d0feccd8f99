"""Seconds by stage, kMAC/pixel, peak memory and share of the convolution peak, for one picture on the CPU.

    python benchmarks/speed.py [PICTURE] [--size 768x512] [-q 50] [--runs 7] [--model FILE] [--device NAME]
        [--threads N] [--json]

Medians over rounds; a round times one encode, one decode and the list of convolutions, so that a busy machine slows all
of them alike. Stages are the real functions of the package, timed where it calls them, on ONNX Runtime or the
device named. Multiply-accumulates are counted on torch: by its dispatcher, and those of the integers at their matrix
products. The convolutions that the denoiser is compared with are torch's.
"""

import argparse
import functools
import io
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import Convolutions, describe, fresh, limit_threads
from pictures import DEMO, fitted
from stopwatch import Stopwatch, medians

if TYPE_CHECKING:
    from regrain.conditional.codec import ConditionalModel as Model
    from regrain.entropy.integer import Bytes, Whole

SIZE = "768x512"
"""What the bars are for."""
BARS = {"kmac": 100.0, "seconds": 2.5, "goal": 1.0, "share": 0.5, "coding": 0.05}
TARGET_BPP = 0.2
COLD_RUNS = 3
COLD = """
import json, sys, time
marks = [time.perf_counter()]
import onnxruntime
marks.append(time.perf_counter())
import regrain.conditional.codec
from regrain import codec, registry
marks.append(time.perf_counter())
model = registry.load(sys.argv[2] if sys.argv[2:] else None)
marks.append(time.perf_counter())
codec.decode(open(sys.argv[1], "rb").read(), model=model)
marks.append(time.perf_counter())
names = "import onnxruntime", "import regrain", "load weights", "first decode"
print(json.dumps({name: b - a for name, a, b in zip(names, marks, marks[1:])}))
"""


def encode_stages(networks: type) -> Stopwatch:
    """The stages of an encode on these networks, in the order in which they run."""
    from regrain import bitstream, image
    from regrain.conditional import encode
    from regrain.entropy import coder, integer

    return Stopwatch(
        {
            "read the picture": [(image, "read")],
            "pixels to floats": [(encode, "to_signed"), (encode, "pad_edge")],
            "g_a": [(networks, "analysis")],
            "h_a": [(networks, "hyper_analysis")],
            "h_s and contexts, means": [(networks, "hyper_synthesis"), (networks, "context")],
            "h_s and contexts, scale indices": [(integer.ScaleBranch, "__call__"), (integer.ScaleBranch, "context")],
            "entropy coder": [(coder, "encode")],
            "write the file": [(bitstream, "write")],
        }
    )


def decode_stages(networks: type) -> Stopwatch:
    """The stages of a decode on these networks, in the order in which they run."""
    from regrain import bitstream
    from regrain.conditional import decode
    from regrain.diffusion import noise
    from regrain.entropy import coder, integer

    decoder = [(coder.Decoder, name) for name in ("__init__", "take", "finish")]
    return Stopwatch(
        {
            "read the file": [(bitstream, "read")],
            "entropy coder": [*decoder, (decode, "checksum")],
            "h_s and contexts, scale indices": [(integer.ScaleBranch, "__call__"), (integer.ScaleBranch, "context")],
            "h_s and contexts, means": [(networks, "hyper_synthesis"), (networks, "context")],
            "noise": [(noise, "normal")],
            "denoiser": [(networks, "picture"), (networks, "sampling_context"), (networks, "sample")],
            "pixels out": [(decode, "to_bytes")],
        }
    )


def warm(
    picture: bytes, quality: float, size: str, runs: int, weights: Path | None, device: str | None
) -> dict[str, Any]:
    """Encode and decode by stage, a targeted encode, the convolutions: medians of `runs` rounds after a first one."""
    from regrain import codec, image, registry

    model, convolutions = registry.load(weights, device), Convolutions()
    networks = type(model.denoiser.networks)
    encoding, decoding, writing = encode_stages(networks), decode_stages(networks), Stopwatch({})

    def once() -> tuple[bytes, tuple[dict[str, float], ...]]:
        data, encoded = timed(encoding, lambda: codec.encode(image.read(picture), quality=quality, model=model))
        pixels, decoded = timed(decoding, lambda: codec.decode(data, model=model))
        _, written = timed(writing, lambda: image.write(pixels, io.BytesIO(), format="PNG"))
        convolutions.round()
        return data, (encoded, decoded, written)

    data, _ = once()
    rounds = [once()[1] for _ in range(runs)]
    encoded, decoded, written = (medians(list(column)) for column in zip(*rounds, strict=True))
    return {
        "file": {"bytes": len(data), "bpp": 8 * len(data) / pixels_of(size), "size": size, "quality": quality},
        "encode": encoded,
        "decode": decoded,
        "write PNG": written["total"],
        "target": targeted(picture, size, model),
        "kmac": kmac(picture, size, data, registry.load(weights, "cpu")),
        "convolutions": convolutions.rates(),
    }


def timed(watch: Stopwatch, work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """As `Stopwatch.time`, while watching."""
    with watch.watching():
        return watch.time(work)


def pixels_of(size: str) -> int:
    """How many pixels a size has, as "768x512"."""
    return math.prod(map(int, size.split("x")))


def targeted(picture: bytes, size: str, model: "Model") -> dict[str, Any]:
    """Seconds and number of trials of an encode with a target of 0.2 bpp; null where this picture does not reach it."""
    from regrain import UsageError, codec, image

    watch = encode_stages(type(model.denoiser.networks))
    try:
        data, seconds = timed(watch, lambda: codec.encode(image.read(picture), target_bpp=TARGET_BPP, model=model))
    except UsageError as error:
        return {"bpp": None, "seconds": None, "trials": None, "reason": str(error)}
    bpp = 8 * len(data) / pixels_of(size)
    return {"bpp": bpp, "seconds": seconds["total"], "trials": watch.calls["write the file"], "stages": seconds}


def kmac(picture: bytes, size: str, data: bytes, model: "Model") -> dict[str, float]:
    """Thousands of multiply-accumulates a pixel, by network and in all, of one encode and one decode on torch."""
    import numpy as np

    from regrain import codec, image

    networks, count = model.denoiser.networks, functools.partial(counted, model, pixels_of(size))
    columns, rows = (-(-int(side) // 64) * 4 for side in size.split("x"))
    x = np.ones((3, 16 * rows, 16 * columns), np.float32)
    y = np.ones((model.config.transform.latent, rows, columns), np.float32)
    encode = count(lambda: codec.encode(image.read(picture), model=model))
    decode = count(lambda: codec.decode(data, model=model))
    parts = {
        "g_a": count(lambda: networks.analysis(x)),
        "h_a": count(lambda: networks.hyper_analysis(y)),
    }
    denoiser = count(lambda: networks.picture(y, 0.5, 1.0))
    return parts | {"h_s and contexts": decode - denoiser, "denoiser": denoiser, "encode": encode, "decode": decode}


def counted(model: "Model", pixels: int, work: Callable[[], Any]) -> float:
    """kMAC/pixel of `work` on torch: a flop counter counts each as two operations, and does not see the integers."""
    from torch.utils.flop_counter import FlopCounterMode

    products: list[int] = []
    layers = model.latents.scale.layers
    product = layers[0].product

    def counting(a: "Bytes", b: "Bytes") -> "list[Whole]":
        products.append(a.size * b.shape[1])
        return product(a, b)

    for layer in layers:
        layer.product = counting
    with FlopCounterMode(display=False) as counter:
        work()
    for layer in layers:
        layer.product = product
    return (counter.get_total_flops() / 2 + sum(products)) / pixels / 1e3


def cold(picture: bytes, quality: float, runs: int, weights: Path | None) -> dict[str, Any]:
    """The command line in fresh processes, with peak memory, and where a cold decode spends its time."""
    named = [] if weights is None else ["--model", str(weights)]
    with tempfile.TemporaryDirectory() as folder:
        source, coded, target = (str(Path(folder, name)) for name in ("in.png", "coded.rgn", "out.png"))
        Path(source).write_bytes(picture)
        encode = [
            fresh("-m", "regrain", "encode", "--overwrite", source, coded, "-q", str(quality), *named)
            for _ in range(runs)
        ]
        decode = [fresh("-m", "regrain", "decode", "--overwrite", coded, target, *named) for _ in range(runs)]
        command = [sys.executable, "-c", COLD, coded, *named[1:]]
        parts = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(runs)]
    result: dict[str, Any] = {"parts": medians(parts)}
    for name, taken in (("encode", encode), ("decode", decode)):
        seconds = medians([{"seconds": run.seconds} for run in taken])
        result[name] = seconds | {"peak_mib": max(run.peak for run in taken) / 2**20}
    return result


def verdict(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that have a bar: value, bar, and whether it holds."""
    decode, rates, counted_kmac = facts["decode"], facts["convolutions"], facts["kmac"]
    rate = counted_kmac["denoiser"] * pixels_of(facts["file"]["size"]) / 1e6 / decode["denoiser"]
    share, coding = rate / max(rates.values()), decode["entropy coder"] / decode["total"]
    values = {"share": share, "coding": coding, "seconds": decode["total"], "kmac": counted_kmac["decode"]}
    holds = {name: value >= BARS[name] if name == "share" else value <= BARS[name] for name, value in values.items()}
    bars = {name: {"value": value, "bar": BARS[name], "holds": holds[name]} for name, value in values.items()}
    return {"denoiser_gmac_s": rate} | bars


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The report for people."""
    machine, file, bars = facts["machine"], facts["file"], facts["verdict"]
    yield (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['capability']}; torch {machine['torch']}, "
        f"{machine['threads']} threads; load {machine['load']}"
    )
    yield f"{file['size']}, quality {file['quality']:g}: {file['bytes']:,} bytes, {file['bpp']:.3f} bpp"
    for road in ("encode", "decode"):
        yield f"\n{road}, warm, median of {facts['runs']}"
        yield from stage_lines(facts[road])
    yield f"  {'then write PNG':<20}{facts['write PNG']:8.3f} s"
    yield f"  bar, of {SIZE}: decode <= {BARS['seconds']} s (goal {BARS['goal']:g} s) {mark(bars['seconds'])}"
    yield f"  bar: entropy coder < {100 * BARS['coding']:g} % of decode {mark(bars['coding'])}"
    yield f"\nencode --target-bpp {TARGET_BPP}\n  {target_line(facts['target'])}"
    yield "\ncold, fresh processes"
    yield from cold_lines(facts["cold"])
    yield "\nkMAC/pixel, counted"
    yield from table(facts["kmac"], 2)
    yield f"  bar: decode <= {BARS['kmac']:g} {mark(bars['kmac'])}"
    yield "\n3x3 convolutions, channels-last, float32, GMAC/s"
    yield from table(facts["convolutions"] | {"denoiser": bars["denoiser_gmac_s"]}, 1)
    yield f"  share of the best {bars['share']['value']:.2f}; bar: >= {BARS['share']} {mark(bars['share'])}"


def stage_lines(stages: Mapping[str, float]) -> Iterator[str]:
    """Seconds and share of each stage."""
    for stage, seconds in stages.items():
        yield f"  {stage:<20}{seconds:8.3f} s {100 * seconds / stages['total']:5.1f} %"


def cold_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The command line's seconds and peaks, and the parts of a cold decode."""
    for road in ("encode", "decode"):
        yield f"  regrain {road:<12}{facts[road]['seconds']:8.3f} s, peak {facts[road]['peak_mib']:.0f} MiB"
    for part, seconds in facts["parts"].items():
        yield f"    {part:<18}{seconds:8.3f} s"


def table(figures: Mapping[str, float], digits: int) -> Iterator[str]:
    """Names and figures."""
    for name, figure in figures.items():
        yield f"  {name:<20}{figure:8.{digits}f}"


def target_line(target: Mapping[str, Any]) -> str:
    """What a targeted encode took."""
    if target["seconds"] is None:
        return str(target["reason"])
    return f"{target['bpp']:.3f} bpp in {target['seconds']:.3f} s, {target['trials']} trials"


def mark(bar: Mapping[str, Any]) -> str:
    """Whether a bar holds, in a word."""
    return "holds" if bar["holds"] else "DOES NOT HOLD"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Speed of regrain on the CPU, for one picture.")
    parser.add_argument("picture", nargs="?", type=Path, default=DEMO, help="scaled and cut to the size")
    parser.add_argument("--size", default=SIZE)
    parser.add_argument("-q", "--quality", type=float, default=50.0)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--model", type=Path, default=None, help="weights, if not those in the package")
    parser.add_argument("--device", default=None, help="of the warm rounds: onnx or a name of torch's")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    limit_threads(options.threads)
    buffer = io.BytesIO()
    fitted(options.picture, *map(int, options.size.split("x"))).save(buffer, "PNG")
    measured = buffer.getvalue(), options.quality
    facts = {"cold": cold(*measured, min(COLD_RUNS, options.runs), options.model)}
    facts |= {"machine": describe(), "runs": options.runs}
    facts |= warm(*measured, options.size, options.runs, options.model, options.device)
    facts["verdict"] = verdict(facts)
    print(json.dumps(facts) if options.json else "\n".join(lines(facts)))


if __name__ == "__main__":
    main()
