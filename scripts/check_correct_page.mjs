#!/usr/bin/env node
/*
Drives the page of `medner active annotate` in headless Chromium, by keyboard, as a new user would correct a batch.
`cargo xtask check pages` brings what it needs and runs it. By hand:

    npm install playwright-core && node scripts/check_correct_page.mjs MEDNER BATCH [--pictures FOLDER]

MEDNER is the program, BATCH a batch of `active select` that nobody has corrected yet, with three items or more, two
suggestions or more in the first of them, and two types or more. Chromium is the one at CHROMIUM (default /usr/bin/chromium).
The server is started here, and killed and started again in between. Checked are: accept, reject, change of type, ends by
word and by character, new mentions that overlap, undo, the same by mouse, a kill in the middle, a closed browser, two
windows, three annotators, agreement, adjudication, a token, colours, places in texts with characters beyond 16 bits, and that
nothing is asked of any other place and nothing breaks the content security policy. What the journal says is compared with
what the page shows. Exits with 1 at the first thing that is wrong. --pictures keeps screenshots.
*/

import { strict as assert } from "node:assert";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.cwd(), "x.js"))("playwright-core");

const [program, batch] = process.argv.slice(2);
const pictures = process.argv.includes("--pictures") ? process.argv[process.argv.indexOf("--pictures") + 1] : null;
if (pictures) mkdirSync(pictures, { recursive: true });

/** Starts the server; gives its process and its address. */
async function serve(port, options = [], env = {}) {
  const process_ = spawn(program, ["active", "annotate", batch, "--port", String(port), ...options], { env: { ...process.env, ...env } });
  let log = "";
  process_.stderr.on("data", (data) => { log += data; });
  const url = await new Promise((resolve, reject) => {
    process_.stdout.once("data", (line) => resolve(String(line).trim()));
    process_.once("exit", () => reject(new Error(log)));
  });
  return { process: process_, url, log: () => log };
}

const gone = (server, signal) => new Promise((resolve) => {
  server.process.removeAllListeners("exit");
  server.process.once("exit", resolve);
  server.process.kill(signal);
});

let server = await serve(0);
const port = Number(new URL(server.url).port);
const texts = readFileSync(join(batch, "exported.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
const complaints = [];
const asked = new Set();
let expectTrouble = false;

async function open(name) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 } });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && !expectTrouble && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => asked.add(new URL(request.url()).origin));
  await page.goto(server.url + (name ? `#${name}` : ""));
  if (name) await ready(page);
  return page;
}

const ready = (page) => page.waitForFunction(() => !document.getElementById("work").hidden && document.getElementById("saved").textContent === "Saved");
const picture = async (page, name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`) });
/** Presses keys and waits until what they did is saved and shown. */
async function press(page, ...keys) {
  for (const key of keys) await page.keyboard.press(key);
  await page.evaluate(() => doing);
}
const view = (page) => page.evaluate(() => ({
  at: state.at,
  last: state.last,
  chosen: state.chosen,
  entries: structuredClone(entries()),
  done: Boolean(item()?.done),
  selected: state.selected && slice(state.selected.from, state.selected.to),
  native: String(getSelection()),
  rows: [...document.querySelectorAll("#rows tr")].map((row) => row.cells[0].textContent),
  status: document.getElementById("status").textContent,
}));
const textOf = (at, { start, end }) => [...texts[at].text].slice(start, end).join("");
/** The page shows what it holds, and the marks stand over what they say. */
async function consistent(page) {
  const { at, entries, rows } = await view(page);
  assert.deepEqual(rows, entries.map((entry) => textOf(at, entry)));
  assert.equal(await page.evaluate(() => document.getElementById("text").textContent), texts[at].text);
  return entries;
}
const journal = (name) => readFileSync(join(batch, "corrections", `${name}.jsonl`), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
const live = (entries) => entries.filter(({ verdict }) => verdict !== "rejected").map(({ start, end, label }) => ({ start, end, label }));

// ---- A new user: a name, by keyboard. ----

let page = await open();
await page.waitForSelector("#who[open]");
await page.keyboard.type("Anna");
await picture(page, "who");
await page.keyboard.press("Enter");
await ready(page);
let now = await view(page);
assert.equal(now.at, 0);
assert.ok(now.entries.length >= 2, "the first item needs two suggestions");
assert.deepEqual(live(now.entries), texts[0].spans.map(({ start, end, label }) => ({ start, end, label })));
await consistent(page);
const [first, second] = now.entries;
assert.deepEqual(now.chosen, { start: first.start, end: first.end, label: first.label });
const types = await page.evaluate(() => state.types);
await picture(page, "begin");

// Accept, reject, undo, and accept after all.
await press(page, "a");
now = await view(page);
assert.equal(now.entries[0].verdict, "accepted");
assert.equal(now.chosen.start, second.start, "the next one is chosen");
await press(page, "r");
assert.equal((await view(page)).entries[1].verdict, "rejected");
await press(page, "Control+z");
now = await view(page);
assert.equal(now.entries[1].verdict, "open");
assert.equal(now.chosen.start, second.start, "what was undone is chosen");

// Another type, and back by the digit.
const other = types.findIndex((type) => type !== second.label);
await press(page, String(other + 1));
now = await view(page);
assert.deepEqual([now.chosen.label, now.entries.length], [types[other], texts[0].spans.length]);
await press(page, "u");

// Ends: by a word, by a character, and back.
await press(page, "n", "p");
await page.evaluate((start) => choose(entries().find((entry) => entry.start === start)), second.start);
const place = async () => { const { chosen } = await view(page); return [chosen.start, chosen.end]; };
const [start, end] = [second.start, second.end];
await press(page, "s");
assert.ok((await place())[0] < start);
await press(page, "d");
assert.deepEqual(await place(), [start, end]);
await press(page, "Shift+F");
assert.deepEqual(await place(), [start, end - 1]);
await press(page, "Shift+G");
assert.deepEqual(await place(), [start, end]);
await press(page, "Shift+D");
assert.deepEqual(await place(), [start + 1, end]);
await press(page, "u", "u", "u", "u", "u");
assert.deepEqual((await view(page)).entries[1], second, "undo brings back the suggestion, its confidence too");

// A new mention that overlaps others, drawn by keyboard from the word before the first one on.
const draw = ["Escape", "n", "ArrowLeft", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"];
await press(page, ...draw);
now = await view(page);
assert.equal(now.native, now.selected, "the browser shows what is selected");
assert.ok(now.selected.length > 3);
const drawn = now.selected;
await picture(page, "selected");
await press(page, "1");
now = await view(page);
assert.equal(textOf(0, now.chosen), drawn);
assert.ok(now.entries.some((entry) => entry !== now.chosen && entry.start < now.chosen.end && now.chosen.start < entry.end
  && (entry.start !== now.chosen.start || entry.end !== now.chosen.end)), "it overlaps another");
await consistent(page);
// And of the same words with another type, by its name.
await press(page, ...draw, "t");
await page.keyboard.type("Finding");
await press(page, "Enter");
await page.waitForFunction(() => state.types.includes("Finding") && state.chosen?.label === "Finding");
await picture(page, "overlap");
const before = live((await view(page)).entries);

// ---- kill -9 in the middle. ----

expectTrouble = true;
const saved = (await view(page)).last;
assert.equal(journal("anna").length - 1, saved, "every action is a line");
await gone(server, "SIGKILL");
await press(page, "a");
assert.match((await view(page)).status, /does not answer/);
await picture(page, "away");
server = await serve(port);
await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("The server answers again"), null, { timeout: 20_000 });
expectTrouble = false;
now = await view(page);
assert.deepEqual([now.last, live(now.entries)], [saved, before], "nothing saved is lost, and nothing else was done");

// A closed browser.
await page.context().close();
page = await open("anna");
assert.deepEqual(live((await view(page)).entries), before);

// ---- Two windows. ----

const twin = await open("anna");
await press(twin, "Enter");
assert.ok(await twin.evaluate(() => state.items[0].done));
expectTrouble = true;
await press(page, "a");
expectTrouble = false;
now = await view(page);
assert.match(now.status, /another window/);
assert.ok(now.done, "what the other window did is shown");
assert.equal(journal("anna").length - 1, now.last);
await twin.context().close();

// ---- The rest by keyboard, with a character beyond 16 bits where there is one. ----

await press(page, "o");
assert.equal((await view(page)).done, false);
await press(page, "u");
assert.equal((await view(page)).done, true);
await page.evaluate(() => go(1));
for (let at = 1; at < texts.length; at++) {
  now = await view(page);
  assert.equal(now.at, at);
  // The last word of each text, as the keyboard finds it.
  await press(page, "End");
  now = await view(page);
  assert.equal(now.native, now.selected);
  assert.ok(texts[at].text.trimEnd().endsWith(now.selected));
  if (now.entries.length > 0) await press(page, "Escape", "n");
  await consistent(page);
  await press(page, "Enter");
}
assert.match((await view(page)).status, /All items are done/);
const wide = texts.findIndex(({ text }) => /[\ud800-\udbff]/.test(text));
if (wide >= 0) {
  await page.evaluate((at) => go(at), wide);
  await press(page, "Escape", "Home");
  assert.equal((await view(page)).selected, [...new Intl.Segmenter("en", { granularity: "word" }).segment(texts[wide].text)][0].segment);
  await press(page, "1", "Shift+G", "u", "Escape");
  const entries = await consistent(page);
  const { mention } = journal("anna").findLast((line) => line.do === "add");
  assert.deepEqual(live(entries).filter(({ start }) => start === 0), [mention]);
  assert.ok(texts[wide].text.startsWith(textOf(wide, mention)));
  await picture(page, "wide");
}

// ---- By mouse: a second annotator. ----

await page.context().close();
page = await open("bert");
await page.click("#rows tr:nth-child(2)");
await page.click('#actions [data-key="r"]');
await page.evaluate(() => doing);
assert.equal((await view(page)).entries[1].verdict, "rejected");
await page.click('#actions [data-key="u"]');
await page.evaluate(() => doing);
assert.equal((await view(page)).entries[1].verdict, "open");
// A word is double-clicked, or drawn over; a mention is clicked.
const mark = page.locator("#text mark").first();
await mark.click();
now = await view(page);
assert.equal(now.chosen.start, first.start);
const words = await page.evaluate(() => {
  const free = state.words.filter((word) => !entries().some((entry) => entry.start < word.end && word.start < entry.end));
  const rect = ({ left, right, top, bottom }) => ({ left, right, y: (top + bottom) / 2 });
  return free.slice(0, 2).map((word) => ({ ...rect(rectOf(word)), text: slice(word.start, word.end) }));
});
await page.mouse.move(words[0].left + 2, words[0].y);
await page.mouse.down();
await page.mouse.move(words[1].right - 2, words[1].y, { steps: 4 });
await page.mouse.up();
now = await view(page);
assert.ok(now.selected.startsWith(words[0].text) && now.selected.endsWith(words[1].text), now.selected);
await page.click("#types button:nth-of-type(2)");
await page.evaluate(() => doing);
assert.equal((await view(page)).chosen.label, types[1]);
for (let at = 0; at < texts.length; at++) {
  await page.click("#done");
  await page.evaluate(() => doing);
}
assert.match((await view(page)).status, /All items are done/);
// A third leaves all as it was suggested.
const third = await open("carl");
for (let at = 0; at < texts.length; at++) await press(third, "Enter");
await third.context().close();

// ---- Agreement and adjudication. ----

await page.click("#agreement-button");
await page.waitForSelector("#agreement:not([hidden])");
assert.equal(await page.locator("#pairs tr").count(), 3);
assert.ok((await page.textContent("#differences")).includes("not"));
await picture(page, "agreement");
const told = JSON.parse(execFileSync(program, ["active", "agreement", batch, "--format", "json"], { stdio: ["ignore", "pipe", "ignore"] }));
assert.equal(told.pairs.length, 3);
assert.equal(await page.locator("#pairs tr:first-child td:nth-child(6)").textContent(), told.pairs[0].f1.toFixed(3));
assert.equal(await page.locator("#pairs tr:first-child td:nth-child(7)").textContent(), told.pairs[0].kappa.toFixed(3));
await page.click("#adjudicate");
await page.waitForFunction(() => state.name === "adjudicated");
await ready(page);
await picture(page, "adjudicate");
const disputed = told.differences.map(({ item }) => texts.findIndex(({ id }) => id === item));
const settled = new Map();
for (let at = 0; at < texts.length; at++) {
  now = await view(page);
  const open = now.entries.filter(({ verdict }) => verdict === "open");
  assert.equal(open.length > 0, disputed.includes(now.at));
  if (open.length > 0 && at === 0) {
    expectTrouble = true;
    await press(page, "Enter");
    expectTrouble = false;
    assert.match((await view(page)).status, /differences are still open/);
  }
  for (const entry of open) {
    await page.evaluate((entry) => choose(entry), entry);
    await press(page, entry.by.length > 1 ? "a" : "r");
  }
  settled.set(texts[now.at].id, live((await view(page)).entries));
  await press(page, "Enter");
}
assert.match((await view(page)).status, /All items are done/);

// ---- Looks. ----

const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const light = await ground();
await page.emulateMedia({ colorScheme: "dark" });
assert.notEqual(await ground(), light);
await page.evaluate(() => go(0));
await picture(page, "dark");
await page.emulateMedia({ colorScheme: "light" });
await page.keyboard.press("?");
await picture(page, "help");
await page.keyboard.press("Escape");
await page.setViewportSize({ width: 400, height: 800 });
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it is too wide for a phone");
await picture(page, "narrow");
await page.context().close();

// ---- A token. ----

await gone(server, "SIGTERM");
const log = server.log();
for (const { text } of texts) assert.ok(!log.includes(text.slice(0, 20)), "the log holds a text");
assert.ok(!log.includes("Finding") && !log.includes("anna"));
server = await serve(0, [], { MEDNER_TOKEN: "secret" });
expectTrouble = true;
page = await open();
await page.waitForSelector("#token-row:not([hidden])");
await page.fill("#token", "secret");
await page.fill("#annotator", "dora");
await page.press("#annotator", "Enter");
await ready(page);
expectTrouble = false;
assert.equal((await view(page)).entries.length, texts[0].spans.length);
await gone(server, "SIGTERM");

assert.equal([...asked].every((origin) => new URL(origin).hostname === "127.0.0.1"), true);
assert.deepEqual(complaints, []);
await browser.close();
console.log(JSON.stringify(Object.fromEntries(settled)));
console.error("the page is as it should be");
