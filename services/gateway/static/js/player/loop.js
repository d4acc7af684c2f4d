// @ts-check
/** The part that is played over and over: the whole song, or what was marked on a waveform. */

import { setData } from "../dom.js";

/** @typedef {import("./engine.js").Span} Span */

/** The shortest part that is worth looping, in seconds. */
const SHORTEST = 0.3;

export class Loop {
  /** @type {Span|null} */
  #span = null;
  #root;
  #engine;
  #onchange;

  /**
   * @param {HTMLElement} root shows the part
   * @param {() => import("./engine.js").Engine} engine the one that plays
   * @param {(span: Span|null) => void} onchange
   */
  constructor(root, engine, onchange) {
    this.#root = root;
    this.#engine = engine;
    this.#onchange = onchange;
  }

  toggle() {
    this.#set(this.#span ? null : { start: 0, end: this.#engine().duration });
  }

  /** Another engine plays from now on. */
  hand() {
    this.#engine().setLoop(this.#span);
  }

  /** A part is being marked, in shares of the track. @param {number} start @param {number} end @param {boolean} done */
  mark(start, end, done) {
    const { duration } = this.#engine();
    const span = { start: start * duration, end: end * duration };
    const wanted = span.end - span.start >= SHORTEST;
    if (done && wanted) this.#set(span);
    else this.#draw(wanted ? span : this.#span);
  }

  /** Whoever goes elsewhere wants to hear what is there. @param {number} seconds */
  leaveUnless(seconds) {
    if (this.#span && (seconds < this.#span.start || seconds >= this.#span.end)) this.#set(null);
  }

  /** @param {Span|null} span */
  #set(span) {
    this.#span = span;
    this.#engine().setLoop(span);
    this.#draw(span);
    this.#onchange(span);
  }

  /** @param {Span|null} span */
  #draw(span) {
    const { duration } = this.#engine();
    const part = span && (span.start > 0 || span.end < duration) ? span : null;
    setData(this.#root, "loop", part ? "part" : span ? "whole" : null);
    this.#root.style.setProperty("--loop-start", `${((part?.start ?? 0) / duration) * 100}%`);
    this.#root.style.setProperty("--loop-end", `${((part?.end ?? 0) / duration) * 100}%`);
  }
}
