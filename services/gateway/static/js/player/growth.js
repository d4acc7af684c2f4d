// @ts-check
/** What a mixer shows of a song that is not done yet: how far it can be heard, and its shape so far. */

import { h, setData, setText } from "../dom.js";
import { clock } from "../times.js";
import { readySeconds } from "./playable.js";
import { peaksOf } from "./waveform.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */

/** Points of a waveform over the whole song. */
const POINTS = 1000;

export class Growth {
  element = h("p", { class: "growth quiet", "data-testid": "growth" });
  #root;
  #lanes;
  /** @type {Map<string, number[]>} */
  #peaks = new Map();
  #seconds = 0;

  /** @param {HTMLElement} root shows how far it is @param {import("./lane.js").Lane[]} lanes */
  constructor(root, lanes) {
    this.#root = root;
    this.#lanes = lanes;
    for (const { name } of lanes) this.#peaks.set(name, Array.from({ length: POINTS }, () => 0));
  }

  /** @param {Snapshot} job */
  update(job) {
    const ready = readySeconds(job);
    this.#seconds = job.seconds ?? 0;
    const share = this.#seconds ? ready / this.#seconds : 0;
    setData(this.#root, "ready", ready.toFixed(2));
    this.#root.style.setProperty("--ready", `${share * 100}%`);
    setText(this.element, share < 1
      ? `${clock(ready)} of ${clock(this.#seconds)} can be heard already; the rest joins in as it is made.`
      : "All of it can be heard; the stems are being put together.");
  }

  /** A piece was decoded. @param {string} name @param {number} start seconds @param {AudioBuffer} buffer */
  draw(name, start, buffer) {
    const peaks = this.#peaks.get(name);
    if (!peaks || !this.#seconds) return;
    const at = (/** @type {number} */ seconds) => Math.min(POINTS, Math.round((seconds / this.#seconds) * POINTS));
    const from = at(start);
    const count = Math.max(1, at(start + buffer.duration) - from);
    peaks.splice(from, count, ...peaksOf(buffer, count).slice(0, POINTS - from));
    this.#lanes.find((lane) => lane.name === name)?.waveform.show(peaks);
  }

  /** The song is done. */
  end() {
    setData(this.#root, "ready", null);
    this.#root.style.removeProperty("--ready");
    this.element.remove();
  }
}
