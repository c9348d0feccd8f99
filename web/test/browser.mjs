/**
 * Jobs for the codec in a real browser: node test/browser.mjs SITE < jobs.json > results.json
 *
 *     jobs      {"isolated": true, "options": {...}, "flags": [...], "before": {PATH: SCRIPT}, "jobs": [{"kind", ...}, ...]}
 *     results   {"jobs": [{"value"} or {"error": {"name", "message"}}, "ms"], "requests": [[path, bytes], ...]}
 *
 * Bytes travel as base64, seeds as text. A script of `before` runs at the beginning of a script of the site. SITE is a folder that `build.mjs --site` has made. CHROMIUM names the browser.
 */
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { text } from "node:stream/consumers";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json", ".png": "image/png" };
const HARNESS = `<!doctype html><title>harness</title><script type="module">
  import * as regrain from "/codec/index.js";
  globalThis.regrain = regrain;
</script>`;

/** A server of a folder on a free port, and what was asked of it; scripts to run before those of the folder, by path. */
export async function serve(folder, isolated, before = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname).replace(/\/$/, "/index.html");
    try {
      const body = path === "/harness" ? HARNESS : await readFile(join(folder, path));
      requests.push([path, body.length]);
      const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
      response.writeHead(200, { "Content-Type": path === "/harness" ? "text/html" : (TYPES[extname(path)] ?? "application/octet-stream"), ...(isolated && isolation) });
      response.end(before[path] ? `${before[path]}\n${body}` : body);
    } catch {
      requests.push([path, 0]);
      response.writeHead(404);
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, requests, close: () => server.close() };
}

export function launch(flags = []) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: ["--no-sandbox", ...flags] });
}

/** In the page: one job after another, on one codec. */
async function perform({ options, jobs }) {
  const { Regrain, RegrainError, inspect, readPicture, encodePng } = globalThis.regrain;
  const bytesOf = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const textOf = (bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).subarray(at, at + 32768));
    return btoa(text);
  };
  const packed = (value) =>
    ArrayBuffer.isView(value) ? textOf(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
    : Array.isArray(value) ? value.map(packed)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, packed(part)]))
    : value;
  const blocks = (metadata = {}) => Object.fromEntries(Object.entries(metadata).map(([name, text]) => [name, bytesOf(text)]));
  const codec = new Regrain(options);
  const results = [];
  for (const job of jobs) {
    const stages = [];
    const told = ({ stage, done }) => stages.push([stage, done]);
    const start = performance.now();
    try {
      let value;
      if (job.options?.seed) job.options.seed = BigInt(job.options.seed);
      if (job.kind === "symbols") value = await codec.symbols(bytesOf(job.bytes));
      if (job.kind === "decode") value = await codec.decode(bytesOf(job.bytes), job.options, told);
      if (job.kind === "map") value = await codec.deviationMap(bytesOf(job.bytes), job.options, { seeds: job.seeds }, told);
      if (job.kind === "inspect") value = inspect(bytesOf(job.bytes));
      if (job.kind === "read") value = await readPicture(new Blob([bytesOf(job.bytes)]));
      if (job.kind === "encode") {
        const picture = job.file
          ? await readPicture(new Blob([bytesOf(job.file)]))
          : { ...job.picture, data: new Uint8ClampedArray(bytesOf(job.picture.data)), metadata: blocks(job.picture.metadata) };
        value = await codec.encode(picture, job.options, told);
      }
      if (job.kind === "png") value = new Uint8Array(await (await encodePng(await codec.decode(bytesOf(job.bytes), job.options))).arrayBuffer());
      results.push({ value: job.quiet ? null : packed(value), ms: performance.now() - start, stages });
    } catch (error) {
      const named = error instanceof RegrainError ? { name: error.name, message: error.message } : { name: "no RegrainError", message: String(error?.stack ?? error) };
      results.push({ error: named, ms: performance.now() - start, stages });
    }
  }
  codec.close();
  return { jobs: results, isolated: crossOriginIsolated };
}

if (process.argv[1]?.endsWith("browser.mjs")) {
  const { isolated = false, flags = [], options = {}, before, jobs } = JSON.parse(await text(process.stdin));
  const server = await serve(process.argv[2], isolated, before);
  const browser = await launch(flags);
  try {
    const page = await browser.newPage();
    const log = [];
    page.on("console", (message) => log.push(message.text()));
    page.on("pageerror", (error) => log.push(String(error)));
    await page.goto(`${server.url}/harness`);
    await page.waitForFunction(() => "regrain" in globalThis);
    page.setDefaultTimeout(0);
    const results = await page.evaluate(perform, { options, jobs });
    process.stdout.write(JSON.stringify({ ...results, log, requests: server.requests }));
  } finally {
    await browser.close();
    server.close();
  }
}
