"""The trainable whole of the conditional codec, the form in which it ships, and the way back.

Tensors are named by room. `latents.*` is all that turns bytes into y_hat, in its exact stored form (integers where the
wall needs them); the latent fingerprint in every file is that part's checksum, and the rest may change under it.
"""

import torch
from torch import Tensor, nn

from regrain import torch_checkpoint
from regrain.conditional.config import HYPER_MAX, ModelConfig
from regrain.conditional.transform import Analysis, HyperAnalysis, build_denoiser
from regrain.diffusion import parametrize
from regrain.entropy import tables
from regrain.errors import ModelError
from regrain_lab.trainable.latents import Coded, EntropyModel, pad_to_hyper

__all__ = ["ConditionalCodec", "freeze", "latent_fingerprint", "thaw"]

NETWORKS = ("analysis.", "hyper_analysis.", "latents.mean.", "denoiser.")


class ConditionalCodec(nn.Module):
    """g_a, h_a, the latents and the denoiser in one module, as training sees them."""

    def __init__(self, config: ModelConfig) -> None:
        """Build untrained."""
        super().__init__()
        self.config = config
        self.analysis = Analysis(config.transform)
        self.hyper_analysis = HyperAnalysis(config.transform)
        self.latents = EntropyModel(config.transform)
        self.denoiser = build_denoiser(config)

    @property
    def prediction(self) -> parametrize.Prediction:
        """What the denoiser's output means."""
        return self.config.parametrization

    def code(self, x: Tensor, quality: Tensor) -> Coded:
        """Latents as the file will hold them, and their bits. x (B, 3, H, W), multiples of 16; quality (B,).

        Under autocast g_a alone is in lower precision: symbols, scale indices and bits are integers and logarithms.
        """
        y: Tensor = self.analysis(x)
        with torch.autocast(x.device.type, enabled=False):
            y = y.to(torch.promote_types(y.dtype, torch.float32))
            z = self.hyper_analysis(pad_to_hyper(self.latents.gain(quality) * y))
            coded: Coded = self.latents(y, z, quality)
        return coded


@torch.no_grad()
def freeze(codec: ConditionalCodec) -> dict[str, Tensor]:
    """Tensors to ship: float16 networks, 8-bit scale branch, integer offsets and tables, float32 gains."""
    state = codec.state_dict()
    tensors = {name: value.half() for name, value in state.items() if name.startswith(NETWORKS)}
    latents = codec.latents
    tensors |= latents.scale.integers()
    tensors["latents.offset"] = latents.integer_offsets().to(torch.int32)
    tensors["latents.log_gain"] = latents.gain.log_anchors().float()
    rows = latents.prior.tabulate(HYPER_MAX)
    frozen = [tables.freeze(row, -HYPER_MAX) for anchor in rows for row in anchor]
    tensors["latents.z_tables"] = torch.from_numpy(tables.pack(frozen))
    return tensors


@torch.no_grad()
def thaw(codec: ConditionalCodec, tensors: dict[str, Tensor]) -> None:
    """The inverse of `freeze`: go on training from weights that ship, which `codec` must have the shape of.

    z's distributions are fitted to its tables; all else comes back as it was rounded. Raises ModelError.
    """
    state = {name: value.float() for name, value in tensors.items() if name.startswith(NETWORKS)}
    latents = codec.latents
    try:
        missing, surplus = codec.load_state_dict(state, strict=False)
        if wrong := [*surplus, *(name for name in missing if name.startswith(NETWORKS))]:
            raise ModelError(f"weights of another shape: {wrong[0]} is on one side alone")
        latents.scale.set_integers(tensors)
        latents.set_offsets(tensors["latents.offset"])
        latents.gain.set_anchors(tensors["latents.log_gain"])
        rows = torch.stack([_probabilities(table) for table in tables.unpack(tensors["latents.z_tables"].numpy())])
        rows = torch.unflatten(rows, 0, latents.prior.shape[:2])
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"weights of another shape: {str(error).splitlines()[0]}") from None
    with torch.enable_grad():
        latents.prior.fit(rows, HYPER_MAX)


def _probabilities(table: tables.Table) -> Tensor:
    """Of the hyper-latents -HYPER_MAX..HYPER_MAX, without the one count that even the least of them gets."""
    if table.first != -HYPER_MAX or table.size != 2 * HYPER_MAX + 1:
        raise ModelError(f"weights hold a hyper table of {table.size} symbols from {table.first} on")
    if not (shares := torch.from_numpy(table.counts[:-1].astype("float64") - 1)).any():
        raise ModelError("weights hold a hyper table of escapes alone")
    return shares


def latent_fingerprint(tensors: dict[str, Tensor]) -> bytes:
    """4 bytes over everything that turns bytes into y_hat."""
    return torch_checkpoint.fingerprint({name: value for name, value in tensors.items() if name.startswith("latents.")})
