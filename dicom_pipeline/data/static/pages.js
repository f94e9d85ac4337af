// Says whether this page is kept up to date. Everything else of the pages works without scripts.
"use strict";
{
  const place = document.getElementById("live-state");
  const say = (state, text) => {
    place.dataset.state = state;
    place.textContent = text;
  };
  document.addEventListener("htmx:sse:after:connection", () => say("on", "Live: this page changes as the service works."));
  document.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0) say("off", "Not live: connecting again.");
  });
  document.addEventListener("htmx:sse:close", () => say("off", "Not live: reload the page to see what is so now."));
}
