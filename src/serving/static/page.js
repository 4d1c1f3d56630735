"use strict";

const LONGEST = 4096; // pixels: a longer photograph is shrunk before its faces are found
const UNCERTAIN = 0.1;
const MOST = 8; // attributes of a comparison that are shown at once
const byId = (id) => document.getElementById(id);
let token = "";
let release = null;
let chosen = null; // the file that was chosen last
let photograph = null; // a file, and its answer

function make(name, attributes, ...children) {
  const svg = ["svg", "rect", "line"].includes(name);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const percent = (value, digits = 0) => `${(100 * value).toFixed(digits)}%`;
const spaced = (name) => name.replaceAll("_", " ");

async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers });
  const text = await response.text();
  let content = {};
  try {
    content = JSON.parse(text);
  } catch {
    content = { error: `status ${response.status}` };
  }
  if (response.status === 401) {
    byId("access").hidden = false;
  }
  if (!response.ok) {
    const wait = response.headers.get("Retry-After");
    const detail = content.error || `status ${response.status}`;
    throw new Error(wait ? `${detail} (in ${wait} s)` : detail);
  }
  return content;
}

async function send(path, name, file) {
  const form = new FormData();
  form.append(name, file);
  return ask(path, { method: "POST", body: form });
}

/** Run a task that a person started: say that it runs, and say why it failed. */
async function run(button, status, text, task) {
  byId("problem").textContent = "";
  status.textContent = text;
  if (button) {
    button.disabled = true;
  }
  try {
    await task();
  } catch (error) {
    byId("problem").textContent = `That did not work: ${error.message}`;
  } finally {
    if (status.textContent === text) {
      status.textContent = "";
    }
    if (button) {
      button.disabled = false;
    }
  }
}

async function showRelease() {
  release = await ask("release");
  byId("access").hidden = true;
  const evaluation = release.evaluation;
  const parts = [`Release ${release.release.slice(0, 12)}`, `model ${release.model_sha256.slice(0, 12)}`];
  if (evaluation) {
    parts.push(`${percent(evaluation.mean_accuracy, 1)} right on ${evaluation.samples} images that no training saw`);
  }
  byId("release").textContent = parts.join(" · ") + (release.problem ? ` · ${release.problem}` : "");
  byId("choices").replaceChildren(
    ...release.attributes.map((name) =>
      make(
        "label",
        {},
        spaced(name),
        make(
          "select",
          { name },
          make("option", { value: "" }, "any"),
          make("option", { value: "has" }, "shows it"),
          make("option", { value: "lacks" }, "does not show it"),
        ),
      ),
    ),
  );
  const others = (await ask("releases")).filter((other) => other.release !== release.release);
  byId("other").replaceChildren(
    ...others.map((other) =>
      make("option", { value: other.release }, `${other.environments.join(", ")} (${other.release.slice(0, 12)})`),
    ),
  );
}

function bar(answer) {
  const svg = make("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  const at = 100 * answer.threshold;
  svg.append(
    make("rect", { class: "track", x: 0.5, y: 1, width: 99, height: 8 }),
    make("rect", { class: "value", x: 0.5, y: 1, width: 99 * answer.probability, height: 8 }),
    make("line", { class: "threshold", x1: at, x2: at, y1: 0, y2: 10 }),
  );
  return svg;
}

function badge(answer) {
  const uncertain = Math.abs(answer.probability - answer.threshold) < UNCERTAIN;
  const text = answer.present ? "yes" : "no";
  return uncertain
    ? make("span", { class: "badge uncertain" }, `${text}, uncertain`)
    : make("span", { class: "badge" }, text);
}

function table(caption, rows) {
  const accuracies = release?.evaluation?.per_attribute || {};
  const head = ["attribute", "answer", "probability", "threshold", "", "right on hold-out images"];
  const classes = ["", "", "", "wide", "bar", "wide"];
  return make(
    "table",
    {},
    make("caption", {}, caption),
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        ...head.map((text, index) =>
          text ? make("th", { scope: "col", class: classes[index] }, text) : make("td", { class: classes[index] }),
        ),
      ),
    ),
    make(
      "tbody",
      {},
      ...rows.map(([name, answer]) => {
        const accuracy = accuracies[name]?.accuracy;
        return make(
          "tr",
          {},
          make("th", { scope: "row" }, spaced(name)),
          make("td", {}, badge(answer)),
          make("td", {}, percent(answer.probability)),
          make("td", { class: "wide" }, percent(answer.threshold)),
          make("td", { class: "bar" }, bar(answer)),
          make("td", { class: "wide soft" }, accuracy == null ? "not known" : percent(accuracy, 1)),
        );
      }),
    ),
  );
}

function sureness(face) {
  const slice = release?.evaluation?.slices?.[face.light];
  if (!slice || slice.accuracy == null) {
    return "The release has no evaluation on images like this one.";
  }
  const light = face.light === "medium" ? "of medium brightness" : `as ${face.light} as this one`;
  const low = slice.accuracy_low == null ? "" : ` (95% interval ${percent(slice.accuracy_low, 1)} to ${percent(slice.accuracy_high, 1)})`;
  return `On ${slice.count} hold-out images ${light}, ${percent(slice.accuracy, 1)} of the answers are right${low}.`;
}

function faceBlock(face, number, answer) {
  const rows = Object.entries(face.attributes).sort((a, b) => b[1].probability - a[1].probability);
  const uncertain = ([, value]) => Math.abs(value.probability - value.threshold) < UNCERTAIN;
  const shown = rows.filter((row) => row[1].present || uncertain(row));
  const rest = rows.filter((row) => !shown.includes(row));
  const why = make("div", { class: "why" });
  const button = make("button", { type: "button" }, `Show what counts in face ${number}`);
  button.addEventListener("click", () =>
    run(button, byId("status"), "Covering parts of the face…", () => explain(why, number)),
  );
  why.append(button);
  const box = face.box ? "" : " (the photograph came aligned)";
  return make(
    "section",
    { class: "face", "aria-label": `Face ${number}` },
    make("h3", {}, `Face ${number}${box}`),
    make("p", { class: "note" }, sureness(face)),
    table("Seen, or uncertain", shown),
    make("details", {}, make("summary", {}, `${rest.length} attributes that it does not see`), table("Not seen", rest)),
    why,
  );
}

function drawBoxes(faces) {
  const picture = byId("picture");
  const scale = Math.max(1, Math.max(picture.naturalWidth, picture.naturalHeight) / LONGEST);
  const [width, height] = [picture.naturalWidth / scale, picture.naturalHeight / scale];
  document.querySelectorAll(".box").forEach((box) => box.remove());
  faces.forEach((face, index) => {
    if (!face.box || !picture.naturalWidth) {
      return;
    }
    const [left, top, right, bottom] = face.box;
    const box = make("div", { class: "box", "aria-hidden": "true" }, make("span", {}, String(index + 1)));
    box.style.left = `${(100 * left) / width}%`;
    box.style.top = `${(100 * top) / height}%`;
    box.style.width = `${(100 * (right - left)) / width}%`;
    box.style.height = `${(100 * (bottom - top)) / height}%`;
    byId("frame").append(box);
  });
}

async function show(file) {
  chosen = file;
  byId("faces").replaceChildren();
  byId("comparison").replaceChildren();
  byId("compare").hidden = true;
  const picture = byId("picture");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  byId("photograph").hidden = false;
  byId("caption").textContent = file.name;
  const [answer] = (await send("predict", "files", file)).photographs;
  if (file !== chosen) {
    return; // a larger photograph is answered after one that was chosen later
  }
  photograph = { file, answer };
  if (answer.error) {
    throw new Error(answer.error);
  }
  try {
    await picture.decode();
  } catch {
    byId("photograph").hidden = true; // a format that this browser does not show
  }
  drawBoxes(answer.faces);
  const count = answer.faces.length === 1 ? "1 face" : `${answer.faces.length} faces`;
  byId("caption").textContent = `${file.name}: ${count}, answered by release ${answer.release.slice(0, 12)}`;
  byId("status").textContent = `${count} found.`;
  byId("faces").replaceChildren(...answer.faces.map((face, index) => faceBlock(face, index + 1, answer)));
  byId("compare").hidden = !byId("other").options.length;
}

async function explain(why, number) {
  photograph.explained = photograph.explained || (await send("explain", "file", photograph.file));
  const face = photograph.explained.faces[number - 1];
  const names = Object.entries(face.attributes).sort((a, b) => b[1].probability - a[1].probability);
  const select = make("select", { id: `why-${number}` }, ...names.map(([name]) => make("option", { value: name }, spaced(name))));
  const canvas = make("canvas", { width: 178, height: 218, role: "img" });
  const picture = new Image();
  picture.src = `data:image/jpeg;base64,${face.picture}`;
  await picture.decode();
  const note = make("p", { class: "note" });
  const paint = () => {
    const map = face.maps[select.value];
    const most = Math.max(...map.flat());
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    const [rows, columns] = [map.length, map[0].length];
    map.forEach((row, top) =>
      row.forEach((value, left) => {
        context.fillStyle = `rgba(255, 70, 0, ${most ? (0.65 * value) / most : 0})`;
        context.fillRect((left * 178) / columns, (top * 218) / rows, 178 / columns + 1, 218 / rows + 1);
      }),
    );
    const name = spaced(select.value);
    canvas.setAttribute("aria-label", `Face ${number}, with the parts that count for ${name}`);
    note.textContent = most
      ? `Covering the brightest part changes the probability of ${name} by ${most} points.`
      : `Covering no single part changes the probability of ${name} by a point.`;
  };
  select.addEventListener("change", paint);
  why.replaceChildren(make("label", { for: select.id }, "Parts that count for"), select, canvas, note);
  paint();
  select.focus();
}

async function compare() {
  const other = await send(`compare?release=${byId("other").value}`, "file", photograph.file);
  if (other.error) {
    throw new Error(other.error);
  }
  const mine = photograph.answer;
  const notes = [];
  if (mine.faces.length !== other.faces.length) {
    notes.push(make("p", {}, `This release finds ${mine.faces.length} faces, the other one ${other.faces.length}.`));
  }
  const tables = mine.faces.slice(0, other.faces.length).map((face, index) => {
    const theirs = other.faces[index].attributes;
    const rows = Object.entries(face.attributes)
      .filter(([name]) => name in theirs)
      .sort((a, b) => gap(b, theirs) - gap(a, theirs));
    return [
      comparisonTable(`Face ${index + 1}: the largest differences`, rows.slice(0, MOST), theirs, mine, other),
      make(
        "details",
        {},
        make("summary", {}, `${Math.max(0, rows.length - MOST)} more attributes`),
        comparisonTable(`Face ${index + 1}: other attributes`, rows.slice(MOST), theirs, mine, other),
      ),
    ];
  });
  if (mine.model_sha256 === other.model_sha256) {
    notes.push(make("p", {}, "Both releases have the same model."));
  }
  byId("comparison").replaceChildren(...notes, ...tables.flat());
}

function comparisonTable(caption, rows, theirs, mine, other) {
  const head = [
    "attribute",
    `this (${mine.release.slice(0, 7)})`,
    `other (${other.release.slice(0, 7)})`,
    "difference, points",
  ];
  const row = ([name, value]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, spaced(name)),
      make("td", {}, `${percent(value.probability)} `, badge(value)),
      make("td", {}, `${percent(theirs[name].probability)} `, badge(theirs[name])),
      make("td", {}, (100 * (theirs[name].probability - value.probability)).toFixed(1)),
    );
  return make(
    "table",
    {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map(row)),
  );
}

const gap = ([name, value], theirs) => Math.abs(theirs[name].probability - value.probability);

async function search() {
  const query = new URLSearchParams();
  for (const select of byId("choices").querySelectorAll("select")) {
    if (select.value) {
      query.append(select.value, select.name);
    }
  }
  const { faces, files } = await ask(`search?${query}`);
  byId("search-status").textContent = `${faces.length} faces in ${files} files of scores.`;
  byId("found").replaceChildren(
    ...faces.map((face) => {
      const values = Object.entries(face.attributes).map(([name, value]) => `${spaced(name)} ${percent(value)}`);
      const item = make("li", {});
      if (face.picture) {
        item.append(make("img", { src: `data:image/jpeg;base64,${face.picture}`, alt: `Face ${face.id}` }));
      }
      item.append(`${face.batch}/${face.id}`, make("br"), [face.day, ...values].filter(Boolean).join(" · "));
      return item;
    }),
  );
}

function choose(file) {
  if (file) {
    run(null, byId("status"), "Looking for faces…", () => show(file));
  }
}

byId("file").addEventListener("change", (event) => choose(event.target.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  byId("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") {
      choose(event.dataTransfer.files[0]);
    }
  });
}
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  run(null, byId("status"), "Asking for the release…", showRelease);
});
byId("compare").addEventListener("submit", (event) => {
  event.preventDefault();
  run(event.submitter, byId("status"), "Starting the other release. This may take a minute…", compare);
});
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  run(event.submitter, byId("search-status"), "Searching…", search);
});
run(null, byId("status"), "Asking for the release…", showRelease);
