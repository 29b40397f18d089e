// Prints the types of the API's endpoints, for TypeScript, from an OpenAPI document: scripts/check-console uses it.
//
//     node scripts/console-types.mjs openapi.json > api-types.d.ts
import { readFileSync } from "node:fs";

const document = JSON.parse(readFileSync(process.argv[2], "utf8"));

function type(schema) {
  if (schema === undefined || schema === true || Object.keys(schema).length === 0) return "any";
  if (schema.$ref) return `Schemas[${JSON.stringify(schema.$ref.split("/").pop())}]`;
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const some = schema.oneOf || schema.anyOf;
  if (some) return some.map((one) => `(${type(one)})`).join(" | ");
  if (schema.allOf) return schema.allOf.map((one) => `(${type(one)})`).join(" & ");
  if (Array.isArray(schema.type)) return schema.type.map((one) => `(${type({ ...schema, type: one })})`).join(" | ");
  switch (schema.type) {
    case "array": return `(${type(schema.items)})[]`;
    case "integer": case "number": return "number";
    case "string": case "boolean": case "null": return schema.type;
    default: return object(schema);
  }
}

function object({ properties = {}, required = [], additionalProperties }) {
  const fields = Object.entries(properties).map(([name, one]) => `${JSON.stringify(name)}${required.includes(name) ? "" : "?"}: ${type(one)};`);
  if (fields.length === 0 || typeof additionalProperties === "object") fields.push(`[name: string]: ${type(fields.length === 0 ? additionalProperties : undefined)};`);
  return `{ ${fields.join(" ")} }`;
}

const json = (content) => content?.["application/json"]?.schema;
console.log("export interface Schemas {");
for (const [name, schema] of Object.entries(document.components.schemas)) console.log(`  ${JSON.stringify(name)}: ${type(schema)};`);
console.log("}\n/** What each endpoint takes and returns, by its path after `/v1/`. */\nexport interface Endpoints {");
for (const [path, { post }] of Object.entries(document.paths)) {
  if (!post || !path.startsWith("/v1/")) continue;
  const body = json(post.requestBody?.content);
  if (body) console.log(`  ${JSON.stringify(path.slice(4))}: { body: ${type(body)}; answer: ${type(json(post.responses["200"].content))} };`);
}
console.log("}");
