// The copy button beside a secret that is shown once. Where a list says what to hand over with it, all of that is copied.

import { letCopy } from "./copy.js";
import { byId } from "./dom.js";

const button = byId("copy-secret");

function textOf() {
  const rows = Array.from(document.querySelectorAll("#secret-facts > div"));
  const lines = rows.map((row) => Array.from(row.children, (part) => part.textContent.trim()).join(": "));
  return lines.join("\n") || byId("secret").textContent;
}

if (button) letCopy(button, textOf);
