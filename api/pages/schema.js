"use strict";

// An element with attributes and children; texts are never read as markup.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function reference(pointer) {
  const name = pointer.split("/").pop();
  return element("a", { href: "#schema-" + name }, name);
}

// A schema in one line: a type, a link or the alternatives.
function shortForm(schema) {
  if (!schema) return "any";
  if (schema.$ref) return reference(schema.$ref);
  const options = schema.anyOf || schema.oneOf;
  if (options) {
    const line = element("span");
    options.forEach((option, i) => line.append(i ? " | " : "", shortForm(option)));
    return line;
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return element("span", null, "[", shortForm(schema.items), "]");
  if (schema.type === "object" && schema.additionalProperties && schema.additionalProperties !== true) {
    return element("span", null, "{name: ", shortForm(schema.additionalProperties), "}");
  }
  return schema.type || "any";
}

function schemaBlock(name, schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([key, value]) => {
    const preset = value.default === undefined ? "" : " = " + JSON.stringify(value.default);
    const about = (required.has(key) ? "required. " : "") + (value.description || "");
    return element("tr", null,
      element("td", null, element("code", null, key)),
      element("td", null, element("code", null, shortForm(value), preset)),
      element("td", { class: "quiet" }, about));
  });
  const body = rows.length ? element("table", null, ...rows) : element("p", null, element("code", null, shortForm(schema)));
  return element("details", { id: "schema-" + name },
    element("summary", null, element("code", null, name)),
    element("p", { class: "text quiet" }, schema.description || ""), body);
}

function contentRows(content) {
  return Object.entries(content || {}).map(([type, media]) => element("li", null, element("code", null, type, ": ", shortForm(media.schema))));
}

function examples(content) {
  const found = [];
  for (const [type, media] of Object.entries(content || {})) {
    if (media.example) found.push([type, media.example]);
    for (const example of Object.values(media.examples || {})) found.push([example.summary, example.value]);
  }
  return found.map(([title, value]) => element("div", null, element("p", null, title), element("pre", null, JSON.stringify(value, null, 2))));
}

function operationBlock(path, method, operation) {
  const body = operation.requestBody && operation.requestBody.content;
  const parameters = (operation.parameters || []).map((parameter) => element("li", null,
    element("code", null, parameter.name, " (", parameter.in, "): ", shortForm(parameter.schema)), " ", parameter.description || ""));
  const responses = Object.entries(operation.responses).map(([status, response]) => element("li", null,
    element("strong", null, status), " ", response.description, element("ul", null, ...contentRows(response.content))));
  return element("details", { id: operation.operationId },
    element("summary", null, element("span", { class: "method" }, method), element("code", null, path), " ", operation.summary || ""),
    element("p", { class: "text" }, operation.description || ""),
    parameters.length ? element("ul", null, ...parameters) : null,
    body ? element("div", null, element("p", null, "Body"), element("ul", null, ...contentRows(body)), ...examples(body)) : null,
    element("p", null, "Answers"), element("ul", null, ...responses));
}

function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
}

async function show() {
  const response = await fetch("/schema/openapi.json", { credentials: "same-origin" });
  if (!response.ok) {
    document.getElementById("about").textContent = "The document is refused (" + response.status + "). Open /schema?access_token=<token> again.";
    return;
  }
  const api = await response.json();
  document.getElementById("title").textContent = api.info.title;
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").textContent = api.info.description;
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) document.getElementById("operations").append(operationBlock(path, method, operation));
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) document.getElementById("schemas").append(schemaBlock(name, schema));
  openTarget();
}

addEventListener("hashchange", openTarget);
show();
