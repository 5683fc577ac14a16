// The measurements over the last minute, drawn by plotly a few at a time so that a small machine
// keeps its time for the video.

import { SPAN_S, SymbolHistory, legendItems, stackTraces } from "./symbols.js";

const PLOTLY = "/vendor/plotly.min.js";
const HISTORY_S = 60;
const SAMPLE_MS = 250;
const DRAWN_PER_SAMPLE = 2; // of 9 plots: each is drawn about once a second
const CONSTELLATION_POINTS = 384;

const INK = "#9aa9b3";
const GRID = "#1c252b";
const SOFT = "#6b7a85";
const MAIN = "#5fd3b3";
const BASELINE = "#e3a65a";
const SWITCH = "#f2f5f7";

const fixed = (digits) => (value) => value.toFixed(digits);
const scientific = (value) => (value === 0 ? "0" : value.toPrecision(2));

// series: [key of the sample, colour, dash, name]
const CHARTS = [
  { id: "snr", title: "SNR, dB", shape: "wide", marked: true, range: [-7, 22], format: fixed(1), series: [
    ["main.snrRequested", SOFT, "dash", "requested"], ["main.snrMeasured", "#dfe6ea", "solid", "measured"], ["main.snrEstimated", MAIN, "solid", "estimated"]] },
  { id: "psnr", title: "PSNR, dB", format: fixed(1), series: [
    ["main.psnr", MAIN, "solid", "received"], ["baseline.psnr", BASELINE, "solid", "baseline"]] },
  { id: "crc", title: "Failing CRC, %", range: [-4, 104], format: fixed(0), series: [
    ["main.crcFailurePercent", MAIN, "solid", "received"], ["baseline.crcFailurePercent", BASELINE, "solid", "baseline"]] },
  { id: "cbr", title: "CBR", zero: true, format: scientific, series: [
    ["main.cbr", MAIN, "solid", "received"], ["baseline.cbr", BASELINE, "solid", "baseline"]] },
  { id: "bpp", title: "bpp", zero: true, format: scientific, series: [
    ["main.bpp", MAIN, "solid", "received"], ["baseline.bpp", BASELINE, "solid", "baseline"]] },
  { id: "latency", title: "Latency, ms", shape: "roomy", zero: true, format: fixed(0), series: [
    ["main.latencyP50", MAIN, "solid", "median"], ["main.latencyP95", INK, "dot", "p95"]] },
  { id: "fps", title: "fps", zero: true, format: fixed(1), series: [
    ["main.fps", MAIN, "solid", "received"], ["baseline.fps", BASELINE, "solid", "baseline"]] },
];

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
const AXIS = { gridcolor: GRID, zeroline: false, fixedrange: true, tickfont: { size: 9, color: SOFT }, color: SOFT };

export class Plots {
  constructor(container) {
    this.container = container;
    this.turn = 0;
    this.lastSampleAt = 0;
    this.ready = false;
    this.clear();
    this.constellation = this.#addCard("constellation", "Constellation", "tall");
    this.symbols = this.#addCard("symbols", "Symbols per frame", "tall wide");
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    this.symbols.chart.after(this.legend);
    // Its legend takes a line more or less.
    new ResizeObserver(() => this.ready && window.Plotly.Plots.resize(this.symbols.chart)).observe(this.symbols.chart);
    this.charts = CHARTS.map((spec) => this.#addCard(spec.id, spec.title, spec.shape ?? ""));
    this.drawers = [
      () => this.#drawConstellation(),
      (now) => this.#drawSymbols(now),
      ...CHARTS.map((spec, index) => (now) => this.#drawChart(this.charts[index], spec, now)),
    ];
    // 5 MB of script: fetched when the plots are first seen, after the video has started.
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      loadScript(PLOTLY).then(() => this.#begin());
    }).observe(container);
    new IntersectionObserver((entries) => (this.visible = entries.at(-1).isIntersecting)).observe(container);
  }

  clear() {
    this.samples = [];
    this.points = [];
    this.kind = "";
    this.history = new SymbolHistory();
    this.marks = []; // { at, label }
  }

  addFrame(frame, now) {
    this.history.push(frame, now);
  }

  // A line at the newest frame in the plots of what it bears on.
  mark(label, now) {
    this.marks.push({ at: now, label });
    this.history.mark(label);
  }

  addConstellation(points, kind) {
    if (points.length === 0) return;
    if (kind !== this.kind) this.points = [];
    this.kind = kind;
    this.points = this.points.concat(points).slice(-CONSTELLATION_POINTS);
  }

  // measures: { main, baseline } of LegMeter.measure, or null.
  sample(now, measures) {
    if (now - this.lastSampleAt < SAMPLE_MS) return;
    this.lastSampleAt = now;
    this.samples.push({ at: now, ...measures });
    const first = this.samples.findIndex(({ at }) => now - at <= HISTORY_S * 1000);
    this.samples.splice(0, first);
    this.marks = this.marks.filter(({ at }) => now - at <= HISTORY_S * 1000);
    if (!this.ready || !this.visible || document.hidden) return;
    for (let count = 0; count < DRAWN_PER_SAMPLE; count += 1) {
      this.turn = (this.turn + 1) % this.drawers.length;
      this.drawers[this.turn](now);
    }
  }

  #addCard(id, title, shape) {
    const card = document.createElement("article");
    card.className = `plot ${shape}`;
    card.dataset.testid = `plot-${id}`;
    const header = document.createElement("header");
    const heading = document.createElement("h3");
    heading.textContent = title;
    const figures = document.createElement("p");
    figures.className = "figures";
    header.append(heading, figures);
    const chart = document.createElement("div");
    chart.className = "chart";
    card.append(header, chart);
    this.container.append(card);
    return { chart, figures };
  }

  #begin() {
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 34, r: 8, t: 6, b: 18 },
      showlegend: false,
      font: { color: INK, size: 10 },
      dragmode: false,
      hovermode: "x unified",
      hoverlabel: { bgcolor: "#0b0f12", bordercolor: "#324049", font: { size: 10 } },
    };
    const time = timeAxis(HISTORY_S, [-40, -20]);
    CHARTS.forEach((spec, index) => {
      const traces = spec.series.map(([, color, dash, name]) => ({
        x: [], y: [], name, type: "scatter", mode: "lines", line: { color, width: 1.5, dash },
      }));
      const yaxis = { ...AXIS, nticks: 4, hoverformat: ".3~g", rangemode: spec.zero ? "tozero" : "normal" };
      if (spec.range) Object.assign(yaxis, { range: spec.range, autorange: false });
      window.Plotly.newPlot(this.charts[index].chart, traces, { ...base, xaxis: time, yaxis }, CONFIG);
    });
    const square = { ...AXIS, range: [-1.75, 1.75], dtick: 0.5, showticklabels: false, gridcolor: "#161d22" };
    window.Plotly.newPlot(
      this.constellation.chart,
      [
        { x: [], y: [], type: "scatter", mode: "markers", marker: { color: MAIN, size: 3, opacity: 0.55 }, hoverinfo: "skip" },
        { x: [], y: [], type: "scatter", mode: "markers", marker: { color: "#dfe6ea", size: 8, symbol: "cross-thin", line: { width: 1, color: "#dfe6ea" } }, hoverinfo: "skip" },
      ],
      { ...base, hovermode: false, margin: { l: 8, r: 8, t: 6, b: 8 }, xaxis: square, yaxis: { ...square, scaleanchor: "x" } },
      CONFIG,
    );
    const counts = { ...AXIS, nticks: 5, rangemode: "tozero", hoverformat: ",d" };
    this.symbolLayout = { ...base, xaxis: timeAxis(SPAN_S, [-15, -10, -5]), yaxis: counts };
    window.Plotly.newPlot(this.symbols.chart, [], this.symbolLayout, CONFIG);
    this.ready = true;
  }

  #drawConstellation() {
    const { chart, figures } = this.constellation;
    const ideal = idealPoints(this.kind);
    const columns = (points) => [points.map(([re]) => re), points.map(([, im]) => im)];
    const [x, y] = columns(this.points);
    const [idealX, idealY] = columns(ideal);
    window.Plotly.restyle(chart, { x: [x, idealX], y: [y, idealY] });
    figures.textContent = KIND_NAMES[this.kind] ?? this.kind;
  }

  #drawSymbols(now) {
    const { chart, figures } = this.symbols;
    // Hold still for whoever points at a frame. (A finger's tap is no hover.)
    if (chart.matches(":hover") && matchMedia("(hover: hover)").matches) return;
    const stack = this.history.stack(now);
    window.Plotly.react(chart, stackTraces(stack), { ...this.symbolLayout, ...markLines(stack.marks, SPAN_S) }, CONFIG);
    figures.textContent = stack.totals.at(-1)?.toLocaleString("en") ?? "";
    this.legend.replaceChildren(...legendItems(stack));
  }

  #drawChart({ chart, figures }, spec, now) {
    const x = this.samples.map(({ at }) => (at - now) / 1000);
    const columns = spec.series.map(([key]) => {
      const [leg, name] = key.split(".");
      return this.samples.map((sample) => sample[leg]?.[name] ?? null);
    });
    const marks = this.marks.map(({ at, label }) => ({ seconds: (at - now) / 1000, label }));
    const layout = spec.marked ? markLines(marks, HISTORY_S) : {};
    window.Plotly.update(chart, { x: columns.map(() => x), y: columns }, layout);
    figures.replaceChildren(
      ...spec.series.flatMap(([, color, , name], index) => {
        const value = columns[index].at(-1);
        if (value === null || value === undefined) return [];
        const figure = document.createElement("span");
        figure.style.setProperty("--series", color);
        figure.title = name;
        figure.textContent = spec.format(value);
        return [figure];
      }),
    );
  }
}

function timeAxis(spanS, ticks) {
  const ticktext = ticks.map((seconds) => `−${-seconds} s`);
  return { ...AXIS, range: [-spanS, 0], tickvals: ticks, ticktext, unifiedhovertitle: { text: "%{x:.1f} s" } };
}

// Dotted lines over the whole height, each with its label on the side where there is room, and a
// little lower than the one before.
function markLines(marks, spanS) {
  const line = { color: SWITCH, width: 1, dash: "dot" };
  const text = { font: { size: 9, color: SWITCH }, bgcolor: "rgba(7, 10, 12, 0.78)", borderpad: 1, showarrow: false, yanchor: "top" };
  return {
    shapes: marks.map(({ seconds: x }) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line })),
    annotations: marks.map(({ seconds: x, label }, index) => ({
      ...text, x, yref: "paper", y: 1 - 0.13 * (index % 3), xanchor: x < -0.35 * spanS ? "left" : "right", text: label,
    })),
  };
}

const KIND_NAMES = { qpsk: "4-QAM", qam16: "16-QAM", qam64: "64-QAM", analogue: "analogue" };

// Unit mean power, Gray order does not matter here.
export function idealPoints(kind) {
  const levels = { qpsk: 2, qam16: 4, qam64: 8 }[kind];
  if (!levels) return [];
  const scale = Math.sqrt((2 * (levels * levels - 1)) / 3);
  const axis = Array.from({ length: levels }, (_, index) => (2 * index - levels + 1) / scale);
  return axis.flatMap((re) => axis.map((im) => [re, im]));
}

function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${src} cannot be loaded`));
    document.head.append(script);
  });
}
