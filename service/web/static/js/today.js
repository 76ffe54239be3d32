// The button that shows the events of today: in UTC, as the log and its filter count days.

import { byId } from "./dom.js";

const button = byId("today");
button.hidden = false;
button.addEventListener("click", () => {
  byId("from").value = new Date().toISOString().slice(0, 10);
  byId("to").value = "";
  button.form.submit();
});
