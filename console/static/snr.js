// The SNR slider and its scale: a wave that drowns in noise towards the left, at each point with
// the noise of the SNR written below it.

const SEND_MS = 100;
const SETTLE_MS = 800;

export class SnrScale {
  // onChange(snr_db): while dragging, at most ten times a second, the last value always.
  constructor(onChange) {
    this.slider = document.getElementById("snr-slider");
    this.value = document.getElementById("snr-value");
    this.canvas = document.getElementById("snr-wave");
    this.estimate = document.getElementById("snr-estimate");
    this.touchedAt = -Infinity;
    this.sessionSnrDb = null; // what the session has, as far as is known
    this.sending = latestOnly(onChange, SEND_MS);
    this.slider.addEventListener("input", () => {
      this.touchedAt = performance.now();
      this.#show();
      this.send();
    });
    new ResizeObserver(() => this.#drawWaves()).observe(this.canvas);
  }

  setRange({ min, max, step }) {
    Object.assign(this.slider, { min, max, step });
    const ruler = document.getElementById("snr-ruler");
    ruler.replaceChildren();
    for (let snr = Math.ceil(min); snr <= max; snr += 1) {
      const tick = document.createElement("i");
      tick.style.left = `${100 * this.#fraction(snr)}%`;
      ruler.append(tick);
      if (snr % 5 === 0) {
        tick.className = "major";
        const label = document.createElement("span");
        label.style.left = tick.style.left;
        label.textContent = `${snr < 0 ? "−" : ""}${Math.abs(snr)}`;
        ruler.append(label);
      }
    }
    this.#drawWaves();
    this.#show();
  }

  get snrDb() {
    return this.slider.valueAsNumber;
  }

  // Passes on where the slider stands.
  async send() {
    await this.sending(this.slider.valueAsNumber);
    this.#settle();
  }

  // What the session has.
  setValue(snrDb) {
    this.sessionSnrDb = snrDb;
    this.#settle();
  }

  // The session lags behind while somebody moves the slider: it is followed when that has settled.
  #settle() {
    clearTimeout(this.settling);
    if (this.sending.isBusy() || this.sessionSnrDb === null) return;
    const wait = this.touchedAt + SETTLE_MS - performance.now();
    if (wait > 0) {
      this.settling = setTimeout(() => this.#settle(), wait);
    } else if (this.slider.valueAsNumber !== this.sessionSnrDb) {
      this.slider.value = String(this.sessionSnrDb);
      this.#show();
    }
  }

  setEstimate(snrDb) {
    this.estimate.hidden = snrDb === null;
    if (snrDb === null) return;
    const fraction = Math.min(1, Math.max(0, this.#fraction(snrDb)));
    this.estimate.style.left = `calc(var(--thumb) / 2 + ${fraction} * (100% - var(--thumb)))`;
  }

  #fraction(snrDb) {
    const { min, max } = this.slider;
    return (snrDb - Number(min)) / (Number(max) - Number(min));
  }

  #show() {
    const snrDb = this.slider.valueAsNumber;
    this.value.textContent = `${snrDb < 0 ? "−" : ""}${Math.abs(snrDb).toFixed(1)}`;
    this.slider.setAttribute("aria-valuetext", `${snrDb.toFixed(1)} dB`);
    this.#drawHere();
  }

  #drawWaves() {
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * scale);
    const height = Math.round(this.canvas.clientHeight * scale);
    if (!width || !height) return;
    Object.assign(this.canvas, { width, height });
    const { min, max } = this.slider;
    const path = new Path2D();
    const random = noiseSource(1);
    for (let x = 0; x < width; x += 1) {
      const snrDb = Number(min) + ((Number(max) - Number(min)) * x) / width;
      const noise = 10 ** (-snrDb / 20);
      const signal = Math.SQRT2 * Math.sin((2 * Math.PI * x) / (26 * scale));
      // Of constant total power, as after a receiver's gain control.
      const sample = (signal + noise * random()) / Math.sqrt(1 + noise * noise);
      path.lineTo(x, height / 2 - sample * height * 0.24);
    }
    this.path = path;
    this.lineWidth = 1.2 * scale;
    this.#drawHere();
  }

  #drawHere() {
    if (!this.path) return;
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.lineWidth = this.lineWidth;
    context.strokeStyle = "#2c3a43";
    context.stroke(this.path);
    const here = this.#fraction(this.slider.valueAsNumber);
    const light = context.createLinearGradient(0, 0, width, 0);
    for (const [offset, alpha] of [[-0.16, 0], [-0.05, 0.9], [0.05, 0.9], [0.16, 0]]) {
      light.addColorStop(Math.min(1, Math.max(0, here + offset)), `rgb(95 211 179 / ${alpha})`);
    }
    context.strokeStyle = light;
    context.stroke(this.path);
  }
}

// Calls send(value) at most every `intervalMs` and never twice at once; the last value always goes.
// What it returns is settled when nothing more is to be sent.
export function latestOnly(send, intervalMs) {
  let waiting = null;
  let running = null;
  const run = async () => {
    while (waiting !== null) {
      const { value } = waiting;
      waiting = null;
      await Promise.all([send(value), new Promise((resolve) => setTimeout(resolve, intervalMs))]);
    }
    running = null;
  };
  const offer = (value) => {
    waiting = { value };
    running ??= run();
    return running;
  };
  offer.isBusy = () => running !== null;
  return offer;
}

// Normal deviates that are the same on every visit.
function noiseSource(seed) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 4294967297;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
