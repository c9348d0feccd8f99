/** Bytes in a row, and whole numbers in them: unsigned LEB128 of at most 5 bytes, in the shortest form. */

import { fail } from "./errors.ts";

export function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function equal(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** A whole number of up to 53 bits. */
export function putVarint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

/** The number at a byte, and where it ends. */
export function getVarint(data: Uint8Array, at: number): [value: number, end: number] {
  let value = 0;
  for (let place = 0; place < 5; place++) {
    const byte = data[at + place] ?? fail("Truncated", `the number at byte ${at} runs past the end`);
    value += (byte & 127) * 128 ** place;
    if (byte < 128) {
      if (place && !byte) break;
      return [value, at + place + 1];
    }
  }
  return fail("Corrupt", `the number at byte ${at} is not in its shortest form of at most 5 bytes`);
}
