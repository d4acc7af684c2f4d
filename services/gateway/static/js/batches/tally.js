// @ts-check
/** How far a batch is: one bar, and how many songs stand where. */

import { h, setData, setText } from "../dom.js";

/** @type {[import("../types.js").Status[], string][]} */
const PARTS = [
  [["completed"], "ready"],
  [["processing"], "working"],
  [["pending", "scheduled"], "waiting"],
  [["failed"], "failed"],
  [["cancelled"], "cancelled"],
];

export class Tally {
  #percent = h("span", { class: "percent" });
  #bar = h("div", { class: "tally-bar", role: "progressbar", "aria-label": "Progress of all songs", "aria-valuemin": 0, "aria-valuemax": 100 }, h("span", { class: "tally-fill" }));
  #counts = h("ul", { class: "tally-counts", "data-testid": "batch-counts" });
  #shown = "";

  constructor() {
    this.element = h("div", { class: "tally" }, this.#counts, this.#percent, this.#bar);
  }

  /** @param {import("../types.js").Batch} batch */
  update({ state, progress, counts, error }) {
    this.element.hidden = error !== null;
    const reading = state === "expanding";
    setData(this.element, "state", state);
    this.#bar.style.setProperty("--at", `${progress}%`);
    if (reading) this.#bar.removeAttribute("aria-valuenow");
    else this.#bar.setAttribute("aria-valuenow", String(Math.round(progress)));
    setText(this.#percent, reading ? "" : `${Math.floor(progress)}%`);
    const words = PARTS.map(([statuses, word]) => ({ word, count: statuses.reduce((sum, status) => sum + (counts[status] ?? 0), 0) }))
      .filter(({ count }) => count > 0);
    const key = reading ? state : JSON.stringify(words);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#counts.replaceChildren(...(reading
      ? [h("li", {}, "Reading the playlist…")]
      : words.map(({ word, count }) => h("li", { "data-part": word }, `${count} ${word}`))));
  }
}
