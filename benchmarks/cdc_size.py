"""Whole decode of a 768x512 picture against a diffusion decoder of CDC's size, on the CPU, in one run.

    python benchmarks/cdc_size.py [PICTURE] [-q 50] [--runs 5] [--no-whole] [--model FILE] [--threads N] [--json]

CDC (Yang & Mandt 2023) has 53.9 M parameters and takes 984 kMAC/pixel a step, 17 steps; `cdc_network` has these two
figures and random weights. Rounds time decodes of ours, file to pixels in a process that has started, and one step of
theirs, the network alone, which counts 17 times; then all 17 are run through by DDIM, unless `--no-whole`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from machine import describe, limit_threads
from pictures import DEMO, fitted

SIZE = 768, 512
STEPS = 17
PUBLISHED = {"million parameters": 53.9, "kMAC/pixel": 984.0}
BAR = 100.0
OURS_A_ROUND = 3


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both, in turns, and the figures of theirs."""
    import torch

    import regrain
    from regrain import codec, registry

    model = registry.load(options.model)
    data = regrain.encode(fitted(options.picture, *SIZE), quality=options.quality, model=model)
    with torch.inference_mode():
        step, counted = theirs()
        ours: list[float] = []
        steps: list[float] = []
        codec.decode(data, model=model)
        step()
        for _ in range(options.runs):
            ours += [seconds(lambda: codec.decode(data, model=model)) for _ in range(OURS_A_ROUND)]
            steps.append(seconds(step))
        whole = None if options.no_whole else seconds(lambda: step(STEPS))
    facts = {"machine": describe(), "bytes": len(data), "quality": options.quality, "runs": options.runs}
    return facts | {"counted": counted, **verdict(statistics.median(ours), statistics.median(steps), whole)}


def theirs() -> tuple[Callable[..., object], dict[str, float]]:
    """So many DDIM steps, one if not told otherwise, of the network on noise; and what it counts."""
    import torch
    from cdc_network import CONTEXT, UNet
    from torch.utils.flop_counter import FlopCounterMode

    from regrain.diffusion import sampler, schedule

    torch.manual_seed(0)
    network = UNet().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x_1, context = (
        torch.randn(1, channels, SIZE[1], SIZE[0]).contiguous(memory_format=torch.channels_last)
        for channels in (3, CONTEXT)
    )

    def denoise(x_t: torch.Tensor, t: float) -> torch.Tensor:
        """The estimate of x_0."""
        out: torch.Tensor = network(x_t, context, torch.tensor([t]))
        return out

    with FlopCounterMode(display=False) as counter:
        denoise(x_1, 1.0)
    parameters, macs = sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2
    figures = (parameters / 1e6, macs / (SIZE[0] * SIZE[1]) / 1e3)
    levels = schedule.get("cosine")

    def run(steps: int = 1) -> torch.Tensor:
        """The picture."""
        return sampler.sample(denoise, x_1, levels, steps=steps)

    return run, dict(zip(PUBLISHED, figures, strict=True))


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def verdict(ours: float, step: float, whole: float | None) -> dict[str, Any]:
    """Both decodes, their ratio by the step and by the whole, and whether the lower holds the bar."""
    ratios = {"ratio": STEPS * step / ours, "whole ratio": None if whole is None else whole / ours}
    lower = min(value for value in ratios.values() if value is not None)
    return {"ours": ours, "step": step, "whole": whole, **ratios, "bar": BAR, "holds": lower >= BAR}


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The report for people."""
    machine, counted = facts["machine"], facts["counted"]
    yield f"{machine['cpu']}, torch {machine['torch']}, {machine['threads']} threads; load {machine['load']}"
    what = f"{SIZE[0]}x{SIZE[1]}, quality {facts['quality']:g}, {facts['bytes']:,} bytes"
    yield f"{what}; medians of {facts['runs']} rounds"
    yield f"  {'regrain, whole decode':<32}{facts['ours']:9.3f} s"
    figures = ", ".join(f"{counted[name]:.1f} {name} (CDC: {value:g})" for name, value in PUBLISHED.items())
    yield f"  {'CDC-sized network, one step':<32}{facts['step']:9.3f} s   {figures}"
    yield f"  {f'the same, times {STEPS}':<32}{STEPS * facts['step']:9.3f} s   ratio {facts['ratio']:.0f}"
    if facts["whole"] is not None:
        yield f"  {f'{STEPS} steps run through':<32}{facts['whole']:9.3f} s   ratio {facts['whole ratio']:.0f}"
    yield f"  bar: >= {facts['bar']:g} times {'holds' if facts['holds'] else 'DOES NOT HOLD'}"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Speed of regrain against a diffusion decoder of CDC's size.")
    parser.add_argument("picture", nargs="?", type=Path, default=DEMO, help="scaled and cut to 768x512")
    parser.add_argument("-q", "--quality", type=float, default=50.0)
    parser.add_argument("--runs", type=int, default=5, help=f"rounds of {OURS_A_ROUND} decodes and one step")
    parser.add_argument("--no-whole", action="store_true", help=f"do not run through all {STEPS} steps")
    parser.add_argument("--model", type=Path, default=None, help="weights, if not those in the package")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    limit_threads(options.threads)
    facts = measure(options)
    print(json.dumps(facts) if options.json else "\n".join(lines(facts)))


if __name__ == "__main__":
    main()
