// Logs that grow: a server's console and a job's log. Lines arrive with ids; after a disconnect the browser resumes.
"use strict";

// The box that holds the lines: appends in one go per frame, keeps the newest, follows the tail unless the reader left it.
class Log {
  static KEPT = 10000;
  // Milliseconds of a frame that new lines may take: what is left of its sixteen is the browser's, to lay them out.
  static BUDGET = 5;
  // Lines lie in blocks of so many: a browser that asks of each line whether it is in sight does nothing else any more.
  static BLOCK = 100;

  constructor(box) {
    this.box = box;
    this.pending = [];
    this.scheduled = false;
    this.following = true;
    this.term = "";
    this.onfollow = () => {};
    this.count = 0;
    this.block = null;
    // What the server has put there.
    for (const line of box.querySelectorAll(":scope > .line")) this.append(line);
    let top = 0;
    box.addEventListener("scroll", () => {
      const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
      // Only who goes up leaves the tail: lines that turn out taller than they were taken for move the end, too.
      const following = isAtEnd || (this.following && box.scrollTop >= top);
      top = box.scrollTop;
      if (following !== this.following) {
        this.following = following;
        this.onfollow(following);
      }
    });
    this.toEnd();
  }

  add(text, stream, kind) {
    this.pending.push([text, stream, kind]);
    // Seldom, for a cut moves all the others.
    if (this.pending.length > 2 * Log.KEPT) this.cut();
    if (!this.scheduled) this.schedule();
  }

  // Lines that would leave again as soon as they came are not drawn; with them goes what stands before, so that no line is
  // missing between two that are shown.
  cut() {
    this.pending.splice(0, this.pending.length - Log.KEPT);
    this.box.replaceChildren();
    this.count = 0;
    this.block = null;
  }

  // With the next frame; a tab that nobody sees draws none, and its log grows by a timer.
  schedule() {
    this.scheduled = true;
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
    this.scheduled = false;
    if (this.pending.length > Log.KEPT) this.cut();
    const end = performance.now() + Log.BUDGET;
    let taken = 0;
    while (taken < this.pending.length && (taken % 32 !== 0 || document.hidden || performance.now() < end)) {
      const [text, stream, kind] = this.pending[taken];
      taken += 1;
      const line = document.createElement("span");
      line.className = kind ? `line ${kind}` : "line";
      if (stream) line.dataset.stream = stream;
      paint(line, text);
      if (this.term) this.mark(line);
      this.append(line);
    }
    this.pending.splice(0, taken);
    if (this.pending.length > 0) this.schedule();
    for (;;) {
      const first = this.box.querySelector(".block");
      if (!first || first === this.block || this.count - first.childElementCount < Log.KEPT) break;
      this.count -= first.childElementCount;
      first.remove();
    }
    if (this.following) this.toEnd();
  }

  append(line) {
    if (!this.block || this.block.childElementCount >= Log.BLOCK) {
      this.block = document.createElement("span");
      this.block.className = "block";
      this.box.append(this.block);
    }
    this.block.append(line);
    this.count += 1;
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  mark(line) {
    line.classList.toggle("found", this.term !== "" && line.textContent.toLowerCase().includes(this.term));
  }

  search(term) {
    this.term = term.trim().toLowerCase();
    for (const line of this.box.querySelectorAll(".line")) this.mark(line);
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

// A stream with `more` (come back with your last id) and `end`. Read by hand, not by EventSource: that one hands out each
// line as a task of its own, and a game that prints a hundred thousand leaves the page no time to draw.
function follow(path, resume, handlers) {
  const PATIENCE = 3000; // milliseconds until it tries again
  const SLICE = 8; // milliseconds of reading until the page may draw
  const stop = new AbortController();
  let last = null;
  let lost = false;

  // One event; answers what ends the reading: "more" or "end".
  function take(block) {
    let name = "message";
    let data = "";
    let id = null;
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon < 1) continue;
      const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
      const field = line.slice(0, colon);
      if (field === "data") data = value;
      else if (field === "event") name = value;
      else if (field === "id") id = value;
    }
    if (id !== null) last = id;
    if (name === "message" || name === "stdout" || name === "stderr") {
      // Comments keep the connection awake and say nothing.
      if (id !== null || data !== "") handlers.line(data, name);
      return "";
    }
    if (name === "progress") handlers.progress?.(JSON.parse(data));
    if (name === "gap") handlers.gap?.(JSON.parse(data));
    if (name === "end") handlers.end?.(JSON.parse(data));
    return name === "more" || name === "end" ? name : "";
  }

  async function read() {
    const url = new URL(path, location.href);
    if (last !== null) url.searchParams.set(resume, last);
    const response = await fetch(url, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: stop.signal });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    handlers.status?.("live");
    if (lost) handlers.resumed?.();
    lost = false;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let since = performance.now();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return "";
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const over = take(block);
        if (over) {
          reader.cancel();
          return over;
        }
        if (performance.now() - since > SLICE) {
          await new Promise((next) => { setTimeout(next); });
          since = performance.now();
        }
      }
    }
  }

  async function run() {
    for (;;) {
      let over = "";
      try {
        over = await read();
      } catch {
        // Nobody answers, or not with a stream: the same as a stream that broke.
      }
      if (over === "end" || stop.signal.aborted) return;
      if (over === "more") continue;
      lost = true;
      handlers.status?.("reconnecting");
      await new Promise((next) => { setTimeout(next, PATIENCE); });
    }
  }
  run();
  addEventListener("pagehide", () => stop.abort());
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
  const status = root.querySelector("[data-status]");
  const tail = root.querySelector("[data-follow]");
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
  root.querySelector("[data-copy-log]").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    await copyText(log.box.textContent);
    copied(button);
  });
  follow(root.dataset.console, "cursor", {
    line: (text) => log.add(text),
    status: (text) => { status.textContent = text; },
    gap: (gap) => log.add(`– ${gap.missing_bytes} older bytes are gone –`, "", "mark"),
    resumed: () => log.add("– reconnected –", "", "mark"),
    end: () => { status.textContent = "the server is gone"; },
  });
}

// The command line: sent without leaving the page, with a history on the arrow keys. What stands in it is not lost on the
// way up: it comes back below the newest line.
function commandLine(form) {
  const input = form.querySelector("input[name=line]");
  const place = form.getAttribute("action");
  const history = typedBefore.read(place);
  let at = history.length;
  let draft = "";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const line = input.value;
    if (history[history.length - 1] !== line) history.push(line);
    if (history.length > typedBefore.KEPT) history.shift();
    typedBefore.write(place, history);
    at = history.length;
    input.value = "";
    const error = await post(place, { line }).catch(() => "the box cannot be reached");
    if (error) {
      say(error);
      if (!input.value) input.value = line;
    }
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || history.length === 0) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(history.length, at + step));
    if (to === at) return;
    if (at === history.length) draft = input.value;
    at = to;
    input.value = at === history.length ? draft : history[at];
  });
}
for (const form of document.querySelectorAll("[data-command]")) commandLine(form);
