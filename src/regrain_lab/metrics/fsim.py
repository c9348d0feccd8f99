"""FSIM and FSIMc, the feature similarity of two pictures (Zhang, Zhang, Mou and Zhang, IEEE TIP 20(8), 2011).

    FSIM  = sum S_PC S_G PC_m / sum PC_m,   PC_m = max(PC_a, PC_b)              (section III)
    FSIMc = the same with S_PC S_G (S_I S_Q)^0.03 for S_PC S_G
    S_v   = (2 v_a v_b + T_v) / (v_a^2 + v_b^2 + T_v)

over the luma's phase congruency PC and Scharr gradient magnitude G (section II) and the chroma I and Q of YIQ, values
in [0, 255]. With z_no the luma through the one-sided log-Gabor filter of scale n and orientation o (Kovesi 1999),

    PC  = sum_o max(E_o - T_o, 0) / (eps + sum_no |z_no|)
    E_o = sum_n Re(z_no conj u_o) - |Im(z_no conj u_o)|,   u_o the direction of sum_n z_no

so that PC is in [0, 1], and 1 only where all scales share one phase. T_o is what noise alone would reach: the finest
scale's median energy gives the noise power, and a Rayleigh law its mean and deviation. Both pictures are first averaged
over F x F pixels, F = round(shorter side / 256). The paper leaves constants and borders open; they are those of the
authors' program: zeros outside the picture for averages and gradients, wrapping around for the filters.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["SMALLEST", "similarity"]

_ORIENTATIONS = 4
_WAVELENGTHS = (6, 12, 24, 48)
_BANDWIDTH = 0.55
_ANGULAR = math.pi / _ORIENTATIONS / 1.2
_CUTOFF, _ORDER = 0.45, 15
_NOISE = (math.sqrt(math.pi / 2) + 2 * math.sqrt(2 - math.pi / 2)) / 1.7
_EPS = 1e-4
_T_CONGRUENCY, _T_GRADIENT, _T_CHROMA = 0.85, 160.0, 200.0
_CHROMA_POWER = 0.03
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FEATURELESS = 1e-3

SMALLEST = _WAVELENGTHS[-1]

Pixels = NDArray[np.uint8]
Field = NDArray[np.float64]


def similarity(a: Pixels, b: Pixels) -> float | None:
    """FSIMc of two uint8 (h, w, 3) pictures; 1 for equal ones.

    None when a side is under 48 pixels, the coarsest filter's wavelength, or when neither picture has a feature to
    weigh by (both flat).
    """
    if min(a.shape[:2]) < SMALLEST:
        return None
    luma, *chroma = np.stack([_yiq(a), _yiq(b)], axis=1)
    congruency = _congruency(luma)
    weight = congruency.max(axis=0)
    if weight.max() < _FEATURELESS:
        return None
    similarity_map = _similarity_map(congruency, _T_CONGRUENCY) * _similarity_map(_gradient(luma), _T_GRADIENT)
    product = _similarity_map(chroma[0], _T_CHROMA) * _similarity_map(chroma[1], _T_CHROMA)
    similarity_map *= np.power(product.astype(complex), _CHROMA_POWER).real
    return float((similarity_map * weight).sum() / weight.sum())


def _similarity_map(pair: Field, constant: float) -> Field:
    """S_v (h, w) of the two fields in `pair` (2, h, w)."""
    a, b = pair
    return np.asarray((2 * a * b + constant) / (a * a + b * b + constant))


def _yiq(picture: Pixels) -> Field:
    """Y, I and Q (3, h, w) of an RGB picture, brought to a shorter side near 256."""
    factor = max(1, int(min(picture.shape[:2]) / 256 + 0.5))
    return np.asarray(np.einsum("ij,hwj->ihw", _YIQ, _downsample(picture, factor)))


def _downsample(picture: Pixels, factor: int) -> Field:
    """Means over factor x factor pixels about every factor-th pixel from the first, with zeros outside the picture."""
    rows, columns = (-(-side // factor) for side in picture.shape[:2])
    before = (factor - 1) // 2
    padded = np.pad(picture, [(before, factor), (before, factor), (0, 0)])[: rows * factor, : columns * factor]
    return np.asarray(padded.reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3)))


def _gradient(luma: Field) -> Field:
    """Magnitude of the Scharr gradient over the last two axes."""
    padded = np.pad(luma, [(0, 0), (1, 1), (1, 1)])
    down = (3 * padded[:, :-2] + 10 * padded[:, 1:-1] + 3 * padded[:, 2:]) / 16
    across = (3 * padded[:, :, :-2] + 10 * padded[:, :, 1:-1] + 3 * padded[:, :, 2:]) / 16
    return np.asarray(np.hypot(down[:, :, 2:] - down[:, :, :-2], across[:, 2:] - across[:, :-2]))


def _congruency(luma: Field) -> Field:
    """Phase congruency of each picture in `luma` (b, h, w)."""
    spectrum = np.fft.fft2(luma)[:, None]
    energy, amplitude = np.zeros_like(luma), np.zeros_like(luma)
    for bank in _filter_banks(luma.shape[1], luma.shape[2]):
        responses = np.fft.ifft2(spectrum * bank)
        total = responses.sum(axis=1, keepdims=True)
        turned = responses * np.conj(total / (np.abs(total) + _EPS))
        aligned = (turned.real - np.abs(turned.imag)).sum(axis=1)
        energy += np.maximum(aligned - _threshold(bank, responses[:, 0]), 0)
        amplitude += np.abs(responses).sum(axis=1)
    return energy / (amplitude + _EPS)


def _threshold(bank: Field, finest: NDArray[np.complex128]) -> Field:
    """T_o, (b, 1, 1): the mean of the energy that noise gives and two deviations more, over 1.7 (Kovesi's allowance).

    `bank` (4, h, w) holds the filters of one orientation; `finest` (b, h, w) is what the first makes of the pictures.
    """
    power = np.median(np.abs(finest) ** 2, axis=(1, 2), keepdims=True) / math.log(2) / np.square(bank[0]).sum()
    summed = np.fft.ifft2(bank.sum(axis=0)).real
    return np.asarray(_NOISE * np.sqrt(power * summed.size * np.square(summed).sum()))


def _filter_banks(height: int, width: int) -> Iterator[Field]:
    """For each orientation its filters (4, height, width), finest first, in the order of `numpy.fft`; none passes 0."""
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    radius = np.hypot(down, across)
    radius[0, 0] = 1
    ratios = np.log(radius * np.array(_WAVELENGTHS).reshape(-1, 1, 1))
    radial = np.exp(-np.square(ratios / math.log(_BANDWIDTH)) / 2) / (1 + (radius / _CUTOFF) ** (2 * _ORDER))
    radial[:, 0, 0] = 0
    for index in range(_ORIENTATIONS):
        angle = np.angle((across - 1j * down) * np.exp(-1j * math.pi * index / _ORIENTATIONS))
        yield radial * np.exp(-np.square(angle / _ANGULAR) / 2)
