// @ts-check
/**
 * The one event stream of the page. The browser reconnects a broken stream by itself, with the
 * last revision; a stream that was refused (any answer but 200) is opened again from here.
 */

/** @typedef {"connecting"|"live"|"reconnecting"|"offline"} Connection */

const FIRST_DELAY = 1000;
const LAST_DELAY = 30000;

export class Events {
  /** @type {EventSource|null} */
  #source = null;
  #after = "0";
  #delay = FIRST_DELAY;
  #timer = 0;
  #handlers;

  /**
   * @param {{
   *   job: (job: import("./types.js").Snapshot) => void,
   *   progress: (progress: import("./types.js").Progress) => void,
   *   connection: (state: Connection) => void,
   * }} handlers
   */
  constructor(handlers) {
    this.#handlers = handlers;
    // A page in the back/forward cache must not hold one of the server's streams.
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open(this.#after));
    addEventListener("online", () => this.#source?.readyState !== EventSource.OPEN && this.open(this.#after));
  }

  /** Listen for everything after revision `after`. @param {string|number} after */
  open(after) {
    this.close();
    this.#after = String(after);
    const source = new EventSource(`/v1/events?after=${encodeURIComponent(this.#after)}`);
    this.#source = source;
    source.onopen = () => {
      this.#delay = FIRST_DELAY;
      this.#handlers.connection("live");
    };
    source.onerror = () => this.#broken(source);
    source.addEventListener("job", (event) => {
      this.#remember(event);
      const job = parse(event.data);
      if (job) this.#handlers.job(job);
    });
    source.addEventListener("progress", (event) => {
      const progress = parse(event.data);
      if (progress) this.#handlers.progress(progress);
    });
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** @param {MessageEvent} event */
  #remember(event) {
    if (event.lastEventId) this.#after = event.lastEventId;
  }

  /** @param {EventSource} source */
  #broken(source) {
    if (source !== this.#source) return;
    this.#handlers.connection(navigator.onLine === false ? "offline" : "reconnecting");
    if (source.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.open(this.#after), this.#delay * (0.75 + Math.random() / 2));
    this.#delay = Math.min(this.#delay * 2, LAST_DELAY);
  }
}

/** @param {string} data @returns {any} null when a proxy garbled it */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
