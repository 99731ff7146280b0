// Runs before the first paint, so that nobody sees the wrong theme flash up.
{
  const root = document.documentElement;
  root.classList.add("js");
  const set = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  const kept = () => {
    try {
      return localStorage.getItem("theme") || "auto";
    } catch {
      return "auto"; // a browser may forbid to keep anything
    }
  };
  set(kept());
  document.addEventListener("DOMContentLoaded", () => {
    for (const choice of document.querySelectorAll('input[name="theme"]')) {
      choice.checked = choice.value === kept();
      choice.addEventListener("change", () => {
        set(choice.value);
        try {
          localStorage.setItem("theme", choice.value);
        } catch {
          // then it lasts as long as the page
        }
        document.dispatchEvent(new Event("theme"));
      });
    }
  });
}
