"""Blocks start harmless: residuals at the identity, upsampling at nearest neighbour."""

import subprocess
import sys

import pytest
import torch

from regrain.layers import Embedding, FilmBlock, PixelNorm, ResidualBlock, Upsample, bfloat16_units, conv


def test_residual_blocks_start_as_the_identity():
    x = torch.randn(2, 8, 6, 5)
    assert torch.equal(ResidualBlock(8)(x), x)
    assert torch.equal(FilmBlock(8, 4)(x, torch.randn(2, 4)), x)


def test_upsampling_starts_without_a_lattice():
    up = Upsample(6, 3)(torch.randn(1, 6, 4, 4))
    assert up.shape == (1, 3, 8, 8)
    blocks = up.unfold(2, 2, 2).unfold(3, 2, 2)
    torch.testing.assert_close(blocks, blocks[..., :1, :1].expand_as(blocks))


def test_strided_convolution_halves_exactly():
    assert conv(3, 5, stride=2)(torch.randn(1, 3, 8, 12)).shape == (1, 5, 4, 6)


def test_embedding_tells_scalars_apart():
    embed = Embedding(3, 16)
    a, b = embed(torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.5, 0.9]]))
    assert float((a - b).detach().abs().max()) > 1e-3


def test_a_pixel_norm_knows_no_scale_and_no_neighbours():
    x = torch.randn(2, 16, 8, 8)
    norm = PixelNorm()
    assert norm(1e6 * x).square().mean(1).sub(1).abs().max() < 1e-3
    torch.testing.assert_close(norm(x)[:, :, 2:5, 3:], norm(x[:, :, 2:5, 3:]))
    assert not norm(0 * x).any()


def test_weights_are_read_without_torch_s_compiler():
    """Drawing numbers on tensors without memory would import it: most of a second in every fresh process."""
    code = """if True:
        import sys
        from regrain import registry
        for method in ("conditional", "progressive", "palette"):
            registry.load(device="cpu", method=method)
        print("torch._dynamo" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("units", "there"),
    [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx512_vnni": True, "avx512_bf16": False}, False)],
)
def test_a_processor_says_whether_it_has_units_for_bfloat16(monkeypatch, units, there):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    assert bfloat16_units(torch.device("cpu")) == there
    assert bfloat16_units(torch.device("cpu"), training=True) == ("amx_bf16" in units)
    assert not bfloat16_units(torch.device("meta"))


@pytest.mark.parametrize(("generation", "there"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_graphics_card_says_so_by_its_generation(monkeypatch, generation, there):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: generation)
    assert bfloat16_units(torch.device("cuda", 1)) == there
