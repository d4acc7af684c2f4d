// @ts-check
/**
 * The stems of a song that is still being separated: its pieces, started one behind the other on
 * whole frames of one clock, so that nothing is heard of their borders. At the last piece that is
 * ready it waits, and goes on by itself.
 *
 * Everything is counted in frames of the song; the context runs at the song's rate.
 */

import { PieceShelf } from "./piece-shelf.js";

/** @typedef {import("./engine.js").Span} Span */
/**
 * @typedef {object} PieceSetup
 * @property {AudioContext} context
 * @property {string[]} names
 * @property {number} seconds of the whole song
 * @property {number} pieceSeconds of each piece but the last
 * @property {number} count of pieces in the whole song
 * @property {number} ready seconds from the beginning that can be heard
 * @property {(name: string, n: number, signal: AbortSignal) => Promise<ArrayBuffer>} fetch
 * @property {() => void} onchange it began, ended, stalled or went on by itself
 * @property {(name: string, n: number, buffer: AudioBuffer) => void} onpiece
 */
/** @typedef {{gain: GainNode, level: number}} Voice */
/**
 * @typedef {object} Run what sounds, or is about to
 * @property {number} clock the context's frame at which it began
 * @property {number} place the song's frame at which it began
 * @property {number} until the song's frame up to which everything is there
 * @property {number} next the piece behind that
 * @property {Map<string, AudioBufferSourceNode>} sources
 * @property {Set<ConstantSourceNode>} marks silent, each ends where a piece does
 */

/** Seconds between the decision to start and the start: enough for every source to be ready. */
const LEAD = 0.04;
/** Seconds of fade at starts and stops, so that a cut wave doesn't click. */
const FADE = 0.008;
/** Seconds that are had in advance, and one whole piece at least. */
const AHEAD = 20;

export class PieceEngine {
  kind = "pieces";
  limit = Infinity;
  stalled = false;
  playing = false;
  #context;
  #setup;
  #shelf;
  #gate;
  #master;
  /** @type {Map<string, Voice>} */
  #voices = new Map();
  #rate;
  #total;
  #length;
  #last;
  #ready;
  /** Where it is while nothing sounds. */
  #place = 0;
  /** @type {Run|null} */
  #run = null;
  /** @type {Span|null} frames */
  #loop = null;
  /** @type {{names: string[], resolve: () => void}[]} */
  #waiting = [];

  /** @param {PieceSetup} setup */
  constructor(setup) {
    this.#setup = setup;
    this.#context = setup.context;
    this.#rate = setup.context.sampleRate;
    this.#total = this.#frames(setup.seconds);
    this.#length = this.#frames(setup.pieceSeconds);
    this.#last = setup.count - 1;
    this.#ready = this.#frames(setup.ready);
    this.duration = setup.seconds;
    this.#master = new GainNode(this.#context);
    this.#gate = new GainNode(this.#context);
    this.#gate.connect(this.#master).connect(this.#context.destination);
    for (const name of setup.names) {
      const gain = new GainNode(this.#context, { gain: 0 });
      gain.connect(this.#gate);
      this.#voices.set(name, { gain, level: 0 });
    }
    this.#shelf = new PieceShelf({
      context: setup.context,
      fetch: setup.fetch,
      ondecoded: (name, n, buffer) => {
        setup.onpiece(name, n, buffer);
        this.#look();
      },
    });
  }

  get position() {
    return this.#here() / this.#rate;
  }

  /** More of the song can be heard. @param {number} ready seconds from the beginning */
  grow(ready) {
    this.#ready = this.#frames(ready);
    this.#shelf.retry();
    this.#look();
  }

  /** @param {string[]} names */
  async prepare(names) {
    await new Promise((/** @type {(value?: undefined) => void} */ resolve) => {
      this.#waiting.push({ names, resolve });
      this.#look();
    });
  }

  async play() {
    if (this.playing) return;
    await this.#context.resume();
    if (this.#place >= this.#total) this.#place = this.#loop?.start ?? 0;
    this.playing = true;
    this.#look();
    this.#setup.onchange();
  }

  pause() {
    if (!this.playing) return;
    this.#place = this.#here();
    this.playing = this.stalled = false;
    this.#halt();
    this.#setup.onchange();
  }

  /** As far as it is ready. @param {number} seconds */
  seek(seconds) {
    const place = Math.min(Math.max(0, this.#frames(seconds)), this.#ready);
    this.#halt();
    this.#place = place;
    this.#look();
  }

  /** @param {Span|null} span */
  setLoop(span) {
    const here = this.#here();
    this.#loop = span && { start: this.#frames(span.start), end: Math.min(this.#total, this.#frames(span.end)) };
    const outside = this.#loop && (here < this.#loop.start || here >= this.#loop.end);
    this.seek((outside ? (this.#loop?.start ?? 0) : here) / this.#rate);
  }

  /** @param {string} name @param {number} gain */
  setGain(name, gain) {
    const voice = this.#voices.get(name);
    if (!voice) throw new Error(`no such stem: ${name}`);
    const was = voice.level > 0;
    voice.level = gain;
    voice.gain.gain.setTargetAtTime(gain, this.#context.currentTime, 0.012);
    if (was !== gain > 0) this.#look();
  }

  /** @param {number} gain */
  setMaster(gain) {
    this.#master.gain.setTargetAtTime(gain, this.#context.currentTime, 0.012);
  }

  /** @returns {AudioBuffer|null} */
  buffer() {
    return null;
  }

  /**
   * End at an instant to come, so that another engine can begin there: this one fades out while
   * that one fades in. It is of no use afterwards. Null if nothing sounds.
   * @returns {{instant: number, place: number}|null} of the context's clock and in the song, seconds
   */
  leave() {
    const run = this.#run;
    const clock = this.#soon();
    const place = run ? run.place + clock - run.clock : 0;
    if (!run || place + FADE * this.#rate >= run.until) return null;
    const instant = clock / this.#rate;
    this.#gate.gain.cancelScheduledValues(instant);
    this.#gate.gain.setValueAtTime(1, instant);
    this.#gate.gain.linearRampToValueAtTime(0, instant + FADE);
    this.#end(instant + FADE);
    this.#place = place;
    this.playing = this.stalled = false;
    this.#shelf.dispose();
    this.#at(instant + FADE, () => this.dispose());
    return { instant, place: place / this.#rate };
  }

  dispose() {
    this.playing = false;
    this.#halt();
    this.#shelf.dispose();
    for (const { gain } of this.#voices.values()) gain.disconnect();
    this.#gate.disconnect();
    this.#master.disconnect();
  }

  /** Something is different: fetch what is needed now, and begin or go on where that is possible. */
  #look() {
    this.#shelf.want(this.#needs());
    this.#waiting = this.#waiting.filter(({ names, resolve }) => {
      const here = this.#here();
      const there = here >= this.#ready || names.every((name) => this.#shelf.get(name, this.#pieceAt(here)));
      if (there) resolve();
      return !there;
    });
    if (!this.playing) return;
    if (this.#run) {
      this.#extend(this.#run);
      return;
    }
    if (this.#place >= this.#total) {
      this.#finish();
      return;
    }
    const able = this.#complete(this.#pieceAt(this.#place));
    if (able) this.#begin();
    if (this.stalled === able) {
      this.stalled = !able;
      this.#setup.onchange();
    }
  }

  /** The pieces of the audible stems from here on. */
  #needs() {
    const first = this.#pieceAt(this.#here());
    const last = Math.max(first + 1, this.#pieceAt(this.#here() + AHEAD * this.#rate));
    const numbers = Array.from({ length: last - first + 1 }, (_, index) => first + index).filter((n) => this.#isReady(n));
    return numbers.flatMap((n) => this.#audible().map((name) => ({ name, n })));
  }

  #begin() {
    const clock = this.#soon();
    /** @type {Run} */
    const run = { clock, place: this.#place, until: this.#place, next: this.#pieceAt(this.#place), sources: new Map(), marks: new Set() };
    this.#run = run;
    const instant = clock / this.#rate;
    this.#gate.gain.cancelScheduledValues(0);
    this.#gate.gain.setValueAtTime(0, instant);
    this.#gate.gain.linearRampToValueAtTime(1, instant + FADE);
    this.#extend(run);
  }

  /** Start what has come: the next pieces, and stems that were turned on meanwhile. @param {Run} run */
  #extend(run) {
    const soonest = run.place + this.#soon() - run.clock;
    const before = run.until;
    const end = this.#loop && run.place < this.#loop.end ? this.#loop.end : this.#total;
    const far = Math.max(this.#endOf(this.#pieceAt(this.#here())) + 1, this.#here() + AHEAD * this.#rate);
    // A border that is too near is let come: there it stalls, and goes on to the frame.
    while (run.until < end && run.until < far && this.#complete(run.next) && (run.until === run.place || run.until > soonest)) {
      run.until = Math.min(end, this.#endOf(run.next));
      run.next += 1;
      this.#mark(run, run.until);
    }
    for (let n = this.#pieceAt(this.#here()); n < run.next; n += 1) {
      for (const name of this.#audible()) this.#start(run, name, n, soonest);
    }
    if (run.until !== before) this.#fadeOut(run, before);
  }

  /** @param {Run} run @param {string} name @param {number} n @param {number} soonest frame of the song */
  #start(run, name, n, soonest) {
    const buffer = this.#shelf.get(name, n);
    const key = `${n}/${name}`;
    if (!buffer || run.sources.has(key)) return;
    const begins = n * this.#length;
    const from = Math.max(begins, run.place, soonest);
    const to = Math.min(this.#endOf(n), run.until);
    if (from >= to) return;
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(/** @type {Voice} */ (this.#voices.get(name)).gain);
    source.onended = () => {
      source.disconnect();
      run.sources.delete(key);
    };
    source.start((run.clock + from - run.place) / this.#rate, (from - begins) / this.#rate, (to - from) / this.#rate);
    run.sources.set(key, source);
  }

  /** Be told when the song has come to a frame, by the clock that plays it. @param {Run} run @param {number} frame */
  #mark(run, frame) {
    const mark = this.#at((run.clock + frame - run.place) / this.#rate, () => {
      run.marks.delete(mark);
      if (run === this.#run) this.#passed(run, frame);
    });
    run.marks.add(mark);
  }

  /** Do something at an instant of the context's clock: timers are late where nobody looks. @param {number} instant @param {() => void} deed */
  #at(instant, deed) {
    const mark = new ConstantSourceNode(this.#context, { offset: 0 });
    mark.connect(this.#gate);
    mark.onended = () => {
      mark.disconnect();
      deed();
    };
    mark.start();
    mark.stop(instant);
    return mark;
  }

  /** @param {Run} run @param {number} frame */
  #passed(run, frame) {
    if (frame === run.until) {
      // All that was there has been heard.
      this.#run = null;
      this.#place = frame === this.#loop?.end ? this.#loop.start : frame;
    }
    this.#look();
  }

  /** The last thing that is there must not break off: what follows takes this back. @param {Run} run @param {number} before */
  #fadeOut(run, before) {
    const fade = FADE * this.#rate;
    const instant = (/** @type {number} */ frame) => (run.clock + frame - run.place) / this.#rate;
    if (before > run.place + 2 * fade) this.#gate.gain.cancelScheduledValues(instant(before - fade));
    if (run.until < run.place + 2 * fade || run.until === this.#total) return;
    this.#gate.gain.setValueAtTime(1, instant(run.until - fade));
    this.#gate.gain.linearRampToValueAtTime(0, instant(run.until));
  }

  #halt() {
    if (!this.#run) return;
    const now = this.#context.currentTime;
    this.#gate.gain.cancelScheduledValues(0);
    this.#gate.gain.setTargetAtTime(0, now, FADE / 4);
    this.#end(now + FADE);
  }

  /** @param {number} instant */
  #end(instant) {
    for (const node of [...(this.#run?.sources.values() ?? []), ...(this.#run?.marks ?? [])]) node.stop(instant);
    this.#run = null;
  }

  #finish() {
    this.playing = this.stalled = false;
    this.#setup.onchange();
  }

  /** Where the song is. */
  #here() {
    const run = this.#run;
    if (!run) return this.#place;
    const now = Math.round(this.#context.currentTime * this.#rate);
    return Math.min(run.place + Math.max(0, now - run.clock), run.until);
  }

  /** The next frame of the clock at which something can be begun. */
  #soon() {
    return Math.ceil((this.#context.currentTime + LEAD) * this.#rate);
  }

  #audible() {
    return [...this.#voices].filter(([, { level }]) => level > 0).map(([name]) => name);
  }

  /** Whether all that is to be heard of a piece is here. @param {number} n */
  #complete(n) {
    return this.#isReady(n) && this.#audible().every((name) => this.#shelf.get(name, n));
  }

  /** @param {number} n */
  #isReady(n) {
    return n * this.#length < this.#total && this.#endOf(n) <= this.#ready;
  }

  /** @param {number} frame */
  #pieceAt(frame) {
    return Math.min(Math.floor(frame / this.#length), this.#last);
  }

  /** @param {number} n */
  #endOf(n) {
    return n >= this.#last ? this.#total : (n + 1) * this.#length;
  }

  /** @param {number} seconds */
  #frames(seconds) {
    return Math.round(seconds * this.#rate);
  }
}
