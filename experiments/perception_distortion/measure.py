"""Perception over distortion of the same files in every way to decode: rows.csv, chart.svg.

    python experiments/perception_distortion/measure.py KODAK LPIPS [--jobs N] [--every N] [--model FILE] [--out FOLDER]

Every picture once at -q 28; decoded in 1, 2, 4, 8, 16 and 32 steps, each at realism 0, 0.25, 0.5, 0.75 and 1, and at
realism 1 from 0, 0.5 and 1.25 times the noise that the weights start from. Rows are added picture by picture, and a run
that was stopped goes on. About two minutes a photo of one core.
"""

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from paths import named, panels

import regrain
from regrain.conditional.codec import ConditionalModel
from regrain.output import write_bytes
from regrain_lab.evaluation import charts
from regrain_lab.evaluation.codecs import BenchmarkCodec, DecodeSetting, regrain_codec
from regrain_lab.evaluation.suite import Suite
from regrain_lab.evaluation.sweep import list_pictures, sweep
from regrain_lab.metrics.registry import load_metrics

FOLDER = Path(__file__).resolve().parent
QUALITY = 28.0
METRICS = ("psnr", "lpips_alex")
STEPS = (1, 2, 4, 8, 16, 32)
REALISMS = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = (0.0, 0.5, 1.0, 1.25)


@dataclass(frozen=True)
class Ways:
    """All ways to decode, as a suite: weights of the model (None: the package's) and of LPIPS, threads."""

    model: str | None
    lpips: str
    threads: int

    def __call__(self) -> Suite:
        """Load what is to be loaded."""
        torch.set_num_threads(self.threads)
        os.environ["OMP_NUM_THREADS"] = str(self.threads)
        model, judges = regrain.load(self.model), load_metrics([self.lpips])
        if not isinstance(model, ConditionalModel):
            raise regrain.UsageError("these weights are not those of the conditional codec, which alone has init_noise")
        weights = Path(self.model) if self.model else None
        codecs = [noised(model, factor, weights) for factor in FACTORS]
        return Suite(codecs, {name: judges[name] for name in METRICS})


def noised(model: ConditionalModel, factor: float, weights: Path | None) -> BenchmarkCodec:
    """The codec whose decoder starts from so many times the noise."""
    config = replace(model.config, init_noise=factor * model.config.init_noise)
    realisms = REALISMS if factor == 1 else REALISMS[-1:]
    settings = [DecodeSetting(0, steps, realism) for steps in STEPS for realism in realisms]
    denoiser, recipe = replace(model.denoiser, config=config), named(factor) or model.recipe
    changed = replace(model, config=config, denoiser=denoiser, recipe=recipe)
    return regrain_codec(changed, [QUALITY], settings, weights)


def main() -> None:
    """Measure what is missing, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("lpips", type=Path, help="LPIPS on AlexNet as safetensors")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the work")
    parser.add_argument("--every", type=int, default=1, help="take every Nth picture alone")
    parser.add_argument("--model", help="weights, if not those in the package")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    files = list_pictures(options.folder)[0][:: options.every]
    table = options.out / "rows.csv"
    ways = Ways(options.model, str(options.lpips), max(1, torch.get_num_threads() // options.jobs))
    rows = sweep(files, ways, table, jobs=options.jobs, progress=True)
    write_bytes(charts.draw(panels(rows, METRICS[-1]), {})["svg"], options.out / "chart.svg")


if __name__ == "__main__":
    main()
