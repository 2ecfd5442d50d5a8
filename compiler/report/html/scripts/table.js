// The table of layers, as `convc summary` has it: sorted by any column, copied as CSV or Markdown.

const COLUMNS = [
  ["Name", (row) => report.names[row[0]], null],
  ["Layer", (row) => row[1], null],
  ["Output", (row) => row[2], null],
  ["Memory", (row) => row[3], counted],
  ["Bytes", (row) => row[4], inBytes, true],
  ["Weights", (row) => row[5], counted, true],
  ["Biases", (row) => row[6], counted],
  ["MACs", (row) => row[7], counted, true],
  ...profiles.map(([engine, kernels]) => {
    // of a kernel at the value that it leaves: what it computed on the way has no time of its own
    const taken = new Map(kernels.map(({ nodes, microseconds }) => [nodes[nodes.length - 1], microseconds]));
    return [`Time, ${engine}`, (row) => taken.get(row[0]), (us) => (us === undefined ? "" : inSeconds(us / 1e6)), true];
  }),
];
const sorting = { side: report.layers.length - 1, column: -1, falling: false };

function startTable() {
  const viewed = document.getElementById("view-layers");
  if (!report.layers.length) {
    viewed.replaceChildren(el("p", { class: "empty" }, "There is no table: the graph has no types."));
    return;
  }
  const sides = report.layers.length > 1 ? ["Before", "After"] : [];
  const buttons = sides.map((side, place) =>
    el(
      "button",
      {
        "aria-pressed": String(place === sorting.side),
        onclick: () => {
          sorting.side = place;
          startTable();
        },
      },
      side,
    ),
  );
  const tools = el(
    "div",
    { class: "tools" },
    sides.length ? el("div", { class: "segments", role: "group", "aria-label": "Before or after" }, ...buttons) : null,
    el("p", { class: "muted" }, totalWords(report.layers[sorting.side].totals)),
    el("span", { class: "gap" }),
    el("button", { id: "copy-csv", onclick: () => copy(asCsv(), "CSV") }, "Copy CSV"),
    el("button", { id: "copy-markdown", onclick: () => copy(asMarkdown(), "Markdown") }, "Copy Markdown"),
  );
  viewed.replaceChildren(tools, el("div", { class: "scroll" }, layerTable()));
}

function totalWords(sums) {
  const memory = typeof sums.memory_bytes === "number" ? inBytes(sums.memory_bytes) : sums.memory_bytes;
  return `${counted(sums.params)} parameters in ${inBytes(sums.weight_bytes)}, ${counted(sums.macs)} multiply-adds, ${memory} of activations an image`;
}

function sortedRows() {
  const rows = [...report.layers[sorting.side].lines];
  if (sorting.column < 0) return rows;
  const [, of, words] = COLUMNS[sorting.column];
  const compare = words
    ? (a, b) => number(of(a)) - number(of(b))
    : (a, b) => String(of(a)).localeCompare(String(of(b)), "en", { numeric: true });
  return rows.sort((a, b) => (sorting.falling ? -1 : 1) * compare(a, b));
}

const number = (value) => (typeof value === "number" ? value : -1);

function layerTable() {
  const heads = COLUMNS.map(([title, , words], column) => {
    const isSorted = column === sorting.column;
    return el(
      "th",
      { scope: "col", class: words ? "figure" : "", "aria-sort": isSorted ? (sorting.falling ? "descending" : "ascending") : "none" },
      el(
        "button",
        { onclick: () => sortBy(column, Boolean(words)) },
        title,
        el("span", { class: "direction", "aria-hidden": "true" }, isSorted ? (sorting.falling ? " ▾" : " ▴") : ""),
      ),
    );
  });
  const most = COLUMNS.map(([, of, words]) => (words ? d3.max(report.layers[sorting.side].lines, (row) => number(of(row))) : 0));
  const body = el(
    "tbody",
    {},
    sortedRows().map((row) =>
      el(
        "tr",
        {},
        COLUMNS.map(([, of, words, isDrawn], column) => {
          const value = of(row);
          if (!column) return el("td", {}, el("button", { class: "entry", onclick: () => flyAfter(row[0]) }, code(value)));
          if (!words) return el("td", { class: column === 2 ? "code" : "" }, value);
          const share = isDrawn && typeof value === "number" && most[column] ? value / most[column] : 0;
          return el(
            "td",
            { class: value === 0 ? "figure none" : "figure", title: typeof value === "number" ? whole(value) : null },
            share ? meter(share) : null,
            el("span", {}, value === 0 ? "–" : words(value)),
          );
        }),
      ),
    ),
  );
  return el("table", { class: "layers" }, el("thead", {}, el("tr", {}, heads)), body);
}

function sortBy(column, isFigure) {
  if (sorting.column !== column) Object.assign(sorting, { column, falling: isFigure });
  else if (sorting.falling === isFigure) sorting.falling = !isFigure;
  else sorting.column = -1; // the third click has the network's own order again
  startTable();
  document.querySelectorAll("#view-layers thead button")[column].focus();
}

const cells = (row) =>
  COLUMNS.map(([, of]) => {
    const value = of(row);
    return value === null || value === undefined ? "" : String(value);
  });

function asCsv() {
  // a cell that begins like a formula is one to a spreadsheet, whoever wrote the name
  const quote = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [COLUMNS.map(([title]) => title), ...sortedRows().map(cells)].map((row) => row.map(quote).join(",")).join("\r\n") + "\r\n";
}

function asMarkdown() {
  const quote = (text) => text.replace(/[\\|`*_<>[\]]/g, "\\$&").replace(/\s/g, " ");
  const row = (words) => `| ${words.join(" | ")} |`;
  return (
    [
      row(COLUMNS.map(([title]) => title)),
      row(COLUMNS.map(([, , words]) => (words ? "---:" : "---"))),
      ...sortedRows().map((each) => row(cells(each).map(quote))),
    ].join("\n") + "\n"
  );
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // where a browser gives pages from files no clipboard
    const area = el("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${what} is copied`);
  toast(`${what} is copied`);
}

function toast(text) {
  const shown = el("p", { class: "toast" }, text);
  document.body.append(shown);
  setTimeout(() => shown.remove(), 1600);
}
