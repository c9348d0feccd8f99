"""What the laboratory's commands need beside the codec: asked for before a picture is read or a network is loaded."""

import os
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from regrain.errors import OutputError, UsageError, escape

__all__ = ["check_folder", "check_installed"]


def check_folder(folder: Path) -> Path:
    """The folder; raises OutputError where files can neither be written into it nor it be made. Nothing is made yet."""
    name = escape(str(folder))
    if "\0" in str(folder):
        raise OutputError(f"cannot write into {name}: no name may hold a zero")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise OutputError(f"cannot write into {name}: {escape(str(nearest))} is no folder")
    if not os.access(nearest, os.W_OK):
        raise OutputError(f"cannot write into {name}: permission denied")
    return folder


def check_installed(deed: str, packages: Iterable[str]) -> None:
    """Raise UsageError, which says what to install for `deed`, unless all packages are there; none is imported."""
    for name in packages:
        with suppress(ImportError):  # a finder may refuse in this way
            if find_spec(name) is not None:
                continue
        raise UsageError(f"{deed} needs {name}; install it with: pip install 'regrain[lab]'")
