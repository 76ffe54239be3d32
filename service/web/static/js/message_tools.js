// The small buttons below a message, and switching between its versions.

import { ICONS, el, icon } from "./dom.js";
import { fill, t } from "./words.js";

const CONFIRM_MS = 1600;

// `done` is shown for a moment where the action worked.
export function tool(path, label, name, action, done) {
  const button = el("button", { type: "button", class: "tool " + name, title: label, "aria-label": label }, icon(path));
  button.addEventListener("click", async () => {
    const worked = await action();
    if (!done || !worked) return;
    button.replaceChild(icon(ICONS.check), button.firstChild);
    button.title = done;
    window.setTimeout(() => {
      button.replaceChild(icon(path), button.firstChild);
      button.title = label;
    }, CONFIRM_MS);
  });
  return button;
}

// "2 / 3" between two arrows; nothing where there is one version only.
export function branchSwitch(message, versions, onVersion) {
  if (versions.length < 2) return "";
  const at = versions.findIndex((version) => version.id === message.id);
  const words = fill(t("version_of"), { number: at + 1, count: versions.length });
  return el("div", { class: "branches", role: "group", "aria-label": words },
    arrow(ICONS.before, t("version_before"), "before", versions[at - 1], onVersion),
    el("span", { class: "place", "aria-hidden": "true" }, at + 1 + " / " + versions.length),
    arrow(ICONS.after, t("version_after"), "after", versions[at + 1], onVersion));
}

function arrow(path, label, direction, target, onVersion) {
  return el("button", { type: "button", class: "tool when-idle " + direction, title: label, "aria-label": label,
    disabled: !target, onclick: () => onVersion(target, direction) }, icon(path));
}
