// @ts-check
/**
 * The one event stream of the page. The browser reconnects a broken stream by itself, with the
 * last revision; a stream that was refused (any answer but 200) is opened again from here.
 */

/** @typedef {"connecting"|"live"|"reconnecting"|"offline"} Connection */
/**
 * @typedef {object} Handlers
 * @property {(job: import("./types.js").Snapshot) => void} job
 * @property {(progress: import("./types.js").Progress) => void} progress
 * @property {(gone: {id: string}) => void} gone a job was removed
 * @property {(news: import("./types.js").QueueNews) => void} queue
 * @property {(batch: import("./types.js").Batch) => void} batch
 */

const KINDS = /** @type {(keyof Handlers)[]} */ (["job", "progress", "gone", "queue", "batch"]);
const FIRST_DELAY = 1000;
const LAST_DELAY = 30000;

export class Events {
  /** @type {EventSource|null} */
  #source = null;
  #after = "0";
  #delay = FIRST_DELAY;
  #timer = 0;
  #handlers;
  #connection;

  /** @param {Handlers} handlers @param {(state: Connection) => void} connection */
  constructor(handlers, connection) {
    this.#handlers = handlers;
    this.#connection = connection;
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
      this.#connection("live");
    };
    source.onerror = () => this.#broken(source);
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) this.#after = event.lastEventId;
        const data = parse(event.data);
        if (data) this.#handlers[kind](data);
      });
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** @param {EventSource} source */
  #broken(source) {
    if (source !== this.#source) return;
    this.#connection(navigator.onLine === false ? "offline" : "reconnecting");
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
