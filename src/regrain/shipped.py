"""The weights in the package: METHOD-FINGERPRINT.safetensors, and an index that says which one is used when.

index.json    METHOD -> fingerprint of the weights for photos
              METHOD-CONTENT -> fingerprint of an adapter of these, for another content
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from regrain.bitstream import Method
from regrain.errors import ModelError
from regrain.hub import cached

__all__ = [
    "LICENCE", "Shipped", "content_of", "expected_psnr", "has_content", "shipped", "shipped_fingerprint",
    "shipped_weights",
]  # fmt: skip

LICENCE: Final = "apache-2.0"
"""Of all weights in the package."""
PHOTO: Final = "photo"
"""The content that a method's own weights are for."""


class Shipped(NamedTuple):
    """A file of weights in the package: the `name` that `load` takes, method, fingerprint in hexadecimal, bytes."""

    name: str
    method: str
    fingerprint: str
    size: int


def shipped() -> list[Shipped]:
    """All weights in the package, by their names; those that a method uses now go by the method's. Raises ModelError.

    >>> {"conditional", "palette", "progressive"} <= {model.name for model in shipped()}
    True
    """
    with _reading():
        index, models = _index(), []
        for path in sorted(_folder().iterdir(), key=lambda path: path.name):
            method, _, fingerprint = path.name.removesuffix(".safetensors").rpartition("-")
            if method:
                name = method if index.get(method) == fingerprint else str(path)
                models.append(Shipped(name, method, fingerprint, len(path.read_bytes())))
        return models


def shipped_fingerprint(method: Method, content: str = PHOTO) -> bytes:
    """The latent fingerprint, 4 bytes, of the package's current weights of a method for a content.

    Raises ModelError where the package has no weights for it, and where its index is damaged.
    """
    if content != PHOTO and not has_content(method, content):
        raise ModelError(f"this package has no {method.name.lower()} weights for the content {content}")
    with _reading():
        return bytes.fromhex(_index()[_key(method, content)])


def has_content(method: Method, content: str) -> bool:
    """Whether the package has weights of a method for a content. Raises ModelError where its index is damaged."""
    with _reading():
        return _key(method, content) in _index()


def content_of(method: Method, fingerprint: bytes) -> str | None:
    """What the package's current weights of this fingerprint are for, None where it is that of no current ones.

    >>> content_of(Method.CONDITIONAL, shipped_fingerprint(Method.CONDITIONAL))
    'photo'
    """
    with suppress(ModelError), _reading():
        for key, value in _index().items():
            name, _, content = key.partition("-")
            if (name, value) == (method.name.lower(), fingerprint.hex()):
                return content or PHOTO
    return None


def shipped_weights(method: Method, fingerprint: bytes = b"") -> Traversable:
    """The package's weights of a method, METHOD-FINGERPRINT.safetensors: the current ones, or those of a fingerprint.

    Raises ModelError where the package has no weights of that fingerprint, and where its index is damaged.
    """
    if method is Method.PRIVATE:
        raise ModelError(f"the file is private to a codec of fingerprint {fingerprint.hex()}: give it as the model")
    name, current = method.name.lower(), shipped_fingerprint(method)
    path = _folder() / f"{name}-{(fingerprint or current).hex()}.safetensors"
    if fingerprint not in (b"", current) and not path.is_file():
        raise ModelError(
            f"the file needs the weights with latent fingerprint {fingerprint.hex()}, and the {name} weights of this "
            f"release are {current.hex()}: name the right ones with --model ({_whereabouts(fingerprint.hex())}), or "
            "install the regrain release that wrote the file; there is no package of earlier weights yet"
        )
    return path


def expected_psnr(method: Method, fingerprint: bytes) -> list[float]:
    """PSNR in dB that the package's weights had on held-out pictures after each step of a stream; [] if not known."""
    from regrain.checkpoint import load_metadata

    with suppress(ModelError), _reading(), as_file(shipped_weights(method, fingerprint)) as path:
        return list(load_metadata(path).get("psnr", ()))
    return []


def _whereabouts(fingerprint: str) -> str:
    """Where weights are to be had, in a few words: in the cache of the hub, or from whoever has them."""
    with suppress(Exception):  # of a library that only helps here
        for model in cached():
            if model.config.fingerprint == fingerprint:
                return f"{model.name} has them"
    return "a file, or hf://ORG/NAME; `regrain models` lists what is here"


def _key(method: Method, content: str) -> str:
    """The name of weights in the index."""
    return method.name.lower() if content == PHOTO else f"{method.name.lower()}-{content}"


def _index() -> dict[str, str]:
    index: dict[str, str] = json.loads((_folder() / "index.json").read_text(encoding="utf-8"))
    return index


def _folder() -> Traversable:
    return files("regrain") / "weights"


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever keeps files of the package from being read or understood is a ModelError."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"the package's weights are missing or damaged ({error}); reinstall regrain") from None
