// What the page is made of, and in which order it comes to be. Charts and the table are drawn when they are first looked at, or printed.

const LATER = { charts: startCharts, layers: startTable };
const THEMES = ["auto", "light", "dark"];

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
  const now = THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length];
  root.dataset.theme = now;
  document.getElementById("theme").textContent = { auto: "◐", light: "☀", dark: "☾" }[now];
  document.getElementById("theme").title = `theme: ${now}`;
}

function showVerdict() {
  const checks = report.checks || [];
  const verdict = document.getElementById("verdict");
  const fine = checks.filter(([, agrees]) => agrees).length;
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
document.documentElement.dataset.theme = "dark"; // the turn after which is the reader's own
turnTheme();
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
