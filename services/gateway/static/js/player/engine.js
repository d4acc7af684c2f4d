// @ts-check
/** What plays finished stems, and which of the two ways suits a track. */

import { BufferEngine } from "./buffer-engine.js";
import { StreamEngine } from "./stream-engine.js";

/** @typedef {{start: number, end: number}} Span seconds */
/** @typedef {{name: string, url: string, bytes: number}} StemSource */
/**
 * @typedef {object} EngineSetup
 * @property {AudioContext} context
 * @property {StemSource[]} stems
 * @property {number} seconds
 * @property {() => void} onchange it began, ended or stalled by itself
 * @property {(share: number) => void} onload share of what was asked for that has come
 */
/**
 * @typedef {object} Engine
 * @property {string} kind
 * @property {number} limit how many stems can be heard at once
 * @property {number} duration seconds
 * @property {number} position seconds
 * @property {boolean} playing
 * @property {boolean} stalled playing, and waiting for data
 * @property {(names: string[]) => Promise<void>} prepare until these stems can be heard
 * @property {() => Promise<void>} play
 * @property {() => void} pause
 * @property {(seconds: number) => void} seek
 * @property {(span: Span|null) => void} setLoop
 * @property {(name: string, gain: number) => void} setGain
 * @property {(gain: number) => void} setMaster
 * @property {(name: string) => AudioBuffer|null} buffer decoded audio, where there is any
 * @property {(at: {instant: number, place: number}) => void} [takeOver] begin where another one leaves
 * @property {() => void} dispose
 */

/** Decoded audio that one player may hold, in bytes. Longer tracks are streamed. */
export const DECODED_BUDGET = 700e6;
const CHANNELS = 2;
const BYTES_PER_SAMPLE = 4;

/** @param {number} seconds @param {number} rate @param {number} stems */
export function decodedBytes(seconds, rate, stems) {
  return seconds * rate * CHANNELS * BYTES_PER_SAMPLE * stems;
}

/** @param {EngineSetup} setup @returns {Engine} */
export function engineFor(setup) {
  const held = decodedBytes(setup.seconds, setup.context.sampleRate, setup.stems.length);
  return held > DECODED_BUDGET ? new StreamEngine(setup) : new BufferEngine(setup);
}
