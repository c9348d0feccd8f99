/** The parts that need no weights: run by node --test, see build.mjs. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import * as ort from "onnxruntime-web/wasm";

import { decodeAlpha, encodeAlpha, fillHidden } from "../src/alpha.ts";
import { read, write } from "../src/bitstream.ts";
import { getVarint, putVarint } from "../src/bytes.ts";
import { Decoder, encode, type Part } from "../src/coder.ts";
import { crc32 } from "../src/crc32.ts";
import { dctWaves } from "../src/dct.ts";
import { Deviation, drawMap } from "../src/deviation.ts";
import { deflate, inflate } from "../src/deflate.ts";
import { RegrainError } from "../src/errors.ts";
import { inspect } from "../src/inspect.ts";
import type { Model } from "../src/model.ts";
import { Networks } from "../src/networks.ts";
import { normal } from "../src/noise.ts";
import { padEdge, tilesOf, windowsOf } from "../src/planes.ts";
import { encodePng } from "../src/png.ts";
import { ddimStep, SCHEDULES } from "../src/sampling.ts";
import { gaussianTables } from "../src/tables.ts";

/** The repository, from dist-test. */
const root = new URL("../../", import.meta.url);
const file = async (path: string) => new Uint8Array(await readFile(new URL(path, root)));
const bytes = (hex: string) => Uint8Array.from(hex.match(/[0-9a-f]{2}/g) ?? [], (byte) => parseInt(byte, 16));
const named = (name: string) => (error: unknown) => error instanceof RegrainError && error.name === name;

/** The 64 tables of the format, from the array that Python reads. */
async function tables() {
  const array = await file("src/regrain/entropy/gaussian.npy");
  const start = 10 + new DataView(array.buffer, array.byteOffset).getUint16(8, true);
  const row = array.slice(start);
  assert.equal(createHash("sha256").update(row).digest("hex"), "6f0949e5cfe222f6423a6857726f4de206513042ed54f6109fa7c6ab6d04f1c9");
  return gaussianTables(new Uint16Array(row.buffer));
}

const EXAMPLE = bytes(`9f 52 47 4e 0d 0a 01 00 18 c8 01 96 01 80 32 c0 ff ee 01 87 91 79 9c
  04 04 42 1e b1 ec 3c 78 2f 3e 10 09 2a 50 81 74 00 01 23 45 67 89 ab cd ef`);

test("the worked example of the format is read and written", () => {
  const { stream, sections } = read(EXAMPLE, 1e6);
  assert.deepEqual(stream.header, {
    width: 200, height: 150, quality: 12928, fingerprint: "c0ffee01", method: "conditional", grey: true, alpha: false, tile: 256,
  });
  assert.equal(new TextDecoder().decode(stream.xmp), "<x/>");
  assert.deepEqual(stream.tiles, [bytes("01 23 45 67 89 ab cd ef")]);
  assert.deepEqual(sections.map(({ length }) => length), [23, 10, 15]);
  assert.deepEqual(write(stream), EXAMPLE);
  assert.equal(inspect(EXAMPLE).quality, 50.5);
});

test("every truncation and every flipped bit is refused by name", () => {
  for (let end = 0; end < EXAMPLE.length; end++) {
    assert.throws(() => read(EXAMPLE.slice(0, end), 1e6), (error) => named(end ? "Truncated" : "NotRegrain")(error));
  }
  for (let at = 0; at < 8 * EXAMPLE.length; at++) {
    const flipped = EXAMPLE.slice();
    flipped[at >> 3]! ^= 1 << (at & 7);
    assert.throws(() => read(flipped, 1e6), (error) => error instanceof RegrainError);
  }
});

test("numbers have one spelling", () => {
  for (const value of [0, 127, 128, 300, 2 ** 31, 2 ** 35 - 1]) {
    assert.deepEqual(getVarint(Uint8Array.from(putVarint(value)), 0), [value, putVarint(value).length]);
  }
  assert.throws(() => getVarint(bytes("80 00"), 0), named("Corrupt"));
  assert.throws(() => getVarint(bytes("ff ff ff ff ff 00"), 0), named("Corrupt"));
  assert.throws(() => getVarint(bytes("ff"), 0), named("Truncated"));
});

test("CRC-32 is zlib's", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});

test("the coder's examples are those of the format", async () => {
  const gaussian = await tables();
  assert.deepEqual(encode([], 0), bytes("00 00 00 01"));
  const part: Part = { symbols: Int32Array.of(-3, 0, 1, 2, 700, 0), ids: Uint8Array.of(40, 0, 20, 40, 63, 0), tables: gaussian };
  const stream = encode([part], 0x12345678);
  assert.deepEqual(stream, bytes("78 ff ff 56 a2 b3 74 6e c6"));
  const decoder = new Decoder(stream);
  assert.deepEqual(decoder.take(part.ids, gaussian), part.symbols);
  decoder.finish(0x12345678);
  assert.throws(() => decoder.finish(0x12345679), named("Corrupt"));
});

test("random parts come back, extremes and escapes among them", async () => {
  const gaussian = await tables();
  let state = 1;
  const random = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
  for (let round = 0; round < 30; round++) {
    const parts: Part[] = Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
      const ids = Uint8Array.from({ length: Math.floor(random() * 400) }, () => random() * 64);
      const extremes = [2 ** 31 - 1, -(2 ** 31), 2 ** 24, 1000];
      const symbols = Int32Array.from(ids, (id) => (random() < 0.02 ? extremes[Math.floor(random() * 4)]! : (random() - 0.5) * id));
      return { symbols, ids, tables: gaussian };
    });
    const check = Math.floor(random() * 2 ** 32);
    const stream = encode(parts, check);
    const decoder = new Decoder(stream);
    for (const { ids, symbols } of parts) assert.deepEqual(decoder.take(ids, gaussian), symbols);
    decoder.finish(check);
  }
});

test("garbage ends in Corrupt, soon", async () => {
  const gaussian = await tables();
  const ids = new Uint8Array(2 ** 22).fill(30);
  const start = process.cpuUsage();
  assert.throws(() => new Decoder(bytes("01 02 03 04 05")).take(ids, gaussian), named("Corrupt"));
  assert.ok(process.cpuUsage(start).user < 1e6);
  assert.throws(() => new Decoder(new Uint8Array()), named("Corrupt"));
  assert.throws(() => new Decoder(bytes("01 00")), named("Corrupt"));
});

test("noise is Philox4x64-10, of whatever window", () => {
  const table = Float32Array.from({ length: 65536 }, (_, level) => level);
  const whole = normal(table, 7n, 3, 0, 0, 8, 12);
  const part = normal(table, 7n, 3, 2, 4, 4, 5);
  for (let at = 0; at < part.length; at++) {
    const [channel, row, column] = [Math.floor(at / 20), Math.floor(at / 5) % 4, at % 5];
    assert.equal(part[at], whole[channel * 96 + (row + 2) * 12 + column + 4]);
  }
  // the digest of numpy's Philox under the same table
  const python = normal(table, 2n ** 63n + 5n, 3, 1000, 520, 40, 50);
  const digest = createHash("sha256").update(new Uint8Array(python.buffer)).digest("hex");
  assert.equal(digest, "dd6a74d73096dcaee6b160f3c2bb3d7302c7c1e5861b39cb05a30cfaa3884d19");
  // Random123's known answer for counter 0 and key 0: words 16554d9eca36314c, db20fe9d672d0fdc, ...
  const known = normal(table, 0n, 0, 0, 0, 1, 2);
  assert.deepEqual([...known], [0x314c, 0x0fdc, 0xca36, 0x672d, 0x4d9e, 0xfe9d]);
});

test("alpha of every kind comes back", async () => {
  const planes = {
    0: () => 7,
    1: (at: number) => (at % 5 ? 255 : 0),
    2: (at: number) => (at * 7919) % 251,
    3: (at: number) => ((at % 13) * 37) % 256,
    4: (at: number) => (Math.floor(at / 13) * 37) % 256,
    5: (at: number) => ((at % 13) * 5 + Math.floor(at / 13) * 11) % 256,
  };
  for (const of of Object.values(planes)) {
    const alpha = Uint8Array.from({ length: 13 * 40 }, (_, at) => of(at));
    const packed = await encodeAlpha(alpha, 13);
    assert.deepEqual(await decodeAlpha(packed, 13, 40), alpha);
    if (packed[0]) await assert.rejects(decodeAlpha(packed, 13, 41), named("Corrupt"));
  }
});

test("deflate keeps to a bound", async () => {
  const packed = await deflate(new Uint8Array(2 ** 22), "deflate-raw");
  await assert.rejects(inflate(packed, "deflate-raw", 1000), RangeError);
  assert.equal((await inflate(packed, "deflate-raw", 2 ** 22)).length, 2 ** 22);
});

test("what is hidden is filled from what is seen, which stays", () => {
  const pixels = new Uint8ClampedArray(4 * 9 * 7);
  pixels.set([10, 20, 30, 255], 0);
  pixels.set([30, 40, 50, 128], 4 * (9 * 7 - 1));
  const filled = fillHidden(pixels, 9, 7);
  assert.deepEqual([...filled.slice(0, 4)], [10, 20, 30, 255]);
  for (let at = 0; at < filled.length; at += 4) assert.ok(filled[at]! >= 10 && filled[at]! <= 30);
});

test("the waves are orthonormal and fall", () => {
  const { basis, std } = dctWaves(40);
  for (const [a, b] of [[0, 0], [3, 3], [3, 4], [39, 39], [17, 39]] as const) {
    let sum = 0;
    for (let at = 0; at < 768; at++) sum += basis[768 * a + at]! * basis[768 * b + at]!;
    assert.ok(Math.abs(sum - (a === b ? 1 : 0)) < 1e-6);
  }
  assert.deepEqual([...std], [...std].sort((a, b) => b - a));
});

test("windows cover the grid once and see a halo", () => {
  const cores = windowsOf(70, 130, 64, 4);
  assert.equal(cores.reduce((sum, { core }) => sum + (core.bottom - core.top) * (core.right - core.left), 0), 70 * 130);
  assert.deepEqual(cores[0]!.outer, { top: 0, bottom: 68, left: 0, right: 68 });
  assert.equal(tilesOf(70, 130, 64).length, 6);
});

test("edges are repeated", () => {
  const { data, rows, columns } = padEdge({ data: Float32Array.of(1, 2, 3), channels: 1, rows: 1, columns: 3 }, 2);
  assert.deepEqual([rows, columns, ...data], [2, 4, 1, 2, 3, 3, 1, 2, 3, 3]);
});

test("a DDIM step keeps the variance, and eta 1 is the ancestral step", () => {
  for (const schedule of Object.values(SCHEDULES)) {
    for (const eta of [0, 0.5, 1]) {
      const [[alphaT, sigmaT], [alphaS, sigmaS]] = [schedule(0.8), schedule(0.3)];
      const { picture, past, std } = ddimStep(schedule, 0.8, 0.3, eta);
      assert.ok(Math.abs(picture + past * alphaT - alphaS) < 1e-12);
      assert.ok(Math.abs((past * sigmaT) ** 2 + std ** 2 - sigmaS ** 2) < 1e-12);
    }
  }
});

test("the deviation over pictures is the unbiased one, over the channels", () => {
  const deviation = new Deviation(2, 1);
  const add = (...data: number[]) => deviation.add({ width: 2, height: 1, data: Uint8ClampedArray.from(data) });
  add(1, 2, 3, 255, 50, 50, 50, 255);
  assert.equal(deviation.map(), undefined);
  add(3, 2, 9, 255, 50, 50, 50, 255);
  add(5, 2, 3, 255, 50, 50, 50, 255);
  const { values, seeds } = deviation.map()!;
  assert.equal(seeds, 3);
  assert.ok(Math.abs(values[0]! - Math.sqrt((4 + 0 + 12) / 3)) < 1e-6);
  assert.equal(values[1], 0);
});

test("a map has the colours and the scale of Python's", () => {
  const draw = (...values: number[]) => drawMap({ values: Float32Array.from(values), width: values.length, height: 1, seeds: 2 });
  assert.equal(draw(0, 0).top, 1);
  assert.equal(draw(0.2, 7).top, 10);
  assert.equal(draw(1.9, 1.9).top, 2);
  // image.draw_map of Python at 0, 0.7, 2.5, 4.99, 5 and 8 levels of 10
  const levels = [0, 0.7, 2.5, 4.99, 5, 8];
  const { picture, top } = draw(...levels, ...Array.from({ length: 10 }, () => 9));
  assert.equal(top, 10);
  assert.deepEqual(
    levels.map((_, at) => [...picture.data.subarray(4 * at, 4 * at + 3)]),
    [[0, 0, 4], [21, 5, 41], [80, 22, 115], [181, 57, 117], [181, 57, 116], [254, 159, 109]],
  );
});

test("a graphics card that fails, early or late, hands its networks over to the processor, and no other", async () => {
  const x = { data: Float32Array.of(1, 2), channels: 1, rows: 1, columns: 2 };
  for (const failing of ["create", "run"]) {
    let lost = failing === "create";
    const used: string[] = [];
    const create = async (_: Uint8Array, { executionProviders }: ort.InferenceSession.SessionOptions) => {
      const provider = String(executionProviders![0]);
      const fails = (deed: string) => {
        if (deed !== "release") used.push(`${deed} ${provider}`);
        if (lost && provider === "webgpu" && [failing, "release"].includes(deed)) throw new Error("the device is lost");
      };
      fails("create");
      const run = async ({ x: input }: Record<string, ort.Tensor>) => (fails("run"), { y: input });
      return { inputNames: ["x"], outputNames: ["y"], run, release: async () => fails("release") };
    };
    (ort.InferenceSession as { create: unknown }).create = create;
    const model = { graph: () => new Uint8Array() } as unknown as Model;
    const networks = new Networks(model, { used: true });
    const begun = networks.of(model);
    if (!lost) await begun.run("denoiser", "denoiser", [x]);
    lost = true;
    used.length = 0;
    for (let round = 0; round < 2; round++) assert.deepEqual(await networks.run("denoiser", "denoiser", [x]), [x]);
    const before = failing === "create" ? ["create webgpu"] : ["create webgpu", "run webgpu"];
    assert.deepEqual(used, [...before, "create wasm", "run wasm", "run wasm"]);
    for (const [others, first] of [[networks.of(model), []], [begun, failing === "run" ? ["run webgpu"] : []]] as const) {
      used.length = 0;
      await others.run("denoiser", "denoiser", [x]);
      assert.deepEqual(used, [...first, "create wasm", "run wasm"]);
    }
    used.length = 0;
    await new Networks(model, { used: true }).run("latents", "scale0", [x]);
    assert.deepEqual(used, ["create wasm", "run wasm"]);
  }
});

test("a PNG is whole", async () => {
  const data = Uint8ClampedArray.from({ length: 4 * 6 }, (_, at) => at * 9);
  const png = new Uint8Array(await (await encodePng({ width: 3, height: 2, data, metadata: { xmp: bytes("3c 78 2f 3e") } })).arrayBuffer());
  assert.deepEqual([...png.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
  const view = new DataView(png.buffer);
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
    const end = at + 8 + view.getUint32(at);
    assert.equal(view.getUint32(end), crc32(png.subarray(at + 4, end)));
  }
});

test("golden files of other methods are told apart", async () => {
  for (const [name, method] of [["progressive", "progressive"], ["palette", "palette"], ["colour", "conditional"]]) {
    assert.equal(inspect(await file(`tests/golden/${name}.rgn`)).method, method);
  }
});
