// Running measures of one leg over the frames of the last few seconds. No page in here.

const WINDOW_MS = 4000;
const SHORT_MS = 1000;

export class LegMeter {
  constructor() {
    this.frames = []; // {at, ...} of the last WINDOW_MS
    this.last = null;
    this.crcFailuresTotal = 0;
  }

  push(frame, now) {
    const receiver = frame.receiver ?? {};
    const channel = frame.channel ?? {};
    this.last = frame;
    this.crcFailuresTotal += receiver.crc_failed_modalities?.length ?? 0;
    this.frames.push({
      at: now,
      symbols: sum(Object.values(frame.symbols_by_modality)),
      bits: frame.information_bits,
      psnr: frame.psnr_db ?? null,
      latency: frame.latency_ms > 0 ? frame.latency_ms : null,
      checked: receiver.crc_checked_modalities?.length ?? 0,
      failed: receiver.crc_failed_modalities?.length ?? 0,
      signalEnergy: channel.signal_energy ?? 0,
      noiseEnergy: channel.noise_energy ?? 0,
    });
    this.#trim(now);
  }

  // Figures at the time `now`; null where there is nothing to go by. pixels: width × height.
  measure(now, pixels) {
    this.#trim(now);
    const { frames, last } = this;
    if (frames.length === 0) return null;
    const recent = frames.filter((frame) => now - frame.at <= SHORT_MS);
    const latencies = frames.map((frame) => frame.latency).filter(isNumber).sort((a, b) => a - b);
    const signal = sum(recent.map((frame) => frame.signalEnergy));
    const noise = sum(recent.map((frame) => frame.noiseEnergy));
    const checked = sum(frames.map((frame) => frame.checked));
    // A channel model that the receiver sees through reports what it was set to.
    return {
      fps: frameRate(frames),
      symbolsPerFrame: sum(frames.map((frame) => frame.symbols)) / frames.length,
      cbr: sum(frames.map((frame) => frame.symbols)) / (3 * pixels * frames.length),
      bpp: sum(frames.map((frame) => frame.bits)) / (pixels * frames.length),
      psnr: meanPsnr(recent.map((frame) => frame.psnr).filter(isNumber)),
      latencyP50: quantile(latencies, 0.5),
      latencyP95: quantile(latencies, 0.95),
      crcFailurePercent: checked ? (100 * sum(frames.map((frame) => frame.failed))) / checked : null,
      snrRequested: last.channel?.snr_db_requested ?? null,
      snrMeasured: signal > 0 && noise > 0 ? 10 * Math.log10(signal / noise) : null,
      snrEstimated: last.receiver?.snr_db_estimated ?? null,
    };
  }

  #trim(now) {
    const first = this.frames.findIndex((frame) => now - frame.at <= WINDOW_MS);
    this.frames.splice(0, first === -1 ? this.frames.length : first);
  }
}

function frameRate(frames) {
  const span = frames.at(-1).at - frames[0].at;
  // Frames that waited somewhere come in a bunch: a rate needs a while.
  return span > 1500 ? (1000 * (frames.length - 1)) / span : null;
}

// Of the mean squared error, as the report counts it; not the mean of the decibels.
function meanPsnr(values) {
  if (values.length === 0) return null;
  const errors = values.map((psnr) => 10 ** (-psnr / 10));
  return -10 * Math.log10(sum(errors) / errors.length);
}

// Nearest rank; `sorted` rising.
function quantile(sorted, q) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] : null;
}

const isNumber = (value) => typeof value === "number";
const sum = (values) => values.reduce((total, value) => total + value, 0);
