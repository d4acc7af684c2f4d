// @ts-check
/** How soon, not before, and for whom: for those who ask for it. */

import { freshId, h, setText } from "../dom.js";
import { PRIORITIES } from "../jobs/actions.js";
import { moment } from "../times.js";

/** @typedef {import("../types.js").Terms} Terms */
/** @typedef {import("../types.js").Priority} Priority */

const KEY = "stembus.owner";

export class TermsPanel {
  #priority = h("select", { id: freshId("priority"), "data-testid": "compose-priority", onchange: () => this.#describe() },
    ...PRIORITIES.map(([value, label]) => h("option", { value, selected: value === "normal" }, label)));
  #start = h("input", { id: freshId("start"), type: "datetime-local", "data-testid": "compose-start", onchange: () => this.#describe() });
  #owner = h("input", { id: freshId("owner"), type: "text", maxLength: 64, autocomplete: "off", spellcheck: false, value: recall(), "data-testid": "compose-owner", oninput: () => this.#describe(), onchange: () => this.#keep() });
  #playlist = h("input", { id: freshId("playlist"), type: "checkbox", "data-testid": "compose-playlist", onchange: () => this.#describe() });
  #summary = h("span", { class: "options-summary quiet" });

  constructor() {
    this.element = h("details", { class: "options", "data-testid": "terms", ontoggle: () => this.#begin() },
      h("summary", {}, h("span", { class: "options-title" }, "More options"), this.#summary),
      h("div", { class: "options-body terms" },
        field(this.#priority, "Priority", "Songs with a high one are started first; waiting counts too."),
        field(this.#start, "Not before", "Leave it empty to start as soon as it is your turn."),
        field(this.#owner, "Owner", "Songs of different owners get a fair share each."),
        h("div", { class: "field check" },
          h("label", { for: this.#playlist.id }, this.#playlist, h("span", {}, "The address is a playlist: take all of its songs")))));
    this.#describe();
  }

  /** What songs are submitted with: only what differs from what is usual. @returns {Terms} */
  get value() {
    /** @type {Terms} */
    const terms = {};
    const start = this.#start.valueAsNumber;
    if (this.#priority.value !== "normal") terms.priority = /** @type {Priority} */ (this.#priority.value);
    if (this.#owner.value.trim()) terms.owner = this.#owner.value.trim();
    if (this.#start.value && Number.isFinite(start)) terms.run_at = new Date(this.#start.value).toISOString();
    return terms;
  }

  /** Whether an address stands for all the songs behind it. */
  get playlist() {
    return this.#playlist.checked;
  }

  /** What was meant for one submission is over; the owner stays. */
  reset() {
    this.#priority.value = "normal";
    this.#start.value = "";
    this.#playlist.checked = false;
    this.#describe();
  }

  /** The present is the earliest choice. */
  #begin() {
    const now = new Date();
    this.#start.min = new Date(now.getTime() - now.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  }

  #keep() {
    try {
      localStorage.setItem(KEY, this.#owner.value.trim());
    } catch {
      // Storage may be full or forbidden; the name then holds for this visit.
    }
  }

  #describe() {
    const { priority, owner, run_at } = this.value;
    setText(this.#summary, [
      priority ? `${priority} priority` : "",
      run_at ? `not before ${moment(run_at, Date.now())}` : "",
      owner ? `for ${owner}` : "",
      this.playlist ? "whole playlist" : "",
    ].filter(Boolean).join(" · "));
  }
}

/** @param {HTMLElement} control @param {string} label @param {string} note */
function field(control, label, note) {
  const id = freshId("note");
  control.setAttribute("aria-describedby", id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, h("p", { class: "quiet", id }, note));
}

function recall() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}
