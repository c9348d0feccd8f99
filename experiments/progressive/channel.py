"""What reverse channel coding costs: bytes over the KL divergence, and time, by the size of a chunk.

    python experiments/progressive/channel.py

One shift of 2^18 values (296 x 296 pixels) and 8,000 bits of divergence at each chunk size, eight times with other
noise. `kept` is how much of the shift the samples have on average, to within 0.02, for all chunks of a message share
their candidates: 1 where these suffice. Where they do not, the bits written pay for what is kept alone, and so may come
to less than the divergence; in a stream the next step's shift has what is missing. Seconds are of the processor, all
cores together, so that whatever else runs does not count.
"""

import math
import time

import numpy as np

from regrain.progressive.payload import pack
from regrain.progressive.reverse_channel_coding import divergence, receive, send

SIZE, BITS, RUNS = 2**18, 8000.0, 8
DEVIATION = math.sqrt(4 ** (BITS / SIZE) - 1)
"""Of a shift of so many bits: SIZE log2(1 + DEVIATION^2) / 2."""


def main() -> None:
    """Print the table."""
    shift = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    shift *= np.float32(DEVIATION / np.sqrt(np.square(shift).mean()))
    print("| bits a chunk | candidates | bits written, over the divergence | kept | encode, s | decode, s |")
    print("|---|---|---|---|---|---|")
    for chunk in (4.0, 6.0, 8.0, 10.0, 12.0):
        print(_line(shift, chunk), flush=True)


def _line(shift: np.ndarray, chunk: float) -> str:
    size, kept, seconds = 0.0, 0.0, np.zeros(2)
    for run in range(RUNS):
        start = time.process_time()
        message = send(shift, 0, run, chunk_bits=chunk)
        middle = time.process_time()
        sample = receive(message, SIZE, 0, run)
        seconds += (middle - start, time.process_time() - middle)
        size += 8 * len(pack([message], 0)) / RUNS
        kept += float(sample @ shift / (shift @ shift)) / RUNS
    encode, decode = seconds / RUNS
    share = size / divergence(shift)
    return f"| {chunk:g} | 2^{message.candidates} | {share:.2f} | {kept:.3f} | {encode:.3f} | {decode:.3f} |"


if __name__ == "__main__":
    main()
