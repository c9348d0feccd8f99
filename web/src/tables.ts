/** Frozen integer tables of probabilities: P(first + k) = counts[k] / 65536, and the last count is the escape's. */

import { fail } from "./errors.ts";

export const TOTAL = 65536;
const LEVELS = 64;

export interface Table {
  first: number;
  /** Symbols with a slot of their own; slot `size` is the escape. */
  size: number;
  /** Sums of the counts before each slot, size + 2 of them: the last is 65536. */
  sums: Uint32Array;
}

function table(first: number, counts: ArrayLike<number>): Table {
  const sums = new Uint32Array(counts.length + 1);
  for (let slot = 0; slot < counts.length; slot++) {
    if (!(counts[slot]! >= 1)) fail("ModelError", "a table of the weights has a count below 1");
    sums[slot + 1] = sums[slot]! + counts[slot]!;
  }
  if (counts.length < 2 || sums[counts.length] !== TOTAL) fail("ModelError", `the counts of a table do not sum to ${TOTAL}`);
  return { first, size: counts.length - 1, sums };
}

/** The 64 Gaussian tables from the format's row: for each the radius r and the counts of 0 .. r. */
export function gaussianTables(row: Uint16Array): Table[] {
  const tables: Table[] = [];
  for (let at = 0; at < row.length; ) {
    const half = row.subarray(at + 1, at + 2 + row[at]!);
    const sides = [...half.subarray(1).toReversed(), ...half];
    tables.push(table(1 - half.length, [...sides, TOTAL - sides.reduce((sum, count) => sum + count, 0)]));
    at += 1 + half.length;
  }
  if (tables.length !== LEVELS) fail("ModelError", `${tables.length} Gaussian tables, not ${LEVELS}`);
  return tables;
}

/** The tables of a row: their number T, the T first symbols, the T numbers of slots, then all counts. */
export function unpackTables(row: Int32Array): Table[] {
  const number = row[0] ?? 0;
  let at = 1 + 2 * number;
  return Array.from({ length: number }, (_, index) => {
    const slots = row[1 + number + index]!;
    at += slots;
    return table(row[1 + index]!, row.subarray(at - slots, at));
  });
}

/** A table in which each of 256 bytes is as likely, which escapes are spelt with. */
export const BYTES: Table = { first: 0, size: 256, sums: Uint32Array.from({ length: 257 }, (_, slot) => 256 * slot) };
