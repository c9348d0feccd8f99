"""Where the bits of a photo's file go: a square of 16 x 16 pixels is the brighter the more it takes.

python examples/rate_map.py OUT      writes OUT/rate_map.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import regrain

PHOTO = Path(__file__).resolve().parents[1] / "demo" / "photo.png"


def main(out: Path) -> Path:
    """Write the decoded photo above the map of its bits; returns the file."""
    out.mkdir(parents=True, exist_ok=True)
    parts = regrain.latents(PHOTO, quality=40)
    data = regrain.encode(PHOTO, quality=40)
    print(f"{parts.bits.sum() / 8:.0f} bytes of latents by an ideal coder, {len(data)} bytes of file")
    print(f"a place takes {parts.bits.min():.0f} to {parts.bits.max():.0f} bits")

    levels = np.uint8(255 * parts.bits / parts.bits.max())
    whole = Image.fromarray(levels).resize((16 * levels.shape[1], 16 * levels.shape[0]), Image.Resampling.NEAREST)
    sheet = Image.new("RGB", (parts.width, 2 * parts.height))
    sheet.paste(regrain.from_latents(parts), (0, 0))
    sheet.paste(whole.crop((0, 0, parts.width, parts.height)).convert("RGB"), (0, parts.height))
    sheet.save(path := out / "rate_map.png")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
