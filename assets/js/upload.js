// A progress bar for uploads: the form as it is, sent by a request that says how far it is.
"use strict";

// What is wrong, beside the field, as the server puts it there for a form without script.
function complain(field, text) {
  const id = `${field.id}-error`;
  let line = document.getElementById(id);
  if (!line) {
    line = document.createElement("p");
    line.id = id;
    line.className = "error";
    line.setAttribute("role", "alert");
    field.after(line);
    field.setAttribute("aria-describedby", `${id} ${field.getAttribute("aria-describedby") ?? ""}`.trim());
  }
  field.setAttribute("aria-invalid", "true");
  line.textContent = text;
  field.focus();
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = form.querySelector("progress");
    const button = form.querySelector("button");
    const request = new XMLHttpRequest();
    const ended = (text) => {
      bar.hidden = true;
      button.disabled = false;
      complain(form.querySelector("input[type=file]"), text);
    };
    request.upload.addEventListener("progress", (sent) => {
      // All sent: what is left is the unpacking, which has no measure.
      if (sent.lengthComputable && sent.loaded < sent.total) bar.value = (100 * sent.loaded) / sent.total;
      else bar.removeAttribute("value");
    });
    request.addEventListener("load", () => {
      if (request.status === 201) {
        location.reload();
        return;
      }
      let text = `The upload failed (${request.status}).`;
      try {
        text = JSON.parse(request.responseText).error;
      } catch {
        // A proxy answered, not this site.
      }
      ended(text);
    });
    request.addEventListener("error", () => ended("The connection broke; nothing was kept."));
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRF-Token", document.querySelector('meta[name="csrf-token"]').content);
    bar.hidden = false;
    button.disabled = true;
    request.send(new FormData(form));
  });
}
