// @ts-check
/** Pointing at waveforms: a click goes there, a drag marks the part to loop. */

/** Pixels that a pointer may move and still click. */
const SLOP = 6;

/**
 * @param {HTMLElement} root holds the waveforms
 * @param {{seek: (share: number) => void, span: (start: number, end: number, done: boolean) => void}} on
 *   shares of the track, 0 to 1
 */
export function scrub(root, on) {
  root.addEventListener("pointerdown", (down) => {
    const wave = /** @type {Element} */ (down.target).closest(".wave");
    if (!wave || down.button !== 0) return;
    const box = wave.getBoundingClientRect();
    const share = (/** @type {PointerEvent} */ event) => Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const from = share(down);
    // A finger that moves is scrolling.
    const draggable = down.pointerType !== "touch";
    let dragged = false;
    const listening = new AbortController();
    const { signal } = listening;
    addEventListener("pointermove", (move) => {
      dragged ||= Math.abs(move.clientX - down.clientX) > SLOP;
      if (dragged && draggable) on.span(Math.min(from, share(move)), Math.max(from, share(move)), false);
    }, { signal });
    addEventListener("pointerup", (up) => {
      listening.abort();
      if (!dragged) on.seek(share(up));
      else if (draggable) on.span(Math.min(from, share(up)), Math.max(from, share(up)), true);
    }, { signal });
    addEventListener("pointercancel", () => listening.abort(), { signal });
  });
}
