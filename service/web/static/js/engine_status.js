// The model's name and whether it can answer, asked more often while it cannot.

import * as api from "./api.js";
import { byId } from "./dom.js";
import { t } from "./words.js";

const READY_MS = 60000;
const AWAY_MS = 4000;

export class EngineStatus {
  constructor(onChange) {
    this.onChange = onChange;
    this.isReady = null;
    this.timer = 0;
  }

  async check() {
    window.clearTimeout(this.timer);
    let status = { ready: false, model: "" };
    try {
      status = await api.status();
    } catch (_) {
      // the server is away: the same to the user, and asked again like it
    }
    this.show(status);
    this.timer = window.setTimeout(() => this.check(), status.ready ? READY_MS : AWAY_MS);
  }

  show(status) {
    const words = status.ready ? t("model_ready") : t("model_away");
    byId("model").hidden = false;
    byId("model").title = words;
    byId("model").setAttribute("data-ready", String(status.ready));
    byId("model-name").textContent = status.ready ? status.model : words;
    if (this.isReady !== status.ready) this.onChange(status.ready);
    this.isReady = status.ready;
  }
}
