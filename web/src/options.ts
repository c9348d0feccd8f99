/** Pictures, options and what comes back: the types of the public functions. */

import type { Section, Header } from "./bitstream.ts";

/** The most pixels of a picture, unless a caller says otherwise. */
export const MAX_PIXELS = 2 ** 25;

/** Quality in a file is q times this. */
export const QUALITY_UNIT = 256;

/** Blocks of metadata as bytes, as docs/FORMAT.md has them: `exif` begins with its byte order mark. */
export interface Metadata {
  icc?: Uint8Array;
  exif?: Uint8Array;
  xmp?: Uint8Array;
}

/** A picture: RGBA, 4 bytes a pixel, row by row, alpha not multiplied in; what a canvas calls image data. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
  metadata?: Metadata;
}

/** What a long piece of work has come to: `done` goes from 0 to 1; while weights load, `bytes` says of how many. */
export interface ProgressEvent {
  stage: "load" | "analysis" | "latents" | "picture" | "seeds";
  done: number;
  bytes?: { done: number; total: number };
}

export interface EncodeOptions {
  /** 0 to 100; 50 unless said. */
  quality?: number;
  /** The most bytes that the file may have, instead of a quality. */
  targetSize?: number;
  /** Side of a tile in pixels, a power of two from 64 to 32768; 1024 unless said. */
  tile?: number;
}

export interface DecodeOptions {
  /** 1 unless said; 2 and more draw by the sampler, whose weights are fetched then. */
  steps?: number;
  /** 0 is the faithful picture, 1 (unless said) has texture that the bytes do not determine. */
  realism?: number;
  /** How much fresh noise a step adds, 0 (unless said) to 1. */
  eta?: number;
  /** 0 to 2^64 - 1; 0 unless said. */
  seed?: number | bigint;
  /** The most pixels that a file may claim; 2^25 unless said. */
  maxPixels?: number;
}

export interface MapOptions {
  /** 2 to 1000; 8 unless said. */
  seeds?: number;
  /** Ends the drawing after the seed that is being drawn. */
  signal?: AbortSignal;
}

export interface Encoded {
  bytes: Uint8Array<ArrayBuffer>;
  quality: number;
  /** Much of the picture is finer than latents can hold. */
  tooFine: boolean;
}

export interface Info extends Header {
  /** 0 to 100, which `Header` has times 256. */
  quality: number;
  size: number;
  bpp: number;
  sections: Section[];
}
