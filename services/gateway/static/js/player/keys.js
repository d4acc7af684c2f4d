// @ts-check
/** The player's keys, for as long as one is open. */

const STEP = 5;
const SMALL_STEP = 1;

/**
 * @param {{toggle: () => void, nudge: (seconds: number) => void, start: () => void, loop: () => void}} on
 * @param {AbortSignal} signal
 */
export function listenToKeys(on, signal) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || taken(event)) return;
    const step = event.shiftKey ? SMALL_STEP : STEP;
    if (event.key === " ") on.toggle();
    else if (event.key === "ArrowLeft") on.nudge(-step);
    else if (event.key === "ArrowRight") on.nudge(step);
    else if (event.key === "Home") on.start();
    else if (event.key === "l" || event.key === "L") on.loop();
    else return;
    event.preventDefault();
  }, { signal });
}

/** Whether the focused element has a use for the key itself. @param {KeyboardEvent} event */
function taken(event) {
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement && target.type === "range") return event.key !== " " && event.key.toLowerCase() !== "l";
  if (target.matches("input, select, textarea, [contenteditable]")) return true;
  // A button reached by keyboard is pressed by space; one that was just clicked is not in the way.
  return event.key === " " && target.matches("button:focus-visible, a:focus-visible, summary:focus-visible");
}
