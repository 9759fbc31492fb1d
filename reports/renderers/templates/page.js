"use strict";
const sheet = document.getElementById("sheet"), viewer = document.getElementById("viewer");

function copy(button) {
  const text = button.parentElement.querySelector(".command").textContent;
  const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
  if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done, () => {}); return; }
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  if (document.execCommand("copy")) done();
  field.remove();
}

// What an entry of a table says: its column, its text with the unit, and what lies behind it.
function inWords(link) {
  const cell = link.closest("td"), heads = cell.closest("table").tHead.rows;
  let at = [...cell.parentElement.cells].slice(0, cell.cellIndex).reduce((sum, each) => sum + each.colSpan, 0);
  at += heads[heads.length - 1].cells.length - [...cell.parentElement.cells].reduce((sum, each) => sum + each.colSpan, 0);
  const head = heads[heads.length - 1].cells[at], unit = head?.querySelector("small")?.textContent ?? "";
  const name = head?.querySelector("span")?.textContent ?? "";
  const said = cell.classList.contains("reason") ? name : `${name} ${link.textContent} ${unit}`.trim();
  return [said, link.title].filter((part) => part).join(". ");
}

function explain(link) {
  const row = document.getElementById(link.getAttribute("href").slice(1));
  if (!row?.querySelector(".command")) return false;
  sheet.querySelector(".detail").textContent = link.dataset.detail ?? inWords(link);
  sheet.querySelector(".axes").textContent = row.cells[0].textContent + ": " + row.cells[1].textContent;
  const own = row.cells.length > 3 ? row.cells[2].textContent : "";
  const note = row.closest(".scroll").parentElement.querySelector(".note")?.textContent ?? "";
  const shared = own === "nothing measured" ? "" : note;
  sheet.querySelector(".origin").textContent = [own, shared].filter((part) => part).join("; ");
  sheet.querySelector(".command").textContent = row.querySelector(".command").textContent;
  sheet.hidden = false;
  return true;
}

// Arrows walk from number to number: one of a table's links is a stop of the Tab key, or there were hundreds.
function walk(link, key) {
  const cell = link.closest("td"), row = cell.parentElement, rows = [...cell.closest("table").rows];
  const cells = [...row.cells], at = rows.indexOf(row);
  const behind = (from) => from.reduce((sum, each) => sum + each.colSpan, 0);
  const fromEnd = behind(cells.slice(cell.cellIndex));
  const inColumn = ({ cells: [...each] }) => each.find((_, i) => behind(each.slice(i + 1)) < fromEnd && behind(each.slice(i)) >= fromEnd);
  const ahead = {
    ArrowRight: () => cells.slice(cell.cellIndex + 1),
    ArrowLeft: () => cells.slice(0, cell.cellIndex).reverse(),
    ArrowDown: () => rows.slice(at + 1).map(inColumn),
    ArrowUp: () => rows.slice(0, at).reverse().map(inColumn),
  }[key];
  const next = ahead?.().map((each) => each?.querySelector("a:not(.id)")).find((each) => each?.offsetParent);
  if (!next) return false;
  link.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  return true;
}

function enlarge(button) {
  const pictures = [...button.closest(".pictures-in-row").querySelectorAll(".whole img")], [first] = pictures;
  const slider = viewer.querySelector(".slider"), compare = viewer.querySelector(".compare");
  const [image, before] = slider.querySelectorAll("img"), [nameBefore, name] = slider.querySelectorAll("b");
  const show = (picture) => {
    image.src = picture.src;
    image.alt = picture.alt;
    name.textContent = picture.dataset.role;
    slider.style.setProperty("--wide", picture.getAttribute("width"));
    slider.style.setProperty("--high", picture.getAttribute("height"));
    viewer.querySelector(".choices").replaceChildren(...pictures.map((each) => {
      const choice = document.createElement("button");
      choice.type = "button";
      choice.textContent = each.dataset.role;
      choice.setAttribute("aria-pressed", String(each === picture));
      choice.onclick = () => show(each);
      return choice;
    }));
    viewer.onkeydown = (event) => {
      const step = event.target.type === "range" ? 0 : { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show(pictures[(pictures.indexOf(picture) + step + pictures.length) % pictures.length]);
    };
  };
  const slide = (on) => {
    slider.classList.toggle("whole", !on);
    slider.style.setProperty("--at", "50%");
    slider.querySelector("input").value = 50;
    compare.setAttribute("aria-pressed", String(on));
  };
  before.src = first.src;
  before.alt = first.alt;
  nameBefore.textContent = first.dataset.role;
  compare.textContent = `Slide over ${first.dataset.role}`;
  compare.hidden = pictures.length < 2;
  compare.onclick = () => slide(slider.classList.contains("whole"));
  slide(false);
  show(button.querySelector("img"));
  viewer.showModal();
}

function box(left, top, width, height) { return `M${left} ${top}h${width}v${height}h-${width}z`; }

function drawKept(map, extent, { side }, { patch, part, kept }) {
  const columns = part[2] / side, tiers = map.querySelectorAll(".seen-kept");
  const draw = (selector, path) => map.querySelectorAll(selector).forEach((each) => each.setAttribute("d", path));
  const bound = (tier) => Math.ceil(kept.length * tier / tiers.length);
  const boxOf = (key) => box(part[0] + key % columns * side, part[1] + Math.floor(key / columns) * side, side, side);
  draw(".seen-shade", box(0, 0, ...extent) + box(...part));
  tiers.forEach((tier, i) => tier.setAttribute("d", kept.slice(bound(i), bound(i + 1)).map(boxOf).join("")));
  draw(".seen-part", box(...part));
  draw(".seen-patch", box(...patch, side, side));
}

function showKept(figure, changed) {
  const { extent, views } = JSON.parse(figure.dataset.drawing), axes = [...figure.querySelectorAll(".axis")];
  const chosen = (group) => Number(group.querySelector("input:checked").value);
  const wanted = axes.map(chosen), turned = axes.findIndex((axis) => axis.contains(changed));
  const agreement = ({ at }) => at.reduce((sum, value, i) => sum + (value === wanted[i]) * (i === turned ? 99 : 1), 0);
  const view = views.reduce((best, each) => (agreement(each) > agreement(best) ? each : best));
  axes.forEach((axis, i) => axis.querySelectorAll("input").forEach((input, value) => {
    input.checked = value === view.at[i];
    const near = views.some(({ at }) => at.every((each, j) => each === (i === j ? value : view.at[j])));
    input.parentElement.classList.toggle("far", !near);
  }));
  const patch = chosen(figure.querySelector(".marks")), labels = figure.querySelectorAll(".stages label");
  const now = Math.min(chosen(figure.querySelector(".stages")), view.stages.length - 1), shown = view.stages[now];
  labels.forEach((label, i) => {
    const stage = view.stages[i], map = label.querySelector(".map"), [left, top, side] = view.frames[patch];
    label.hidden = !stage;
    label.querySelector("input").checked = i === now;
    if (!stage) return;
    map.setAttribute("viewBox", `${left} ${top} ${side} ${side}`);
    drawKept(map, extent, stage, stage.looks[patch]);
    label.querySelector(".name").textContent = stage.title;
    label.querySelector(".note").textContent = stage.note;
    label.querySelector(".short").textContent = stage.looks[patch].short;
  });
  figure.querySelector(".shown").setAttribute("href", `#${figure.id}-stage-${now}`);
  figure.querySelector("h4 small").textContent = view.title;
  figure.querySelector(".words").textContent = shown.looks[patch].words;
  figure.querySelector(".over").textContent = shown.words;
  const picture = figure.querySelector(".pictures input:checked");
  figure.querySelectorAll("image").forEach((image, i) => {
    image.setAttribute("display", picture && i !== Number(picture.value) ? "none" : "inline");
  });
}

document.addEventListener("click", (event) => {
  const of = (selector) => event.target.closest(selector);
  if (of(".copy")) copy(of(".copy"));
  else if (of("#sheet .close")) sheet.hidden = true;
  else if (of("[data-detail], td a:not(.id)")) { if (explain(of("[data-detail], td a:not(.id)"))) event.preventDefault(); }
  else if (of("button.pair")) enlarge(of("button.pair"));
});
document.addEventListener("input", (event) => {
  const slider = event.target.closest(".slider");
  if (slider) slider.style.setProperty("--at", event.target.value + "%");
  const dictionary = event.target.closest(".dictionary");
  if (dictionary) showKept(dictionary, event.target);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") sheet.hidden = true;
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.matches("td a:not(.id)") && walk(event.target, event.key)) event.preventDefault();
});
function addStop(table) {
  const links = [...table.querySelectorAll("td a:not(.id)")], seen = links.filter((each) => !each.closest("tr").hidden);
  links.forEach((each) => { each.tabIndex = each === seen[0] ? 0 : -1; });
}
document.querySelectorAll("table").forEach((table) => {
  addStop(table);
  table.addEventListener("shown", () => addStop(table));
});
document.querySelectorAll(".dictionary").forEach((figure) => {
  figure.querySelectorAll("input").forEach((input) => { input.disabled = false; });
  figure.querySelector(".axes").hidden = false;
  showKept(figure);
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
