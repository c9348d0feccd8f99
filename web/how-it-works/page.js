// The figures of the page. data.json and the pictures come from scripts/how_it_works.py; nothing leaves the site.

import { colour, draw, sharpen } from "./chart.js";

const figures = [];

/** One figure: its parts by `data-name`, and `show`, which draws it for the controls as they are. */
function figure(id, setUp) {
  const section = document.getElementById(id);
  const part = (name) => section.querySelector(`[data-name="${name}"]`);
  const chosen = (name) => part(name).querySelector("input:checked").value;
  const chart = section.querySelector("canvas.chart");
  const says = (words) => (section.querySelector(".says").textContent = words);
  const show = setUp({ section, part, chosen, chart, says });
  section.addEventListener("input", show);
  figures.push(show);
}

/** Set a slider's end, and say what it means; `words` is what the output beside it says. */
const limit = (slider, most, value) => Object.assign(slider, { max: most, value: value ?? slider.value });
const tell = (slider, words) => {
  slider.parentElement.querySelector("output").textContent = words;
  slider.setAttribute("aria-valuetext", words);
};
const grouped = (count) => Math.round(count).toLocaleString("en");

async function picture(name) {
  const image = new Image();
  image.src = name;
  await image.decode();
  return image;
}

/** Put a frame of a picture, cut at (left, top), on a canvas. */
function cut(canvas, image, left, top, width, height) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(image, left, top, width, height, 0, 0, width, height);
}

function values(image, width, height) {
  const canvas = document.createElement("canvas");
  cut(canvas, image, 0, 0, width, height);
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const out = new Float32Array(width * height * 3);
  for (let k = 0; k < out.length; k++) out[k] = data[4 * Math.floor(k / 3) + (k % 3)] / 127.5 - 1;
  return out;
}

function paint(canvas, signed, width, height) {
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * k + c] = (signed[3 * k + c] + 1) * 127.5;
    pixels.data[4 * k + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** Standard normal noise that is the same every time: mulberry32, and Box and Muller's transform. */
function normal(count) {
  let state = 7;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const out = new Float32Array(count);
  for (let k = 0; k < count; k++) out[k] = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return out;
}

const bell = Array.from({ length: 161 }, (_, k) => -4 + k / 20).map((v) => [v, Math.exp((-v * v) / 2) / Math.sqrt(2 * Math.PI)]);

function histogram(signed) {
  const bins = new Array(80).fill(0);
  for (const value of signed) {
    const bin = Math.floor((value + 4) * 10);
    if (bin >= 0 && bin < 80) bins[bin]++;
  }
  return bins.map((count, k) => [-3.95 + k / 10, (count * 10) / signed.length]);
}

function forward({ width, height, schedules }, copy) {
  const x0 = values(copy, width, height);
  const eps = normal(x0.length);
  const mixed = new Float32Array(x0.length);
  figure("forward", ({ part, chosen, says }) => {
    paint(part("picture"), x0, width, height);
    paint(part("noise"), eps.map((value) => value / 2), width, height);
    return () => {
      const n = Number(part("step").value);
      const { alpha, sigma } = schedules[chosen("schedule")];
      for (let k = 0; k < mixed.length; k++) mixed[k] = alpha[n] * x0[k] + sigma[n] * eps[k];
      paint(part("mixed"), mixed, width, height);
      const bars = { points: histogram(mixed), colour: "one", label: "x_t", bars: true };
      const curve = { points: bell, colour: "two", label: "N(0, 1)" };
      const top = Math.max(0.5, ...bars.points.map(([, density]) => density));
      const x = { range: [-4, 4], label: "value" };
      draw(part("histogram"), { x, y: { range: [0, top], label: "density" }, lines: [bars, curve] });
      const ratio = 2 * Math.log(alpha[n] / Math.max(sigma[n], 4.5e-5));
      const name = `x_t = ${alpha[n].toFixed(3)} x_0 + ${sigma[n].toFixed(3)} ε`;
      tell(part("step"), `${n}, t = ${(n / 1000).toFixed(3)}`);
      says(`${name}. The log-SNR is ${Math.min(20, ratio).toFixed(1)}. ${weight(alpha[n])}`);
    };
  });
  figure("closed", ({ chart, says }) => {
    const lines = [];
    const gaps = [];
    for (const [hue, name] of [["one", "linear"], ["two", "cosine"]]) {
      const { alpha, sigma, chain } = schedules[name];
      lines.push({ points: alpha.map((a, n) => [n, a]), colour: hue, label: `α and σ, ${name}` });
      lines.push({ points: sigma.map((s, n) => [n, s]), colour: hue, dashed: true });
      lines.push({ points: chain.flatMap(([n, a, s]) => [[n, a], [n, s]]), colour: hue, dots: true });
      gaps.push(...chain.flatMap(([n, a, s]) => [Math.abs(a - alpha[n]), Math.abs(s - sigma[n])]));
    }
    return () => {
      const x = { range: [0, 1000], label: "step n" };
      draw(chart, { x, y: { range: [0, 1.05], label: "weight" }, lines });
      says(`Formula and chain are apart by ${Math.max(...gaps).toFixed(4)} at most: as much as the noise of this small photo allows.`);
    };
  });
}

const weight = (alpha) => `${(100 * alpha * alpha).toFixed(1)} % of the variance is the photo's, if that has unit variance.`;

function reverse({ width, height, estimates, walks }, images) {
  figure("reverse", ({ part, chosen, chart, says }) => () => {
    const way = chosen("way");
    const photo = way === "photo";
    const levels = photo ? estimates.map((row) => row.log_snr) : walks[way];
    const slider = limit(part("level"), levels.length - 1);
    const k = Math.min(Number(slider.value), levels.length - 1);
    cut(part("noisy"), images[way], 0, k * height, width, height);
    cut(part("clean"), images[way], width, k * height, width, height);
    tell(slider, photo ? `log-SNR ${levels[k]}` : `step ${k + 1} of ${levels.length}, log-SNR ${levels[k]}`);
    const points = estimates.map((row) => [row.log_snr, row.error]);
    draw(chart, {
      x: { range: [-10, 10], label: "log-SNR of x_t" }, y: { range: [0, 80], label: "error in levels" },
      lines: [{ points, colour: "one", label: "error of the estimate, photo under noise" }], mark: levels[k],
    });
    says(photo
      ? `At log-SNR ${levels[k]} the weights are ${estimates[k].alpha.toFixed(3)} for the photo and ${estimates[k].sigma.toFixed(3)} for the noise. The estimate is off by ${estimates[k].error.toFixed(1)} of 255 levels (root mean square).`
      : `Nothing here is of the photo. ${way === "ddim" ? "All chance is in the noise of the start." : "Each step adds fresh noise."}`);
  });
}

function bound({ bound: { terms, log_snr: levels, errors }, width, height }) {
  figure("bound", ({ part, chart, says }) => {
    const slider = limit(part("term"), terms.length - 1);
    const sums = terms.reduce((all, term) => [...all, (all.at(-1) ?? 0) + term], []);
    const size = width * height * 3;
    const top = Math.max(...terms.slice(0, -1)) * 1.3;
    return () => {
      const k = Number(slider.value);
      const bars = { points: terms.map((term, n) => [n, term]), colour: "one", label: "bits a value", bars: true };
      const x = { range: [-0.5, terms.length - 0.5], label: "term: start, steps, last digits" };
      draw(chart, { x, y: { range: [0, top], label: "bits a value" }, lines: [bars], mark: k });
      const last = k === terms.length - 1;
      const name = k === 0 ? "The start" : last ? "The last digits" : `The step from log-SNR ${levels[k - 1]} to ${levels[k]}`;
      const error = k === 0 ? "" : ` The estimate before it is off by ${errors[k - 1].toFixed(1)} levels.`;
      const tall = terms[k] > top ? " Its bar is taller than the chart." : "";
      tell(slider, `${k} of ${terms.length - 1}`);
      says(`${name} costs ${terms[k].toFixed(4)} bits a value, ${grouped((terms[k] * size) / 8)} bytes of this small photo.${error}${tall} So far: ${sums[k].toFixed(3)} bits a value; in all: ${sums.at(-1).toFixed(3)}.`);
    };
  });
}

function bytes({ file: { hex, fields, pixels } }) {
  figure("file", ({ section, part, says }) => {
    const canvas = section.querySelector("canvas.bytes");
    const data = hex.match(/../g).map((pair) => parseInt(pair, 16));
    const slider = limit(part("byte"), data.length - 1, 0);
    const hue = (k) => `hsl(${(k * 137.5) % 360} 60% 50%)`;
    const field = (at) => fields.findIndex(([, start, length]) => at >= start && at < start + length);
    const owner = data.map((_, at) => field(at));
    const buttons = fields.map(([name, start], k) => {
      const button = document.createElement("button");
      button.type = "button";
      const swatch = document.createElement("i");
      swatch.style.background = hue(k);
      button.append(swatch, name);
      button.addEventListener("click", () => go(start));
      section.querySelector(".fields").append(button);
      return button;
    });
    let columns = 64;
    const go = (at) => {
      slider.value = at;
      show();
    };
    canvas.addEventListener("pointerdown", (event) => {
      const cell = canvas.clientWidth / columns;
      const at = Math.floor(event.offsetY / cell) * columns + Math.floor(event.offsetX / cell);
      if (at < data.length) go(at);
    });
    const show = () => {
      columns = canvas.clientWidth < 500 ? 48 : 96;
      const cell = canvas.clientWidth / columns;
      const height = Math.ceil(data.length / columns) * cell;
      canvas.style.height = `${height}px`;
      const { context } = sharpen(canvas, height);
      const chosen = Number(slider.value);
      data.forEach((value, at) => {
        context.globalAlpha = 0.25 + (0.75 * value) / 255;
        context.fillStyle = hue(owner[at]);
        context.fillRect((at % columns) * cell, Math.floor(at / columns) * cell, cell - 0.5, cell - 0.5);
      });
      context.globalAlpha = 1;
      context.strokeStyle = colour("ink");
      context.lineWidth = 2;
      context.strokeRect((chosen % columns) * cell, Math.floor(chosen / columns) * cell, cell, cell);
      const [name, start, length, meaning] = fields[owner[chosen]];
      buttons.forEach((button, k) => button.setAttribute("aria-pressed", k === owner[chosen]));
      tell(slider, `${chosen} of ${data.length - 1}: ${data[chosen].toString(16).padStart(2, "0")}`);
      const shown = data.slice(start, start + Math.min(length, 16)).map((one) => one.toString(16).padStart(2, "0"));
      says(`${name} (${grouped(length)} ${length === 1 ? "byte" : "bytes"} from ${start}): ${shown.join(" ")}${length > 16 ? " …" : ""}: ${meaning}. The whole file has ${grouped(data.length)} bytes, ${((8 * data.length) / pixels).toFixed(3)} bits a pixel.`);
    };
    return show;
  });
}

function rate({ rates }) {
  figure("rate", ({ part, chosen, chart, says }) => {
    const slider = limit(part("quality"), rates.length - 1, 3);
    const all = rates.flatMap((one) => [one.psnr0, one.psnr1]);
    return () => {
      const row = rates[Number(slider.value)];
      const shown = chosen("shown");
      part("decoded").src = shown === "original" ? "photo.png" : `rate-${row.quality}-${shown}.webp`;
      const lines = [0, 1].map((realism) => ({
        points: rates.map((one) => [one.bpp, one[`psnr${realism}`]]), colour: realism ? "two" : "one",
        label: `realism ${realism}`, dots: true, joined: true,
      }));
      const x = { range: [0, Math.max(...rates.map((one) => one.bpp)) * 1.03], label: "bits a pixel" };
      draw(chart, { x, y: { range: [Math.min(...all) - 1, Math.max(...all) + 1], label: "PSNR, dB" }, lines, mark: row.bpp });
      tell(slider, `-q ${row.quality}`);
      says(`${grouped(row.bytes)} bytes, ${row.bpp.toFixed(3)} bits a pixel. PSNR is ${row.psnr0.toFixed(1)} dB at realism 0 and ${row.psnr1.toFixed(1)} dB at realism 1.`);
    };
  });
}

function steps({ steps: { kodak, quality } }) {
  const counts = [1, 2, 4, 8, 16];
  figure("steps", ({ part, chosen, chart, says }) => () => {
    const count = counts[Number(part("count").value)];
    const kind = chosen("sampler");
    const images = [0, 1].map((seed) => Object.assign(part(`seed${seed}`), { src: `steps-${kind}-${count}-${seed}.webp` }));
    difference(part("apart"), images);
    const measure = part("measure").value;
    const all = kodak.map((row) => row[measure]);
    const room = (Math.max(...all) - Math.min(...all)) * 0.1;
    const lines = [["ddim", "one", "deterministic"], ["ancestral", "two", "stochastic"]].map(([name, hue, label]) => ({
      points: kodak.filter((row) => row.sampler === name).map((row) => [Math.log2(row.steps), row[measure]]),
      colour: hue, label, dots: true, joined: true,
    }));
    const x = { range: [-0.15, 4.15], label: "steps", ticks: counts.map((one) => [Math.log2(one), String(one)]) };
    const y = { range: [Math.min(...all) - room, Math.max(...all) + room], label: "" };
    draw(chart, { x, y, lines, mark: Math.log2(count) });
    tell(part("count"), String(count));
    const value = kodak.find((row) => row.steps === count && row.sampler === kind)[measure];
    says(`${count} ${count === 1 ? "step" : "steps"} of a -q ${quality} file. ${part("measure").selectedOptions[0].text}: ${Number(value.toPrecision(4))} on Kodak.`);
  });
}

/** How far two pictures are from each other, four times as bright; WebP has lost a little of both. */
async function difference(canvas, images) {
  const names = images.map((image) => image.src);
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  if (images.some((image, k) => image.src !== names[k] || !image.naturalWidth)) return;
  const { naturalWidth: width, naturalHeight: height } = images[0];
  const [one, other] = images.map((image) => values(image, width, height));
  paint(canvas, one.map((value, k) => Math.min(1, 4 * Math.abs(value - other[k]) - 1)), width, height);
}

function stream({ stream: { ends, psnr, size }, width, height }, image) {
  figure("stream", ({ part, chart, says }) => {
    const slider = limit(part("bytes"), size, Math.round(size / 4));
    return () => {
      const come = Number(slider.value);
      const whole = ends.filter((end) => end <= come).length;
      const canvas = part("frame");
      if (whole) cut(canvas, image, 0, (whole - 1) * height, width, height);
      else Object.assign(canvas, { width, height });
      const line = { points: ends.map((end, k) => [end, psnr[k]]), colour: "one", dots: true, joined: true, label: "after each step" };
      const x = { range: [0, size * 1.02], label: "bytes" };
      draw(chart, { x, y: { range: [Math.floor(psnr[0]) - 1, Math.ceil(Math.max(...psnr)) + 1], label: "PSNR, dB" }, lines: [line], mark: come });
      tell(slider, `${grouped(come)} of ${grouped(size)}`);
      says(whole
        ? `${whole} of ${ends.length} steps are whole: ${psnr[whole - 1].toFixed(1)} dB at ${((8 * come) / (width * height)).toFixed(3)} bits a pixel. What has come of the next step waits for its rest.`
        : "The first step is not whole yet: there is nothing to decode.");
    };
  });
}

function palette({ palettes }) {
  figure("palette", ({ section, part, says }) => {
    const slider = limit(part("quality"), palettes.length - 1, palettes.length - 1);
    return () => {
      const row = palettes[Number(slider.value)];
      Object.assign(part("latents"), { src: `latents-${row.quality}.png`, width: row.width * 8, height: row.height * 8 });
      part("decoded").src = `palette-${row.quality}.webp`;
      const { context, width, height } = sharpen(section.querySelector("canvas.swatches"));
      const total = row.colours.reduce((sum, [, , , count]) => sum + count, 0);
      let at = 0;
      for (const [r, g, b, count] of row.colours) {
        context.fillStyle = `rgb(${r} ${g} ${b})`;
        context.fillRect(at, 0, (width * count) / total + 1, height);
        at += (width * count) / total;
      }
      tell(slider, `-q ${row.quality}`);
      says(`${row.colours.length} colours for ${row.width} × ${row.height} latents of ${row.channels} values; ${grouped(row.bytes)} bytes, ${row.psnr.toFixed(1)} dB. The strip has each colour as wide as it is used.`);
    };
  });
}

async function main() {
  const nav = document.querySelector("nav");
  for (const section of document.querySelectorAll("main section")) {
    const link = Object.assign(document.createElement("a"), { href: `#${section.id}` });
    link.textContent = section.querySelector("h2").textContent.split(":")[0];
    nav.append(link);
  }
  const answer = await fetch("data.json");
  if (!answer.ok) throw new Error(`data.json: ${answer.status}`);
  const data = await answer.json();
  const names = ["copy.png", "estimates.webp", "walk-ddim.webp", "walk-ancestral.webp", "stream.webp"];
  const [copy, photo, ddim, ancestral, frames] = await Promise.all(names.map(picture));
  forward(data, copy);
  reverse(data, { photo, ddim, ancestral });
  bound(data);
  bytes(data);
  rate(data);
  steps(data);
  stream(data, frames);
  palette(data);
  const all = () => figures.forEach((show) => show());
  all();
  addEventListener("resize", all);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
}

main().catch((error) => {
  const line = document.getElementById("failure");
  line.textContent = `The figures cannot be shown: ${error.message}`;
  line.hidden = false;
});
