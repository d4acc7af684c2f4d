// @ts-check
/** A job's history, drawn while its disclosure is open. */

import { h } from "../dom.js";
import { statusWord } from "../format.js";
import { clockTime } from "../times.js";

export class Timeline {
  /** @type {import("../types.js").Moment[]} */
  #moments = [];
  #list = h("ol", { class: "timeline-list" });

  constructor() {
    this.element = h("details", { class: "timeline", "data-testid": "timeline", ontoggle: () => this.#draw() },
      h("summary", {}, "History"), this.#list);
  }

  /** @param {import("../types.js").Moment[]} moments */
  update(moments) {
    if (moments.length === this.#moments.length && moments.at(-1)?.at === this.#moments.at(-1)?.at) return;
    this.#moments = moments;
    this.element.hidden = moments.length === 0;
    this.#draw();
  }

  #draw() {
    if (!this.element.open) return;
    this.#list.replaceChildren(...this.#moments.map((moment) =>
      h("li", { "data-status": moment.status },
        h("time", { dateTime: moment.at, title: new Date(moment.at).toLocaleString() }, clockTime(moment.at)),
        h("span", { class: "timeline-what" }, statusWord(moment)),
        moment.note && moment.note !== moment.status ? h("span", { class: "timeline-note quiet" }, moment.note) : null)));
  }
}
