// Pieces of the page that show a state ask for themselves again when the server says that it changed.
"use strict";

(() => {
  const path = document.body.dataset.events;
  if (!path || !document.querySelector("[data-live]")) return;

  const waiting = new Set();
  function refresh(name) {
    if (waiting.has(name)) return;
    waiting.add(name);
    // Several changes at once are one look.
    setTimeout(() => {
      waiting.delete(name);
      const selector = name === "all" ? "[data-live]" : `[data-live="${name}"]`;
      for (const piece of document.querySelectorAll(selector)) {
        // A piece within a piece comes with it.
        if (name === "all" && piece.parentElement.closest("[data-live]")) continue;
        // A piece that somebody is working in stays until they leave it.
        if (piece.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) continue;
        htmx.trigger(piece, "live");
      }
    }, 100);
  }

  const events = new EventSource(path);
  // What happened while nobody listened is not told again; the first time, that is since the page was made.
  events.addEventListener("open", () => refresh("all"));
  events.addEventListener("all", () => refresh("all"));
  events.addEventListener("job", (event) => refresh(`job-${event.data}`));
  events.addEventListener("server", (event) => {
    const name = `server-${event.data}`;
    if (document.querySelector(`[data-live="${name}"]`)) refresh(name);
    else refresh("servers");
  });
  document.body.addEventListener("htmx:responseError", (event) => {
    // A server that is gone: the grid knows what is left.
    if (event.detail.xhr.status === 404) refresh("servers");
  });
  addEventListener("pagehide", () => events.close());
})();
