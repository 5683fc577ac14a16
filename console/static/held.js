// What the receiver had at each of the last frames: a row for each modality, a column for each
// frame, and what the generator remembers. A table, so that its text says what its pictures show.

import { MODALITIES } from "./modalities.js";
import { setText } from "./panes.js";

export const SPAN_FRAMES = 100;
const FORGOT_SAID_FRAMES = 24; // how long a cut is told in words
const HALF_LIFE_FRAMES = 6; // of the brightness of what is held
const ALPHA_OLD = 0.2; // still seen on the dark ground
const ALPHA_HELD = 0.62;
const LOST = "#ff4a55";
const MEMORY = "#aab7c0";
const CUT = "#f4f7f9";

// The last frames of one generation, by their sequence numbers. No page in here.
export class HeldHistory {
  constructor() {
    this.clear();
  }

  clear() {
    this.generation = null;
    this.frames = []; // { sequence, ages, lost, cachedFrames, forgot }, oldest first
    this.cacheResets = null;
  }

  push({ generation, sequence, symbols_by_modality: sent, receiver = {} }) {
    // A transmitter that was killed counts from the beginning, generations too.
    if (generation !== this.generation || sequence <= this.frames.at(-1)?.sequence) {
      this.clear();
      this.generation = generation;
    }
    // A frame that was skipped says nothing of the generator.
    const resets = receiver.skipped ? this.cacheResets : receiver.cache_resets;
    const forgot = this.cacheResets !== null && resets > this.cacheResets;
    this.cacheResets = resets;
    this.frames.push({
      sequence,
      ages: receiver.held_age_frames ?? {},
      lost: lostOf(sent, receiver.crc_failed_modalities ?? []),
      cachedFrames: receiver.skipped ? null : receiver.cached_frames,
      forgot,
    });
    this.frames = this.frames.filter((frame) => frame.sequence > sequence - SPAN_FRAMES);
  }

  // Names in the page's order: what the scheme sends, and what is held besides.
  rows(schemeModalities) {
    const held = this.frames.flatMap(({ ages }) => Object.keys(ages));
    const names = new Set([...schemeModalities, ...held]);
    return Object.keys(MODALITIES).filter((name) => names.has(name));
  }

  // { cachedFrames, most, cuts, cutAgo }: what is remembered, at most lately, and what was forgotten.
  memory() {
    const told = this.frames.filter(({ cachedFrames }) => cachedFrames !== null);
    const cuts = this.frames.filter(({ forgot }) => forgot);
    return {
      cachedFrames: told.at(-1)?.cachedFrames ?? null,
      most: Math.max(0, ...told.map(({ cachedFrames }) => cachedFrames)),
      cuts: cuts.length,
      cutAgo: cuts.length ? this.frames.at(-1).sequence - cuts.at(-1).sequence : null,
    };
  }
}

// What was sent with a frame and did not come. Without its control block nothing of it is read. A
// bundle's CRC speaks for all its layers, of which not every one is in every frame.
export function lostOf(sent, failed) {
  const isLost = (name) => failed.includes(name) || failed.includes("control");
  return new Set(Object.keys(sent).filter((name) => sent[name] > 0 && isLost(name)));
}

// How strongly something held is drawn that came so many frames ago.
export function alphaOf(ageFrames) {
  return ageFrames === 0 ? 1 : Math.max(ALPHA_OLD, ALPHA_HELD * 2 ** (-ageFrames / HALF_LIFE_FRAMES));
}

export class HeldStrip {
  constructor(section) {
    this.section = section;
    this.body = section.querySelector("tbody");
    this.summary = section.querySelector("[data-part=memory]");
    this.history = new HeldHistory();
    this.rows = new Map(); // name -> { canvas, newest, note }
    this.due = false;
    new ResizeObserver(() => this.#drawSoon()).observe(this.body);
  }

  clear() {
    this.history.clear();
    this.section.hidden = true;
  }

  push(frame, schemeModalities) {
    this.history.push(frame);
    this.names = this.history.rows(schemeModalities);
    this.section.hidden = false;
    this.#drawSoon();
  }

  #drawSoon() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      if (this.history.frames.length) this.#draw();
    });
  }

  #draw() {
    const { frames } = this.history;
    const memory = this.history.memory();
    setText(this.summary, memoryText(memory));
    this.#setRows(memory.most ? [...this.names, "memory"] : this.names);
    for (const name of this.names) {
      const { canvas, newest, note } = this.rows.get(name);
      const lost = frames.filter((frame) => frame.lost.has(name)).length;
      setText(newest, ageText(frames.at(-1).ages[name]));
      setText(note, lost ? `${lost} lost` : "");
      drawRow(canvas, frames, (context, frame, cell) => drawHeld(context, frame, cell, name));
    }
    if (!memory.most) return;
    const { canvas, newest, note } = this.rows.get("memory");
    setText(newest, memory.cachedFrames === null ? "" : count(memory.cachedFrames, "frame"));
    setText(note, memory.cuts ? count(memory.cuts, "cut") : "");
    drawRow(canvas, frames, (context, { cachedFrames }, { x, width, height }) => {
      const filled = ((cachedFrames ?? 0) / memory.most) * height;
      context.fillStyle = MEMORY;
      context.fillRect(x, height - filled, width, filled);
    });
  }

  #setRows(names) {
    if (names.join() === [...this.rows.keys()].join()) return;
    this.rows = new Map(names.map((name) => [name, newRow(name)]));
    this.body.replaceChildren(...[...this.rows.values()].map(({ row }) => row));
  }
}

function newRow(name) {
  const { title, color } = MODALITIES[name] ?? { title: name, color: MEMORY };
  const row = document.createElement("tr");
  row.dataset.modality = name;
  row.style.setProperty("--series", color);
  const heading = document.createElement("th");
  heading.scope = "row";
  heading.textContent = title;
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  const cells = [canvas, "", ""].map((content) => {
    const cell = document.createElement("td");
    cell.append(content);
    return cell;
  });
  row.append(heading, ...cells);
  return { row, canvas, newest: cells[1], note: cells[2] };
}

// drawCell(context, frame, { x, width, height }), in canvas pixels. The newest frame is on the right;
// where an event was missed, its column stays empty.
function drawRow(canvas, frames, drawCell) {
  const ratio = window.devicePixelRatio || 1;
  const size = { width: Math.round(canvas.clientWidth * ratio), height: Math.round(canvas.clientHeight * ratio) };
  // Setting the size clears it.
  Object.assign(canvas, size);
  const context = canvas.getContext("2d");
  const first = frames.at(-1).sequence - SPAN_FRAMES + 1;
  const edge = (column) => Math.round((column * size.width) / SPAN_FRAMES);
  const gap = size.width >= 4 * SPAN_FRAMES ? Math.round(ratio) : 0;
  for (const frame of frames) {
    const x = edge(frame.sequence - first);
    const width = edge(frame.sequence - first + 1) - x - gap;
    drawCell(context, frame, { x, width, height: size.height });
    context.globalAlpha = 1;
    if (!frame.forgot) continue;
    context.fillStyle = CUT;
    context.fillRect(x - gap, 0, Math.max(1, Math.round(ratio)), size.height);
  }
}

// Told apart without colours too: what came fills the cell, what is held its lower part, a loss is a
// block at its top.
function drawHeld(context, { ages, lost }, { x, width, height }, name) {
  const age = ages[name];
  if (age !== undefined) {
    const filled = Math.round(age === 0 ? height : 0.55 * height);
    context.globalAlpha = alphaOf(age);
    context.fillStyle = MODALITIES[name].color;
    context.fillRect(x, height - filled, width, filled);
  }
  if (age === 0 || !lost.has(name)) return;
  context.globalAlpha = 1;
  context.fillStyle = LOST;
  context.fillRect(x, 0, width, Math.round(0.35 * height));
}

function ageText(ageFrames) {
  if (ageFrames === undefined) return "not yet";
  return ageFrames === 0 ? "came now" : `${count(ageFrames, "frame")} old`;
}

function memoryText({ cachedFrames, most, cutAgo }) {
  if (cachedFrames === null) return "";
  if (most === 0) return "remembers no frames";
  const cut = cutAgo !== null && cutAgo < FORGOT_SAID_FRAMES ? " · forgot the rest at a cut" : "";
  return `remembers ${count(cachedFrames, "frame")}${cut}`;
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
