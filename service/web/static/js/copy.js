// Copying to the clipboard, also on plain http: there the modern interface does not exist.

import { ICONS, el, icon } from "./dom.js";
import { t } from "./words.js";

const CONFIRM_MS = 1600;

export function copyButton(textOf) {
  const label = el("span", {}, t("copy"));
  const button = el("button", { type: "button", class: "copy" }, icon(ICONS.copy), label);
  button.addEventListener("click", async () => {
    if (!(await copyText(textOf()))) return;
    label.textContent = t("copied");
    window.setTimeout(() => { label.textContent = t("copy"); }, CONFIRM_MS);
  });
  return button;
}

// Shows a button of the page that copies a text. It has the word to confirm with in data-copied.
export function letCopy(button, textOf) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (!(await copyText(textOf()))) return;
    button.textContent = button.getAttribute("data-copied");
    window.setTimeout(() => { button.textContent = label; }, CONFIRM_MS);
  });
}

export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (_) {
      // not allowed here: the old way may still be
    }
  }
  return copyBySelection(text);
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const field = el("textarea", { class: "off-screen", readonly: true, "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (focused) focused.focus();
  return done;
}
