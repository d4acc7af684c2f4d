// @ts-check
/** One batch on the page: how far all of it is, and below that its songs. */

import { deedButton } from "../button.js";
import { freshId, h, setData, setText } from "../dom.js";
import { batchTitle, batchWord, counted, shortUrl } from "../format.js";
import { icon } from "../icons.js";
import { problemBox } from "../jobs/problem.js";
import { Shelf } from "../jobs/shelf.js";
import { ago } from "../times.js";
import { Tally } from "./tally.js";

/** @typedef {import("../types.js").Batch} Batch */
/** @typedef {{command: (id: string, verb: "cancel"|"retry") => Promise<void>, load: (id: string) => Promise<void>, redraw: (id: string) => void}} GroupDeeds */

/** Songs that are shown at first, and with each "more". */
const STEP = 25;
/** A batch from this page opens by itself if it is no longer than this. */
const SHORT = 12;

export class Group {
  open = false;
  #id;
  #on;
  /** @type {Batch|null} */
  #batch = null;
  /** Place of each song in the batch. @type {Map<string, number>} */
  #places = new Map();
  #limit = STEP;
  #eager = false;
  #title = h("h3", { id: freshId("batch"), class: "title" });
  #byline = h("p", { class: "byline quiet" });
  #chip = h("span", { class: "chip", "data-testid": "batch-state" });
  #tally = new Tally();
  #trouble = h("div");
  #troubleShown = "";
  #toggle;
  #cancel;
  #retry;
  #more = h("button", { type: "button", class: "button more", hidden: true, "data-testid": "batch-more", onclick: () => this.#showMore() });

  /** @param {string} id @param {GroupDeeds} on */
  constructor(id, on) {
    this.#id = id;
    this.#on = on;
    const about = this.#title.id;
    const list = h("div", { class: "cards", id: freshId("songs"), hidden: true });
    /** The songs, in the order they were given. @type {Shelf<number>} */
    this.shelf = new Shelf(list, (a, b) => a < b);
    this.#toggle = h("button", { type: "button", class: "button", "aria-expanded": "false", "aria-controls": list.id, "data-testid": "batch-toggle", onclick: () => this.unfold(!this.open) }, h("span"));
    this.#cancel = deedButton({ testid: "batch-cancel", picture: icon("stop"), words: "Cancel all", about, deed: () => on.command(id, "cancel") });
    this.#retry = deedButton({ testid: "batch-retry", picture: icon("retry"), words: "Retry failed", about, deed: () => on.command(id, "retry") });
    this.element = h("section", { class: "card batch", "data-testid": "batch", "data-batch-id": id, "aria-labelledby": about },
      h("div", { class: "card-head" },
        h("div", { class: "thumb batch-thumb" }, icon("stack")),
        h("div", { class: "card-words" }, this.#title, this.#byline),
        this.#chip),
      this.#tally.element,
      this.#trouble,
      h("div", { class: "card-row" }, h("div", { class: "actions" }, this.#toggle, this.#retry, this.#cancel)),
      list, this.#more);
  }

  /** It was sent from here: show its songs as soon as they are known, unless they are many. */
  reveal() {
    this.#eager = true;
  }

  /** The song's place if it is to be shown now, else null. @param {string} job */
  place(job) {
    const place = this.#places.get(job);
    return this.open && place !== undefined && place < this.#limit ? place : null;
  }

  /** @param {boolean} open */
  async unfold(open) {
    this.open = open;
    this.#eager = false;
    this.shelf.element.hidden = !open;
    this.#toggle.setAttribute("aria-expanded", String(open));
    this.#drawButtons();
    this.#on.redraw(this.#id);
    if (open) await this.#on.load(this.#id);
  }

  /** @param {Batch} batch @param {number} now */
  update(batch, now) {
    this.#batch = batch;
    if (this.#places.size !== batch.jobs.length) this.#places = new Map(batch.jobs.map((id, place) => [id, place]));
    setData(this.element, "state", batch.state);
    setData(this.element, "progress", batch.progress.toFixed(1));
    setText(this.#title, batchTitle(batch));
    this.#title.title = batch.playlist ?? "";
    setText(this.#byline, byline(batch, now));
    setText(this.#chip, batchWord(batch));
    this.#tally.update(batch);
    this.#drawTrouble(batch);
    this.#drawButtons();
    if (this.#eager && batch.jobs.length) {
      this.#eager = false;
      if (batch.jobs.length <= SHORT) this.unfold(true);
    }
  }

  #drawButtons() {
    if (!this.#batch) return;
    const { state, counts, jobs, error } = this.#batch;
    setText(/** @type {Element} */ (this.#toggle.lastElementChild), this.open ? "Hide the songs" : `Show ${counted(jobs.length, "song")}`);
    this.#toggle.hidden = !jobs.length;
    this.#cancel.hidden = state !== "expanding" && state !== "processing";
    this.#retry.hidden = !counts.failed && !counts.cancelled && !error;
    setText(/** @type {Element} */ (this.#retry.lastElementChild), counts.failed && !error ? "Retry failed" : "Retry");
    this.#more.hidden = !this.open || jobs.length <= this.#limit;
    setText(this.#more, `Show ${counted(Math.min(STEP, jobs.length - this.#limit), "more song")}`);
  }

  #showMore() {
    this.#limit += STEP;
    this.#drawButtons();
    this.#on.redraw(this.#id);
  }

  /** Why it could not be read, and what was left out. @param {Batch} batch */
  #drawTrouble({ error, skipped }) {
    const key = JSON.stringify([error, skipped]);
    if (key === this.#troubleShown) return;
    this.#troubleShown = key;
    this.#trouble.replaceChildren();
    if (error) this.#trouble.append(problemBox(error));
    if (skipped.length) this.#trouble.append(skippedList(skipped));
  }
}

/** @param {Batch} batch @param {number} now */
function byline({ title, playlist, jobs, owner, created_at }, now) {
  return [
    playlist ? "Playlist" : title ? null : "Batch",
    title || playlist ? jobs.length ? counted(jobs.length, "song") : null : null,
    playlist && title ? shortUrl(playlist).split("/")[0] : null,
    owner ? `for ${owner}` : null,
    ago(created_at, now),
  ].filter(Boolean).join(" · ");
}

/** @param {import("../types.js").Skipped[]} skipped */
function skippedList(skipped) {
  return h("details", { class: "disclosure skipped", "data-testid": "skipped" },
    h("summary", {}, `${counted(skipped.length, "song")} left out`),
    h("ul", { class: "skipped-list" }, ...skipped.map(({ entry, problem }) =>
      h("li", {},
        h("p", { class: "skipped-entry" }, entry),
        h("p", { class: "quiet" }, [problem.title, problem.hint].filter(Boolean).join(". "))))));
}
