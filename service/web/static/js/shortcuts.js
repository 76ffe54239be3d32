// The keys of the page, each with a modifier (WCAG 2.1.4), and the window that lists them.

import { openDialog } from "./dialog.js";
import { byId, el } from "./dom.js";
import { t } from "./words.js";

// By the place of a key: with Alt, some keyboards write something else.
const KEYS = { KeyN: "onNew", KeyK: "onSearch", KeyI: "onPrompt", KeyR: "onAgain", KeyC: "onCopy", Slash: "onHelp" };

// handlers: one for each name above, and onEscape()
export function listen(handlers) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") handlers.onEscape();
    if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !(event.code in KEYS)) return;
    event.preventDefault();
    handlers[KEYS[event.code]]();
  });
  byId("help").addEventListener("click", handlers.onHelp);
}

export function showHelp() {
  const rows = [
    [t("keys_enter"), t("help_send")],
    [t("keys_shift_enter"), t("help_line")],
    ["Alt + N", t("new_conversation")],
    ["Alt + K", t("search")],
    ["Alt + I", t("help_prompt")],
    ["Esc", t("help_stop")],
    ["Alt + R", t("again")],
    ["Alt + C", t("help_copy")],
    ["↑", t("help_edit")],
    ["Alt + /", t("help")],
  ];
  openDialog(t("help"), el("dl", { class: "keys" },
    ...rows.map(([keys, words]) => el("div", {}, el("dt", {}, el("kbd", {}, keys)), el("dd", {}, words)))),
  el("p", { class: "help-note" }, t("help_note")));
}
