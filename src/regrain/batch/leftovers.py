"""What a run that was killed may leave behind: files under the temporary name that they have while they are written.

Invariant: one that is younger than a minute may be another run's, and stays.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from time import time

from regrain import places

__all__ = ["remove_leftovers"]

_TEMPORARY = re.compile(r"\.regrain-[0-9a-f]{16}\.tmp")
_AGE = 60.0


def remove_leftovers(targets: Iterable[str]) -> None:
    """Remove old temporary files from the folders of these targets, on this machine; nothing is raised."""
    for folder in {os.path.dirname(target) or "." for target in targets if not places.is_url(target)}:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if _TEMPORARY.fullmatch(entry.name) and time() - entry.stat().st_mtime > _AGE:
                    os.unlink(entry.path)
