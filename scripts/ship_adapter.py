"""Put an adapter into the package, as its weights for a content: python scripts/ship_adapter.py WEIGHTS [screen]

WEIGHTS is what `regrain fine-tune FOLDER --parts adapter` wrote, from the package's current weights. The adapter that
had its place stays in the folder, since files name it, until it is removed by hand.
"""

import json
import shutil
import sys
from pathlib import Path

from regrain import adapter, checkpoint, registry
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel
from regrain.options import CONTENTS

FOLDER = Path(__file__).resolve().parents[1] / "src" / "regrain" / "weights"


def ship(weights: Path, content: str, folder: Path = FOLDER) -> Path:
    """Copy the adapter to where the index then says it is. Ends the program where it is none, or changes no latents."""
    current = registry.shipped_fingerprint(Method.CONDITIONAL)
    if adapter.base_fingerprint(checkpoint.load_metadata(weights)) != current:
        raise SystemExit(f"{weights}: no adapter of {current.hex()}, the package's weights")
    fingerprint = ConditionalModel.load(weights).fingerprint
    if fingerprint == current or content not in CONTENTS[2:]:
        raise SystemExit(f"{weights}: its latents are {fingerprint.hex()}, its content {content}; others are needed")
    place, index = folder / f"conditional-{fingerprint.hex()}.safetensors", folder / "index.json"
    shutil.copyfile(weights, place)
    names = json.loads(index.read_text(encoding="utf-8")) | {f"conditional-{content}": fingerprint.hex()}
    index.write_text(json.dumps(names, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return place


if __name__ == "__main__":
    print(ship(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "screen"))
