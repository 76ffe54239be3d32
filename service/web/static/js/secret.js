// The copy button beside a secret that is shown once.

import { letCopy } from "./copy.js";
import { byId } from "./dom.js";

const button = byId("copy-secret");
if (button) letCopy(button, () => byId("secret").textContent);
