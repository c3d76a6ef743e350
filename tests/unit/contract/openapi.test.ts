import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { openApiDocument } from '../../../src/contract/openapi.ts';
import { ImageOptions } from '../../../src/contract/options.ts';
import { ROUTES } from '../../../src/contract/routes.ts';

type Schema = { [key: string]: unknown };
type Parameter = { name: string; in: string; schema: Schema; style?: string; explode?: boolean };
type Operation = {
  operationId: string;
  tags: string[];
  security: Schema[];
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: { properties: Record<string, Schema>; required: string[] } }> };
  responses: Record<
    string,
    { headers?: Schema; content?: Record<string, { schema: Schema; examples?: Record<string, { value: Schema }> }> }
  >;
};
type OpenApi = {
  openapi: string;
  info: { description: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

const document = openApiDocument() as OpenApi;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

function operation(method: string, path: string): Operation {
  const found = document.paths[path]?.[method];
  if (found === undefined) throw new Error(`There is no ${method} ${path}.`);
  return found;
}

const detection = operation('post', '/api/detect/face/image');
const form = detection.requestBody?.content['multipart/form-data']?.schema;

test('it is valid OpenAPI 3.1', async () => {
  const result = await new Validator().validate(JSON.parse(JSON.stringify(document)));
  expect(result).toEqual({ valid: true });
  expect(document.openapi).toMatch(/^3\.1\./);
});

test('every reference leads somewhere and every schema is a JSON Schema', () => {
  const text = JSON.stringify(document);
  const references = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, target]) => target ?? ''));
  expect(references.size).toBeGreaterThan(10);
  for (const target of references) {
    expect(target).toMatch(/^#\/components\/schemas\/\w+$/);
    expect(document.components.schemas).toHaveProperty(target.split('/').at(-1) ?? '');
  }
  const ajv = new Ajv2020({ strict: false, formats: { 'date-time': true } });
  ajv.addSchema({ $id: 'document', ...document });
  for (const name of Object.keys(document.components.schemas)) {
    expect(ajv.getSchema(`document#/components/schemas/${name}`)).toBeTypeOf('function');
  }
});

test('names of operations are unique, path parameters are those of the path', () => {
  const names = operations.map(({ operation: { operationId } }) => operationId);
  expect(new Set(names).size).toBe(names.length);
  expect(operations).toHaveLength(ROUTES.length);
  for (const { path, operation: described } of operations) {
    const inPath = (described.parameters ?? []).filter((parameter) => parameter.in === 'path');
    expect(inPath.map(({ name }) => name)).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
  }
});

/** As the contract lists them. */
const CODES = {
  NO_FILE: 400,
  INVALID_OPTION: 400,
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  TASK_NOT_FOUND: 404,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  TASK_FINISHED: 409,
  FILE_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  UNREADABLE_MEDIA: 422,
  IDEMPOTENCY_MISMATCH: 422,
  RATE_LIMITED: 429,
  INTERNAL: 500,
  NOT_IN_SYNC_MODE: 501,
  MODEL_UNAVAILABLE: 503,
  QUEUE_UNAVAILABLE: 503,
  QUEUE_FULL: 503,
  TIMEOUT: 504,
  WORKER_LOST: 500,
};

test.each(Object.entries(CODES))('%s is documented, with status %i', (code, status) => {
  expect(document.info.description).toMatch(new RegExp(`^\\| \`${code}\` \\| ${status} \\| [A-Z].+\\. \\|$`, 'm'));
  expect(document.components.schemas.Error).toHaveProperty(
    'properties.error_code.enum',
    expect.arrayContaining([code]),
  );
  const examples = operations.flatMap(({ operation: { responses } }) =>
    Object.entries(responses).flatMap(([of, { content }]) =>
      Object.values(content?.['application/json']?.examples ?? {})
        .filter(({ value }) => value.error_code === code)
        .map(() => Number(of)),
    ),
  );
  // A method that an address does not have is no operation of it: the introduction tells.
  if (code === 'METHOD_NOT_ALLOWED') expect(document.info.description).toContain('Any route may answer');
  else expect(new Set(examples)).toEqual(new Set([status]));
});

test('no code is documented that the contract does not have', () => {
  const codes = [...document.info.description.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);
  expect(codes.sort()).toEqual(Object.keys(CODES).sort());
});

/** From the contract: type, bounds. */
const OPTION_SCHEMAS: Record<string, Schema> = {
  model: { type: 'string' },
  confidence: { type: 'number', minimum: 0, maximum: 1 },
  nms: { type: 'number', minimum: 0, maximum: 1 },
  max_detections: { type: 'integer', minimum: 1, maximum: 1000 },
  input_size: { type: 'integer', minimum: 320, maximum: 1280, multipleOf: 32 },
  annotate: { type: 'string', enum: ['auto', 'true', 'false'] },
  priority: { type: 'integer', minimum: 0, maximum: 9 },
};

test('options have their types and ranges, as form fields and as query parameters', () => {
  for (const [name, schema] of Object.entries(OPTION_SCHEMAS)) {
    expect(form?.properties[name]).toMatchObject(schema);
    expect(detection.parameters?.find((parameter) => parameter.name === name)).toMatchObject({ in: 'query', schema });
  }
  expect(form?.properties.classes).toMatchObject({ type: 'string' });
  expect(detection.parameters?.find(({ name }) => name === 'classes')).toMatchObject({
    in: 'query',
    style: 'form',
    explode: false,
    schema: { type: 'array', items: { type: 'string' } },
  });
  expect(Object.keys(form?.properties ?? {}).sort()).toEqual(
    [...Object.keys(OPTION_SCHEMAS), 'classes', 'file', 'wait'].sort(),
  );
  expect(form?.required).toEqual(['file']);
});

test.each([
  ['confidence', ['0', '0.5', '1', '-0.1', '1.01']],
  ['nms', ['0.45', '2']],
  ['max_detections', ['1', '1000', '0', '1001', '1.5']],
  ['input_size', ['320', '640', '1280', '288', '1312', '321']],
  ['priority', ['0', '9', '10', '-1']],
])('%s is accepted in a request exactly where the description allows it', (name, texts) => {
  const validate = new Ajv2020().compile(form?.properties[name] ?? {});
  const described = texts.map((text) => validate(Number(text)));
  const accepted = texts.map((text) => ImageOptions.safeParse({ [name]: text }).success);
  expect(accepted).toEqual(described);
  expect(new Set(accepted)).toEqual(new Set([true, false]));
});

test('keys guard what the contract says, health and the description are open', () => {
  for (const { path, operation: described } of operations) {
    const open = /^\/api\/(health|openapi|uploads)/.test(path);
    expect(described.security.length > 0, path).toBe(!open);
    expect('401' in described.responses, path).toBe(!open && path.startsWith('/api/'));
  }
});

test('answers that ask to come back say when', () => {
  for (const status of ['429', '503']) {
    expect(detection.responses[status]?.headers).toHaveProperty('Retry-After.schema.type', 'integer');
  }
  expect(detection.responses['202']?.headers).toHaveProperty('Location');
});
