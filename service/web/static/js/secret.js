// The copy button beside a secret that is shown once.

import { byId } from "./dom.js";
import { copyText } from "./copy.js";

const button = byId("copy-secret");
if (button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (await copyText(byId("secret").textContent)) button.textContent = button.getAttribute("data-copied");
  });
}
