/**
 * What is drawn on a screen, in front of the picture of the latents; docs/FORMAT.md has the payload.
 *
 *     payload = cell*      cell = length (varint) body      body = a bitstream of WebP's lossless format
 *
 * The browser decodes WebP. Alpha is 0 or 255, so that a canvas, which multiplies by it, changes no colour.
 */

import { concatenate, getVarint } from "./bytes.ts";
import { fail, reason, RegrainError } from "./errors.ts";

const CELL = 1024;
const SIGNATURE = 0x2f;

/** Puts the foreground onto RGBA pixels of a whole picture. Throws Corrupt for bytes that are none. */
export async function pasteForeground(data: Uint8ClampedArray, payload: Uint8Array, width: number, height: number): Promise<void> {
  let at = 0;
  for (let top = 0; top < height; top += CELL) {
    for (let left = 0; left < width; left += CELL) {
      const [length, start] = lengthAt(payload, at);
      at = start + length;
      if (at > payload.length) fail("Corrupt", "foreground: its bytes end too soon");
      if (!length) continue;
      const [across, down] = [Math.min(CELL, width - left), Math.min(CELL, height - top)];
      paste(data, await layer(payload.subarray(start, at), across, down), { left, top, width, across, down });
    }
  }
  if (at !== payload.length) fail("Corrupt", "foreground: its bytes go on after the last cell");
}

function paste(
  data: Uint8ClampedArray, shown: Uint8ClampedArray,
  { left, top, width, across, down }: { left: number; top: number; width: number; across: number; down: number },
): void {
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      const from = 4 * (row * across + column);
      const alpha = shown[from + 3]!;
      if (alpha === 255) data.set(shown.subarray(from, from + 3), 4 * ((top + row) * width + left + column));
      else if (alpha) fail("Corrupt", "foreground: alpha is neither 0 nor 255");
    }
  }
}

function lengthAt(payload: Uint8Array, at: number): [length: number, start: number] {
  try {
    return getVarint(payload, at);
  } catch (error) {
    if (error instanceof RegrainError && error.name === "Truncated") fail("Corrupt", "foreground: its bytes end too soon");
    throw error;
  }
}

/** RGBA pixels of a bitstream, whose size is looked at before anything of that size is made. */
async function layer(body: Uint8Array, width: number, height: number): Promise<Uint8ClampedArray> {
  const sides = body.length < 5 ? 0 : new DataView(body.buffer, body.byteOffset).getUint32(1, true);
  if (body[0] !== SIGNATURE || (sides & 0x3fff) + 1 !== width || ((sides >> 14) & 0x3fff) + 1 !== height) {
    fail("Corrupt", `foreground: no lossless WebP bitstream of ${width} x ${height} pixels`);
  }
  if (typeof createImageBitmap === "undefined") fail("UsageError", "this file has a foreground, which only a browser decodes");
  const chunk = concatenate([text("WEBPVP8L"), word(body.length), body, new Uint8Array(body.length % 2)]);
  const file = new Blob([concatenate([text("RIFF"), word(chunk.length), chunk])], { type: "image/webp" });
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch((error) =>
    fail("Corrupt", `foreground: ${reason(error)}`),
  );
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) return fail("LimitError", "the browser gives no canvas of this size");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height).data;
}

function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}
