// @ts-check
/** Files on their way: one at a time; those that were given together become one batch. */

import { problemOf, sentences } from "../api/http.js";
import { patiently } from "../api/patience.js";
import { upload } from "../api/uploads.js";
import { Parcel } from "./parcel.js";
import { UploadRow } from "./upload-row.js";

/** @typedef {{file: File, row: UploadRow, parcel: Parcel}} Item */

export class Uploads {
  /** @type {Item[]} */
  #waiting = [];
  /** @type {Set<Parcel>} */
  #parcels = new Set();
  #sending = false;
  #element;
  #on;

  /**
   * @param {HTMLElement} element
   * @param {{submit: import("./parcel.js").Submit, named: (upload: string, filename: string) => void}} on `named`: a file's name, until the song tells its own
   */
  constructor(element, on) {
    this.#element = element;
    this.#on = on;
    addEventListener("beforeunload", (event) => {
      if (this.#sending || [...this.#parcels].some((parcel) => parcel.submitting)) event.preventDefault();
    });
  }

  /** @param {File[]} files */
  add(files) {
    const parcel = this.#parcel();
    const items = files.map((file) => {
      const row = new UploadRow(file, { again: () => this.#again(item), close: () => this.#drop(item) });
      /** @type {Item} */
      const item = { file, row, parcel };
      parcel.await(row);
      return item;
    });
    this.#element.append(...items.map(({ row }) => row.element));
    this.#enqueue(items);
  }

  #parcel() {
    const parcel = new Parcel(this.#on.submit);
    this.#parcels.add(parcel);
    return parcel;
  }

  /** @param {Item[]} items */
  #enqueue(items) {
    for (const { row } of items) row.wait();
    this.#waiting.push(...items);
    if (!this.#sending) this.#run();
  }

  /** What has arrived is submitted again, all of it; what has not is sent alone. @param {Item} item */
  #again(item) {
    if (item.parcel.holds(item.row)) {
      item.parcel.send();
      return;
    }
    item.parcel = this.#parcel();
    item.parcel.await(item.row);
    this.#enqueue([item]);
  }

  /** @param {Item} item */
  #drop(item) {
    this.#waiting = this.#waiting.filter((each) => each !== item);
    item.row.element.remove();
    item.parcel.remove(item.row);
    item.parcel.without(item.row);
  }

  async #run() {
    this.#sending = true;
    for (let item = this.#waiting.shift(); item; item = this.#waiting.shift()) await this.#send(item);
    this.#sending = false;
  }

  /** @param {Item} item */
  async #send({ file, row, parcel }) {
    const signal = row.start();
    try {
      const sent = await patiently(() => upload(file, (share) => row.progress(share), signal), (wait) => row.hold(wait), signal);
      this.#on.named(sent.upload, file.name);
      parcel.arrived(row, { upload: sent.upload });
    } catch (error) {
      if (signal.aborted) row.element.remove();
      else row.fail(sentences(problemOf(error)));
      parcel.without(row);
    }
  }
}
