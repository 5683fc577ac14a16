// Symbols of each frame by modality, over the last seconds, stacked.

import { MODALITIES } from "./modalities.js";

export const SPAN_S = 20;
const RESYNC_MS = 1000;
const DRIFT_MS = 4; // a frame: a source may run a little slower than its pts

export class SymbolHistory {
  constructor() {
    this.frames = []; // { ptsMs, clock, counts, mark }
    this.clock = { offsetMs: null, generation: null }; // from pts to the page's time
  }

  // Spaced as the frames were taken, not as they arrived: those come in bunches.
  push(frame, now) {
    const ptsMs = frame.pts_us / 1000;
    const offsetMs = now - ptsMs;
    const { clock } = this;
    if (frame.generation !== clock.generation || offsetMs - clock.offsetMs > RESYNC_MS) {
      this.clock = { offsetMs, generation: frame.generation };
    }
    // The promptest frame tells best.
    this.clock.offsetMs = Math.min(this.clock.offsetMs + DRIFT_MS, offsetMs);
    this.frames.push({ ptsMs, clock: this.clock, counts: frame.symbols_by_modality, mark: "" });
    const first = this.frames.findIndex((entry) => now - timeOf(entry) <= SPAN_S * 1000);
    this.frames.splice(0, first === -1 ? this.frames.length : first);
  }

  // A line at the newest frame.
  mark(label) {
    this.frames.at(-1).mark = label;
  }

  // { seconds: [negative, ...], totals, marks: [{ seconds, label }],
  //   layers: [{ name, title, color, counts, mean, share }] }
  // Layers in the order of the stack, from below; only what was sent.
  stack(now) {
    const { frames } = this;
    const seconds = frames.map((entry) => (timeOf(entry) - now) / 1000);
    const totals = frames.map(({ counts }) => sum(Object.values(counts)));
    const all = sum(totals);
    const layers = Object.entries(MODALITIES).map(([name, { title, color }]) => {
      const counts = frames.map((frame) => frame.counts[name] ?? 0);
      const count = sum(counts);
      return { name, title, color, counts, mean: count / frames.length, share: count / all };
    });
    return {
      seconds,
      totals,
      marks: frames.flatMap(({ mark: label }, index) => (label ? [{ seconds: seconds[index], label }] : [])),
      layers: layers.filter(({ share }) => share > 0),
    };
  }
}

const timeOf = ({ ptsMs, clock }) => ptsMs + clock.offsetMs;

// Stacked areas in steps, each frame from its time to the next one's: one drawn path a modality, however many frames there are.
export function stackTraces({ seconds, totals, layers }) {
  return layers.map(({ title, color, counts }) => ({
    x: seconds,
    y: counts,
    name: title,
    type: "scatter",
    mode: "lines",
    stackgroup: "symbols",
    fillcolor: color,
    line: { width: 0, color, shape: "hv" },
    customdata: counts.map((count, index) => percent(count / (totals[index] || 1))),
    hovertemplate: "%{y:,d} · %{customdata}",
  }));
}

// The legend, from the top of the stack: what each modality takes on average.
export function legendItems({ layers }) {
  return [...layers].reverse().map(({ name, title, color, mean, share }) => {
    const item = document.createElement("li");
    item.style.setProperty("--series", color);
    item.dataset.modality = name;
    for (const text of [title, mean < 10 ? mean.toFixed(1) : String(Math.round(mean)), percent(share)]) {
      const span = document.createElement("span");
      span.textContent = text;
      item.append(span);
    }
    return item;
  });
}

const percent = (share) => (share > 0 && share < 0.0995 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`);
const sum = (values) => values.reduce((total, value) => total + value, 0);
