"""The steps' algebra, windows, and a whole stream through a prior that is known exactly."""

import math
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch

from regrain.bitstream import MOST_STEPS
from regrain.diffusion.budget import Budget
from regrain.diffusion.prior import Prior, PriorConfig, TorchDenoiser
from regrain.errors import Corrupt
from regrain.image import to_bytes
from regrain.options import DecodeOptions
from regrain.progressive import decode, encode, reverse_channel_coding, reverse_process
from regrain.tiles import places

TINY = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8)
VARIANCE = 0.05
KEPT = {6.0: 1.0, reverse_channel_coding.CHUNK_BITS: 0.92}
"""How much of its shift a sample has, by the bits of a chunk; test_reverse_channel_coding.py says why."""


class Wiener:
    """The best denoiser of pictures whose values are all drawn from N(0, VARIANCE)."""

    def denoise(self, x_t, log_snr):
        alpha, sigma = levels(log_snr)
        return alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2) * x_t


def levels(log_snr):
    return (1 + math.exp(-log_snr)) ** -0.5, (1 + math.exp(log_snr)) ** -0.5


def expected(kept):
    """Mean squared error before every step and after the last, and bits a value of every step.

    Of a walk whose samples have `kept` of their shift and unit variance: x_t is N(mean x_0, noise), and the prior makes
    `share` x_t of it.
    """
    mean = noise = share = 0.0
    errors, bits = [VARIANCE], []
    for step in reverse_process.steps(MOST_STEPS):
        bits.append(math.log2(1 + step.gain**2 * errors[-1]) / 2)
        again = step.state_weight + (1 - kept) * step.picture_weight * share
        mean, noise = again * mean + kept * step.picture_weight, again**2 * noise + step.std**2
        alpha, sigma = levels(step.log_snr_after)
        share = alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2)
        errors.append(VARIANCE * (1 - share * mean) ** 2 + share**2 * noise)
    return np.array(errors), np.array(bits)


def on_torch(prior):
    """The network as decoding has it."""
    return TorchDenoiser(prior.eval().requires_grad_(False), "cpu")


KNOWN = Wiener()


@pytest.fixture(scope="module")
def grain():
    noise = np.random.default_rng(0).normal(0, math.sqrt(VARIANCE), (37, 45, 3))
    return ((noise.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)


@pytest.fixture(scope="module")
def streams(grain):
    """All steps, by the bits of a chunk."""
    made = {}
    for bits in KEPT:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encode, "send", partial(reverse_channel_coding.send, chunk_bits=bits))
            made[bits] = list(encode.stream(KNOWN, grain, 64))
    return made


@pytest.fixture(scope="module")
def payloads(streams):
    return [step.payload for step in streams[reverse_channel_coding.CHUNK_BITS]]


def test_every_step_keeps_the_forward_process():
    """If x_t has mean alpha_t x_0 and variance sigma_t^2, x_s has alpha_s and sigma_s^2."""
    for step in reverse_process.steps(MOST_STEPS):
        alpha, sigma = levels(step.log_snr_before) if step.log_snr_before is not None else (0.0, 0.0)
        assert step.picture_weight + step.state_weight * alpha == pytest.approx(levels(step.log_snr_after)[0])
        assert math.hypot(step.state_weight * sigma, step.std) == pytest.approx(levels(step.log_snr_after)[1])


def test_the_gain_is_the_snr_that_a_step_brings():
    first, *later = reverse_process.steps(MOST_STEPS)
    assert first.gain**2 == pytest.approx(math.exp(first.log_snr_after))
    for step in later:
        assert step.gain**2 == pytest.approx(math.exp(step.log_snr_after) - math.exp(step.log_snr_before))
    assert (first.log_snr_after, later[-1].log_snr_after) == reverse_process.LOG_SNR


def test_tiles_cover_every_pixel_once():
    seen = np.zeros((40, 72), int)
    for place in places(40, 72, 32):
        seen[place] += 1
    assert (seen == 1).all()


def test_windows_are_the_whole(monkeypatch):
    torch.manual_seed(0)
    prior = Prior(TINY)
    torch.nn.init.normal_(prior.leave.weight, std=0.1)
    x_t = np.random.default_rng(1).standard_normal((3, 200, 264), np.float32)
    whole = reverse_process.estimate(on_torch(prior), x_t, 1.0)
    monkeypatch.setattr(reverse_process, "WINDOW", 64)
    assert np.abs(reverse_process.estimate(on_torch(prior), x_t, 1.0) - whole).max() < 1e-4


def test_a_walk_that_keeps_everything_loses_nothing():
    """Each step has the posterior's error, and all of them together take the capacity of the channel that they make."""
    errors, bits = expected(1.0)
    snr = [math.exp(step.log_snr_after) for step in reverse_process.steps(MOST_STEPS)]
    assert 1 / errors[1:] == pytest.approx([1 / VARIANCE + one for one in snr])
    assert bits.cumsum() == pytest.approx([math.log2(1 + VARIANCE * one) / 2 for one in snr])


def test_what_steps_fall_short_by_does_not_add_up():
    """The next shift is of what is missing: 40 steps that lack 8 % each leave 0.74 dB, and take an eighth more bits."""
    (errors, bits), (least, capacity) = (expected(kept) for kept in (KEPT[reverse_channel_coding.CHUNK_BITS], 1.0))
    lag = 10 * np.log10(errors / least)
    assert lag.max() == lag[-1] == pytest.approx(0.74, abs=0.01)
    assert lag[-1] - lag[-6] < 0.05
    assert bits.sum() == pytest.approx(1.12 * capacity.sum(), rel=0.01)


@pytest.mark.parametrize("chunk_bits", KEPT)
def test_every_prefix_decodes_and_more_of_it_is_better(chunk_bits, grain, streams):
    last, (errors, _) = 0.0, expected(KEPT[chunk_bits])
    for received in range(5, MOST_STEPS + 1, 5):
        payloads = [step.payload for step in streams[chunk_bits][:received]]
        x_t, _ = decode.receive(KNOWN, payloads, grain.shape[:2], 64)
        pixels = decode.reconstruct(KNOWN, x_t, received, grain.shape[:2], DecodeOptions(), grey=False)
        assert pixels.shape == grain.shape
        psnr = 10 * math.log10(255**2 / np.square(pixels.astype(float) - grain).mean())
        assert psnr == pytest.approx(10 * math.log10(4 / errors[received]), abs=0.5)
        assert psnr > last - 0.1
        last = psnr


@pytest.mark.parametrize("chunk_bits", KEPT)
def test_the_divergences_are_what_the_walk_needs(chunk_bits, streams):
    """That is the capacity where all of a shift is kept, and where steps fall short what the next ones make good."""
    needed = expected(KEPT[chunk_bits])[1].cumsum() * 3 * 40 * 48
    found = np.cumsum([step.divergence for step in streams[chunk_bits]])
    assert found[[23, 31, 39]] == pytest.approx(needed[[23, 31, 39]], rel=0.05)


def test_the_bytes_are_the_divergence_and_the_stated_overhead(streams):
    """A fifth, for log2(K + 1) + 1 bits a chunk less what full chunks fall short by; and 10 bytes a step."""
    sent = streams[reverse_channel_coding.CHUNK_BITS]
    for received in (24, MOST_STEPS):
        divergence = sum(step.divergence for step in sent[:received])
        taken = 8 * sum(len(step.payload) for step in sent[:received])
        assert divergence < taken < 1.2 * divergence + 8 * 10 * received


def test_more_steps_at_the_end_bring_the_grain_back(grain, payloads):
    received = 16
    x_t, _ = decode.receive(KNOWN, payloads[:received], grain.shape[:2], 64)
    ways = [DecodeOptions(), DecodeOptions(32), DecodeOptions(32, eta=1.0)]
    once, flow, sampled = (
        decode.reconstruct(KNOWN, x_t, received, grain.shape[:2], options, grey=False) for options in ways
    )
    assert once.std() < 0.6 * grain.std()
    assert [flow.std(), sampled.std()] == pytest.approx([grain.std()] * 2, rel=0.25)
    assert np.square(flow - 1.0 * grain).mean() < np.square(sampled - 1.0 * grain).mean()


def test_the_seed_names_the_samples(grain, payloads):
    x_t, _ = decode.receive(KNOWN, payloads[:16], grain.shape[:2], 64)
    first, again, other = (
        decode.reconstruct(KNOWN, x_t, 16, grain.shape[:2], DecodeOptions(4, eta=1.0, seed=seed), grey=False)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@contextmanager
def setting(threads=1, mkldnn=True, window=512):
    before = torch.get_num_threads(), reverse_process.WINDOW
    torch.set_num_threads(threads)
    reverse_process.WINDOW, torch.backends.mkldnn.enabled = window, mkldnn
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True
        torch.set_num_threads(before[0])
        reverse_process.WINDOW = before[1]


def test_other_kernels_reconstruct_the_same_samples(grain):
    """Numbers that are read depend on bytes alone; estimates differ in their last digits, and so does what is shown."""
    torch.manual_seed(0)
    prior = Prior(TINY)
    torch.nn.init.normal_(prior.leave.weight, std=0.1)
    with setting(threads=1):
        payloads = [step.payload for step in encode.stream(on_torch(prior), grain, 64)]
        there, _ = decode.receive(on_torch(prior), payloads, grain.shape[:2], 64)
    for other in ({"threads": 2}, {"mkldnn": False}, {"window": 16}, {"threads": 2, "mkldnn": False, "window": 24}):
        with setting(**other):
            here, received = decode.receive(on_torch(prior), payloads, grain.shape[:2], 64)
        assert received == MOST_STEPS
        assert np.abs(here - there).max() < 1e-4


def test_grey_pictures_come_back_grey(payloads):
    x_t, _ = decode.receive(KNOWN, payloads, (37, 45), 64)
    assert decode.reconstruct(KNOWN, x_t, MOST_STEPS, (37, 45), DecodeOptions(), grey=True).shape == (37, 45, 1)


def test_a_damaged_step_is_named(payloads):
    spoilt = [*payloads[:5], payloads[5][:-1]]
    with pytest.raises(Corrupt, match="step 5"):
        decode.receive(KNOWN, spoilt, (37, 45), 64)
    assert decode.receive(KNOWN, spoilt, (37, 45), 64, partial=True)[1] == 5


@pytest.mark.parametrize("options", [DecodeOptions(2), DecodeOptions(9, eta=1.0), DecodeOptions(Budget(60))])
def test_a_whole_stream_is_finished_in_any_number_of_steps(options):
    x_t = np.random.default_rng(1).standard_normal((3, 16, 24), np.float32)
    end = reverse_process.steps(MOST_STEPS)[-1].log_snr_after
    picture = decode.reconstruct(KNOWN, x_t, MOST_STEPS, (16, 24), options, grey=False)
    assert np.array_equal(picture, to_bytes(reverse_process.estimate(KNOWN, x_t, end), grey=False))
