/**
 * Symbols and table ids <-> bytes, by asymmetric numeral systems (Duda et al., PCS 2015) with a state of 64 bits.
 *
 *     encode:  state = (state div p << 24) + c + state mod p
 *     decode:  q = state mod 2^24;  state = (state >> 24) p + q - c
 *
 * The state is two words, `high` and `low`. Products stay below 2^53, and so are exact. What is coded last is read
 * first: `encode` walks the road of `Decoder` backwards.
 */

import { fail } from "./errors.ts";
import { BYTES, type Table } from "./tables.ts";

const START = 2 ** 24;
const WORD = 2 ** 32;
const ESCAPE_BYTES = 5;
const AT_ONCE = 2 ** 16;

/** Symbols, the table of each, and the tables that those ids number. */
export interface Part {
  symbols: Int32Array;
  ids: Uint8Array;
  tables: readonly Table[];
}

/** The mirror of `encode`: one `take` for each part, in order, then `finish`. Hostile bytes end in Corrupt. */
export class Decoder {
  private high = 0;
  private low = 0;
  private left: number;
  private readonly words: DataView;

  constructor(data: Uint8Array) {
    if (!data.length || !data[data.length - 1]) fail("Corrupt", "latent stream: it is empty or ends in a zero byte");
    const padded = new Uint8Array(Math.ceil(data.length / 4) * 4);
    padded.set(data);
    this.words = new DataView(padded.buffer);
    this.left = padded.length / 4;
    this.refill();
  }

  /** A symbol for each table id. */
  take(ids: Uint8Array, tables: readonly Table[]): Int32Array {
    const { order, runs } = plan(ids, tables);
    const symbols = new Int32Array(ids.length);
    const escaped: number[] = [];
    let at = 0;
    for (const [table, end] of runs) {
      for (let checked = 0; at < end; at++) {
        if (checked++ % AT_ONCE === 0) this.checkEnd();
        const slot = this.next(table);
        if (slot === table.size) escaped.push(at);
        symbols[order[at]!] = table.first + slot;
      }
    }
    const excess = this.takeEscapes(escaped.length);
    let run = 0;
    escaped.forEach((place, index) => {
      while (place >= runs[run]![1]) run++;
      const { first, size } = runs[run]![0];
      const value = excess[index]!;
      const symbol = value % 2 ? first - (value + 1) / 2 : first + size + value / 2;
      if (symbol !== (symbol | 0)) fail("Corrupt", "latent stream: an escape is beyond int32");
      symbols[order[place]!] = symbol;
    });
    return symbols;
  }

  /** Throws Corrupt unless the stream is consumed to its last bit and `check` is what the encoder was given. */
  finish(check: number): void {
    if (this.left || this.high * WORD + this.low !== START + check) {
      fail("Corrupt", "latent stream: it does not end where its symbols do, or they fail their check");
    }
  }

  private takeEscapes(count: number): Float64Array {
    const values = new Float64Array(count);
    let open = Array.from(values.keys());
    for (let place = 0; open.length; place++) {
      if (place === ESCAPE_BYTES) fail("Corrupt", `latent stream: an escape is longer than ${ESCAPE_BYTES} bytes`);
      open = open.filter((index) => {
        const byte = this.next(BYTES);
        if (place && !byte) fail("Corrupt", "latent stream: an escape has a superfluous byte");
        values[index]! += (byte & 127) * 128 ** place;
        return byte > 127;
      });
      this.checkEnd();
    }
    return values;
  }

  private next({ sums }: Table): number {
    const point = this.low & 0xffffff;
    const slot = search(sums, point >>> 8);
    const count = sums[slot + 1]! - sums[slot]!;
    // (state >> 24) has 40 bits, of which `upper` are the first 20 and `lower` the last
    const upper = (this.high >>> 12) * count;
    const lower = (((this.high & 0xfff) << 8) | (this.low >>> 24)) * count;
    const sum = (upper % 16) * 2 ** 28 + lower * 256 + point - 256 * sums[slot]!;
    this.low = sum % WORD;
    this.high = Math.floor(upper / 16) + Math.floor(sum / WORD);
    this.refill();
    return slot;
  }

  private refill(): void {
    while (!this.high && this.left) {
      this.high = this.low;
      this.low = this.words.getUint32(4 * --this.left, true);
    }
  }

  /** Without words left the state never grows: below START it cannot end where it should. */
  private checkEnd(): void {
    if (!this.left && !this.high && this.low < START) fail("Corrupt", "latent stream: it ends before its symbols do");
  }
}

/** Codes the parts, in the order in which a decoder takes them, into one stream; `check` rides in the start state. */
export function encode(parts: readonly Part[], check: number): Uint8Array<ArrayBuffer> {
  const state = new Encoder(check);
  for (const { symbols, ids, tables } of parts.toReversed()) {
    const { order, runs } = plan(ids, tables);
    const slots = new Int32Array(ids.length);
    const excess: number[] = [];
    let at = 0;
    for (const [{ first, size }, end] of runs) {
      for (; at < end; at++) {
        const offset = symbols[order[at]!]! - first;
        const outside = offset < 0 || offset >= size;
        if (outside) excess.push(offset < 0 ? -2 * offset - 1 : 2 * (offset - size));
        slots[at] = outside ? size : offset;
      }
    }
    for (const plane of planes(excess).reverse()) for (const byte of plane.reverse()) state.push(byte, BYTES);
    for (const [table, end, start] of runs.reverse()) {
      for (let place = end - 1; place >= start; place--) state.push(slots[place]!, table);
    }
  }
  return state.finish();
}

class Encoder {
  private high: number;
  private low: number;
  private readonly words: number[] = [];

  constructor(check: number) {
    const start = START + check;
    this.high = Math.floor(start / WORD);
    this.low = start % WORD;
  }

  push(slot: number, { sums }: Table): void {
    const before = 256 * sums[slot]!;
    const count = 256 * sums[slot + 1]! - before;
    if (this.high >>> 8 >= count) {
      this.words.push(this.low);
      this.low = this.high;
      this.high = 0;
    }
    // long division in two digits: all numbers are below 2^48, and both quotients exact
    const first = this.high * 65536 + (this.low >>> 16);
    const upper = Math.floor(first / count);
    const second = (first - upper * count) * 65536 + (this.low & 0xffff);
    const lower = Math.floor(second / count);
    const quotient = upper * 65536 + lower;
    this.low = (quotient % 256) * START + before + (second - lower * count);
    this.high = Math.floor(quotient / 256);
  }

  finish(): Uint8Array<ArrayBuffer> {
    const words = [...this.words, this.low, this.high];
    const view = new DataView(new ArrayBuffer(4 * words.length));
    words.forEach((word, at) => view.setUint32(4 * at, word, true));
    const bytes = new Uint8Array(view.buffer);
    let end = bytes.length;
    while (end && !bytes[end - 1]) end--;
    return bytes.slice(0, end);
  }
}

/** Places sorted by table id, stably, and for each table that occurs where its run ends and starts. */
function plan(ids: Uint8Array, tables: readonly Table[]): { order: Int32Array; runs: [Table, number, number][] } {
  const ends = new Int32Array(tables.length);
  for (let at = 0; at < ids.length; at++) ends[ids[at]!]!++;
  const runs: [Table, number, number][] = [];
  const next = new Int32Array(tables.length);
  let total = 0;
  for (let id = 0; id < tables.length; id++) {
    next[id] = total;
    total += ends[id]!;
    if (ends[id]) runs.push([tables[id]!, total, next[id]!]);
  }
  if (total !== ids.length) fail("UsageError", `a table id is not within 0 to ${tables.length - 1}`);
  const order = new Int32Array(ids.length);
  for (let at = 0; at < ids.length; at++) order[next[ids[at]!]!++] = at;
  return { order, runs };
}

/** LEB128 bytes of numbers up to 35 bits: first bytes of all, then second ones where there is one, ... */
function planes(values: number[]): number[][] {
  const rows: number[][] = [];
  while (values.length) {
    rows.push(values.map((value) => (value % 128) | (value > 127 ? 128 : 0)));
    values = values.filter((value) => value > 127).map((value) => Math.floor(value / 128));
  }
  return rows;
}

/** The slot whose interval of sums holds a point in 0 .. 65535. */
function search(sums: Uint32Array, point: number): number {
  let low = 0;
  let high = sums.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (sums[middle]! <= point) low = middle;
    else high = middle;
  }
  return low;
}
