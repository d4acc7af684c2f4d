// @ts-check
/** The songs of a view, single ones and batches, kept as the stores say. */

import { Group } from "../batches/group.js";
import { h, setText } from "../dom.js";
import { isOver } from "../store.js";
import { Card } from "./card.js";
import { Shelf } from "./shelf.js";
import { EVERYTHING, isGrouped, isNarrow, matches, precedes, rankOf } from "./view.js";

/** @typedef {import("./view.js").View} View */
/** @typedef {import("./view.js").Rank} Rank */

/** Times that are said in words go stale: they are written again this often, in milliseconds. */
const REFRESH = 5000;

export class JobList {
  /** @type {Map<string, Card>} */
  #cards = new Map();
  /** Where each card is, and its rank there. @type {Map<string, {shelf: Shelf<any>, rank: any}>} */
  #homes = new Map();
  /** @type {Map<string, Group>} */
  #groups = new Map();
  /** Batches of which songs have been loaded: they are shown whatever their age. @type {Set<string>} */
  #met = new Set();
  #view = EVERYTHING;
  #ready = false;
  /** @type {Shelf<Rank>} */
  #shelf = new Shelf(h("div", { class: "cards", "data-testid": "jobs" }), (a, b) => precedes(this.#view, a, b));
  #emptyWords = h("p");
  #empty = h("div", { class: "empty", hidden: true, "data-testid": "empty" }, this.#emptyWords);
  #more = h("button", { type: "button", class: "button more", hidden: true, "data-testid": "more", onclick: () => this.#loadMore() });
  #jobs;
  #batches;
  #loader;
  #on;

  /**
   * @param {HTMLElement} root
   * @param {{jobs: import("../store.js").Store, batches: import("../batches/store.js").BatchStore, loader: import("./loader.js").Loader}} sources
   * @param {import("./card.js").CardDeeds & {
   *   batch: (id: string, verb: "cancel"|"retry") => Promise<void>,
   *   left: (id: string) => void,
   *   trouble: (error: unknown) => void,
   *   counted: (running: number, waiting: number) => void,
   * }} on `left`: a job is no longer on the screen
   */
  constructor(root, { jobs, batches, loader }, on) {
    this.#jobs = jobs;
    this.#batches = batches;
    this.#loader = loader;
    this.#on = on;
    root.append(this.#empty, this.#shelf.element, this.#more);
    jobs.subscribe((ids) => this.#redraw(ids, []));
    batches.subscribe((ids) => this.#redraw([], ids));
    setInterval(() => this.#redraw(this.#homes.keys(), this.#groups.keys()), REFRESH);
  }

  /** How many songs and batches are listed. */
  get size() {
    return this.#shelf.size;
  }

  /** @param {string} id */
  card(id) {
    return this.#cards.get(id);
  }

  /**
   * Show another view. What is there stays until the new one is loaded.
   * @param {View} view
   * @returns {Promise<number|null>} the revision from which on events keep it right; null when given up
   */
  async show(view) {
    const { element } = this.#shelf;
    element.setAttribute("aria-busy", "true");
    const revision = await this.#loader.first(view).catch((error) => {
      element.removeAttribute("aria-busy");
      throw error;
    });
    if (revision === null) return null;
    element.removeAttribute("aria-busy");
    this.#ready = true;
    this.#shelf.clear();
    for (const [id, { shelf }] of this.#homes) if (shelf === this.#shelf) this.#homes.delete(id);
    this.#view = view;
    this.#redraw(new Set([...this.#jobs.jobs.keys(), ...this.#cards.keys()]), this.#batches.batches.keys());
    return revision;
  }

  /** A batch was sent from this page. @param {string} id */
  reveal(id) {
    this.#group(id).reveal();
  }

  async #loadMore() {
    this.#more.disabled = true;
    try {
      await this.#loader.next(this.#view);
      this.#redraw(this.#jobs.jobs.keys(), this.#batches.batches.keys());
    } catch (error) {
      this.#on.trouble(error);
    } finally {
      this.#more.disabled = false;
    }
  }

  /** @param {Iterable<string>} jobs @param {Iterable<string>} batches */
  #redraw(jobs, batches) {
    if (!this.#ready) return;
    const now = Date.now();
    for (const id of [...batches]) this.#drawBatch(id, now);
    for (const id of [...jobs]) this.#drawJob(id, now);
    this.#describe();
  }

  /** @param {string} id @param {number} now */
  #drawJob(id, now) {
    const entry = this.#jobs.jobs.get(id);
    const home = entry ? this.#home(entry.job) : null;
    const before = this.#homes.get(id);
    if (before && before.shelf !== home?.shelf) before.shelf.remove(id);
    if (!entry || !home) {
      this.#homes.delete(id);
      if (this.#cards.delete(id)) this.#on.left(id);
      return;
    }
    const card = this.#cards.get(id) ?? new Card(id, this.#on);
    this.#cards.set(id, card);
    card.update(entry, now);
    if (before?.shelf === home.shelf && JSON.stringify(before.rank) === JSON.stringify(home.rank)) return;
    home.shelf.place(id, home.rank, card.element);
    this.#homes.set(id, home);
  }

  /** Where a job belongs; null: nowhere in this view. @param {import("../types.js").Snapshot} job @returns {{shelf: Shelf<any>, rank: any}|null} */
  #home(job) {
    if (isGrouped(this.#view) && job.batch && !this.#batches.missing.has(job.batch)) {
      this.#meet(job.batch);
      const group = this.#groups.get(job.batch);
      const place = group?.place(job.id) ?? null;
      return group && place !== null ? { shelf: group.shelf, rank: place } : null;
    }
    const rank = rankOf(this.#view, job);
    return matches(this.#view, job) && this.#reached(rank) ? { shelf: this.#shelf, rank } : null;
  }

  /** Whether the list has been loaded as far as this. @param {Rank} rank */
  #reached(rank) {
    const { horizon } = this.#loader;
    return horizon === null || !precedes(this.#view, horizon, rank);
  }

  /** @param {string} batch one of whose songs is here */
  #meet(batch) {
    if (this.#met.has(batch)) return;
    this.#met.add(batch);
    if (this.#batches.batches.has(batch)) this.#drawBatch(batch, Date.now());
    else this.#batches.want(batch);
  }

  /** @param {string} id @param {number} now */
  #drawBatch(id, now) {
    const batch = this.#batches.batches.get(id);
    if (!batch) {
      this.#redrawSongs(id);
      return;
    }
    const rank = rankOf(this.#view, batch);
    const mine = !this.#view.owner || batch.owner === this.#view.owner;
    const shown = isGrouped(this.#view) && mine && !isEmptied(batch) && (this.#met.has(id) || this.#reached(rank));
    if (!shown) {
      this.#shelf.remove(id);
      return;
    }
    const group = this.#group(id);
    group.update(batch, now);
    if (!this.#shelf.has(id)) this.#shelf.place(id, rank, group.element);
  }

  /** @param {string} id */
  #group(id) {
    const made = this.#groups.get(id) ?? new Group(id, {
      command: this.#on.batch,
      redraw: () => this.#redrawSongs(id),
      load: async () => {
        try {
          await this.#loader.songsOf(id);
        } catch (error) {
          this.#on.trouble(error);
        }
      },
    });
    this.#groups.set(id, made);
    return made;
  }

  /** @param {string} batch */
  #redrawSongs(batch) {
    const songs = [...this.#jobs.jobs.values()].filter(({ job }) => job.batch === batch);
    this.#redraw(songs.map(({ job }) => job.id), []);
  }

  #describe() {
    const jobs = [...this.#jobs.jobs.values()];
    const running = jobs.filter(({ job }) => job.status === "processing").length;
    const waiting = jobs.filter(({ job }) => !isOver(job) && job.status !== "processing").length;
    this.#on.counted(running, waiting);
    const more = this.#loader.horizon !== null;
    this.#more.hidden = !more;
    setText(this.#more, this.#view.sort === EVERYTHING.sort ? "Show older songs" : "Show more songs");
    this.#empty.hidden = this.#shelf.size > 0 || more;
    setText(this.#emptyWords, isNarrow(this.#view)
      ? "No song is like that. Try other words, or show all songs."
      : "No songs yet. Paste a link or drop a file above: you can watch it come apart here, and mix it when it is done.");
  }
}

/** Whether all of its songs have ended and been deleted. @param {import("../types.js").Batch} batch */
function isEmptied({ state, jobs, counts }) {
  const over = state !== "expanding" && state !== "processing";
  return over && jobs.length > 0 && Object.values(counts).every((count) => !count);
}
