// Opens the terminal once its font is there: xterm.js measures a cell only once.
// textual-serve's script makes the terminal in window.onload, which it sets; here it comes after that event.
window.addEventListener("load", async () => {
  document.getElementById("again").addEventListener("click", () => window.location.reload());
  try {
    await Promise.all([document.fonts.load("16px 'Roboto Mono'"), document.fonts.load("bold 16px 'Roboto Mono'")]);
  } catch {
    // Another font is as good.
  }
  dropWhatComesTooEarly();
  const script = document.createElement("script");
  script.src = "/static/js/textual.js";
  script.addEventListener("load", () => {
    window.onload();
    focusOnceConnected();
  });
  document.body.append(script);
});

// The script tells of sizes and of the focus while its socket is still opening, which fails; it tells the size once it is open.
function dropWhatComesTooEarly() {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (this.readyState === WebSocket.OPEN) send.call(this, data);
  };
}

// The focus that it was given before would be lost.
function focusOnceConnected() {
  const observer = new MutationObserver(() => {
    if (document.body.classList.contains("-loaded")) {
      observer.disconnect();
      document.querySelector(".xterm-helper-textarea")?.focus();
    }
  });
  observer.observe(document.body, { attributes: true, attributeFilter: ["class"] });
}
