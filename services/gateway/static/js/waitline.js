// @ts-check
/** Says that the server asked for patience, and counts down; the words are heard once. */

import { h, setText } from "./dom.js";
import { icon } from "./icons.js";

export class WaitLine {
  #words = h("span", {});
  #seconds = h("span", { class: "wait-seconds", "aria-hidden": "true" });
  #heard = h("span", { class: "unseen", role: "status" });
  #stop = h("button", { type: "button", class: "button small", "data-testid": "wait-stop" }, "Don’t wait");

  /** @param {() => void} onstop */
  constructor(onstop) {
    this.#stop.addEventListener("click", onstop);
    this.element = h("div", { class: "wait-slot" },
      this.#heard,
      h("p", { class: "wait", hidden: true, "data-testid": "wait" }, icon("clock"), h("span", { class: "wait-words" }, this.#words, " ", this.#seconds), this.#stop));
  }

  /** @param {import("./api/patience.js").Wait|null} wait */
  show(wait) {
    const line = /** @type {HTMLElement} */ (this.element.lastElementChild);
    line.hidden = wait === null;
    setText(this.#heard, wait ? `${wait.problem.title}. It is tried again by itself.` : "");
    if (!wait) return;
    setText(this.#words, `${wait.problem.title}.`);
    setText(this.#seconds, `Trying again in ${wait.seconds} s.`);
  }
}
