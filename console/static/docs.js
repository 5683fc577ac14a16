// /openapi.json as a page, with nothing fetched from elsewhere.

const METHODS = ["get", "post", "patch", "delete"];

const make = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

function bodySchema(operation, schemas) {
  const reference = operation.requestBody?.content?.["application/json"]?.schema?.$ref;
  return reference ? schemas[reference.split("/").at(-1)] : null;
}

function typeOf(property) {
  const kinds = property.anyOf ?? [property];
  return kinds.map((kind) => (kind.enum ? kind.enum.join(" | ") : kind.type)).join(" | ");
}

function operationElement(method, path, operation, schemas) {
  const element = make("details", "", "operation");
  const summary = make("summary");
  summary.append(make("b", method.toUpperCase()), make("code", path), make("span", operation.summary ?? ""));
  element.append(summary);
  if (operation.description) element.append(make("p", operation.description));
  const schema = bodySchema(operation, schemas);
  if (schema) {
    const table = make("table");
    for (const [name, property] of Object.entries(schema.properties)) {
      const row = make("tr");
      row.append(make("td", name), make("td", typeOf(property)), make("td", property.description ?? ""));
      table.append(row);
    }
    element.append(table);
  }
  return element;
}

const description = await (await fetch("/openapi.json")).json();
const reference = document.getElementById("reference");
reference.replaceChildren(make("p", `${description.info.description} Version ${description.info.version}. Errors are JSON: {"error": "one sentence"}.`));
const sections = new Map();
for (const [path, operations] of Object.entries(description.paths)) {
  for (const method of METHODS) {
    const operation = operations[method];
    if (!operation) continue;
    const [tag] = operation.tags;
    if (!sections.has(tag)) {
      sections.set(tag, make("section"));
      sections.get(tag).append(make("h2", tag));
      reference.append(sections.get(tag));
    }
    sections.get(tag).append(operationElement(method, path, operation, description.components.schemas));
  }
}
