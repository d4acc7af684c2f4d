// @ts-check
/** Search, filters and order above the list; the page's address remembers them. */

import { freshId, h } from "../dom.js";
import { icon } from "../icons.js";
import { EVERYTHING, isNarrow } from "./view.js";

/** @typedef {import("./view.js").View} View */

/** Milliseconds without a keystroke after which is searched. */
const PAUSE = 250;

/** @type {[View["status"], string][]} */
const STATUSES = [["", "Any state"], ["processing", "Working"], ["pending", "Waiting"], ["scheduled", "Scheduled"], ["completed", "Ready"], ["failed", "Failed"], ["cancelled", "Cancelled"]];
/** @type {[View["sort"], string][]} */
const SORTS = [["-created", "Newest first"], ["created", "Oldest first"], ["-updated", "Last changed first"], ["updated", "Last changed last"]];

export class Filters {
  #search = h("input", { id: freshId("search"), type: "search", placeholder: "Search", autocomplete: "off", spellcheck: false, maxLength: 200, "data-testid": "search", oninput: () => this.#later(), onchange: () => this.#changed() });
  #status = select("filter-status", "State", STATUSES, () => this.#changed());
  #owner = select("filter-owner", "Owner", [["", "Anyone’s"]], () => this.#changed());
  #sort = select("sort", "Order", SORTS, () => this.#changed());
  #reset = h("button", { type: "button", class: "button small", hidden: true, "data-testid": "reset", onclick: () => this.#clear() }, "Show all");
  /** @type {Set<string>} */
  #owners = new Set();
  #timer = 0;
  #view;
  #onchange;

  /** @param {View} view to begin with @param {(view: View) => void} onchange */
  constructor(view, onchange) {
    this.#view = view;
    this.#onchange = onchange;
    this.element = h("form", { class: "filters", role: "search", "aria-label": "Songs", "data-testid": "filters", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
      h("div", { class: "search-box" },
        h("label", { for: this.#search.id }, icon("search"), h("span", { class: "unseen" }, "Search in titles, artists and addresses")), this.#search),
      this.#status, this.#owner, this.#sort, this.#reset);
    this.owner(view.owner);
    this.#write(view);
  }

  /** Somebody owns a song: from the first one on, there is something to choose. @param {string} owner */
  owner(owner) {
    if (owner && !this.#owners.has(owner)) {
      this.#owners.add(owner);
      const chosen = this.#owner.value;
      const names = [...this.#owners].sort((a, b) => a.localeCompare(b));
      this.#owner.replaceChildren(h("option", { value: "" }, "Anyone’s"), ...names.map((name) => h("option", { value: name }, name)));
      this.#owner.value = chosen;
    }
    this.#owner.hidden = this.#owners.size === 0;
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#changed(), PAUSE);
  }

  #changed() {
    clearTimeout(this.#timer);
    /** @type {View} */
    const view = {
      q: this.#search.value.trim(),
      status: /** @type {View["status"]} */ (this.#status.value),
      owner: this.#owner.value,
      sort: /** @type {View["sort"]} */ (this.#sort.value),
    };
    if (JSON.stringify(view) === JSON.stringify(this.#view)) return;
    this.#view = view;
    this.#reset.hidden = !isNarrow(view);
    this.#onchange(view);
  }

  #clear() {
    this.#write({ ...EVERYTHING, sort: this.#view.sort });
    this.#search.focus();
    this.#changed();
  }

  /** @param {View} view */
  #write(view) {
    this.#search.value = view.q;
    this.#status.value = view.status;
    this.#owner.value = view.owner;
    this.#sort.value = view.sort;
    this.#reset.hidden = !isNarrow(view);
  }
}

/** @param {string} testid @param {string} label @param {[string, string][]} choices @param {() => void} onchange */
function select(testid, label, choices, onchange) {
  return h("select", { "aria-label": label, "data-testid": testid, onchange },
    ...choices.map(([value, words]) => h("option", { value }, words)));
}
