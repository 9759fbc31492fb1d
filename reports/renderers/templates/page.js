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

function explain(link) {
  const row = document.getElementById(link.getAttribute("href").slice(1));
  if (!row) return false;
  sheet.querySelector(".detail").textContent = link.dataset.detail;
  sheet.querySelector(".axes").textContent = row.cells[0].textContent + ": " + row.cells[1].textContent;
  sheet.querySelector(".command").textContent = row.querySelector(".command").textContent;
  sheet.hidden = false;
  return true;
}

function enlarge(button) {
  const pictures = [...button.closest(".triple").querySelectorAll(".whole img")];
  const image = viewer.querySelector("img"), choices = viewer.querySelector(".choices");
  const show = (picture) => {
    image.src = picture.src;
    image.alt = picture.alt;
    choices.replaceChildren(...pictures.map((each) => {
      const choice = document.createElement("button");
      choice.type = "button";
      choice.textContent = each.dataset.role;
      choice.setAttribute("aria-pressed", String(each === picture));
      choice.onclick = () => show(each);
      return choice;
    }));
    viewer.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show(pictures[(pictures.indexOf(picture) + step + pictures.length) % pictures.length]);
    };
  };
  show(button.querySelector("img"));
  viewer.showModal();
}

document.addEventListener("click", (event) => {
  const of = (selector) => event.target.closest(selector);
  if (of(".copy")) copy(of(".copy"));
  else if (of("#sheet .close")) sheet.hidden = true;
  else if (of("[data-detail]")) { if (explain(of("[data-detail]"))) event.preventDefault(); }
  else if (of("button.pair")) enlarge(of("button.pair"));
});
document.addEventListener("input", (event) => {
  const slider = event.target.closest(".slider");
  if (slider) slider.style.setProperty("--at", event.target.value + "%");
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") sheet.hidden = true; });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
