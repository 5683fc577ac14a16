// The three pictures and what is written over them.

export class Pane {
  constructor(element) {
    this.element = element;
    this.leg = element.dataset.leg;
    this.video = element.querySelector("video");
    this.parts = {};
    for (const part of element.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    this.parts.enlarge.addEventListener("click", () => this.enlarge(!this.isEnlarged));
  }

  get isEnlarged() {
    return this.element.classList.contains("enlarged");
  }

  enlarge(large) {
    this.element.classList.toggle("enlarged", large);
    this.parts.enlarge.setAttribute("aria-expanded", String(large));
  }

  setTitle(title, figure = "") {
    setText(this.parts.title, title);
    if (this.parts.figure) setText(this.parts.figure, figure);
  }

  // Keeps the picture of this moment in view while the video is connected anew.
  freeze() {
    const { still } = this.parts;
    if (!this.video.videoWidth || !still.hidden) return;
    Object.assign(still, { width: this.video.videoWidth, height: this.video.videoHeight });
    still.getContext("2d").drawImage(this.video, 0, 0);
    still.hidden = false;
  }

  thaw() {
    this.parts.still.hidden = true;
  }

  setAspect(width, height) {
    this.element.style.setProperty("--aspect", `${width} / ${height}`);
  }

  // figures: short texts; held: the picture is an old one.
  setBadge(figures, held = false) {
    const badge = this.parts.badge;
    const text = figures.join(" · ");
    if (badge.dataset.shown === `${text}${held}`) return;
    badge.dataset.shown = `${text}${held}`;
    badge.textContent = text;
    if (held) {
      const mark = document.createElement("b");
      mark.textContent = "held";
      badge.append(text ? " · " : "", mark);
    }
  }

  setVeil(text) {
    setText(this.parts.veil, text);
  }

  setOutage(outage) {
    if (this.parts.outage) this.parts.outage.hidden = !outage;
  }

  setSchemeInForce(text) {
    setText(this.parts.inforce, text);
  }

  setRemark(text) {
    setText(this.parts.remark, text);
  }

  setShortage(text) {
    setText(this.parts.shortage, text);
  }

  clear() {
    this.thaw();
    for (const part of [this.parts.inforce, this.parts.shortage, this.parts.remark]) if (part) setText(part, "");
    this.setBadge([]);
    this.setVeil("");
    this.setOutage(false);
  }
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
