// @ts-check
/** The server's state in a panel of its own: asked for while it is open. */

import { problemOf, sentences } from "../api/http.js";
import { stats } from "../api/server.js";
import { h, setText } from "../dom.js";
import { icon } from "../icons.js";
import { drawStats } from "./sections.js";

/** Milliseconds between two looks. */
const EVERY = 2000;

export class StatusPanel {
  #body = h("div", { class: "status-body", "data-testid": "status-body" });
  #message = h("p", { class: "status-message", role: "status" }, "Asking the server…");
  #timer = 0;
  #shown = "";

  /** @param {HTMLElement} button opens it */
  constructor(button) {
    this.element = h("dialog", {
      class: "status",
      "aria-labelledby": "status-title",
      "data-testid": "status-panel",
      onclose: () => clearTimeout(this.#timer),
      onclick: (/** @type {MouseEvent} */ event) => event.target === this.element && this.element.close(),
    },
      h("div", { class: "status-sheet" },
        h("div", { class: "status-head" },
          h("h2", { id: "status-title" }, "Status"),
          h("button", { type: "button", class: "button icon-only", "aria-label": "Close", title: "Close", "data-testid": "status-close", onclick: () => this.element.close() }, icon("close"))),
        this.#message,
        this.#body));
    button.addEventListener("click", () => this.#open());
    document.addEventListener("visibilitychange", () => !document.hidden && this.element.open && this.#look());
  }

  #open() {
    this.element.showModal();
    this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    try {
      const found = await stats();
      setText(this.#message, "");
      const key = JSON.stringify({ ...found, revision: 0 });
      if (key !== this.#shown) this.#body.replaceChildren(...drawStats(found, Date.now()));
      this.#shown = key;
    } catch (error) {
      setText(this.#message, sentences(problemOf(error)));
    }
    if (this.element.open && !document.hidden) this.#timer = setTimeout(() => this.#look(), EVERY);
  }
}
