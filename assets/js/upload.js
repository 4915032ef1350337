// A progress bar for uploads: the form as it is, sent by a request that says how far it is.
"use strict";

for (const form of document.querySelectorAll("form[data-upload]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = form.querySelector("progress");
    const button = form.querySelector("button");
    const request = new XMLHttpRequest();
    const ended = (text) => {
      bar.hidden = true;
      button.disabled = false;
      say(text);
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
