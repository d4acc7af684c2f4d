// Runs before the page's own scripts, in tests: notes what moves, what is heard, what is forbidden.
(() => {
  const probe = {
    /** A job's card as it first is, and every change of it: [id, status, phase, progress]. */
    moves: [],
    /** Every state that the connection line has shown. */
    connection: [],
    /** EventSources that the page has made. */
    sources: 0,
    /** The place in the song, each time that it was shown; and when that was, in seconds. */
    positions: [],
    moments: [],
  };
  window.probe = probe;

  addEventListener("securitypolicyviolation", (event) => {
    console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`);
  });

  const noteMove = ({ jobId, status, phase, progress }) => probe.moves.push([jobId, status, phase ?? null, Number(progress)]);
  new MutationObserver((changes) => {
    for (const { target, attributeName, addedNodes } of changes) {
      for (const added of addedNodes) {
        for (const card of added.querySelectorAll?.("[data-testid=job]") ?? []) noteMove(card.dataset);
        if (added.dataset?.testid === "job") noteMove(added.dataset);
      }
      if (attributeName === null) continue;
      const { testid, state, position } = target.dataset;
      if (testid === "job") noteMove(target.dataset);
      if (testid === "connection") probe.connection.push(state);
      if (testid === "player" && attributeName === "data-position") {
        probe.positions.push(Number(position));
        probe.moments.push(performance.now() / 1000);
      }
    }
  }).observe(document, {
    subtree: true,
    childList: true,
    attributeFilter: ["data-status", "data-phase", "data-progress", "data-state", "data-position"],
  });

  window.EventSource = class extends EventSource {
    constructor(...given) {
      super(...given);
      probe.sources += 1;
    }
  };

  // What goes to the loudspeakers passes a meter first.
  let meter = null;
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      meter = new AnalyserNode(this.context, { fftSize: 4096 });
      connect.call(this, meter);
    }
    return connect.call(this, to, ...rest);
  };
  /** The loudest sample of the last 93 ms. */
  const level = () => {
    if (!meter) return 0;
    const samples = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(samples);
    return samples.reduce((top, sample) => Math.max(top, Math.abs(sample)), 0);
  };
  const until = (fact) => new Promise((resolve) => {
    const look = () => (fact() ? resolve() : requestAnimationFrame(look));
    look();
  });
  /** Until there is no such thing, be it for a moment. */
  probe.gone = (selector) => until(() => document.querySelector(selector) === null);
  probe.sounding = () => until(() => level() > 0.01);
  probe.silent = () => until(() => level() < 1e-4);
})();
