// Draw every formula of a page. Material's `document$` would only matter with instant loading.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const text = element.textContent.trim();
    const displayMode = text.startsWith("\\[");
    const formula = text.replace(/^\\[[(]/, "").replace(/\\[\])]$/, "");
    katex.render(formula, element, { displayMode, throwOnError: false });
  }
});
