(function () {
  "use strict";
  var input = document.getElementById("strength");
  if (!input) return;
  var output = document.getElementById("strength-value"), frames = document.querySelectorAll(".frame");
  var key = input.dataset.key, values = input.dataset.values.split(" "), words = input.dataset.words.split("|");
  function show(k) {
    frames.forEach(function (frame, i) { frame.hidden = i !== k; });
    input.value = k;
    output.textContent = words[k];
    input.setAttribute("aria-valuetext", words[k]);
  }
  function stated() {
    var found = location.hash.slice(1).split("&").filter(function (part) { return part.split("=")[0] === key; })[0];
    if (!found) return -1;
    var wanted = parseFloat(found.split("=")[1]), best = -1, least = Infinity;
    values.forEach(function (value, k) {
      var gap = Math.abs(parseFloat(value) - wanted);
      if (gap < least) { least = gap; best = k; }
    });
    return best;
  }
  input.addEventListener("input", function () {
    show(+input.value);
    location.replace("#" + key + "=" + values[+input.value]);
  });
  addEventListener("hashchange", function () { if (stated() >= 0) show(stated()); });
  show(stated() >= 0 ? stated() : +input.value);
})();
