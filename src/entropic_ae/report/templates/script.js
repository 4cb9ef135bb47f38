"use strict";
for (const group of document.querySelectorAll("[data-switch]")) {
  const control = group.querySelector("fieldset");
  const show = (choice) => {
    for (const panel of group.querySelectorAll("[data-choice]")) panel.hidden = panel.dataset.choice !== choice;
  };
  group.classList.add("switched"); // the control names what is shown
  control.hidden = control.querySelectorAll("input").length < 2;
  control.addEventListener("change", (event) => show(event.target.value));
  show(control.querySelector(":checked").value);
}
for (const box of document.querySelectorAll(".command")) {
  const [code, button] = [box.querySelector("code"), box.querySelector("button")];
  button.hidden = false;
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code); // so that Ctrl-C copies it where the page may not
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
