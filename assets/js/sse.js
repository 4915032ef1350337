// Logs that grow: a server's console and a job's log. Lines arrive with ids; after a disconnect the browser resumes.
"use strict";

// The box that holds the lines: appends in one go per frame, keeps the newest, follows the tail unless the reader left it.
class Log {
  static KEPT = 10000;

  constructor(box) {
    this.box = box;
    this.pending = [];
    this.following = true;
    this.term = "";
    this.onfollow = () => {};
    box.addEventListener("scroll", () => {
      const following = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
      if (following !== this.following) {
        this.following = following;
        this.onfollow(following);
      }
    });
    this.toEnd();
  }

  add(text, stream, kind) {
    this.pending.push([text, stream, kind]);
    if (this.pending.length > Log.KEPT) this.pending.splice(0, this.pending.length - Log.KEPT);
    if (this.pending.length === 1) this.schedule();
  }

  // With the next frame; a tab that nobody sees draws none, and its log grows by a timer.
  schedule() {
    const frame = requestAnimationFrame(() => {
      clearTimeout(timer);
      this.flush();
    });
    const timer = setTimeout(() => {
      cancelAnimationFrame(frame);
      this.flush();
    }, 250);
  }

  flush() {
    const piece = document.createDocumentFragment();
    for (const [text, stream, kind] of this.pending) {
      const line = document.createElement("span");
      line.className = kind ? `line ${kind}` : "line";
      if (stream) line.dataset.stream = stream;
      paint(line, text);
      this.mark(line);
      piece.append(line);
    }
    this.pending = [];
    this.box.append(piece);
    const extra = this.box.childElementCount - Log.KEPT;
    if (extra > 0) {
      const range = document.createRange();
      range.setStartBefore(this.box.firstElementChild);
      range.setEndAfter(this.box.children[extra - 1]);
      range.deleteContents();
    }
    if (this.following) this.toEnd();
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  mark(line) {
    line.classList.toggle("found", this.term !== "" && line.textContent.toLowerCase().includes(this.term));
  }

  search(term) {
    this.term = term.trim().toLowerCase();
    for (const line of this.box.children) this.mark(line);
    const found = this.box.querySelectorAll(".found");
    if (found.length > 0) found[found.length - 1].scrollIntoView({ block: "center" });
    return found.length;
  }
}

// A line with its colours: the server leaves only sequences in it that set one of sixteen colours or bold.
function paint(line, text) {
  const parts = text.split(/\u001b\[([0-9;]*)m/);
  let classes = "";
  for (let at = 0; at < parts.length; at += 2) {
    if (at > 0) classes = parts[at - 1].split(";").map(classOf).join(" ").trim();
    if (!parts[at]) continue;
    const piece = classes ? document.createElement("span") : document.createTextNode(parts[at]);
    if (classes) {
      piece.className = classes;
      piece.textContent = parts[at];
    }
    line.append(piece);
  }
  line.append("\n");
}

function classOf(code) {
  const number = Number(code);
  if (number === 1) return "ansi-bold";
  if (number >= 90) return `ansi-${number - 82}`;
  return number >= 30 ? `ansi-${number - 30}` : "";
}

// A stream with `more` (come back with your last id) and `end`.
function follow(path, resume, handlers) {
  let source;
  let last = null;
  let lost = false;
  function open() {
    const url = new URL(path, location.href);
    if (last !== null) url.searchParams.set(resume, last);
    source = new EventSource(url);
    const line = (event) => {
      last = event.lastEventId;
      handlers.line(event.data, event.type);
    };
    for (const name of ["message", "stdout", "stderr"]) source.addEventListener(name, line);
    source.addEventListener("progress", (event) => handlers.progress?.(JSON.parse(event.data)));
    source.addEventListener("gap", (event) => handlers.gap?.(JSON.parse(event.data)));
    source.addEventListener("more", () => {
      source.close();
      open();
    });
    source.addEventListener("end", (event) => {
      source.close();
      handlers.end?.(JSON.parse(event.data));
    });
    source.addEventListener("open", () => {
      handlers.status?.("live");
      if (lost) handlers.resumed?.();
      lost = false;
    });
    source.addEventListener("error", () => {
      lost = true;
      handlers.status?.(source.readyState === EventSource.CLOSED ? "disconnected" : "reconnecting");
      // Closed for good by an error answer (a restart behind a proxy): try again by hand.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 3000);
    });
  }
  open();
  addEventListener("pagehide", () => source.close());
}

for (const root of document.querySelectorAll("[data-job-log]")) {
  const log = new Log(root.querySelector("[data-lines]"));
  follow(root.dataset.jobLog, "last_seq", {
    line(text, stream) {
      root.querySelector("[data-empty]")?.remove();
      log.add(text, stream);
    },
    progress(progress) {
      const bar = document.querySelector("[data-progress] progress");
      if (!bar || !progress.total) return;
      bar.max = progress.total;
      bar.value = progress.done;
    },
    resumed: () => log.add("– reconnected –", "", "mark"),
  });
}

for (const root of document.querySelectorAll("[data-console]")) {
  const log = new Log(root.querySelector("[data-lines]"));
  const tools = root.querySelector(".console-tools");
  const status = root.querySelector("[data-status]");
  const tail = root.querySelector("[data-follow]");
  tools.hidden = false;
  log.onfollow = (following) => { tail.hidden = following; };
  tail.addEventListener("click", () => {
    log.following = true;
    tail.hidden = true;
    log.toEnd();
  });
  root.querySelector("[data-search]").addEventListener("input", (event) => {
    const found = log.search(event.target.value);
    status.textContent = event.target.value.trim() ? `${found} found` : "live";
  });
  root.querySelector("[data-copy-log]").addEventListener("click", () => copyText(log.box.textContent));
  follow(root.dataset.console, "cursor", {
    line: (text) => log.add(text),
    status: (text) => { status.textContent = text; },
    gap: (gap) => log.add(`– ${gap.missing_bytes} older bytes are gone –`, "", "mark"),
    resumed: () => log.add("– reconnected –", "", "mark"),
    end: () => { status.textContent = "the server is gone"; },
  });
}

// The command line: sent without leaving the page, with a history on the arrow keys.
for (const form of document.querySelectorAll("[data-command]")) {
  const input = form.querySelector("input[name=line]");
  const history = [];
  let at = 0;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const line = input.value;
    if (history[history.length - 1] !== line) history.push(line);
    at = history.length;
    input.value = "";
    const error = await post(form.getAttribute("action"), { line }).catch(() => "the box cannot be reached");
    if (error) {
      say(error);
      if (!input.value) input.value = line;
    }
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || history.length === 0) return;
    event.preventDefault();
    at = Math.max(0, Math.min(history.length, at + step));
    input.value = history[at] ?? "";
  });
}
