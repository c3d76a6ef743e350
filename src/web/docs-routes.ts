import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Express, RequestHandler } from 'express';
import { openApiDocument } from '../contract/openapi.ts';
import { AppError } from '../errors.ts';
import { addRoute } from './http.ts';

const SWAGGER_UI = dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json')));

/** The files of Swagger UI that the page needs. */
const ASSETS = new Set(['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']);

const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "base-uri 'none'",
  "connect-src 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "img-src 'self' data: blob:",
  "script-src 'self'",
  // Swagger UI styles its elements inline.
  "style-src 'self' 'unsafe-inline'",
].join(';');

const CACHED = { 'Cache-Control': 'public, max-age=3600' };

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Recognize API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/initializer.js"></script>
</body>
</html>
`;

/**
 * Swagger UI fills a form with values that it makes up and sends what is left empty, too: both would be refused. Here
 * fields start empty, and only what somebody fills in is sent.
 */
const INITIALIZER = `const onlyWhatIsFilledIn = (system) => {
  const { getSampleSchema } = system.fn;
  return {
    fn: { getSampleSchema: (schema, type, ...rest) => (type === false ? '' : getSampleSchema(schema, type, ...rest)) },
    components: { ParameterIncludeEmpty: () => null },
  };
};

SwaggerUIBundle({
  url: '/api/openapi.json',
  dom_id: '#docs',
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  plugins: [onlyWhatIsFilledIn],
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;

const notFound = () => new AppError('NOT_FOUND', 'There is nothing under this part of the documentation.');

/** `GET /api/openapi.json` and the page that shows it, all served from here. */
export function addDocsRoutes(app: Express): void {
  let text: string | undefined;
  const document: RequestHandler = (_request, response) => {
    text ??= JSON.stringify(openApiDocument());
    response.set('Cache-Control', 'no-cache').type('json').send(text);
  };

  const page: RequestHandler = (_request, response) => {
    response.set({ 'Content-Security-Policy': CONTENT_SECURITY_POLICY, 'Cache-Control': 'no-cache' });
    response.type('html').send(PAGE);
  };

  const asset: RequestHandler<{ name: string }> = (request, response, next) => {
    const { name } = request.params;
    if (name === 'initializer.js') return void response.set(CACHED).type('js').send(INITIALIZER);
    if (!ASSETS.has(name)) throw notFound();
    response.set(CACHED).sendFile(name, { root: SWAGGER_UI, cacheControl: false }, (error) => {
      if (error !== undefined && !response.headersSent) next(error);
    });
  };

  addRoute(app, '/api/openapi.json', { get: document });
  addRoute(app, '/docs', { get: page });
  addRoute(app, '/docs/:name', { get: asset as RequestHandler });
}
