/**
 * The file format, byte by byte; docs/FORMAT.md of regrain is its text.
 *
 *     file    = header section*
 *     header  = magic[6] version method flags width height quality[2] fingerprint[4] crc32[4]
 *     section = type length crc32[4] payload[length]        crc32 over type, length and payload
 *
 * Time and memory are bounded by the bytes at hand, never by the size that a header claims.
 */

import { concatenate, getVarint, putVarint } from "./bytes.ts";
import { crc32 } from "./crc32.ts";
import { fail, RegrainError } from "./errors.ts";

const MAGIC = [0x9f, 0x52, 0x47, 0x4e, 0x0d, 0x0a];
const VERSION = 1;
const METHODS = ["conditional", "progressive", "palette"] as const;
const TILE_BITS = 0x0f;
const GREY = 0x10;
const ALPHA = 0x20;
const LATENTS = 16;
const FIRST_ANCILLARY = 128;
const MOST_OTHERS = 256;
const EXTRAS = { alpha: 1, icc: 2, exif: 3, xmp: 4, foreground: 5 } as const;

export type Method = (typeof METHODS)[number];
type Extra = keyof typeof EXTRAS;

/** What the first bytes of a file say. Width, height and tile are in pixels, quality is q times 256. */
export interface Header {
  width: number;
  height: number;
  quality: number;
  /** 8 hexadecimal digits, which name the weights that turn bytes into latents. */
  fingerprint: string;
  method: Method;
  grey: boolean;
  alpha: boolean;
  tile: number;
}

/** A whole file, taken apart. */
export interface Stream extends Partial<Record<"icc" | "exif" | "xmp" | "foreground", Uint8Array>> {
  header: Header;
  tiles: Uint8Array[];
  alphaBytes?: Uint8Array;
}

/** A run of bytes of a file. */
export interface Section {
  name: string;
  /** The index of a tile, or of a step, where the section holds one. */
  tile?: number;
  offset: number;
  /** Its bytes, with their framing. */
  length: number;
}

/** Sections of latents in a file: the tiles that cover the picture, or the steps of a progressive one. */
export function tileCount({ method, quality, width, height, tile }: Header): number {
  if (method === "progressive") return 1 + Math.floor((quality * 39) / 25600);
  return Math.ceil(width / tile) * Math.ceil(height / tile);
}

/** The header, and the byte at which the first section begins. */
export function readHeader(data: Uint8Array): [header: Header, end: number] {
  checkMagic(data);
  const inside = () => fail("Truncated", `the file ends at byte ${data.length}, inside its header`);
  const [width, afterWidth] = within(inside, () => getVarint(data, MAGIC.length + 3));
  const [height, at] = within(inside, () => getVarint(data, afterWidth));
  if (data.length < at + 10) inside();
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (crc32(data.subarray(0, at + 6)) !== view.getUint32(at + 6, true)) {
    fail("Corrupt", "the header's checksum does not match");
  }
  const flags = data[8]!;
  const method = METHODS[data[7]!];
  if (!method || flags & ~(TILE_BITS | GREY | ALPHA)) {
    return fail("UnsupportedVersion", `method ${data[7]}, flags ${flags}: known are 0 to 2 and 0 to 63`);
  }
  const header: Header = {
    width,
    height,
    quality: view.getUint16(at, true),
    fingerprint: hexadecimal(data.subarray(at + 2, at + 6)),
    method,
    grey: (flags & GREY) > 0,
    alpha: (flags & ALPHA) > 0,
    tile: 2 ** (flags & TILE_BITS),
  };
  try {
    checkHeader(header);
  } catch (error) {
    fail("Corrupt", `the header breaks the format: ${(error as RegrainError).message}`);
  }
  return [header, at + 10];
}

function checkHeader({ width, height, quality, tile }: Header): void {
  for (const [name, value, least, most] of [
    ["width", width, 1, 2 ** 31 - 1],
    ["height", height, 1, 2 ** 31 - 1],
    ["quality times 256", quality, 0, 25600],
    ["tile", tile, 64, 32768],
  ] as const) {
    if (!(value >= least && value <= most)) fail("UsageError", `${name} is ${value}; allowed is ${least} to ${most}`);
  }
  if (!Number.isInteger(Math.log2(tile))) fail("UsageError", `tile is ${tile}; allowed is a power of two`);
}

function checkMagic(data: Uint8Array): void {
  const differs = MAGIC.findIndex((byte, at) => data[at] !== byte);
  if (data.length && differs >= data.length) fail("Truncated", `the file ends at byte ${data.length}, inside its header`);
  if (differs >= 0) {
    const start = String.fromCharCode(...data.subarray(0, 8));
    if (start.includes("RGN")) {
      fail("Corrupt", "the bytes around RGN are changed (CR LF, eighth bit or UTF-8): send the file in binary mode");
    }
    fail("NotRegrain", `no .rgn file: it starts with ${hexadecimal(data.subarray(0, 6)) || "nothing"}`);
  }
  if (data.length === MAGIC.length) fail("Truncated", `the file ends at byte ${data.length}, inside its header`);
  if (data[6] !== VERSION) {
    fail("UnsupportedVersion", `the file has format version ${data[6]}; this program reads version ${VERSION}`);
  }
}

/** Takes a file apart; every length and CRC is checked. `maxPixels` is looked at before anything past the header. */
export function read(data: Uint8Array, maxPixels: number): { stream: Stream; sections: Section[] } {
  const [header, start] = readHeader(data);
  const { width, height } = header;
  if (width * height > maxPixels) fail("LimitError", `${width} x ${height} pixels; allowed are ${maxPixels}, see maxPixels`);
  const stream: Stream = { header, tiles: [] };
  const sections: Section[] = [{ name: "header", offset: 0, length: start }];
  const order = { count: tileCount(header), last: 0 };
  for (let at = start, others = 0; at < data.length; ) {
    const section = nextSection(data, at, stream.tiles.length, order.count);
    if (section.kind !== LATENTS && ++others > MOST_OTHERS) fail("Corrupt", `more than ${MOST_OTHERS} other sections`);
    sections.push(take(section, stream, order));
    at = section.end;
  }
  if (stream.tiles.length < order.count) cut(data.length, stream.tiles.length, order.count);
  return { stream, sections };
}

interface RawSection {
  kind: number;
  start: number;
  end: number;
  payload: Uint8Array;
}

function nextSection(data: Uint8Array, start: number, tiles: number, count: number): RawSection {
  if (tiles === count) fail("Corrupt", `the file goes on after its last tile, at byte ${start}`);
  const [length, stored] = within(() => cut(data.length, tiles, count), () => getVarint(data, start + 1));
  const end = stored + 4 + length;
  if (end > data.length) cut(data.length, tiles, count);
  const payload = data.subarray(stored + 4, end);
  const crc = new DataView(data.buffer, data.byteOffset + stored, 4).getUint32(0, true);
  if (crc32(payload, crc32(data.subarray(start, stored))) !== crc) {
    fail("Corrupt", `section ${data[start]} at byte ${start} is damaged (checksum or length; tile ${tiles} follows)`);
  }
  return { kind: data[start]!, start, end, payload };
}

/** Runs what may meet the end of the file, and says so in other words. */
function within<T>(ended: () => never, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RegrainError && error.name === "Truncated") return ended();
    throw error;
  }
}

function cut(at: number, tiles: number, count: number): never {
  return fail("Truncated", `the file is cut short at byte ${at}, or a length is damaged: ${tiles} of ${count} tiles are whole`);
}

/** Keeps a section, whose place and type must be right. */
function take({ kind, start, end, payload }: RawSection, stream: Stream, order: { count: number; last: number }): Section {
  const place = { offset: start, length: end - start };
  if (kind >= FIRST_ANCILLARY) return { name: `ancillary ${kind}`, ...place };
  const extra = (Object.keys(EXTRAS) as Extra[]).find((name) => EXTRAS[name] === kind);
  if (!extra && kind !== LATENTS) {
    fail("UnsupportedVersion", `section ${kind} at byte ${start} is unknown to format version ${VERSION}`);
  }
  if (kind < order.last || (extra && kind === order.last)) {
    fail("Corrupt", `section ${kind} at byte ${start} is repeated or out of order`);
  }
  order.last = kind;
  if (extra) {
    stream[extra === "alpha" ? "alphaBytes" : extra] = payload;
    if (extra === "alpha" && !stream.header.alpha) disagree(stream.header.alpha);
    return { name: extra, ...place };
  }
  if (!stream.alphaBytes === stream.header.alpha) disagree(stream.header.alpha);
  const index = stream.tiles.length;
  const [tile, words] = within(() => fail("Corrupt", `tile ${index} at byte ${start} has no index`), () => getVarint(payload, 0));
  if (tile !== index) fail("Corrupt", `section latents at byte ${start} has the tile index ${tile}, not ${index}`);
  stream.tiles.push(payload.subarray(words));
  return { name: "latents", tile, ...place };
}

function disagree(flag: boolean): never {
  return fail("Corrupt", `the header says ${flag} to alpha, the sections say ${!flag}`);
}

/** The file of a stream. */
export function write(stream: Stream): Uint8Array<ArrayBuffer> {
  const { header, tiles, alphaBytes, icc, exif, xmp, foreground } = stream;
  checkHeader(header);
  if (tiles.length !== tileCount(header) || header.alpha !== Boolean(alphaBytes)) {
    fail("UsageError", `a stream has ${tiles.length} tiles, and alpha ${Boolean(alphaBytes)}: its header says otherwise`);
  }
  const extras = [alphaBytes, icc, exif, xmp, foreground].map((payload, at) => (payload ? frame(at + 1, payload) : new Uint8Array()));
  const latents = tiles.map((tile, index) => frame(LATENTS, concatenate([Uint8Array.from(putVarint(index)), tile])));
  return concatenate([packHeader(header), ...extras, ...latents]);
}

function packHeader({ width, height, quality, fingerprint, method, grey, alpha, tile }: Header): Uint8Array {
  const flags = Math.log2(tile) | (grey ? GREY : 0) | (alpha ? ALPHA : 0);
  const body = Uint8Array.from([
    ...MAGIC, VERSION, METHODS.indexOf(method), flags, ...putVarint(width), ...putVarint(height),
    quality & 255, quality >> 8, ...fingerprint.match(/../g)!.map((byte) => parseInt(byte, 16)),
  ]); // prettier-ignore
  return concatenate([body, word(crc32(body))]);
}

function frame(kind: number, payload: Uint8Array): Uint8Array {
  const head = Uint8Array.from([kind, ...putVarint(payload.length)]);
  return concatenate([head, word(crc32(payload, crc32(head))), payload]);
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
