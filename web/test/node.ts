/** Decodes files under Node: node dist/test/node.mjs FILE.rgn... prints digests of symbols, and RGBA beside each. */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";

import { Codec } from "../src/codec.ts";

import * as ort from "onnxruntime-web/wasm";
ort.env.wasm.numThreads = 1;
const folder = new URL("../../model/", import.meta.url);
const codec = await Codec.open(async (name) => new Uint8Array(await readFile(new URL(name, folder))));
for (const path of process.argv.slice(2)) {
  const bytes = new Uint8Array(await readFile(path));
  const start = performance.now();
  const hash = createHash("sha256");
  for (const { z, y } of await codec.symbols(bytes)) for (const row of [z, y]) hash.update(new Uint8Array(row.buffer));
  const middle = performance.now();
  console.log(path, hash.digest("hex"), Math.round(middle - start));
  for (const [realism, seed, steps] of [[0, 0, 1], [1, 3, 1], [1, 3, 4], [0.5, 3, 2]] as const) {
    const t = performance.now();
    const picture = await codec.decode(bytes, { realism, seed, steps });
    console.log(realism, steps, Math.round(performance.now() - t), "ms");
    await writeFile(`/tmp/web/${path.split("/").at(-1)}-${realism}-${steps}.rgba`, picture.data);
  }
}
