// When does the video show the frame that an event tells of?
//
// An event and the video frame leave the receiver together, by different ways: the video waits in
// the browser's jitter buffer and decoder. Its RTP time is the frame's pts plus an offset that the
// receiver sets anew now and then. The offset is found by pairing each video frame with the event
// that arrived nearest to it (arrival, not display) and taking the median over the last ones. Then
// an event waits until the video has reached its pts.

const PAIRS = 15;
const HOLD_MAX_MS = 1500; // the video hangs: show what comes all the same
const TOLERANCE_MS = 15; // under half a frame at 30 fps
const RTP_TICKS_PER_MS = 90;

export class FrameSync {
  // show(item): the video has reached its frame.
  constructor(video, show) {
    this.video = video;
    this.show = show;
    this.clear();
    // Browsers without it see events as they come.
    this.canFollow = "requestVideoFrameCallback" in HTMLVideoElement.prototype;
    if (this.canFollow) this.#watch();
  }

  // Nothing is waiting any more, and the offset is unknown: a new session, or a new generation.
  clear() {
    this.waiting = []; // { ptsMs, at, item }
    this.events = []; // { ptsMs, at } of the newest
    this.frames = []; // { rtpMs, at } of the newest
    this.offsetMs = null;
    this.shownPtsMs = -Infinity;
  }

  push(ptsMs, item, now) {
    remember(this.events, { ptsMs, at: now });
    this.waiting.push({ ptsMs, at: now, item });
    this.#release(now);
  }

  #watch() {
    this.video.requestVideoFrameCallback((now, frame) => {
      if (frame.rtpTimestamp !== undefined) this.#onVideoFrame(frame, now);
      this.#watch();
    });
  }

  #onVideoFrame(frame, now) {
    const rtpMs = frame.rtpTimestamp / RTP_TICKS_PER_MS;
    remember(this.frames, { rtpMs, at: frame.receiveTime ?? now });
    this.offsetMs = medianOffset(this.frames, this.events);
    if (this.offsetMs !== null) this.shownPtsMs = rtpMs - this.offsetMs;
    this.#release(now);
  }

  #release(now) {
    while (this.waiting.length) {
      const [{ ptsMs, at, item }] = this.waiting;
      const reached = this.offsetMs === null || ptsMs <= this.shownPtsMs + TOLERANCE_MS;
      if (!reached && now - at < HOLD_MAX_MS) return;
      this.waiting.shift();
      this.show(item);
    }
  }
}

// RTP time minus pts, of each frame and the event that arrived nearest to it; null without any.
export function medianOffset(frames, events) {
  if (events.length === 0) return null;
  const offsets = frames.map(({ rtpMs, at }) => {
    const nearest = events.reduce((best, event) => (Math.abs(event.at - at) < Math.abs(best.at - at) ? event : best));
    return rtpMs - nearest.ptsMs;
  });
  return offsets.sort((a, b) => a - b)[offsets.length >> 1] ?? null;
}

function remember(list, entry) {
  list.push(entry);
  if (list.length > PAIRS) list.shift();
}
