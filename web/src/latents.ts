/** Bytes <-> latents, tile by tile: encoder and decoder mirror each other. */

import * as coder from "./coder.ts";
import { type ContextModel, HYPER_FACTOR, HYPER_MAX } from "./context_model.ts";
import { crc32, crc32OfIntegers } from "./crc32.ts";
import { fail, RegrainError } from "./errors.ts";
import { cut, padEdge, paste, type Planes, type Region, regionOf, STRIDE, tilesOf, zeros } from "./planes.ts";

const SYMBOL_MAX = 2 ** 24;

/** Hears how much of the work is done, from 0 to 1. */
export type Progress = (done: number) => void;

/** Symbols of one tile. */
export interface Symbols {
  z: Int32Array;
  y: Int32Array;
}

/** y_hat of a whole picture. Throws Corrupt naming the tile that is damaged. */
export async function decodeLatents(
  model: ContextModel, tiles: Uint8Array[], rows: number, columns: number, quality: number, side: number,
  progress?: Progress, symbols?: (tile: Symbols) => void,
): Promise<Planes> {
  const regions = tilesOf(rows, columns, side / STRIDE);
  let yHat: Planes | undefined;
  for (const [index, region] of regions.entries()) {
    try {
      const part = await decodeTile(model, tiles[index]!, index, region, quality, (done) => {
        progress?.((index + done) / regions.length);
      });
      symbols?.(part.symbols);
      if (regions.length === 1) return part.yHat;
      yHat ??= zeros(part.yHat.channels, rows, columns);
      paste(yHat, region, part.yHat, regionOf(part.yHat));
    } catch (error) {
      if (error instanceof RegrainError && error.name === "Corrupt") fail("Corrupt", `latents, tile ${index}: ${error.message}`);
      throw error;
    }
  }
  return yHat!;
}

async function decodeTile(
  model: ContextModel, payload: Uint8Array, index: number, region: Region, quality: number, progress: Progress,
): Promise<{ yHat: Planes; symbols: Symbols }> {
  const [rows, columns] = [region.bottom - region.top, region.right - region.left];
  if (!payload.length) return noLatents(model, rows, columns);
  const decoder = new coder.Decoder(payload);
  const z = decoder.take(channelIds(model, rows, columns), model.hyperTables(quality));
  const state = await model.start(z, quality, rows, columns);
  for (const [number, step] of model.order.entries()) {
    progress((number + 1) / (model.order.length + 1));
    const { places, mean, index: ids } = await state.predict(number, step);
    state.update(decoder.take(ids, model.gaussian), mean, places);
  }
  decoder.finish(checksum(index, z, state.symbols));
  return { yHat: state.yHat, symbols: { z, y: state.symbols } };
}

/** A tile of no bytes: everything is 0. */
function noLatents(model: ContextModel, rows: number, columns: number): { yHat: Planes; symbols: Symbols } {
  const yHat = zeros(model.networks.model.manifest.latent, rows, columns);
  return { yHat, symbols: { z: new Int32Array(channelIds(model, rows, columns).length), y: new Int32Array(yHat.data.length) } };
}

/** The latents section of every tile in raster order. */
export async function encodeLatents(
  model: ContextModel, y: Planes, quality: number, side: number, progress?: Progress,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const regions = tilesOf(y.rows, y.columns, side / STRIDE);
  const payloads: Uint8Array<ArrayBuffer>[] = [];
  for (const [index, region] of regions.entries()) {
    payloads.push(await encodeTile(model, index, cut(y, region), quality));
    progress?.((index + 1) / regions.length);
  }
  return payloads;
}

async function encodeTile(model: ContextModel, index: number, y: Planes, quality: number): Promise<Uint8Array<ArrayBuffer>> {
  const gain = model.gain(quality);
  const area = y.rows * y.columns;
  const gained = { ...y, data: y.data.map((value, at) => gain[Math.floor(at / area)]! * value) };
  const [hyper] = await model.networks.run("encoder", "hyperAnalysis", [padEdge(gained, HYPER_FACTOR)]);
  const z = Int32Array.from(hyper!.data, (value) => round(value, HYPER_MAX));
  const parts: coder.Part[] = [{ symbols: z, ids: channelIds(model, y.rows, y.columns), tables: model.hyperTables(quality) }];
  const state = await model.start(z, quality, y.rows, y.columns);
  for (const [number, step] of model.order.entries()) {
    const { places, mean, index: ids } = await state.predict(number, step);
    const symbols = Int32Array.from(places, (at, n) => round(Math.fround(gained.data[at]! - mean[n]!), SYMBOL_MAX));
    parts.push({ symbols, ids, tables: model.gaussian });
    state.update(symbols, mean, places);
  }
  return coder.encode(parts, checksum(index, z, state.symbols));
}

/** The table of every symbol of z: its channel. */
function channelIds(model: ContextModel, rows: number, columns: number): Uint8Array {
  const places = Math.ceil(rows / HYPER_FACTOR) * Math.ceil(columns / HYPER_FACTOR);
  const { hyper } = model.networks.model.manifest;
  return Uint8Array.from({ length: hyper * places }, (_, at) => Math.floor(at / places));
}

/** CRC-32 that turns plausible but wrong symbols into an error. */
function checksum(tile: number, z: Int32Array, y: Int32Array): number {
  const index = Uint8Array.of(tile, tile >>> 8, tile >>> 16, tile >>> 24);
  return crc32OfIntegers(y, crc32OfIntegers(z, crc32(index)));
}

/** The nearest integer, half to even, within +-most; NaN becomes 0. */
function round(value: number, most: number): number {
  const floor = Math.floor(value);
  const up = value - floor > 0.5 || (value - floor === 0.5 && floor % 2 !== 0);
  return Math.min(most, Math.max(-most, floor + (up ? 1 : 0))) || 0;
}
