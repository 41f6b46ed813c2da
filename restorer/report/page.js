"use strict";
document.documentElement.classList.add("js");
for (const input of document.querySelectorAll(".compare input")) {
  const compare = input.parentElement;
  const show = () => {
    const before = Math.round(input.value);
    compare.style.setProperty("--at", `${input.value}%`);
    input.setAttribute("aria-valuetext", `Before ${before} %, after ${100 - before} %`);
  };
  input.addEventListener("input", show);
  // Some phones move a slider only when its thumb is dragged; here a tap anywhere does.
  input.addEventListener("click", (event) => {
    const place = compare.getBoundingClientRect();
    if (event.detail > 0 && place.width > 0) {
      input.value = 100 * (event.clientX - place.left) / place.width;
      show();
    }
  });
  show();
}
