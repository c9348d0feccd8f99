/**
 * The page in a real browser, as somebody uses it: node test/page.mjs SITE RGN [SCREENSHOTS] > results.json
 *
 * RGN is a file of regrain's that is opened beside the photo of the page; SCREENSHOTS is a folder for pictures of it.
 */
import { readFile } from "node:fs/promises";

import { launch, serve } from "./browser.mjs";

const [site, rgn, pictures] = process.argv.slice(2);
const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf-8");
const server = await serve(site, true);
const browser = await launch();
const found = { violations: [], foreign: [], errors: [], downloads: [] };
const CAT = "[data-sample*=chelsea]";

/** A fresh page of the site, whose faults are noted; it goes without some files. */
async function open(options, without = []) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 1000 }, ...options });
  context.setDefaultTimeout(0);
  const page = await context.newPage();
  page.on("request", (request) => {
    if (!/^(blob:|data:)/.test(request.url()) && !request.url().startsWith(server.url)) found.foreign.push(request.url());
  });
  page.on("pageerror", (error) => found.errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && found.errors.push(message.text()));
  for (const path of without) await page.route(path, (route) => route.abort());
  await page.goto(server.url);
  await page.waitForSelector("#zoom", { state: "attached" });
  return page;
}

async function check(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  found.violations.push(...violations.map(({ id, nodes }) => `${where}: ${id}: ${nodes.map(({ html }) => html).join(" ").slice(0, 300)}`));
}

/** A picture of the page, without times, which are those of the machine that it was taken on. */
async function shoot(page, name, fullPage = false) {
  const style = "#figures :is(th, td):nth-child(n + 5) { display: none }";
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png`, fullPage, style });
}

/** Waits until nothing is going on, and gives the rows of figures. */
async function done(page) {
  await page.waitForFunction(() => document.querySelector("#status").hidden && (!document.querySelector("#work").hidden || !document.querySelector("#error").hidden));
  return page.$$eval("#figures tbody tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
}

/** Moves a slider, as somebody does. */
async function range(page, id, value) {
  await page.$eval(id, (slider, to) => {
    slider.value = to;
    for (const name of ["input", "change"]) slider.dispatchEvent(new Event(name));
  }, value); // prettier-ignore
}

const shown = (page) => page.$eval(".pane:nth-child(2) img", (image) => image.src);

try {
  const desktop = await open({ colorScheme: "light" });
  await check(desktop, "empty");
  found.samples = await desktop.$$eval("[data-sample]", (buttons) => Promise.all(buttons.map(async ({ dataset, textContent }) => {
    const { width, height } = await createImageBitmap(await (await fetch(dataset.sample)).blob());
    return [textContent, dataset.sample, width, height];
  })));
  await desktop.click(CAT);
  await desktop.waitForFunction(() => document.querySelector("#share").textContent.includes("MB"));
  found.loading = await desktop.textContent("#share");
  found.first = await done(desktop);
  await check(desktop, "light");
  await desktop.$eval("#viewer", (box) => box.focus());
  for (const key of ["+", "+", "+", "+", "ArrowUp"]) await desktop.keyboard.press(key);
  found.zoom = await desktop.textContent("#zoom");
  await desktop.evaluate(() => scrollTo(0, 0));
  await shoot(desktop, "web-desktop");
  await desktop.check("[value=grid]");
  found.panes = await desktop.$$eval(".pane b", (labels) => labels.map((label) => label.textContent));
  await check(desktop, "side by side");
  await shoot(desktop, "web-side-by-side", true);
  await desktop.check("[value=slider]");

  const before = await shown(desktop);
  await desktop.selectOption("#seeds", "16");
  await desktop.click("#map");
  await desktop.waitForFunction(() => document.querySelector("#doing").textContent.startsWith("Drawing seed 2"));
  await desktop.click("#stop");
  await done(desktop);
  found.stopped = await desktop.textContent("#legend-text");
  found.focus = await desktop.evaluate(() => document.activeElement.id);
  await check(desktop, "a map");
  if (pictures) {
    await desktop.selectOption("#seeds", "8");
    await desktop.click("#map");
    await done(desktop);
    await desktop.selectOption("#left", "regrain");
    await desktop.evaluate(() => document.querySelector("#work").scrollIntoView());
    await shoot(desktop, "web-map");
    await desktop.selectOption("#left", "original");
  }
  await desktop.selectOption("#right", "regrain");
  await desktop.selectOption("#steps", "2");
  await done(desktop);
  const drawn = await shown(desktop);
  await desktop.click("#again");
  await done(desktop);
  found.seeds = [await desktop.inputValue("#seed"), before !== drawn, drawn !== (await shown(desktop))];
  await range(desktop, "#realism", "0");
  found.realism = [await desktop.textContent("#realism-value"), await done(desktop)];
  found.nothing = [await desktop.isDisabled("#map"), await desktop.textContent("#map-note")];
  for (const id of ["save-rgn", "save-png"]) {
    const download = desktop.waitForEvent("download");
    await desktop.click(`#${id}`);
    const file = await download;
    found.downloads.push([file.suggestedFilename(), (await readFile(await file.path())).length]);
  }

  await desktop.setInputFiles("#file", rgn);
  await desktop.waitForFunction(() => document.querySelector("#quality-control").hidden);
  await done(desktop);
  await desktop.click("#inspect summary");
  found.inspection = await desktop.textContent("#inspect");
  await check(desktop, "a file alone");
  await desktop.selectOption("#seeds", "4");
  await range(desktop, "#realism", "1");
  await done(desktop);
  await desktop.click("#map");
  await done(desktop);
  found.map = await desktop.textContent("#legend");
  const download = desktop.waitForEvent("download");
  await desktop.click("#save-map");
  const saved = await download;
  found.downloads.push([saved.suggestedFilename(), [...(await readFile(await saved.path())).subarray(16, 24)]]);
  await desktop.selectOption("#right", "regrain");
  await desktop.setInputFiles("#file", { name: "broken.rgn", mimeType: "", buffer: (await readFile(rgn)).subarray(0, 60) });
  await desktop.waitForSelector("#error:not([hidden])");
  found.error = await desktop.textContent("#error");
  await check(desktop, "an error");

  const phone = await open({ colorScheme: "dark", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true });
  await phone.click(CAT);
  await done(phone);
  await check(phone, "dark, phone");
  found.overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await phone.evaluate(() => document.querySelector("#work").scrollIntoView());
  await shoot(phone, "web-phone-dark");

  const [other, errors] = [await open({}, ["**/avif-*.bin", "**/*denoiser*"]), found.errors.splice(0)];
  await other.setInputFiles("#file", { name: "small.png", mimeType: "image/png", buffer: await readFile(rgn.replace(/rgn$/, "png")) });
  await other.waitForSelector("#error:not([hidden])");
  found.weights = await other.textContent("#error");
  await other.unroute("**/*denoiser*");
  await other.setInputFiles("#file", { name: "small.png", mimeType: "image/png", buffer: await readFile(rgn.replace(/rgn$/, "png")) });
  found.without = await done(other);
  found.missing = await other.textContent("#missing");
  await check(other, "without AVIF");
  process.stdout.write(JSON.stringify({ ...found, errors }));
} finally {
  await browser.close();
  server.close();
}
