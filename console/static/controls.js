// The settings of a session. The common ones have their place in the page; the others are drawn
// from the JSON schema of a session.

const PLACED = ["clip", "caption", "scheme", "baseline_scheme", "snr_db", "channel", "cbr", "fps", "width", "height"];
const LISTED = "listed"; // the choice in the scheme's menu that asks for a list of modalities
const BURST_ONLY = ["burst_frames_mean", "gap_frames_mean"];
const GENERATIVE_ONLY = ["generator_steps", "guidance"];
const NAMES_OF_ZERO = { generator_steps: "default", guidance: "none" }; // an empty field
const FRAME_RATES = [2, 4, 8, 12, 16, 24, 30];
const SIZES = [[128, 128], [192, 192], [256, 256], [384, 384], [512, 512], [320, 180], [640, 360]];
const CHANNEL_NAMES = { awgn: "AWGN", rayleigh: "Rayleigh", burst: "Bursts" };

const $ = (id) => document.getElementById(id);

export class Controls {
  // onChange(fields): the person changed these fields of the session.
  constructor(onChange) {
    this.onChange = onChange;
    this.drawn = new Map(); // field name -> its control in "More"
    this.clips = [];
    this.held = new Map(); // field name -> changes of it that are under way
    // A caption goes with its clip.
    $("clip").addEventListener("change", () => this.chooseClip($("clip").value));
    $("caption").addEventListener("change", () => onChange({ caption: $("caption").value.trim() }));
    $("caption").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      $("caption").blur();
    });
    $("scheme").addEventListener("change", () => this.#schemeChosen());
    $("modalities").addEventListener("change", () => {
      if (this.#scheme()) onChange({ scheme: this.#scheme() });
    });
    $("baseline_scheme").addEventListener("change", () => onChange({ baseline_scheme: $("baseline_scheme").value }));
    $("fps").addEventListener("change", () => onChange({ fps: Number($("fps").value) }));
    $("size").addEventListener("change", () => onChange(this.#size()));
    $("cbr-slider").addEventListener("input", () => ($("cbr").value = cbrText(10 ** $("cbr-slider").valueAsNumber)));
    $("cbr-slider").addEventListener("change", () => this.#cbrChanged());
    $("cbr").addEventListener("change", () => this.#cbrChanged());
    $("cbr-default").addEventListener("click", () => {
      $("cbr").value = "";
      this.#cbrChanged();
    });
  }

  draw(options) {
    this.options = options;
    const schema = options.session_schema.properties;
    fill($("scheme"), [...options.schemes.map(({ id, title }) => [id, title]), [LISTED, "A list of modalities…"]]);
    $("modalities").maxLength = schema.scheme.maxLength;
    $("caption").maxLength = schema.caption.maxLength;
    const baselines = options.schemes.filter((scheme) => scheme.baseline);
    fill($("baseline_scheme"), [...baselines.map(({ id, title }) => [id, title]), ["", "none"]]);
    fill($("fps"), FRAME_RATES.map((fps) => [fps, `${fps} fps`]));
    fill($("size"), SIZES.map(([width, height]) => [`${width}x${height}`, `${width} × ${height}`]));
    $("channel").replaceChildren(...options.channels.map((name) => this.#channelChoice(name)));
    $("more-fields").replaceChildren();
    for (const [name, property] of Object.entries(schema)) {
      if (!PLACED.includes(name)) $("more-fields").append(this.#drawField(name, property));
    }
    const defaults = Object.entries(schema).map(([name, property]) => [name, property.default ?? null]);
    this.show(Object.fromEntries(defaults));
    $("settings").disabled = false;
  }

  setClips(clips) {
    this.clips = clips;
    const chosen = $("clip").value;
    fill($("clip"), clips.map(({ id, title }) => [id, title]));
    if (clips.some((clip) => clip.id === chosen)) $("clip").value = chosen;
    this.#refresh();
  }

  // While a change is under way, news of the session must not put its control back.
  hold(fields) {
    for (const name of Object.keys(fields)) this.held.set(name, (this.held.get(name) ?? 0) + 1);
  }

  release(fields) {
    for (const name of Object.keys(fields)) this.held.set(name, this.held.get(name) - 1);
  }

  // Shows what a session has. A field that is being typed in is left alone.
  show(session) {
    const isFree = (name, control) => !this.held.get(name) && (control.tagName === "SELECT" || control !== document.activeElement);
    for (const name of ["clip", "baseline_scheme", "fps"]) {
      if (isFree(name, $(name))) choose($(name), session[name]);
    }
    if (isFree("scheme", $("modalities"))) this.#showScheme(session.scheme);
    if (isFree("caption", $("caption"))) $("caption").value = session.caption ?? "";
    if (isFree("width", $("size"))) choose($("size"), `${session.width}x${session.height}`, `${session.width} × ${session.height}`);
    for (const radio of $("channel").querySelectorAll("input")) {
      if (!this.held.get("channel")) radio.checked = radio.value === session.channel;
    }
    if (isFree("cbr", $("cbr"))) $("cbr").value = session.cbr ? cbrText(session.cbr) : "";
    for (const [name, control] of this.drawn) {
      if (!isFree(name, control)) continue;
      if (control.type === "checkbox") control.checked = session[name];
      else if (control.tagName === "SELECT") choose(control, session[name]);
      else if (name in NAMES_OF_ZERO) control.value = session[name] || "";
      else control.value = session[name] ?? "";
    }
    this.#refresh();
  }

  // What POST /api/v1/sessions takes, less the SNR.
  values() {
    const fields = {
      clip: $("clip").value,
      caption: $("caption").value.trim(),
      scheme: this.#scheme(),
      baseline_scheme: $("baseline_scheme").value,
      channel: $("channel").querySelector(":checked").value,
      cbr: this.#cbr(),
      fps: Number($("fps").value),
      ...this.#size(),
    };
    for (const [name, control] of this.drawn) fields[name] = valueOf(name, control);
    return fields;
  }

  chooseClip(id) {
    $("clip").value = id;
    $("caption").value = "";
    this.#refresh();
    this.onChange({ clip: id, caption: "" });
  }

  schemeTitle(id) {
    return this.options?.schemes.find((scheme) => scheme.id === id)?.title ?? id;
  }

  // Of a scheme's id, or of a comma list; the papers say "desc" for a caption.
  schemeModalities(scheme) {
    const known = this.options.schemes.find(({ id }) => id === scheme);
    return known?.modalities ?? scheme.split(",").map((name) => (name.trim() === "desc" ? "caption" : name.trim()));
  }

  clipTitle(id) {
    return this.clips.find((clip) => clip.id === id)?.title ?? id;
  }

  #channelChoice(name) {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "channel", value: name });
    radio.dataset.testid = `channel-${name}`;
    radio.addEventListener("change", () => {
      this.#refresh();
      this.onChange({ channel: name });
    });
    label.append(radio, CHANNEL_NAMES[name] ?? name);
    return label;
  }

  #drawField(name, property) {
    const wrap = document.createElement("div");
    const label = document.createElement("label");
    label.htmlFor = `more-${name}`;
    label.textContent = property.title;
    const choices = this.#choicesOf(name);
    const control = document.createElement(choices ? "select" : "input");
    control.id = label.htmlFor;
    control.title = property.description;
    control.dataset.testid = name;
    if (choices) {
      fill(control, choices);
    } else if (property.type === "boolean") {
      control.type = "checkbox";
    } else if (property.type === "string") {
      Object.assign(control, { type: "text", maxLength: property.maxLength, autocomplete: "off" });
    } else {
      const step = property.multipleOf ?? (property.type === "integer" ? 1 : "any");
      Object.assign(control, { type: "number", min: property.minimum, max: property.maximum, step });
    }
    const changed = () => {
      if (!control.reportValidity()) return;
      this.#refresh();
      this.onChange({ [name]: valueOf(name, control) });
    };
    control.addEventListener("change", changed);
    wrap.className = property.type === "boolean" ? "field check" : "field";
    wrap.dataset.field = name;
    if (property.type === "boolean") wrap.append(control, label);
    else if (name in NAMES_OF_ZERO) wrap.append(label, withReset(control, NAMES_OF_ZERO[name], changed));
    else wrap.append(label, control);
    this.drawn.set(name, control);
    return wrap;
  }

  // [value, text] of what a field may be, where it is one of a list.
  #choicesOf(name) {
    const { mcs, generators, segmenters, sketchers, captioners } = this.options;
    if (name === "generator") return generators.map((generator) => [generator.name, generator.title]);
    const named = (names, nameOfNone) => names.map((choice) => [choice, choice || nameOfNone]);
    if (name === "mcs") return named(mcs);
    if (name === "segmenter") return named(segmenters, "bundled");
    if (name === "sketcher") return named(sketchers, "bundled");
    return name === "captioner" ? named(captioners, "as installed") : null;
  }

  #showScheme(scheme) {
    const isKnown = this.options.schemes.some(({ id }) => id === scheme);
    if (!isKnown) $("modalities").value = scheme;
    $("scheme").value = isKnown ? scheme : LISTED;
    $("modalities").hidden = isKnown;
  }

  // An id, or a comma list of modalities.
  #scheme() {
    return $("scheme").value === LISTED ? $("modalities").value.trim() : $("scheme").value;
  }

  #schemeChosen() {
    const isList = $("scheme").value === LISTED;
    $("modalities").hidden = !isList;
    $("modalities").value = "";
    this.#refresh();
    if (isList) $("modalities").focus();
    else this.onChange({ scheme: $("scheme").value });
  }

  #size() {
    const [width, height] = $("size").value.split("x").map(Number);
    return { width, height };
  }

  #cbr() {
    return $("cbr").value === "" ? null : Number($("cbr").value);
  }

  #cbrChanged() {
    if (!$("cbr").reportValidity()) return;
    this.#refresh();
    this.onChange({ cbr: this.#cbr() });
  }

  // What follows from other controls.
  #refresh() {
    const clip = this.clips.find(({ id }) => id === $("clip").value);
    $("clip-hint").textContent = clip ? clipHint(clip) : "";
    $("caption").placeholder = clip?.caption || "none";
    $("caption").title = clip?.caption ?? "";
    const scheme = this.options?.schemes.find(({ id }) => id === $("scheme").value);
    $("cbr").placeholder = scheme ? cbrText(scheme.default_cbr) : "";
    $("cbr-slider").value = String(Math.log10(this.#cbr() ?? scheme?.default_cbr ?? 0.01));
    $("cbr-default").disabled = this.#cbr() === null;
    const channel = $("channel").querySelector(":checked")?.value;
    const showOnly = (names, shown) => {
      for (const name of names) if (this.drawn.has(name)) this.drawn.get(name).closest(".field").hidden = !shown;
    };
    showOnly(BURST_ONLY, channel === "burst");
    showOnly(GENERATIVE_ONLY, this.drawn.get("generator")?.value !== "passthrough");
    for (const name in NAMES_OF_ZERO) {
      const control = this.drawn.get(name);
      if (control) control.nextElementSibling.disabled = control.value === "";
    }
  }
}

// A number with a button that empties it.
function withReset(control, name, changed) {
  const row = document.createElement("div");
  row.className = "row reset";
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "quiet", textContent: name });
  button.dataset.testid = `${control.dataset.testid}-reset`;
  button.addEventListener("click", () => {
    control.value = "";
    changed();
  });
  control.placeholder = name;
  row.append(control, button);
  return row;
}

function clipHint({ width, height, duration_s: seconds }) {
  const facts = [width ? `${width} × ${height}` : "", seconds ? `${Math.round(seconds)} s` : ""];
  return facts.filter(Boolean).join(", ");
}

function fill(select, choices) {
  select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
}

// Selects a value, adding it where it is not among the choices (somebody set it by REST).
function choose(select, value, text = String(value)) {
  if (value === null || value === undefined) return;
  if (![...select.options].some((option) => option.value === String(value))) select.add(new Option(text, value));
  select.value = String(value);
}

function valueOf(name, control) {
  if (control.type === "checkbox") return control.checked;
  if (name in NAMES_OF_ZERO) return Number(control.value);
  return control.type === "number" ? control.valueAsNumber : control.value;
}

// Three figures are more than the slider can set.
const cbrText = (cbr) => String(Number(cbr.toPrecision(3)));
