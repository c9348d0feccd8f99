"""Make the sample pictures of the page from those of scikit-image: python scripts/samples.py [FOLDER].

FOLDER is web/photos unless given. It gets five pictures as AVIF (4:4:4) and thumbs.webp, in which the demo's photo and
the five stand side by side as squares. web/photos/SOURCES.md says whose they are, and that all are free.
"""

import argparse
import io
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "web" / "photos"
SIDE, THUMB = 640, 144
SAMPLES = {"coffee": "png", "astronaut": "png", "launch": "jpg", "gravel": "png", "retina": "jpg"}
NAMES = {"launch": "rocket"}
QUALITIES = {"gravel": 86}


def sample(name: str) -> Image.Image:
    """A picture of scikit-image, in RGB, no side over 640 pixels."""
    source = files("skimage.data") / f"{NAMES.get(name, name)}.{SAMPLES[name]}"
    picture = Image.open(io.BytesIO(source.read_bytes())).convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=None)
    return picture


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(description="Make the sample pictures of the page.")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {name: sample(name) for name in SAMPLES}
    for name, picture in pictures.items():
        quality = QUALITIES.get(name, 90)
        picture.save(folder / f"{name}.avif", quality=quality, subsampling="4:4:4", speed=2)
    everything = [Image.open(ROOT / "demo" / "photo.png").convert("RGB"), *pictures.values()]
    sheet = Image.new("RGB", (THUMB * len(everything), THUMB))
    for at, picture in enumerate(everything):
        sheet.paste(ImageOps.fit(picture, (THUMB, THUMB), Image.Resampling.LANCZOS), (THUMB * at, 0))
    sheet.save(folder / "thumbs.webp", quality=75, method=6)


if __name__ == "__main__":
    main()
