// The events of one session. EventSource comes back by itself after a broken connection, but gives
// up for good after any other answer than 200; so that case is tried again here.

const RETRY_MS = 700;

export class SessionEvents {
  // onEvent(record); onLink(true | false): events flow, or not; onRefused(): 404 or another answer.
  constructor(url, { onEvent, onLink, onRefused }) {
    this.url = url;
    this.handlers = { onEvent, onLink, onRefused };
    this.timer = null;
    this.#open();
  }

  close() {
    clearTimeout(this.timer);
    this.source.close();
  }

  #open() {
    const source = new EventSource(this.url);
    this.source = source;
    source.onopen = () => this.handlers.onLink(true);
    source.onmessage = (message) => this.handlers.onEvent(JSON.parse(message.data));
    source.onerror = () => {
      this.handlers.onLink(false);
      if (source.readyState !== EventSource.CLOSED) return;
      this.handlers.onRefused();
      this.timer = setTimeout(() => this.#open(), RETRY_MS);
    };
  }
}
