// @ts-check
/**
 * Stems decoded into memory and started at one instant of one clock: in sync to the sample.
 *
 * A stem that is asked for later is started against the same instant, at the place the others
 * have reached by then.
 */

import { UnplayableError } from "./unplayable.js";

/** @typedef {import("./engine.js").EngineSetup} EngineSetup */
/** @typedef {import("./engine.js").StemSource} StemSource */
/** @typedef {{gain: GainNode, buffer: AudioBuffer|null, source: AudioBufferSourceNode|null, loading: Promise<void>|null}} Voice */

/** Seconds between the decision to start and the start: enough for every source to be ready. */
const LEAD = 0.04;
/** Seconds of fade at starts and stops, so that a cut wave doesn't click. */
const FADE = 0.008;
/** Stems that are fetched and decoded at once: leaves connections for the rest of the page. */
const PARALLEL = 2;

export class BufferEngine {
  kind = "buffer";
  limit = Infinity;
  stalled = false;
  playing = false;
  #setup;
  #context;
  /** @type {Map<string, Voice>} */
  #voices = new Map();
  #gate;
  #master;
  #abort = new AbortController();
  /** @type {import("./engine.js").Span|null} */
  #loop = null;
  /** Where the audio is while paused; where it was at `#startedAt` while playing. */
  #offset = 0;
  #startedAt = 0;
  #run = 0;
  #loaded = 0;
  #wanted = 0;

  /** @param {EngineSetup} setup */
  constructor(setup) {
    this.#setup = setup;
    this.#context = setup.context;
    this.duration = setup.seconds;
    this.#master = new GainNode(this.#context);
    this.#gate = new GainNode(this.#context);
    this.#gate.connect(this.#master).connect(this.#context.destination);
    for (const { name } of setup.stems) {
      const gain = new GainNode(this.#context, { gain: 0 });
      gain.connect(this.#gate);
      this.#voices.set(name, { gain, buffer: null, source: null, loading: null });
    }
  }

  get position() {
    return this.playing ? this.#at(this.#context.currentTime) : this.#offset;
  }

  /** Where the audio is at an instant of the context's clock. @param {number} instant */
  #at(instant) {
    const place = this.#offset + Math.max(0, instant - this.#startedAt);
    const loop = this.#loop;
    if (loop && place >= loop.end) return loop.start + ((place - loop.start) % (loop.end - loop.start));
    return Math.min(place, this.duration);
  }

  /** @param {string[]} names */
  async prepare(names) {
    const waiting = this.#setup.stems.filter(({ name }) => names.includes(name) && !this.#voices.get(name)?.loading);
    this.#wanted += waiting.reduce((sum, stem) => sum + stem.bytes, 0);
    const lane = async () => {
      for (let stem = waiting.shift(); stem; stem = waiting.shift()) {
        const voice = this.#voice(stem.name);
        voice.loading = this.#load(stem, voice);
        await voice.loading;
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, lane));
    await Promise.all(names.map((name) => this.#voice(name).loading));
  }

  /** @param {StemSource} stem @param {Voice} voice */
  async #load(stem, voice) {
    try {
      const bytes = await this.#fetch(stem);
      voice.buffer = await this.#context.decodeAudioData(bytes).catch((error) => {
        throw new UnplayableError(`${stem.name}: ${error.message}`);
      });
    } catch (error) {
      voice.loading = null;
      throw error;
    }
    if (this.#abort.signal.aborted) {
      voice.buffer = null;
      return;
    }
    this.duration = Math.max(...[...this.#voices.values()].map(({ buffer }) => buffer?.duration ?? 0));
    if (this.playing) {
      const instant = this.#context.currentTime + LEAD;
      this.#start(voice, instant, this.#at(instant));
    }
  }

  /** @param {StemSource} stem @returns {Promise<ArrayBuffer>} */
  async #fetch(stem) {
    const response = await fetch(stem.url, { signal: this.#abort.signal });
    if (!response.ok || !response.body) throw new Error(`${stem.name}: the server answered with ${response.status}`);
    /** @type {BlobPart[]} */
    const parts = [];
    const reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      this.#loaded += part.value.length;
      this.#setup.onload(this.#wanted ? Math.min(1, this.#loaded / this.#wanted) : 1);
    }
    return new Blob(parts).arrayBuffer();
  }

  async play() {
    if (this.playing) return;
    await this.#context.resume();
    if (this.#offset >= this.duration - 0.01) this.#offset = this.#loop?.start ?? 0;
    this.playing = true;
    this.#startAll();
    this.#setup.onchange();
  }

  /** Begin where another engine leaves. @param {{instant: number, place: number}} at of the context's clock and in the song, seconds */
  takeOver({ instant, place }) {
    this.#offset = place;
    this.playing = true;
    this.#startAll(instant);
  }

  pause() {
    if (!this.playing) return;
    this.#offset = this.position;
    this.playing = false;
    this.#stopAll();
    this.#setup.onchange();
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.#offset = Math.min(Math.max(0, seconds), this.duration);
    if (!this.playing) return;
    this.#stopAll();
    this.#startAll();
  }

  /** @param {import("./engine.js").Span|null} span */
  setLoop(span) {
    const here = this.position;
    this.#loop = span;
    this.seek(span && (here < span.start || here >= span.end) ? span.start : here);
  }

  /** @param {string} name @param {number} gain */
  setGain(name, gain) {
    this.#voice(name).gain.gain.setTargetAtTime(gain, this.#context.currentTime, 0.012);
  }

  /** @param {number} gain */
  setMaster(gain) {
    this.#master.gain.setTargetAtTime(gain, this.#context.currentTime, 0.012);
  }

  /** @param {string} name */
  buffer(name) {
    return this.#voice(name).buffer;
  }

  dispose() {
    this.#abort.abort();
    this.playing = false;
    this.#stopAll();
    for (const voice of this.#voices.values()) {
      voice.gain.disconnect();
      voice.buffer = null;
    }
    this.#gate.disconnect();
    this.#master.disconnect();
  }

  #startAll(instant = this.#context.currentTime + LEAD) {
    const rate = this.#context.sampleRate;
    // Whole frames, so that no stem is interpolated between two samples.
    this.#startedAt = Math.round(instant * rate) / rate;
    this.#offset = Math.round(this.#offset * rate) / rate;
    this.#run += 1;
    this.#gate.gain.cancelScheduledValues(0);
    this.#gate.gain.setValueAtTime(0, this.#startedAt);
    this.#gate.gain.linearRampToValueAtTime(1, this.#startedAt + FADE);
    for (const voice of this.#voices.values()) this.#start(voice, this.#startedAt, this.#offset);
  }

  /** @param {Voice} voice @param {number} instant @param {number} place seconds into the track */
  #start(voice, instant, place) {
    if (!voice.buffer) return;
    const run = this.#run;
    const rate = this.#context.sampleRate;
    const source = new AudioBufferSourceNode(this.#context, { buffer: voice.buffer });
    if (this.#loop) {
      source.loop = true;
      source.loopStart = this.#loop.start;
      source.loopEnd = Math.min(this.#loop.end, voice.buffer.duration);
    }
    source.onended = () => {
      if (run === this.#run && this.playing && this.position >= this.duration - LEAD) this.#end();
    };
    source.connect(voice.gain);
    source.start(Math.round(instant * rate) / rate, Math.round(place * rate) / rate);
    voice.source = source;
  }

  #stopAll() {
    const now = this.#context.currentTime;
    this.#run += 1;
    this.#gate.gain.cancelScheduledValues(0);
    this.#gate.gain.setTargetAtTime(0, now, FADE / 4);
    for (const voice of this.#voices.values()) {
      const source = voice.source;
      voice.source = null;
      if (!source) continue;
      source.onended = () => source.disconnect();
      source.stop(now + FADE);
    }
  }

  #end() {
    this.playing = false;
    this.#offset = this.duration;
    this.#stopAll();
    this.#setup.onchange();
  }

  /** @param {string} name @returns {Voice} */
  #voice(name) {
    const voice = this.#voices.get(name);
    if (!voice) throw new Error(`no such stem: ${name}`);
    return voice;
  }
}
