// Small help on every page: local times, copy buttons, rows that are put in order.
"use strict";

// A notice above the page, like the ones that the server sends.
function say(text) {
  const notice = document.createElement("div");
  notice.className = "alert bad";
  notice.setAttribute("role", "alert");
  const line = document.createElement("p");
  line.textContent = text;
  notice.append(line);
  document.getElementById("flash").replaceChildren(notice);
}

// What was typed into consoles is kept in this tab for whoever typed it, until they log out. The next person at this
// browser finds nothing: neither after a log-out, nor after a session that ended by itself, nor in another tab.
const typedBefore = {
  PREFIX: "left4me-typed:",
  KEPT: 100,
  owner: document.body.dataset.user ?? "",

  key(place) {
    return `${this.PREFIX}${encodeURIComponent(this.owner)}:${place}`;
  },

  read(place) {
    try {
      const lines = JSON.parse(sessionStorage.getItem(this.key(place)) ?? "[]");
      return Array.isArray(lines) ? lines.filter((line) => typeof line === "string") : [];
    } catch {
      // No storage in this browser, or not ours: then nothing was typed.
      return [];
    }
  },

  write(place, lines) {
    // A line that sets a password is remembered until the page goes, and stored nowhere.
    const kept = lines.filter((line) => !/password/i.test(line)).slice(-this.KEPT);
    try {
      sessionStorage.setItem(this.key(place), JSON.stringify(kept));
    } catch {
      // No storage, or no room: the page still remembers.
    }
  },

  // Everything, or everything but what one person typed.
  forget(but = null) {
    try {
      const mine = but === null ? null : `${this.PREFIX}${encodeURIComponent(but)}:`;
      for (const key of Object.keys(sessionStorage)) {
        if (key.startsWith(this.PREFIX) && !(mine && key.startsWith(mine))) sessionStorage.removeItem(key);
      }
    } catch {
      // No storage: nothing to forget.
    }
  },
};
typedBefore.forget(typedBefore.owner || null);
document.querySelector("form[action='/logout']")?.addEventListener("submit", () => typedBefore.forget());

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS browsers offer no clipboard: select it by the old way.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    const focus = document.activeElement;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    focus?.focus({ preventScroll: true });
  }
}

// Says on the button that it has copied, for a moment.
function copied(button) {
  button.textContent = "Copied";
  clearTimeout(button.copied);
  button.copied = setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// Times are sent in UTC; here they are shown as the reader's clock does. The exact time stays on hover.
function localTimes(root) {
  const form = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (!Number.isNaN(date.getTime())) time.textContent = form.format(date);
  }
}

// What is wider than its frame is moved sideways by the arrow keys, too: the frame takes the focus, where it has to.
function reachable() {
  for (const frame of document.querySelectorAll(".scroll")) {
    if (frame.scrollWidth > frame.clientWidth) frame.tabIndex = 0;
    else frame.removeAttribute("tabindex");
  }
}

localTimes(document);
reachable();
addEventListener("resize", reachable);
// On a phone the links are one row that moves sideways: the page's own is shown.
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
document.addEventListener("htmx:load", (event) => {
  localTimes(event.detail.elt);
  reachable();
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copyText(button.dataset.copy);
  copied(button);
});

// Overlays of a blueprint: what the buttons do by way of the server, done here; and by dragging.
for (const field of document.querySelectorAll("[data-arrange]")) {
  const rows = field.querySelector("[data-rows]");
  const template = field.querySelector("template[data-row]");
  let dragged = null;

  function enable(row) {
    row.draggable = true;
  }
  for (const row of rows.children) enable(row);

  field.addEventListener("click", (event) => {
    const button = event.target.closest("button[name=arrange]");
    if (!button) return;
    event.preventDefault();
    const row = button.closest("li");
    if (button.value === "add") {
      const added = template.content.firstElementChild.cloneNode(true);
      enable(added);
      rows.append(added);
      added.querySelector("select").focus();
      return;
    }
    const verb = button.dataset.verb;
    if (verb === "remove") {
      // The focus goes on to the row that takes its place, or to what adds one.
      const next = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      (next?.querySelector("button[data-verb=remove]") ?? field.querySelector("button[value=add]")).focus();
    }
    if (verb === "up") row.previousElementSibling?.before(row);
    if (verb === "down") row.nextElementSibling?.after(row);
    if (verb !== "remove") button.focus();
  });
  rows.addEventListener("dragstart", (event) => {
    dragged = event.target.closest("li");
    if (!dragged) return;
    dragged.classList.add("dragged");
    event.dataTransfer.effectAllowed = "move";
    // Some browsers drag nothing that has no data.
    event.dataTransfer.setData("text/plain", "");
  });
  rows.addEventListener("dragover", (event) => {
    const over = event.target.closest("li");
    if (!dragged || !over || over === dragged) return;
    event.preventDefault();
    const middle = over.getBoundingClientRect().top + over.offsetHeight / 2;
    if (event.clientY < middle) over.before(dragged);
    else over.after(dragged);
  });
  rows.addEventListener("dragend", () => {
    dragged?.classList.remove("dragged");
    dragged = null;
  });
}
