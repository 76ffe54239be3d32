// The copy button beside a secret that is shown once. Where a list says what to hand over with it, all of that is copied.

import { byId } from "./dom.js";
import { copyText } from "./copy.js";

const button = byId("copy-secret");

function textOf() {
  const rows = Array.from(document.querySelectorAll("#secret-facts > div"));
  const lines = rows.map((row) => Array.from(row.children, (part) => part.textContent.trim()).join(": "));
  return lines.join("\n") || byId("secret").textContent;
}

if (button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (await copyText(textOf())) button.textContent = button.getAttribute("data-copied");
  });
}
