"""Guidance on the sampler: what is hidden is not read, weights turn something, and one step leads where two do."""

import sys
from pathlib import Path

import pytest
import torch

from regrain.diffusion import sampler
from regrain_lab.trainable.frozen import FrozenCodec
from regrain_lab.training.losses.sampler import LEVELS

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "few_steps"))  # its scripts import each other
from guidance import Network, Place, halved_lesson, leap


@pytest.fixture(scope="module")
def shipped():
    return FrozenCodec.load(None, torch.device("cpu")).networks.sampler


@pytest.fixture
def place(shipped):
    generator = torch.Generator().manual_seed(0)
    cond, guide = (torch.randn(2, *shape, generator=generator) for shape in ((256, 4, 4), (3, 64, 64)))
    return Place(cond, guide.clamp(-1, 1), torch.ones(2, 1, 64, 64), torch.tensor([0.0, 1.0]))


@torch.no_grad()
def test_the_hidden_network_reads_neither_latents_nor_guide_but_for_what_it_corrects(shipped, place):
    x_t, t = place.start(torch.randn(2, 3, 64, 64)), torch.full((2,), 0.6)
    shown, hidden = Network(shipped).eval(), Network(shipped, hidden=True).eval()
    other = place._replace(cond=-place.cond)
    assert torch.equal(hidden(x_t, t, place), hidden(x_t, t, other))
    assert not torch.equal(shown(x_t, t, place), shown(x_t, t, other))


@torch.no_grad()
def test_a_guided_network_begins_as_the_sampler_and_heeds_its_weight_once_it_has_learned(shipped, place):
    x_t, t = place.start(torch.randn(2, 3, 64, 64)), torch.full((2,), 1.0)
    plain, guided = Network(shipped).eval(), Network(shipped, guided=True).eval()
    assert torch.equal(plain(x_t, t, place), guided(x_t, t, place))
    torch.nn.init.normal_(guided.weight.embed.mlp[2].weight)
    assert not torch.equal(guided(x_t, t, place), guided(x_t, t, place._replace(w=place.w.flip(0))))


def test_the_picture_of_a_leap_leads_there():
    x_t, x_s = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    x_0 = leap(x_t, x_s, LEVELS.at(0.75), LEVELS.at(0.25))
    assert torch.allclose(sampler.ddim_step(x_t, x_0, 0.75, 0.25, LEVELS), x_s)


def test_a_halved_lesson_is_where_two_steps_of_the_teacher_lead(place):
    def teacher(x_t, t, place):
        return 0.5 * x_t / (1 + t[:, None, None, None])

    torch.manual_seed(0)
    lesson = halved_lesson(teacher, 4)(place.guide, place)
    t = float(lesson.t[0])
    x_m = sampler.ddim_step(lesson.x_t, teacher(lesson.x_t, lesson.t, place), t, t - 0.125, LEVELS)
    x_s = sampler.ddim_step(x_m, teacher(x_m, lesson.t - 0.125, place), t - 0.125, t - 0.25, LEVELS)
    assert torch.allclose(sampler.ddim_step(lesson.x_t, lesson.x_0, t, t - 0.25, LEVELS), x_s, atol=1e-5)
