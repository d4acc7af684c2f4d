// @ts-check
/** Files or addresses dropped anywhere on the page. */

import { readAddresses } from "./addresses.js";

/**
 * @param {HTMLElement} veil shown while something hovers over the page
 * @param {{files: (files: File[]) => void, addresses: (urls: string[]) => void}} on
 */
export function acceptDrops(veil, on) {
  let depth = 0;
  const hide = () => {
    depth = 0;
    veil.hidden = true;
  };
  addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) hide();
  });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    hide();
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) on.files(files);
    else {
      const { urls } = readAddresses(event.dataTransfer?.getData("text/uri-list") ?? "");
      if (urls.length) on.addresses(urls);
    }
  });
}

/** @param {DragEvent} event */
function carries(event) {
  const types = event.dataTransfer?.types ?? [];
  return types.includes("Files") || types.includes("text/uri-list");
}
