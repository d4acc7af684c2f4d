// @ts-check
/** A stem's shape on a canvas, drawn twice: dim, and bright up to where the song has come. */

import { h } from "../dom.js";

/** CSS pixels of one bar and of the space behind it. */
const BAR = 2;
const GAP = 1;
/** Quiet passages are drawn a little taller than they are, so that they can be seen. */
const CURVE = 0.75;

export class Waveform {
  #dim = h("canvas", { class: "wave-dim", "aria-hidden": "true" });
  #bright = h("canvas", { class: "wave-bright", "aria-hidden": "true" });
  /** @type {number[]} */
  #peaks = [];
  #observer = new ResizeObserver(() => this.draw());
  #scheme = matchMedia("(prefers-color-scheme: dark)");
  #redraw = () => this.draw();

  constructor() {
    this.element = h("div", { class: "wave" }, this.#dim, this.#bright, h("span", { class: "loop-span" }), h("span", { class: "playhead" }));
    this.#observer.observe(this.element);
    this.#scheme.addEventListener("change", this.#redraw);
  }

  /** @param {number[]} peaks 0 to 1, evenly spaced */
  show(peaks) {
    this.#peaks = peaks;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const colour = getComputedStyle(this.element).getPropertyValue("--stem").trim() || "currentColor";
    const ratio = Math.min(devicePixelRatio || 1, 3);
    const bars = resample(this.#peaks, Math.floor(width / (BAR + GAP)));
    for (const canvas of [this.#dim, this.#bright]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const pen = canvas.getContext("2d");
      if (!pen) continue;
      pen.scale(ratio, ratio);
      pen.fillStyle = colour;
      bars.forEach((peak, index) => {
        const tall = Math.max(1, peak ** CURVE * (height - 4));
        pen.fillRect(index * (BAR + GAP), (height - tall) / 2, BAR, tall);
      });
    }
  }

  dispose() {
    this.#observer.disconnect();
    this.#scheme.removeEventListener("change", this.#redraw);
  }
}

/** The largest peak within each bar. @param {number[]} peaks @param {number} count */
export function resample(peaks, count) {
  if (!peaks.length) return Array.from({ length: count }, () => 0);
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor((index * peaks.length) / count);
    const to = Math.max(from + 1, Math.floor(((index + 1) * peaks.length) / count));
    let top = 0;
    for (let at = from; at < to; at += 1) top = Math.max(top, peaks[at] ?? 0);
    return Math.min(1, top);
  });
}

/** Peaks of decoded audio, for when the server has none. @param {AudioBuffer} buffer @param {number} points */
export function peaksOf(buffer, points) {
  const samples = buffer.getChannelData(0);
  const step = Math.max(1, Math.floor(samples.length / points));
  const stride = Math.max(1, Math.floor(step / 64));
  return Array.from({ length: points }, (_, index) => {
    let top = 0;
    for (let at = index * step; at < Math.min((index + 1) * step, samples.length); at += stride) {
      top = Math.max(top, Math.abs(samples[at]));
    }
    return top;
  });
}
