"use strict";

const byId = (id) => document.getElementById(id);

const FIRST_QUERY = `query ($request: ProjectionRequestInput!) {
  projection(request: $request) {
    columns { period balance interest principal }
    summary { wal_years totals { interest loss } }
  }
}`;
const FIRST_VARIABLES = {
  request: {
    tape: { loans: [{ type: "loan", balance: 250000, annual_rate: 0.065, remaining_term: 360 }] },
    assumptions: { prepayment: { type: "psa", speed: 1.5 } },
  },
};
const INTROSPECTION = `{ __schema { types { name kind description
  fields { name description type { ...T } args { name type { ...T } } }
  inputFields { name description type { ...T } }
  enumValues { name } } } }
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;

async function ask(query, variables) {
  const response = await fetch("/graphql", {
    method: "POST",
    credentials: "same-origin",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  return { status: response.status, body: await response.json() };
}

// JSON with lists of numbers on one line, long ones cut.
function readable(value, indent = "") {
  if (Array.isArray(value) && value.every((item) => typeof item !== "object" || item === null)) {
    const shown = value.slice(0, 24).map((item) => JSON.stringify(item)).join(", ");
    return value.length > 24 ? `[${shown}, … ${value.length} in all]` : `[${shown}]`;
  }
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const inner = indent + "  ";
  const parts = Array.isArray(value)
    ? value.map((item) => inner + readable(item, inner))
    : Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${readable(item, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return parts.length ? `${open}\n${parts.join(",\n")}\n${indent}${close}` : open + close;
}

async function run() {
  const started = performance.now();
  byId("run").disabled = true;
  try {
    const variables = byId("variables").value.trim();
    const { status, body } = await ask(byId("query").value, variables ? JSON.parse(variables) : undefined);
    byId("answer").textContent = readable(body);
    byId("state").textContent = `${status}, ${(performance.now() - started).toFixed(0)} ms`;
  } catch (error) {
    byId("answer").textContent = String(error);
    byId("state").textContent = "not sent";
  } finally {
    byId("run").disabled = false;
  }
}

function typeName(type) {
  if (type.kind === "NON_NULL") return typeName(type.ofType) + "!";
  if (type.kind === "LIST") return "[" + typeName(type.ofType) + "]";
  return type.name;
}

function typeBlock(type) {
  const block = document.createElement("details");
  const heading = document.createElement("summary");
  heading.textContent = type.name;
  const about = document.createElement("p");
  about.className = "quiet text";
  about.textContent = type.description || "";
  const list = document.createElement("ul");
  const values = (type.enumValues || []).map((value) => value.name);
  const fields = (type.fields || type.inputFields || []).map((field) => {
    const given = (field.args || []).map((argument) => `${argument.name}: ${typeName(argument.type)}`).join(", ");
    return `${field.name}${given ? `(${given})` : ""}: ${typeName(field.type)}  ${field.description || ""}`;
  });
  for (const line of [...values, ...fields]) {
    const item = document.createElement("li");
    item.textContent = line;
    list.append(item);
  }
  block.append(heading, about, list);
  return block;
}

async function showTypes() {
  const { status, body } = await ask(INTROSPECTION);
  if (status !== 200) {
    byId("answer").textContent = `Refused (${status}). Open /graphql?access_token=<token> again.`;
    return;
  }
  for (const type of body.data.__schema.types) if (!type.name.startsWith("__")) byId("types").append(typeBlock(type));
}

byId("query").value = FIRST_QUERY;
byId("variables").value = JSON.stringify(FIRST_VARIABLES, null, 2);
byId("run").addEventListener("click", run);
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
showTypes();
