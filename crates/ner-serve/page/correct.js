// The page of `medner active annotate`. Plain script: no library, requests only to this server.
"use strict";

const byId = (id) => document.getElementById(id);

// ---- State ----

const state = {
  batch: null, // response of GET v1/batch
  name: "",
  last: 0, // number of the last known action
  undo: null, // id of the item that undo changes
  items: [], // { done, entries } of each item; null if nobody finished it (adjudication)
  types: [],
  at: 0, // item on the screen
  chars: [], // its text by Unicode characters, the unit of the server
  words: [], // positions of its words, for keyboard and mouse
  clusters: [], // starts of grapheme clusters, and the end
  chosen: null, // position of the chosen mention
  here: null, // the mention shown as chosen
  selected: null, // { from, to, anchor, head }: characters, and the words at its ends
  leaves: [], // { node, start, end }: displayed pieces of text
  marks: new Map(), // marks of each displayed mention
  rows: new Map(), // row of each displayed mention
};

const COLOURS = 7;
const LINES = 6;
const LEVELS = 5;
const RETRY_MS = 2000;

const item = () => state.items[state.at];
const entries = () => item()?.entries ?? [];
const same = (a, b) => Boolean(a && b) && a.start === b.start && a.end === b.end && a.label === b.label;
const placeOf = ({ start, end, label }) => ({ start, end, label });
const chosenEntry = () => entries().find((entry) => same(entry, state.chosen)) ?? null;
const slice = (start, end) => state.chars.slice(start, end).join("");
const isAdjudication = () => state.name === state.batch.adjudicated;

function remembered(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key) ?? "";
    localStorage.setItem(key, value);
  } catch { /* Not remembered then. */ }
  return "";
}

// ---- Requests ----

/** The server rejected a request. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, body) {
  const headers = {};
  const token = byId("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({ title: `The server responded with status ${response.status}` }));
  throw new Refused(response.status, problem.detail ? `${problem.title}: ${problem.detail}` : problem.title);
}

function say(message, isError) {
  byId("status").textContent = message;
  byId("status").classList.toggle("error", Boolean(isError));
}

function saved(message, isError) {
  byId("saved").textContent = message;
  byId("saved").classList.toggle("error", Boolean(isError));
}

const mine = () => `v1/annotators/${encodeURIComponent(state.name)}`;

/** Loads the state from the server. */
async function reload() {
  const { last, undo, items } = await ask(mine());
  Object.assign(state, { last, undo, items });
  if (!chosenEntry()) state.chosen = null;
  show();
}

// Actions run one after the other, each after the previous result is shown, so that they act on what the user sees.
const asked = [];
let doing = Promise.resolve();
let isBusy = false;
let isAway = false;

function perform(run) {
  asked.push(run);
  if (!isBusy) doing = performAll();
}

async function performAll() {
  isBusy = true;
  while (asked.length > 0) await asked.shift()();
  isBusy = false;
}

/** Sends an action to the server, which applies and saves it, and shows the result; calls `then` before that. */
async function act(action, then) {
  if (!action || isAway) return;
  try {
    saved("Saving …");
    const before = state.items;
    const { last, undo, at, item } = await ask(`${mine()}/actions`, { after: state.last, ...action });
    Object.assign(state, { last, undo, items: before.with(at, item) });
    for (const { label } of item.entries) if (!state.types.includes(label)) state.types.push(label);
    say("");
    saved("Saved");
    then?.(at, before[at]);
    show();
  } catch (error) {
    await failed(error);
  }
}

async function failed(error) {
  if (error instanceof Refused) {
    saved(error.status === 409 || error.status >= 500 || error.status === 401 ? "Not saved" : "", true);
    if (error.status === 401) return begin(error.message);
    if (error.status !== 409) return say(error.message, true);
    await reload().catch(() => {});
    return say("Another action was saved in another window and is shown now. Your last action was not applied.", true);
  }
  saved("Not saved", true);
  say("The server does not answer; your last action may not be saved. The saved state appears once it answers.", true);
  isAway = true;
  setTimeout(returned, RETRY_MS);
}

async function returned() {
  try {
    await reload();
    isAway = false;
    say("The server answers again. The saved state is shown.");
    saved("Saved");
  } catch (error) {
    if (error instanceof Refused) return failed(error);
    setTimeout(returned, RETRY_MS);
  }
}

// ---- Words and positions ----

/** Positions of words and grapheme clusters, in Unicode characters. */
function cut(text) {
  const pieces = (granularity) => {
    const found = [];
    let at = 0;
    for (const { segment } of new Intl.Segmenter("en", { granularity }).segment(text)) {
      const end = at + [...segment].length;
      found.push({ start: at, end, segment });
      at = end;
    }
    return found;
  };
  state.words = pieces("word").filter(({ segment }) => segment.trim()).map(({ start, end }) => ({ start, end }));
  state.clusters = [...pieces("grapheme").map(({ start }) => start), state.chars.length];
}

/** Position of a mention's end after a step by a word or a character; null if there is none. */
function stepped(position, by, isStart, byCharacter) {
  const stops = byCharacter ? state.clusters : state.words.map(({ start, end }) => (isStart ? start : end));
  return by > 0 ? stops.find((stop) => stop > position) ?? null : stops.findLast((stop) => stop < position) ?? null;
}

/** Assigns mentions lines from 0, so that overlapping ones differ; the shorter one is nearer to the text. */
function levelsOf(places) {
  const lines = [];
  const levels = new Map();
  for (const place of [...places].sort((a, b) => a.end - a.start - (b.end - b.start))) {
    const isFree = (line) => line.every(({ start, end }) => place.end <= start || end <= place.start);
    let level = lines.findIndex(isFree);
    if (level < 0) level = lines.push([]) - 1;
    lines[level].push(place);
    levels.set(place, level);
  }
  return places.map((place) => levels.get(place));
}

/** Node and offset of a position, for the browser's selection. */
function nodeAt(position, isEnd) {
  const leaf = state.leaves.find(({ start, end }) => (isEnd ? start < position && position <= end : start <= position && position < end));
  return leaf && [leaf.node, slice(leaf.start, position).length];
}

/** Position of a node and an offset in it. */
function placeAt(node, offset) {
  const leaf = state.leaves.find((leaf) => leaf.node === node);
  if (leaf) return leaf.start + [...node.data.slice(0, offset)].length;
  // An element: the start of the first piece of text at or after its child, otherwise the end of the text before.
  const range = document.createRange();
  range.setStart(node, offset);
  const next = state.leaves.find((leaf) => range.comparePoint(leaf.node, 0) >= 0);
  return next ? next.start : state.chars.length;
}

// ---- Display ----

const classesOf = (label) => {
  const at = Math.max(state.types.indexOf(label), 0);
  return [`k${at % COLOURS}`, `s${at % LINES}`];
};

const SIGNS = { open: "?", accepted: "✓", rejected: "✗" };
const WORDS = { open: "open", accepted: "accepted", rejected: "rejected" };

function buildText() {
  const chosen = chosenEntry();
  const shown = entries().filter((entry) => entry.verdict !== "rejected" || entry === chosen);
  const levels = levelsOf(shown);
  const borders = new Set([0, state.chars.length]);
  for (const { start, end } of shown) borders.add(start).add(end);
  const sorted = [...borders].sort((a, b) => a - b);
  const built = document.createDocumentFragment();
  state.leaves = [];
  state.marks.clear();
  let [next, over] = [0, []];
  for (let at = 0; at + 1 < sorted.length; at++) {
    const [start, end] = [sorted[at], sorted[at + 1]];
    over = over.filter(({ entry }) => entry.end > start);
    for (; next < shown.length && shown[next].start <= start; next++) over.push({ entry: shown[next], level: levels[next] });
    // The same number of characters, so that positions stay valid.
    const node = document.createTextNode(slice(start, end).replace(/\r(?=\n)/g, "\u200b").replace(/\r/g, "\n"));
    state.leaves.push({ node, start, end });
    let inner = node;
    // The lowest line is the outermost mark.
    for (const { entry, level } of [...over].sort((a, b) => a.level - b.level)) {
      const mark = document.createElement("mark");
      mark.className = `seg l${Math.min(level, LEVELS - 1)} ${entry.verdict} ${classesOf(entry.label).join(" ")}`;
      if (entry.end === end) mark.classList.add("last");
      const marks = state.marks.get(entry) ?? [];
      state.marks.set(entry, marks);
      marks.push(mark);
      mark.dataset.type = entry.label;
      mark.dataset.sign = SIGNS[entry.verdict];
      mark.append(inner);
      inner = mark;
    }
    built.append(inner);
  }
  byId("text").replaceChildren(built);
}

function select() {
  const selection = getSelection();
  const { selected } = state;
  const [from, to] = selected ? [nodeAt(selected.from), nodeAt(selected.to, true)] : [];
  if (from && to) selection.setBaseAndExtent(...from, ...to);
  else if (byId("text").contains(selection.anchorNode)) selection.removeAllRanges();
}

function origin({ confidence, by }) {
  if (by?.length) return by.join(", ");
  return confidence === undefined ? "by hand" : `model, ${confidence.toFixed(2)}`;
}

function buildRows() {
  state.rows.clear();
  const rows = entries().map((entry) => {
    const row = document.createElement("tr");
    row.className = entry.verdict;
    state.rows.set(entry, row);
    const swatch = document.createElement("span");
    swatch.className = `swatch ${classesOf(entry.label).join(" ")}`;
    swatch.textContent = entry.label;
    const isDifference = isAdjudication() && entry.verdict === "open";
    const cells = [slice(entry.start, entry.end), swatch, `${entry.start}–${entry.end}`, origin(entry),
      `${SIGNS[entry.verdict]} ${isDifference ? "difference" : WORDS[entry.verdict]}`];
    cells.forEach((content, at) => {
      const cell = document.createElement("td");
      if (at === 2) cell.className = "number";
      if (at === 4 && isDifference) cell.className = "difference";
      cell.append(content);
      row.append(cell);
    });
    row.addEventListener("click", () => perform(() => choose(entry)));
    return row;
  });
  byId("rows").replaceChildren(...rows);
}

function buildTypes() {
  const chosen = chosenEntry();
  const buttons = state.types.map((type, at) => {
    const button = document.createElement("button");
    button.type = "button";
    const swatch = document.createElement("span");
    swatch.className = `swatch ${classesOf(type).join(" ")}`;
    swatch.textContent = type;
    button.append(swatch);
    if (at < 9) button.append(" ", key(String(at + 1)));
    button.disabled = !item();
    button.setAttribute("aria-pressed", String(chosen?.label === type));
    button.addEventListener("click", () => perform(() => give(type)));
    return button;
  });
  const other = document.createElement("button");
  other.type = "button";
  other.append("Another … ", key("t"));
  other.disabled = !item();
  other.addEventListener("click", askType);
  byId("types").replaceChildren("Type ", ...buttons, other);
}

function key(name) {
  const kbd = document.createElement("kbd");
  kbd.textContent = name;
  return kbd;
}

/** Describes the selection, also for screen readers. */
function describe() {
  const entry = chosenEntry();
  const { selected } = state;
  if (selected) return `Selected: “${slice(selected.from, selected.to)}”. Press a digit to make it a mention.`;
  if (!item()) return "Nobody has finished this item yet, so there is nothing to adjudicate.";
  if (entry) {
    const at = entries().indexOf(entry) + 1;
    return `“${slice(entry.start, entry.end)}”: ${entry.label}, ${WORDS[entry.verdict]}, ${origin(entry)}; ${at} of ${entries().length}.`;
  }
  const open = entries().filter(({ verdict }) => verdict === "open").length;
  const shown = entries().filter(({ verdict }) => verdict !== "rejected").length;
  return `${shown} mentions, ${open} of them open.${item().done ? " The item is done." : ""}`;
}

function show() {
  const { document: source, start, rank, score, id } = state.batch.items[state.at];
  const done = state.items.filter((item) => item?.done).length;
  byId("where").textContent = `${state.at + 1} of ${state.items.length}${item()?.done ? " ✓ done" : ""}`;
  byId("progress").max = state.items.length;
  byId("progress").value = done;
  byId("counts").textContent = `${done} of ${state.items.length} done`;
  const from = source === id ? "" : `, from ${source}, character ${start}`;
  byId("reason").textContent = `${id}${from}; rank ${rank}, score ${Number(score).toPrecision(3)}`;
  byId("reopen").hidden = !item()?.done;
  byId("done").disabled = !item();
  buildText();
  buildRows();
  point();
}

/** Shows the selection, if nothing else has changed. */
function point() {
  const chosen = chosenEntry();
  for (const button of byId("actions").querySelectorAll("[data-key]")) {
    const needs = "arsdfg".includes(button.dataset.key);
    const hasPlace = Boolean(chosen) || ("sdfg".includes(button.dataset.key) && Boolean(state.selected));
    if (needs) button.disabled = !hasPlace;
    if (button.dataset.key === "u") button.disabled = !state.undo;
  }
  for (const mark of state.marks.get(state.here) ?? []) mark.classList.remove("here");
  state.rows.get(state.here)?.classList.remove("here");
  state.rows.get(state.here)?.removeAttribute("aria-current");
  state.here = chosen;
  for (const mark of state.marks.get(chosen) ?? []) mark.classList.add("here");
  state.rows.get(chosen)?.classList.add("here");
  state.rows.get(chosen)?.setAttribute("aria-current", "true");
  buildTypes();
  byId("said").textContent = describe();
  select();
  state.marks.get(chosen)?.[0].scrollIntoView({ block: "nearest", behavior: "instant" });
  state.rows.get(chosen)?.scrollIntoView({ block: "nearest", behavior: "instant" });
  if (byId("work").hidden) return;
  // A focused button that is now disabled would swallow keys.
  if (!document.activeElement || document.activeElement === document.body || document.activeElement.disabled) {
    byId("text").focus({ preventScroll: true });
  }
}

/** Goes to an item; chooses its first open mention, if any. */
function go(at) {
  state.at = Math.min(Math.max(at, 0), state.items.length - 1);
  const { text } = state.batch.items[state.at];
  state.chars = [...text];
  cut(text);
  state.selected = null;
  const first = entries().find(({ verdict }) => verdict === "open");
  state.chosen = first ? placeOf(first) : null;
  history.replaceState(null, "", `#${state.name}/${state.at + 1}`);
  byId("text").scrollTop = 0;
  show();
}

// ---- Actions ----

function choose(entry) {
  // A rejected mention is shown only while chosen.
  const isRejected = [chosenEntry(), entry].some((entry) => entry?.verdict === "rejected");
  state.selected = null;
  state.chosen = entry && placeOf(entry);
  if (isRejected) show();
  else point();
}

/** The next mention after the chosen one or the selection. */
function stepMention(by) {
  const all = entries();
  const from = chosenEntry();
  let at = from ? all.indexOf(from) + by : by > 0 ? 0 : all.length - 1;
  if (!from && state.selected) {
    const behind = all.findIndex(({ start }) => start >= state.selected.from);
    at = by > 0 ? behind : (behind < 0 ? all.length : behind) - 1;
  }
  if (all[at]) choose(all[at]);
}

const itemId = () => state.batch.items[state.at].id;

function judge(verdict) {
  const entry = chosenEntry();
  return act(entry && { item: itemId(), do: verdict, mention: placeOf(entry) }, () => {
    const all = entries();
    const next = all[all.indexOf(chosenEntry()) + 1];
    if (next) state.chosen = placeOf(next);
  });
}

/** Sets the type of the chosen mention, or makes the selection a mention. */
function give(label) {
  const { selected } = state;
  const entry = chosenEntry();
  if (!selected && !entry) return say("Choose a mention or words first.");
  const to = selected ? { start: selected.from, end: selected.to, label } : { ...placeOf(entry), label };
  let action = { do: "change", mention: entry && placeOf(entry), to };
  if (selected) action = { do: "add", mention: to };
  else if (entry.label === label) action = { do: "accept", mention: to };
  return act({ item: itemId(), ...action }, () => {
    state.selected = null;
    state.chosen = to;
  });
}

function moveEnd(isStart, by, byCharacter) {
  const moved = (start, end) => {
    const stop = stepped(isStart ? start : end, by, isStart, byCharacter);
    const place = isStart ? { start: stop, end } : { start, end: stop };
    return stop !== null && place.start < place.end ? place : null;
  };
  if (state.selected) {
    const place = moved(state.selected.from, state.selected.to);
    if (place) state.selected = { ...state.selected, from: place.start, to: place.end };
    return point();
  }
  const entry = chosenEntry();
  const place = entry && moved(entry.start, entry.end);
  if (!place) return;
  const to = { ...place, label: entry.label };
  return act({ item: itemId(), do: "change", mention: placeOf(entry), to }, () => { state.chosen = to; });
}

function finish() {
  return act(item() && { item: itemId(), do: "done" }, () => {
    const left = (at) => state.items[at] && !state.items[at].done;
    const places = [...state.items.keys()];
    const next = [...places.slice(state.at + 1), ...places].find(left);
    if (next === undefined) {
      state.chosen = null;
      return say("All items are done. Add them with `medner active add`.");
    }
    go(next);
  });
}

function reopen() {
  return act(item()?.done && { item: itemId(), do: "reopen" });
}

function undo() {
  if (!state.undo) return say("There is nothing to undo.");
  return act({ do: "undo" }, (at, before) => {
    go(at);
    const changed = entries().find((entry) => {
      const old = before.entries.find((other) => same(other, entry));
      return !old || old.verdict !== entry.verdict;
    });
    if (changed) state.chosen = placeOf(changed);
  });
}

function askType() {
  if (!state.selected && !chosenEntry()) return say("Choose a mention or words first.");
  byId("all-types").replaceChildren(...state.types.map((type) => new Option(type, type)));
  byId("type").value = "";
  byId("other").showModal();
}

// ---- Words by keyboard and mouse ----

function selectWords(anchor, head) {
  const [first, last] = anchor <= head ? [anchor, head] : [head, anchor];
  if (state.chosen) choose(null);
  state.selected = { from: state.words[first].start, to: state.words[last].end, anchor, head };
  point();
  showWord(head);
}

function rectOf(word) {
  const range = document.createRange();
  range.setStart(...nodeAt(word.start));
  range.setEnd(...nodeAt(word.end, true));
  return range.getClientRects()[0];
}

function showWord(at) {
  const [note, rect] = [byId("text").getBoundingClientRect(), rectOf(state.words[at])];
  if (rect.top < note.top) byId("text").scrollTop -= note.top - rect.top + rect.height;
  if (rect.bottom > note.bottom) byId("text").scrollTop += rect.bottom - note.bottom + rect.height;
}

/** The word to start at: that of the selection, else of the chosen mention, else none. */
function wordHere() {
  if (state.selected) return state.selected.head;
  const entry = chosenEntry();
  return entry ? Math.max(state.words.findIndex(({ end }) => end > entry.start), 0) : -1;
}

function toWord(at, extend) {
  if (state.words.length === 0) return;
  const here = wordHere();
  const head = Math.min(Math.max(at, 0), state.words.length - 1);
  selectWords(extend && here >= 0 ? state.selected?.anchor ?? here : head, head);
}

function stepWord(by, extend) {
  const here = wordHere();
  toWord(here < 0 && by < 0 ? state.words.length - 1 : here + by, extend);
}

/** The nearest word on the line above or below. */
function stepLine(by, extend) {
  if (state.words.length === 0) return;
  const here = wordHere();
  if (here < 0) return stepWord(by, extend);
  const from = rectOf(state.words[here]);
  const middle = (from.left + from.right) / 2;
  let best = null;
  for (let at = here + by; at >= 0 && at < state.words.length; at += by) {
    const rect = rectOf(state.words[at]);
    const below = by > 0 ? rect.top - from.top : from.top - rect.top;
    if (below < from.height / 2) continue;
    if (best && Math.abs(rect.top - best.top) > from.height / 2) break;
    const distance = Math.abs((rect.left + rect.right) / 2 - middle);
    if (!best || distance < best.distance) best = { at, distance, top: rect.top };
  }
  if (best) selectWords(extend ? state.selected?.anchor ?? here : best.at, best.at);
}

function fromMouse(event) {
  const selection = getSelection();
  if (!byId("text").contains(selection.anchorNode) || !byId("text").contains(selection.focusNode)) return;
  const ends = [placeAt(selection.anchorNode, selection.anchorOffset), placeAt(selection.focusNode, selection.focusOffset)];
  const [from, to] = ends.sort((a, b) => a - b);
  if (from === to) {
    // The shortest mention there; another click selects the next longer one.
    const under = entries().filter(({ start, end, verdict }) => verdict !== "rejected" && start <= from && from < end)
      .sort((a, b) => a.end - a.start - (b.end - b.start));
    const at = under.findIndex((entry) => same(entry, state.chosen));
    if (under.length > 0) return choose(under[(at + 1) % under.length]);
    const word = state.words.findIndex(({ start, end }) => start <= from && from < end);
    return word < 0 ? choose(null) : selectWords(word, word);
  }
  const touched = state.words.map((word, at) => ({ ...word, at })).filter(({ start, end }) => start < to && from < end);
  if (touched.length === 0) return;
  const [first, last] = [touched[0].at, touched[touched.length - 1].at];
  selectWords(first, last);
  if (event.altKey) {
    state.selected = { ...state.selected, from, to };
    point();
  }
}

// ---- Agreement ----

const number = (value) => (value === null ? "–" : value.toFixed(3));

async function showAgreement() {
  try {
    const { pairs, items } = await ask("v1/agreement");
    const row = (cells) => {
      const row = document.createElement("tr");
      for (const content of cells) {
        const cell = document.createElement("td");
        cell.append(String(content));
        row.append(cell);
      }
      return row;
    };
    byId("pairs").replaceChildren(...pairs.map(({ first, second, items, both, only_first, only_second, f1, kappa }) =>
      row([`${first}, ${second}`, items, both, only_first, only_second, number(f1), number(kappa)])));
    const places = new Map(state.batch.items.map(({ id }, at) => [id, at]));
    byId("differences").replaceChildren(...items.map(({ item, finished, differences }) => {
      const box = document.createElement("div");
      const jump = document.createElement("button");
      jump.type = "button";
      jump.textContent = item;
      jump.addEventListener("click", () => { showWork(); go(places.get(item)); });
      const list = document.createElement("ul");
      const chars = [...state.batch.items[places.get(item)].text];
      for (const { start, end, label, by } of differences) {
        const line = document.createElement("li");
        const swatch = document.createElement("span");
        swatch.className = `swatch ${classesOf(label).join(" ")}`;
        swatch.textContent = `${chars.slice(start, end).join("")}`;
        const without = finished.filter((name) => !by.includes(name));
        line.append(swatch, ` ${label}, ${start}–${end}: ${by.join(", ")}; not ${without.join(", ")}`);
        list.append(line);
      }
      box.append(jump, list);
      return box;
    }));
    if (items.length === 0) byId("differences").textContent = "There are no differences in items finished by two annotators.";
    if (pairs.length === 0) byId("pairs").replaceChildren(row(["There are fewer than two annotators.", "", "", "", "", "", ""]));
    byId("adjudicate").hidden = isAdjudication();
    byId("work").hidden = true;
    byId("bar").hidden = true;
    byId("agreement").hidden = false;
    say("");
    byId("agreement-title").focus();
  } catch (error) {
    failed(error);
  }
}

function showWork() {
  byId("agreement").hidden = true;
  byId("work").hidden = false;
  byId("bar").hidden = false;
  show();
  byId("text").focus({ preventScroll: true });
}

// ---- Who ----

/** Asks for the annotator's name, or only for the token if the name is known. */
async function begin(message) {
  byId("who-status").textContent = message ?? "";
  byId("annotator").value ||= state.name || remembered("medner-annotator");
  try {
    state.batch = await ask("v1/batch");
  } catch (error) {
    byId("who-status").textContent = error.message;
    if (error.status === 401) byId("token-row").hidden = false;
  }
  const names = state.batch ? state.batch.annotators.map(({ name, done }) => [name, done]) : [];
  byId("known").replaceChildren(...names.map(([name, done]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${name} (${done} done)`;
    button.addEventListener("click", () => { byId("annotator").value = name; byId("who-form").requestSubmit(); });
    return button;
  }));
  if (!byId("who").open) byId("who").showModal();
}

/** Opens an annotator's work at item `place` (from 1), or at the first unfinished item. */
async function enter(name, place) {
  try {
    state.batch = await ask("v1/batch");
    state.types = [...state.batch.types];
    state.name = name;
    await reloadFirst();
  } catch (error) {
    return begin(error.message);
  }
  remembered("medner-annotator", name);
  byId("title").textContent = state.batch.title;
  byId("name").textContent = name;
  byId("name").hidden = false;
  document.title = `${name}: ${state.batch.title}`;
  if (byId("who").open) byId("who").close();
  isAway = false;
  say("");
  saved("Saved");
  byId("agreement").hidden = true;
  byId("work").hidden = false;
  byId("bar").hidden = false;
  const left = state.items.findIndex((item) => item && !item.done);
  go(place ? place - 1 : Math.max(left, 0));
  byId("text").focus({ preventScroll: true });
}

async function reloadFirst() {
  const { last, undo, items } = await ask(mine());
  Object.assign(state, { last, undo, items, chosen: null, selected: null });
}

// ---- Keys ----

const KEYS = {
  n: () => stepMention(1),
  p: () => stepMention(-1),
  a: () => judge("accept"),
  r: () => judge("reject"),
  s: (event) => moveEnd(true, -1, event.shiftKey),
  d: (event) => moveEnd(true, 1, event.shiftKey),
  f: (event) => moveEnd(false, -1, event.shiftKey),
  g: (event) => moveEnd(false, 1, event.shiftKey),
  t: askType,
  u: undo,
  o: reopen,
  j: () => go(state.at + 1),
  k: () => go(state.at - 1),
  enter: finish,
  escape: () => choose(null),
  arrowright: (event) => stepWord(1, event.shiftKey),
  arrowleft: (event) => stepWord(-1, event.shiftKey),
  arrowdown: (event) => stepLine(1, event.shiftKey),
  arrowup: (event) => stepLine(-1, event.shiftKey),
  home: (event) => toWord(0, event.shiftKey),
  end: (event) => toWord(state.words.length, event.shiftKey),
  "?": () => byId("help").showModal(),
};

function onKey(event) {
  if (event.isComposing || document.querySelector("dialog[open]") || event.target.closest("input")) return;
  if (!byId("agreement").hidden) {
    if (event.key === "Escape") showWork();
    return;
  }
  if (byId("work").hidden) return;
  const name = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey || event.altKey) {
    if (name !== "z" || event.altKey || event.shiftKey) return;
    event.preventDefault();
    return perform(undo);
  }
  if (event.target.closest("button") && (name === "enter" || name === " ")) return;
  // By key code: some keyboard layouts have digits only with Shift.
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1] ?? (/^[1-9]$/.test(name) ? name : null);
  const run = digit ? () => state.types[digit - 1] && give(state.types[digit - 1]) : KEYS[name];
  if (!run) return;
  event.preventDefault();
  // A held key must not run ahead of saving.
  if (!(event.repeat && asked.length > 3)) perform(() => run(event));
}

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Colours: ${theme}`;
  remembered("medner-theme", theme);
}

function start() {
  const stored = () => (THEMES.includes(remembered("medner-theme")) ? remembered("medner-theme") : "system");
  setTheme(stored());
  byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length]));
  document.addEventListener("keydown", onKey);
  byId("text").addEventListener("mouseup", (event) => perform(() => fromMouse(event)));
  byId("previous").addEventListener("click", () => perform(KEYS.k));
  byId("next").addEventListener("click", () => perform(KEYS.j));
  for (const button of byId("actions").querySelectorAll("[data-key]")) {
    // Keeps the selection.
    button.addEventListener("mousedown", (event) => event.preventDefault());
    button.addEventListener("click", (event) => perform(() => KEYS[button.dataset.key.toLowerCase()](event)));
  }
  byId("types").addEventListener("mousedown", (event) => event.preventDefault());
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  byId("agreement-button").addEventListener("click", () => (state.name ? showAgreement() : begin()));
  byId("back").addEventListener("click", showWork);
  byId("adjudicate").addEventListener("click", () => enter(state.batch.adjudicated));
  byId("name").addEventListener("click", () => { byId("annotator").value = ""; begin(); });
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  byId("who-form").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(byId("annotator").value);
  });
  byId("annotator").addEventListener("input", (event) => { event.target.value = event.target.value.toLowerCase(); });
  byId("who").addEventListener("cancel", (event) => { if (!state.name) event.preventDefault(); });
  byId("other-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const type = byId("type").value.trim();
    byId("other").close();
    if (type) perform(() => give(type));
  });
  // Loads actions from other windows.
  addEventListener("focus", () => {
    if (state.name && !isAway && !byId("who").open) perform(() => reload().catch(failed));
  });
  const [name, place] = decodeURIComponent(location.hash.slice(1)).split("/");
  if (/^[a-z0-9_][a-z0-9_-]{0,39}$/.test(name)) enter(name, Number(place) || null);
  else begin();
}

start();
