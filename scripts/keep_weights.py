"""Keep the weights of a release beside the next one's, small: python scripts/keep_weights.py OLD.safetensors

Before new weights of the conditional codec take the place of the package's, which have other latents, the old ones go
to conditional-FINGERPRINT.safetensors: latents to the bit, so that every file of theirs still decodes, networks in 8
bits.
"""

import argparse
from pathlib import Path

from regrain import checkpoint
from regrain.conditional.frozen import latent_fingerprint

WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "regrain" / "weights"
NETWORKS = ("analysis.", "hyper_analysis.", "denoiser.")


def main() -> None:
    """Write the smaller file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    tensors, about = checkpoint.load(parser.parse_args().old)
    path = WEIGHTS / f"conditional-{latent_fingerprint(tensors).hex()}.safetensors"
    checkpoint.save(path, checkpoint.shrunk(tensors, NETWORKS), about)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
