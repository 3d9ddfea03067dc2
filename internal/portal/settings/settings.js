// What the pages do in a browser: dates in the reader's time zone, buttons that copy,
// and a token that is gone once its page is left. Without this file the pages are
// complete; only copying is then done by hand.
"use strict";

const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];

// announce tells readers of a screen what changed elsewhere on the page. The same
// text twice is a change too.
function announce(text) {
  byId("announcement").textContent = "";
  setTimeout(() => { byId("announcement").textContent = text; }, 50);
}

// Dates. The page's language is English, and days come before months, so that nobody
// takes one for the other.
const formats = {
  day: new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" }),
  moment: new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
  }),
  exact: new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" }),
};
for (const time of all("time[datetime]")) {
  const instant = new Date(time.dateTime);
  const format = formats[time.dataset.show];
  if (format) time.textContent = format.format(instant);
  time.title = `${formats.exact.format(instant)}, that is ${time.title}`;
}

// What is wrong, or has just been done, is the first thing to know.
all("[data-focus]").at(0)?.focus();
if (byId("notice")) announce(byId("notice").textContent);

// A form is sent once, however often its button is pressed. The browser may show the
// page again later, as it was.
for (const form of all("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "true";
  });
}
window.addEventListener("pageshow", () => {
  all("form[data-once]").forEach((form) => { delete form.dataset.sent; });
});

// A date that is chosen is meant to count.
byId("expires-on")?.addEventListener("input", () => { byId("lifetime-custom").checked = true; });

// The order is applied when it is chosen, where it is chosen by itself.
byId("sort")?.addEventListener("change", (event) => event.target.form.requestSubmit());

// The menu closes as menus do.
const account = document.querySelector(".account");
if (account) {
  document.addEventListener("click", (event) => {
    if (!account.contains(event.target)) account.open = false;
  });
  account.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !account.open) return;
    account.open = false;
    account.querySelector("summary").focus();
  });
}

// A sign-in in another tab, for a page that waits for it.
const signIns = new BroadcastChannel("latchkey-sign-in");
if (document.querySelector("[data-signed-in]")) signIns.postMessage("signed-in");
if (byId("resume")) {
  signIns.addEventListener("message", () => {
    const button = byId("resume").querySelector("button");
    byId("sign-in").classList.remove("button-primary");
    button.classList.add("button-primary");
    button.focus();
    announce("You are signed in. Continue.");
  });
}

// Copying. Browsers have no clipboard for pages that came without TLS: then what is to
// be copied is selected instead.
function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

for (const button of all("[data-copy]")) {
  const source = byId(button.dataset.copy);
  const before = [...button.childNodes];
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.replaceChildren(button.dataset.copied);
      announce(button.dataset.copied);
      if (source.dataset.secret !== undefined) kept();
      setTimeout(() => button.replaceChildren(...before), 2000);
    } catch {
      select(source);
      button.replaceChildren("Selected: copy it yourself");
      announce("Copying is not allowed here. It is selected: press Control and C, or Command and C.");
    }
  });
}

// The page that shows a token.
const reveal = document.querySelector("[data-reveal]");
let leavingLoses = reveal !== null;

// kept says that the token is where its owner wanted it.
function kept() {
  leavingLoses = false;
}

if (reveal) {
  // From here on this page's address is the token's own: to reload it, or to come back
  // to it, sends no form again.
  history.replaceState(null, "", reveal.dataset.reveal);

  for (const button of all("[data-download]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const file = new Blob([byId("plaintext").textContent + "\n"], { type: "text/plain" });
      const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: button.dataset.download });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      kept();
      announce("Downloaded");
    });
  }

  // Copied by hand is copied too.
  byId("plaintext").addEventListener("copy", kept);
  // Browsers ask only whoever did something on the page.
  window.addEventListener("beforeunload", (event) => {
    if (leavingLoses && navigator.userActivation?.hasBeenActive !== false) event.preventDefault();
  });

  // A page that is left can be kept by the browser, to be gone back to.
  window.addEventListener("pagehide", () => {
    all("[data-secret]").forEach((element) => { element.textContent = ""; });
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}
