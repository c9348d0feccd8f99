"""What the student of a prior is taught, as mathematics."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from regrain.diffusion import sampler
from regrain.diffusion.prior import Prior, PriorConfig, levels
from regrain.diffusion.schedule import REACH, LogLinear
from regrain_lab.trainable.denoisers import widened
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.losses.leaps import FINEST, LAST, LONG, PATH, LeapLoss, Leaps, draw_leaps, leap_target

CPU, LEVELS = torch.device("cpu"), LogLinear()
PLAIN = StageWeights(1.0, 1.0, 0.0, freeze_latents=False, sampling_steps=4, method="progressive")


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    prior = Prior(PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8))
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return widened(prior).requires_grad_(False)


def crops(count=4):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize(("log_snr", "length"), [(-9.0, 5.0), (-1.0, 2.5), (3.0, 0.625)])
def test_a_step_by_the_target_arrives_where_several_of_the_teacher_do(teacher, log_snr, length, count):
    x_t, one = crops(2), torch.ones(2)
    target = leap_target(teacher, x_t, Leaps(log_snr * one, length * one, one < 0), count)

    def denoise(x_t, level):
        return teacher.denoise(x_t, torch.full((2,), level), torch.full((2,), length / count)).clamp(-1, 1)

    places, x_s = [log_snr + number / count * length for number in range(count + 1)], x_t
    for place, after in pairwise(places):
        x_s = sampler.ddim_step(x_s, denoise(x_s, place), LEVELS.time(place), LEVELS.time(after), LEVELS)
    t, s = LEVELS.time(log_snr), LEVELS.time(log_snr + length)
    torch.testing.assert_close(sampler.ddim_step(x_t, target, t, s, LEVELS), x_s, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [2, 4])
def test_the_last_target_is_the_teachers_last_estimate(teacher, count):
    x_t, one = crops(2), torch.ones(2)
    target = leap_target(teacher, x_t, Leaps(5 * one, 2 * one, one > 0), count)

    def denoise(x_t, level):
        leap = sampler.leap_length(level, (5.0, 7.0), count)
        return teacher.denoise(x_t, torch.full((2,), level), torch.full((2,), leap)).clamp(-1, 1)

    torch.testing.assert_close(target, sampler.descend(denoise, x_t, (5.0, 7.0), steps=count))


@pytest.mark.parametrize("steps", [4, 8, FINEST])
def test_draws_stand_on_grids_of_so_many_steps_or_finer(steps):
    torch.manual_seed(2)
    leaps = draw_leaps(4000, steps, CPU)
    end = torch.where(leaps.last, leaps.log_snr + leaps.length, LAST)
    assert ((end - LAST).abs().minimum((end - REACH).abs()) < 1e-3).all()
    assert float(leaps.length.max()) == pytest.approx(2 * REACH / steps)
    assert float(leaps.length.min()) < 11 / steps
    assert (leaps.log_snr >= -REACH).all()
    assert (leaps.log_snr + leaps.length <= REACH + 1e-4).all()
    assert torch.equal(leaps.leap == REACH, leaps.last)
    whole = (leaps.length - 2 * REACH / steps).abs() < 1e-5
    assert 0.2 < float(whole.float().mean()) < (0.55 if steps == FINEST else 0.4)


def test_by_the_path_long_steps_are_taught_by_the_teacher_and_others_by_the_prior(teacher):
    prior = widened(Prior(PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8))).requires_grad_(False)
    torch.nn.init.normal_(prior.leave.weight, std=0.2)
    x_t, lengths = crops(), torch.tensor([LONG + 0.1, LONG, 0.5, 2.0])
    leaps = Leaps(torch.tensor([-5.0, 0.0, 3.0, -8.0]), lengths, lengths > 1e9)
    target = LeapLoss(teacher, teacher, prior).target(x_t, leaps, replace(PLAIN, method="path"))
    own, priors = leap_target(teacher, x_t, leaps), leap_target(prior, x_t, leaps, PATH // 4)
    torch.testing.assert_close(target[[0, 3]], own[[0, 3]])
    torch.testing.assert_close(target[[1, 2]], priors[[1, 2]])
    assert not torch.allclose(own, priors, atol=1e-3)
    assert torch.equal(LeapLoss(teacher, teacher, prior).target(x_t, leaps, PLAIN), own)


def test_a_student_that_is_right_has_no_loss_and_another_one_has(teacher):
    class Right(Prior):
        """Says the target itself."""

        def denoise(self, x_t, log_snr, leap=None):
            return self.answer

    right, x = Right(teacher.config), crops()
    torch.manual_seed(3)
    leaps = draw_leaps(len(x), 4, CPU)
    alpha, sigma = levels(leaps.log_snr)
    x_t = alpha * x + sigma * torch.randn_like(x)
    right.answer = leap_target(teacher, x_t, leaps)
    torch.manual_seed(3)
    assert float(LeapLoss(right, teacher)(x, PLAIN)["loss"]) == 0
    right.answer = right.answer + 0.1
    torch.manual_seed(3)
    scalars = LeapLoss(right, teacher)(x, PLAIN)
    assert float(scalars["squares"]) == pytest.approx(0.01, rel=1e-3)
    assert float(scalars["loss"]) == pytest.approx(0.01 * float(leaps.log_snr.exp().clamp(min=1).mean()), rel=1e-3)


def test_gradients_reach_the_student_alone(teacher):
    student = widened(
        teacher if not teacher.config.leaps else Prior(PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8))
    )
    loss = LeapLoss(student, teacher)
    loss(crops(), PLAIN)["loss"].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in student.parameters())
    assert set(loss.parameters()) == set(student.parameters())
