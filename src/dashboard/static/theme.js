// Airflow keeps its reader's choice of light or dark here; the frame of the page has the same origin.
"use strict";
(() => {
  const follow = () => {
    let choice = null;
    try {
      choice = localStorage.getItem("theme");
    } catch {
      return; // Storage is turned off: the style sheet goes by the system's choice
    }
    if (choice === "dark" || choice === "light") document.documentElement.dataset.theme = choice;
    else delete document.documentElement.dataset.theme;
  };
  follow();
  addEventListener("storage", follow);
})();
