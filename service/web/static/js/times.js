// Times that the server wrote in UTC, in the reader's own time zone. Without this script they stay as they are.

function two(number) {
  return String(number).padStart(2, "0");
}

export function local(moment) {
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return day + " " + two(moment.getHours()) + ":" + two(moment.getMinutes());
}

for (const element of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(element.getAttribute("datetime"));
  if (isNaN(moment.getTime())) continue;
  element.title = element.textContent;
  element.textContent = local(moment);
}
