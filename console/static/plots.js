// The measurements over the last minute, drawn by plotly a few at a time so that a small machine
// keeps its time for the video.

const PLOTLY = "/vendor/plotly.min.js";
const HISTORY_S = 60;
const SAMPLE_MS = 250;
const DRAWN_PER_SAMPLE = 2; // of 8 plots: each is drawn once a second
const CONSTELLATION_POINTS = 384;

const INK = "#9aa9b3";
const GRID = "#1c252b";
const SOFT = "#6b7a85";
const MAIN = "#5fd3b3";
const BASELINE = "#e3a65a";

const fixed = (digits) => (value) => value.toFixed(digits);
const scientific = (value) => (value === 0 ? "0" : value.toPrecision(2));

// series: [key of the sample, colour, dash, name]
const CHARTS = [
  { id: "snr", title: "SNR, dB", wide: true, range: [-7, 22], format: fixed(1), series: [
    ["main.snrRequested", SOFT, "dash", "requested"], ["main.snrMeasured", "#dfe6ea", "solid", "measured"], ["main.snrEstimated", MAIN, "solid", "estimated"]] },
  { id: "psnr", title: "PSNR, dB", format: fixed(1), series: [
    ["main.psnr", MAIN, "solid", "received"], ["baseline.psnr", BASELINE, "solid", "baseline"]] },
  { id: "crc", title: "Failing CRC, %", range: [-4, 104], format: fixed(0), series: [
    ["main.crcFailurePercent", MAIN, "solid", "received"], ["baseline.crcFailurePercent", BASELINE, "solid", "baseline"]] },
  { id: "cbr", title: "CBR", zero: true, format: scientific, series: [
    ["main.cbr", MAIN, "solid", "received"], ["baseline.cbr", BASELINE, "solid", "baseline"]] },
  { id: "bpp", title: "bpp", zero: true, format: scientific, series: [
    ["main.bpp", MAIN, "solid", "received"], ["baseline.bpp", BASELINE, "solid", "baseline"]] },
  { id: "latency", title: "Latency, ms", zero: true, format: fixed(0), series: [
    ["main.latencyP50", MAIN, "solid", "median"], ["main.latencyP95", INK, "dot", "p95"]] },
  { id: "fps", title: "fps", zero: true, format: fixed(1), series: [
    ["main.fps", MAIN, "solid", "received"], ["baseline.fps", BASELINE, "solid", "baseline"]] },
];

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
const AXIS = { gridcolor: GRID, zeroline: false, fixedrange: true, tickfont: { size: 9, color: SOFT }, color: SOFT };

export class Plots {
  constructor(container) {
    this.container = container;
    this.samples = [];
    this.points = [];
    this.kind = "";
    this.turn = 0;
    this.lastSampleAt = 0;
    this.ready = false;
    this.charts = [this.#addCard("constellation", "Constellation", "tall"), ...CHARTS.map((chart) => this.#addCard(chart.id, chart.title, chart.wide ? "wide" : ""))];
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
    if (!this.ready || !this.visible || document.hidden) return;
    for (let count = 0; count < DRAWN_PER_SAMPLE; count += 1) {
      this.turn = (this.turn + 1) % this.charts.length;
      if (this.turn === 0) this.#drawConstellation();
      else this.#drawChart(this.charts[this.turn], CHARTS[this.turn - 1], now);
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
    const time = { ...AXIS, range: [-HISTORY_S, 0], tickvals: [-40, -20], ticktext: ["−40 s", "−20 s"], hoverformat: ".0f" };
    CHARTS.forEach((spec, index) => {
      const traces = spec.series.map(([, color, dash, name]) => ({
        x: [], y: [], name, type: "scatter", mode: "lines", line: { color, width: 1.5, dash },
      }));
      const yaxis = { ...AXIS, nticks: 4, hoverformat: ".3~g", rangemode: spec.zero ? "tozero" : "normal" };
      if (spec.range) Object.assign(yaxis, { range: spec.range, autorange: false });
      window.Plotly.newPlot(this.charts[index + 1].chart, traces, { ...base, xaxis: time, yaxis }, CONFIG);
    });
    const square = { ...AXIS, range: [-1.75, 1.75], dtick: 0.5, showticklabels: false, gridcolor: "#161d22" };
    window.Plotly.newPlot(
      this.charts[0].chart,
      [
        { x: [], y: [], type: "scatter", mode: "markers", marker: { color: MAIN, size: 3, opacity: 0.55 }, hoverinfo: "skip" },
        { x: [], y: [], type: "scatter", mode: "markers", marker: { color: "#dfe6ea", size: 8, symbol: "cross-thin", line: { width: 1, color: "#dfe6ea" } }, hoverinfo: "skip" },
      ],
      { ...base, hovermode: false, margin: { l: 8, r: 8, t: 6, b: 8 }, xaxis: square, yaxis: { ...square, scaleanchor: "x" } },
      CONFIG,
    );
    this.ready = true;
  }

  #drawConstellation() {
    const { chart, figures } = this.charts[0];
    const ideal = idealPoints(this.kind);
    const columns = (points) => [points.map(([re]) => re), points.map(([, im]) => im)];
    const [x, y] = columns(this.points);
    const [idealX, idealY] = columns(ideal);
    window.Plotly.restyle(chart, { x: [x, idealX], y: [y, idealY] });
    figures.textContent = KIND_NAMES[this.kind] ?? this.kind;
  }

  #drawChart({ chart, figures }, spec, now) {
    const x = this.samples.map(({ at }) => (at - now) / 1000);
    const columns = spec.series.map(([key]) => {
      const [leg, name] = key.split(".");
      return this.samples.map((sample) => sample[leg]?.[name] ?? null);
    });
    window.Plotly.restyle(chart, { x: columns.map(() => x), y: columns });
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
