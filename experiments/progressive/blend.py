"""Two students of the prior as one: the means of their weights (Wortsman et al. 2022, "Model soups").

    python experiments/progressive/blend.py FIRST SECOND OUT [--share .5]

FIRST and SECOND are files of `regrain distill` that began from one student; `--share` is that of the second.
"""

import argparse
from pathlib import Path

import torch

from regrain import torch_checkpoint
from regrain.diffusion.prior import Prior
from regrain_lab.trainable.denoisers import with_student


def main() -> None:
    """Write OUT: the first's file with another student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("first", "second", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    options = parser.parse_args()
    (_, first), (_, second) = (Prior.load_pair(path) for path in (options.first, options.second))
    if first is None or second is None:
        parser.error("a file has no student")
    other = second.state_dict()
    first.load_state_dict({n: torch.lerp(t, other[n], options.share) for n, t in first.state_dict().items()})
    tensors, metadata = torch_checkpoint.load(options.first)
    torch_checkpoint.save(options.out, with_student(tensors, first), metadata)


if __name__ == "__main__":
    main()
