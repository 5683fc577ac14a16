// What happened in a session: the switches of "auto", each a line of a short log.

const LINES_MAX = 5;

// Tells when the scheme in force changes within one run of a session.
export class SchemeWatch {
  constructor() {
    this.scheme = "";
    this.generation = null;
  }

  // { from, to, snrDb } where this frame is the first one of another scheme, else null.
  push(frame) {
    const { scheme_id: scheme = "", snr_db_estimated: snrDb = null } = frame.receiver ?? {};
    if (!scheme) return null;
    const from = frame.generation === this.generation ? this.scheme : scheme;
    this.scheme = scheme;
    this.generation = frame.generation;
    return from === scheme ? null : { from, to: scheme, snrDb };
  }
}

export class EventLog {
  constructor(list) {
    this.list = list;
  }

  add(text, date = new Date()) {
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = date.toISOString();
    time.textContent = date.toTimeString().slice(0, 8);
    line.append(time, text);
    this.list.append(line);
    while (this.list.children.length > LINES_MAX) this.list.firstElementChild.remove();
    this.list.hidden = false;
  }

  clear() {
    this.list.replaceChildren();
    this.list.hidden = true;
  }
}
