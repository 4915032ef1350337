// The form token of the page goes with every change that a script asks for.
"use strict";

function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = csrfToken();
});

// A change as JSON. Answers what is wrong as text, or nothing.
async function post(path, fields) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrfToken() },
    body: JSON.stringify(fields),
  });
  if (response.ok) return "";
  const body = await response.json().catch(() => ({}));
  return body.error ?? `the server answered ${response.status}`;
}
