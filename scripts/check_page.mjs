#!/usr/bin/env node
/*
Drives the page of `medner serve` in headless Chromium. `cargo xtask check pages` brings what it needs and runs it. By hand:

    npm install playwright-core && node scripts/check_page.mjs http://127.0.0.1:8642/ [--pictures FOLDER]

The server must run already, with models that find something in English medical text; with two or more, overlaps are
looked at as well. Chromium is the one at CHROMIUM (default /usr/bin/chromium). Checked are: highlights against the server's
answer for a text with characters beyond 16 bits, assertions and their cues, filters, slider, keys, copying, every download,
colours, a dropped file with Windows line ends, a note of 200 kB and how long it takes to filter it, and that nothing is asked
of any other place and nothing breaks the content security policy. Exits with 1 at the first thing that is wrong. --pictures
keeps screenshots.
*/

import { strict as assert } from "node:assert";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";

const { chromium } = createRequire(join(process.cwd(), "x.js"))("playwright-core");

const url = process.argv[2];
const pictures = process.argv.includes("--pictures") ? process.argv[process.argv.indexOf("--pictures") + 1] : null;
if (pictures) mkdirSync(pictures, { recursive: true });

const NOTE = `Discharge summary (invented)
👩🏽‍🔬 58-year-old woman, 𝒯ype 2 diabetes mellitus and hypertension. Admitted with chest pain.

Course: troponin normal, ECG with atrial fibrillation. She was given aspirin 300 mg and metoprolol; metformin was held
because of acute kidney injury after contrast. Liver and lungs without findings. 🫀 Heart failure was excluded.
There was no evidence of chronic pulmonary inflammation. The CT showed possible pulmonary vasculitis.
Plan: amiodarone only if the arrhythmia returns, as it may cause hypothyroidism. No fever, no nausea.
`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, acceptDownloads: true });
await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(url).origin });
const page = await context.newPage();
const complaints = [];
const asked = new Set();
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("request", (request) => asked.add(new URL(request.url()).origin));

/** What is on the screen with `top` at its upper edge: what is not on the screen is not painted. */
const picture = async (name, top = "header") => {
  if (!pictures) return;
  await page.evaluate((top) => document.querySelector(top).scrollIntoView({ block: "start" }), top);
  await page.waitForTimeout(200);
  await page.screenshot({ path: join(pictures, `${name}.png`) });
};
const done = () => page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Done"), null, { timeout: 300_000 });
const built = () => page.waitForFunction(() => document.getElementById("note").dataset.done !== undefined, null, { timeout: 60_000 });
const annotate = async (text) => {
  await page.evaluate((text) => {
    document.getElementById("status").textContent = "";
    const area = document.getElementById("text");
    area.value = text;
    area.dispatchEvent(new Event("input"));
  }, text);
  await page.press("#text", "Control+Enter");
  await done();
  await built();
};
const shownRows = () => page.locator("#rows tr").count();
/** Texts of the mentions as they are marked, without the labels of assertions. */
const marked = () => page.evaluate(() => {
  const bare = (node) => {
    const copy = node.cloneNode(true);
    copy.querySelectorAll(".said").forEach((label) => label.remove());
    return copy.textContent;
  };
  return state.mentions.map((mention) => mention.marks.map(bare).join(""));
});
/** The text as a reader selects and copies it. */
const selected = () => page.evaluate(() => {
  getSelection().selectAllChildren(document.getElementById("note"));
  const text = String(getSelection());
  getSelection().removeAllRanges();
  return text;
});
const download = async (format) => {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(`[data-format="${format}"]`)]);
  return readFileSync(await file.path(), "utf8");
};

await page.goto(url);
await page.waitForFunction(() => state.models.length > 0);
await picture("empty");

// Highlights.
await annotate(NOTE);
const answer = await page.evaluate(async (text) => (await ask("v1/annotate", { text })).json(), NOTE);
const mentions = answer.documents[0].mentions;
assert.ok(mentions.length > 5, "the models find too little in the note");
const characters = [...NOTE];
for (const { start, end, text } of mentions) assert.equal(characters.slice(start, end).join(""), text);
assert.deepEqual(await marked(), mentions.map((mention) => mention.text));
assert.equal((await selected()).trimEnd(), NOTE.trimEnd());
assert.equal(await shownRows(), mentions.length);
console.log(`${mentions.length} mentions, ${mentions.filter((m, at) => at && m.start < mentions[at - 1].end).length} overlap the one before`);
await page.check("#labels");
await picture("light", "#result");

// Assertions.
const asserted = mentions.filter((mention) => mention.assertion);
const absent = asserted.filter((mention) => mention.assertion.value === "absent");
assert.ok(absent.length > 0, "the models find nothing in the note that is absent");
console.log(`assertions: ${asserted.map((mention) => mention.assertion.value).join(", ")}`);
const DECORATIONS = { absent: "line-through", possible: "underline" };
assert.deepEqual(
  await page.evaluate(() => state.mentions.map(({ marks }) => [...new Set(marks.map((mark) => getComputedStyle(mark).textDecorationLine))])),
  mentions.map(({ assertion }) => [DECORATIONS[assertion?.value] ?? "none"]),
);
const LABELS = { present: [], absent: ["absent"], possible: ["possible"], conditional: ["when"], hypothetical: ["if"], associated_with_someone_else: ["someone else"] };
const labels = ({ assertion }) => (assertion ? [...LABELS[assertion.value], ...(assertion.historical ? ["history"] : [])] : []);
assert.deepEqual(
  await page.evaluate(() => state.mentions.map(({ marks }) => marks.flatMap((mark) =>
    [...mark.children].filter((child) => child.className === "said" && child.checkVisibility()).map((label) => label.textContent)))),
  mentions.map(labels),
);
for (const mention of asserted.filter(({ assertion }) => assertion.cue)) {
  const { text } = mention.assertion.cue;
  // Of nested mentions, the innermost is under the pointer.
  const handle = await page.evaluateHandle((start) => state.mentions.find((mention) => mention.start === start).marks.at(-1), mention.start);
  if (await handle.evaluate((mark) => mark.querySelector("mark") !== null)) continue;
  await handle.hover();
  assert.equal(await page.evaluate(() => [...document.querySelectorAll(".cue.lit")].map((piece) => piece.textContent).join("")), text);
  assert.ok((await page.textContent("#details")).includes(`because of “${text}”`));
}
await page.hover("h1");
assert.equal(await page.locator(".cue.lit").count(), 0);
const box = (name) => page.locator("#assertions label").filter({ hasText: name }).locator("input");
await box("absent").uncheck();
assert.equal(await shownRows(), mentions.length - absent.length);
assert.equal(await page.locator("mark.absent.off").count() > 0, true);
assert.equal(await page.locator("mark.absent .said:visible").count(), 0);
assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector("mark.absent.off")).textDecorationLine), "none");
// The server writes this format, and does not know of the filter.
await download("pubtator");
assert.ok((await page.textContent("#status")).includes(`${absent.length} entities that are hidden here`));
await box("absent").check();
const first = absent.reduce((one, other) => (one.confidence < other.confidence ? other : one));
const section = first.section?.name ?? "";
const row = page.locator("#rows tr").filter({ has: page.getByRole("button", { name: String(first.start), exact: true }) });
assert.deepEqual(await row.locator("td.context").allTextContents(),
  [labels(first).join(", ").replace("history", "historical"), first.assertion.cue.text, section.replace(/^./, (letter) => letter.toUpperCase()).replaceAll("_", " ")]);

// Filters and slider.
const categories = page.locator("#legend input");
const before = await shownRows();
await categories.first().focus();
await page.keyboard.press("Space");
const without = await shownRows();
assert.ok(without < before);
assert.equal(await page.locator("mark.off").count() > 0, true);
await categories.first().check();
const middle = mentions.map((mention) => mention.confidence).sort()[Math.floor(mentions.length / 2)];
const sure = Math.floor(100 * Math.min(middle, first.confidence)) / 100;
await page.locator("#least").fill(String(sure));
const expected = mentions.filter((mention) => mention.confidence >= sure).length;
await page.waitForFunction((count) => document.querySelectorAll("#rows tr").length === count, expected);
const { cue, historical } = first.assertion;
for (const [format, check] of Object.entries({
  "json-lines": (text) => {
    const written = JSON.parse(text).mentions;
    assert.equal(written.length, expected);
    assert.deepEqual(written.find((mention) => mention.start === first.start).assertion, first.assertion);
  },
  csv: (text) => {
    const [head, ...lines] = text.trimEnd().split("\n");
    assert.equal(lines.length, expected);
    assert.equal(head, "document,start,end,text,entity_type,category,confidence,models,below_threshold,assertion,historical,cue_start,cue_end,section,concept_ids,concept_names,link_score,concept_system");
    const line = lines.find((line) => line.startsWith(`text,${first.start},${first.end},`));
    assert.ok(line.endsWith(`,false,absent,${historical},${cue.start},${cue.end},${section},,,,`), line);
  },
  brat: (text) => {
    assert.equal(text.split("\n").filter((line) => line.startsWith("T")).length, expected);
    assert.match(text, new RegExp(`A\\d+\tassertion T\\d+ absent\nA\\d+\tassertion_cue T\\d+ ${cue.start}-${cue.end}\n`));
  },
  "bioc-xml": (text) => assert.equal(text.split("<annotation ").length, expected + 1),
  "bioc-json": (text) => assert.equal(JSON.parse(text).documents[0].passages.flatMap((p) => p.annotations).length, expected),
  pubtator: (text) => assert.ok(text.startsWith("1|t|")),
  conll: (text) => assert.ok(text.includes("\tB-")),
})) {
  check(await download(format));
}
await page.click("#copy");
assert.equal((await page.evaluate(() => navigator.clipboard.readText())).trimEnd().split("\n").length, expected + 1);
await page.locator("#least").fill("0");

// Keys.
await page.focus("#note");
await page.keyboard.press("n");
await page.keyboard.press("n");
await page.keyboard.press("p");
assert.equal(await page.evaluate(() => state.current), 0);
assert.ok((await page.textContent("#details")).startsWith(mentions[0].text));

// Colours.
const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const light = await ground();
await page.emulateMedia({ colorScheme: "dark" });
assert.notEqual(await ground(), light);
await page.click("#theme");
assert.equal(await ground(), light);
await page.click("#theme");
await page.emulateMedia({ colorScheme: "light" });
assert.notEqual(await ground(), light);
await picture("dark", "#result");
await page.click("#theme");
await page.setViewportSize({ width: 400, height: 800 });
await picture("narrow", "#result");
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it is too wide for a phone");
await page.setViewportSize({ width: 1100, height: 900 });

// A file, whose line ends a text area would change.
const windows = NOTE.replaceAll("\n", "\r\n");
const path = join(tmpdir(), "medner-check-page.txt");
writeFileSync(path, windows);
await page.evaluate(() => { document.getElementById("status").textContent = ""; });
await page.setInputFiles("#file", path);
await done();
await built();
const line = JSON.parse(await download("json-lines"));
assert.equal(line.text, windows);
for (const { start, end, text } of line.mentions) assert.equal([...windows].slice(start, end).join(""), text);

// Markup is text.
await annotate("<img src=x onerror=alert(1)> aspirin <b>fever</b>");
assert.equal(await page.locator("#note img, #note b, #rows img").count(), 0);

// A long note.
let long = "";
while (long.length < 200_000) long += NOTE;
const begin = performance.now();
await annotate(long);
const total = performance.now() - begin;
const times = await page.evaluate(async () => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  const slider = document.getElementById("least");
  const [filtered, scrolled] = [[], []];
  for (const value of [0.5, 0.9, 0.95, 0.99, 0]) {
    const begin = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
    await frame();
    filtered.push(performance.now() - begin);
  }
  const note = document.getElementById("note");
  for (let at = 0; at < 20; at++) {
    const begin = performance.now();
    note.scrollTop = (note.scrollHeight / 20) * at;
    await frame();
    scrolled.push(performance.now() - begin);
  }
  const rebuild = performance.now();
  buildNote();
  const first = performance.now() - rebuild;
  return { filtered: Math.max(...filtered), scrolled: Math.max(...scrolled), first, mentions: state.mentions.length };
});
await built();
console.log(`${long.length} characters: ${times.mentions} mentions, shown after ${(total / 1000).toFixed(1)} s with the server's work; `
  + `the script first holds the page for ${times.first.toFixed(0)} ms, the slider takes ${times.filtered.toFixed(0)} ms at most, scrolling ${times.scrolled.toFixed(0)} ms`);
assert.deepEqual((await marked()).length, times.mentions);
await picture("long", "#result");

assert.deepEqual([...asked], [new URL(url).origin]);
assert.deepEqual(complaints, []);
await browser.close();
console.log("the page is as it should be");
