"use strict";
// Theme and time zone as the reader chose them in this browser. Loaded before the page is painted, so that it does not
// flash in other colours. Without JavaScript the theme is the system's, times are UTC, and the choices are hidden.
const CHOICES = { theme: ["system", "light", "dark"], times: ["utc", "local"] };
// The choices hold for this page also where the browser refuses to keep them.
const chosen = {};
function getChoice(name) {
  let value = chosen[name];
  try { value = localStorage.getItem(name) || value; } catch { /* No storage. */ }
  return CHOICES[name].includes(value) ? value : CHOICES[name][0];
}
function keepChoice(name, value) {
  chosen[name] = value;
  try { localStorage.setItem(name, value); } catch { /* No storage. */ }
}
// Format milliseconds since 1970 to the second; with the date unless that is today.
function formatTime(at) {
  const toIso = (ms) => {
    const offset = getChoice("times") === "local" ? new Date(ms).getTimezoneOffset() * 60000 : 0;
    return new Date(ms - offset).toISOString();
  };
  const text = toIso(at), isToday = text.slice(0, 10) === toIso(Date.now()).slice(0, 10);
  return isToday ? text.slice(11, 19) : text.slice(0, 10) + " " + text.slice(11, 19);
}
(() => {
  const root = document.documentElement;
  let isLocal = false;

  function showTimes(element) {
    for (const time of element.querySelectorAll("time[datetime]")) {
      const text = formatTime(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
      if (isLocal) time.title = time.dateTime.slice(0, 19).replace("T", " ") + " UTC";
      else time.removeAttribute("title");
    }
  }

  function apply() {
    root.dataset.theme = getChoice("theme");
    if (!document.body) return;
    const wasLocal = isLocal;
    isLocal = getChoice("times") === "local";
    if (isLocal || wasLocal) showTimes(document);
    const zone = document.getElementById("zone");
    const text = isLocal
      ? `Times are local: ${Intl.DateTimeFormat().resolvedOptions().timeZone}. Times that you enter are UTC.`
      : "All times are UTC.";
    if (zone.textContent !== text) zone.textContent = text;
    for (const name in CHOICES) document.getElementById(name).value = getChoice(name);
  }

  root.classList.add("script");
  apply();
  addEventListener("storage", apply);
  addEventListener("DOMContentLoaded", () => {
    for (const name in CHOICES) {
      document.getElementById(name).addEventListener("change", (event) => {
        keepChoice(name, event.target.value);
        apply();
      });
    }
    apply();
    // Live updates replace parts of the page.
    new MutationObserver((mutations) => {
      if (isLocal) for (const element of new Set(mutations.map((mutation) => mutation.target))) showTimes(element);
    }).observe(document.body, { childList: true, subtree: true });
  });
})();
