// @ts-check
/** All jobs, newest first; older ones on request. */

import { h, setData, setText } from "../dom.js";
import { isOver } from "../store.js";
import { Card } from "./card.js";

/** Times that are said in words go stale: they are written again this often, in milliseconds. */
const REFRESH = 5000;

export class JobList {
  /** @type {Map<string, Card>} */
  #cards = new Map();
  /** Ids in the order shown. @type {string[]} */
  #order = [];
  #list = h("div", { class: "cards", "data-testid": "jobs" });
  #empty = h("div", { class: "empty", hidden: true, "data-testid": "empty" },
    h("p", {}, "No songs yet. Paste a link or drop a file above: you can watch it come apart here, and mix it when it is done."));
  #more = h("button", { type: "button", class: "button more", hidden: true, "data-testid": "more" }, "Show older songs");
  #store;
  #on;
  #counts;

  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} counts
   * @param {import("../store.js").Store} store
   * @param {import("./card.js").CardActions & {more: () => Promise<void>}} on
   */
  constructor(root, counts, store, on) {
    this.#store = store;
    this.#on = on;
    this.#counts = counts;
    this.#more.addEventListener("click", () => this.#loadMore());
    root.append(this.#empty, this.#list, this.#more);
    store.subscribe((ids) => this.#draw(ids));
    setInterval(() => this.#refresh(), REFRESH);
  }

  /** The first page has come: an empty list is a fact from now on. */
  ready() {
    setData(this.#list, "ready", "");
    this.#count();
  }

  /** @param {boolean} more whether the server has older jobs than those shown */
  hasMore(more) {
    this.#more.hidden = !more;
  }

  /** @param {string} id */
  card(id) {
    return this.#cards.get(id);
  }

  async #loadMore() {
    this.#more.disabled = true;
    try {
      await this.#on.more();
    } finally {
      this.#more.disabled = false;
    }
  }

  /** @param {Set<string>} ids */
  #draw(ids) {
    const now = Date.now();
    for (const id of ids) {
      const entry = this.#store.jobs.get(id);
      if (!entry) this.#forget(id);
      else {
        if (!this.#cards.has(id)) this.#insert(id);
        this.#cards.get(id)?.update(entry, now);
      }
    }
    this.#count();
  }

  /** @param {string} id */
  #insert(id) {
    const card = new Card(id, this.#on);
    this.#cards.set(id, card);
    const before = this.#order.findIndex((other) => this.#newer(id, other));
    const at = before < 0 ? this.#order.length : before;
    const next = before < 0 ? null : (this.#cards.get(this.#order[before])?.element ?? null);
    this.#order.splice(at, 0, id);
    this.#list.insertBefore(card.element, next);
  }

  /** @param {string} a @param {string} b */
  #newer(a, b) {
    const created = (/** @type {string} */ id) => Date.parse(this.#store.jobs.get(id)?.job.created_at ?? "");
    return created(a) - created(b) > 0 || (created(a) === created(b) && a > b);
  }

  /** @param {string} id */
  #forget(id) {
    this.#cards.get(id)?.element.remove();
    this.#cards.delete(id);
    this.#order = this.#order.filter((other) => other !== id);
  }

  #refresh() {
    const now = Date.now();
    for (const [id, card] of this.#cards) {
      const entry = this.#store.jobs.get(id);
      if (entry) card.update(entry, now);
    }
  }

  #count() {
    const jobs = [...this.#store.jobs.values()];
    const running = jobs.filter(({ job }) => job.status === "processing").length;
    const waiting = jobs.filter(({ job }) => !isOver(job) && job.status !== "processing").length;
    this.#empty.hidden = !("ready" in this.#list.dataset) || jobs.length > 0;
    setText(this.#counts, [running ? `${running} running` : "", waiting ? `${waiting} waiting` : ""].filter(Boolean).join(", "));
    document.title = running ? `(${running}) Stembus` : "Stembus";
  }
}
