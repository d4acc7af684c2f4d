// @ts-check
/** A song's picture, ours or from wherever the source says; a glyph in a colour of its own until then. */

import { h, setData } from "../dom.js";
import { icon } from "../icons.js";

const HUES = 6;

export class Thumbnail {
  #shown = "";

  /** @param {string} id of the job: decides the glyph's colour */
  constructor(id) {
    let sum = 0;
    for (const character of id) sum = (sum * 31 + character.charCodeAt(0)) >>> 0;
    this.element = h("div", { class: "thumb", "data-hue": String(sum % HUES), "data-state": "none" }, icon("note"));
  }

  /** @param {string|null|undefined} address */
  update(address) {
    const url = safe(address);
    if (url === this.#shown) return;
    this.#shown = url;
    this.element.querySelector("img")?.remove();
    setData(this.element, "state", "none");
    if (!url) return;
    const image = h("img", { alt: "", loading: "lazy", decoding: "async", referrerPolicy: "no-referrer" });
    image.onload = () => setData(this.element, "state", "loaded");
    image.onerror = () => image.remove();
    this.element.append(image);
    image.src = url;
  }
}

/** @param {string|null|undefined} address what the source calls a picture: only http(s) is followed */
function safe(address) {
  if (!address) return "";
  try {
    const url = new URL(address, location.href);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : "";
  } catch {
    return "";
  }
}
