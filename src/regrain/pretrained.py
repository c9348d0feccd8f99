"""Models as the hub has them: loaded by name, saved to a folder of that layout, and pushed."""

import hashlib
import json
import os
import re
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING, Final

from regrain import hub, registry
from regrain.bitstream import Method
from regrain.errors import OutputError, UsageError, reason
from regrain.options import METHODS
from regrain.output import write_folder
from regrain.places import check_installed
from regrain.shipped import LICENCE

if TYPE_CHECKING:
    from regrain.registry import Codec

__all__ = ["from_pretrained", "push_to_hub", "save_pretrained"]

Source = str | os.PathLike[str] | None
CARD_TEXT: Final = """---
library_name: regrain
{licence}tags:
- regrain
- image-compression
- diffusion
- {method}
---

# Weights of regrain's {method} method

Latents `{fingerprint}`, recipe `{recipe}`; `model.safetensors` has sha256 `{sha256}`.

```python
import regrain

model = regrain.load("hf://ORG/NAME", download=True)  # the name of this page; later without `download`
data = regrain.encode("photo.png", model=model)
picture = regrain.decode(data, model=model)
```
"""


def from_pretrained(name: str | os.PathLike[str], *, device: str | None = None, download: bool = False) -> "Codec":
    """The model of a folder that `save_pretrained` wrote, or of a name, ORG/NAME or hf://ORG/NAME; as `regrain.load`.

    >>> import regrain, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     regrain.save_pretrained("progressive", folder)
    ...     regrain.from_pretrained(folder).method.name
    'PROGRESSIVE'
    """
    short = isinstance(name, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@\w[\w.-]*)?", name)
    return registry.load(f"hf://{name}" if short and not Path(name).exists() else name, device, download=download)


def save_pretrained(
    model: Source, folder: str | os.PathLike[str], *, licence: str | None = None, overwrite: bool = False
) -> None:
    """Write weights, and what says which they are, to a folder in the layout of huggingface_hub.

    `model` is what `load` takes of this package's own weights: a file, a method's name (None: the first), a folder of
    this kind, or an hf:// name. `licence` is a word of the hub's, as "apache-2.0" is, which those in the package have;
    of other weights nothing is said where nothing is given. Raises OutputError, all files or none being written, for a
    folder with a model where `overwrite` does not allow to replace it; ModelError and UsageError as `load`.
    """
    data, config = _weights(model, licence)
    path = Path(folder)
    if not overwrite and (path / hub.CONFIG).exists():
        raise OutputError(f"{path}: it has a {hub.CONFIG} already; overwrite=True replaces it")
    said = f"license: {config.license}\n" if config.license else ""
    card = CARD_TEXT.format(licence=said, **asdict(config))
    text = json.dumps(asdict(config), indent=1) + "\n"
    write_folder({hub.WEIGHTS: data, hub.CARD: card.encode(), hub.CONFIG: text.encode()}, path)


def push_to_hub(model: Source, name: str, *, licence: str | None = None, private: bool | None = None) -> str:
    """Save weights, as `save_pretrained` does, at ORG/NAME of the hub, which is made where it is missing; its address.

    Whoever may do so, huggingface_hub knows (`hf auth login`). Raises OutputError where the hub refuses, UsageError
    without huggingface_hub (`regrain[hub]`).
    """
    check_installed("push_to_hub", ("huggingface_hub",), "hub")
    from huggingface_hub import create_repo, upload_folder

    with tempfile.TemporaryDirectory(prefix="regrain-") as folder:
        save_pretrained(model, folder, licence=licence)
        named = name.removeprefix("hf://")
        try:
            create_repo(named, private=private, exist_ok=True)
            return str(upload_folder(repo_id=named, folder_path=folder, commit_message="Weights of regrain"))
        except Exception as error:
            raise OutputError(f"{name}: cannot be pushed: {reason(error)}") from None


def _weights(model: Source, licence: str | None) -> tuple[bytes, hub.Config]:
    """The bytes of a file of weights, and what is to be said of it."""
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,60}", licence):
        raise UsageError(f"licence is {licence!r}; allowed is a word such as apache-2.0 or cc-by-4.0")
    with ExitStack() as stack:
        named = None if model is None or model in METHODS else hub.find(model)
        if model is None or model in METHODS:
            method = Method[str(model or registry.DEFAULT_METHOD).upper()]
            path, said = stack.enter_context(as_file(registry.shipped_weights(method))), LICENCE
        else:
            path, said = (named.weights(), named.config.license) if named else (Path(model), "")
        if named is None and path.is_dir():
            raise UsageError(f"{path}: a folder without a model of regrain; a file of weights is allowed")
        loaded = registry.load(path)
        data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    about = loaded.method.name.lower(), loaded.fingerprint.hex(), digest, licence or said, loaded.recipe
    return data, hub.Config(*about)
