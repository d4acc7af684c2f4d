// @ts-check
/** Files that were given together: when the last of them has arrived, they are submitted as one. */

import { problemOf, sentences } from "../api/http.js";
import { FormKey } from "../api/key.js";

/** @typedef {import("../types.js").Source} Source */
/** @typedef {import("./upload-row.js").UploadRow} UploadRow */
/** @typedef {(sources: Source[], key: string, waiting: import("../submit.js").Waiting) => Promise<void>} Submit */

export class Parcel {
  /** What has arrived, in the order it was given. @type {Map<UploadRow, Source>} */
  #arrived = new Map();
  /** What is still on its way. @type {Set<UploadRow>} */
  #awaited = new Set();
  #key = new FormKey();
  #submit;
  submitting = false;

  /** @param {Submit} submit */
  constructor(submit) {
    this.#submit = submit;
  }

  /** @param {UploadRow} row */
  await(row) {
    this.#awaited.add(row);
  }

  /** Whether the row's file is stored, and only has to be submitted. @param {UploadRow} row */
  holds(row) {
    return this.#arrived.has(row);
  }

  /** @param {UploadRow} row @param {Source} source */
  async arrived(row, source) {
    this.#arrived.set(row, source);
    row.arrived();
    await this.without(row);
  }

  /** A file that failed or was called off is not waited for. @param {UploadRow} row */
  async without(row) {
    if (this.#awaited.delete(row) && !this.#awaited.size) await this.send();
  }

  /** Called off after it had arrived. @param {UploadRow} row */
  remove(row) {
    this.#arrived.delete(row);
  }

  async send() {
    if (this.submitting || !this.#arrived.size) return;
    this.submitting = true;
    const sent = new Map(this.#arrived);
    const rows = [...sent.keys()];
    const sources = [...sent.values()];
    for (const row of rows) row.arrived();
    try {
      await this.#submit(sources, this.#key.of(sources), { onwait: (wait) => rows.forEach((row) => row.hold(wait)) });
      for (const row of rows) row.element.remove();
      this.#arrived.clear();
    } catch (error) {
      for (const row of rows) row.fail(sentences(problemOf(error)));
    } finally {
      this.submitting = false;
    }
  }
}
