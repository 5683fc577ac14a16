// What was received, over the received picture: outlines and strokes on a canvas, the caption as a
// subtitle, the low-res frame as a tile, the motion as a figure. Each stays until its next comes,
// outlines dimmed; a scheme that another one replaces takes all but its caption with it.

import { FrameSync } from "./framesync.js";
import { Layers } from "./layers.js";
import { containedBox, drawContours, drawSketch, drawTile, readSketch } from "./overlay.js";
import { setText } from "./panes.js";

const KINDS = ["contours", "sketch", "caption", "lowres", "motion"];
const LINE_PX = 2; // of an outline, in a pane; wider in an enlarged one
const PANE_PX = 340;

export class ReceivedView {
  // pane: of the received picture; fieldset: where the toggles go.
  constructor(pane, fieldset) {
    this.pane = pane;
    const part = (name) => pane.element.querySelector(`[data-part="${name}"]`);
    this.canvas = part("overlay");
    this.subtitle = part("subtitle");
    this.tile = part("tile");
    this.motion = part("motion");
    this.layers = new Layers(fieldset, () => this.#draw());
    this.sync = new FrameSync(pane.video, (news) => this.#show(news));
    this.size = { width: 1, height: 1 };
    this.generation = null;
    this.scheme = "";
    this.shown = {};
    new ResizeObserver((entries) => this.#resize(entries.at(-1).contentRect)).observe(this.canvas);
    pane.video.addEventListener("resize", () => this.#draw());
  }

  // Size of the video frame in pixels: the grid of the contours.
  setSize(width, height) {
    if (this.size.width === width && this.size.height === height) return;
    this.size = { width, height };
    this.#draw();
  }

  clear() {
    this.generation = null;
    this.scheme = "";
    this.shown = {};
    this.sync.clear();
    this.layers.clear();
    this.#draw();
  }

  async onFrame(frame, now) {
    if (frame.generation !== this.generation) {
      this.clear();
      this.generation = frame.generation;
    }
    const { semantics = {}, caption_received: caption, scheme_id: scheme } = frame.receiver ?? {};
    const news = { generation: frame.generation, scheme };
    if (semantics.contours) news.contours = semantics.contours;
    if (semantics.lowres) news.lowres = semantics.lowres;
    if (semantics.motion_percent !== undefined) news.motion = semantics.motion_percent;
    if (caption) news.caption = caption;
    const sent = Object.entries(frame.symbols_by_modality).filter(([, count]) => count > 0);
    for (const kind of KINDS) if (kind in news || sent.some(([name]) => name === kind)) this.layers.offer(kind);
    if (semantics.sketch) {
      this.layers.offer("sketch");
      news.sketch = await readSketch(semantics.sketch);
      // Meanwhile the stream may have started anew.
      if (frame.generation !== this.generation) return;
    }
    this.sync.push(frame.pts_us / 1000, news, now);
  }

  #show({ generation, scheme, ...news }) {
    if (generation !== this.generation) return;
    if (scheme !== this.scheme) this.shown = { caption: this.shown.caption };
    this.scheme = scheme;
    Object.assign(this.shown, news);
    this.shown.isOld = !news.contours;
    if (news.lowres) drawTile(this.tile, news.lowres);
    this.#draw();
  }

  #resize({ width, height }) {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.#draw();
  }

  #draw() {
    const { layers, shown } = this;
    const drawn = (kind) => (layers.shows(kind) ? shown[kind] : undefined);
    setText(this.subtitle, drawn("caption") ?? "");
    this.tile.hidden = drawn("lowres") === undefined;
    const motion = drawn("motion");
    setText(this.motion, motion === undefined ? "" : `motion ${motion.toFixed(1)} %/frame`);
    this.#drawCanvas(drawn("sketch"), drawn("contours"));
  }

  #drawCanvas(sketch, contours) {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!width || !height) return;
    const box = containedBox(width, height, this.size.width, this.size.height);
    const ratio = window.devicePixelRatio || 1;
    const lineWidth = LINE_PX * Math.max(ratio, box.width / PANE_PX / 1.5);
    if (sketch) drawSketch(context, sketch, box, lineWidth);
    if (contours) drawContours(context, contours, box, lineWidth, this.shown.isOld);
  }
}
