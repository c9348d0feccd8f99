/**
 * What is drawn on a screen, in front of the picture of the latents; docs/FORMAT.md has the payload.
 *
 *     payload = cell*      cell = length (varint) body      body = a bitstream of WebP's lossless format
 *
 * The browser decodes WebP. Alpha is 0 or 255, so that a canvas, which multiplies by it, changes no colour.
 */

import { concatenate, getVarint } from "./bytes.ts";
import { fail, reason, RegrainError } from "./errors.ts";

const CELL = 512;
const SIGNATURE = 0x2f;
/** A hint in the fifth byte, which a file may leave out. */
const HAS_ALPHA = 0x10;

/** A picture's size, and whether it has one channel. */
interface Shape {
  width: number;
  height: number;
  grey: boolean;
}

interface Cell {
  left: number;
  top: number;
  across: number;
  down: number;
  body: Uint8Array;
}

/** The cells of a foreground that have a body, none of them decoded. Throws Corrupt for bytes that are no foreground. */
export function foregroundCells(payload: Uint8Array, { width, height }: Shape): Cell[] {
  const cells: Cell[] = [];
  let at = 0;
  for (let top = 0; top < height; top += CELL) {
    for (let left = 0; left < width; left += CELL) {
      const [length, start] = lengthAt(payload, at);
      at = start + length;
      if (at > payload.length) fail("Corrupt", "foreground: its bytes end too soon");
      if (!length) continue;
      const cell = { left, top, across: Math.min(CELL, width - left), down: Math.min(CELL, height - top), body: payload.subarray(start, at) };
      checkHead(cell);
      cells.push(cell);
    }
  }
  if (at !== payload.length) fail("Corrupt", "foreground: its bytes go on after the last cell");
  return cells;
}

/** Puts cells onto RGBA pixels of a whole picture. Throws Corrupt for a body that is no bitstream. */
export async function pasteForeground(data: Uint8ClampedArray, cells: Cell[], { width, grey }: Shape): Promise<void> {
  for (const cell of cells) {
    const { left, top, across, down } = cell;
    const layer = await decodeCell(cell);
    for (let at = 0; at < across * down; at++) {
      const [red, green, blue, alpha] = layer.subarray(4 * at, 4 * at + 4) as unknown as [number, number, number, number];
      const to = 4 * ((top + Math.floor(at / across)) * width + left + (at % across));
      if (alpha === 255) data.set(grey ? [red, red, red] : [red, green, blue], to);
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

/** Throws unless a bitstream begins with its signature and the size of its cell. */
function checkHead({ body, across, down }: Cell): void {
  const sides = body.length < 5 ? 0 : new DataView(body.buffer, body.byteOffset).getUint32(1, true);
  if (body[0] !== SIGNATURE || (sides & 0x3fff) + 1 !== across || ((sides >> 14) & 0x3fff) + 1 !== down) {
    fail("Corrupt", `foreground: no lossless WebP bitstream of ${across} x ${down} pixels`);
  }
}

/** RGBA pixels of a cell whose head was checked. */
async function decodeCell({ body, across: width, down: height }: Cell): Promise<Uint8ClampedArray> {
  if (typeof createImageBitmap === "undefined") fail("UsageError", "this file has a foreground, which only a browser decodes");
  const withAlpha = body.slice();
  withAlpha[4]! |= HAS_ALPHA;
  const chunk = concatenate([text("WEBPVP8L"), word(body.length), withAlpha, new Uint8Array(body.length % 2)]);
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
