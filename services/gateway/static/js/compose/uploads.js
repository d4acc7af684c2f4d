// @ts-check
/** Files on their way: one at a time, each with its progress, each becoming a job. */

import { problemOf, upload } from "../api.js";
import { h, setData, setText } from "../dom.js";
import { size } from "../format.js";
import { icon } from "../icons.js";

/** @typedef {{file: File, view: UploadRow}} Item */

export class Uploads {
  /** @type {Item[]} */
  #waiting = [];
  #busy = false;
  #element;
  #submit;

  /**
   * @param {HTMLElement} element
   * @param {(source: import("../types.js").Source, filename: string) => Promise<void>} submit
   */
  constructor(element, submit) {
    this.#element = element;
    this.#submit = submit;
    addEventListener("beforeunload", (event) => {
      if (this.#busy) event.preventDefault();
    });
  }

  /** @param {File[]} files */
  add(files) {
    for (const file of files) {
      /** @type {Item} */
      const item = { file, view: new UploadRow(file, { again: () => this.#enqueue(item), close: () => this.#drop(item) }) };
      this.#element.append(item.view.element);
      this.#enqueue(item);
    }
  }

  /** @param {Item} item */
  #enqueue(item) {
    item.view.wait();
    this.#waiting.push(item);
    if (!this.#busy) this.#run();
  }

  /** @param {Item} item */
  #drop(item) {
    this.#waiting = this.#waiting.filter((each) => each !== item);
    item.view.element.remove();
  }

  async #run() {
    this.#busy = true;
    for (let item = this.#waiting.shift(); item; item = this.#waiting.shift()) await this.#send(item);
    this.#busy = false;
  }

  /** @param {Item} item */
  async #send({ file, view }) {
    const signal = view.start();
    try {
      const sent = await upload(file, (share) => view.progress(share), signal);
      await this.#submit({ upload: sent.upload }, file.name);
      view.element.remove();
    } catch (error) {
      if (signal.aborted) view.element.remove();
      else view.fail(problemOf(error));
    }
  }
}

class UploadRow {
  /** @type {AbortController|null} */
  #abort = null;
  #state = h("span", { class: "upload-state quiet" });
  #bar = h("progress", { max: 1, value: 0 });
  #again;

  /** @param {File} file @param {{again: () => void, close: () => void}} on */
  constructor(file, on) {
    this.size = file.size;
    this.#bar.setAttribute("aria-label", `Upload of ${file.name}`);
    this.#again = h("button", { type: "button", class: "button small", hidden: true, onclick: on.again }, icon("retry"), "Try again");
    this.element = h(
      "div",
      { class: "upload", "data-testid": "upload", "data-state": "waiting" },
      h("span", { class: "upload-name" }, file.name),
      this.#state,
      this.#again,
      h("button", {
        type: "button",
        class: "button icon-only",
        "aria-label": `Cancel the upload of ${file.name}`,
        onclick: () => (this.#abort ? this.#abort.abort() : on.close()),
      }, icon("close")),
      this.#bar,
    );
  }

  wait() {
    this.#again.hidden = true;
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
    this.#show("sending", share < 1 ? `${size(Math.round(share * this.size))} of ${size(this.size)}` : "Storing…");
  }

  /** @param {import("../types.js").Problem} problem */
  fail({ title, detail, hint }) {
    this.#abort = null;
    this.#again.hidden = false;
    this.#show("failed", [title, detail, hint].filter(Boolean).join(". "));
  }

  /** @param {string} state @param {string} words */
  #show(state, words) {
    setData(this.element, "state", state);
    setText(this.#state, words);
  }
}
