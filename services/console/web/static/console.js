"use strict";
// Show the value of a slider next to it.
for (const slider of document.querySelectorAll("[data-shows]")) {
  slider.addEventListener("input", () => { document.getElementById(slider.dataset.shows).value = slider.value; });
}
// Count down to times, by the server's clock.
const skew = (() => {
  const now = document.querySelector("[data-now]");
  return now ? Date.parse(now.dataset.now) - Date.now() : 0;
})();
function countDown() {
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = Math.ceil((Date.parse(element.dataset.until) - Date.now() - skew) / 1000);
    const [days, hours, minutes] = [Math.floor(left / 86400), Math.floor(left / 3600) % 24, Math.floor(left / 60) % 60];
    const parts = [[days, "d"], [hours, "h"], [minutes, "min"], [left % 60, "s"]];
    const first = parts.findIndex(([count]) => count > 0);
    const text = left <= 0 ? "due now" : "in " + parts.slice(first, first + 3).map((part) => part.join(" ")).join(" ");
    if (element.textContent !== text) element.textContent = text;
  }
}
if (document.querySelector("[data-now]")) { countDown(); setInterval(countDown, 250); }
// Update the page by server-sent events. Without JavaScript every page works and is updated by reloading it.
(() => {
  const url = document.documentElement.dataset.live;
  if (!url) return;
  const STALE_MS = 3000, ANNOUNCE_MS = 5000, HIDDEN_MS = 20000, RETRY_MS = 500, RETRY_MAX_MS = 10000;
  const connection = document.getElementById("connection");
  const announcement = document.getElementById("announcement");
  const pause = document.getElementById("pause");
  let source = null, receivedAt = Date.now(), openedAt = receivedAt, announcedAt = 0, title = "";
  let paused = false, signedOut = false, hideTimer = 0, retryMs = RETRY_MS, retryAt = 0;

  function showConnection(text) {
    if (connection.textContent !== text) connection.textContent = text;
    connection.hidden = text === "";
    document.documentElement.classList.toggle("stale", text !== "");
  }

  // Keep the focus on the same link when its fragment is replaced.
  function replaceFragment(id, html) {
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

  function onFragments(event) {
    receivedAt = Date.now();
    retryMs = RETRY_MS;
    showConnection("");
    const fragments = JSON.parse(event.data);
    for (const [id, html] of Object.entries(fragments)) if (id !== "title" && id !== "level") replaceFragment(id, html);
    countDown();
    if (fragments.title !== undefined) title = fragments.title;
    if (document.querySelector("[data-title]") && title) document.title = title + " · Moderated Grading";
    // A screen reader announces a changed summary, at most every five seconds.
    if (title && announcement.textContent !== title && receivedAt - announcedAt > ANNOUNCE_MS) {
      announcement.textContent = title;
      announcedAt = receivedAt;
    }
  }

  function open() {
    close();
    source = new EventSource(url);
    source.addEventListener("fragments", onFragments);
  }

  // Give a new stream time to answer before the page is marked stale.
  function reopen() {
    openedAt = Date.now();
    showConnection("");
    open();
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  setInterval(() => {
    if (paused || document.hidden) return;
    if (!signedOut && Date.now() - Math.max(receivedAt, openedAt) > STALE_MS) {
      showConnection("Stale since " + formatTime(receivedAt) + ": the console does not answer. Retrying.");
    }
    if (signedOut || Date.now() < retryAt || (source && source.readyState !== EventSource.CLOSED)) return;
    // A browser does not reopen a stream that was refused: ask whether the session has ended, else open it again, but
    // less and less often, because a user who lost the right to read the page is refused each time.
    fetch("/session").then((response) => {
      signedOut = response.status === 204;
      if (signedOut) { showConnection("You are signed out. Reload the page to sign in."); close(); return; }
      open();
      retryAt = Date.now() + retryMs;
      retryMs = Math.min(2 * retryMs, RETRY_MAX_MS);
    }).catch(() => {});
  }, RETRY_MS);

  function onVisibilityChange() {
    clearTimeout(hideTimer);
    if (document.hidden) hideTimer = setTimeout(close, HIDDEN_MS);
    else if (!paused && !source) reopen();
  }

  document.addEventListener("visibilitychange", onVisibilityChange);

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume live updates" : "Pause live updates";
    if (!paused) return reopen();
    close();
    showConnection("Paused at " + formatTime(Date.now()) + ". Resume live updates at the end of the page.");
  });

  open();
  onVisibilityChange();
})();
