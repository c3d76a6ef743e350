import type { z } from 'zod';
import packageJson from '../../package.json' with { type: 'json' };
import { ERROR_CODES, ERROR_STATUS, type ErrorCode } from '../errors.ts';
import { ErrorEnvelope, success } from './envelope.ts';
import { ERROR_MEANINGS } from './error-meanings.ts';
import { collectSchemas, isJson, type Json, type SchemaCollection } from './json-schemas.ts';
import { type Answer, type Content, ROUTES, type RouteDescription, TAGS } from './routes.ts';

/** Statuses whose error answers say when to come back. */
const WITH_RETRY_AFTER = [429, 503];

const SECURITY: Record<RouteDescription['access'], Json[]> = {
  open: [],
  // The empty requirement: where no keys are configured nobody needs one.
  key: [{}, { bearer: [] }, { apiKey: [] }],
  metrics: [{}, { metricsToken: [] }],
  // Where the dashboard is for this machine only, it may need no login.
  viewer: [{}, { login: [] }],
  admin: [{}, { login: [] }],
};

const ACCESS_ERRORS: Record<RouteDescription['access'], ErrorCode[]> = {
  open: [],
  key: ['UNAUTHORIZED'],
  metrics: ['FORBIDDEN'],
  viewer: ['UNAUTHORIZED', 'RATE_LIMITED', 'FORBIDDEN'],
  admin: ['UNAUTHORIZED', 'RATE_LIMITED', 'FORBIDDEN'],
};

const INTRODUCTION = `Finds faces and objects in pictures and videos. Upload a file, get a task, poll it until it has ended:

\`\`\`sh
curl -F file=@photo.jpg http://<host>:5000/api/detect/face/image
curl http://<host>:5000/api/task/<task_id>
\`\`\`

Every JSON answer is an envelope: \`{"success": true, "timestamp", "data"}\` or
\`{"success": false, "message", "error_code", "timestamp", "details"?}\`. Any route may answer
\`METHOD_NOT_ALLOWED\` and \`INTERNAL\`, any other address \`NOT_FOUND\`.

| error code | status | meaning |
|---|---|---|
${ERROR_CODES.map((code) => `| \`${code}\` | ${ERROR_STATUS[code]} | ${ERROR_MEANINGS[code]} |`).join('\n')}
`;

const header = (description: string, type = 'string') => ({ description, schema: { type } });

function contentOf(content: Content, schemas: SchemaCollection): Json {
  if ('types' in content)
    return Object.fromEntries(content.types.map((type) => [type, { schema: { type: 'string' } }]));
  const schema = 'data' in content ? success(content.data) : content.json;
  return { 'application/json': { schema: schemas.add(schema) } };
}

function successResponse({ description, content, headers = {} }: Answer, schemas: SchemaCollection): Json {
  const named = Object.entries(headers).map(([name, meaning]) => [name, header(meaning)]);
  return {
    description,
    ...(named.length === 0 ? {} : { headers: Object.fromEntries(named) }),
    content: contentOf(content, schemas),
  };
}

function errorExample(code: ErrorCode): Json {
  return {
    summary: code,
    value: { success: false, message: ERROR_MEANINGS[code], error_code: code, timestamp: '2026-01-31T12:00:00.000Z' },
  };
}

/** Envelope of an error with one of these codes; all have the same status. */
function errorContent(codes: readonly ErrorCode[], schemas: SchemaCollection): Json {
  return {
    schema: {
      allOf: [schemas.add(ErrorEnvelope), { type: 'object', properties: { error_code: { enum: [...codes] } } }],
    },
    examples: Object.fromEntries(codes.map((code) => [code, errorExample(code)])),
  };
}

function errorResponse(status: number, codes: readonly ErrorCode[], schemas: SchemaCollection): Json {
  const headers = {
    ...(WITH_RETRY_AFTER.includes(status) ? { 'Retry-After': header('Seconds to wait.', 'integer') } : {}),
    ...(status === 401 ? { 'WWW-Authenticate': header('How to authenticate.') } : {}),
  };
  return {
    description: codes.map((code) => `\`${code}\`: ${ERROR_MEANINGS[code]}`).join('\n\n'),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    content: { 'application/json': errorContent(codes, schemas) },
  };
}

/** Error codes of a route with what its access and its path bring. */
function errorCodesOf(route: RouteDescription): ErrorCode[] {
  const broken: ErrorCode[] = route.pathParameters === undefined ? [] : ['BAD_REQUEST'];
  const codes = new Set<ErrorCode>([...route.errors, ...ACCESS_ERRORS[route.access], ...broken, 'INTERNAL']);
  return ERROR_CODES.filter((code) => codes.has(code));
}

function responses(route: RouteDescription, schemas: SchemaCollection): Json {
  const byStatus: Record<string, Json> = {};
  for (const answer of route.answers) byStatus[answer.status] = successResponse(answer, schemas);
  const codes = errorCodesOf(route);
  for (const status of new Set(codes.map((code) => ERROR_STATUS[code]))) {
    const same = codes.filter((code) => ERROR_STATUS[code] === status);
    byStatus[status] = errorResponse(status, same, schemas);
  }
  return byStatus;
}

function propertiesOf(schema: z.ZodObject, schemas: SchemaCollection): [string, Json][] {
  const { properties } = schemas.add(schema);
  return isJson(properties)
    ? Object.entries(properties).filter((entry): entry is [string, Json] => isJson(entry[1]))
    : [];
}

function parameters(route: RouteDescription, schemas: SchemaCollection): Json[] {
  const inPath = Object.entries(route.pathParameters ?? {}).map(([name, description]) => ({
    name,
    in: 'path',
    required: true,
    description,
    schema: { type: 'string' },
  }));
  const inQuery = route.query === undefined ? [] : propertiesOf(route.query, schemas);
  const asQuery = inQuery.map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    ...(description === undefined ? {} : { description }),
    // A list is one parameter with commas.
    ...(schema.type === 'array' ? { style: 'form', explode: false } : {}),
    schema,
  }));
  const asHeaders = Object.entries(route.headers ?? {}).map(([name, description]) => ({
    name,
    in: 'header',
    description,
    schema: { type: 'string' },
  }));
  return [...inPath, ...asQuery, ...asHeaders];
}

/** Numbers stand for their text, as everywhere in a form; a list is one text with commas. */
function formField(schema: Json): Json {
  if (schema.type !== 'array') return schema;
  const { items: _items, minItems: _minItems, ...rest } = schema;
  return { ...rest, type: 'string' };
}

function requestBody(form: z.ZodObject, schemas: SchemaCollection): Json {
  const fields = propertiesOf(form, schemas).map(([name, schema]) => [name, formField(schema)]);
  const file = {
    type: 'string',
    format: 'binary',
    contentMediaType: 'application/octet-stream',
    description: 'The file itself. Its type is told by its content.',
  };
  return {
    required: true,
    content: {
      'multipart/form-data': {
        schema: {
          type: 'object',
          properties: { file, ...Object.fromEntries(fields) },
          required: ['file'],
          additionalProperties: false,
        },
      },
    },
  };
}

function operation(route: RouteDescription, schemas: SchemaCollection): Json {
  const list = parameters(route, schemas);
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    security: SECURITY[route.access],
    ...(list.length === 0 ? {} : { parameters: list }),
    ...(route.form === undefined ? {} : { requestBody: requestBody(route.form, schemas) }),
    ...(route.body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: schemas.add(route.body) } } } }),
    responses: responses(route, schemas),
  };
}

export type ApiDescription = {
  title: string;
  introduction: string;
  /** Names and meanings. */
  tags: Record<string, string>;
  routes: readonly RouteDescription[];
  securitySchemes: Json;
};

/** A description in OpenAPI 3.1, made from a route table and the schemas that validate. */
export function describeApi({ title, introduction, tags, routes, securitySchemes }: ApiDescription): object {
  const schemas = collectSchemas();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method]: operation(route, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title,
      version: packageJson.version,
      description: introduction,
      license: { name: 'Apache License 2.0', identifier: packageJson.license },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: schemas.components,
      securitySchemes,
    },
  };
}

/** The description of the HTTP API of the web process. */
export function openApiDocument(): object {
  return describeApi({
    title: 'Recognize',
    introduction: INTRODUCTION,
    tags: TAGS,
    routes: ROUTES,
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer', description: 'An API key, where the service has keys configured.' },
      apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'The same in a header of its own.' },
      metricsToken: { type: 'http', scheme: 'bearer', description: 'METRICS_TOKEN, for callers from elsewhere.' },
    },
  });
}
