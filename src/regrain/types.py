"""What `regrain` forwards once somebody asks for it: what is for many pictures or for one half, and types.

So `import regrain` stays light, and `typing.get_type_hints` works on every public function all the same.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "Content", "Decoder", "Encoder", "Figures", "Image", "Info", "Latents", "Model", "Picturelike", "Pixels",
    "Repaired", "Sampler", "decode_many", "encode_many", "from_latents", "from_pretrained", "latents", "push_to_hub",
    "save_pretrained",
]  # fmt: skip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from regrain.codec import Info
    from regrain.conditional.latents import Latents
    from regrain.halves import from_latents, latents
    from regrain.image import Picturelike
    from regrain.many import decode_many, encode_many
    from regrain.options import Content, Repaired, Sampler
    from regrain.pretrained import from_pretrained, push_to_hub, save_pretrained
    from regrain.registry import Codec as Model
    from regrain.workers import Decoder, Encoder

    Figures = NDArray[np.float32]
    Pixels = NDArray[np.uint8]
else:
    _MODULES = {
        "Content": ("regrain.options", "Content"),
        "Decoder": ("regrain.workers", "Decoder"),
        "Encoder": ("regrain.workers", "Encoder"),
        "Figures": ("numpy", "ndarray"),
        "Image": ("PIL.Image", "Image"),
        "Info": ("regrain.codec", "Info"),
        "Latents": ("regrain.conditional.latents", "Latents"),
        "Model": ("regrain.registry", "Codec"),
        "Picturelike": ("regrain.image", "Picturelike"),
        "Pixels": ("numpy", "ndarray"),
        "Repaired": ("regrain.options", "Repaired"),
        "Sampler": ("regrain.options", "Sampler"),
        "decode_many": ("regrain.many", "decode_many"),
        "encode_many": ("regrain.many", "encode_many"),
        "from_latents": ("regrain.halves", "from_latents"),
        "from_pretrained": ("regrain.pretrained", "from_pretrained"),
        "latents": ("regrain.halves", "latents"),
        "push_to_hub": ("regrain.pretrained", "push_to_hub"),
        "save_pretrained": ("regrain.pretrained", "save_pretrained"),
    }

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _MODULES[name]
        return getattr(import_module(module), attribute)
