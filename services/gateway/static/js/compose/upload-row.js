// @ts-check
/** One file on its way, as it is seen. */

import { h, setData, setText } from "../dom.js";
import { size } from "../format.js";
import { icon } from "../icons.js";

export class UploadRow {
  /** @type {AbortController|null} */
  #abort = null;
  #state = h("span", { class: "upload-state quiet" });
  #bar = h("progress", { max: 1, value: 0 });
  #again;
  #bytes;

  /** @param {File} file @param {{again: () => void, close: () => void}} on */
  constructor(file, on) {
    this.#bytes = file.size;
    this.#bar.setAttribute("aria-label", `Upload of ${file.name}`);
    this.#again = h("button", { type: "button", class: "button small", hidden: true, "data-testid": "upload-again", onclick: on.again },
      icon("retry"), "Try again", h("span", { class: "unseen" }, ` ${file.name}`));
    this.element = h(
      "div",
      { class: "upload", "data-testid": "upload", "data-state": "waiting" },
      h("span", { class: "upload-name" }, file.name),
      this.#state,
      this.#again,
      h("button", {
        type: "button",
        class: "button icon-only",
        title: "Cancel",
        "aria-label": `Cancel the upload of ${file.name}`,
        onclick: () => (this.#abort ? this.#abort.abort() : on.close()),
      }, icon("close")),
      this.#bar,
    );
  }

  wait() {
    this.#show("waiting", "waiting");
  }

  /** @returns {AbortSignal} */
  start() {
    this.#abort = new AbortController();
    this.progress(0);
    return this.#abort.signal;
  }

  /** @param {number} share */
  progress(share) {
    this.#bar.value = share;
    this.#show("sending", share < 1 ? `${size(Math.round(share * this.#bytes))} of ${size(this.#bytes)}` : "Storing…");
  }

  /** The server asks for patience; null: no longer. @param {import("../api/patience.js").Wait|null} wait */
  hold(wait) {
    if (wait) this.#show("holding", `${wait.problem.title}. Trying again in ${wait.seconds} s.`);
  }

  /** The file is stored; it is yet to be submitted. */
  arrived() {
    this.#abort = null;
    this.#bar.value = 1;
    this.#show("arrived", "sent");
  }

  /** @param {string} words */
  fail(words) {
    this.#abort = null;
    this.#show("failed", words);
  }

  /** @param {string} state @param {string} words */
  #show(state, words) {
    this.#again.hidden = state !== "failed";
    setData(this.element, "state", state);
    setText(this.#state, words);
  }
}
