/**
 * node build.mjs FOLDER [MODEL]          the package: modules, types, the WebAssembly of ONNX Runtime, the model
 * node build.mjs --site FOLDER [MODEL]   the page, and the package in FOLDER/codec
 * node build.mjs --test                  the tests of the package, into dist-test, for node --test
 *
 * MODEL is what `python scripts/web.py` has written, to web/model unless said.
 */
import { createHash } from "node:crypto";
import { copyFile, cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const ort = (name) => here(`node_modules/onnxruntime-web/dist/${name}`);
const shared = { bundle: true, format: "esm", target: "es2023", logLevel: "warning", conditions: ["onnxruntime-web-use-extern-wasm"] };

/** A WebAssembly file, gzipped into a folder under a name of its content. */
async function pack(folder, name, path) {
  const plain = await readFile(path);
  const packed = gzipSync(plain, { level: 9 });
  const file = `${name}-${createHash("sha256").update(packed).digest("hex").slice(0, 8)}.bin`;
  await writeFile(`${folder}/${file}`, packed);
  return { file, bytes: packed.length, unpacked: plain.length };
}

/** One build of ONNX Runtime, and the script that starts it. */
async function runtime(folder, name) {
  await copyFile(ort(`${name}.mjs`), `${folder}/${name}.mjs`);
  return { script: `${name}.mjs`, ...(await pack(folder, "runtime", ort(`${name}.wasm`))) };
}

async function buildPackage(folder, model = here("model")) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await build({ ...shared, entryPoints: [here("src/index.ts")], outfile: `${folder}/index.js`, minify: true });
  for (const [worker, name, alias] of [
    ["worker", "ort-wasm-simd-threaded", "onnxruntime-web/wasm"],
    ["worker-gpu", "ort-wasm-simd-threaded.jspi", "onnxruntime-web/jspi"],
  ]) {
    await build({
      ...shared,
      entryPoints: [here("src/worker.ts")],
      outfile: `${folder}/${worker}.js`,
      minify: true,
      alias: { "onnxruntime-web/wasm": alias },
      define: { RUNTIME: JSON.stringify(await runtime(folder, name)) },
    });
  }
  await copyFile(here("../LICENSE"), `${folder}/LICENSE`);
  await copyFile(here("NOTICES.txt"), `${folder}/NOTICES.txt`);
  await cp(model, `${folder}/model`, { recursive: true });
}

async function buildSite(folder, model) {
  await buildPackage(`${folder}/codec`, model);
  await build({ ...shared, entryPoints: [here("page/page.ts")], outfile: `${folder}/page.js`, minify: true });
  await rm(`${folder}/photos`, { recursive: true, force: true });
  for (const old of await readdir(folder)) if (/^avif-.*\.bin$/.test(old)) await rm(`${folder}/${old}`);
  const avif = await pack(folder, "avif", here("node_modules/@jsquash/avif/codec/enc/avif_enc.wasm"));
  await build({
    ...shared,
    entryPoints: [here("page/avif_worker.ts")],
    outfile: `${folder}/avif.js`,
    minify: true,
    define: { AVIF: JSON.stringify(avif) },
  });
  for (const name of ["index.html", "page.css"]) await copyFile(here(`page/${name}`), `${folder}/${name}`);
  await cp(here("photos"), `${folder}/photos`, { recursive: true });
  await rename(`${folder}/photos/SOURCES.md`, `${folder}/photos/SOURCES.txt`);
  await copyFile(here("../demo/photo.png"), `${folder}/photos/chelsea.png`);
}

async function buildTests() {
  await rm(here("dist-test"), { recursive: true, force: true });
  const names = (await readdir(here("test"))).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...shared,
    entryPoints: names.map((name) => here(`test/${name}`)),
    outdir: here("dist-test"),
    outExtension: { ".js": ".mjs" },
    platform: "node",
    external: ["onnxruntime-web"],
    alias: { "onnxruntime-web/wasm": "onnxruntime-web" },
  });
}

const [first, second, third] = process.argv.slice(2);
if (first === "--test") await buildTests();
else if (first === "--site" && second) await buildSite(second, third);
else if (first) {
  await buildPackage(first, second);
  execFileSync(here("node_modules/.bin/tsc"), ["-p", here("tsconfig.types.json"), "--outDir", `${first}/types`]);
} else throw new Error("which folder? see the head of build.mjs");
