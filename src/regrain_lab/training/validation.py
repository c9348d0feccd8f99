"""Held-out figures: one row for each quality, noise level or count of steps, as means over the held-out pictures.

PSNR is that of the mean squared error of all pictures together, except for the autoencoder, whose PSNRs are averaged.
With 1 step a row is one-pass decoding at t = 1.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final

import torch
from torch import Tensor

from regrain.diffusion import parametrize, sampler, schedule
from regrain.diffusion.prior import Prior
from regrain.diffusion.schedule import REACH
from regrain.diffusion.unet import Denoiser, FastDecoder, SamplingDenoiser
from regrain.palette.autoencoder import Autoencoder
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.codec import ConditionalCodec
from regrain_lab.trainable.frozen import FrozenCodec, guides, noise_gates, quantized_latents
from regrain_lab.training.losses.prior import EPS_GAINS, prediction_error
from regrain_lab.training.losses.sampler import LEVELS

__all__ = [
    "Row", "by_latent_noise", "by_noise_level", "by_quality", "by_steps", "fast_by_quality", "finishes_by_steps",
    "latent_moments", "sampler_by_steps", "steps_table",
]  # fmt: skip

BATCH: Final = 8
QUALITIES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
QUALITY: Final = 28
"""The quality of rows by steps."""
STEPS: Final = (1, 2, 4, 8, 16, 32)
SAMPLER_STEPS: Final = (2, 3, 4, 8, 16)
FINISH_STEPS: Final = (4, 8, 64)
FINISH: Final = (0.0, 7.0)
"""From the log-SNR of a stream of half its steps, about, to the last one of all."""
NOISE_LEVELS: Final = 20
LATENT_NOISES: Final = (0.0, 0.125, 0.25, 0.5)
"""Deviations of the noise on latents of unit variance."""
ERROR_MIN: Final = 1e-10
"""Mean squared errors count as at least this, so that no PSNR is infinite."""
_LABELS: Final = {"quality": "q{:.0f}", "log_snr": "snr{:+.0f}", "noise": "noise{}", "steps": "steps{}"}


@dataclass(frozen=True)
class Row:
    """Figures by name at one place of an axis: a quality (0 to 100), a log-SNR, a noise, or a count of steps.

    A figure that is NaN, such as LPIPS without weights for it, is left out.
    """

    axis: str
    at: float
    figures: dict[str, float]

    def __post_init__(self) -> None:
        """Drop what is NaN."""
        object.__setattr__(self, "figures", {k: v for k, v in self.figures.items() if not math.isnan(v)})

    def scalars(self) -> dict[str, float]:
        """The figures under names for a log, with the place in each."""
        return {f"{name}/{_LABELS[self.axis].format(self.at)}": value for name, value in self.figures.items()}

    def __str__(self) -> str:
        """One line."""
        return "  ".join([f"{self.axis} {self.at:g}", *(f"{k} {v:.4g}" for k, v in self.figures.items())])


def psnr(error: float) -> float:
    """PSNR in dB of a mean squared error on [-1, 1]."""
    return 10 * math.log10(4 / max(error, ERROR_MIN))


def by_quality(codec: ConditionalCodec, pictures: Tensor, lpips: Lpips | None) -> list[Row]:
    """Rate, PSNR and LPIPS of one-pass decoding at either end of realism; pictures (N, 3, H, W), multiples of 32."""
    torch.manual_seed(0)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    names = "bpp", "z_bpp", "psnr_faithful", "psnr_textured", "lpips_faithful", "lpips_textured"
    rows = []
    for quality in QUALITIES:
        bpp, z_bpp, *errors, faithful, textured = _means(partial(_one_pass, codec, lpips, quality), pictures)
        values = bpp, z_bpp, *map(psnr, errors), faithful, textured
        rows.append(Row("quality", 100 * quality, dict(zip(names, values, strict=True))))
    return rows


def _one_pass(codec: ConditionalCodec, lpips: Lpips | None, quality: float, x: Tensor) -> list[Tensor]:
    coded, pixels, decoded = codec.code(x, x.new_full((len(x),), quality)), x[0, 0].numel(), []
    alpha, sigma = schedule.get(codec.config.schedule).at(1.0)
    for realism in (0.0, 1.0):
        x_1 = torch.randn_like(x) * (realism * codec.config.init_noise)
        output = codec.denoiser(x_1, x.new_ones(len(x)), coded.y_hat, *_knobs(x, quality, realism))
        decoded.append(parametrize.to_x0(codec.prediction, output, x_1, alpha, sigma).clamp(-1, 1))
    rates = (coded.y_bits + coded.z_bits).sum() / pixels, coded.z_bits.sum() / pixels
    return [*rates, *(_squared_error(x_hat, x) for x_hat in decoded), *(_lpips(lpips, x_hat, x) for x_hat in decoded)]


def fast_by_quality(codec: FrozenCodec, decoder: FastDecoder, pictures: Tensor, lpips: Lpips | None) -> list[Row]:
    """PSNR and LPIPS at either end of realism: by the fast decoder, and how far the denoiser in one step is ahead."""
    names = [f"{name}_{end}" for end in ("faithful", "textured") for name in ("psnr", "psnr_gap", "lpips", "lpips_gap")]

    def measure(quality: float, x: Tensor) -> Iterator[Tensor]:
        cond = quantized_latents(codec, x, x.new_full((len(x),), quality))
        for realism in (0.0, 1.0):
            knobs = _knobs(x, quality, realism)
            for x_hat in (decoder(cond, *knobs).to(x.dtype).clamp(-1, 1), guides(codec, cond, *knobs)):
                yield from (_squared_error(x_hat, x), _lpips(lpips, x_hat, x))

    rows = []
    for quality in QUALITIES:
        means = _means(partial(measure, quality), pictures)
        figures = []
        for error, distance, teacher_error, teacher_distance in zip(*[iter(means)] * 4, strict=True):
            own = psnr(error)
            figures += [own, psnr(teacher_error) - own, distance, distance - teacher_distance]
        rows.append(Row("quality", 100 * quality, dict(zip(names, figures, strict=True))))
    return rows


def by_noise_level(prior: Prior, pictures: Tensor) -> list[Row]:
    """Bits a value spent from pure noise down to each log-SNR, and PSNR of the estimate of x_0 there (peak 2)."""
    torch.manual_seed(0)
    width, bits, rows = 2 * REACH / NOISE_LEVELS, 0.0, []
    for level in range(NOISE_LEVELS):
        log_snr = width * (level + 0.5) - REACH
        error = _means(partial(_prediction_error, prior, log_snr), pictures)[0]
        error *= float(EPS_GAINS[prior.prediction](torch.tensor(log_snr)))
        bits += width * error / (2 * math.log(2))
        rows.append(Row("log_snr", log_snr, {"bits": bits, "psnr": 10 * math.log10(4 * math.exp(log_snr) / error)}))
    return rows


def _prediction_error(prior: Prior, log_snr: float, x: Tensor) -> list[Tensor]:
    error, _ = prediction_error(prior, x, torch.randn_like(x), x.new_full(x.shape[:1], log_snr))
    return [error.mean((1, 2, 3)).sum()]


@torch.no_grad()
def latent_moments(autoencoder: Autoencoder, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of the latents, (channels,) both, over pictures (N, 3, H, W)."""
    means = torch.cat([autoencoder.encode(x)[0].float() for x in torch.split(pictures, BATCH)])
    return means.mean((0, 2, 3)), means.std((0, 2, 3))


def by_latent_noise(autoencoder: Autoencoder, pictures: Tensor, lpips: Lpips | None) -> list[Row]:
    """PSNR and LPIPS of pictures decoded from latents with noise of each of LATENT_NOISES."""
    torch.manual_seed(0)
    deviation, rows = latent_moments(autoencoder, pictures)[1][:, None, None], []
    for noise in LATENT_NOISES:
        means = _means(partial(_from_noisy_latents, autoencoder, lpips, noise * deviation), pictures)
        rows.append(Row("noise", noise, dict(zip(("psnr", "lpips"), means, strict=True))))
    return rows


def _from_noisy_latents(autoencoder: Autoencoder, lpips: Lpips | None, deviation: Tensor, x: Tensor) -> list[Tensor]:
    mean = autoencoder.encode(x)[0].float()
    x_hat = autoencoder.decode(mean + deviation * torch.randn_like(mean)).clamp(-1, 1)
    psnrs = -10 * torch.log10((x_hat - x).square().mean((1, 2, 3)) / 4)
    return [psnrs.sum(), _lpips(lpips, x_hat, x)]


def by_steps(
    codec: FrozenCodec, denoiser: Denoiser, pictures: Tensor, lpips: Lpips | None, counts: Sequence[int] = STEPS
) -> list[Row]:
    """DDIM by this denoiser behind the codec's latents, at quality 28, realism 1, seed 0; sides are multiples of 32."""
    generator = torch.Generator().manual_seed(0)
    levels, prediction = schedule.get(codec.config.schedule), codec.config.parametrization

    def measure(x: Tensor) -> Iterator[Tensor]:
        cond = quantized_latents(codec, x, x.new_full((len(x),), QUALITY / 100))
        x_1 = torch.randn(x.shape, generator=generator).to(x) * codec.config.init_noise

        def denoise(x_t: Tensor, t: float) -> Tensor:
            output = denoiser(x_t, x_t.new_full((len(x_t),), t), cond, *_knobs(x_t, QUALITY / 100, 1.0))
            return parametrize.to_x0(prediction, output, x_t, *levels.at(t)).clamp(-1, 1)

        for steps in counts:
            x_hat = sampler.sample(denoise, x_1, levels, steps=steps)
            yield from (_squared_error(x_hat, x), _lpips(lpips, x_hat, x))

    means = _means(measure, pictures.contiguous(memory_format=torch.channels_last))
    rows = zip(counts, means[::2], means[1::2], strict=True)
    return [Row("steps", steps, {"psnr": psnr(error), "lpips": distance}) for steps, error, distance in rows]


def finishes_by_steps(
    prior: Prior, pictures: Tensor, lpips: Lpips | None, counts: Sequence[int] = FINISH_STEPS
) -> list[Row]:
    """PSNR and LPIPS of pictures (N, 3, H, W) that DDIM steps finish along FINISH, as in a cut stream.

    A prior that takes leaps is told how far each step goes.
    """
    generator = torch.Generator().manual_seed(0)

    def measure(x: Tensor) -> Iterator[Tensor]:
        alpha, sigma = schedule.levels_at(FINISH[0])
        x_t = alpha * x + sigma * torch.randn(x.shape, generator=generator).to(x)
        for steps in counts:
            x_hat = sampler.descend(partial(_leap, prior, FINISH, steps), x_t, FINISH, steps=steps)
            yield from (_squared_error(x_hat, x), _lpips(lpips, x_hat, x))

    means = _means(measure, pictures.contiguous(memory_format=torch.channels_last))
    rows = zip(counts, means[::2], means[1::2], strict=True)
    return [Row("steps", steps, {"psnr": psnr(error), "lpips": distance}) for steps, error, distance in rows]


def _leap(prior: Prior, way: tuple[float, float], steps: int, x_t: Tensor, log_snr: float) -> Tensor:
    """The estimate of x_0 of one step of so many, as a decoder takes it; a student is told how far the step goes."""
    leap = sampler.leap_length(log_snr, way, steps)
    level, length = (x_t.new_full((len(x_t),), value) for value in (log_snr, leap))
    return prior.denoise(x_t, level, length).clamp(-1, 1)


def sampler_by_steps(
    codec: FrozenCodec, denoiser: SamplingDenoiser, pictures: Tensor, lpips: Lpips | None
) -> list[Row]:
    """As `by_steps`, by a sampling denoiser; `spread` is the difference of two seeds over sqrt(2) and the error.

    The guide is the first of the steps.
    """
    batches = count()

    def measure(x: Tensor) -> Iterator[Tensor]:
        quality, batch = x.new_full((len(x),), QUALITY / 100), next(batches)
        cond = quantized_latents(codec, x, quality)
        guide = guides(codec, cond, quality, torch.ones_like(quality))
        for steps in SAMPLER_STEPS:
            seeds = (torch.Generator().manual_seed(1000 * seed + batch) for seed in (0, 1))
            first, second = (_sample(denoiser, cond, quality, guide, steps - 1, seed) for seed in seeds)
            yield from (_squared_error(first, x), _lpips(lpips, first, x), _squared_error(first, second) / 2)

    means = _means(measure, pictures)
    rows = zip(SAMPLER_STEPS, means[::3], means[1::3], means[2::3], strict=True)
    return [
        Row("steps", steps, {"psnr": psnr(error), "lpips": distance, "spread": math.sqrt(half / max(error, ERROR_MIN))})
        for steps, error, distance, half in rows
    ]


def _sample(
    denoiser: SamplingDenoiser, cond: Tensor, quality: Tensor, guide: Tensor, steps: int, generator: torch.Generator
) -> Tensor:
    """A sample x_0 (B, 3, H, W) of latents (B, C, H/16, W/16) and the guides, as the decoder draws it."""
    alpha, sigma = LEVELS.at(1.0)
    eps = torch.randn(guide.shape, generator=generator).to(guide)
    context = denoiser.context(cond, quality, guide)

    def denoise(x_t: Tensor, t: float) -> Tensor:
        x_0: Tensor = denoiser(x_t, torch.full_like(quality, t), quality, guide, context)
        return x_0.clamp(-1, 1)

    return sampler.sample(denoise, alpha * guide + sigma * noise_gates(guide) * eps, LEVELS, steps=steps)


def _knobs(like: Tensor, quality: float, realism: float) -> tuple[Tensor, Tensor]:
    return like.new_full((len(like),), quality), like.new_full((len(like),), realism)


def _squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean squared errors, summed over the batch."""
    return (x_hat - x).square().mean((1, 2, 3)).sum()


def _lpips(lpips: Lpips | None, x_hat: Tensor, x: Tensor) -> Tensor:
    """LPIPS summed over the batch; NaN without weights for it."""
    return lpips(x_hat, x).sum() if lpips else x.new_full((), math.nan)


@torch.no_grad()
def _means(measure: Callable[[Tensor], Iterable[Tensor]], pictures: Tensor) -> list[float]:
    """Means over the pictures (N, 3, H, W) of figures that `measure` sums over a batch."""
    sums = [[float(value) for value in measure(x)] for x in torch.split(pictures, BATCH)]
    means: list[float] = (torch.tensor(sums, dtype=torch.float64).sum(0) / len(pictures)).tolist()
    return means


def steps_table(teacher: Sequence[Row], student: Sequence[Row]) -> str:
    """Rows by steps of both side by side, one line for each count under two of headings."""
    lines = [f"held out, quality {QUALITY}, realism 1, seed 0", f"{'':8}{'teacher':>16}{'student':>18}"]
    lines.append("steps " + 2 * "      PSNR   LPIPS" if "lpips" in teacher[0].figures else "steps " + 2 * "       PSNR")
    for before, after in zip(teacher, student, strict=True):
        lines.append(f"{before.at:5} {_cells(before)}{_cells(after)}")
    return "\n".join(lines)


def _cells(row: Row) -> str:
    lpips = row.figures.get("lpips")
    return f"{row.figures['psnr']:10.2f}" + ("" if lpips is None else f"{lpips:8.4f}")
