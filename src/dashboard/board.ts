import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import type { Express, RequestHandler } from 'express';
import { KIND_NAMES, KINDS } from '../contract/kinds.ts';
import type { Queues } from '../queue/queues.ts';
import type { Role } from './accounts.ts';
import { LINKS } from './page-files.ts';
import { presentBody, shortened } from './presentation.ts';

export type Boards = Record<Role, RequestHandler>;
export type FailedCall = { status: number; body: object };

type BoardOptions = NonNullable<ConstructorParameters<typeof BullMQAdapter>[1]> & { allowCompletedRetries: boolean };
type ControllerHandlerReturnType = ReturnType<Parameters<ExpressAdapter['setErrorHandler']>[0]>;

const withoutOutside = (html: string) => html.replace(/<link[^>]+href="https?:\/\/[^>]*>/g, '');

/** The navigation of our own pages, over an empty part of the board's. */
const NAVIGATION = `<nav id="pages" aria-label="Main">${LINKS.map(({ text, url }) => `<a href="${url}">${text}</a>`).join('')}</nav>`;

const withOurLinks = (html: string) =>
  html
    .replace('</head>', '<link rel="stylesheet" href="/pages/board.css"></head>')
    .replace('</body>', `${NAVIGATION}</body>`);

/** Takes the fonts from outside out of the page; the content security policy would refuse them anyway. */
function stayLocal(app: Express): void {
  const render = app.render.bind(app);
  app.render = (name: string, options?: object, done?: (error: Error, html: string) => void) =>
    render(name, options, (error, html) => done?.(error, html && withOurLinks(withoutOutside(html))));
}

/**
 * Bull Board over every queue, mounted at `/`: one for admins and one without anything to press for viewers.
 *
 * @param failed makes the answer to a call of the page in which something went wrong
 */
export function createBoards(queues: Queues, failed: (error: Error) => FailedCall): Boards {
  function board(role: Role): RequestHandler {
    const serverAdapter = new ExpressAdapter().setBasePath('/');
    const setErrorHandler = serverAdapter.setErrorHandler.bind(serverAdapter);
    serverAdapter.setErrorHandler = () => setErrorHandler((error) => failed(error) as ControllerHandlerReturnType);
    const adapters = KIND_NAMES.map((kind) => {
      // The adapter hands on what its own type leaves out.
      const options: BoardOptions = {
        readOnlyMode: role === 'viewer',
        allowCompletedRetries: false,
        description: `Tasks for ${KINDS[kind].noun} workers`,
        externalJobUrl: ({ id }) => ({ displayText: 'Task page', href: `/tasks/${encodeURIComponent(String(id))}` }),
      };
      const adapter = new BullMQAdapter(queues[kind], options);
      adapter.setFormatter('returnValue', shortened);
      return adapter;
    });
    createBullBoard({
      queues: adapters,
      serverAdapter,
      options: {
        uiConfig: {
          boardTitle: 'Recognize',
          hideDocsLink: true,
          showMetrics: true,
          miscLinks: LINKS.filter(({ url }) => url !== '/').map((link) => ({ ...link })),
        },
        handlerHooks: {
          after: (_context, result) => ({ ...result, body: presentBody(result.body) as typeof result.body }),
        },
      },
    });
    const app = serverAdapter.getRouter() as Express;
    app.disable('x-powered-by');
    stayLocal(app);
    return app;
  }

  return { admin: board('admin'), viewer: board('viewer') };
}
