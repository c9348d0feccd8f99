"""The student: latents as files give them, a start that is the teacher, and what of it ships."""

import numpy as np
import pytest
import torch

import regrain
from lab.training.tiny import MODEL, crops, tiny_codec
from lab.training.tiny_student import CPU, full, origin, shaken, write_teacher
from regrain import torch_checkpoint
from regrain.conditional.decode import decode_latents
from regrain.errors import ModelError
from regrain_lab.trainable.denoisers import GuidanceEmbedding, Student
from regrain_lab.trainable.frozen import FrozenCodec, quantized_latents, with_network

X_T, KNOBS = crops(), (full(2, 0.6), full(2, 0.7), full(2, 1.0))


@pytest.fixture
def teacher(tmp_path) -> FrozenCodec:
    return origin(tmp_path)


def said(student, x_t, t, cond, quality, realism, guidance=None):
    with torch.no_grad():
        return student(x_t, t, cond, quality, realism, guidance)


@pytest.mark.parametrize("side", [64, 48, 32, 16])
def test_latents_are_those_of_a_file(teacher, tmp_path, side):
    """y_hat is what writing a file and reading it gives, at every quality of the batch."""
    qualities = 0, 6400, 12345, 25600
    torch_checkpoint.save(tmp_path / "weights", teacher.tensors, dict(teacher.metadata))
    codec = regrain.load(tmp_path / "weights", device="cpu")
    pixels = ((crops(4)[:, :, :side, :side] + 1) * 127.5).round().byte()
    x = pixels.float() / 127.5 - 1
    latents = quantized_latents(
        teacher, x.contiguous(memory_format=torch.channels_last), torch.tensor(qualities) / 25600
    )
    for picture, quality, y_hat in zip(pixels, qualities, latents, strict=True):
        array = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        payloads = codec.prepare(array, 64).payloads(quality)
        expected = torch.from_numpy(decode_latents(codec.latents, payloads, (side, side), quality, 64))
        torch.testing.assert_close(y_hat, expected, rtol=1e-5, atol=1e-4)


def test_latents_are_never_made_under_autocast(teacher):
    x, quality = crops(), full(2, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        under = quantized_latents(teacher, x, quality)
    assert torch.equal(under, quantized_latents(teacher, x, quality))


@pytest.mark.parametrize("guided", [False, True])
def test_an_untrained_student_is_its_teacher(teacher, guided):
    cond = torch.randn(2, MODEL.transform.latent, 4, 4)
    student = Student(teacher, guided=guided)
    guidance = full(2, 0.5) if guided else None
    for index in range(2):
        expected = torch.from_numpy(teacher.networks.denoise(X_T[index].numpy(), 0.6, cond[index].numpy(), 0.7, 1.0))
        estimate = said(student, X_T, KNOBS[0], cond, *KNOBS[1:], guidance)[index]
        torch.testing.assert_close(estimate, expected, rtol=1e-4, atol=1e-5)
    shipped = with_network(teacher.tensors, "denoiser.", student.denoiser_at(0.5))
    assert torch_checkpoint.fingerprint(shipped) == torch_checkpoint.fingerprint(teacher.tensors)


def test_only_the_denoiser_ships_anew(teacher, tmp_path):
    student = Student(teacher, guided=False)
    shaken(student)
    tensors = with_network(teacher.tensors, "denoiser.", student.denoiser_at(0.0))
    changed = {name for name, tensor in tensors.items() if not torch.equal(tensor, teacher.tensors[name])}
    assert {name.partition(".")[0] for name in changed} == {"denoiser"}
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {
        name: tensor.dtype for name, tensor in teacher.tensors.items()
    }
    torch_checkpoint.save(tmp_path / "new", tensors, {"recipe": "new", "step": 1, "config": teacher.metadata["config"]})
    FrozenCodec.load(tmp_path / "new", CPU)
    picture = np.zeros((20, 30, 3), np.uint8)
    assert regrain.encode(picture, model=tmp_path / "teacher.safetensors") == regrain.encode(
        picture, model=tmp_path / "new"
    )


def test_a_guided_student_at_one_weight_is_an_ordinary_denoiser(teacher):
    student, cond = Student(teacher, guided=True), torch.randn(2, MODEL.transform.latent, 4, 4)
    shaken(student, 0.1)
    for weight in (0.0, 0.3, 1.0):
        wanted = said(student, X_T, KNOBS[0], cond, *KNOBS[1:], full(2, weight))
        with torch.no_grad():
            found = student.denoiser_at(weight)(X_T, KNOBS[0], cond, *KNOBS[1:])
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    told = [said(student, X_T, KNOBS[0], cond, *KNOBS[1:], full(2, weight)) for weight in (0.0, 1.0)]
    assert not torch.allclose(told[0], told[1])
    assert not student.denoiser.embed._forward_hooks


def test_a_guide_says_nothing_and_learns():
    guide = GuidanceEmbedding(8)
    out = guide(torch.tensor([0.0, 0.5, 1.0]))
    assert out.shape == (3, 8)
    assert not out.any()
    out.sum().backward()
    assert guide.embed.mlp[2].weight.grad.abs().sum() > 0


def test_teachers_that_cannot_be_used(tmp_path):
    with pytest.raises(ModelError, match="none: no weights there; teacher is a file of weights, or empty"):
        FrozenCodec.load(tmp_path / "none", CPU)
    (tmp_path / "noise").write_bytes(b"noise")
    with pytest.raises(ModelError, match="noise: weights cannot be read"):
        FrozenCodec.load(tmp_path / "noise", CPU)
    torch_checkpoint.save(tmp_path / "other", {"a": torch.zeros(1)}, {"config": {}, "recipe": "other"})
    with pytest.raises(ModelError, match="other: not weights of the conditional codec"):
        FrozenCodec.load(tmp_path / "other", CPU)
    config = tiny_codec("eps").config.to_dict()
    with pytest.raises(ModelError, match="predicts eps, which at t = 1 says nothing of x_0; x0 and v are allowed"):
        FrozenCodec.load(write_teacher(tmp_path / "eps", config=config), CPU)


def test_the_package_is_the_teacher_where_none_is_named():
    origin = FrozenCodec.load(None, CPU)
    assert regrain.load().fingerprint.hex() == origin.metadata["latent_fingerprint"]
