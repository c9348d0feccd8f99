/**
 * Alpha <-> bytes, without loss: a kind and a body, as docs/FORMAT.md has it. An alpha plane is one byte a pixel.
 *
 *     kind 0: the value everywhere      kind 1: a bit a pixel, high bit first      kinds 2 to 5: alpha, its difference
 *     down, across, down and across, modulo 256      bodies of kinds 1 to 5 are one raw deflate stream
 */

import { concatenate } from "./bytes.ts";
import { deflate, inflate } from "./deflate.ts";
import { fail, reason } from "./errors.ts";

const [CONSTANT, BITS] = [0, 1];
const DOWN = new Set([3, 5]);
const ACROSS = new Set([4, 5]);
const SAMPLE = 2 ** 20;

export async function encodeAlpha(alpha: Uint8Array, width: number): Promise<Uint8Array<ArrayBuffer>> {
  const first = alpha[0]!;
  if (alpha.every((value) => value === first)) return Uint8Array.of(CONSTANT, first);
  if (alpha.every((value) => value === 0 || value === 255)) {
    return concatenate([Uint8Array.of(BITS), await deflate(packBits(alpha), "deflate-raw")]);
  }
  const bodies = await Promise.all(
    [2, 3, 4, 5].map(async (kind) => {
      const plane = differences(alpha, width, kind);
      return { kind, plane, size: (await deflate(plane.slice(0, SAMPLE), "deflate-raw")).length };
    }),
  );
  const { kind, plane } = bodies.reduce((best, body) => (body.size < best.size ? body : best));
  return concatenate([Uint8Array.of(kind), await deflate(plane, "deflate-raw")]);
}

export async function decodeAlpha(data: Uint8Array, width: number, height: number): Promise<Uint8Array> {
  const [kind, body] = [data[0] ?? -1, data.slice(1) as Uint8Array<ArrayBuffer>];
  const size = width * height;
  if (kind === CONSTANT && body.length === 1) return new Uint8Array(size).fill(body[0]!);
  if (kind === BITS) return unpackBits(await exactly(body, Math.ceil(size / 8)), size);
  if (!(kind >= 2 && kind <= 5)) {
    fail("Corrupt", `alpha: kind ${kind} with ${body.length} bytes; allowed is 0 with 1 byte, or 1 to 5`);
  }
  const plane = await exactly(body, size);
  if (DOWN.has(kind)) for (let at = width; at < size; at++) plane[at]! += plane[at - width]!;
  if (ACROSS.has(kind)) for (let at = 0; at < size; at++) if (at % width) plane[at]! += plane[at - 1]!;
  return plane;
}

async function exactly(body: Uint8Array<ArrayBuffer>, size: number): Promise<Uint8Array> {
  let plane: Uint8Array;
  try {
    plane = await inflate(body, "deflate-raw", size);
  } catch (error) {
    return fail("Corrupt", `alpha: ${reason(error)}`);
  }
  return plane.length === size ? plane : fail("Corrupt", `alpha: its bytes do not unpack to exactly ${size}`);
}

function differences(alpha: Uint8Array, width: number, kind: number): Uint8Array<ArrayBuffer> {
  const plane = Uint8Array.from(alpha);
  if (DOWN.has(kind)) for (let at = plane.length - 1; at >= width; at--) plane[at]! -= plane[at - width]!;
  if (ACROSS.has(kind)) for (let at = plane.length - 1; at > 0; at--) if (at % width) plane[at]! -= plane[at - 1]!;
  return plane;
}

function packBits(alpha: Uint8Array): Uint8Array<ArrayBuffer> {
  const bits = new Uint8Array(Math.ceil(alpha.length / 8));
  alpha.forEach((value, at) => {
    if (value) bits[at >> 3]! |= 128 >> (at & 7);
  });
  return bits;
}

function unpackBits(bits: Uint8Array, size: number): Uint8Array {
  if (size % 8 && bits[bits.length - 1]! & (255 >> (size % 8))) fail("Corrupt", "alpha: the bits after the last pixel are not 0");
  return Uint8Array.from({ length: size }, (_, at) => (bits[at >> 3]! & (128 >> (at & 7)) ? 255 : 0));
}

/** RGBA pixels where those under alpha 0 are a smooth continuation of the others: nobody sees them, but bytes do. */
export function fillHidden(pixels: Uint8ClampedArray, width: number, height: number): Uint8ClampedArray {
  let hidden = 0;
  for (let at = 3; at < pixels.length; at += 4) hidden += pixels[at] ? 0 : 1;
  if (!hidden) return pixels;
  const sums = new Float32Array(pixels.length);
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3]) sums.set([pixels[at]!, pixels[at + 1]!, pixels[at + 2]!, 1], at);
  }
  fill(sums, width, height);
  return pixels.map((value, at) => (pixels[at | 3] ? value : at % 4 === 3 ? 0 : Math.round(sums[at]!)));
}

/** Fills places of weight 0 from means over squares of 2, 4, 8, ... (the pyramid of Gortler et al., "The Lumigraph"). */
function fill(image: Float32Array, width: number, height: number): void {
  if (width * height === 1) return;
  const [across, down] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const coarse = new Float32Array(4 * across * down);
  for (let at = 0; at < width * height; at++) {
    const to = 4 * ((Math.floor(at / width) >> 1) * across + ((at % width) >> 1));
    if (image[4 * at + 3]) for (let channel = 0; channel < 4; channel++) coarse[to + channel]! += image[4 * at + channel]!;
  }
  let empty = false;
  for (let at = 0; at < coarse.length; at += 4) {
    const weight = coarse[at + 3]!;
    empty ||= !weight;
    if (weight) coarse.set([coarse[at]! / weight, coarse[at + 1]! / weight, coarse[at + 2]! / weight, 1], at);
  }
  if (empty) fill(coarse, across, down);
  for (let at = 0; at < width * height; at++) {
    if (image[4 * at + 3]) continue;
    const [y, x] = [(Math.floor(at / width) - 0.5) / 2, ((at % width) - 0.5) / 2];
    for (let channel = 0; channel < 4; channel++) image[4 * at + channel] = bilinear(coarse, across, down, x, y, channel);
  }
}

function bilinear(image: Float32Array, width: number, height: number, x: number, y: number, channel: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const value = (i: number, j: number) => {
    const [row, column] = [Math.min(height - 1, Math.max(0, i)), Math.min(width - 1, Math.max(0, j))];
    return image[4 * (row * width + column) + channel]!;
  };
  const [a, b] = [x - left, y - top];
  const upper = (1 - a) * value(top, left) + a * value(top, left + 1);
  return (1 - b) * upper + b * ((1 - a) * value(top + 1, left) + a * value(top + 1, left + 1));
}
