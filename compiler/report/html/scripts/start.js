// What the page is made of, and in which order it comes to be. Charts and the table are drawn when they are first looked at, or printed.

const LATER = { charts: startCharts, layers: startTable };

function showView(name) {
  if (LATER[name]) {
    LATER[name]();
    delete LATER[name];
  }
  for (const tab of document.querySelectorAll("#tabs button")) {
    const isShown = tab.dataset.view === name;
    tab.setAttribute("aria-selected", String(isShown));
    document.getElementById(`view-${tab.dataset.view}`).hidden = !isShown;
  }
  if (name === "graph" && canvas) canvas.draw();
}

function turnTheme() {
  const root = document.documentElement;
  const own = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"; // of the reader, where nothing was turned
  const now = (root.dataset.theme === "auto" ? own : root.dataset.theme) === "dark" ? "light" : "dark";
  root.dataset.theme = now;
  const button = document.getElementById("theme");
  button.textContent = { light: "☀", dark: "☾" }[now];
  button.title = `theme: ${now}`;
}

function showVerdict() {
  const checks = report.checks || [];
  const verdict = document.getElementById("verdict");
  const fine = checks.filter(([, agrees]) => agrees).length;
  if (!checks.length && report.unchecked) {
    const said = el("span", {}, "whether the results are the same is not checked here: ", code(report.unchecked));
    verdict.replaceChildren(el("p", { class: "unchecked" }, said));
  }
  if (checks.length) {
    verdict.replaceChildren(
      el(
        "details",
        { class: fine === checks.length ? "fine" : "wrong" },
        el(
          "summary",
          {},
          fine === checks.length
            ? `✓ ${plural(fine, "check")} ${fine === 1 ? "agrees" : "agree"}`
            : `✗ ${checks.length - fine} of ${plural(checks.length, "check")} differ`,
        ),
        el(
          "ul",
          {},
          checks.map(([text, agrees]) => el("li", { class: agrees ? "" : "gone" }, text)),
        ),
      ),
    );
  }
}

document.getElementById("title").append(code(report.title));
document.getElementById("subject").textContent = `${report.subject} · convc ${report.convc}`;
document.documentElement.dataset.theme = "auto";
document.getElementById("theme").textContent = "◐";
document.getElementById("theme").addEventListener("click", turnTheme);
showVerdict();
for (const tab of document.querySelectorAll("#tabs button")) tab.addEventListener("click", () => showView(tab.dataset.view));
if (stops[0].before === stops[0].after) view.side = "after";
showView("graph");
startGraph();
startPasses();
startSearch();
startKeys();
showSides();
showPanel();
window.addEventListener("beforeprint", () => {
  for (const [name, start] of Object.entries(LATER)) {
    start();
    delete LATER[name];
  }
});
performance.mark("drawn");
