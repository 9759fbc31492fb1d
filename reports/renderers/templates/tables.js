// Tables: a click on a head sorts the rows of each group, and menus above keep the rows that are asked for.
const SORTABLE = 3, FILTERABLE = 6;

// Without the merging of equal names each row stands for itself and can be moved.
function unmerge(body) {
  [...body.rows].forEach((row, r) => [...row.cells].forEach((cell) => {
    const rows = cell.rowSpan, column = cell.cellIndex;
    cell.rowSpan = 1;
    for (let n = 1; n < rows; n += 1) body.rows[r + n].insertBefore(cell.cloneNode(true), body.rows[r + n].cells[column]);
    if (cell.scope === "rowgroup" && !row.classList.contains("group")) cell.scope = "row";
  }));
  [...body.rows].forEach((row) => row.classList.remove("starts"));
  return body;
}

function cellAt(row, column) {
  let at = 0;
  return [...row.cells].find((cell) => { at += cell.colSpan; return at > column; });
}

// Numbers as pages write them, with a true minus and thousands apart; what has no value comes last.
function keyOf(row, column) {
  const cell = cellAt(row, column), text = cell.textContent.trim();
  if (cell.classList.contains("reason") || text === "" || text === "undefined") return { missing: true };
  const number = /^[-+]?(\d[\d,]*)?\.?\d+(e[-+]?\d+)?/i.exec(text.replace(/\u2212/g, "-"));
  if (/^[+\u2212]?\u221e$/.test(text)) return { number: text.startsWith("\u2212") ? -Infinity : Infinity };
  return number ? { number: Number(number[0].replace(/,/g, "")), text } : { text };
}

function compareKeys(one, other) {
  if (one.number !== undefined && other.number !== undefined && one.number !== other.number) return one.number - other.number;
  return (one.text ?? "").localeCompare(other.text ?? "", undefined, { numeric: true });
}

function wordsOf(row) {
  return row?.classList.contains("group") ? row.textContent.trim().split(" \u00b7 ") : [];
}

class SortableTable {
  constructor(table) {
    this.table = table;
    this.merged = [...table.tBodies];
    this.bodies = this.merged.map((body) => unmerge(body.cloneNode(true)));
    this.rows = this.bodies.map((body) => [...body.rows].filter((row) => !row.classList.contains("group")));
    this.count = this.rows.flat().length;
    this.stubs = Number(/stubs(\d+)/.exec(table.className)[1]);
    this.heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    this.kept = new Map();
    this.column = -1;
    this.step = 1;
    if (this.count >= SORTABLE) this.heads.forEach((head, column) => this.addSorting(head, column));
    if (this.count >= FILTERABLE) this.addFilters();
  }

  addSorting(head, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const number = this.heads[column].classList.contains("number");
      if (this.column !== column) [this.column, this.step] = [column, number ? -1 : 1];
      else if (this.step === (number ? -1 : 1)) this.step = -this.step;
      else this.column = -1;
      this.show();
    };
  }

  // What a row can be asked for: its names, and the parts of its group's title.
  facets() {
    const titles = this.bodies.map((body) => wordsOf(body.rows[0])), parts = titles[0].length;
    const known = this.table.dataset.parts?.split("|") ?? [];
    const found = [];
    if (titles.every((words) => words.length === parts)) {
      for (let i = 0; i < parts; i += 1) {
        const values = titles.map((words) => words[i]);
        const shared = values[0].split(" ").slice(0, -1).join(" ");
        const name = shared && values.every((value) => value.startsWith(`${shared} `)) ? shared : "";
        const of = (row, b) => titles[b][i].slice(name ? name.length + 1 : 0);
        found.push({ name: name || (known.length === parts ? known[i] : ""), of });
      }
    }
    for (let column = 0; column < this.stubs; column += 1) {
      const name = this.heads[column].textContent.trim();
      found.push({ name, of: (row) => cellAt(row, column).textContent.trim() });
    }
    return found;
  }

  addFilters() {
    const tools = document.createElement("div");
    tools.className = "tools";
    this.facets().forEach((facet) => {
      const values = [...new Set(this.rows.flatMap((rows, b) => rows.map((row) => facet.of(row, b))))];
      if (values.length < 2 || values.length > 40 || values.length === this.count) return;
      values.sort((one, other) => one.localeCompare(other, undefined, { numeric: true }));
      const label = document.createElement("label"), select = document.createElement("select");
      label.append(facet.name || "group", select);
      select.append(new Option("all", ""), ...values.map((value) => new Option(value, `=${value}`)));
      select.onchange = () => {
        if (select.value) this.kept.set(facet, select.value.slice(1));
        else this.kept.delete(facet);
        this.show();
      };
      tools.append(label);
    });
    if (!tools.children.length) return;
    this.told = document.createElement("output");
    tools.append(this.told);
    this.table.closest(".scroll").before(tools);
    this.tools = tools;
  }

  show() {
    const sorted = this.column >= 0, plain = !sorted && !this.kept.size;
    this.heads.forEach((head, column) => {
      if (column === this.column) head.setAttribute("aria-sort", this.step > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    let left = 0;
    this.bodies.forEach((body, b) => {
      const rows = this.rows[b].map((row) => ({ row, key: sorted ? keyOf(row, this.column) : {} }));
      if (sorted) {
        rows.sort((one, other) => (one.key.missing ? 1 : 0) - (other.key.missing ? 1 : 0)
          || (one.key.missing ? 0 : this.step * compareKeys(one.key, other.key)));
      }
      rows.forEach(({ row }) => { row.hidden = [...this.kept].some(([facet, value]) => facet.of(row, b) !== value); });
      const shown = rows.filter(({ row }) => !row.hidden).length;
      left += shown;
      body.hidden = !shown;
      body.append(...rows.map(({ row }) => row));
    });
    const now = [...this.table.tBodies], wanted = plain ? this.merged : this.bodies;
    if (now[0] !== wanted[0]) now.forEach((body, b) => body.replaceWith(wanted[b]));
    if (this.told) this.told.textContent = this.kept.size ? `${left} of ${this.count} rows` : "";
    this.table.dispatchEvent(new Event("shown"));
  }

  reset() {
    this.kept.clear();
    this.column = -1;
    this.tools?.querySelectorAll("select").forEach((select) => { select.value = ""; });
    this.show();
  }
}

const tables = [];
function enhance(table) {
  if (!table.tHead || !table.tBodies.length || table.dataset.ready) return;
  table.dataset.ready = "yes";
  tables.push(new SortableTable(table));
}
// A table that nobody sees yet waits for its fold to be opened, so that large pages stand at once.
const waiting = (table) => table.closest("details:not([open])");
document.querySelectorAll("main table").forEach((table) => { if (!waiting(table)) enhance(table); });
document.addEventListener("toggle", (event) => {
  if (event.target.open) event.target.querySelectorAll("table").forEach((table) => { if (!waiting(table)) enhance(table); });
}, true);

// A link leads to its row even where that is filtered out or folded away.
function reveal() {
  const id = decodeURIComponent(location.hash.slice(1));
  const hit = tables.find(({ bodies }) => bodies.some((body) => [...body.rows].some((row) => row.id === id && row.hidden)));
  hit?.reset();
  const row = id && document.getElementById(id);
  for (let fold = row?.closest?.("details:not([open])"); fold; fold = fold.parentElement.closest("details:not([open])")) fold.open = true;
  if (row && (hit || row.closest("details"))) row.scrollIntoView();
}
addEventListener("hashchange", reveal);
