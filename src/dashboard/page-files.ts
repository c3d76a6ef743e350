import { readdir, readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join, resolve } from 'node:path';
import process from 'node:process';
import type { Express, RequestHandler } from 'express';
import { PAGE_VALUES } from './page-values.ts';

const FOLDER = resolve(import.meta.dirname, 'pages');

/** Our pages by address; each is filled by the module of the same name. */
const PAGES: readonly { pattern: string; module: string; title: string }[] = [
  { pattern: '/overview', module: 'overview', title: 'Overview' },
  { pattern: '/workers', module: 'workers', title: 'Workers' },
  { pattern: '/workers/:name', module: 'worker', title: 'Worker' },
  { pattern: '/tasks', module: 'tasks', title: 'Tasks' },
  { pattern: '/tasks/:id', module: 'task', title: 'Task' },
  { pattern: '/failed', module: 'failed', title: 'Failed tasks' },
  { pattern: '/audit', module: 'audit', title: 'Audit log' },
];

/** In the order of the navigation; Bull Board shows the same as its links. */
export const LINKS: readonly { text: string; url: string }[] = [
  { text: 'Overview', url: '/overview' },
  { text: 'Workers', url: '/workers' },
  { text: 'Tasks', url: '/tasks' },
  { text: 'Failed', url: '/failed' },
  { text: 'Queues', url: '/' },
  { text: 'Audit', url: '/audit' },
];

/** As data no script runs; nothing in it can end the element. */
const values = JSON.stringify(PAGE_VALUES).replaceAll('<', '\\u003c');

const shell = (module: string, title: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} - Recognize</title>
<link rel="icon" href="/static/favicon-32x32.png" type="image/png">
<link rel="stylesheet" href="/pages/style.css">
<script type="application/json" id="values">${values}</script>
<script type="module" src="/pages/${module}.ts"></script>
</head>
<body>
<header>
<a class="brand" href="/overview">Recognize</a>
<nav aria-label="Main">${LINKS.map(({ text, url }) => `<a href="${url}">${text}</a>`).join('')}</nav>
<span id="who"></span>
</header>
<p id="notice" role="status" hidden></p>
<main id="main"><noscript>This page needs JavaScript.</noscript></main>
</body>
</html>
`;

/** A browser reads a module once its types are taken out; positions stay the same. */
function toJavaScript(source: string): string {
  const { emitWarning } = process;
  // Node still calls this experimental, and would say so in every dashboard's output.
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(source, { mode: 'strip' });
  } finally {
    process.emitWarning = emitWarning;
  }
}

type PageFile = { type: string; text: string };

async function readFiles(): Promise<Map<string, PageFile>> {
  const names = (await readdir(FOLDER)).filter((name) => /^[a-z-]+\.(ts|css)$/.test(name));
  const files = names.map(async (name): Promise<[string, PageFile]> => {
    const source = await readFile(join(FOLDER, name), 'utf8');
    return name.endsWith('.css')
      ? [name, { type: 'text/css', text: source }]
      : [name, { type: 'text/javascript', text: toJavaScript(source) }];
  });
  return new Map(await Promise.all(files));
}

/** Our own pages and what they are made of; from memory, also while Redis is away. */
export function addPages(app: Express): void {
  let files: Promise<Map<string, PageFile>> | undefined;

  const file: RequestHandler<{ file: string }> = async (request, response, next) => {
    files ??= readFiles();
    const found = (await files).get(request.params.file);
    if (found === undefined) return next();
    response.type(found.type).send(found.text);
  };

  app.get('/pages/:file', file as RequestHandler);
  for (const { pattern, module, title } of PAGES) {
    const html = shell(module, title);
    app.get(pattern, (_request, response) => {
      response.type('html').send(html);
    });
  }
}
