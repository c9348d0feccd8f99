/**
 * Portable Gaussian noise: each value is a function of (seed, step, row, column, channel), bit for bit Python's.
 *
 *     word(row, column) = Philox4x64-10(counter = (column div 4, row, step, 0), key = (seed, 0))[column mod 4]
 *     value             = quantile(bits 16 channel .. 16 channel + 15 of that word) / 2^16
 *
 * Philox is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Words of 64 bits are
 * pairs of 32 here, and products are made of pieces of 16 bits.
 */

const ROUNDS = 10;
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
const MASK = 2n ** 64n - 1n;

/** k -> value, of the steps between positive quantiles. */
export function quantiles(steps: Uint16Array): Float32Array {
  const half = steps.length;
  const table = new Float32Array(2 * half);
  let sum = 0;
  for (let at = 0; at < half; at++) {
    sum += steps[at]!;
    table[half + at] = sum / 65536;
    table[half - 1 - at] = -sum / 65536;
  }
  return table;
}

/** Noise (3, height, width) of a window at (row, column), whose corner is at a multiple of 4 columns. */
export function normal(
  table: Float32Array, seed: bigint, step: number, row: number, column: number, height: number, width: number,
): Float32Array {
  const values = new Float32Array(3 * height * width);
  const keys = keysOf(seed);
  const block = new Uint32Array(8);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j += 4) {
      philox(block, keys, (column + j) >>> 2, row + i, step);
      for (let lane = 0; lane < Math.min(4, width - j); lane++) {
        const low = block[2 * lane]!;
        const at = i * width + j + lane;
        values[at] = table[low & 0xffff]!;
        values[at + height * width] = table[low >>> 16]!;
        values[at + 2 * height * width] = table[block[2 * lane + 1]! & 0xffff]!;
      }
    }
  }
  return values;
}

/** The keys of all rounds: for each two words, low before high. */
function keysOf(seed: bigint): Uint32Array {
  const words: number[] = [];
  for (let round = 0n; round < ROUNDS; round++) {
    for (const key of [(seed + round * WEYL[0]!) & MASK, (round * WEYL[1]!) & MASK]) {
      words.push(Number(key & 0xffffffffn), Number(key >> 32n));
    }
  }
  return Uint32Array.from(words);
}

const [FIRST_LOW, FIRST_HIGH, SECOND_LOW, SECOND_HIGH] = MULTIPLIERS.flatMap((word) => [
  Number(word & 0xffffffffn) | 0,
  Number(word >> 32n) | 0,
]) as [number, number, number, number];
const product = new Int32Array(4);

/** Four words of 64 bits, low before high, of the counter (column, row, step, 0). */
function philox(out: Uint32Array, keys: Uint32Array, column: number, row: number, step: number): void {
  let [a, aHigh, b, bHigh, c, cHigh, d, dHigh] = [column | 0, 0, row | 0, 0, step | 0, 0, 0, 0];
  for (let key = 0; key < 4 * ROUNDS; key += 4) {
    multiply(FIRST_LOW, FIRST_HIGH, a, aHigh);
    const [low0, low1, high0, high1] = [product[0]!, product[1]!, product[2]!, product[3]!];
    multiply(SECOND_LOW, SECOND_HIGH, c, cHigh);
    a = product[2]! ^ b ^ keys[key]!;
    aHigh = product[3]! ^ bHigh ^ keys[key + 1]!;
    c = high0 ^ d ^ keys[key + 2]!;
    cHigh = high1 ^ dHigh ^ keys[key + 3]!;
    b = product[0]!;
    bHigh = product[1]!;
    d = low0;
    dHigh = low1;
  }
  out.set([a, aHigh, b, bHigh, c, cHigh, d, dHigh]);
}

/** The product of two words of 64 bits into `product`, 32 bits each, the lowest first. */
function multiply(aLow: number, aHigh: number, bLow: number, bHigh: number): void {
  const low = upper(aLow, bLow);
  const [left, leftHigh] = [Math.imul(aHigh, bLow), upper(aHigh, bLow)];
  const [right, rightHigh] = [Math.imul(aLow, bHigh), upper(aLow, bHigh)];
  const middle = (low >>> 0) + (left >>> 0) + (right >>> 0);
  const rest = (leftHigh >>> 0) + (rightHigh >>> 0) + (Math.imul(aHigh, bHigh) >>> 0) + Math.floor(middle / 2 ** 32);
  product[0] = Math.imul(aLow, bLow);
  product[1] = middle | 0;
  product[2] = rest | 0;
  product[3] = (upper(aHigh, bHigh) >>> 0) + Math.floor(rest / 2 ** 32);
}

/** The upper 32 bits of a product of 32 by 32. */
function upper(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const low = a0 * b0;
  const middle = a1 * b0 + (low >>> 16);
  const other = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + (middle >>> 16) + (other >>> 16)) | 0;
}
