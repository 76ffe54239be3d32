// The page of the API's description: its first example can be copied, and a link to an object unfolds it.

import { letCopy } from "./copy.js";
import { byId } from "./dom.js";

letCopy(byId("copy-example"), () => byId("example").textContent);

function unfold(hash) {
  const target = byId(hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
}

// Also by the click: the address does not change where it names that object already.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link) unfold(link.hash);
});
window.addEventListener("hashchange", () => unfold(window.location.hash));
unfold(window.location.hash);
