// The events: connects, connects again with growing patience, and says when what is shown is stale.

import { ago } from "/format.js";
import { $, say } from "/dom.js";

const MARGIN_SECONDS = 2;
const FIRST_MILLISECONDS = 1000;
const LONGEST_MILLISECONDS = 30_000;
const SETTLED_MILLISECONDS = 10_000;

export class Stream {
  constructor(address, show) {
    this.address = address;
    this.show = show;
    this.last = null;
    this.heardAt = 0;
    this.connected = false;
    this.wait = FIRST_MILLISECONDS;
    this.timer = 0;
  }

  start() {
    this.connect();
    setInterval(() => this.condition(), 1000);
    // What slept or lost its network tries at once when it is back.
    addEventListener("online", () => this.again());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && !this.connected) this.again();
    });
  }

  again() {
    if (this.connected) return;
    clearTimeout(this.timer);
    this.source?.close();
    this.connect();
  }

  connect() {
    const source = new EventSource(this.address);
    this.source = source;
    let opened = 0;
    source.onopen = () => {
      opened = performance.now();
      this.connected = true;
      this.condition();
    };
    source.onmessage = (event) => {
      this.last = JSON.parse(event.data);
      this.heardAt = performance.now();
      this.connected = true;
      this.show(this.last);
      this.condition();
    };
    source.onerror = () => {
      // The browser's own retries have no backoff, and end for good after an answer like 503.
      source.close();
      if (opened && performance.now() - opened > SETTLED_MILLISECONDS) this.wait = FIRST_MILLISECONDS;
      this.connected = false;
      this.condition();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.connect(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(LONGEST_MILLISECONDS, this.wait * 2);
    };
  }

  condition() {
    const silent = (performance.now() - this.heardAt) / 1000;
    let [state, words, age] = ["live", "live", ""];
    if (!this.last) [state, words] = ["waiting", this.connected ? "waiting for figures" : "connecting"];
    else {
      const patience = 3 * this.last.interval_seconds + this.last.grace_seconds + MARGIN_SECONDS;
      const old = this.last.window ? this.last.at_seconds - this.last.window.end_seconds : 0;
      if (silent > patience || old > patience) [state, words] = ["stale", "stale"];
      if (!this.connected) [state, words] = ["lost", "stale, reconnecting"];
      if (state !== "live") age = ago(silent + old);
    }
    document.body.toggleAttribute("data-stale", state === "stale" || state === "lost");
    $("connection").dataset.state = state;
    // Only a change of state is announced, not each second of it.
    say($("connection-text"), words);
    say($("connection-age"), age);
  }
}
