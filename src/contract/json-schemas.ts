import { z } from 'zod';

export type Json = Record<string, unknown>;

/** True for an object that is no array. */
export const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The same schema as an API description wants it: answers may gain fields, so their objects are open; bounds of safe
 * integers and zod's pattern beside `format: date-time` say nothing to a reader; named schemas are components.
 */
function tidy(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(tidy);
  if (!isJson(node)) return node;
  const tidied: Json = {};
  for (const [key, value] of Object.entries(node)) {
    const needless =
      (key === 'additionalProperties' && value === false) ||
      (key === 'minimum' && value === Number.MIN_SAFE_INTEGER) ||
      (key === 'maximum' && value === Number.MAX_SAFE_INTEGER) ||
      (key === 'pattern' && node.format === 'date-time');
    if (needless) continue;
    tidied[key] =
      key === '$ref' && typeof value === 'string' ? value.replace('#/$defs/', '#/components/schemas/') : tidy(value);
  }
  return tidied;
}

export type SchemaCollection = {
  /** Every named schema that was met, by its name. */
  components: Json;
  /** The JSON Schema (2020-12) of what a schema gives out; named ones as references to the components. */
  add(schema: z.ZodType): Json;
};

/** Converts zod schemas for one description; what has a name comes out once. */
export function collectSchemas(): SchemaCollection {
  const components: Json = {};
  return {
    components,
    add(schema) {
      const { $schema: _dialect, $defs = {}, ...converted } = z.toJSONSchema(schema, { io: 'output' });
      Object.assign(components, tidy($defs));
      return tidy(converted) as Json;
    },
  };
}
