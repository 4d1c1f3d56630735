// Times are shown in the zone that the reader chose in Airflow, which keeps it here, or in the browser's own.
"use strict";
(() => {
  const zone = () => {
    try {
      const chosen = JSON.parse(localStorage.getItem("timezone"));
      if (typeof chosen === "string") return new Intl.DateTimeFormat("en", { timeZone: chosen });
    } catch {
      // Storage is turned off, or it has no zone that the browser knows
    }
    return new Intl.DateTimeFormat("en");
  };
  const show = () => {
    const timeZone = zone().resolvedOptions().timeZone;
    // The Swedish form is that of ISO 8601
    const format = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short", timeZone });
    for (const element of document.querySelectorAll("time[datetime]")) {
      element.title ||= element.textContent;
      element.textContent = format.format(new Date(element.dateTime));
    }
    const note = document.getElementById("zone");
    if (note) note.textContent = timeZone;
  };
  show();
  addEventListener("storage", (event) => event.key === "timezone" && show());
})();
