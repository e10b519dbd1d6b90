"use strict";
// A slider says beside it where it stands.
for (const slider of document.querySelectorAll("[data-shows]")) {
  slider.addEventListener("input", () => { document.getElementById(slider.dataset.shows).value = slider.value; });
}
// Keeps the page fresh by server-sent events. Without it every page works and is renewed by loading it again.
(() => {
  const url = document.documentElement.dataset.live;
  if (!url) return;
  const STALE_MS = 3000, ANNOUNCE_MS = 5000, HIDDEN_MS = 20000, AGAIN_MS = 500;
  const connection = document.getElementById("connection");
  const announcement = document.getElementById("announcement");
  const pause = document.getElementById("pause");
  let source = null, heardAt = Date.now(), askedAt = heardAt, announcedAt = 0, title = "", paused = false, over = false, hiding = 0;

  const clock = (at) => new Date(at).toISOString().slice(11, 19);

  function say(text) {
    if (connection.textContent !== text) connection.textContent = text;
    connection.hidden = text === "";
    document.documentElement.classList.toggle("stale", text !== "");
  }

  function put(id, html) {
    const element = document.getElementById(id);
    if (!element) return;
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    const href = focused && focused.getAttribute("href");
    element.innerHTML = html;
    if (href) {
      const same = [...element.querySelectorAll("a")].find((link) => link.getAttribute("href") === href);
      if (same) same.focus({ preventScroll: true });
    }
  }

  function heard(event) {
    heardAt = Date.now();
    say("");
    const parts = JSON.parse(event.data);
    for (const [id, html] of Object.entries(parts)) if (id !== "title" && id !== "level") put(id, html);
    if (parts.title !== undefined) title = parts.title;
    if (document.querySelector("[data-title]") && title) document.title = title + " · Moderated Grading";
    // A screen reader hears a change of the sentence, and not more often than every five seconds.
    if (title && announcement.textContent !== title && heardAt - announcedAt > ANNOUNCE_MS) {
      announcement.textContent = title;
      announcedAt = heardAt;
    }
  }

  function open() {
    close();
    source = new EventSource(url);
    source.addEventListener("parts", heard);
  }

  // What is shown is as old as when it was heard; that it is stale is said only when no answer comes in time.
  function again() {
    askedAt = Date.now();
    say("");
    open();
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  setInterval(() => {
    if (paused || document.hidden) return;
    if (!over && Date.now() - Math.max(heardAt, askedAt) > STALE_MS) {
      say("Stale since " + clock(heardAt) + ": the console does not answer. Trying again.");
    }
    if (over || (source && source.readyState !== EventSource.CLOSED)) return;
    // A browser gives up on a stream that was refused; we ask why, and begin again unless nobody is signed in.
    fetch("/session").then((answer) => {
      over = answer.status === 204;
      if (over) { say("You are signed out: load the page again to sign in."); close(); } else open();
    }).catch(() => {});
  }, AGAIN_MS);

  function turned() {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN_MS);
    else if (!paused && !source) again();
  }

  document.addEventListener("visibilitychange", turned);

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume live updates" : "Pause live updates";
    if (!paused) return again();
    close();
    say("Paused at " + clock(Date.now()) + ": nothing below changes until you resume live updates, at the end of the page.");
  });

  open();
  turned();
})();
