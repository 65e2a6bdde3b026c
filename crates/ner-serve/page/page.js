// The page of `medner serve`. Plain script: no library, requests only to this server.
"use strict";

const byId = (id) => document.getElementById(id);

// ---- Positions: the server counts Unicode characters, JavaScript strings count UTF-16 units. ----

/** UTF-16 index of each character of `text`, and of its end; null if both counts are equal. */
function unitsOfCharacters(text) {
  if (!/[\ud800-\udbff]/.test(text)) return null;
  const units = new Uint32Array(text.length + 1);
  let count = 0;
  let unit = 0;
  for (const character of text) {
    units[count++] = unit;
    unit += character.length;
  }
  units[count] = unit;
  return units.subarray(0, count + 1);
}

/** Assigns mentions (sorted by start) lines from 0, so that overlapping ones have different lines. */
function levelsOf(mentions) {
  const ends = [];
  return mentions.map(({ from, to }) => {
    let level = ends.findIndex((end) => end <= from);
    if (level < 0) level = ends.length;
    ends[level] = to;
    return level;
  });
}

/** Cuts text into pieces of about `size` units that end after a line break. A longer line is one piece. */
function piecesOf(text, size) {
  const pieces = [];
  let from = 0;
  while (from < text.length) {
    let to = text.length;
    if (to - from > size) {
      const early = text.lastIndexOf("\n", from + size);
      const at = early >= from ? early : text.indexOf("\n", from + size);
      if (at >= 0) to = at + 1;
    }
    pieces.push([from, to]);
    from = to;
  }
  return pieces;
}

// ---- State ----

const state = {
  text: "", // as it was annotated
  source: null, // the file as read, until edited: a text area would change its line ends
  mentions: [], // with from, to (units), level, category, filters, cue, marks
  items: [], // mentions and cues, by start
  categories: [], // filters: { name, classes, title, isShown, count }
  assertions: [], // filters, with the label in the text
  lit: null, // the cue that is highlighted
  least: 0,
  models: [],
  pieces: new Map(), // marks of each block, and the number of the filter they show
  near: new Set(), // blocks on the screen
  filter: 0, // number of the filter
  building: 0, // number of the text being built
  run: 0, // number of the last request, so that late responses are ignored
  current: -1,
  rows: 0,
};

const PIECE = 4000; // units
const ROWS = 200;
const REST_MS = 120; // pause of the slider after which the table is updated
const FRAME_MS = 10; // maximum time to build at once, so that a long text does not block
const COLOURS = 7;
const LINES = 6;
const LEVELS = 5;

/** Names of the assertions, and the labels of what is not simply present. */
const VALUES = {
  present: ["present"],
  absent: ["absent", "absent"],
  possible: ["possible", "possible"],
  conditional: ["conditional", "when"],
  hypothetical: ["hypothetical", "if"],
  associated_with_someone_else: ["someone else", "someone else"],
};
const HISTORICAL = ["historical", "history"];
const UNASSERTED = ["without assertion"];

const isShown = (mention) => mention.confidence >= state.least && mention.filters.every((filter) => filter.isShown);
const shown = () => state.mentions.filter(isShown);

// ---- Requests ----

async function ask(path, body) {
  const headers = {};
  const token = byId("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ title: `The server responded with status ${response.status}` }));
  if (response.status === 401) {
    byId("token-row").hidden = false;
    byId("token").focus();
  }
  throw new Error(problem.detail ? `${problem.title}: ${problem.detail}` : problem.title);
}

function say(message, isError) {
  byId("status").textContent = message;
  byId("status").classList.toggle("error", Boolean(isError));
}

async function loadModels() {
  try {
    const { models, version } = await (await ask("v1/models")).json();
    state.models = models;
    byId("models-line").textContent = `${models.length === 1 ? `${models[0].name} · ` : ""}version ${version}`;
    const box = byId("models");
    box.querySelectorAll("label").forEach((label) => label.remove());
    for (const model of models) {
      const label = document.createElement("label");
      const check = document.createElement("input");
      check.type = "checkbox";
      check.checked = true;
      check.value = model.name;
      label.append(check, model.name);
      label.title = model.types.join(", ");
      box.append(label);
    }
    box.hidden = models.length < 2;
    if (byId("status").classList.contains("error")) say("");
  } catch (error) {
    say(error.message, true);
  }
}

function wantedModels() {
  const checked = [...byId("models").querySelectorAll("input:checked")].map((check) => check.value);
  return checked.length === state.models.length ? undefined : checked;
}

async function annotate() {
  const text = (state.source ?? byId("text").value).toWellFormed();
  const run = ++state.run;
  if (!text.trim()) return say("Enter a text first.");
  const models = wantedModels();
  if (models?.length === 0) return say("Choose at least one model.", true);
  byId("annotate").disabled = true;
  say("Annotating …");
  const begin = performance.now();
  try {
    const answer = await (await ask("v1/annotate", { text, models })).json();
    if (run !== state.run) return;
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    show(text, answer.documents[0].mentions);
    say(`Done in ${seconds} s.`);
  } catch (error) {
    if (run === state.run) say(error.message, true);
  } finally {
    byId("annotate").disabled = false;
  }
}

// ---- Results ----

function show(text, found) {
  const units = unitsOfCharacters(text);
  const unit = (position) => (units ? units[position] : position);
  const names = new Map();
  const [assertions, cues] = [new Map(), new Map()];
  const mentions = found.map((mention) => ({ ...mention, from: unit(mention.start), to: unit(mention.end), marks: [] }));
  const filterOf = (filters, [name, label]) => {
    if (!filters.has(name)) filters.set(name, { name, label, classes: [], count: 0, isShown: true });
    return filters.get(name);
  };
  for (const mention of mentions) {
    const { assertion, category, type } = mention;
    mention.category = filterOf(names, [category ?? type]);
    (mention.category.types ??= new Set()).add(type);
    mention.filters = [mention.category, filterOf(assertions, assertion ? VALUES[assertion.value] : UNASSERTED)];
    if (assertion?.historical) mention.filters.push(filterOf(assertions, HISTORICAL));
    const cue = assertion?.cue;
    if (!cue) continue;
    const place = `${cue.start} ${cue.end}`;
    // A cue is inside all marks of mentions.
    if (!cues.has(place)) cues.set(place, { from: unit(cue.start), to: unit(cue.end), level: -1, isCue: true, marks: [] });
    mention.cue = cues.get(place);
  }
  for (const filter of assertions.values()) filter.classes.push(filter.name.replace(" ", "-"));
  // By name, so that a category keeps its colour in the next text with the same models.
  const all = new Set(state.models.flatMap((model) => model.types.map((type) => model.categories[type] ?? type)));
  const order = [...all].sort();
  for (const category of names.values()) {
    const at = Math.max(order.indexOf(category.name), 0);
    category.classes = ["swatch", `k${at % COLOURS}`, `s${at % LINES}`];
    category.title = [...category.types].join(", ");
  }
  levelsOf(mentions).forEach((level, at) => { mentions[at].level = level; });
  state.text = text;
  state.mentions = mentions;
  state.items = [...mentions, ...cues.values()].sort((a, b) => a.from - b.from);
  state.categories = [...names.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const inOrder = [...Object.values(VALUES), HISTORICAL, UNASSERTED].map(([name]) => assertions.get(name));
  const hasAssertions = assertions.size > Number(assertions.has(UNASSERTED[0]));
  state.assertions = hasAssertions ? inOrder.filter(Boolean) : [];
  state.lit = null;
  state.current = -1;
  byId("details").textContent = "";
  byId("result").hidden = false;
  byId("assertions").hidden = !hasAssertions;
  byId("table").classList.toggle("plain", !hasAssertions);
  byId("table").classList.toggle("unlinked", !mentions.some(({ concepts }) => concepts));
  buildLegend(byId("legend"), state.categories);
  buildLegend(byId("assertions"), state.assertions);
  buildNote();
  refreshAll();
}

function buildLegend(box, filters) {
  box.querySelectorAll("label, span.none").forEach((label) => label.remove());
  for (const filter of filters) {
    const label = document.createElement("label");
    const check = document.createElement("input");
    check.type = "checkbox";
    check.checked = true;
    check.addEventListener("change", () => {
      filter.isShown = check.checked;
      refreshAll();
    });
    const swatch = document.createElement("span");
    swatch.className = filter.classes.join(" ");
    swatch.textContent = filter.name;
    label.append(check, swatch);
    if (filter.label && filter.label !== filter.name) label.append(tag(filter));
    filter.counter = document.createElement("span");
    filter.counter.className = "quiet";
    label.append(filter.counter);
    label.title = filter.title ?? "";
    box.append(label);
  }
  if (filters.length === 0) {
    const none = document.createElement("span");
    none.className = "none";
    none.textContent = "No entities found.";
    box.append(none);
  }
}

/** The label of an assertion. */
function tag({ label }) {
  const tag = document.createElement("span");
  tag.className = "said";
  tag.textContent = label;
  return tag;
}

/** Builds the text piece by piece, a few milliseconds at a time, so that the first screen appears at once. */
function buildNote() {
  const run = ++state.building;
  const note = byId("note");
  note.replaceChildren();
  note.scrollTop = 0;
  state.pieces.clear();
  state.near.clear();
  watcher.disconnect();
  const pieces = piecesOf(state.text, PIECE);
  const byStart = state.items;
  let next = 0;
  let open = [];
  let at = 0;
  const step = () => {
    if (run !== state.building) return;
    const until = performance.now() + FRAME_MS;
    const built = document.createDocumentFragment();
    while (at < pieces.length && performance.now() < until) {
      const [from, to] = pieces[at++];
      while (next < byStart.length && byStart[next].from < to) open.push(byStart[next++]);
      const piece = buildPiece(from, to, open);
      built.append(piece);
      watcher.observe(piece);
      open = open.filter((mention) => mention.to > to);
    }
    note.append(built);
    if (at < pieces.length) requestAnimationFrame(step);
    else note.dataset.done = String(pieces.length);
  };
  delete note.dataset.done;
  step();
}

/** Builds one piece: segments between the borders of mentions and cues, inside a mark for each that covers them. */
function buildPiece(from, to, items) {
  const piece = document.createElement("div");
  const marks = [];
  state.pieces.set(piece, { marks, filter: state.filter });
  const borders = new Set([from, to]);
  for (const item of items) {
    borders.add(Math.max(item.from, from));
    borders.add(Math.min(item.to, to));
  }
  const sorted = [...borders].sort((a, b) => a - b);
  let next = 0;
  let over = [];
  for (let at = 0; at + 1 < sorted.length; at++) {
    const [start, end] = [sorted[at], sorted[at + 1]];
    over = over.filter((item) => item.to > start);
    while (next < items.length && items[next].from <= start) {
      if (items[next].to > start) over.push(items[next]);
      next++;
    }
    // The line break at the end of a piece is implied by its block.
    let text = state.text.slice(start, end).replace(/\r\n?/g, "\n");
    if (end === to && text.endsWith("\n")) text = text.slice(0, -1);
    let inner = document.createTextNode(text);
    // The lowest line is the outermost mark.
    for (const item of [...over].sort((a, b) => a.level - b.level)) {
      const mark = document.createElement(item.isCue ? "span" : "mark");
      mark.append(inner);
      item.marks.push(mark);
      inner = mark;
      if (item.isCue) {
        mark.className = "cue";
        continue;
      }
      const said = item.filters.slice(1);
      mark.className = ["seg", `l${Math.min(item.level, LEVELS - 1)}`, ...item.filters.flatMap((filter) => filter.classes)].join(" ");
      if (item.to === end) {
        mark.classList.add("last");
        mark.append(...said.filter((filter) => filter.label).map(tag));
      }
      if (!isShown(item)) mark.classList.add("off");
      mark.dataset.type = item.type;
      mark.title = describe(item);
      owners.set(mark, item);
      marks.push([mark, item]);
    }
    piece.append(inner);
  }
  return piece;
}

/** The mention of each mark. */
const owners = new WeakMap();

function describe(mention) {
  const { start, end, type, category, confidence, models, assertion, section, long_form, concepts } = mention;
  const kind = category.name === type ? type : `${type} (${category.name})`;
  const parts = [`${kind}, confidence ${confidence.toFixed(2)}, ${start}–${end}, ${models.join(", ")}`];
  if (assertion) parts.push(assertionOf(mention) + (assertion.cue ? `, because of “${assertion.cue.text}”` : ""));
  if (section) parts.push(`section ${sectionOf(mention)}`);
  if (long_form) parts.push(`short for ${long_form.text}`);
  if (concepts) parts.push(`means ${conceptsOf(mention)} (score ${scoreOf(mention)})`);
  return parts.join("; ");
}

/** What the text says of a mention, in words: `possible, historical`. */
function assertionOf({ assertion, filters }) {
  return assertion ? filters.slice(1).map((filter) => filter.name).join(", ") : "";
}

/** The concepts that a mention is linked to: `D006333 Heart Failure`. */
function conceptsOf({ concepts }) {
  return (concepts ?? []).map(({ id, name }) => `${id} ${name}`).join(", ");
}

/** The score of the worst link of a mention. */
function scoreOf({ concepts }) {
  return concepts ? Math.min(...concepts.map(({ score }) => score)) : "";
}

function sectionOf({ section }) {
  const words = (section?.name ?? "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Names a mention and highlights its cue; without one, the current mention. */
function point(mention = state.mentions[state.current]) {
  byId("details").textContent = mention ? `${mention.text}: ${describe(mention)}` : "";
  state.lit?.marks.forEach((mark) => mark.classList.remove("lit"));
  state.lit = mention?.cue ?? null;
  state.lit?.marks.forEach((mark) => mark.classList.add("lit"));
}

/** Applies the current filter to a block. */
function filterPiece(piece) {
  const facts = state.pieces.get(piece);
  if (!facts || facts.filter === state.filter) return;
  facts.filter = state.filter;
  for (const [mark, mention] of facts.marks) mark.classList.toggle("off", !isShown(mention));
}

/** Blocks apply the filter when they come near the screen: a long note has too many marks to change at once. */
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      state.near.add(target);
      filterPiece(target);
    } else {
      state.near.delete(target);
    }
  }
}, { root: byId("note"), rootMargin: "100%" });

/** After a filter changed. */
function refresh() {
  state.filter++;
  const filters = [...state.categories, ...state.assertions];
  for (const filter of filters) filter.count = 0;
  let count = 0;
  for (const mention of state.mentions) {
    if (mention.confidence >= state.least) mention.filters.forEach((filter) => filter.count++);
    if (isShown(mention)) count++;
  }
  state.near.forEach(filterPiece);
  for (const filter of filters) filter.counter.textContent = filter.count;
  byId("shown").textContent = `${count} of ${state.mentions.length} entities shown.`;
}

function refreshAll() {
  refresh();
  state.rows = ROWS;
  buildTable();
}

function buildTable() {
  const rows = document.createDocumentFragment();
  const all = shown();
  for (const mention of all.slice(0, state.rows)) {
    const row = document.createElement("tr");
    const jump = document.createElement("button");
    jump.type = "button";
    jump.textContent = mention.start;
    jump.title = "Show in the text";
    jump.addEventListener("click", () => goTo(mention));
    const cells = [jump, mention.end, mention.text, mention.type, mention.category.name, mention.confidence.toFixed(3),
      mention.models.join(", "), assertionOf(mention), mention.assertion?.cue?.text ?? "", sectionOf(mention),
      conceptsOf(mention), scoreOf(mention)];
    cells.forEach((content, at) => {
      const cell = document.createElement("td");
      if (at < 2 || at === 5) cell.className = "number";
      if (at > 6) cell.className = at > 9 ? "concept" : "context";
      cell.append(content instanceof Node ? content : String(content));
      row.append(cell);
    });
    rows.append(row);
  }
  byId("rows").replaceChildren(rows);
  byId("more").hidden = all.length <= state.rows;
  byId("more").textContent = `Show more rows (${Math.max(all.length - state.rows, 0)} left)`;
}

function goTo(mention) {
  state.mentions[state.current]?.marks.forEach((mark) => mark.classList.remove("here"));
  state.current = state.mentions.indexOf(mention);
  mention.marks.forEach((mark) => mark.classList.add("here"));
  mention.marks[0]?.scrollIntoView({ block: "center", behavior: "instant" });
  point(mention);
}

function step(by) {
  for (let at = state.current + by; at >= 0 && at < state.mentions.length; at += by) {
    if (isShown(state.mentions[at])) return goTo(state.mentions[at]);
  }
}

// ---- Copy and download the shown entities ----

/** The columns of `medner annotate --to csv`. */
const COLUMNS = ["document", "start", "end", "text", "entity_type", "category", "confidence", "models", "below_threshold",
  "assertion", "historical", "cue_start", "cue_end", "section", "concept_ids", "concept_names", "link_score",
  "concept_system"];

/** The category; null if the type has none. */
const categoryOf = ({ category, type }) => (category.name === type ? null : category.name);

function fields(mention) {
  const { start, end, text, type, confidence, models, assertion, section, concepts } = mention;
  const { value, historical, cue } = assertion ?? {};
  const all = ["text", start, end, text, type, categoryOf(mention), confidence, models.join("|"), false, value, historical,
    cue?.start, cue?.end, section?.name, concepts?.map(({ id }) => id).join("|"), concepts?.map(({ name }) => name).join("|"),
    scoreOf(mention), concepts?.[0].system];
  return all.map((field) => String(field ?? ""));
}

function csv() {
  // Spreadsheets would execute a cell that begins like a formula.
  const safe = (field) => (/^[=+\-@\t\r]/.test(field) ? `'${field}` : field);
  const quoted = (field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
  return [COLUMNS, ...shown().map((mention) => fields(mention).map(safe))].map((row) => row.map(quoted).join(",") + "\n").join("");
}

/** The format that `medner convert` reads. */
function jsonLine() {
  const mentions = shown().map((mention) => {
    const { start, end, text, type, confidence, models, assertion, section, long_form, concepts } = mention;
    return { start, end, text, type, category: categoryOf(mention), confidence, models, assertion, section, long_form, concepts };
  });
  return JSON.stringify({ id: "text", text: state.text, mentions }) + "\n";
}

/** Standoff annotation. As in brat, a mention across line ends becomes several fragments. */
function brat() {
  let [attributes, notes, concepts] = [0, 0, 0];
  const lines = shown().map((mention, at) => {
    const fragments = [];
    let from = mention.start;
    for (const part of mention.text.split(/([\r\n]+)/)) {
      const length = [...part].length;
      if (length > 0 && !/^[\r\n]/.test(part)) fragments.push(`${from} ${from + length}`);
      from += length;
    }
    const type = mention.type.replace(/\s/g, "_");
    const line = `T${at + 1}\t${type} ${fragments.join(";")}\t${mention.text.replace(/[\r\n]+/g, " ")}\n`;
    const { value, cue, historical } = mention.assertion ?? {};
    const said = { assertion: value, assertion_cue: cue && `${cue.start}-${cue.end}`, section: mention.section?.name };
    const more = Object.entries(said).filter(([, value]) => value).map(([name, value]) => {
      // Attributes have values of one word.
      return /\s/.test(value) ? `#${++notes}\t${name} T${at + 1}\t${value}\n` : `A${++attributes}\t${name} T${at + 1} ${value}\n`;
    });
    // A resource, a colon and an id of one word, as `medner annotate --to brat` writes them.
    for (const { id } of mention.concepts ?? []) {
      if (/\s/.test(id)) continue;
      more.push(`N${++concepts}\tReference T${at + 1} ${/^[^:]+:./.test(id) ? "" : "ID:"}${id}\t\n`);
    }
    if (historical) more.push(`A${++attributes}\thistorical T${at + 1}\n`);
    return line + more.join("");
  });
  return lines.join("");
}

/** Requests a corpus format from the server, with the filters of confidence and category. */
async function fromServer(format) {
  const categories = state.categories.filter((category) => category.isShown).map((category) => category.name);
  const response = await ask("v1/annotate", { text: state.text, models: wantedModels(), min_confidence: state.least, categories, format });
  const lost = response.headers.get("medner-lost-or-moved");
  const more = state.mentions.filter((mention) => mention.confidence >= state.least && mention.category.isShown).length - shown().length;
  const words = [];
  if (lost) words.push(`This format cannot express everything: ${lost} mentions or parts are changed or missing.`);
  if (more) words.push(`Hiding assertions has no effect on this format: the file holds ${more} entities that are hidden here.`);
  say(words.join(" "));
  return response.blob();
}

const FILES = {
  "json-lines": ["text.jsonl", () => jsonLine()],
  csv: ["text.csv", () => csv()],
  brat: ["text.ann", () => brat()],
  "bioc-xml": ["text.BioC.xml", () => fromServer("bioc-xml")],
  "bioc-json": ["text.BioC.json", () => fromServer("bioc-json")],
  pubtator: ["text.PubTator.txt", () => fromServer("pubtator")],
  conll: ["text.tsv", () => fromServer("conll")],
};

async function download(format) {
  const [name, contents] = FILES[format];
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([await contents()]));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    say(error.message, true);
  }
}

async function copy() {
  const clean = (field) => field.replace(/[\t\r\n]+/g, " ");
  const table = [COLUMNS, ...shown().map(fields)].map((row) => row.map(clean).join("\t") + "\n").join("");
  try {
    await navigator.clipboard.writeText(table);
  } catch {
    // Scripts have no clipboard over plain HTTP from another machine.
    const area = document.createElement("textarea");
    area.value = table;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say("Table copied to the clipboard.");
}

// ---- Colours ----

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Colours: ${theme}`;
  try {
    localStorage.setItem("medner-theme", theme);
  } catch { /* Not remembered then. */ }
}

function storedTheme() {
  try {
    const stored = localStorage.getItem("medner-theme");
    return THEMES.includes(stored) ? stored : "system";
  } catch {
    return "system";
  }
}

// ---- Input ----

const EXAMPLE = "History of present illness: 58-year-old woman admitted with chest pain and shortness of breath. No fever.\n"
  + "The ECG showed atrial fibrillation, and the chest x-ray possible pneumonia.\n"
  + "She was given aspirin 300 mg and metoprolol. She is to return if the chest pain worsens or she has bleeding.\n"
  + "Past medical history: hypertension, deep vein thrombosis.\n"
  + "Family history: mother with breast cancer.\n"
  + "(This text is fictitious.)\n";

function setText(text, source) {
  byId("text").value = text;
  state.source = source ?? null;
  showSize();
}

function showSize() {
  const length = byId("text").value.length;
  byId("size").textContent = length ? `${length.toLocaleString("en")} characters` : "";
}

async function openFile(file) {
  if (!file) return;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await file.arrayBuffer());
    setText(text, text);
    annotate();
  } catch {
    say("The file is not UTF-8 text.", true);
  }
}

function start() {
  setTheme(storedTheme());
  byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length]));
  byId("annotate").addEventListener("click", annotate);
  byId("example").addEventListener("click", () => { setText(EXAMPLE); annotate(); });
  byId("clear").addEventListener("click", () => {
    state.run++;
    setText("");
    byId("result").hidden = true;
    say("");
    byId("text").focus();
  });
  byId("file").addEventListener("change", (event) => {
    openFile(event.target.files[0]);
    event.target.value = "";
  });
  const text = byId("text");
  text.addEventListener("input", () => { state.source = null; showSize(); });
  text.addEventListener("dragover", (event) => { event.preventDefault(); text.classList.add("over"); });
  text.addEventListener("dragleave", () => text.classList.remove("over"));
  text.addEventListener("drop", (event) => {
    text.classList.remove("over");
    if (event.dataTransfer.files.length === 0) return;
    event.preventDefault();
    openFile(event.dataTransfer.files[0]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) annotate();
  });
  byId("note").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n") step(1);
    if (event.key === "p") step(-1);
  });
  byId("note").addEventListener("pointerover", (event) => point(owners.get(event.target.closest("mark:not(.off)"))));
  byId("note").addEventListener("pointerleave", () => point());
  let [frame, rest] = [0, 0];
  byId("least").addEventListener("input", (event) => {
    state.least = Number(event.target.value);
    byId("least-shown").textContent = state.least.toFixed(2);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(refresh);
    clearTimeout(rest);
    rest = setTimeout(refreshAll, REST_MS);
  });
  byId("labels").addEventListener("change", (event) => byId("note").classList.toggle("labels", event.target.checked));
  byId("more").addEventListener("click", () => { state.rows += ROWS; buildTable(); });
  byId("copy").addEventListener("click", copy);
  for (const button of byId("downloads").querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => download(button.dataset.format));
  }
  byId("token").addEventListener("change", loadModels);
  loadModels();
}

start();
