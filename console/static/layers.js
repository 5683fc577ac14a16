// Which kinds of what was received are drawn over the picture. The choice is kept in this browser.

import { MODALITIES } from "./modalities.js";

const STORE = "semcast.layers";
const SHOWN_AT_FIRST = { contours: true, caption: true, sketch: false, lowres: false, motion: false };

export class Layers {
  // onChange(): somebody chose otherwise.
  constructor(fieldset, onChange) {
    this.fieldset = fieldset;
    this.chosen = { ...SHOWN_AT_FIRST, ...recall() };
    this.labels = {};
    for (const kind of Object.keys(SHOWN_AT_FIRST)) this.#addToggle(kind, onChange);
    this.clear();
  }

  shows(kind) {
    return this.chosen[kind] && !this.labels[kind].hidden;
  }

  // The link sends this kind, so there is something to choose.
  offer(kind) {
    if (!(kind in this.labels) || !this.labels[kind].hidden) return;
    this.labels[kind].hidden = false;
    this.fieldset.hidden = false;
  }

  clear() {
    this.fieldset.hidden = true;
    for (const label of Object.values(this.labels)) label.hidden = true;
  }

  #addToggle(kind, onChange) {
    const { title, color } = MODALITIES[kind];
    const label = document.createElement("label");
    label.style.setProperty("--series", color);
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", checked: this.chosen[kind] });
    box.dataset.testid = `layer-${kind}`;
    box.addEventListener("change", () => {
      this.chosen[kind] = box.checked;
      remember(this.chosen);
      onChange();
    });
    label.append(box, kind === "lowres" ? "low-res tile" : title);
    this.labels[kind] = label;
    this.fieldset.append(label);
  }
}

// A browser may refuse to keep anything: then each visit begins as the first.
function recall() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

function remember(chosen) {
  try {
    localStorage.setItem(STORE, JSON.stringify(chosen));
  } catch {
    // Kept for this visit only.
  }
}
