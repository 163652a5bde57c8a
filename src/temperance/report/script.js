(function () {
  "use strict";
  var table = document.getElementById("trials"), tip = document.getElementById("tip");
  addEventListener("beforeprint", function () { document.querySelectorAll("details").forEach(function (d) { d.open = true; }); });
  if (!table) return;
  var body = table.tBodies[0], heads = table.tHead.rows[0].cells;
  function value(row, k) {
    var cell = row.cells[k], text = cell.dataset.v === undefined ? cell.textContent : cell.dataset.v, number = parseFloat(text);
    return text !== "" && isFinite(number) ? number : text;
  }
  Array.prototype.forEach.call(heads, function (head, k) {
    head.addEventListener("click", function () {
      var up = head.getAttribute("aria-sort") === "descending" || (head.getAttribute("aria-sort") !== "ascending" && !head.classList.contains("num"));
      Array.prototype.forEach.call(heads, function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      var rows = Array.prototype.slice.call(body.rows);
      rows.sort(function (a, b) {
        var x = value(a, k), y = value(b, k);
        if (x === "" || y === "") return (x === "") - (y === "");
        if (typeof x === "number" && typeof y === "number") return up ? x - y : y - x;
        return (up ? 1 : -1) * String(x).localeCompare(String(y));
      });
      rows.forEach(function (row) { body.appendChild(row); });
    });
  });
  var marks = {}, rows = {};
  document.querySelectorAll("[data-t]").forEach(function (mark) {
    var t = mark.dataset.t;
    (marks[t] = marks[t] || []).push(mark);
    if (mark.tagName === "TR") rows[t] = mark;
  });
  var lit = null;
  function light(t) {
    if (t === lit) return;
    if (lit !== null) marks[lit].forEach(function (m) { m.classList.remove("lit"); });
    lit = t;
    if (t !== null) marks[t].forEach(function (m) { m.classList.add("lit"); });
  }
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  function show(event) {
    var mark = event.target.closest ? event.target.closest("[data-t]") : null;
    light(mark ? mark.dataset.t : null);
    if (!mark || mark.tagName === "TR") { tip.hidden = true; return; }
    var row = rows[mark.dataset.t];
    if (!row) { tip.hidden = true; return; }
    tip.textContent = "";
    Array.prototype.forEach.call(row.cells, function (cell, k) {
      if (cell.classList.contains("plan") || cell.classList.contains("faint")) return;
      var line = document.createElement("div");
      line.textContent = heads[k].textContent + " " + cell.textContent;
      tip.appendChild(line);
    });
    tip.hidden = false;
    tip.style.left = Math.max(8, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = (event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18) + "px";
  }
})();
