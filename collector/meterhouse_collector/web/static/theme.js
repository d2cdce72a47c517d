// Before anything is drawn: the theme chosen here, else the system's, and how large the fleet was.

(() => {
  const CHOICES = ["auto", "light", "dark"];
  const NAMES = { auto: "System", light: "Light", dark: "Dark" };
  const read = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  let chosen = CHOICES.includes(read("theme")) ? read("theme") : "auto";
  document.documentElement.dataset.fleet = read("fleet") === "large" ? "large" : "";
  const apply = () => {
    const dark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = NAMES[chosen];
      button.setAttribute("aria-label", `Theme: ${NAMES[chosen].toLowerCase()}`);
    }
    dispatchEvent(new Event("themechange"));
  };
  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = CHOICES[(CHOICES.indexOf(chosen) + 1) % CHOICES.length];
      try {
        localStorage.setItem("theme", chosen);
      } catch {
        // Without storage the choice lasts as long as the page.
      }
      apply();
    });
  });
})();
