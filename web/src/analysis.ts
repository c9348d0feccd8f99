/** Picture -> latents y, window by window: the heavy part of encoding, which does not depend on quality. */

import { matchFineBlocks } from "./dct.ts";
import type { Progress } from "./latents.ts";
import type { Networks } from "./networks.ts";
import { inside, padEdge, paste, type Planes, pixelsOf, STRIDE, windowsOf, zeros } from "./planes.ts";

const WINDOW = 64;
const HALO = 8;
/** What the network adds to a latent at most: beyond lies what it was not trained on, and y is the DCT alone. */
const ADDED_MAX = 4;
/** A picture is too fine for the latents where this share of its blocks are. */
const FINE_SHARE = 0.01;

/** y of RGBA pixels, whose alpha is not looked at, and whether they have much that no latent can hold. */
export async function analyse(
  networks: Networks, pixels: Uint8ClampedArray, width: number, height: number, progress?: Progress,
): Promise<{ y: Planes; tooFine: boolean }> {
  const [rows, columns] = [Math.ceil(height / STRIDE), Math.ceil(width / STRIDE)];
  const windows = windowsOf(rows, columns, WINDOW, HALO);
  let whole: Planes | undefined;
  let fine = 0;
  for (const [index, { core, outer }] of windows.entries()) {
    const box = pixelsOf(outer);
    const seen = { ...box, bottom: Math.min(box.bottom, height), right: Math.min(box.right, width) };
    const x = padEdge(signed(pixels, width, seen), STRIDE);
    const [added, ground] = (await networks.run("encoder", "analysis", [x])) as [Planes, Planes];
    const y = withoutOutliers(added, ground);
    fine += matchFineBlocks(y, x, ground);
    whole ??= windows.length === 1 ? y : zeros(y.channels, rows, columns);
    paste(whole, core, y, inside(core, outer));
    progress?.((index + 1) / windows.length);
  }
  return { y: whole!, tooFine: fine >= FINE_SHARE * rows * columns };
}

/** A box of pixels in [-1, 1]. */
function signed(pixels: Uint8ClampedArray, width: number, box: ReturnType<typeof pixelsOf>): Planes {
  const x = zeros(3, box.bottom - box.top, box.right - box.left);
  const area = x.rows * x.columns;
  for (let at = 0; at < area; at++) {
    const row = box.top + Math.floor(at / x.columns);
    const from = 4 * (row * width + box.left + (at % x.columns));
    for (let colour = 0; colour < 3; colour++) {
      x.data[colour * area + at] = Math.fround(pixels[from + colour]! / 127.5) - 1;
    }
  }
  return x;
}

/** The DCT and what the network adds; the DCT alone where it adds too much, and in the blocks around. */
function withoutOutliers(added: Planes, ground: Planes): Planes {
  const { rows, columns, channels } = added;
  const area = rows * columns;
  const plain = new Uint8Array(area);
  for (let at = 0; at < added.data.length; at++) {
    if (Math.abs(added.data[at]!) <= ADDED_MAX) continue;
    const [row, column] = [Math.floor((at % area) / columns), at % columns];
    for (let i = Math.max(0, row - 1); i <= Math.min(rows - 1, row + 1); i++) {
      for (let j = Math.max(0, column - 1); j <= Math.min(columns - 1, column + 1); j++) plain[i * columns + j] = 1;
    }
  }
  const data = ground.data.map((value, at) => (plain[at % area] ? value : value + added.data[at]!));
  return { data, channels, rows, columns };
}
