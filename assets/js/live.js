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

  // Who looks at states that may be old is told so, below everything: nothing moves.
  const LOST_AFTER = 3000; // milliseconds
  const AGAIN_AFTER = 5000; // milliseconds
  const notice = document.createElement("p");
  notice.className = "lost";
  notice.setAttribute("role", "status");
  document.body.append(notice);
  let losing = 0;
  function lost() {
    losing ||= setTimeout(() => {
      notice.textContent = "The box cannot be reached: what you see may be old. Trying again …";
    }, LOST_AFTER);
  }
  function found() {
    clearTimeout(losing);
    losing = 0;
    notice.textContent = "";
  }

  let events = null;
  function listen() {
    events = new EventSource(path);
    // What happened while nobody listened is not told again; the first time, that is since the page was made.
    events.addEventListener("open", () => {
      found();
      refresh("all");
    });
    events.addEventListener("error", (event) => {
      lost();
      if (event.target.readyState !== EventSource.CLOSED) return;
      // Refused, not broken: a browser gives up then. Too many listen, or the session has ended: the pieces learn which.
      setTimeout(() => {
        refresh("all");
        listen();
      }, AGAIN_AFTER);
    });
    events.addEventListener("all", () => refresh("all"));
    events.addEventListener("job", (event) => refresh(`job-${event.data}`));
    events.addEventListener("server", (event) => {
      const name = `server-${event.data}`;
      if (document.querySelector(`[data-live="${name}"]`)) refresh(name);
      else refresh("servers");
    });
  }
  listen();
  // What is shown has a name, so that the server need not send the same again; a part that came since makes it another.
  document.body.addEventListener("htmx:configRequest", (event) => {
    const seen = event.detail.elt.dataset.seen;
    if (seen) event.detail.parameters.seen = seen;
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.shouldSwap) event.detail.target.parentElement?.closest("[data-seen]")?.removeAttribute("data-seen");
  });
  // What somebody has unfolded in a piece stays unfolded when the piece comes anew.
  let unfolded = [];
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const piece = event.detail.target;
    if (!piece.dataset.live) return;
    const all = [...piece.querySelectorAll("details")];
    unfolded = all.flatMap((details, at) => (details.open ? [[piece.dataset.live, at]] : []));
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    for (const [piece, at] of unfolded) {
      const details = document.querySelectorAll(`[data-live="${piece}"] details`)[at];
      if (details) details.open = true;
    }
    unfolded = [];
  });
  // A piece that comes anew takes the focus with it, and a button that is switched off while it works loses it: it goes
  // back to where it was, or to the piece when that is gone.
  let held = null;
  document.addEventListener("pointerdown", () => { held = null; }, true);
  document.addEventListener("focusin", (event) => {
    const element = event.target;
    const piece = element.closest("[data-live]");
    const form = element.closest("form");
    let within = null;
    if (form) within = `form[action="${form.getAttribute("action")}"] ${element.localName}`;
    else if (element.matches("a[href]")) within = `a[href="${element.getAttribute("href")}"]`;
    else if (element !== piece && element.matches("summary")) within = `details.${element.parentElement.classList[0]} > summary`;
    held = piece && { piece: piece.dataset.live, element, within };
  });
  function refocus() {
    if (!held || document.activeElement !== document.body) return;
    if (held.element.isConnected) {
      held.element.focus({ preventScroll: true });
      return;
    }
    const piece = document.querySelector(`[data-live="${held.piece}"]`);
    if (!piece) return;
    const same = held.within && piece.querySelector(held.within);
    if (!same) piece.tabIndex = -1;
    (same || piece).focus({ preventScroll: true });
  }
  document.body.addEventListener("htmx:afterRequest", refocus);
  document.body.addEventListener("htmx:afterSwap", refocus);
  document.body.addEventListener("htmx:afterSettle", refocus);
  document.body.addEventListener("htmx:responseError", (event) => {
    // A server that is gone: the grid knows what is left.
    if (event.detail.xhr.status === 404) refresh("servers");
  });
  addEventListener("pagehide", () => events.close());
})();
