// Lets the page's engine for pieces play into a recording, which is returned sample by sample.
async ({ rate, frames, seconds, pieceSeconds, pieces, ready, first, levels, moments }) => {
  const { PieceEngine } = await import("/static/js/player/piece-engine.js");
  const until = async (fact) => {
    while (!fact()) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const context = new OfflineAudioContext(2, frames, rate);
  const goOn = context.resume.bind(context);
  // A recording goes on only where it was stopped; the engine asks before it has begun.
  context.resume = async () => {};
  let came = 0;
  const engine = new PieceEngine({
    context,
    names: Object.keys(pieces),
    seconds,
    pieceSeconds,
    count: Object.values(pieces)[0].length,
    ready,
    fetch: async (name, n) => Uint8Array.from(atob(pieces[name][n]), (letter) => letter.charCodeAt(0)).buffer,
    onchange: () => {},
    onpiece: () => (came += 1),
  });
  const mix = (gains) => Object.entries(gains).forEach(([name, gain]) => engine.setGain(name, gain));
  mix(levels);
  await until(() => came === first);
  await engine.play();
  const clocks = moments.map(async ({ at, stalled, ready, levels, pieces }) => {
    await context.suspend(at);
    await until(() => engine.stalled === stalled);
    if (ready) engine.grow(ready);
    mix(levels ?? {});
    await until(() => came === pieces);
    const clock = context.currentTime;
    goOn();
    return clock;
  });
  const made = await context.startRendering();
  const text = (samples) => {
    const bytes = new Uint8Array(samples.buffer);
    let letters = "";
    for (let at = 0; at < bytes.length; at += 8192) letters += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(letters);
  };
  return { clocks: await Promise.all(clocks), channels: [0, 1].map((number) => text(made.getChannelData(number))) };
};
