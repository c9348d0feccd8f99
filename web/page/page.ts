/** The page: a photo or a .rgn file in, the picture beside others at equal bytes out. */

import {
  type DecodeOptions, type DeviationMap, drawMap, encodePng, inspect, MAP_COLOURS, type Picture, type ProgressEvent,
  readPicture, Regrain, RegrainError,
} from "../src/index.ts"; // prettier-ignore
import { type Format, FORMATS, psnr, type Rival, rival } from "./rivals.ts";
import { type Shown, Viewer } from "./viewer.ts";

const DOING: Record<ProgressEvent["stage"], string> = {
  load: "Loading the codec",
  analysis: "Looking at the picture",
  latents: "Coding",
  picture: "Drawing the picture",
  seeds: "Drawing by several seeds",
};
const MAGIC = [0x9f, 0x52, 0x47, 0x4e];

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const input = (id: string) => element<HTMLInputElement>(id);
const codec = new Regrain({ base: new URL("codec/", import.meta.url) });
const viewer = new Viewer(element("viewer"), (scale) => (element("zoom").textContent = `${Math.round(100 * scale)} %`));

/** What is open: a photo and its file, or a file alone. */
interface Work {
  name: string;
  original?: Picture;
  file?: Uint8Array<ArrayBuffer>;
  decoded?: Picture;
  rivals: Rival[];
  /** Formats that cannot be had, and why. */
  missing: Map<Format, string>;
  map?: { picture: Picture; top: number };
  encodeTime?: number;
  decodeTime?: number;
}
let work: Work | undefined;
const urls = new Map<string, string>();

/** Jobs run one at a time, and of those that wait only the last. */
let busy = false;
let next: (() => Promise<void>) | undefined;

async function run(job: () => Promise<void>): Promise<void> {
  next = job;
  if (busy) return;
  busy = true;
  element("error").hidden = true;
  element("status").hidden = false;
  element("doing").textContent = "Working";
  element("share").textContent = "";
  element<HTMLProgressElement>("progress").removeAttribute("value");
  while (next) {
    const current: () => Promise<void> = next;
    next = undefined;
    try {
      await current();
    } catch (error) {
      element("error").hidden = false;
      element("error").textContent = error instanceof RegrainError ? `${error.name}: ${error.message}` : String(error);
    }
  }
  busy = false;
  element("status").hidden = true;
}

function told({ stage, done, bytes }: ProgressEvent, doing = DOING[stage]): void {
  element("status").hidden = false;
  if (element("doing").textContent !== doing) element("doing").textContent = doing;
  element("share").textContent = bytes ? `${megabytes(bytes.done)} of ${megabytes(bytes.total)} MB` : `${Math.round(100 * done)} %`;
  element<HTMLProgressElement>("progress").value = done;
}

/** Time that passes, but for that in which weights load. */
class Watch {
  private start = performance.now();

  readonly told = (event: ProgressEvent): void => {
    if (event.stage === "load") this.start = performance.now();
    told(event);
  };

  get time(): number {
    return performance.now() - this.start;
  }
}

async function open(file: Blob, name: string): Promise<void> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const isRegrain = /\.rgn$/i.test(name) || MAGIC.every((byte, at) => bytes[at] === byte);
  work = { name: name.replace(/\.[^.]*$/, ""), rivals: [], missing: new Map(), ...(isRegrain && { file: bytes }) };
  if (!isRegrain) {
    work.original = await readPicture(file, { fit: Number(input("fit").value) });
    await show("original", work.original);
    return encode();
  }
  const { quality } = inspect(bytes);
  input("quality").value = String(Math.round(quality));
  await decode();
}

async function encode(): Promise<void> {
  const current = work;
  if (!current?.original) return decode();
  const watch = new Watch();
  const { bytes } = await codec.encode(current.original, { quality: Number(input("quality").value) }, watch.told);
  current.encodeTime = watch.time;
  current.file = bytes;
  current.rivals = [];
  current.missing.clear();
  if (!next) await decode();
}

async function decode(): Promise<void> {
  const current = work;
  if (!current?.file) return;
  delete current.map;
  const watch = new Watch();
  const picture = await codec.decode(current.file, options(), watch.told);
  current.decodeTime = watch.time;
  current.decoded = picture;
  await show("regrain", picture);
  draw(current);
  await compare(current);
}

function options(): DecodeOptions {
  return {
    realism: Number(input("realism").value),
    steps: Number(input("steps").value),
    seed: Math.max(0, Math.floor(Number(input("seed").value)) || 0),
  };
}

/** The other formats, one at a time, when the picture is there: nothing else runs while their time is taken. */
async function compare(current: Work): Promise<void> {
  const { original, file } = current;
  if (!original || !file) return;
  for (const name of FORMATS.filter((format) => !current.missing.has(format) && !current.rivals.some((made) => made.name === format))) {
    try {
      const doing = (event: ProgressEvent) => told(event, event.stage === "load" ? `Loading the ${name} encoder` : `Trying ${name} at as many bytes`);
      const made = await rival(name, original, file.length, doing, () => next !== undefined);
      if (!made) return;
      await show(name, made.decoded);
      current.rivals.push(made);
    } catch (error) {
      current.missing.set(name, error instanceof Error ? error.message : String(error));
    }
    draw(current);
  }
}

/** The map over seeds of the picture as it is drawn now. */
async function map(): Promise<void> {
  const current = work;
  if (!current?.file) return;
  const stopper = new AbortController();
  const stop = element("stop");
  stop.onclick = () => {
    stopper.abort();
    stop.textContent = "Stopping after this seed";
  };
  stop.textContent = "Stop";
  stop.hidden = false;
  try {
    const seeds = Number(input("seeds").value);
    const deviation = await codec.deviationMap(current.file, options(), { seeds, signal: stopper.signal }, (event) => {
      if (next) stopper.abort();
      told(event, event.stage === "seeds" ? `Drawing seed ${Math.min(seeds, 1 + Math.floor(seeds * event.done))} of ${seeds}` : undefined);
    });
    if (!deviation || next) return;
    current.map = drawMap(deviation);
    await show("map", current.map.picture);
    drawLegend(deviation, current.map.top);
    draw(current);
    element<HTMLSelectElement>("right").value = "map";
    drawPictures();
  } finally {
    if (document.activeElement === stop) element("map").focus();
    stop.hidden = true;
  }
}

function drawLegend({ values, seeds }: DeviationMap, top: number): void {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const steps = options().steps! > 1 ? `${options().steps} steps` : "3 steps (one step has one picture)";
  element("legend-text").textContent =
    `The map has the standard deviation over ${seeds} seeds in ${steps}, ${mean.toFixed(1)} levels of 255 on average.`;
  element("legend-bar").style.background = `linear-gradient(to right, ${MAP_COLOURS.map((colour) => `rgb(${colour.join(" ")})`).join(", ")})`;
  element("legend-top").textContent = `${top} levels and more`;
}

/** The map over its bar, as a picture file. */
async function mapFile({ picture: { data, width, height }, top }: { picture: Picture; top: number }): Promise<Blob> {
  const canvas = new OffscreenCanvas(Math.max(width, 96), height + 40);
  const context = canvas.getContext("2d")!;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.putImageData(new ImageData(data, width, height), 0, 0);
  const bar = context.createLinearGradient(0, 0, canvas.width, 0);
  MAP_COLOURS.forEach((colour, at) => bar.addColorStop(at / (MAP_COLOURS.length - 1), `rgb(${colour.join(" ")})`));
  context.fillStyle = bar;
  context.fillRect(0, height, canvas.width, 24);
  context.fillStyle = "white";
  context.font = "11px sans-serif";
  context.fillText("0", 2, height + 36);
  context.textAlign = "right";
  context.fillText(`${top} levels`, canvas.width - 2, height + 36);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Keeps a picture as what an image element shows. */
async function show(name: string, picture: Picture): Promise<void> {
  const url = URL.createObjectURL(await encodePng(picture));
  URL.revokeObjectURL(urls.get(name) ?? "");
  urls.set(name, url);
}

function draw(current: Work): void {
  element("work").hidden = false;
  element("quality-control").hidden = !current.original;
  element("legend").hidden = !current.map;
  const names = [...(current.original ? ["original"] : []), "regrain", ...current.rivals.map(({ name }) => name), ...(current.map ? ["map"] : [])];
  for (const [id, wanted] of [["left", names[0]!], ["right", "regrain"]] as const) {
    const select = element<HTMLSelectElement>(id);
    const chosen = names.includes(select.value) && select.dataset.work === current.name ? select.value : wanted;
    select.replaceChildren(...names.map((name) => new Option(name, name, name === chosen, name === chosen)));
    select.dataset.work = current.name;
  }
  drawFigures(current);
  drawInspection(current.file!);
  drawPictures();
}

function drawPictures(): void {
  if (!work?.decoded) return;
  const grid = document.querySelector<HTMLInputElement>("[name=mode]:checked")!.value === "grid";
  const options = [...element<HTMLSelectElement>("left").options].map(({ value }) => value);
  const names = grid ? options : [element<HTMLSelectElement>("left").value, element<HTMLSelectElement>("right").value];
  element("sides").hidden = element("split-row").hidden = grid;
  viewer.show(names.map((name): Shown => ({ name, url: urls.get(name)! })), work.decoded, grid ? "grid" : "slider");
}

function drawFigures(current: Work): void {
  const { width, height } = current.decoded!;
  const row = (name: string, bytes: number, decoded?: Picture, encodeTime?: number, decodeTime?: number) => [
    name,
    bytes.toLocaleString("en"),
    ((8 * bytes) / (width * height)).toFixed(3),
    current.original && decoded ? `${psnr(current.original, decoded).toFixed(2)} dB` : "",
    seconds(encodeTime),
    seconds(decodeTime),
  ];
  const rows = [
    row("regrain", current.file!.length, current.decoded, current.encodeTime, current.decodeTime),
    ...current.rivals.map(({ name, file, decoded, encodeTime, decodeTime }) =>
      row(name, file.size, decoded, encodeTime || undefined, decodeTime),
    ),
  ];
  fillTable(element("figures"), rows);
  element("missing").hidden = !current.missing.size;
  element("missing").textContent = [...current.missing].map(([name, why]) => `${name} is missing: ${why}.`).join(" ");
}

function drawInspection(file: Uint8Array): void {
  const { width, height, grey, alpha, quality, tile, fingerprint, size, bpp, sections } = inspect(file);
  const facts = {
    Size: `${width} x ${height} pixels, ${grey ? "grey" : "colour"}${alpha ? ", alpha" : ""}`,
    Bytes: `${size.toLocaleString("en")}, ${bpp.toFixed(3)} bits a pixel`,
    Quality: String(Number(quality.toFixed(2))),
    Tiles: `of ${tile} pixels`,
    Latents: fingerprint,
  };
  const terms = Object.entries(facts).flatMap(([name, fact]) => [make("dt", name), make("dd", fact)]);
  element("inspect").querySelector("dl")!.replaceChildren(...terms);
  const rows = sections.map(({ name, tile: index, offset, length }) => [
    index === undefined ? name : `${name}, tile ${index}`,
    offset.toLocaleString("en"),
    length.toLocaleString("en"),
  ]);
  fillTable(element("inspect"), rows);
}

function fillTable(parent: HTMLElement, rows: string[][]): void {
  const lines = rows.map(([name, ...cells]) => {
    const line = document.createElement("tr");
    const head = make("th", name!);
    head.setAttribute("scope", "row");
    line.append(head, ...cells.map((cell) => make("td", cell)));
    return line;
  });
  parent.querySelector("tbody")!.replaceChildren(...lines);
}

function make(kind: string, text: string): HTMLElement {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function seconds(time?: number): string {
  return time === undefined ? "" : time < 1000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(1)} s`;
}

function tellValues(): void {
  for (const id of ["quality", "realism"]) element(`${id}-value`).textContent = input(id).value;
  const certain = Number(input("realism").value) === 0;
  element<HTMLButtonElement>("map").disabled = certain;
  element("map-note").textContent = certain ? "At realism 0 every seed has one picture." : "";
}

input("file").addEventListener("change", () => {
  const [file] = input("file").files ?? [];
  if (file) void run(() => open(file, file.name));
  input("file").value = "";
});
for (const button of document.querySelectorAll<HTMLElement>("[data-sample]")) {
  const path = button.dataset.sample!;
  button.addEventListener("click", () => void run(async () => open(await (await fetch(path)).blob(), path.split("/").at(-1)!)));
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const [file] = event.dataTransfer?.files ?? [];
  if (file) void run(() => open(file, file.name));
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) void run(() => open(file, file.name || "pasted.png"));
});
for (const id of ["quality", "realism"]) input(id).addEventListener("input", tellValues);
input("quality").addEventListener("change", () => void run(encode));
for (const id of ["realism", "steps", "seed"]) input(id).addEventListener("change", () => void run(decode));
element("again").addEventListener("click", () => {
  input("seed").value = String((Number(input("seed").value) || 0) + 1);
  const steps = element<HTMLSelectElement>("steps");
  if (steps.value === "1") steps.value = "3"; // one step has one picture, whatever the seed
  void run(decode);
});
for (const id of ["left", "right", "mode"]) element(id).addEventListener("change", drawPictures);
input("split").addEventListener("input", () => (viewer.split = Number(input("split").value)));
for (const button of document.querySelectorAll<HTMLElement>("[data-zoom]")) {
  const act = { in: () => viewer.zoom(1.25), out: () => viewer.zoom(0.8), fit: () => viewer.fit(), one: () => viewer.one() };
  button.addEventListener("click", () => act[button.dataset.zoom as keyof typeof act]());
}
element("map").addEventListener("click", () => void run(map));
element("save-map").addEventListener("click", () => {
  if (work?.map) void mapFile(work.map).then((file) => save(file, `${work!.name}-map.png`));
});
element("save-rgn").addEventListener("click", () => {
  if (work?.file) save(new Blob([work.file], { type: "image/x-regrain" }), `${work.name}.rgn`);
});
element("save-png").addEventListener("click", () => {
  if (work?.decoded) void encodePng(work.decoded).then((file) => save(file, `${work!.name}.png`));
});
viewer.split = 50;
tellValues();
element("machine").textContent = crossOriginIsolated
  ? `This page may use several threads.`
  : "This page uses one thread, as its server does not isolate it (COOP and COEP headers).";
