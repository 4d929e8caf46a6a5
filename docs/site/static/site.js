// What is wider than its box scrolls, and can then be reached and scrolled by keyboard as well.
const BOXES = "article pre, .table-wrapper, .formula, .van-figure, .output.text_html";

function makeReachable() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

window.addEventListener("load", makeReachable);
window.addEventListener("resize", makeReachable);
// A figure that was folded takes the width that is there.
document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);
