"""What the laboratory's commands need beside the codec: asked for before a picture is read or a network is loaded."""

from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec

from regrain.errors import UsageError

__all__ = ["check_installed"]


def check_installed(deed: str, packages: Iterable[str]) -> None:
    """Raise UsageError, which says what to install for `deed`, unless all packages are there; none is imported."""
    for name in packages:
        with suppress(ImportError):  # a finder may refuse in this way
            if find_spec(name) is not None:
                continue
        raise UsageError(f"{deed} needs {name}; install it with: pip install 'regrain[lab]'")
