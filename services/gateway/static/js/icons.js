// @ts-check
/** The page's icons: 20 × 20, drawn in strokes of the text's colour. */

import { svg } from "./dom.js";

const PATHS = {
  play: "M6 4.2v11.6L15.5 10z",
  pause: "M6.5 4.5v11M13.5 4.5v11",
  stop: "M5.5 5.5h9v9h-9z",
  loop: "M4 9.5V8.2A3.2 3.2 0 0 1 7.2 5H16l-2.4-2.4M16 10.5v1.3a3.2 3.2 0 0 1-3.2 3.2H4l2.4 2.4",
  download: "M10 3v9.5M5.8 8.6 10 12.8l4.2-4.2M4 16.5h12",
  close: "M5 5l10 10M15 5 5 15",
  retry: "M15.6 8A6 6 0 1 0 16 11.4M16 4v4h-4",
  check: "M4.5 10.5 8.4 14.4 15.8 6",
  alert: "M10 6.2v4.6M10 13.8v.1M10 2.6 18 16.6H2z",
  file: "M5 2.8h6.5L15.5 7v10.2H5zM11.2 2.8v4.4h4.3",
  sliders: "M4 6h7M15 6h1M4 14h1M9 14h7M13 4v4M7 12v4",
  volume: "M3.5 8v4h2.8L10 15.2V4.8L6.3 8zM13 7.4a3.6 3.6 0 0 1 0 5.2M15.2 5.2a6.8 6.8 0 0 1 0 9.6",
  clock: "M10 5.6V10l2.8 1.8M10 17.4a7.4 7.4 0 1 0 0-14.8 7.4 7.4 0 0 0 0 14.8z",
  note: "M8 14.6V4.4l8-1.6v10.2M8 14.6a2.3 2.3 0 1 1-4.6 0 2.3 2.3 0 0 1 4.6 0zM16 13a2.3 2.3 0 1 1-4.6 0 2.3 2.3 0 0 1 4.6 0z",
  front: "M4.5 3.5h11M10 17V7M5.8 11 10 6.8 14.2 11",
  bin: "M3.5 5.5h13M8 5.5V3.2h4v2.3M5.2 5.5 6 17h8l.8-11.5M8.4 8.8v5M11.6 8.8v5",
  stack: "M4 7.2h12v9.3H4zM5.6 4.6h8.8M7.2 2.2h5.6",
  search: "M9 14.6A5.6 5.6 0 1 0 9 3.4a5.6 5.6 0 0 0 0 11.2zM13.2 13.2 17 17",
};

/** @typedef {keyof typeof PATHS} IconName */

/**
 * A decorative icon: its button or neighbour carries the words.
 * @param {IconName} name
 */
export function icon(name) {
  return svg(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: PATHS[name] }),
  );
}
