// What the page does in a browser: tabs, buttons that copy, and the viewer, which
// takes the place of the plain list of operations. Without this file the page is
// complete, but nothing on it can be tried.
"use strict";

const byId = (id) => document.getElementById(id);

// make creates an element with properties and children.
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// announce tells readers of a screen what changed elsewhere on the page.
function announce(text) {
  byId("announcement").textContent = text;
}

// The colour scheme, for the viewer's style sheet, which asks a class and not the
// browser.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function followScheme() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}
followScheme();
dark.addEventListener("change", followScheme);

// Tabs, as the ARIA Authoring Practices have them: one stop of Tab, arrows within.
function makeTabs(container) {
  const panels = [...container.querySelectorAll(":scope > [data-tab]")];
  const tabs = panels.map((panel) => {
    const tab = make("button", { type: "button", id: `${panel.id}-tab`, textContent: panel.dataset.tab });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    panel.querySelector("h3").hidden = true;
    return tab;
  });
  const select = (chosen) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === chosen));
      tab.tabIndex = i === chosen ? 0 : -1;
      panels[i].hidden = i !== chosen;
    });
  };
  const list = make("div", { className: "tabs" }, ...tabs);
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", container.dataset.tabs);
  list.addEventListener("click", (event) => {
    const at = tabs.indexOf(event.target);
    if (at >= 0) select(at);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    select(next);
    tabs[next].focus();
  });
  container.prepend(list);
  select(0);
}
document.querySelectorAll("[data-tabs]").forEach(makeTabs);

// Buttons that copy code. Browsers have no clipboard for pages that came without TLS.
function addCopyButton(block) {
  const button = make("button", { type: "button", className: "button copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      button.textContent = "Copying is not allowed";
      announce(button.textContent);
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.append(button);
}
if (navigator.clipboard) document.querySelectorAll(".samples .code").forEach(addCopyButton);

// The token lives in this variable and in the field, and nowhere else.
let token = "";
const field = byId("api-token");
const show = byId("api-token-show");

function reveal(shown) {
  field.type = shown ? "text" : "password";
  show.setAttribute("aria-pressed", String(shown));
}
function forget() {
  token = "";
  field.value = "";
  reveal(false);
}
field.addEventListener("input", () => { token = field.value.trim(); });
show.addEventListener("click", () => reveal(field.type === "password"));
byId("api-token-forget").addEventListener("click", () => {
  forget();
  announce("The token is forgotten");
  field.focus();
});
// A page that is left can be kept by the browser, to be gone back to.
window.addEventListener("pagehide", forget);
forget(); // some browsers fill fields in again after a reload

// The viewer signs the call of an operation that needs a token with this stand-in.
// It is what the viewer shows; what is sent has the token in its place.
const standIn = "token YOUR_API_TOKEN";

// sign puts the token into a request of the viewer's, if it goes to this host.
function sign(request) {
  const headers = { ...request.headers };
  const name = Object.keys(headers).find((key) => key.toLowerCase() === "authorization");
  if (name === undefined) return request;
  const value = headers[name];
  delete headers[name];
  const here = new URL(request.url, location.href).origin === location.origin;
  if (here && token !== "" && value === standIn) headers.Authorization = `token ${token}`;
  // No cookie goes along: a call is to work as it would from a program.
  return { ...request, headers, credentials: "omit" };
}

// schemesOf are the names under which a document asks for the header Authorization.
function schemesOf(spec) {
  return Object.entries(spec.components?.securitySchemes ?? {})
    .filter(([, s]) => s.type === "apiKey" && s.in === "header" && s.name.toLowerCase() === "authorization")
    .map(([name]) => name);
}

// problemOf is the problem (RFC 9457) that an answer of the viewer's is, if it is one.
function problemOf(response) {
  const type = response?.getIn(["headers", "content-type"]) ?? "";
  if (!String(type).startsWith("application/problem+json")) return null;
  try {
    return JSON.parse(response.get("text"));
  } catch {
    return null;
  }
}

// plugin fits the viewer into the page.
function plugin({ React }) {
  const h = React.createElement;

  // Title, servers and the dialog for credentials are the page's own business.
  function Layout({ getComponent }) {
    return h("div", { className: "swagger-ui" },
      h(getComponent("errors", true)),
      h(getComponent("operations", true)),
      h(getComponent("Models", true)));
  }

  const explain = (Original) => function Explained(props) {
    const problem = problemOf(props.response);
    return h(React.Fragment, null,
      problem && h("div", { className: "callout callout-problem", role: "alert" },
        h("p", null, h("strong", null, problem.title)),
        problem.detail && h("p", null, problem.detail)),
      h(Original, props));
  };

  // What an operation needs stands in the viewer's locks, which are not shown.
  const tell = (Original, system) => function Told(props) {
    const security = (props.operation.get("security") ?? system.specSelectors.security())?.toJS() ?? [];
    const free = security.length === 0 || security.some((alternative) => Object.keys(alternative).length === 0);
    const alternatives = security.map((alternative) => Object.values(alternative).flat()).filter((scopes) => scopes.length > 0);
    const scopes = alternatives.flatMap((list, i) => [
      i > 0 ? ", or " : "",
      ...list.flatMap((scope, n) => [n > 0 ? ", " : "", h("code", { key: `${i} ${n}` }, scope)]),
    ]);
    const text = free ? ["Needs no token."] : scopes.length > 0 ? ["Needs a token with ", ...scopes, "."] : ["Needs a token, of any scope."];
    return h(React.Fragment, null, h("p", { className: "needs" }, ...text), h(Original, props));
  };

  const nothing = () => () => null;
  return {
    components: { Layout },
    wrapComponents: { liveResponse: explain, parameters: tell, authorizeBtn: nothing, authorizeOperationBtn: nothing },
  };
}

// mend gives the viewer's fields the names that they lack, and its tables back what
// a role takes from them.
function mend(viewer) {
  const name = (element, text) => {
    if (!element.hasAttribute("aria-label")) element.setAttribute("aria-label", text);
  };
  for (const row of viewer.querySelectorAll("tr[data-param-name]")) {
    row.querySelectorAll("input, select, textarea").forEach((element) => name(element, row.dataset.paramName));
  }
  viewer.querySelectorAll(".examples-select-element").forEach((element) => name(element, "Example"));
  viewer.querySelectorAll(".body-param__text").forEach((element) => name(element, "Request body"));
  viewer.querySelectorAll("table[role=region]").forEach((table) => {
    table.removeAttribute("role");
    table.removeAttribute("aria-live"); // all of a table would be read out
  });
}

async function startViewer() {
  const viewer = byId("viewer");
  const answer = await fetch(viewer.dataset.spec, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`the document was answered with ${answer.status}`);
  const spec = await answer.json();
  new MutationObserver(() => mend(viewer)).observe(viewer, { childList: true, subtree: true });
  delete spec.jsonSchemaDialect; // the viewer would show no schema of another one
  const ui = window.SwaggerUIBundle({
    spec,
    domNode: viewer,
    layout: "Layout",
    plugins: [plugin],
    deepLinking: false,
    validatorUrl: null,
    persistAuthorization: false,
    withCredentials: false,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    docExpansion: "list",
    syntaxHighlight: { activated: false },
    requestInterceptor: sign,
    showMutatedRequest: false,
    supportedSubmitMethods: ["get", "head", "post", "put", "patch", "delete", "options", "trace"],
    onComplete: () => {
      schemesOf(spec).forEach((name) => ui.preauthorizeApiKey(name, standIn));
      viewer.hidden = false;
      byId("try").hidden = false;
      byId("operations").hidden = true;
    },
  });
}

startViewer().catch((error) => {
  byId("viewer-status").textContent = `Operations can't be tried at the moment: ${error.message}.`;
});
